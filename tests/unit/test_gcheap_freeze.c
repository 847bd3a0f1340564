/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_gcheap_freeze.c - frozen and immortal objects, in both layouts: collections pass the frozen
 * by, and what is immortal can be used when none of its memory can be written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "gcheap/gcheap.h"
#include "gcheap/heapmap.h"

static enum gcheap_layout layout;

static struct gcheap_stats stats(void)
{
	struct gcheap_stats now;

	gcheap_get_stats(&now);
	return now;
}

static int open_heap(void **state)
{
	const struct gcheap_options options = { .layout = layout, .disabled = true };

	(void)state;
	assert_true(gcheap_open(&options));
	return 0;
}

static int close_heap(void **state)
{
	(void)state;
	gcheap_close();
	return 0;
}

/* Two lists that hold each other, and nobody else does. */
static void make_cycle(struct gcheap_object **first, struct gcheap_object **second)
{
	*first = gcheap_list_new();
	*second = gcheap_list_new();
	assert_true(gcheap_append(*first, *second));
	assert_true(gcheap_append(*second, *first));
}

static void test_frozen_cycles(void **state)
{
	struct gcheap_object *a, *b, *kept = gcheap_list_new();
	size_t blocks;

	(void)state;
	assert_int_equal(gcheap_freeze_count(), 0);
	make_cycle(&a, &b);
	gcheap_freeze();
	assert_int_equal(gcheap_freeze_count(), 3);
	assert_int_equal(gcheap_collect(), 0); /* garbage, but frozen */
	assert_int_equal(stats().walked, 0);
	blocks = stats().blocks;
	make_cycle(&a, &b); /* after it: collected as ever */
	assert_int_equal(gcheap_collect(), 2);
	assert_int_equal(stats().walked, 2);
	assert_int_equal(stats().blocks, blocks);
	a = gcheap_list_new(); /* young, held by a frozen one only */
	assert_true(gcheap_append(kept, a));
	assert_int_equal(gcheap_collect(), 0);
	assert_int_equal(gcheap_refcount(a), 1);
	gcheap_unfreeze();
	assert_int_equal(gcheap_freeze_count(), 0);
	assert_int_equal(gcheap_collect(), 2);
	assert_int_equal(stats().walked, 4);
	gcheap_freeze();
	gcheap_decref(kept); /* the frozen die by their refcount like all */
	assert_int_equal(gcheap_freeze_count(), 0);
	assert_int_equal(stats().blocks, 0);
}

static struct gcheap_object *make_graph(size_t records)
{
	struct gcheap_object *list = gcheap_list_new();
	struct gcheap_object *cls = gcheap_class_new(gcheap_string_new("Class", 5), NULL);

	for (size_t i = 0; i < records; i++) {
		struct gcheap_object *tuple = gcheap_tuple_new(3), *inner = gcheap_tuple_new(1);
		struct gcheap_object *instance = gcheap_instance_new(cls);

		gcheap_set(inner, 0, gcheap_string_new("a text", 6)); /* atomic: untracked */
		gcheap_set(tuple, 0, gcheap_int_new((int64_t)i));
		gcheap_set(tuple, 1, inner);
		gcheap_set_attribute(instance, gcheap_string_new("me", 2),
				     (gcheap_incref(instance), instance));
		gcheap_set(tuple, 2, instance);
		assert_true(gcheap_append(list, tuple));
	}
	gcheap_decref(cls);
	return list;
}

static void use(struct gcheap_object *op, void *arg)
{
	size_t *count = arg;

	if (!op)
		return;
	gcheap_incref(op);
	++*count;
	if (op->type->traverse && (op->type != &gcheap_instance || *count % 2))
		op->type->traverse(op, use, arg);
	gcheap_decref(op);
}

static void use_graph(struct gcheap_object *list)
{
	size_t count = 0;

	for (size_t i = 0; i < gcheap_len(list); i++) {
		struct gcheap_object *tuple = gcheap_get(list, i);

		use(gcheap_get(tuple, 0), &count);
		use(gcheap_get(tuple, 1), &count);
		gcheap_incref(gcheap_get(tuple, 2));
		gcheap_decref(gcheap_get(tuple, 2));
	}
	assert_true(count >= 2 * gcheap_len(list));
}

