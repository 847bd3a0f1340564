/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_py_objects.c - objects in blocks: where they start, which part is where, what is none. */
#include "heap/cpython/objects.h"
#include "py_fixture.h"

#define BLOCK (HEAP + 0x1000)

static struct ct_place locate(uint64_t bytes, uint64_t offset)
{
	struct ct_py_block block = { BLOCK, bytes };
	struct ct_place place = { 0 };

	ct_py_object__locate(&py, &block, BLOCK + offset, NULL, &place);
	return place;
}

static void is(struct ct_place place, enum ct_cell cell, ct_raddr_t object, const char *type)
{
	assert_string_equal(ct_cell_name(place.cell), ct_cell_name(cell));
	assert_int_equal(place.object, object);
	assert_string_equal(name_of(place.type), type);
}

static void test_plain(void **state)
{
	ct_raddr_t type;

	(void)state;
	fixture_open(0x030b02f0);
	type = type_new("float", 24, 0, 0);
	set64(BLOCK, 1);
	set64(BLOCK + 8, type);
	is(locate(32, 0), CT_CELL_REFCOUNT, BLOCK, "float");
	is(locate(32, 15), CT_CELL_TYPE, BLOCK, "float");
	is(locate(32, 31), CT_CELL_PAYLOAD, BLOCK, "float");
	assert_int_equal(locate(32, 20).offset, 20);
	assert_int_equal(locate(32, 20).size, 32);
	/* too big for its block: two words that happen to be there */
	set64(type + 32, 64);
	ct_py_types__renew(py.types);
	assert_int_equal(locate(32, 0).cell, CT_CELL_BUFFER);
	assert_true(locate(32, 0).owner_unknown);
	fixture_close();
}

/* The header that each version puts before a collected object; with a dictionary, two words more.
 */
static void test_headers(void **state)
{
	static const struct {
		uint32_t hexversion, header;
		uint64_t flags;
	} cases[] = {
		{ 0x02071200, 32, 0 },	    { 0x03070ff0, 32, 0 },	{ 0x030809f0, 16, 0 },
		{ 0x030a0df0, 16, 0 },	    { 0x030b02f0, 16, 0 },	{ 0x030b02f0, 32, 1 << 4 },
		{ 0x030c01f0, 32, 1 << 3 }, { 0x030d00f0, 32, 1 << 4 }, { 0x030f02f0, 32, 1 << 4 },
	};

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(cases); i++) {
		uint32_t header = cases[i].header;
		struct ct_place place;
		ct_raddr_t type;

		fixture_open(cases[i].hexversion);
		type = type_new("Pt", 32, 0, CT_PY_HAVE_GC | cases[i].flags);
		set64(BLOCK, HEAP);
		set64(BLOCK + 8, HEAP);
		set64(BLOCK + header, 2);
		set64(BLOCK + header + 8, type);
		is(locate(96, header), CT_CELL_REFCOUNT, BLOCK + header, "Pt");
		is(locate(96, header + 8), CT_CELL_TYPE, BLOCK + header, "Pt");
		is(locate(96, header + 24), CT_CELL_PAYLOAD, BLOCK + header, "Pt");
		is(locate(96, header - 8), CT_CELL_GC_HEADER, BLOCK + header, "Pt");
		place = locate(96, 0);
		is(place, cases[i].flags ? CT_CELL_PREHEADER : CT_CELL_GC_HEADER, BLOCK + header,
		   "Pt");
		assert_int_equal(place.offset, -header); /* below the object: wraps */
		assert_int_equal(place.size, 96 - header);
		fixture_close();
	}
}

static void test_wrong_place(void **state)
{
	ct_raddr_t plain, collected;

	(void)state;
	fixture_open(0x030b02f0);
	plain = type_new("float", 24, 0, 0);
	collected = type_new("list", 40, 0, CT_PY_LIST | CT_PY_HAVE_GC);
	set64(BLOCK, 1);
	set64(BLOCK + 8, collected); /* has a header, but stands where none fits */
	assert_int_equal(locate(64, 0).cell, CT_CELL_BUFFER);
	set64(BLOCK + 16, 1);
	set64(BLOCK + 24, plain); /* has none */
	assert_int_equal(locate(64, 16).cell, CT_CELL_BUFFER);
	fixture_close();
}

static void test_tuples_and_strings(void **state)
{
	ct_raddr_t tuple, str;

	(void)state;
	fixture_open(0x030b02f0);
	tuple = type_new("tuple", 24, 8, CT_PY_TUPLE | CT_PY_HAVE_GC);
	str = type_new("str", 80, 0, CT_PY_UNICODE);
	set64(BLOCK + 16, 1);
	set64(BLOCK + 24, tuple);
	set64(BLOCK + 32, 3);
	is(locate(64, 16), CT_CELL_REFCOUNT, BLOCK + 16, "tuple");
	set64(BLOCK + 32, 4); /* one too many */
	assert_int_equal(locate(64, 16).cell, CT_CELL_BUFFER);
	set64(BLOCK + 32, UINT64_MAX);
	assert_int_equal(locate(64, 16).cell, CT_CELL_BUFFER);

	set64(BLOCK, 1);
	set64(BLOCK + 8, str);
	set64(BLOCK + 16, 10);
	set64(BLOCK + 32, 1 << 2 | 1 << 5 | 1 << 6);
	is(locate(64, 48), CT_CELL_PAYLOAD, BLOCK, "str"); /* shorter than tp_basicsize */
	set64(BLOCK + 16, 1000);
	assert_int_equal(locate(64, 0).cell, CT_CELL_BUFFER);
	set64(BLOCK + 16, 10);
	set64(BLOCK + 32, 3 << 2 | 1 << 5 | 1 << 6); /* characters of 3 bytes */
	assert_int_equal(locate(64, 0).cell, CT_CELL_BUFFER);
	fixture_close();
}

