/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_tally_sampled.c - collections, and the axes of the faults whose stack was taken, against
 * sums made beside; and the lists that stacks are kept as.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/lists.h"
#include "tally/tally.h"

#define N_LINES	  50u
#define N_STACKS  30u
#define N_SAMPLES 20000u
#define EVERY	  4u

static const struct ct_run_info run = { .hook = "tracepoint", .kernel = "6.1", .command = "x" };

static uint64_t random_state = 5;

static uint32_t pick(uint32_t below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((random_state >> 33) % below);
}

static void test_lists(void **state)
{
	struct ct_lists *lists = ct_lists__new(300);
	uint32_t items[80], ids[300];
	const uint32_t *got;
	size_t n;

	(void)state;
	assert_non_null(lists);
	assert_int_equal(ct_lists__id(lists, items, 0), 0);
	for (uint32_t round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 300; i++) {
			for (uint32_t k = 0; k < 80; k++)
				items[k] = i * 31 + k;
			if (!round)
				ids[i] = ct_lists__id(lists, items, 1 + i % 80);
			assert_int_equal(ct_lists__id(lists, items, 1 + i % 80), ids[i]);
			assert_int_equal(ids[i], i + 1);
			got = ct_lists__get(lists, ids[i], &n);
			assert_int_equal(n, 1 + i % 80);
			assert_memory_equal(got, items, n * sizeof(*got));
		}
	assert_int_equal(ct_lists__count(lists), 300);
	items[0] = 7777777;
	assert_int_equal(ct_lists__id(lists, items, 1), 0); /* full */
	ct_lists__get(lists, 301, &n);
	assert_int_equal(n, 0);
	ct_lists__free(lists);
	ct_lists__free(NULL);
}

struct fixture {
	struct ct_names *types, *writers, *lines;
	struct ct_lists *stacks;
	struct ct_tally *tally;
};

static void open_tally(struct fixture *f)
{
	char name[64];

	f->types = ct_names__new();
	f->writers = ct_names__new();
	f->lines = ct_names__new();
	f->stacks = ct_lists__new(N_STACKS);
	for (uint32_t i = 1; i <= N_LINES; i++) {
		snprintf(name, sizeof(name), "%u f%u", i * 7, i);
		assert_int_equal(ct_names__id(f->lines, "a.py", name), i);
	}
	for (uint32_t i = 1; i <= N_STACKS; i++) {
		const uint32_t frames[] = { i, 1 | CT_FRAME_NATIVE, i + 1 };

		assert_int_equal(ct_lists__id(f->stacks, frames, 1 + i % 3), i);
	}
	f->tally = ct_tally__new(f->types, f->writers);
	assert_non_null(f->tally);
	ct_tally__with_stacks(f->tally, f->lines, f->stacks, EVERY);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(ct_tally__process(f->tally, 100 + i, 1, "p", 1), i);
}

static void close_tally(struct fixture *f)
{
	ct_tally__free(f->tally);
	ct_names__free(f->types);
	ct_names__free(f->writers);
	ct_names__free(f->lines);
	ct_lists__free(f->stacks);
}

static struct ct_sample make_sample(void)
{
	struct ct_sample s = { .address = 0x7f0000000000ull + pick(5000) * 4096ull,
			       .process = pick(3),
			       .count = pick(5) ? 1 : -1,
			       .fault = pick(9) ? CT_FAULT_COPY : CT_FAULT_ZERO_FILL,
			       .page_shift = 12,
			       .sampled = pick(3) == 0,
			       .line = pick(N_LINES + 1),
			       .function = pick(N_LINES + 1),
			       .module = pick(N_LINES + 1),
			       .stack = pick(N_STACKS + 1),
			       .generation = (uint8_t)pick(3),
			       .collection = pick(4) };

	return s;
}

static void check_rows(const struct ct_line_row *rows, size_t n, const int64_t *want, int64_t sum)
{
	int64_t left = sum;

	for (size_t i = 0; i < n; i++) {
		assert_true(rows[i].id <= N_LINES);
		assert_int_equal(rows[i].samples, want[rows[i].id]);
		assert_int_equal(rows[i].unshared, want[rows[i].id] * EVERY);
		assert_true(i == 0 || rows[i - 1].samples >= rows[i].samples);
		left -= rows[i].samples;
	}
	assert_int_equal(left, 0);
}

