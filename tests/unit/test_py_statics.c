/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_py_statics.c - objects in the interpreter's data, and what is between them. */
#include "heap/cpython/statics.h"
#include "py_fixture.h"

#define THING (DATA + 0x4000)

static bool locate(ct_raddr_t address, struct ct_place *place)
{
	*place = (struct ct_place){ 0 };
	return ct_py_static__locate(&py, ct_maps__find(py.python.source.maps, address), address,
				    NULL, place);
}

static void is(ct_raddr_t address, enum ct_cell field, ct_raddr_t object, const char *type)
{
	struct ct_place place;

	assert_true(locate(address, &place));
	assert_string_equal(ct_cell_name(place.cell), "static");
	assert_string_equal(ct_cell_name(place.field), ct_cell_name(field));
	assert_int_equal(place.object, object);
	assert_int_equal(place.offset, (uint32_t)(address - object));
	assert_string_equal(name_of(place.type), type);
}

static void is_state(ct_raddr_t address)
{
	struct ct_place place;

	assert_true(locate(address, &place));
	assert_int_equal(place.cell, CT_CELL_DATA);
	assert_true(place.interpreter);
	assert_string_equal(name_of(place.type), "[interpreter state]");
}

static void test_none_and_types(void **state)
{
	ct_raddr_t none;

	(void)state;
	fixture_open(0x030b02f0);
	none = type_new("NoneType", 16, 0, 0);
	set64(THING, 500);
	set64(THING + 8, none);
	is(THING, CT_CELL_REFCOUNT, THING, "NoneType");
	is(THING + 15, CT_CELL_TYPE, THING, "NoneType");
	is_state(THING + 16);
	is_state(THING - 1);
	is(none, CT_CELL_REFCOUNT, none, "type");
	is(none + 300, CT_CELL_PAYLOAD, none, "type");
	is_state(none + 408); /* a static type has no more, tp_basicsize of type or not */
	fixture_close();
}

static void test_sizes(void **state)
{
	ct_raddr_t number, bytes, str;

	(void)state;
	fixture_open(0x030c01f0);
	number = type_new("int", 24, 4, 1 << 24);
	bytes = type_new("bytes", 33, 1, 1 << 27);
	str = type_new("str", 64, 0, CT_PY_UNICODE);
	set64(THING, 0xffffffff);
	set64(THING + 8, number);
	set64(THING + 16, 1 << 3);
	is(THING + 24, CT_CELL_PAYLOAD, THING, "int");
	is_state(THING + 40);
	set64(THING + 512, 0xffffffff);
	set64(THING + 520, bytes);
	set64(THING + 528, 3000);
	is(THING + 512 + 3000, CT_CELL_PAYLOAD, THING + 512, "bytes");
	is_state(THING + 512 + 3000 + 40);
	set64(THING + 512 + 16, UINT64_MAX);
	is_state(THING + 512 + 3000);
	set64(THING + 0x6000, 0xffffffff);
	set64(THING + 0x6008, str);
	set64(THING + 0x6010, 1);
	set64(THING + 0x6020, 1 << 2 | 1 << 5 | 1 << 6);
	is(THING + 0x6000 + 40, CT_CELL_PAYLOAD, THING + 0x6000, "str");
	is_state(THING + 0x6000 + 48);
	fixture_close();
}

static void test_what_is_none(void **state)
{
	ct_raddr_t error, class, tuple;
	struct ct_place place;

	(void)state;
	fixture_open(0x030b02f0);
	error = type_new("RuntimeError", 72, 0, CT_PY_HAVE_GC);
	tuple = type_new("tuple", 24, 8, CT_PY_TUPLE | CT_PY_HAVE_GC);
	class = HEAP + 0x100;
	type_init(class, TYPE_TYPE, "Pt", 32, 0, CT_PY_HEAPTYPE);
	/* a number, then a pointer to a class: static variables */
	set64(THING - 8, 5);
	set64(THING, 1);
	set64(THING + 8, error);
	is_state(THING);
	set64(THING + 8, class);
	is_state(THING + 8);
	/* the empty tuple has a header, never used */
	set64(THING - 8, 0);
	set64(THING + 8, tuple);
	is(THING, CT_CELL_REFCOUNT, THING, "tuple");
	is(THING - 1, CT_CELL_GC_HEADER, THING, "tuple");
	is(THING - 16, CT_CELL_GC_HEADER, THING, "tuple");
	is_state(THING - 17);
	/* another module's data with no object in it is not ours */
	py.python.module = NULL;
	assert_false(locate(THING + 0x1000, &place));
	fixture_close();
}

static void test_untouched_page_before(void **state)
{
	ct_raddr_t bytes, page = THING + 0x1000;

	(void)state;
	fixture_open(0x030b02f0);
	bytes = type_new("bytes", 33, 1, 1 << 27);
	set64(page - 64, 1);
	set64(page - 56, bytes);
	set64(page - 48, 500);
	is(page + 100, CT_CELL_PAYLOAD, page - 64, "bytes");
	areas[0].untouched[4] = true;
	ct_py_present__renew(py.present);
	is_state(page + 100);
	fixture_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none_and_types),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_untouched_page_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
