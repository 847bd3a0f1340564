/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_tally.c - the tally against a model so simple that it is plainly right: every sample kept in
 * a list, every number counted anew by walking the list. And the budgets: bytes a page, time a
 * sample.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tally/tally.h"

#define N_PROCESSES 24u
#define N_PAGES	    700u
#define N_TYPES	    40u
#define N_WRITERS   30u
#define N_SAMPLES   60000u

struct fixture {
	struct ct_names *types, *writers;
	struct ct_tally *tally;
};

struct event {
	struct ct_sample sample;
	bool undetailed;
};

static const struct ct_run_info run = { .hook = "tracepoint", .kernel = "6.1", .command = "x" };

static uint64_t random_state;

static uint32_t pick(uint32_t below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((random_state >> 33) % below);
}

static void open_tally(struct fixture *f)
{
	char name[32];

	f->types = ct_names__new();
	f->writers = ct_names__new();
	assert_non_null(f->types);
	assert_non_null(f->writers);
	for (uint32_t i = 1; i <= N_TYPES; i++) {
		snprintf(name, sizeof(name), "type%u", i / 2); /* pairs that differ in the heap */
		assert_int_equal(ct_names__id(f->types, i % 2 ? "cpython" : "glibc", name), i);
	}
	for (uint32_t i = 1; i <= N_WRITERS; i++) {
		snprintf(name, sizeof(name), "writer%u", i);
		assert_int_equal(ct_names__id(f->writers, "libx.so", name), i);
	}
	f->tally = ct_tally__new(f->types, f->writers);
	assert_non_null(f->tally);
}

static void close_tally(struct fixture *f)
{
	ct_tally__free(f->tally);
	ct_names__free(f->types);
	ct_names__free(f->writers);
}

static bool unshares(unsigned int fault)
{
	return fault == CT_FAULT_COPY || fault == CT_FAULT_COPY_FILE ||
	       fault == CT_FAULT_COPY_KSM || fault == CT_FAULT_COPY_HUGE ||
	       fault == CT_FAULT_COPY_HUGETLB;
}

/* ---- the model ---- */

enum scope { ALL, ONE_PROCESS };

static void model_totals(const struct event *events, size_t n, enum scope scope, uint32_t process,
			 struct ct_totals *t)
{
	memset(t, 0, sizeof(*t));
	for (size_t i = 0; i < n; i++) {
		const struct ct_sample *s = &events[i].sample;

		if (scope == ONE_PROCESS && s->process != process)
			continue;
		t->copy += s->fault == CT_FAULT_COPY ? s->count : 0;
		t->copy_file += s->fault == CT_FAULT_COPY_FILE ? s->count : 0;
		t->copy_ksm += s->fault == CT_FAULT_COPY_KSM ? s->count : 0;
		t->copy_huge += s->fault == CT_FAULT_COPY_HUGE ? s->count : 0;
		t->copy_hugetlb += s->fault == CT_FAULT_COPY_HUGETLB ? s->count : 0;
		t->zero_fill += s->fault == CT_FAULT_ZERO_FILL ? s->count : 0;
		t->reuse += s->fault == CT_FAULT_REUSE ? s->count : 0;
		t->copy_file_unread += s->fault == CT_FAULT_COPY_FILE && s->unread ? s->count : 0;
		if (!unshares(s->fault))
			continue;
		t->unshared += s->count;
		t->unshared_bytes += s->count * (INT64_C(1) << s->page_shift);
		t->undetailed += events[i].undetailed ? s->count : 0;
	}
}

static uint64_t page_of(const struct ct_sample *s)
{
	return s->address >> s->page_shift << s->page_shift;
}

static int64_t model_page(const struct event *events, size_t n, uint64_t page, uint32_t *processes)
{
	int64_t own[N_PROCESSES] = { 0 }, sum = 0;

	for (size_t i = 0; i < n; i++) {
		const struct ct_sample *s = &events[i].sample;

		if (!unshares(s->fault) || page_of(s) != page || !s->address)
			continue;
		own[s->process] += s->count;
		sum += s->count;
	}
	*processes = 0;
	for (uint32_t p = 0; p < N_PROCESSES; p++)
		*processes += own[p] > 0;
	return sum;
}

