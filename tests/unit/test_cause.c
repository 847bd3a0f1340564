/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_cause.c - the cause of a write, over all cells, phases and kinds of writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "resolve/cause.h"

/* The table of readers is the test's own: only their names count here. */
static const struct ct_reader gcheap = { .name = "gcheap" };
static const struct ct_reader cpython = { .name = "cpython" };
static const struct ct_reader glibc = { .name = "glibc" };
static const struct ct_reader generic = { .name = "generic" };

enum { GCHEAP, CPYTHON, GLIBC, GENERIC };

const struct ct_reader *const ct_readers[] = { &gcheap, &cpython, &glibc, &generic, NULL };

#define QUIET	   CT_PHASE_KNOWN
#define COLLECTING (CT_PHASE_KNOWN | CT_PHASE_COLLECTING)
#define FINALISING (CT_PHASE_KNOWN | CT_PHASE_FINALISING)

static enum ct_cause cause(enum ct_cell cell, int reader, const char *symbol, uint32_t phase)
{
	const struct ct_place place = { .cell = cell };

	return ct_cause_of(&place, reader, symbol, phase);
}

static const enum ct_cell heap_cells[] = {
	CT_CELL_GC_HEADER, CT_CELL_REFCOUNT, CT_CELL_TYPE,	CT_CELL_PAYLOAD, CT_CELL_PREHEADER,
	CT_CELL_BUFFER,	   CT_CELL_FREE,     CT_CELL_ALLOCATOR, CT_CELL_STATIC,
};

static void test_quiet(void **state)
{
	static const struct {
		enum ct_cell cell;
		enum ct_cause cause;
	} want[] = {
		{ CT_CELL_UNKNOWN, CT_CAUSE_UNKNOWN },
		{ CT_CELL_GC_HEADER, CT_CAUSE_GC_LINK },
		{ CT_CELL_REFCOUNT, CT_CAUSE_REFCOUNT },
		{ CT_CELL_TYPE, CT_CAUSE_MUTATION },
		{ CT_CELL_PAYLOAD, CT_CAUSE_MUTATION },
		{ CT_CELL_PREHEADER, CT_CAUSE_MUTATION },
		{ CT_CELL_BUFFER, CT_CAUSE_MUTATION },
		{ CT_CELL_FREE, CT_CAUSE_ALLOCATION },
		{ CT_CELL_ALLOCATOR, CT_CAUSE_ALLOCATION },
		{ CT_CELL_STATIC, CT_CAUSE_MUTATION },
		{ CT_CELL_DATA, CT_CAUSE_UNKNOWN },
	};

	(void)state;
	/* the writer's name makes no difference where the phase is known */
	for (size_t i = 0; i < CT_ARRAY_SIZE(want); i++) {
		assert_int_equal(cause(want[i].cell, CPYTHON, "collect", QUIET), want[i].cause);
		assert_int_equal(cause(want[i].cell, CPYTHON, "python3.11+0x1", QUIET),
				 want[i].cause);
	}
}

static void test_collecting_and_ending(void **state)
{
	const struct ct_place own = { .cell = CT_CELL_DATA, .interpreter = true };

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(heap_cells); i++) {
		assert_int_equal(cause(heap_cells[i], CPYTHON, "x", COLLECTING), CT_CAUSE_GC);
		assert_int_equal(cause(heap_cells[i], CPYTHON, "x", FINALISING), CT_CAUSE_EXIT);
		/* collecting while it ends is still its end */
		assert_int_equal(cause(heap_cells[i], CPYTHON, "x", COLLECTING | FINALISING),
				 CT_CAUSE_EXIT);
		/* flags without "known" are not there */
		assert_int_not_equal(cause(heap_cells[i], CPYTHON, "x", CT_PHASE_FINALISING),
				     CT_CAUSE_EXIT);
		assert_int_equal(cause(heap_cells[i], GLIBC, "x", FINALISING), CT_CAUSE_EXIT);
		assert_int_not_equal(cause(heap_cells[i], GLIBC, "x", COLLECTING), CT_CAUSE_GC);
	}
	assert_int_equal(cause(CT_CELL_UNKNOWN, CPYTHON, "x", COLLECTING), CT_CAUSE_UNKNOWN);
	assert_int_equal(cause(CT_CELL_UNKNOWN, CPYTHON, "x", FINALISING), CT_CAUSE_UNKNOWN);
	assert_int_equal(ct_cause_of(&own, CPYTHON, "x", 0), CT_CAUSE_RUNTIME);
	assert_int_equal(ct_cause_of(&own, CPYTHON, "x", QUIET), CT_CAUSE_RUNTIME);
	assert_int_equal(ct_cause_of(&own, CPYTHON, "x", COLLECTING), CT_CAUSE_RUNTIME);
	assert_int_equal(ct_cause_of(&own, CPYTHON, "x", FINALISING), CT_CAUSE_EXIT);
	/* other memory of the process does what it always does */
	for (uint32_t phase = 0; phase < 16; phase++) {
		assert_int_equal(cause(CT_CELL_STACK, GENERIC, "x", phase), CT_CAUSE_RUNTIME);
		assert_int_equal(cause(CT_CELL_DATA, GENERIC, "x", phase), CT_CAUSE_UNKNOWN);
		assert_int_equal(cause(CT_CELL_FILE, GENERIC, "x", phase), CT_CAUSE_MUTATION);
		assert_int_equal(cause(CT_CELL_GC_HEADER, GCHEAP, "update_refs", phase),
				 CT_CAUSE_GC);
		assert_int_equal(cause(CT_CELL_UNKNOWN, -1, "x", phase), CT_CAUSE_UNKNOWN);
	}
}