/* All that the heap has: pools, side tables, directories. A write to it would be a SIGSEGV. */
static void protect(int protection)
{
	const struct heapmap_arena *arenas = (void *)(uintptr_t)heapmap_descriptor.arenas;
	struct heapmap_arena copy[64];
	uint32_t count = heapmap_descriptor.arena_count;

	assert_true(count < 64);
	memcpy(copy, arenas, count * sizeof(copy[0])); /* the table is in one of them */
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(mprotect((void *)(uintptr_t)copy[i].start,
					  copy[i].end - copy[i].start, protection),
				 0);
}

static void test_immortals_are_not_written(void **state)
{
	struct gcheap_object *graph = make_graph(3000), *single = gcheap_int_new(7);
	size_t made;

	(void)state;
	gcheap_collect(); /* untracks the inner tuples */
	assert_false(gcheap_is_tracked(gcheap_get(gcheap_get(graph, 0), 1)));
	gcheap_freeze();
	made = gcheap_immortalise_frozen();
	/* a list, a class and its name, and of each record 2 tuples, int, string, instance, its
	 * dict, the key */
	assert_int_equal(made, 3 + 3000 * 7);
	assert_int_equal(gcheap_immortalise_frozen(), 0);
	assert_false(gcheap_is_immortal(single));
	gcheap_immortalise(single);
	assert_true(gcheap_is_immortal(single));
	assert_int_equal(gcheap_refcount(single), INT64_MAX);
	protect(PROT_READ);
	use_graph(graph);
	assert_int_equal(gcheap_collect(), 0);
	for (int i = 0; i < 1000; i++)
		gcheap_decref(single);
	gcheap_decref(graph);
	protect(PROT_READ | PROT_WRITE);
	assert_int_equal(gcheap_int_value(single), 7);
	assert_int_equal(gcheap_len(graph), 3000);
	gcheap_unfreeze(); /* thawed, they are collected with the rest, and found reachable */
	assert_int_equal(gcheap_collect(), 0);
	assert_int_equal(gcheap_collect(), 0);
	use_graph(graph);
}

/* What an immortal holds is as mortal as before, but held. */
static void test_immortal_holder(void **state)
{
	struct gcheap_object *list = gcheap_list_new(), *item = gcheap_list_new(), *a, *b;
	size_t blocks;

	(void)state;
	gcheap_immortalise(list);
	assert_true(gcheap_append(list, item));
	blocks = stats().blocks;
	assert_int_equal(gcheap_collect(), 0);
	assert_int_equal(gcheap_refcount(item), 1);
	make_cycle(&a, &b);
	assert_true(gcheap_append(a, list)); /* garbage that refers to it */
	assert_int_equal(gcheap_collect(), 2);
	assert_int_equal(stats().blocks, blocks);
	assert_true(gcheap_set(list, 0, NULL));
	assert_int_equal(stats().blocks, blocks - 1);
}

/* A count apart that overflows sticks: a leak, never a use after free. */
static void test_overflow(void **state)
{
	struct gcheap_object *op = gcheap_int_new(1);

	(void)state;
	if (layout == GCHEAP_SPLIT) {
		*gcheap_count_apart(op->refcount) = 0x7fffffff;
		gcheap_incref(op);
		assert_true(gcheap_is_immortal(op));
		gcheap_decref(op);
		gcheap_decref(op);
		assert_true(gcheap_is_immortal(op));
		return;
	}
	op->refcount = INT64_C(1) << 40;
	gcheap_incref(op);
	assert_int_equal(gcheap_refcount(op), (INT64_C(1) << 40) + 1);
	op->refcount = 1;
	gcheap_decref(op);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_frozen_cycles, open_heap, close_heap),
		cmocka_unit_test_setup_teardown(test_immortals_are_not_written, open_heap,
						close_heap),
		cmocka_unit_test_setup_teardown(test_immortal_holder, open_heap, close_heap),
		cmocka_unit_test_setup_teardown(test_overflow, open_heap, close_heap),
	};
	int failed;

	layout = GCHEAP_INLINE;
	failed = cmocka_run_group_tests_name("inline", tests, NULL, NULL);
	layout = GCHEAP_SPLIT;
	return failed + cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