static void make_events(struct event *events, size_t n)
{
	static const uint8_t faults[] = { 1, 1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7 };

	for (size_t i = 0; i < n; i++) {
		struct ct_sample *s = &events[i].sample;
		uint32_t page = pick(4) ? pick(N_PAGES) : pick(20);

		if (i && !pick(5)) { /* an earlier one taken back, some of them twice */
			events[i] = events[pick((uint32_t)i)];
			s->count = -s->count;
			continue;
		}
		*s = (struct ct_sample){
			.process = pick(N_PROCESSES),
			.type = pick(N_TYPES + 1),
			.writer = pick(N_WRITERS + 1),
			.count = 1,
			.fault = faults[pick(sizeof(faults))],
			.cell = (uint8_t)pick(CT_CELL_COUNT),
			.cause = (uint8_t)pick(CT_CAUSE_COUNT),
			.unread = pick(2),
		};
		s->page_shift = s->fault == CT_FAULT_COPY_HUGE	    ? 21
				: s->fault == CT_FAULT_COPY_HUGETLB ? 30
								    : 12;
		s->address = page % 3 ? 0x7f0000000000ull + page * 4096ull
				      : 0x550000000000ull + page * 0x100000ull;
		s->address += pick(4096);
		events[i].undetailed = !pick(12);
		if (events[i].undetailed) {
			s->count = (int32_t)pick(50) + 1;
			s->address = pick(3) ? s->address : 0;
		}
	}
}

static void feed(struct ct_tally *tally, const struct event *events, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct ct_sample *s = &events[i].sample;

		if (events[i].undetailed)
			assert_int_equal(ct_tally__add_undetailed(tally, s->process, s->fault,
								  s->unread, s->address,
								  s->page_shift, s->count),
					 0);
		else
			assert_int_equal(ct_tally__add(tally, s), 0);
	}
}

static int64_t sum_of(const int64_t *list, size_t n)
{
	int64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += list[i];
	return sum;
}

static void check_totals(const struct ct_snapshot *s, const struct event *events, size_t n)
{
	struct ct_totals want;

	model_totals(events, n, ALL, 0, &want);
	assert_memory_equal(&s->totals, &want, sizeof(want));
	assert_int_equal(sum_of(s->cells, CT_CELL_COUNT), want.unshared - want.undetailed);
	assert_int_equal(sum_of(s->causes, CT_CAUSE_COUNT), want.unshared - want.undetailed);
	assert_int_equal(s->n_processes, N_PROCESSES);
	for (size_t i = 0; i < s->n_processes; i++) {
		const struct ct_process_row *row = &s->processes[i];
		int64_t cells[CT_CELL_COUNT] = { 0 };

		model_totals(events, n, ONE_PROCESS, row->pid - 100, &want);
		assert_memory_equal(&row->totals, &want, sizeof(want));
		assert_int_equal(sum_of(row->cells, CT_CELL_COUNT),
				 want.unshared - want.undetailed);
		for (size_t k = 0; k < n; k++)
			if (!events[k].undetailed && unshares(events[k].sample.fault) &&
			    events[k].sample.process == row->pid - 100)
				cells[events[k].sample.cell] += events[k].sample.count;
		assert_memory_equal(row->cells, cells, sizeof(cells));
	}
}

static void check_names(const struct ct_snapshot *s, const struct event *events, size_t n,
			const struct fixture *f)
{
	int64_t types[N_TYPES + 1][CT_CELL_COUNT] = { 0 }, writers[N_WRITERS + 1] = { 0 };
	int64_t causes[CT_CAUSE_COUNT] = { 0 };
	size_t seen = 0;

	for (size_t i = 0; i < n; i++) {
		const struct ct_sample *e = &events[i].sample;

		if (events[i].undetailed || !unshares(e->fault))
			continue;
		types[e->type][e->cell] += e->count;
		writers[e->writer] += e->count;
		causes[e->cause] += e->count;
	}
	assert_memory_equal(s->causes, causes, sizeof(causes));
	for (size_t i = 0; i < s->n_types; i++)
		for (uint32_t id = 0; id <= N_TYPES; id++)
			if (s->types[i].type == ct_names__name(f->types, id)) {
				assert_memory_equal(s->types[i].cells, types[id],
						    sizeof(types[id]));
				assert_int_equal(s->types[i].unshared,
						 sum_of(types[id], CT_CELL_COUNT));
				seen++;
			}
	assert_int_equal(seen, s->n_types);
	seen = 0;
	for (size_t i = 0; i < s->n_writers; i++)
		for (uint32_t id = 0; id <= N_WRITERS; id++)
			if (s->writers[i].symbol == ct_names__name(f->writers, id)) {
				assert_int_equal(s->writers[i].unshared, writers[id]);
				seen++;
			}
	assert_int_equal(seen, s->n_writers);
	assert_int_equal(seen, N_WRITERS + 1);
}

