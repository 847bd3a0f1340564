/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_reader_gcheap.c - the gcheap reader on real processes: every word of a forked copy of this
 * test's heap, in either layout, against what the library did.
 */
#include "reader_gcheap_fixture.h"

/* --- every word ------------------------------------------------------------------------------ */

/* What is no word of an object: its block's padding, free, or the allocator's. */
static void check_other(ct_raddr_t address, const struct heapmap_arena *arena,
			const struct ct_place *place)
{
	uint64_t offset = address - arena->start, pool_bytes = arena->pool_bytes;
	bool head = arena->pool_count == 0 ||
		    (offset / pool_bytes < arena->pool_count && offset % pool_bytes < 64);
	const uint64_t *truth;

	if (place->cell == CT_CELL_PAYLOAD || place->cell == CT_CELL_BUFFER) {
		truth = ct_map__find(&truth_of, place->object);
		assert_non_null(truth);
		assert_true(place->offset >= truths[*truth - 1].bytes);
		assert_true(place->offset < place->size);
		return;
	}
	assert_true(place->cell == CT_CELL_ALLOCATOR || (place->cell == CT_CELL_FREE && !head));
	assert_int_equal(place->type, 0);
}

/* A count or a GC header apart, with the object it belongs to. */
static void check_apart(const struct target *target, ct_raddr_t at, enum ct_cell cell,
			const struct ct_place *place)
{
	const uint64_t *index = ct_map__find(cell == CT_CELL_REFCOUNT ? &counts : &heads, at);
	const struct truth *truth;

	if (!index)
		fail_msg("%#lx is no %s of ours", (unsigned long)at, ct_cell_name(cell));
	truth = &truths[*index - 1];
	if (place->cell != cell || place->object != truth->block || place->size < truth->bytes ||
	    strcmp(type_name(target, place), truth->type->name))
		fail_msg("%#lx, the %s of a %s at %#lx: %s of a %s at %#lx", (unsigned long)at,
			 ct_cell_name(cell), truth->type->name, (unsigned long)truth->block,
			 ct_cell_name(place->cell), type_name(target, place),
			 (unsigned long)place->object);
	assert_int_equal(place->offset, cell == CT_CELL_REFCOUNT ? 0 : at % 32);
}

static void check_word(const struct target *target, const struct heapmap_arena *arena,
		       ct_raddr_t at, const struct ct_place *place)
{
	const uint64_t *truth = ct_map__find(&truth_of, at);

	if (truth)
		check_live(target, &truths[*truth - 1], at, place);
	else if (ct_map__find(&counts, at))
		check_apart(target, at, CT_CELL_REFCOUNT, place);
	else if (ct_map__find(&heads, at))
		check_apart(target, at, CT_CELL_GC_HEADER, place);
	else
		check_other(at, arena, place);
}

static void test_every_word(void **state)
{
	const struct heapmap_arena *arenas = (void *)heapmap_descriptor.arenas;
	size_t words[CT_CELL_COUNT] = { 0 }, live = 0;
	struct target target;
	struct ct_place place;

	(void)state;
	start_target(&target);
	for (uint32_t i = 0; i < heapmap_descriptor.arena_count; i++) {
		for (ct_raddr_t at = arenas[i].start; at < arenas[i].end;
		     at += layout == GCHEAP_SPLIT ? 4 : 8) {
			assert_true(locate(&target, at, &place));
			words[place.cell]++;
			if (at % 8 == 0 || ct_map__find(&counts, at))
				check_word(&target, &arenas[i], at, &place);
			live += ct_map__find(&truth_of, at) != NULL;
		}
	}
	assert_int_equal(live, ct_map__count(&truth_of));
	for (size_t i = 0; i < OBJECTS; i += 7) {
		if (truths[i].bytes > 4080 || !locate(&target, truths[i].block, &place))
			continue; /* a big block: unmapped */
		assert_int_equal(place.cell, CT_CELL_FREE);
	}
	if (layout == GCHEAP_INLINE) {
		/* containers: 4 words of header, 1 refcount, 1 type */
		assert_int_equal(words[CT_CELL_REFCOUNT], words[CT_CELL_TYPE]);
		assert_true(words[CT_CELL_GC_HEADER] > 2 * words[CT_CELL_REFCOUNT]);
	} else {
		assert_int_equal(words[CT_CELL_REFCOUNT], ct_map__count(&counts));
		assert_int_equal(words[CT_CELL_TYPE], 2 * words[CT_CELL_REFCOUNT]);
		assert_int_equal(words[CT_CELL_GC_HEADER], 2 * ct_map__count(&heads));
	}
	assert_int_equal(words[CT_CELL_UNKNOWN], 0);
	assert_false(locate(&target, (uintptr_t)&place, &place));
	assert_false(locate(&target, UINT64_MAX, &place));
	stop_target(&target);
}

/* Random addresses: claimed exactly if in an arena. */
static void test_random_addresses(void **state)
{
	const struct heapmap_arena *arenas = (void *)heapmap_descriptor.arenas;
	struct target target;
	struct ct_place place;
	size_t inside = 0;

	(void)state;
	start_target(&target);
	for (int round = 0; round < 200000; round++) {
		ct_raddr_t at = next_random() >> next_random() % 40;
		bool in = false;

		if (round % 2) /* near an arena */
			at = arenas[next_random() % heapmap_descriptor.arena_count].start - 4096 +
			     next_random() % (2u << 20);
		for (uint32_t i = 0; i < heapmap_descriptor.arena_count && !in; i++)
			in = at >= arenas[i].start && at < arenas[i].end;
		assert_int_equal(locate(&target, at, &place), in);
		inside += in;
	}
	assert_true(inside > 10000);
	stop_target(&target);
}

/* In a pool of mixed types the record's own bytes go before the target's. */
static void test_bytes_of_the_record(void **state)
{
	struct gcheap_object *ops[200], bytes;
	struct target target;
	struct ct_place place;
	struct ct_bytes before = { .data = (void *)&bytes, .len = sizeof(bytes) };

	(void)state;
	for (int i = 0; i < 200; i++) /* 80 bytes each */
		ops[i] = i % 2 ? gcheap_new(&gcheap_tuple, 3) : gcheap_new(&gcheap_list, 0);
	start_target(&target);
	for (int i = 0; i < 200; i++) {
		before.address = (uintptr_t)ops[i];
		bytes = (struct gcheap_object){ .refcount = 1, .type = &custom_type };
		assert_true(locate(&target, (uintptr_t)ops[i], &place));
		assert_int_equal(place.cell, refcount_word());
		assert_string_equal(type_name(&target, &place), i % 2 ? "tuple" : "list");
		assert_true(
			ct_reader_gcheap.locate(target.heap, (uintptr_t)ops[i], &before, &place));
		assert_string_equal(type_name(&target, &place), "Custom");
		before.len = 15; /* not the whole type word */
		assert_true(
			ct_reader_gcheap.locate(target.heap, (uintptr_t)ops[i], &before, &place));
		assert_string_equal(type_name(&target, &place), i % 2 ? "tuple" : "list");
		before.len = sizeof(bytes);
	}
	stop_target(&target);
	for (int i = 0; i < 200; i++)
		gcheap_decref(ops[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_word),
		cmocka_unit_test(test_random_addresses),
		cmocka_unit_test(test_bytes_of_the_record),
	};

	RUN_IN_BOTH_LAYOUTS(tests);
}