static void test_model(void **state)
{
	int64_t lines[N_LINES + 1] = { 0 }, functions[N_LINES + 1] = { 0 },
				modules[N_LINES + 1] = { 0 }, stacks = 0, samples = 0;
	int64_t collections[3][3][4] = { 0 }, in_rows = 0, in_all = 0;
	struct ct_snapshot *s;
	struct fixture f;

	(void)state;
	open_tally(&f);
	for (uint32_t i = 0; i < N_SAMPLES; i++) {
		struct ct_sample sample = make_sample();

		assert_int_equal(ct_tally__add(f.tally, &sample), 0);
		if (sample.fault != CT_FAULT_COPY)
			continue;
		if (sample.collection) {
			collections[sample.process][sample.generation][sample.collection] +=
				sample.count;
			in_all += sample.count;
		}
		if (!sample.sampled)
			continue;
		samples += sample.count;
		lines[sample.line] += sample.count;
		functions[sample.function] += sample.count;
		modules[sample.module] += sample.count;
	}
	s = ct_tally__snapshot(f.tally, &run, 0);
	assert_non_null(s);
	assert_int_equal(s->stacks_every, EVERY);
	assert_int_equal(s->samples, samples);
	check_rows(s->lines, s->n_lines, lines, samples);
	check_rows(s->functions, s->n_functions, functions, samples);
	check_rows(s->modules, s->n_modules, modules, samples);
	for (size_t i = 0; i < s->n_lines; i++) {
		assert_int_equal(s->lines[i].line, s->lines[i].id * 7);
		assert_string_equal(s->lines[i].file, s->lines[i].id ? "a.py" : "");
	}
	for (size_t i = 0; i < s->n_stacks; i++) {
		assert_in_range(s->stacks[i].n_frames, 0, 3);
		stacks += s->stacks[i].samples;
	}
	assert_int_equal(stacks, samples);
	for (size_t i = 0; i < s->n_collections; i++) {
		const struct ct_collection_row *row = &s->collections[i];

		assert_int_equal(row->unshared,
				 collections[row->pid - 100][row->generation][row->ordinal]);
		in_rows += row->unshared;
	}
	assert_int_equal(in_rows, in_all);
	assert_int_equal(s->all_collections, s->n_collections);
	ct_snapshot__free(s);
	ct_tally__reset(f.tally);
	s = ct_tally__snapshot(f.tally, &run, 0);
	assert_int_equal(s->samples, 0);
	assert_int_equal(s->n_lines + s->n_functions + s->n_modules + s->n_stacks, 0);
	assert_int_equal(s->n_collections, 0);
	ct_snapshot__free(s);
	close_tally(&f);
}

/* Ids that were never given, ordinals without end: counted as unknown, and bounded. */
static void test_hostile(void **state)
{
	struct ct_sample sample = { .address = 0x1000,
				    .count = 1,
				    .fault = CT_FAULT_COPY,
				    .page_shift = 12,
				    .sampled = true,
				    .line = UINT32_MAX,
				    .function = N_LINES + 1,
				    .module = CT_FRAME_NATIVE,
				    .stack = N_STACKS + 1 };
	struct ct_snapshot *s;
	struct fixture f;
	char text[256];

	(void)state;
	open_tally(&f);
	assert_int_equal(ct_tally__add(f.tally, &sample), 0);
	sample.sampled = false;
	sample.generation = 2;
	for (uint32_t i = 0; i < 300000; i++) {
		sample.collection = UINT32_MAX - i;
		assert_int_equal(ct_tally__add(f.tally, &sample), 0);
	}
	for (uint32_t i = 1; i < 300000; i++) {
		sample.collection = i;
		assert_int_equal(ct_tally__add(f.tally, &sample), 0);
	}
	s = ct_tally__snapshot(f.tally, &run, 0);
	assert_int_equal(s->n_lines, 1);
	assert_string_equal(s->lines[0].function, "unknown");
	assert_int_equal(s->modules[0].id, 0);
	assert_int_equal(s->n_stacks, 1);
	assert_int_equal(s->stacks[0].n_frames, 0);
	assert_int_equal(s->n_collections, CT_COLLECTION_ROWS);
	assert_in_range(s->all_collections, CT_COLLECTION_ROWS, 262144);
	assert_string_equal(ct_snapshot__frame(s, 999, text, sizeof(text)), "unknown");
	assert_string_equal(ct_snapshot__frame(s, CT_FRAME_NATIVE, text, sizeof(text)), "unknown");
	assert_string_equal(ct_snapshot__frame(s, 3, text, sizeof(text)), "f3 (a.py:21)");
	ct_snapshot__free(s);
	close_tally(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