static void check_pages(const struct ct_snapshot *s, const struct event *events, size_t n)
{
	int64_t by_region = 0, with_address = 0;

	for (size_t i = 0; i < s->n_pages; i++) {
		uint32_t processes;

		assert_int_equal(s->pages[i].unshared,
				 model_page(events, n, s->pages[i].address, &processes));
		assert_int_equal(s->pages[i].processes, processes);
		assert_true(s->pages[i].unshared > 0);
	}
	for (size_t i = 0; i < n; i++)
		if (unshares(events[i].sample.fault) && events[i].sample.address)
			with_address += events[i].sample.count;
	for (size_t i = 0; i < s->n_regions; i++) {
		assert_int_equal(s->regions[i].address % (2 << 20), 0);
		by_region += s->regions[i].unshared;
	}
	assert_int_equal(by_region, with_address);
}

/* Every page the model knows to be above 0 is counted in all_pages. */
static void check_all_pages(const struct ct_snapshot *s, const struct event *events, size_t n)
{
	uint64_t *seen = calloc(n, sizeof(*seen));
	size_t n_seen = 0, above = 0;

	assert_non_null(seen);
	for (size_t i = 0; i < n; i++) {
		uint64_t page = page_of(&events[i].sample);
		uint32_t processes;
		size_t k = 0;

		while (k < n_seen && seen[k] != page)
			k++;
		if (k < n_seen)
			continue;
		seen[n_seen++] = page;
		above += model_page(events, n, page, &processes) > 0;
	}
	free(seen);
	assert_true(above > 100);
	assert_int_equal(s->all_pages, above);
}

static void check_sorted(const struct ct_snapshot *s)
{
	for (size_t i = 1; i < s->n_types; i++) {
		const struct ct_type_row *a = &s->types[i - 1], *b = &s->types[i];
		int by_name = strcmp(a->type, b->type);

		assert_true(a->unshared > b->unshared ||
			    (a->unshared == b->unshared &&
			     (by_name < 0 || (!by_name && strcmp(a->heap, b->heap) < 0))));
	}
	for (size_t i = 1; i < s->n_writers; i++)
		assert_true(s->writers[i - 1].unshared > s->writers[i].unshared ||
			    (s->writers[i - 1].unshared == s->writers[i].unshared &&
			     strcmp(s->writers[i - 1].symbol, s->writers[i].symbol) < 0));
	for (size_t i = 1; i < s->n_pages; i++)
		assert_true(s->pages[i - 1].unshared > s->pages[i].unshared ||
			    (s->pages[i - 1].unshared == s->pages[i].unshared &&
			     s->pages[i - 1].address < s->pages[i].address));
	for (size_t i = 1; i < s->n_processes; i++)
		assert_true(
			s->processes[i - 1].totals.unshared > s->processes[i].totals.unshared ||
			(s->processes[i - 1].totals.unshared == s->processes[i].totals.unshared &&
			 s->processes[i - 1].pid < s->processes[i].pid));
	for (size_t i = 1; i < s->n_regions; i++)
		assert_true(s->regions[i - 1].address < s->regions[i].address);
}

