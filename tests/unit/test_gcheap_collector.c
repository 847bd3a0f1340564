/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_gcheap_collector.c - when the collector runs and what it tells: thresholds and counts,
 * statistics, callbacks, its guard against itself, finalisers and weak references one by one,
 * untracking, the garbage list. In both layouts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gcheap/gcheap.h"

static enum gcheap_layout layout;
static struct gcheap_object *kept; /* a list, for what a test keeps */

static int open_heap(void **state)
{
	const struct gcheap_options options = { .layout = layout };

	(void)state;
	assert_true(gcheap_open(&options));
	kept = NULL;
	return 0;
}

static int close_heap(void **state)
{
	(void)state;
	gcheap_close();
	return 0;
}

static size_t count_of(int generation)
{
	size_t counts[GCHEAP_GENERATIONS];

	gcheap_get_counts(counts);
	return counts[generation];
}

static struct gcheap_generation_stats stats_of(int generation)
{
	struct gcheap_generation_stats stats;

	assert_true(gcheap_get_generation_stats(generation, &stats));
	return stats;
}

static size_t blocks(void)
{
	struct gcheap_stats stats;

	gcheap_get_stats(&stats);
	return stats.blocks;
}

static void make_cycle(void)
{
	struct gcheap_object *list = gcheap_list_new();

	assert_true(gcheap_append(list, list));
}

/* CPython's numbers: after 701 containers a collection of generation 0, after 11 of those one of
 * generation 1. */
static void test_thresholds(void **state)
{
	size_t thresholds[GCHEAP_GENERATIONS];

	(void)state;
	gcheap_get_thresholds(thresholds);
	assert_int_equal(thresholds[0], 700);
	assert_int_equal(thresholds[1], 10);
	assert_int_equal(thresholds[2], 10);
	kept = gcheap_list_new();
	for (int i = 1; i < 700; i++)
		assert_true(gcheap_append(kept, gcheap_list_new()));
	assert_int_equal(count_of(0), 700);
	assert_int_equal(stats_of(0).collections, 0);
	assert_true(gcheap_append(kept, gcheap_list_new()));
	assert_int_equal(stats_of(0).collections, 1);
	assert_int_equal(count_of(0), 0);
	assert_int_equal(count_of(1), 1);
	for (int i = 0; i < 701 * 10; i++)
		assert_true(gcheap_append(kept, gcheap_list_new()));
	assert_int_equal(stats_of(0).collections, 11);
	assert_int_equal(stats_of(1).collections, 0);
	for (int i = 0; i < 701; i++)
		assert_true(gcheap_append(kept, gcheap_list_new()));
	assert_int_equal(stats_of(0).collections, 11);
	assert_int_equal(stats_of(1).collections, 1);
	assert_int_equal(count_of(2), 1);
	gcheap_decref(kept); /* each freed container counts down, to 0 */
	assert_int_equal(count_of(0), 0);
}

/* Full collections get rarer as the heap grows: each needs a quarter more of survivors. */
static void test_long_lived(void **state)
{
	const size_t often[GCHEAP_GENERATIONS] = { 10, 1, 1 };
	size_t full = 0, made = 0, at[64] = { 0 };

	(void)state;
	gcheap_set_thresholds(often);
	kept = gcheap_list_new();
	for (; made < 100000; made++) {
		assert_true(gcheap_append(kept, gcheap_list_new()));
		if (stats_of(2).collections > full && full < 64)
			at[full++] = made;
	}
	assert_true(full > 20 && full < 60);
	for (size_t i = 0; i + 1 < full; i++)
		assert_true(at[i] < 1000 || (at[i + 1] - at[i]) * 5 > at[i]);
	gcheap_decref(kept);
}

static void test_enable(void **state)
{
	const size_t never[GCHEAP_GENERATIONS] = { 0, 10, 10 };

	(void)state;
	assert_true(gcheap_is_enabled());
	gcheap_disable();
	for (int i = 0; i < 5000; i++)
		make_cycle();
	assert_int_equal(stats_of(0).collections, 0);
	gcheap_enable();
	make_cycle();
	assert_int_equal(stats_of(0).collections, 1);
	assert_int_equal(stats_of(0).collected, 5000);
	gcheap_set_thresholds(never);
	for (int i = 0; i < 5000; i++)
		make_cycle();
	assert_int_equal(stats_of(0).collections, 1);
	assert_int_equal(gcheap_collect(), 5001);
	assert_int_equal(stats_of(2).collected, 5001);
	assert_int_equal(gcheap_collect_generation(-1), 0);
	assert_int_equal(gcheap_collect_generation(3), 0);
	assert_false(gcheap_get_generation_stats(3, &(struct gcheap_generation_stats){ 0 }));
}

