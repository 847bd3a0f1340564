/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_tally_budget.c - what counting costs: bytes a page at every moment of growth, no knee, and a
 * redraw that does not depend on the number of pages. Speed is printed, not judged: it is the
 * machine's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "tally/tally.h"

#define SECOND_NS 1000000000ull

static const struct ct_run_info run = { .hook = "tracepoint", .kernel = "6.1", .command = "x" };

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * SECOND_NS + (uint64_t)ts.tv_nsec;
}

enum layout { SWEEP, SCATTERED, SPARSE, SHARED, IN_PAIRS };

static const struct shape {
	const char *what;
	enum layout layout;
	uint32_t processes, pages;
} shapes[] = {
	{ "5 M pages in a sweep, 1 process", SWEEP, 1, 5000000 },
	{ "5 M pages scattered, 1,000 processes", SCATTERED, 1000, 5000000 },
	{ "1,000 processes on the same 5,000 pages", SHARED, 1000, 5000 },
	{ "pairs of processes on 500,000 lone pages", IN_PAIRS, 2, 500000 },
	{ "1 M pages, each alone in its region", SPARSE, 1, 1000000 },
};

static void place(const struct shape *shape, uint32_t i, struct ct_sample *s)
{
	uint32_t page = i % shape->pages;

	if (shape->layout == SCATTERED)
		page = (uint32_t)(page * 2654435761ull % shape->pages);
	s->process = i / shape->pages % shape->processes;
	if (shape->layout == SCATTERED)
		s->process = i / 64 % shape->processes;
	s->address = 0x100000000ull + page * 4096ull + i % 4000;
	if (shape->layout == SPARSE || shape->layout == IN_PAIRS)
		s->address = 0x100000000ull + page * (2ull << 20) + i % 4000;
}

static void check_budget(const struct shape *shape)
{
	uint32_t n = shape->pages * (shape->layout == SCATTERED ? 1 : shape->processes);
	struct ct_sample sample = { .count = 1,
				    .fault = CT_FAULT_COPY,
				    .page_shift = 12,
				    .type = 3,
				    .writer = 4,
				    .cell = CT_CELL_REFCOUNT };
	uint64_t begin, end, quarter = 0, last_quarter = 0;
	double worst = 0;
	struct ct_names *types = ct_names__new(), *writers = ct_names__new();
	struct ct_tally *tally = ct_tally__new(types, writers);
	size_t empty;

	assert_non_null(tally);
	for (uint32_t i = 0; i < shape->processes; i++)
		ct_tally__process(tally, i + 2, 1, "worker", 1);
	empty = ct_tally__memory(tally);
	begin = now_ns();
	for (uint32_t i = 0; i < n; i++) {
		place(shape, i, &sample);
		if (ct_tally__add(tally, &sample))
			fail();
		if (i == n / 4)
			quarter = now_ns() - begin;
		if (i == n / 4 * 3)
			last_quarter = now_ns();
		if (i % 1024 == 1023) { /* the peak, not only the end */
			double held = (double)(ct_tally__memory(tally) - empty);

			assert_true(held <= 64.0 * (i + 1) + (1 << 20));
			if (i > 100000 && held / (i + 1) > worst)
				worst = held / (i + 1);
		}
	}
	end = now_ns();
	/* no knee: the last quarter costs about what the first did (caches are the only reason) */
	assert_true(end - last_quarter < 6 * quarter);
	print_message("%-42s %5.1f M samples/s, %4.1f bytes each (at most %4.1f)\n", shape->what,
		      n * 1e3 / (double)(end - begin),
		      (double)(ct_tally__memory(tally) - empty) / n, worst);
	ct_tally__free(tally);
	ct_names__free(types);
	ct_names__free(writers);
}

static void test_budgets(void **state)
{
	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(shapes); i++)
		check_budget(&shapes[i]);
}

/* A redraw must not cost a walk over the pages. Compared in one run, so that no clock is absolute.
 */
static void test_cheap_redraw(void **state)
{
	struct ct_sample sample = { .count = 1, .fault = CT_FAULT_COPY, .page_shift = 12 };
	uint64_t begin, without = UINT64_MAX, with = UINT64_MAX;
	struct ct_names *types = ct_names__new(), *writers = ct_names__new();
	struct ct_tally *tally = ct_tally__new(types, writers);

	(void)state;
	assert_non_null(tally);
	sample.process = ct_tally__process(tally, 2, 1, "worker", 1);
	for (uint32_t i = 0; i < 2000000; i++) {
		sample.address = 0x100000000ull + i * 4096ull;
		ct_tally__add(tally, &sample);
	}
	for (int round = 0; round < 5; round++) {
		begin = now_ns();
		ct_snapshot__free(ct_tally__snapshot(tally, &run, 0));
		without = now_ns() - begin < without ? now_ns() - begin : without;
		begin = now_ns();
		ct_snapshot__free(ct_tally__snapshot(tally, &run, 20));
		with = now_ns() - begin < with ? now_ns() - begin : with;
	}
	print_message("snapshot of 2 M pages: %.2f ms without pages, %.2f ms with the top 20\n",
		      (double)without / 1e6, (double)with / 1e6);
	assert_true(without * 4 < with);
	ct_tally__free(tally);
	ct_names__free(types);
	ct_names__free(writers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_budgets),
		cmocka_unit_test(test_cheap_redraw),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
