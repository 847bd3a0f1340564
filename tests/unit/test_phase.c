/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_phase.c - what an interpreter is doing, and which task has which runtime, on made-up words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture/runtimes.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#include "ct_phase.h"

static uint32_t phase(uint64_t finalising, uint32_t collecting, uint32_t asked, uint32_t failed)
{
	const struct ct_phase_words words = { finalising, collecting, asked, failed };

	return ct_phase_of_words(&words);
}

static void test_words(void **state)
{
	(void)state;
	assert_int_equal(phase(0, 0, 0, 0), 0); /* nothing to read: nothing is known */
	assert_int_equal(phase(0, 0, 2, 0), CT_PHASE_KNOWN);
	assert_int_equal(phase(0, 1, 1, 0), CT_PHASE_KNOWN | CT_PHASE_COLLECTING);
	assert_int_equal(phase(1ull << 40, 0, 2, 0), CT_PHASE_KNOWN | CT_PHASE_FINALISING);
	assert_int_equal(phase(0, 0, 2, 1), 0);
	/* what was seen is so, whatever could not be */
	assert_int_equal(phase(0, 1, 2, 1), CT_PHASE_COLLECTING);
	assert_int_equal(phase(1, 1, 3, 1), CT_PHASE_COLLECTING | CT_PHASE_FINALISING);
}

/* As CPython counts: a collection of N adds 1 to N + 1 and clears up to N, then 0 begins again. */
static void test_generations(void **state)
{
	int count[3] = { 0 };

	(void)state;
	srand(1);
	for (int i = 0; i < 100000; i++) {
		unsigned int generation = (unsigned int)rand() % 3;

		if (generation < 2)
			count[generation + 1]++;
		for (unsigned int g = 0; g <= generation; g++)
			count[g] = 0;
		count[0] = rand() % 700; /* allocations go on inside a collection */
		assert_int_equal(ct_phase_of_counts(count[1], count[2]), generation);
	}
}

static void test_fields(void **state)
{
	(void)state;
	for (uint32_t generation = 0; generation < 3; generation++) {
		uint32_t all = CT_PHASE_KNOWN | CT_PHASE_COLLECTING | CT_PHASE_FINALISING |
			       CT_PHASE_OF(generation, 0x3fedcba9u);

		assert_int_equal(CT_PHASE_GENERATION(all), generation);
		assert_int_equal(CT_PHASE_COLLECTIONS(all), 0xedcba9);
		assert_int_equal(all & 0xf, CT_PHASE_KNOWN | CT_PHASE_COLLECTING |
						    CT_PHASE_FINALISING | CT_PHASE_COUNTED);
	}
}

/* ---- numbers ---- */

static struct ct_runtimes fresh(void)
{
	struct ct_runtimes runtimes = {
		.table = aligned_alloc(128, CT_MAX_RUNTIMES * sizeof(*runtimes.table)),
		.slots = calloc(CT_SLOTS, sizeof(*runtimes.slots)),
	};

	assert_non_null(runtimes.table);
	assert_non_null(runtimes.slots);
	memset(runtimes.table, 0, CT_MAX_RUNTIMES * sizeof(*runtimes.table));
	return runtimes;
}

static void free_runtimes(struct ct_runtimes *runtimes)
{
	free(runtimes->table);
	free(runtimes->slots);
}

static struct ct_runtime runtime_at(uint64_t address)
{
	struct ct_runtime runtime = { .finalising = address, .finalising_bytes = 8 };

	return runtime;
}

/* The one number that a task outside the slots has. */
static void in_use(void *number, bool *used)
{
	used[*(int *)number] = true;
}