static void compare_with_model(size_t n, uint64_t seed)
{
	struct event *events = calloc(n, sizeof(*events));
	struct ct_snapshot *all, *some;
	struct fixture f;

	assert_non_null(events);
	random_state = seed;
	open_tally(&f);
	for (uint32_t i = 0; i < N_PROCESSES; i++)
		assert_int_equal(ct_tally__process(f.tally, 100 + i, 99, "worker", 1), i);
	make_events(events, n);
	feed(f.tally, events, n);
	all = ct_tally__snapshot(f.tally, &run, SIZE_MAX);
	assert_non_null(all);
	check_totals(all, events, n);
	check_names(all, events, n, &f);
	check_sorted(all);
	assert_int_equal(all->n_pages, all->all_pages);
	if (n <= N_SAMPLES / 10) {
		check_pages(all, events, n);
		check_all_pages(all, events, n);
	}
	for (size_t max = 0; max <= all->n_pages + 1; max = max * 2 + 1) {
		some = ct_tally__snapshot(f.tally, &run, max);
		assert_non_null(some);
		assert_int_equal(some->n_pages, max < all->n_pages ? max : all->n_pages);
		assert_int_equal(some->all_pages, all->all_pages);
		for (size_t i = 0; i < some->n_pages; i++) {
			assert_int_equal(some->pages[i].address, all->pages[i].address);
			assert_int_equal(some->pages[i].unshared, all->pages[i].unshared);
			assert_int_equal(some->pages[i].processes, all->pages[i].processes);
		}
		ct_snapshot__free(some);
	}
	ct_snapshot__free(all);
	close_tally(&f);
	free(events);
}

static void test_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++)
		compare_with_model(N_SAMPLES / 10, seed);
	compare_with_model(N_SAMPLES, 77);
}

static void test_snapshot_stays(void **state)
{
	struct ct_sample sample = {
		.address = 0x1000, .count = 1, .fault = CT_FAULT_COPY, .page_shift = 12
	};
	struct ct_snapshot *before, *after;
	struct fixture f;

	(void)state;
	open_tally(&f);
	sample.process = ct_tally__process(f.tally, 7, 1, "a\033[31m\nb", 1);
	assert_int_equal(ct_tally__add(f.tally, &sample), 0);
	before = ct_tally__snapshot(f.tally, &run, 10);
	ct_tally__set_command(f.tally, sample.process, "gunicorn: worker");
	sample.address = 0x2000;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(ct_tally__add(f.tally, &sample), 0);
	ct_tally__set_ended(f.tally, sample.process, 5);
	after = ct_tally__snapshot(f.tally, &run, 10);
	assert_int_equal(before->totals.unshared, 1);
	assert_int_equal(before->n_pages, 1);
	assert_int_equal(before->pages[0].address, 0x1000);
	assert_string_equal(before->processes[0].command, "a\\x1b[31m\\x0ab");
	assert_false(before->processes[0].ended);
	assert_int_equal(after->totals.unshared, 1001);
	assert_string_equal(after->processes[0].command, "gunicorn: worker");
	assert_true(after->processes[0].ended);
	assert_int_equal(after->processes[0].end_ns, 5);
	ct_snapshot__free(before);
	ct_snapshot__free(after);
	close_tally(&f);
}

static void test_hostile_samples(void **state)
{
	struct ct_sample sample = { .address = UINT64_MAX,
				    .count = 1,
				    .fault = CT_FAULT_COPY,
				    .page_shift = 255,
				    .cell = 200,
				    .cause = 200,
				    .type = UINT32_MAX,
				    .writer = N_WRITERS + 1 };
	struct ct_snapshot *s;
	struct fixture f;

	(void)state;
	open_tally(&f);
	sample.process = ct_tally__process(f.tally, 7, 1, NULL, 1);
	assert_int_equal(ct_tally__add(f.tally, &sample), 0);
	sample.address = 0;
	assert_int_equal(ct_tally__add(f.tally, &sample), 0);
	sample.process = UINT32_MAX; /* what ct_tally__process gives when out of memory */
	assert_int_equal(ct_tally__add(f.tally, &sample), -ENOMEM);
	assert_int_equal(ct_tally__add_undetailed(f.tally, 99, CT_FAULT_COPY, 0, 0, 12, 3),
			 -ENOMEM);
	sample.fault = CT_FAULT_COUNT;
	assert_int_equal(ct_tally__add(f.tally, &sample), -EINVAL);
	sample.fault = CT_FAULT_UNKNOWN;
	assert_int_equal(ct_tally__add(f.tally, &sample), -EINVAL);
	ct_tally__set_ended(f.tally, 99, 1);
	ct_tally__set_command(f.tally, 99, "x");
	s = ct_tally__snapshot(f.tally, &run, 10);
	assert_int_equal(s->totals.unshared, 6);
	assert_int_equal(s->totals.unshared_bytes, 6 * 4096);
	assert_int_equal(s->totals.undetailed, 3);
	assert_int_equal(s->cells[CT_CELL_UNKNOWN], 3);
	assert_int_equal(s->causes[CT_CAUSE_UNKNOWN], 3);
	assert_int_equal(s->n_types, 1);
	assert_string_equal(s->types[0].type, "unknown");
	assert_int_equal(s->n_writers, 1);
	assert_int_equal(s->n_pages, 2);
	assert_int_equal(s->pages[0].address, 0);
	assert_int_equal(s->pages[0].unshared, 2);
	assert_int_equal(s->pages[0].processes, 1);
	assert_int_equal(s->pages[1].address, UINT64_MAX - 4095);
	assert_int_equal(s->processes[0].totals.unshared, 2);
	ct_snapshot__free(s);
	close_tally(&f);
}

