/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_gcheap_checked.c - the checked build of the embedded heap, in both layouts: every misuse is
 * told with the object's name, right use never is, and each allocation of a program may fail.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "gcheap/gcheap.h"

static enum gcheap_layout layout;
static char told[512];
static int misuses;

static void note_misuse(const char *message)
{
	misuses++;
	snprintf(told, sizeof(told), "%s", message);
}

static int open_heap(void **state)
{
	const struct gcheap_options options = { .layout = layout };

	(void)state;
	assert_true(gcheap_open(&options));
	gcheap_on_misuse(note_misuse);
	misuses = 0;
	return 0;
}

static int close_heap(void **state)
{
	(void)state;
	gcheap_on_misuse(NULL);
	gcheap_close();
	return 0;
}

/* One misuse was told, and its message says both @what and, unless NULL, where @op is. */
static void expect(const char *what, const void *op)
{
	char address[32];

	snprintf(address, sizeof(address), "%p", op);
	if (misuses != 1 || !strstr(told, what) || (op && !strstr(told, address)))
		fail_msg("%d times \"%s\", not \"%s\" of %s", misuses, told, what, address);
	misuses = 0;
}

static void test_double_decref(void **state)
{
	struct gcheap_object *list = gcheap_list_new(), *number = gcheap_int_new(3);

	(void)state;
	gcheap_decref(list);
	gcheap_decref(list);
	expect("gcheap_decref: double decref: the list at", list);
	gcheap_decref(number);
	gcheap_decref(number);
	expect("double decref: the int at", number);
	for (int i = 0; i < 1000; i++) /* others come and go meanwhile */
		gcheap_decref(gcheap_int_new(i));
	gcheap_decref(number);
	expect("double decref: the int at", number);
}

static void test_use_after_free(void **state)
{
	struct gcheap_object *list = gcheap_list_new(), *big = gcheap_tuple_new(10000);

	(void)state;
	gcheap_decref(list);
	gcheap_incref(list);
	expect("gcheap_incref: use after free: the list at", list);
	assert_int_equal(gcheap_len(list), 0);
	expect("gcheap_len: use after free: the list at", list);
	assert_false(gcheap_append(list, NULL));
	expect("gcheap_append: use after free: the list at", list);
	gcheap_decref(big);
	gcheap_decref(big);
	expect("gcheap_decref: ", big); /* its memory is gone */
}

static void test_wrong_type(void **state)
{
	struct gcheap_object *number = gcheap_int_new(1), *list = gcheap_list_new();

	(void)state;
	assert_false(gcheap_append(number, NULL));
	expect("gcheap_append: wrong type: the int at", number);
	assert_int_equal(gcheap_int_value(list), 0);
	expect("gcheap_int_value: wrong type: the list at", list);
	assert_null(gcheap_dict_get(list, number));
	expect("is no dict", list);
	assert_null(gcheap_instance_new(list));
	expect("is no class", list);
	assert_null(gcheap_get(number, 0));
	expect("gcheap_get: wrong type: the int at", number);
	assert_null(gcheap_weakref_get(list));
	expect("is no weakref", list);
	assert_null(gcheap_get_attribute(number, number));
	expect("is no instance", number);
	gcheap_decref(number);
	gcheap_decref(list);
	assert_int_equal(misuses, 0);
}

static void test_foreign_pointers(void **state)
{
	struct gcheap_object own = { .refcount = 1, .type = &gcheap_list };
	struct gcheap_object *list = gcheap_list_new();
	void *buffer = gcheap_buffer_new(&gcheap_list, 64);

	(void)state;
	gcheap_decref(&own);
	expect("is no address of this heap", &own);
	assert_int_equal(own.refcount, 1);
	gcheap_incref((struct gcheap_object *)(void *)((char *)list + 8));
	expect("is no object", (char *)list + 8);
	gcheap_incref(buffer);
	expect("is no object", buffer);
	gcheap_incref((void *)((uintptr_t)list & ~16383ul));
	expect("the heap's own memory", NULL);
	gcheap_buffer_free(buffer);
	gcheap_decref(list);
	assert_int_equal(misuses, 0);
}