static void test_interning(void **state)
{
	struct ct_runtimes runtimes = fresh();
	struct ct_runtime runtime = runtime_at(0x1000);
	int spilled = 9, number;

	(void)state;
	for (int pass = 0; pass < 2; pass++) {
		for (int i = 1; i < CT_MAX_RUNTIMES; i++) {
			runtime = runtime_at((uint64_t)i);
			number = ct_runtimes__number(&runtimes, &runtime, in_use, &spilled);
			assert_int_equal(number, i);
			assert_int_equal(runtimes.table[i].runtime.finalising, i);
			runtimes.slots[i] = (struct ct_slot){ .task = 1, .who = CT_WHO(7, i) };
		}
	}
	runtime = runtime_at(1000);
	assert_int_equal(ct_runtimes__number(&runtimes, &runtime, in_use, &spilled), -ENOSPC);
	runtimes.slots[9].task = 0; /* but a task outside the slots has it */
	assert_int_equal(ct_runtimes__number(&runtimes, &runtime, in_use, &spilled), -ENOSPC);
	runtimes.slots[200].task = 0;
	assert_int_equal(ct_runtimes__number(&runtimes, &runtime, in_use, &spilled), 200);
	assert_int_equal(runtimes.table[200].runtime.finalising, 1000);
	assert_int_equal(runtimes.table[0].runtime.finalising, 0);
	free_runtimes(&runtimes);
}

static void test_entry(void **state)
{
	struct ct_runtimes runtimes = fresh();
	struct ct_runtime runtime = { .tstate = 0x1000, .frames = CT_FRAMES_CHUNK };
	int none = 0, n;

	(void)state;
	runtime.frame_back = 8;
	runtime.frame_instruction = 56;
	runtime.frame_owner = 74;
	runtime.owner_shims = 3;
	n = ct_runtimes__number(&runtimes, &runtime, in_use, &none);
	assert_int_equal(runtimes.table[n].frame_len, 75);
	assert_int_equal(runtimes.table[n].first_shim, 3);
	runtime.frames = CT_FRAMES_OBJECT;
	n = ct_runtimes__number(&runtimes, &runtime, in_use, &none);
	assert_int_equal(runtimes.table[n].frame_len, 64);
	assert_int_equal(runtimes.table[n].first_shim, UINT32_MAX);
	runtime.frame_code = 0xfff0; /* no frame is like this */
	n = ct_runtimes__number(&runtimes, &runtime, in_use, &none);
	assert_int_equal(runtimes.table[n].frame_len, 0);
	runtime.frame_code = 0;
	runtime.frames = CT_FRAMES_NONE;
	n = ct_runtimes__number(&runtimes, &runtime, in_use, &none);
	assert_int_equal(runtimes.table[n].frame_len, 0);
	runtime.frames = CT_FRAMES_CHUNK;
	runtime.tstate = 0;
	n = ct_runtimes__number(&runtimes, &runtime, in_use, &none);
	assert_int_equal(runtimes.table[n].frame_len, 0);
	free_runtimes(&runtimes);
}

static void test_giving(void **state)
{
	struct ct_runtimes runtimes = fresh();

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		runtimes.slots[i].task = i % 10 ? 1 : 0;
		runtimes.slots[i].image = i % 2;
		runtimes.slots[i].who = CT_WHO(CT_TID_MASK - CT_SLOTS + 1 + i, 3);
	}
	ct_runtimes__give(&runtimes, 1, 0, 255);
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(runtimes.slots[i].who & CT_TID_MASK,
				 CT_TID_MASK - CT_SLOTS + 1 + i);
		assert_int_equal(runtimes.slots[i].who >> CT_TID_BITS, i % 10 && i % 2 ? 255 : 3);
	}
	/* one thread: only if it is of that image, and still there */
	ct_runtimes__give(&runtimes, 1, CT_TID_MASK - CT_SLOTS + 1 + 7, 0);
	assert_int_equal(runtimes.slots[7].who >> CT_TID_BITS, 0);
	assert_int_equal(runtimes.slots[9].who >> CT_TID_BITS, 255);
	ct_runtimes__give(&runtimes, 1, CT_TID_MASK - CT_SLOTS + 1 + 8, 5);
	assert_int_equal(runtimes.slots[8].who >> CT_TID_BITS, 3);
	ct_runtimes__give(&runtimes, 1, 9, 5);
	assert_int_equal(runtimes.slots[9].who >> CT_TID_BITS, 255);
	free_runtimes(&runtimes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),  cmocka_unit_test(test_generations),
		cmocka_unit_test(test_fields), cmocka_unit_test(test_interning),
		cmocka_unit_test(test_entry),  cmocka_unit_test(test_giving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
