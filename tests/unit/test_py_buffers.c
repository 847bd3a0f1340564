/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_py_buffers.c - whose memory a block is: lists, dicts, classes, values, and nobody's. */
#include "heap/cpython/buffers.h"
#include "py_fixture.h"

#define OBJECTS	  HEAP		  /* a pool of blocks of 64 bytes */
#define BUFFERS	  (HEAP + 0x4000) /* one of 128 */
#define BUDGET_NS 5000000000ull

static ct_raddr_t object_new(uint32_t block, uint32_t header, ct_raddr_t type)
{
	ct_raddr_t object = block_of(OBJECTS, 64, block) + header;

	set64(object, 1);
	set64(object + 8, type);
	return object;
}

static ct_raddr_t buffer(uint32_t i)
{
	return block_of(BUFFERS, 128, i);
}

static void heap_open(uint32_t hexversion)
{
	fixture_open(hexversion);
	pool_new(OBJECTS, 16384, 16, 64, 255);
	pool_new(BUFFERS, 16384, 16, 128, 127);
}

static struct ct_owner_query ask(ct_raddr_t address)
{
	struct ct_owner_query query = { .address = address, .object = 1, .type = 1 };
	size_t found = ct_py_buffers__owners(&py, &query, 1, BUDGET_NS);

	assert_int_equal(found, query.type != 0);
	return query;
}

static void owned_by(ct_raddr_t address, ct_raddr_t object, const char *type)
{
	struct ct_owner_query query = ask(address);

	assert_int_equal(query.object, object);
	assert_string_equal(name_of(query.type), type);
}

static void test_list_and_dict(void **state)
{
	ct_raddr_t list, dict, split;

	(void)state;
	heap_open(0x030b02f0);
	list = object_new(3, 16, type_new("list", 40, 0, CT_PY_LIST | CT_PY_HAVE_GC));
	dict = type_new("dict", 48, 0, CT_PY_DICT | CT_PY_HAVE_GC);
	split = object_new(5, 16, dict);
	dict = object_new(4, 16, dict);
	set64(list + 24, buffer(1));
	set64(dict + 32, buffer(2));
	set64(split + 32, buffer(3));	   /* keys that it shares: not its own */
	set64(split + 40, buffer(4) + 24); /* values: the pointer is not to the start */
	fixture_pools();
	owned_by(buffer(1), list, "list");
	owned_by(buffer(2), dict, "dict");
	assert_int_equal(ask(buffer(3)).type, 0);
	owned_by(buffer(4), split, "dict");
	assert_int_equal(ask(buffer(5)).type, 0);
	assert_int_equal(ask(MORE).type, 0);
	assert_int_equal(ask(0).type, 0);
	assert_int_equal(ask(UINT64_MAX).type, 0);
	fixture_close();
}

static void test_class_and_values(void **state)
{
	static const uint32_t versions[] = { 0x030b02f0, 0x030c01f0 };

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(versions); i++) {
		ct_raddr_t class = HEAP + 0x20000, instance;

		heap_open(versions[i]);
		type_init(class, TYPE_TYPE, "Pt", 16, 0, CT_PY_HEAPTYPE | CT_PY_HAVE_GC | 1 << 4);
		instance = object_new(9, 32, class);
		if (i)
			set64(instance - 24, (buffer(7) + 16) | 1);
		else
			set64(instance - 32, buffer(7) + 16);
		fixture_pools();
		owned_by(buffer(7), instance, "Pt");
		fixture_close();
	}
}

