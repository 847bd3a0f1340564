/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_reader_gcheap_changes.c - the gcheap reader on a heap that changes while it is read, and on
 * one that lies, in either layout.
 */
#include "reader_gcheap_fixture.h"

/* --- a heap that changes --------------------------------------------------------------------- */

static void test_renew(void **state)
{
	struct target target;
	struct ct_place place;
	uintptr_t object, big;

	(void)state;
	start_target(&target);
	object = ask(&target, 'o');
	ask(&target, 'f');
	renew(&target);
	assert_true(locate(&target, object, &place));
	assert_int_equal(place.cell, CT_CELL_FREE);
	assert_int_equal(ask(&target, 'o'), object);
	assert_true(locate(&target, object, &place)); /* still as it was at the fork */
	assert_int_equal(place.cell, CT_CELL_FREE);
	renew(&target);
	assert_true(locate(&target, object + 8, &place));
	assert_int_equal(place.cell, CT_CELL_TYPE);
	assert_string_equal(type_name(&target, &place), "tuple");
	assert_int_equal(place.object, object - (layout == GCHEAP_INLINE ? 32 : 0));
	big = ask(&target, 'b');
	assert_false(locate(&target, big, &place)); /* the arena is newer than the table */
	renew(&target);
	assert_true(locate(&target, big + 1000000, &place));
	assert_int_equal(place.cell, CT_CELL_BUFFER);
	assert_int_equal(place.offset, 1000000);
	assert_string_equal(type_name(&target, &place), "dict");
	ask(&target, 'u');
	renew(&target);
	assert_false(locate(&target, big + 1000000, &place));
	assert_true(locate(&target, object, &place));
	assert_int_equal(place.cell, refcount_word());
	/* the process goes: what was cached holds, and nothing breaks */
	kill(target.pid, SIGKILL);
	waitpid(target.pid, NULL, 0);
	assert_true(locate(&target, object, &place));
	renew(&target);
	assert_false(locate(&target, object, &place));
	stop_target(&target);
}

/* The table changes all the while it is read: what stays put is always found. */
static void test_busy_target(void **state)
{
	const struct truth *stable = NULL;
	struct target target;
	struct ct_place place;

	(void)state;
	for (size_t i = 0; i < OBJECTS && !stable; i++) {
		if (!truths[i].freed && !truths[i].buffer &&
		    truths[i].type->flags & GCHEAP_CONTAINER)
			stable = &truths[i];
	}
	stable_block = stable->block;
	start_target(&target);
	ask(&target, 'c');
	for (int round = 0; round < 20000; round++) {
		renew(&target);
		assert_true(locate(&target, stable->block, &place));
		check_live(&target, stable, stable->block, &place);
	}
	stop_target(&target);
}

/* Caught in a change: an old reader keeps what it had, a new one finds the heap when it is over. */
static void test_unsettled(void **state)
{
	const struct truth *stable = &truths[1];
	struct target target = { 0 }, late = { 0 };
	struct ct_place place;

	(void)state;
	open_target(&target, getpid());
	heapmap_descriptor.generation++;
	renew(&target);
	assert_true(locate(&target, stable->block, &place));
	check_live(&target, stable, stable->block, &place);
	open_target(&late, getpid());
	assert_false(locate(&late, stable->block, &place));
	heapmap_descriptor.generation++;
	for (int tries = 0; !locate(&late, stable->block, &place); tries++)
		assert_true(tries < 4);
	check_live(&late, stable, stable->block, &place);
	close_target(&late);
	close_target(&target);
}

/* --- a heap that lies ------------------------------------------------------------------------ */

#define FLIPS_MAX 8

/* Memory of this process that the reader looks at and nothing else uses meanwhile. */
static uint8_t *random_victim(void)
{
	const struct heapmap_arena *arenas = (void *)heapmap_descriptor.arenas, *arena;

	arena = &arenas[next_random() % heapmap_descriptor.arena_count];
	switch (next_random() % 6) {
	case 0:
		return (uint8_t *)&heapmap_descriptor + next_random() % sizeof(heapmap_descriptor);
	case 1:
		return (uint8_t *)(uintptr_t)arena + next_random() % sizeof(*arena);
	case 2:
		return (uint8_t *)&custom_type + next_random() % sizeof(custom_type);
	case 3:
		return (uint8_t *)custom_name + next_random() % sizeof(custom_name);
	default:
		if (!arena->pool_count)
			return (uint8_t *)custom_name;
		return (uint8_t *)arena->directory +
		       next_random() % ((uint64_t)arena->pool_count * arena->entry_bytes);
	}
}

/* Where the truth was, and where the lie says that something is. */
static void look_around(struct target *target, const struct heapmap_arena *table, uint32_t count)
{
	struct ct_place place;

	for (int i = 0; i < 12; i++) {
		ct_raddr_t at = truths[next_random() % OBJECTS].block + next_random() % 4096;

		if (i % 3 == 0)
			at = table[next_random() % count].start + next_random() % (5u << 20);
		if (i % 3 == 1)
			at = table[next_random() % count].end - next_random() % (1u << 14);
		if (!locate(target, at, &place))
			continue;
		assert_true((unsigned int)place.cell < CT_CELL_COUNT);
		assert_true(place.type <= ct_names__count(target->names));
		if (place.cell != CT_CELL_REFCOUNT && place.cell != CT_CELL_GC_HEADER &&
		    place.cell != CT_CELL_FREE) /* those may be apart */
			assert_true(!place.object || place.object <= at);
	}
}

static void test_lying_heap(void **state)
{
	const struct heapmap_arena *table = (void *)heapmap_descriptor.arenas;
	uint32_t table_count = heapmap_descriptor.arena_count;
	const struct truth *stable = &truths[1];
	struct target target = { 0 };
	struct ct_place place;

	(void)state;
	open_target(&target, getpid());
	for (int round = 0; round < 100000; round++) {
		uint8_t *victims[FLIPS_MAX], flips[FLIPS_MAX];
		size_t count = 1 + next_random() % FLIPS_MAX;

		for (size_t i = 0; i < count; i++)
			victims[i] = random_victim(); /* before the map is a lie */
		for (size_t i = 0; i < count; i++) {
			flips[i] = (uint8_t)(1u << next_random() % 8);
			if (next_random() % 4 == 0)
				flips[i] = (uint8_t)next_random();
			*victims[i] ^= flips[i];
		}
		renew(&target);
		look_around(&target, table, table_count);
		for (size_t i = 0; i < count; i++)
			*victims[i] ^= flips[i];
	}
	renew(&target);
	assert_true(locate(&target, stable->block, &place));
	check_live(&target, stable, stable->block, &place);
	close_target(&target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_renew),
		cmocka_unit_test(test_busy_target),
		cmocka_unit_test(test_unsettled),
		cmocka_unit_test(test_lying_heap),
	};

	RUN_IN_BOTH_LAYOUTS(tests);
}