/* Without a function to tell it to, it ends the program with a message. */
static void test_abort(void **state)
{
	struct gcheap_object *list = gcheap_list_new();
	char text[256] = { 0 };
	int pipe_ends[2], status;
	ssize_t got;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(pipe_ends), 0);
	pid = fork();
	if (pid == 0) {
		dup2(pipe_ends[1], STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		gcheap_on_misuse(NULL);
		gcheap_decref(list);
		gcheap_decref(list);
		_exit(0);
	}
	close(pipe_ends[1]);
	got = read(pipe_ends[0], text, sizeof(text) - 1);
	close(pipe_ends[0]);
	waitpid(pid, &status, 0);
	assert_true(got > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(text, "gcheap: gcheap_decref: double decref: the list at"));
	gcheap_decref(list);
}

/* --- every allocation fails once -------------------------------------------------------------- */

static size_t blocks(void)
{
	struct gcheap_stats stats;

	gcheap_get_stats(&stats);
	return stats.blocks;
}

static void finalise(struct gcheap_object *op)
{
	struct gcheap_object *key = gcheap_int_new(99);

	if (key)
		gcheap_set_attribute(op, key, gcheap_list_new());
}

static void on_gone(struct gcheap_object *weakref, struct gcheap_object *arg)
{
	(void)weakref;
	if (arg) /* as callbacks do: make something */
		gcheap_append(arg, gcheap_int_new(1));
}

/* An instance in a cycle with a weak reference to it, all of it garbage in the end. */
static bool make_cycle(struct gcheap_object *cls, struct gcheap_object *list)
{
	struct gcheap_object *op = gcheap_instance_new(cls), *weakref, *key;
	bool done = false;

	if (!op)
		return false;
	gcheap_incref(list);
	weakref = gcheap_weakref_new(op, on_gone, list);
	key = gcheap_string_new("self", 4);
	if (weakref && key) {
		gcheap_incref(op);
		gcheap_incref(key);
		done = gcheap_set_attribute(op, key, op) && gcheap_get_attribute(op, key) == op;
	}
	gcheap_decref(key);
	if (!weakref || !gcheap_append(list, weakref))
		done = false;
	gcheap_decref(op);
	return done;
}

static bool fill(struct gcheap_object *list, struct gcheap_object *dict, struct gcheap_object *cls)
{
	for (int64_t i = 0; i < 12; i++) {
		struct gcheap_object *key = gcheap_int_new(i), *tuple;

		if (!key)
			return false;
		tuple = gcheap_tuple_new((size_t)i * 100);
		if (!tuple) {
			gcheap_decref(key);
			return false;
		}
		gcheap_incref(tuple);
		if (!gcheap_dict_set(dict, key, tuple)) {
			gcheap_decref(tuple);
			return false;
		}
		if (!gcheap_append(list, tuple) || !make_cycle(cls, list))
			return false;
	}
	return true;
}

/* Return: did all of it get its memory? Either way nothing is left. */
static bool program(void)
{
	struct gcheap_object *list = gcheap_list_new(), *dict = gcheap_dict_new();
	struct gcheap_object *name = gcheap_string_new("C", 1);
	struct gcheap_object *cls = name ? gcheap_class_new(name, finalise) : NULL;
	bool done = list && dict && cls && fill(list, dict, cls);

	gcheap_collect();
	gcheap_save_all(true); /* the garbage list may fail to grow, too */
	gcheap_collect();
	gcheap_save_all(false);
	gcheap_decref(list);
	gcheap_decref(dict);
	gcheap_decref(cls);
	gcheap_collect();
	return done;
}

static void test_every_allocation_fails(void **state)
{
	const size_t often[GCHEAP_GENERATIONS] = { 5, 2, 2 };
	size_t before, needed;

	(void)state;
	gcheap_set_thresholds(often);
	before = gcheap_allocations();
	assert_true(program());
	needed = gcheap_allocations() - before;
	assert_int_equal(blocks(), 0);
	assert_true(needed > 100);
	for (size_t i = 0; i < needed; i++) {
		gcheap_fail_after((int64_t)i);
		program();
		gcheap_fail_after(-1);
		gcheap_collect();
		assert_int_equal(misuses, 0);
		if (blocks())
			fail_msg("allocation %zu of %zu: %zu blocks are left", i, needed, blocks());
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_heap, close_heap)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_double_decref), TEST(test_use_after_free),
		TEST(test_wrong_type),	  TEST(test_foreign_pointers),
		TEST(test_abort),	  TEST(test_every_allocation_fails),
	};
	int failed;

	layout = GCHEAP_INLINE;
	failed = cmocka_run_group_tests_name("inline", tests, NULL, NULL);
	layout = GCHEAP_SPLIT;
	return failed + cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