static struct gcheap_event events[16];
static size_t event_count;

static void note_event(const struct gcheap_event *event, void *arg)
{
	assert_ptr_equal(arg, &events);
	events[event_count++ % 16] = *event;
	assert_int_equal(gcheap_collect(), 0); /* guarded */
}

static void test_callbacks(void **state)
{
	(void)state;
	event_count = 0;
	assert_true(gcheap_add_callback(note_event, &events));
	make_cycle();
	assert_int_equal(gcheap_collect_generation(1), 1);
	assert_int_equal(event_count, 2);
	assert_false(events[0].stop);
	assert_int_equal(events[0].generation, 1);
	assert_true(events[1].stop);
	assert_int_equal(events[1].collected, 1);
	assert_int_equal(events[1].uncollectable, 0);
	assert_true(gcheap_remove_callback(note_event, &events));
	assert_false(gcheap_remove_callback(note_event, &events));
	gcheap_collect();
	assert_int_equal(event_count, 2);
	for (int i = 0; i < GCHEAP_CALLBACKS_MAX; i++)
		assert_true(gcheap_add_callback(note_event, &events));
	assert_false(gcheap_add_callback(note_event, &events));
	while (gcheap_remove_callback(note_event, &events))
		;
}

static void test_untracking(void **state)
{
	struct gcheap_object *tuple = gcheap_tuple_new(2), *dict = gcheap_dict_new();

	(void)state;
	gcheap_set(tuple, 0, gcheap_int_new(1));
	gcheap_collect();
	assert_true(gcheap_is_tracked(tuple)); /* a slot is empty */
	gcheap_set(tuple, 1, gcheap_string_new("x", 1));
	gcheap_collect();
	assert_false(gcheap_is_tracked(tuple));
	assert_false(gcheap_is_tracked(dict));
	gcheap_dict_set(dict, gcheap_int_new(1), gcheap_int_new(2));
	assert_false(gcheap_is_tracked(dict));
	gcheap_dict_set(dict, gcheap_int_new(2), dict); /* gives our reference away */
	assert_true(gcheap_is_tracked(dict));
	assert_int_equal(gcheap_collect(), 1);
	assert_int_equal(blocks(), 3);
	gcheap_set(tuple, 1, tuple); /* and it is part of a cycle */
	assert_true(gcheap_is_tracked(tuple));
	assert_int_equal(gcheap_collect(), 1);
	assert_int_equal(blocks(), 0);
}

/* --- finalisers and weak references ---------------------------------------------------------- */

static int finalised;
static bool resurrect;

static void finalise(struct gcheap_object *op)
{
	finalised++;
	assert_int_equal(gcheap_collect_generation(0), 0); /* in a collection, or nothing to find */
	if (!resurrect)
		return;
	gcheap_incref(op);
	assert_true(gcheap_append(kept, op));
}

static struct gcheap_object *make_instance(struct gcheap_object *cls, bool cycle)
{
	struct gcheap_object *op = gcheap_instance_new(cls);

	if (cycle) {
		gcheap_incref(op);
		assert_true(gcheap_set_attribute(op, gcheap_int_new(1), op));
	}
	return op;
}

static void check_finaliser(bool cycle)
{
	struct gcheap_object *cls = gcheap_class_new(gcheap_string_new("C", 1), finalise), *op;

	finalised = 0;
	resurrect = true;
	kept = gcheap_list_new();
	op = make_instance(cls, cycle);
	gcheap_decref(op);
	gcheap_collect();
	assert_int_equal(finalised, 1);
	assert_int_equal(gcheap_len(kept), 1);
	assert_ptr_equal(gcheap_get(kept, 0), op);
	assert_true(gcheap_is_tracked(op));
	gcheap_decref(gcheap_pop(kept)); /* now it dies: a finaliser is called once */
	assert_int_equal(gcheap_collect(), cycle ? 2 : 0);
	assert_int_equal(finalised, 1);
	assert_int_equal(gcheap_refcount(cls), 1);
	gcheap_decref(cls);
	gcheap_decref(kept);
	assert_int_equal(blocks(), 0);
}

