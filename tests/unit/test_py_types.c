/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_py_types.c - which words are types: those that are, and what only looks like it. */
#include "py_fixture.h"

static void test_static_type(void **state)
{
	struct ct_py_type *type;
	ct_raddr_t list;

	(void)state;
	fixture_open(0x030b02f0);
	list = type_new("list", 40, 0, CT_PY_LIST | CT_PY_HAVE_GC);
	type = ct_py_types__find(py.types, list);
	assert_non_null(type);
	assert_int_equal(type->kind, CT_PY_IS_LIST);
	assert_int_equal(type->header, 16);
	assert_int_equal(type->basicsize, 40);
	assert_string_equal(name_of(ct_py_types__id(py.types, type)), "list");
	assert_non_null(ct_py_types__find(py.types, TYPE_TYPE));
	fixture_close();
}

static void test_metaclass(void **state)
{
	struct ct_py_type *type;
	ct_raddr_t meta = HEAP + 0x100, class = HEAP + 0x800, plain;

	(void)state;
	fixture_open(0x030b02f0);
	plain = type_new("plain", 16, 0, 0);
	type_init(meta, TYPE_TYPE, "Meta", 880, 40, CT_PY_TYPE | CT_PY_HEAPTYPE);
	type_init(class, meta, "Class", 32, 0, CT_PY_HEAPTYPE);
	type = ct_py_types__find(py.types, class);
	assert_non_null(type);
	assert_string_equal(name_of(ct_py_types__id(py.types, type)), "Class");
	/* an object whose type is no metaclass is no type */
	type_init(class + 0x800, plain, "Not", 32, 0, CT_PY_HEAPTYPE);
	assert_null(ct_py_types__find(py.types, class + 0x800));
	/* two that are each other's type */
	type_init(HEAP + 0x4000, HEAP + 0x5000, "A", 880, 0, CT_PY_TYPE);
	type_init(HEAP + 0x5000, HEAP + 0x4000, "B", 880, 0, CT_PY_TYPE);
	assert_null(ct_py_types__find(py.types, HEAP + 0x4000));
	assert_null(ct_py_types__find(py.types, HEAP + 0x5000));
	fixture_close();
}

static void test_no_type(void **state)
{
	static const struct {
		uint16_t offset;
		uint64_t value;
	} lies[] = {
		{ 0, 0 },  { 8, 0x1234567 },   { 24, 0 },	{ 24, HEAP + 0x10000000 },
		{ 32, 8 }, { 32, 1ull << 40 }, { 40, 1 << 20 },
	};
	struct ct_py_type *broken;
	ct_raddr_t type;

	(void)state;
	fixture_open(0x030c01f0);
	for (size_t i = 0; i < CT_ARRAY_SIZE(lies); i++) {
		type = type_new("lie", 32, 0, 0);
		set64(type + lies[i].offset, lies[i].value);
		assert_null(ct_py_types__find(py.types, type));
	}
	assert_null(ct_py_types__find(py.types, type_new("\x1b[31m", 32, 0, 0)));
	assert_null(ct_py_types__find(py.types, type_new("\xff\xfe", 32, 0, 0)));
	broken = ct_py_types__find(py.types, type_new("A\xff\x80 B", 32, 0, CT_PY_HEAPTYPE));
	assert_non_null(broken); /* a class may be called anything, which is shown harmlessly */
	assert_string_equal(name_of(ct_py_types__id(py.types, broken)), "A\\xff\\x80 B");
	assert_null(ct_py_types__find(py.types, type_new("", 32, 0, 0)));
	assert_null(ct_py_types__find(py.types, 0));
	assert_null(ct_py_types__find(py.types, TYPE_TYPE + 4));
	assert_null(ct_py_types__find(py.types, UINT64_MAX - 7));
	fixture_close();
}