static void test_debug_allocator(void **state)
{
	struct ct_place place;
	ct_raddr_t type;

	(void)state;
	for (unsigned int mark = 0xfb; mark <= 0xfd; mark += 2) {
		fixture_open(0x030b02f0);
		type = type_new("float", 24, 0, 0);
		memset(at(BLOCK), (int)mark, 80);
		set64(BLOCK, __builtin_bswap64(24));
		*(uint8_t *)at(BLOCK + 8) = 'o';
		set64(BLOCK + 16, 1);
		set64(BLOCK + 24, type);
		is(locate(64, 16), CT_CELL_REFCOUNT, BLOCK + 16, "float");
		place = locate(64, 32);
		is(place, CT_CELL_PAYLOAD, BLOCK + 16, "float");
		assert_int_equal(place.size, 24);
		is(locate(64, 3), CT_CELL_ALLOCATOR, BLOCK, "unknown");
		is(locate(64, 40), CT_CELL_ALLOCATOR, BLOCK, "unknown");
		fixture_close();
	}
}

static void test_bytes_before(void **state)
{
	struct ct_py_block block = { BLOCK, 32 };
	struct ct_place place = { 0 };
	uint64_t words[8] = { 1, 0, 0, 0 };
	struct ct_bytes before = { BLOCK, (const uint8_t *)words, sizeof(words) };
	ct_raddr_t type;

	(void)state;
	fixture_open(0x030b02f0);
	type = type_new("float", 24, 0, 0);
	words[1] = type;
	set64(BLOCK, 0); /* gone by now, and then its page too */
	ct_py_object__locate(&py, &block, BLOCK, &before, &place);
	is(place, CT_CELL_REFCOUNT, BLOCK, "float");
	areas[1].untouched[1] = true;
	ct_py_present__renew(py.present);
	ct_py_object__locate(&py, &block, BLOCK + 16, &before, &place);
	is(place, CT_CELL_PAYLOAD, BLOCK, "float");
	/* bytes of elsewhere are of no use */
	before.address = BLOCK - 4096;
	ct_py_object__locate(&py, &block, BLOCK + 16, &before, &place);
	assert_int_equal(place.cell, CT_CELL_BUFFER);
	fixture_close();
}

static void test_dead(void **state)
{
	ct_raddr_t type;

	(void)state;
	fixture_open(0x030b02f0);
	type = type_new("list", 40, 0, CT_PY_LIST | CT_PY_HAVE_GC);
	set64(BLOCK + 24, type); /* count 0, in no list of the collector's */
	is(locate(64, 16), CT_CELL_FREE, BLOCK, "unknown");
	set64(BLOCK, HEAP); /* tracked: no dead object is */
	assert_int_equal(locate(64, 16).cell, CT_CELL_BUFFER);
	set64(BLOCK, 0);
	assert_int_equal(locate(96, 16).cell, CT_CELL_BUFFER); /* not made for it */
	fixture_close();
}

static void test_numbers_of_2_7(void **state)
{
	ct_raddr_t type;

	(void)state;
	fixture_open(0x02071200);
	type = type_new("int", 24, 0, 1 << 23);
	for (unsigned int i = 0; i < 41; i++) {
		set64(BLOCK + 8 + 24 * i, i % 2);
		set64(BLOCK + 16 + 24 * i, i % 2 ? type : BLOCK + 8);
	}
	is(locate(1000, 8 + 24), CT_CELL_REFCOUNT, BLOCK + 8 + 24, "int");
	is(locate(1000, 8 + 24 + 20), CT_CELL_PAYLOAD, BLOCK + 8 + 24, "int");
	is(locate(1000, 8), CT_CELL_FREE, BLOCK + 8, "unknown");
	is(locate(1000, 4), CT_CELL_ALLOCATOR, BLOCK, "unknown");
	is(locate(1000, 995), CT_CELL_ALLOCATOR, BLOCK, "unknown");
	assert_int_equal(locate(2000, 8 + 24).cell, CT_CELL_BUFFER);
	fixture_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_wrong_place),
		cmocka_unit_test(test_tuples_and_strings),
		cmocka_unit_test(test_debug_allocator),
		cmocka_unit_test(test_bytes_before),
		cmocka_unit_test(test_dead),
		cmocka_unit_test(test_numbers_of_2_7),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
