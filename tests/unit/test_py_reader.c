/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_py_reader.c - the reader as a whole: on a process without Python it says why not; on the
 * system's python3 it finds what id() says, again after a renew, and after the end nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap/reader.h"

#define PYTHON "/usr/bin/python3"

static struct ct_heap_source source;
static pid_t child;
static FILE *said;
static int tell; /* the child reads from it, and ends at its end */

static const char code[] = "import sys\n"
			   "class Pt(object):\n"
			   "    def __init__(self, i): self.i = i\n"
			   "many = [Pt(i) for i in range(20000)]\n"
			   "big = tuple(range(1000))\n"
			   "print(*[id(x) for x in (many[0], many[19999], many, big, None, dict, "
			   "10**30)], flush=True)\n"
			   "sys.stdin.readline()\n"
			   "del many[1::2]\n"
			   "print(id(many[0]), flush=True)\n"
			   "sys.stdin.readline()\n";

static void source_open(pid_t pid)
{
	source = (struct ct_heap_source){
		.maps = ct_maps__read(pid),
		.memory = ct_remote__open(pid),
		.types = ct_names__new(),
		.lines = ct_names__new(),
	};
	assert_non_null(source.maps);
	assert_non_null(source.memory);
}

static void source_close(void)
{
	ct_maps__put(source.maps);
	ct_remote__close(source.memory);
	ct_names__free(source.types);
	ct_names__free(source.lines);
}

static void test_no_python(void **state)
{
	const char *why = NULL;

	(void)state;
	source_open(getpid());
	assert_null(ct_reader_cpython.attach(&source, &why));
	assert_non_null(why);
	source_close();
	source.memory = NULL;
	assert_null(ct_reader_cpython.attach(&source, &why));
}

static void python_start(void)
{
	int in[2], out[2];

	assert_int_equal(pipe(in) | pipe(out), 0);
	child = fork();
	if (!child) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		execl(PYTHON, PYTHON, "-c", code, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	tell = in[1];
	said = fdopen(out[0], "r");
	assert_non_null(said);
}

static void python_end(void)
{
	close(tell);
	fclose(said);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void is(void *heap, uint64_t object, enum ct_cell cell, const char *type)
{
	struct ct_place place = { 0 };

	assert_true(ct_reader_cpython.locate(heap, object, NULL, &place));
	assert_string_equal(ct_cell_name(place.cell), ct_cell_name(cell));
	assert_int_equal(place.object, object);
	assert_int_equal(place.offset, 0);
	assert_string_equal(ct_names__name(source.types, place.type), type);
	assert_string_equal(ct_names__scope(source.types, place.type), "cpython");
}

static void check_first(void *heap, const uint64_t *ids)
{
	struct ct_place place = { 0 };
	struct ct_owner_query query;
	ct_raddr_t items;

	is(heap, ids[0], CT_CELL_REFCOUNT, "Pt");
	is(heap, ids[1], CT_CELL_REFCOUNT, "Pt");
	is(heap, ids[2], CT_CELL_REFCOUNT, "list");
	is(heap, ids[3], CT_CELL_REFCOUNT, "tuple");
	is(heap, ids[4], CT_CELL_STATIC, "NoneType");
	is(heap, ids[5], CT_CELL_STATIC, "type");
	is(heap, ids[6], CT_CELL_REFCOUNT, "int");
	/* the items of the list lie elsewhere, and are the list's */
	assert_int_equal(ct_remote__read(source.memory, ids[2] + 24, &items, 8), 8);
	assert_true(ct_reader_cpython.locate(heap, items + 8 * 12345, NULL, &place));
	assert_int_equal(place.cell, CT_CELL_BUFFER);
	assert_true(place.owner_unknown);
	query = (struct ct_owner_query){ .address = place.object };
	assert_int_equal(ct_reader_cpython.owners(heap, &query, 1, 5000000000ull), 1);
	assert_int_equal(query.object, ids[2]);
}

static void test_python(void **state)
{
	struct ct_interpreter interpreter = { 0 };
	struct ct_place place = { 0 };
	uint64_t ids[7], kept;
	const char *why = "";
	void *heap;

	(void)state;
	if (access(PYTHON, X_OK))
		skip();
	python_start();
	for (size_t i = 0; i < CT_ARRAY_SIZE(ids); i++)
		assert_int_equal(fscanf(said, "%" SCNu64, &ids[i]), 1);
	source_open(child);
	heap = ct_reader_cpython.attach(&source, &why);
	assert_non_null(heap);
	assert_true(ct_reader_cpython.interpreter(heap, &interpreter));
	assert_int_equal(strncmp(interpreter.version, "3.", 2), 0);
	check_first(heap, ids);
	assert_false(ct_reader_cpython.locate(heap, 0, NULL, &place));
	assert_false(ct_reader_cpython.locate(heap, UINT64_MAX, NULL, &place));
	assert_false(ct_reader_cpython.locate(heap, source.maps->list[0].start, NULL, &place));

	/* half of them go: what was known of their blocks is old */
	assert_int_equal(write(tell, "\n", 1), 1);
	assert_int_equal(fscanf(said, "%" SCNu64, &kept), 1);
	assert_int_equal(kept, ids[0]);
	is(heap, ids[1], CT_CELL_REFCOUNT, "Pt");
	ct_remote__renew(source.memory);
	ct_reader_cpython.renew(heap, &source);
	is(heap, ids[0], CT_CELL_REFCOUNT, "Pt");
	assert_true(ct_reader_cpython.locate(heap, ids[1], NULL, &place));
	assert_int_equal(place.cell, CT_CELL_FREE);

	python_end();
	ct_remote__renew(source.memory);
	ct_reader_cpython.renew(heap, &source);
	assert_false(ct_reader_cpython.locate(heap, ids[0], NULL, &place));
	ct_reader_cpython.close(heap);
	source_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_python),
		cmocka_unit_test(test_python),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
