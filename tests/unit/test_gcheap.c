/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_gcheap.c - the embedded heap by itself, in both layouts: blocks, lifetimes, types, running
 * out of memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gcheap/gcheap.h"
#include "gcheap/heapmap.h"

static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static enum gcheap_layout layout;

static struct gcheap_stats stats(void)
{
	struct gcheap_stats now;

	gcheap_get_stats(&now);
	return now;
}

/* A container with one reference that counts how often it is made to let go of it. */
static int cell_deallocs;

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
	cell_deallocs++;
	gcheap_decref(((struct cell *)op)->next);
}

static void cell_clear(struct gcheap_object *op)
{
	struct gcheap_object *next = ((struct cell *)op)->next;

	((struct cell *)op)->next = NULL;
	gcheap_decref(next);
}

static const struct gcheap_type cell_type = {
	.name = "cell",
	.basicsize = sizeof(struct cell),
	.flags = GCHEAP_CONTAINER,
	.traverse = cell_traverse,
	.dealloc = cell_dealloc,
	.clear = cell_clear,
};

static struct cell *cell_new(struct gcheap_object *next)
{
	struct cell *cell = (void *)gcheap_new(&cell_type, 0);

	assert_non_null(cell);
	cell->next = next;
	return cell;
}

#define BLOCKS 20000

static size_t random_size(void)
{
	switch (next_random() % 8) {
	case 0:
		return 4000 + next_random() % 200; /* around the biggest class */
	case 1:
		return 500 + next_random() % 3600;
	case 2:
		return next_random() % 100 == 0 ? next_random() % 300000 : 16;
	default:
		return next_random() % 520;
	}
}

static bool is_filled(const unsigned char *bytes, size_t len, unsigned char with)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != with)
			return false;
	}
	return true;
}

/* Every block is aligned, zero, its own: none overlaps another while thousands come and go. */
static void test_blocks_are_apart(void **state)
{
	static unsigned char *blocks[BLOCKS];
	static size_t sizes[BLOCKS];
	size_t before = stats().blocks;

	(void)state;
	for (int round = 0; round < 200000; round++) {
		size_t i = next_random() % BLOCKS;

		if (blocks[i]) {
			assert_true(is_filled(blocks[i], sizes[i], (unsigned char)i));
			gcheap_buffer_free(blocks[i]);
			blocks[i] = NULL;
			continue;
		}
		sizes[i] = random_size();
		blocks[i] = gcheap_buffer_new(&gcheap_list, sizes[i]);
		assert_non_null(blocks[i]);
		assert_int_equal((uintptr_t)blocks[i] % 16, 0);
		assert_true(is_filled(blocks[i], sizes[i], 0));
		memset(blocks[i], (int)(unsigned char)i, sizes[i]);
	}
	for (size_t i = 0; i < BLOCKS; i++) {
		gcheap_buffer_free(blocks[i]);
		blocks[i] = NULL;
	}
	assert_int_equal(stats().blocks, before);
	assert_int_equal(stats().big, 0);
}

static void test_memory_is_used_again(void **state)
{
	void *first = gcheap_buffer_new(&gcheap_list, 100), *again;
	size_t mapped;

	(void)state;
	assert_non_null(first);
	again = gcheap_buffer_new(&gcheap_list, 100);
	gcheap_buffer_free(first);
	assert_ptr_equal(gcheap_buffer_new(&gcheap_list, 112), first); /* same size class */
	gcheap_buffer_free(first);
	gcheap_buffer_free(again);
	mapped = stats().mapped_bytes;
	for (int i = 0; i < 1000; i++) {
		void *big = gcheap_buffer_new(&gcheap_list, 3u << 20);

		assert_non_null(big);
		gcheap_buffer_free(big);
	}
	assert_int_equal(stats().mapped_bytes, mapped);
	assert_int_equal(stats().pools, 0);
}

/* Big blocks leave the table in any order; those that stay must still be found to be freed. */
static void test_big_blocks(void **state)
{
	uint32_t arenas = heapmap_descriptor.arena_count;
	uint64_t generation = heapmap_descriptor.generation;
	static void *blocks[3000]; /* the table of arenas has to grow */

	(void)state;
	for (int i = 0; i < 3000; i++) {
		blocks[i] = gcheap_buffer_new(&gcheap_list, 5000 + next_random() % 40000);
		assert_non_null(blocks[i]);
		assert_int_equal((uintptr_t)blocks[i] % 16, 0);
	}
	assert_true(heapmap_descriptor.arena_count >= arenas + 3000);
	assert_true(heapmap_descriptor.generation > generation);
	assert_int_equal(heapmap_descriptor.generation % 2, 0);
	for (int left = 3000; left > 0; left--) {
		int i = (int)(next_random() % (unsigned int)left);

		gcheap_buffer_free(blocks[i]);
		blocks[i] = blocks[left - 1];
	}
	assert_int_equal(stats().big, 0);
	assert_true(heapmap_descriptor.arena_count <= arenas + 2); /* a chunk of directories */
}

