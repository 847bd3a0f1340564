/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_classify.c - the kernel side's decisions, compiled for the host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/types.h>

#include "ct_abi.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#include "ct_classify.h"

static void test_error_codes(void **state)
{
	(void)state;
	for (unsigned int code = 0; code < 128; code++) {
		assert_int_equal(!!ct_is_write_protect_fault(code), (code & 1) && (code & 2));
		assert_int_equal(!!ct_is_first_write(code), !(code & 1) && (code & 2));
	}
}

static void test_user_pages(void **state)
{
	(void)state;
	assert_true(ct_is_user_page(0x140dca, 0)); /* GFP_HIGHUSER_MOVABLE and more, 6.x */
	assert_false(ct_is_user_page(0x140dca, 9));
	assert_false(ct_is_user_page(0xcc0, 0)); /* GFP_KERNEL */
	assert_false(ct_is_user_page(0x8, 0));
	assert_false(ct_is_user_page(0x2, 0));
}

static void test_kinds(void **state)
{
	const uint64_t zero = 0x3b34, page = 0xffff888012345678ull & ~3ull;

	(void)state;
	assert_int_equal(ct_copy_kind(zero, zero, 0), CT_KIND_ZERO_FILL);
	assert_int_equal(ct_copy_kind(7, zero, page | 1), CT_KIND_COPY);
	assert_int_equal(ct_copy_kind(7, zero, page | 3), CT_KIND_COPY_KSM);
	assert_int_equal(ct_copy_kind(7, zero, page), CT_KIND_COPY_FILE);
	assert_int_equal(ct_copy_kind(7, zero, 0), CT_KIND_COPY_FILE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error_codes),
		cmocka_unit_test(test_user_pages),
		cmocka_unit_test(test_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