static void test_reset(void **state)
{
	struct ct_sample sample = { .address = 0x5000,
				    .count = 1,
				    .fault = CT_FAULT_COPY,
				    .page_shift = 12,
				    .type = 3,
				    .writer = 4,
				    .cell = CT_CELL_REFCOUNT,
				    .cause = CT_CAUSE_REFCOUNT };
	struct ct_snapshot *s;
	struct fixture f;
	uint32_t gone;

	(void)state;
	open_tally(&f);
	gone = ct_tally__process(f.tally, 7, 1, "gone", 1);
	sample.process = ct_tally__process(f.tally, 8, 1, "stays", 1);
	assert_int_equal(ct_tally__add(f.tally, &sample), 0);
	sample.process = gone;
	assert_int_equal(ct_tally__add(f.tally, &sample), 0);
	ct_tally__set_ended(f.tally, gone, 2);
	ct_tally__reset(f.tally);
	s = ct_tally__snapshot(f.tally, &run, 10);
	assert_int_equal(s->totals.unshared, 0);
	assert_int_equal(s->n_types + s->n_writers + s->n_pages + s->n_regions + s->all_pages, 0);
	assert_int_equal(s->n_processes, 1);
	assert_int_equal(s->processes[0].pid, 8);
	ct_snapshot__free(s);
	sample.process = 1;
	assert_int_equal(ct_tally__add(f.tally, &sample), 0);
	s = ct_tally__snapshot(f.tally, &run, 10);
	assert_int_equal(s->processes[0].totals.unshared, 1);
	assert_int_equal(s->pages[0].processes, 1);
	ct_snapshot__free(s);
	close_tally(&f);
}

#define SECOND_NS 1000000000ull

/* Children that count nothing cost no memory in the long run; those that count keep their rows. */
static void test_short_lived(void **state)
{
	struct ct_sample sample = {
		.address = 0x5000, .count = 1, .fault = CT_FAULT_COPY, .page_shift = 12
	};
	struct ct_snapshot *s;
	struct fixture f;
	size_t early = 0;
	int64_t sum = 0;

	(void)state;
	open_tally(&f);
	for (uint32_t i = 0; i < 300000; i++) {
		uint64_t now_ns = i * (SECOND_NS / 1000);

		sample.process = ct_tally__process(f.tally, i + 2, 1, "sh", now_ns);
		assert_int_not_equal(sample.process, UINT32_MAX);
		if (i % 1000 == 0)
			assert_int_equal(ct_tally__add(f.tally, &sample), 0);
		ct_tally__set_ended(f.tally, sample.process, now_ns);
		if (i % 1000 == 500) { /* late, after the end: still its own row */
			assert_int_equal(ct_tally__add(f.tally, &sample), 0);
		}
		if (i == 20000)
			early = ct_tally__memory(f.tally);
	}
	print_message("300,000 short-lived children: %zu KiB after 20,000, %zu KiB at the end\n",
		      early / 1024, ct_tally__memory(f.tally) / 1024);
	assert_true(ct_tally__memory(f.tally) < early + 512 * 1024);
	s = ct_tally__snapshot(f.tally, &run, 10);
	assert_int_equal(s->n_processes, 600);
	for (size_t i = 0; i < s->n_processes; i++) {
		assert_int_equal((s->processes[i].pid - 2) % 500, 0);
		sum += s->processes[i].totals.unshared;
	}
	assert_int_equal(sum, 600);
	assert_int_equal(s->pages[0].unshared, 600);
	assert_int_equal(s->all_pages, 1);
	ct_snapshot__free(s);
	close_tally(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),		cmocka_unit_test(test_snapshot_stays),
		cmocka_unit_test(test_hostile_samples), cmocka_unit_test(test_reset),
		cmocka_unit_test(test_short_lived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