static void test_finalisers(void **state)
{
	(void)state;
	check_finaliser(false);
	check_finaliser(true);
}

static int called;

static void on_gone(struct gcheap_object *weakref, struct gcheap_object *arg)
{
	called++;
	assert_null(gcheap_weakref_get(weakref));
	assert_int_equal(gcheap_int_value(arg), 5);
}

static void test_weakrefs(void **state)
{
	struct gcheap_object *cls = gcheap_class_new(gcheap_string_new("C", 1), NULL), *refs[3],
			     *op;

	(void)state;
	assert_null(gcheap_weakref_new(op = gcheap_list_new(), NULL, NULL));
	gcheap_decref(op);
	for (int cycle = 0; cycle < 2; cycle++) {
		called = 0;
		op = make_instance(cls, cycle);
		for (int i = 0; i < 3; i++)
			refs[i] = gcheap_weakref_new(op, i ? on_gone : NULL, gcheap_int_new(5));
		assert_ptr_equal(gcheap_weakref_get(refs[0]), op);
		gcheap_decref(op);
		gcheap_decref(refs[1]); /* one that is gone first is not called */
		gcheap_decref(op);
		gcheap_collect();
		assert_int_equal(called, 1);
		assert_null(gcheap_weakref_get(refs[0]));
		gcheap_decref(refs[0]);
		gcheap_decref(refs[2]);
	}
	/* a weak reference that is garbage with what it refers to is not called */
	called = 0;
	op = make_instance(cls, true);
	refs[0] = gcheap_weakref_new(op, on_gone, gcheap_int_new(5));
	assert_true(gcheap_set_attribute(op, gcheap_int_new(2), refs[0]));
	gcheap_decref(op);
	assert_int_equal(gcheap_collect(), 3); /* with the dict */
	assert_int_equal(called, 0);
	gcheap_decref(cls);
	assert_int_equal(blocks(), 0);
}

/* --- garbage --------------------------------------------------------------------------------- */

struct cell {
	struct gcheap_object head;
	struct gcheap_object *next;
};

static void cell_traverse(struct gcheap_object *op, gcheap_visit visit, void *arg)
{
	visit(((struct cell *)op)->next, arg);
}

static void cell_dealloc(struct gcheap_object *op)
{
	gcheap_decref(((struct cell *)op)->next);
}

static const struct gcheap_type cell_type = {
	.name = "cell",
	.basicsize = sizeof(struct cell),
	.flags = GCHEAP_CONTAINER,
	.traverse = cell_traverse,
	.dealloc = cell_dealloc,
};

static void test_garbage(void **state)
{
	struct cell *a = (void *)gcheap_new(&cell_type, 0), *b = (void *)gcheap_new(&cell_type, 0);
	struct gcheap_object *list = gcheap_list_new(), *garbage;

	(void)state;
	assert_null(gcheap_garbage());
	a->next = list; /* a cycle that the list breaks */
	gcheap_append(list, &a->head);
	assert_int_equal(gcheap_collect(), 2);
	assert_null(gcheap_garbage());
	a = (void *)gcheap_new(&cell_type, 0);
	a->next = &b->head; /* and one that nobody does */
	b->next = &a->head;
	assert_int_equal(gcheap_collect(), 2);
	assert_int_equal(stats_of(2).uncollectable, 2);
	garbage = gcheap_garbage();
	assert_int_equal(gcheap_len(garbage), 2);
	assert_int_equal(gcheap_collect(), 0); /* reachable, by that list */
	b->next = NULL;
	gcheap_decref(&a->head);
	while (gcheap_len(garbage))
		gcheap_decref(gcheap_pop(garbage));
	gcheap_save_all(true);
	make_cycle();
	assert_int_equal(gcheap_collect(), 1);
	assert_int_equal(gcheap_len(garbage), 1);
	gcheap_save_all(false);
	gcheap_decref(gcheap_pop(garbage));
	assert_int_equal(gcheap_collect(), 1);
	gcheap_decref(garbage);
	assert_int_equal(blocks(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_heap, close_heap)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_thresholds), TEST(test_long_lived), TEST(test_enable),
		TEST(test_callbacks),  TEST(test_untracking), TEST(test_finalisers),
		TEST(test_weakrefs),   TEST(test_garbage),
	};
	int failed;

	layout = GCHEAP_INLINE;
	failed = cmocka_run_group_tests_name("inline", tests, NULL, NULL);
	layout = GCHEAP_SPLIT;
	return failed + cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