static void test_many_at_once(void **state)
{
	struct ct_owner_query queries[100];
	ct_raddr_t list;

	(void)state;
	heap_open(0x030c01f0);
	list = type_new("list", 40, 0, CT_PY_LIST | CT_PY_HAVE_GC);
	for (uint32_t i = 0; i < 40; i++)
		set64(object_new(i, 16, list) + 24, buffer(i));
	fixture_pools();
	for (uint32_t i = 0; i < 100; i++) /* each twice, in no order; some have no owner */
		queries[i] = (struct ct_owner_query){ .address = buffer((99 - i) % 50) };
	assert_int_equal(ct_py_buffers__owners(&py, queries, 100, BUDGET_NS), 80);
	for (uint32_t i = 0; i < 100; i++) {
		uint32_t block = (99 - i) % 50;

		assert_int_equal(queries[i].object,
				 block < 40 ? block_of(OBJECTS, 64, block) + 16 : 0);
		assert_int_equal(queries[i].address, buffer(block));
	}
	assert_int_equal(ct_py_buffers__owners(&py, queries, 0, BUDGET_NS), 0);
	fixture_close();
}

static void test_hostile(void **state)
{
	ct_raddr_t list, deque;

	(void)state;
	heap_open(0x030c01f0);
	list = object_new(1, 16, type_new("list", 40, 0, CT_PY_LIST | CT_PY_HAVE_GC));
	deque = type_new("collections.deque", 32, 0, CT_PY_HAVE_GC);
	deque = object_new(2, 16, deque);
	set64(list + 24, buffer(1));
	block_free(OBJECTS, 64, 1);   /* a list that is no more */
	set64(deque + 24, buffer(2)); /* a chain that ends nowhere */
	set64(buffer(2) + 520, buffer(2));
	for (uint32_t page = 20; page < 40; page++)
		areas[1].untouched[page] = true;
	fixture_pools();
	assert_int_equal(ask(buffer(1)).type, 0);
	owned_by(buffer(2), deque, "collections.deque");
	fixture_close();
}

static void test_no_time(void **state)
{
	struct ct_owner_query query = { .address = buffer(1) };
	ct_raddr_t list;

	(void)state;
	heap_open(0x030c01f0);
	list = object_new(1, 16, type_new("list", 40, 0, CT_PY_LIST | CT_PY_HAVE_GC));
	set64(list + 24, buffer(1));
	fixture_pools();
	assert_int_equal(ct_py_buffers__owners(&py, &query, 1, 0), 0);
	assert_int_equal(query.type, 0);
	fixture_close();
}

/* A look that ran out of time goes on where it stopped, and comes to what is before that, too. */
static void test_goes_on(void **state)
{
	struct ct_owner_query query = { .address = buffer(1) };
	ct_raddr_t list, early, late;

	(void)state;
	heap_open(0x030c01f0);
	pool_new(MORE, 16384, 16, 64, 255);
	list = type_new("list", 40, 0, CT_PY_LIST | CT_PY_HAVE_GC);
	early = object_new(1, 16, list);
	late = block_of(MORE, 64, 1) + 16;
	set64(late, 1);
	set64(late + 8, list);
	set64(early + 24, buffer(1));
	set64(late + 24, buffer(1)); /* who is met first has it */
	fixture_pools();
	owned_by(buffer(1), early, "list");
	assert_int_equal(py.owners_from, 0);
	assert_int_equal(ct_py_buffers__owners(&py, &query, 1, 0), 0);
	assert_int_equal(py.owners_from, HEAP);
	py.owners_from = MORE;
	owned_by(buffer(1), late, "list");
	assert_int_equal(py.owners_from, 0);
	set64(late + 24, 0);
	set64(early + 24, buffer(2));
	py.owners_from = MORE;
	owned_by(buffer(2), early, "list");
	py.owners_from = UINT64_MAX; /* in the chunks, of which there are none */
	owned_by(buffer(2), early, "list");
	py.owners_from = MORE;
	assert_int_equal(ask(buffer(3)).type, 0); /* nobody's: all was looked at */
	assert_int_equal(py.owners_from, 0);
	fixture_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list_and_dict), cmocka_unit_test(test_class_and_values),
		cmocka_unit_test(test_many_at_once),  cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_no_time),	      cmocka_unit_test(test_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