static void test_static_fields(void **state)
{
	struct ct_place place = { .cell = CT_CELL_STATIC, .field = CT_CELL_REFCOUNT };

	(void)state;
	assert_int_equal(ct_cause_of(&place, CPYTHON, "x", QUIET), CT_CAUSE_REFCOUNT);
	assert_int_equal(ct_cause_of(&place, CPYTHON, "x", 0), CT_CAUSE_REFCOUNT);
	assert_int_equal(ct_cause_of(&place, CPYTHON, "x", COLLECTING), CT_CAUSE_GC);
	assert_int_equal(ct_cause_of(&place, CPYTHON, "x", FINALISING), CT_CAUSE_EXIT);
	place.field = CT_CELL_PAYLOAD;
	assert_int_equal(ct_cause_of(&place, CPYTHON, "x", QUIET), CT_CAUSE_MUTATION);
	place.field = CT_CELL_GC_HEADER;
	assert_int_equal(ct_cause_of(&place, CPYTHON, "x", QUIET), CT_CAUSE_GC_LINK);
	assert_int_equal(ct_cause_of(&place, CPYTHON, "subtract_refs", 0), CT_CAUSE_GC);
}

/* No phase: only the function that wrote can tell a collector from a neighbour. */
static void test_writers(void **state)
{
	static const struct {
		const char *symbol;
		enum ct_cause cause;
	} want[] = {
		{ "collect", CT_CAUSE_GC },
		{ "collect.constprop.0", CT_CAUSE_GC },
		{ "collect.isra.0.cold", CT_CAUSE_GC },
		{ "gc_collect_main", CT_CAUSE_GC },
		{ "gc_collect_main.part.0", CT_CAUSE_GC },
		{ "visit_decref", CT_CAUSE_GC },
		{ "visit_reachable", CT_CAUSE_GC },
		{ "move_unreachable", CT_CAUSE_GC },
		{ "delete_garbage", CT_CAUSE_GC },
		{ "subtract_refs", CT_CAUSE_GC },
		{ "dict_traverse", CT_CAUSE_GC },
		{ "PyObject_GC_Track", CT_CAUSE_GC_LINK },
		{ "PyObject_GC_UnTrack", CT_CAUSE_GC_LINK },
		{ "PyObject_GC_Del", CT_CAUSE_GC_LINK },
		{ "_PyObject_GC_New", CT_CAUSE_GC_LINK },
		{ "PyList_New", CT_CAUSE_GC_LINK },
		{ "subtype_dealloc", CT_CAUSE_GC_LINK },
		{ "collections_init", CT_CAUSE_GC_LINK },
		{ "python3.11+0x57d033", CT_CAUSE_UNKNOWN },
		{ "libpython2.7.so.1.0@0x1000", CT_CAUSE_UNKNOWN },
		{ "[unmapped]", CT_CAUSE_UNKNOWN },
		{ "[anonymous code]", CT_CAUSE_UNKNOWN },
		{ "[kernel]", CT_CAUSE_UNKNOWN },
		{ "unknown", CT_CAUSE_UNKNOWN },
	};

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(want); i++) {
		if (cause(CT_CELL_GC_HEADER, CPYTHON, want[i].symbol, 0) != want[i].cause)
			fail_msg("%s: %s", want[i].symbol,
				 ct_cause_name(
					 cause(CT_CELL_GC_HEADER, CPYTHON, want[i].symbol, 0)));
	}
	assert_int_equal(cause(CT_CELL_GC_HEADER, GCHEAP, "gcheap_collect_all", 0), CT_CAUSE_GC);
	assert_int_equal(cause(CT_CELL_GC_HEADER, GCHEAP, "gcheap_list_new", 0), CT_CAUSE_GC_LINK);
	assert_int_equal(cause(CT_CELL_GC_HEADER, GCHEAP, "main", 0), CT_CAUSE_UNKNOWN);
	assert_int_equal(cause(CT_CELL_GC_HEADER, -1, "collect", 0), CT_CAUSE_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quiet),
		cmocka_unit_test(test_collecting_and_ending),
		cmocka_unit_test(test_static_fields),
		cmocka_unit_test(test_writers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