static void test_refcounts(void **state)
{
	struct gcheap_object *leaf = gcheap_int_new(42), *tuple = gcheap_tuple_new(2);
	size_t blocks = stats().blocks;

	(void)state;
	assert_int_equal(gcheap_refcount(leaf), 1);
	gcheap_incref(leaf);
	assert_true(gcheap_set(tuple, 0, leaf)); /* takes the second reference */
	assert_int_equal(gcheap_refcount(leaf), 2);
	gcheap_incref(leaf);
	assert_false(
		gcheap_set(tuple, 2, leaf)); /* no such item: the reference is gone all the same */
	assert_int_equal(gcheap_refcount(leaf), 2);
	assert_null(gcheap_get(tuple, 1));
	assert_int_equal(gcheap_int_value(gcheap_get(tuple, 0)), 42);
	gcheap_decref(tuple);
	assert_int_equal(gcheap_refcount(leaf), 1);
	assert_int_equal(stats().blocks, blocks - 1);
	gcheap_decref(leaf);
	gcheap_decref(NULL);
	assert_int_equal(stats().blocks, blocks - 2);
}

/* A chain of a million objects dies without a million stack frames, each exactly once. */
static void test_long_chain(void **state)
{
	struct cell *head = NULL;
	size_t blocks = stats().blocks;

	(void)state;
	for (int i = 0; i < 1000000; i++)
		head = cell_new(head ? &head->head : NULL);
	assert_int_equal(stats().containers, 1000000);
	cell_deallocs = 0;
	gcheap_decref(&head->head);
	assert_int_equal(cell_deallocs, 1000000);
	assert_int_equal(stats().containers, 0);
	assert_int_equal(stats().blocks, blocks);
}

static void test_types(void **state)
{
	struct gcheap_object *list = gcheap_list_new(), *dict = gcheap_dict_new(), *key, *string;
	size_t blocks = stats().blocks;

	(void)state;
	string = gcheap_string_new("hello", 5);
	assert_string_equal(gcheap_string_text(string), "hello");
	assert_int_equal(gcheap_len(string), 5);
	for (int i = 0; i < 10000; i++) {
		assert_true(gcheap_append(list, gcheap_int_new(i)));
		gcheap_incref(gcheap_get(list, (size_t)i));
		assert_true(gcheap_dict_set(dict, gcheap_int_new(i % 5000),
					    gcheap_get(list, (size_t)i)));
	}
	assert_int_equal(gcheap_len(list), 10000);
	assert_int_equal(gcheap_len(dict), 5000);
	for (int i = 0; i < 10000; i++) {
		key = gcheap_int_new(i);
		if (i < 5000)
			assert_int_equal(gcheap_int_value(gcheap_dict_get(dict, key)), i + 5000);
		else
			assert_null(gcheap_dict_get(dict, key));
		gcheap_decref(key);
	}
	assert_true(gcheap_dict_set(dict, gcheap_string_new("hello", 5), gcheap_int_new(1)));
	assert_int_equal(gcheap_int_value(gcheap_dict_get(dict, string)), 1);
	assert_int_equal(gcheap_refcount(gcheap_get(list, 0)), 1); /* replaced in the dict */
	assert_int_equal(gcheap_refcount(gcheap_get(list, 9999)), 2);
	assert_null(gcheap_get(list, 10000));
	assert_null(gcheap_get(string, 0));
	gcheap_decref(string);
	gcheap_decref(list);
	gcheap_decref(dict);
	assert_int_equal(stats().blocks, blocks - 2);
}

static int progress_calls;

static void count_progress(void *arg)
{
	assert_ptr_equal(arg, &progress_calls);
	progress_calls++;
}

/* 1000 cells: a ring of 500 that nobody holds, a chain of 400 held once, 100 alone. */
static void test_collect(void **state)
{
	struct cell *cells[1000];
	size_t blocks = stats().blocks;

	(void)state;
	gcheap_disable();
	assert_int_equal(gcheap_collect(), 0);
	for (int i = 0; i < 1000; i++)
		cells[i] = cell_new(NULL);
	for (int i = 0; i < 899; i++) /* gives the reference away that we hold */
		cells[i]->next = &cells[i == 499 ? 0 : i + 1]->head;
	progress_calls = 0;
	gcheap_on_progress(count_progress, &progress_calls);
	cell_deallocs = 0;
	assert_int_equal(gcheap_collect(), 500);
	gcheap_on_progress(NULL, NULL);
	assert_int_equal(cell_deallocs, 500);
	assert_true(progress_calls >= 1000 / 64);
	assert_int_equal(stats().walked, 1000);
	assert_int_equal(stats().roots, 101); /* the chain's first and the 100 */
	for (int i = 500; i < 1000; i++) {
		assert_int_equal(gcheap_head_of(&cells[i]->head)->gc.gc_refs, GCHEAP_REACHABLE);
		assert_int_equal(gcheap_refcount(&cells[i]->head), 1);
	}
	gcheap_decref(&cells[500]->head);
	for (int i = 900; i < 1000; i++)
		gcheap_decref(&cells[i]->head);
	assert_int_equal(stats().blocks, blocks);
	assert_int_equal(gcheap_collect(), 0);
	gcheap_enable();
}