static void test_long_and_wild_names(void **state)
{
	char name[1000];
	struct ct_py_type *type;
	ct_raddr_t class = HEAP + 0x100;
	uint32_t id;

	(void)state;
	fixture_open(0x030c01f0);
	memset(name, 'x', sizeof(name));
	memcpy(name + 254, "\xc3\xa9", 2); /* would be cut in two */
	name[sizeof(name) - 1] = 0;
	type_init(class, TYPE_TYPE, name, 32, 0, CT_PY_HEAPTYPE);
	type = ct_py_types__find(py.types, class);
	assert_non_null(type);
	id = ct_py_types__id(py.types, type);
	assert_in_range(strlen(name_of(id)), 240, 255);
	assert_int_equal(strspn(name_of(id), "x."), strlen(name_of(id)));
	/* a class may be called anything; what is shown is escaped */
	type_init(class + 512, TYPE_TYPE, "\x1b[31m", 32, 0, CT_PY_HEAPTYPE);
	type = ct_py_types__find(py.types, class + 512);
	assert_non_null(type);
	id = ct_py_types__id(py.types, type);
	assert_null(strchr(name_of(id), '\x1b'));
	fixture_close();
}

static void test_untouched(void **state)
{
	(void)state;
	fixture_open(0x030c01f0);
	type_init(MORE + 0x2000, TYPE_TYPE, "far", 32, 0, CT_PY_HEAPTYPE);
	areas[2].untouched[2] = true;
	assert_null(ct_py_types__find(py.types, MORE + 0x2000));
	fixture_close(); /* and nobody read there */
}

static void test_renew(void **state)
{
	ct_raddr_t class = HEAP + 0x100;

	(void)state;
	fixture_open(0x030c01f0);
	type_init(class, TYPE_TYPE, "Gone", 32, 0, CT_PY_HEAPTYPE);
	assert_non_null(ct_py_types__find(py.types, class));
	set64(class + 8, 0);
	assert_non_null(ct_py_types__find(py.types, class)); /* as it was */
	ct_py_present__renew(py.present);
	ct_py_types__renew(py.types);
	assert_null(ct_py_types__find(py.types, class));
	fixture_close();
}

static void test_many(void **state)
{
	ct_raddr_t type;

	(void)state;
	fixture_open(0x030c01f0);
	type = type_new("int", 24, 4, 0);
	assert_non_null(ct_py_types__find(py.types, type));
	/* many words that are none do not drive out one that is */
	for (ct_raddr_t word = HEAP; word < HEAP + AREA_BYTES; word += 8)
		assert_null(ct_py_types__find(py.types, word));
	set64(type + 8, 0);
	assert_non_null(ct_py_types__find(py.types, type)); /* not read again */
	fixture_close();
}

static void test_counts(void **state)
{
	static const struct {
		uint32_t version;
		uint64_t word;
		bool counts;
	} words[] = {
		{ 0x030b02f0, 1, true },
		{ 0x030b02f0, 0, false },
		{ 0x030b02f0, 999999999, true },
		{ 0x030b02f0, 1ull << 40, false },
		{ 0x030b02f0, HEAP, false },
		{ 0x030c01f0, 0xffffffff, true },
		{ 0x030c01f0, 0x1ffffffffull, false },
		{ 0x030e0af0, 0x50000c0000000ull, true },
		{ 0x030e0af0, 3, true },
		{ 0x030e0af0, 0x100000003ull, false },
		{ 0x030e0af0, 1ull << 60 | 3, false },
		{ 0x02071200, 5, true },
	};

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(words); i++) {
		fixture_open(words[i].version);
		assert_int_equal(ct_py_types__counts(py.types, words[i].word), words[i].counts);
		fixture_close();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_static_type), cmocka_unit_test(test_metaclass),
		cmocka_unit_test(test_no_type),	    cmocka_unit_test(test_long_and_wild_names),
		cmocka_unit_test(test_untouched),   cmocka_unit_test(test_renew),
		cmocka_unit_test(test_many),	    cmocka_unit_test(test_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
