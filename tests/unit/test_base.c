/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_base.c - the hash map against a plain array, names, and strings made safe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fmt.h"
#include "base/map.h"
#include "base/names.h"

#define KEYS 512

static void test_map_model(void **state)
{
	static uint64_t model[KEYS];
	static bool there[KEYS];
	struct ct_map map = { 0 };
	size_t cursor = 0, count = 0, seen = 0;
	uint64_t key, value;

	(void)state;
	srand(1);
	for (int i = 0; i < 200000; i++) {
		size_t k = (size_t)rand() % KEYS;
		uint64_t real = k << 12, *at; /* like pages; key 0 among them */

		if (rand() % 3) {
			at = ct_map__at(&map, real);
			assert_non_null(at);
			assert_int_equal(*at, there[k] ? model[k] : 0);
			model[k] = *at = (uint64_t)rand();
			there[k] = true;
		} else {
			assert_int_equal(ct_map__delete(&map, real), there[k]);
			there[k] = false;
		}
	}
	for (size_t k = 0; k < KEYS; k++) {
		uint64_t *at = ct_map__find(&map, k << 12);

		assert_int_equal(at != NULL, there[k]);
		assert_true(!at || *at == model[k]);
		count += there[k];
	}
	assert_int_equal(ct_map__count(&map), count);
	while (ct_map__next(&map, &cursor, &key, &value)) {
		assert_true(there[key >> 12] && model[key >> 12] == value);
		seen++;
	}
	assert_int_equal(seen, count);
	ct_map__free(&map);
}

static void test_names(void **state)
{
	struct ct_names *names = ct_names__new();
	uint32_t a, b;

	(void)state;
	a = ct_names__id(names, "libc.so.6", "memcpy");
	b = ct_names__id(names, "libc.so.6m", "emcpy");
	assert_true(a && b && a != b);
	assert_int_equal(ct_names__id(names, "libc.so.6", "memcpy"), a);
	assert_string_equal(ct_names__scope(names, b), "libc.so.6m");
	assert_string_equal(ct_names__name(names, 0), "unknown");
	assert_string_equal(ct_names__name(names, 99), "unknown");
	assert_int_equal(ct_names__count(names), 2);
	a = ct_names__id(names, "x", "\033[31mred\n");
	assert_string_equal(ct_names__name(names, a), "\\x1b[31mred\\x0a");
	ct_names__free(names);
}

static void test_escape(void **state)
{
	char buf[16];

	(void)state;
	assert_string_equal(ct_escape(buf, sizeof(buf), "a\\b", 3), "a\\\\b");
	assert_string_equal(ct_escape(buf, sizeof(buf), "\xc3\xa9\xff", 3), "\xc3\xa9\\xff");
	assert_string_equal(ct_escape(buf, sizeof(buf), "\xe2\x80\xae", 3), "\\xe2\\x80\\xae");
	assert_string_equal(ct_escape(buf, 8, "0123456789", 10), "0123...");
	assert_string_equal(ct_escape(buf, sizeof(buf), "ab\0cd", 5), "ab");
	assert_string_equal(ct_fmt_bytes(buf, sizeof(buf), 4096), "4.0 KB");
	assert_string_equal(ct_fmt_count(buf, sizeof(buf), 1234567), "1,234,567");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map_model),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_escape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