/* The header in front is where cowtrace and a debugger expect it. */
static void test_layout(void **state)
{
	struct gcheap_object *tuple = gcheap_tuple_new(3);
	union gcheap_head *head = gcheap_head_of(tuple);

	(void)state;
	assert_int_equal(sizeof(*head), 32);
	assert_int_equal((uintptr_t)head % 16, 0);
	if (layout == GCHEAP_INLINE) {
		assert_ptr_equal(head + 1, tuple);
		assert_int_equal(tuple->refcount, 1);
	} else {
		assert_int_equal(*gcheap_count_apart(tuple->refcount), 1);
		assert_true((uintptr_t)head / 4096 != (uintptr_t)tuple / 4096);
		assert_true((uintptr_t)gcheap_count_apart(tuple->refcount) / 4096 !=
			    (uintptr_t)head / 4096);
	}
	assert_int_equal(head->gc.gc_refs, GCHEAP_REACHABLE);
	assert_ptr_equal(head->gc.gc_next->gc.gc_prev, head);
	assert_ptr_equal(head->gc.gc_prev->gc.gc_next, head);
	assert_memory_equal(heapmap_descriptor.magic, HEAPMAP_MAGIC, 16);
	assert_string_equal(heapmap_descriptor.name, "gcheap");
	gcheap_decref(tuple);
}

/* One more item in both, if memory lasts. */
static bool grow(struct gcheap_object *list, struct gcheap_object *dict)
{
	struct gcheap_object *item = gcheap_tuple_new(next_random() % 700), *key;

	if (!item)
		return false;
	gcheap_incref(item);
	if (!gcheap_append(list, item)) {
		gcheap_decref(item);
		return false;
	}
	key = gcheap_int_new((int64_t)stats().blocks);
	if (!key) {
		gcheap_decref(item);
		return false;
	}
	return gcheap_dict_set(dict, key, item);
}

/* At every limit the heap says NULL in good order, and all of it can be given back. */
static void test_out_of_memory(void **state)
{
	size_t blocks = stats().blocks, base = stats().mapped_bytes, failures = 0, none = 0;

	(void)state;
	assert_null(gcheap_new(&gcheap_tuple, SIZE_MAX / 8));
	assert_null(gcheap_new(&gcheap_tuple, SIZE_MAX / 64));
	assert_null(gcheap_new(&gcheap_string, SIZE_MAX));
	assert_null(gcheap_buffer_new(&gcheap_list, SIZE_MAX));
	for (size_t limit = base + 4096; limit < base + (6u << 20); limit += 40000) {
		struct gcheap_object *list, *dict;

		gcheap_set_limit(limit);
		list = gcheap_list_new();
		dict = gcheap_dict_new();
		while (list && dict && grow(list, dict))
			;
		assert_true(stats().mapped_bytes <= limit);
		none += !list;
		failures++;
		assert_int_equal(gcheap_collect(), 0);
		gcheap_decref(list);
		gcheap_decref(dict);
		assert_int_equal(stats().blocks, blocks);
		assert_int_equal(stats().big, 0);
	}
	gcheap_set_limit(0);
	assert_true(failures > 100);
	assert_true(none > 10); /* the first limits don't even allow an arena */
}

static int open_heap(void **state)
{
	const struct gcheap_options options = { .layout = layout };

	(void)state;
	assert_true(gcheap_open(&options));
	return 0;
}

static int close_heap(void **state)
{
	(void)state;
	assert_int_equal(stats().blocks, 0);
	gcheap_close();
	assert_int_equal(stats().mapped_bytes, 0);
	assert_int_equal(heapmap_descriptor.arena_count, 0);
	return 0;
}

/* A heap in use can't be opened another way. */
static void test_open(void **state)
{
	const struct gcheap_options options = { .layout = GCHEAP_SPLIT };

	(void)state;
	assert_true(stats().mapped_bytes > 0);
	assert_false(gcheap_open(&options));
	assert_false(gcheap_open(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_out_of_memory), /* first: on a heap that has nothing */
		cmocka_unit_test(test_blocks_are_apart),
		cmocka_unit_test(test_memory_is_used_again),
		cmocka_unit_test(test_big_blocks),
		cmocka_unit_test(test_refcounts),
		cmocka_unit_test(test_long_chain),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_collect),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_open),
	};
	int failed;

	layout = GCHEAP_INLINE;
	failed = cmocka_run_group_tests_name("inline", tests, open_heap, close_heap);
	layout = GCHEAP_SPLIT;
	return failed + cmocka_run_group_tests_name("split", tests, open_heap, close_heap);
}
