/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_py_pools.c - pools of all four geometries, and what only looks like one. */
#include "py_fixture.h"

static const struct ct_mapping *heap_mapping(void)
{
	return ct_maps__find(py.python.source.maps, HEAP);
}

static void test_geometries(void **state)
{
	static const struct {
		uint32_t bytes, step, size;
	} geometries[] = {
		{ 16384, 16, 48 }, { 4096, 16, 512 }, { 4096, 8, 24 }, { 16384, 8, 40 }
	};

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(geometries); i++) {
		uint32_t bytes = geometries[i].bytes, size = geometries[i].size;
		ct_raddr_t base = HEAP + 0x8000;
		const struct ct_py_pool *pool;

		fixture_open(0x030b02f0);
		pool_new(base, bytes, geometries[i].step, size, (bytes - 48) / size);
		fixture_pools();
		pool = ct_py_pools__find(py.pools, heap_mapping(), base + bytes - 8);
		assert_non_null(pool);
		assert_int_equal(pool->base, base);
		assert_int_equal(pool->block_bytes, size);
		assert_int_equal(pool->carved, (bytes - 48) / size);
		assert_int_equal(ct_py_pools__bytes(py.pools), bytes);
		assert_false(ct_py_pool_is_free(pool, 1));
		assert_true(ct_py_pool_is_free(pool, pool->carved));
		assert_null(ct_py_pools__find(py.pools, heap_mapping(), base + 2 * bytes));
		fixture_close();
	}
}

static void test_free_blocks(void **state)
{
	const struct ct_py_pool *pool;
	struct ct_py_pool decoded;

	(void)state;
	fixture_open(0x030b02f0);
	pool_new(HEAP, 16384, 16, 64, 200);
	for (uint32_t i = 0; i < 200; i += 3)
		block_free(HEAP, 64, i);
	fixture_pools();
	pool = ct_py_pools__find(py.pools, heap_mapping(), HEAP + 5000);
	assert_non_null(pool);
	assert_true(ct_py_pools__decode(py.pools, HEAP, at(HEAP), 16384, &decoded));
	for (uint32_t i = 0; i < 255; i++) {
		assert_int_equal(ct_py_pool_is_free(pool, i), i >= 200 || i % 3 == 0);
		assert_int_equal(ct_py_pool_is_free(&decoded, i), i >= 200 || i % 3 == 0);
	}
	fixture_close();
}

static void test_wild_chain(void **state)
{
	const struct ct_py_pool *pool;
	ct_raddr_t wild[] = { HEAP + 48 + 64, HEAP + 48 + 3, MORE, UINT64_MAX, HEAP + 16384 };

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(wild); i++) {
		fixture_open(0x030b02f0);
		pool_new(HEAP, 16384, 16, 64, 200);
		block_free(HEAP, 64, 2);
		block_free(HEAP, 64, 1);
		set64(block_of(HEAP, 64, 2), wild[i]); /* the first: a cycle */
		fixture_pools();
		pool = ct_py_pools__find(py.pools, heap_mapping(), HEAP);
		assert_non_null(pool);
		assert_true(ct_py_pool_is_free(pool, 1) && ct_py_pool_is_free(pool, 2));
		assert_false(ct_py_pool_is_free(pool, 3));
		fixture_close();
	}
}

static void test_no_pool(void **state)
{
	static const struct {
		uint8_t offset;
		uint32_t value;
	} lies[] = { { 0, 256 },  { 8, 17 },	 { 16, 1 },	{ 24, 3 }, { 36, 40 }, { 40, 47 },
		     { 40, 100 }, { 40, 20000 }, { 44, 16384 }, { 44, 0 }, { 0, 100 } };

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(lies); i++) {
		ct_raddr_t real = HEAP + 0x8000;

		fixture_open(0x030b02f0);
		pool_new(real, 16384, 16, 64, 255);
		pool_new(HEAP, 16384, 16, 64, 255);
		set64(HEAP + 16, HEAP);
		set32(HEAP + lies[i].offset, lies[i].value);
		if (lies[i].offset == 16 || lies[i].offset == 24)
			set32(HEAP + lies[i].offset + 4u, 0);
		if (i == CT_ARRAY_SIZE(lies) - 1) /* blocks left to make, yet none is next */
			set32(HEAP + 40, 48 + 100 * 64);
		fixture_pools();
		assert_non_null(ct_py_pools__find(py.pools, heap_mapping(), real));
		assert_null(ct_py_pools__find(py.pools, heap_mapping(), HEAP + 200));
		fixture_close();
	}
}

static void test_noise(void **state)
{
	uint64_t random = 88172645463325252ull;

	(void)state;
	fixture_open(0x030b02f0);
	for (ct_raddr_t word = MORE; word < MORE + AREA_BYTES; word += 8) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		set64(word, word % 16384 < 4096	  ? HEAP + random % AREA_BYTES / 8 * 8
			    : word % 16384 < 8192 ? random % 600
						  : random);
	}
	fixture_pools();
	for (ct_raddr_t word = MORE; word < MORE + AREA_BYTES; word += 4096)
		assert_null(ct_py_pools__find(py.pools, ct_maps__find(py.python.source.maps, MORE),
					      word));
	fixture_close();
}

static void test_untouched_and_edges(void **state)
{
	struct ct_mapping cut = { .start = HEAP + 0x1000, .end = HEAP + AREA_BYTES };

	(void)state;
	fixture_open(0x030b02f0);
	pool_new(HEAP, 16384, 16, 64, 255);
	pool_new(HEAP + 16384, 16384, 16, 64, 255);
	fixture_pools();
	assert_non_null(ct_py_pools__find(py.pools, heap_mapping(), HEAP + 16384));
	/* a pool does not begin in another mapping */
	assert_null(ct_py_pools__find(py.pools, &cut, HEAP + 0x2000));
	areas[1].untouched[4 + 4] = true;
	assert_null(ct_py_pools__find(py.pools, heap_mapping(), HEAP + 2 * 16384 + 4096));
	fixture_close();
}

static void test_renew(void **state)
{
	(void)state;
	fixture_open(0x030b02f0);
	pool_new(HEAP, 16384, 16, 64, 255);
	fixture_pools();
	assert_non_null(ct_py_pools__find(py.pools, heap_mapping(), HEAP));
	pool_new(HEAP, 16384, 16, 32, 255);
	assert_int_equal(ct_py_pools__find(py.pools, heap_mapping(), HEAP)->block_bytes, 64);
	ct_py_pools__renew(py.pools);
	set64(HEAP + 8, block_of(HEAP, 32, 254)); /* one is free, more are to be made */
	set32(HEAP, 254);
	assert_int_equal(ct_py_pools__find(py.pools, heap_mapping(), HEAP)->block_bytes, 32);
	fixture_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_geometries), cmocka_unit_test(test_free_blocks),
		cmocka_unit_test(test_wild_chain), cmocka_unit_test(test_no_pool),
		cmocka_unit_test(test_noise),	   cmocka_unit_test(test_untouched_and_edges),
		cmocka_unit_test(test_renew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
