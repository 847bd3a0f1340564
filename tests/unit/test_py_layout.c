/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_py_layout.c - which versions have which layout; _Py_DebugOffsets, sound and not; the version
 * of a file that does not export it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heap/cpython/internal.h"

#define TABLE_WORDS 128u

static uint32_t minor_of(uint32_t hexversion)
{
	const struct ct_py_layout *layout = ct_py_layout_of(hexversion);

	return layout ? layout->version : 0;
}

static void test_versions(void **state)
{
	(void)state;
	assert_int_equal(minor_of(0x020712f0), 0x0207);
	assert_int_equal(minor_of(0x03060ff0), 0x0306);
	assert_int_equal(minor_of(0x030710f0), 0x0307);
	assert_int_equal(minor_of(0x030812f0), 0x0308);
	assert_int_equal(minor_of(0x030902f0), 0x0309);
	assert_int_equal(minor_of(0x030a0df0), 0x030a);
	assert_int_equal(minor_of(0x030b02f0), 0x030b);
	assert_int_equal(minor_of(0x030c01f0), 0x030c);
	assert_int_equal(minor_of(0x030d00f0), 0x030d);
	assert_int_equal(minor_of(0x030e0af0), 0x030e);
	assert_int_equal(minor_of(0x030f02f0), 0x030f);
	assert_int_equal(minor_of(0x030fffff), 0x030f);
}

static void test_unknown_versions(void **state)
{
	static const uint32_t unknown[] = { 0,		0x020612f0, 0x02080000, 0x030509f0,
					    0x030a00a1, 0x030d00b4, 0x030d00c2, 0x030e00a7,
					    0x030f00a0, 0x03100000, 0x031000f0, 0x04000000,
					    UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(unknown); i++)
		assert_null(ct_py_layout_of(unknown[i]));
}

static void test_versions_that_differ_within(void **state)
{
	(void)state;
	assert_int_equal(ct_py_layout_of(0x030703f0)->gc_head, 24);
	assert_int_equal(ct_py_layout_of(0x030704f0)->gc_head, 32);
	/* 3.14.0 to 3.14.4 collect in increments */
	assert_int_equal(ct_py_layout_of(0x030e04f0)->gc_count1, CT_PY_NONE);
	assert_int_equal(ct_py_layout_of(0x030e05f0)->gc_count1, 68);
	assert_int_equal(ct_py_layout_of(0x030e04f0)->gc_collecting, 192);
}

/* What every reader relies on, in every version. */
static void test_all_are_whole(void **state)
{
	uint32_t last = 0;

	(void)state;
	for (uint32_t hex = 0x02070000; hex < 0x03110000; hex += 0x100) {
		const struct ct_py_layout *l = ct_py_layout_of(hex | 0xf0);

		if (!l || l->version == last)
			continue;
		last = l->version;
		assert_int_equal(l->version, hex >> 16);
		assert_true(l->gc_head == 16 || l->gc_head == 24 || l->gc_head == 32);
		assert_int_equal(l->gc_refs == CT_PY_NONE, l->gc_head == 16);
		assert_true(l->code_filename && l->code_name && l->code_first_line);
		assert_true(l->code_lines && l->bytes_data && l->thread_id && l->tuple_items);
		assert_int_equal(l->code_qualname == CT_PY_NONE, l->version < 0x030b);
		assert_int_equal(l->str_state == CT_PY_NONE, l->version == 0x0207);
		assert_int_equal(l->preheader_flags == 0, l->version < 0x030b);
		assert_int_equal(l->inline_values_flag == 0, l->version < 0x030d);
		assert_int_equal(l->runtime_interp_head == CT_PY_NONE, l->version < 0x0307);
		assert_int_equal(l->frame_owner == CT_PY_NONE, l->version < 0x030b);
	}
	assert_int_equal(last, 0x030f);
}

/* A file whose one segment is @len bytes at address 0x1000. */
static struct ct_py_module file_of(const void *bytes, size_t len)
{
	struct ct_py_module module = { .file = memfd_create("test", MFD_CLOEXEC) };

	assert_true(module.file >= 0);
	assert_int_equal(write(module.file, bytes, len), (ssize_t)len);
	module.segments[module.segment_count++] = (struct ct_py_segment){
		.file_len = len,
		.memory_len = len,
		.vaddr = 0x1000,
	};
	return module;
}

/* A table as 3.13 has it, with the values of our layout. */
static void fill_table(uint64_t *words)
{
	static const uint16_t values[][2] = {
		{ 32, 608 }, { 40, 632 },  { 64, 7264 }, { 72, 7344 }, { 80, 7400 }, { 112, 16 },
		{ 168, 8 },  { 176, 16 },  { 184, 72 },	 { 192, 152 }, { 232, 8 },   { 240, 0 },
		{ 248, 56 }, { 264, 70 },  { 280, 112 }, { 288, 120 }, { 296, 128 }, { 304, 136 },
		{ 312, 68 }, { 344, 200 }, { 360, 8 },	 { 376, 24 },  { 392, 168 }, { 408, 24 },
		{ 416, 16 }, { 432, 24 },  { 440, 16 },	 { 456, 32 },  { 464, 40 },  { 520, 16 },
		{ 528, 32 }, { 544, 32 },  { 552, 16 },	 { 560, 40 },  { 576, 200 },
	};

	memset(words, 0, TABLE_WORDS * sizeof(*words));
	memcpy(words, "xdebugpy", 8);
	words[1] = 0x030d00f0;
	for (size_t i = 0; i < CT_ARRAY_SIZE(values); i++)
		words[values[i][0] / 8] = values[i][1];
}

static bool correct(const uint64_t *words, struct ct_py_layout *layout)
{
	struct ct_py_module module = file_of(words, TABLE_WORDS * sizeof(*words));
	bool sane;

	*layout = *ct_py_layout_of(0x030d00f0);
	sane = ct_py_debug_offsets(&module, 0x1000, layout);
	ct_py_module__close(&module);
	return sane;
}

static void test_debug_offsets(void **state)
{
	const struct ct_py_layout *known = ct_py_layout_of(0x030d00f0);
	uint64_t words[TABLE_WORDS];
	struct ct_py_layout layout;

	(void)state;
	fill_table(words);
	assert_true(correct(words, &layout));
	assert_memory_equal(&layout, known, sizeof(layout));

	words[72 / 8] = 7352; /* interpreter_state.threads_head */
	words[40 / 8] = 640;
	assert_true(correct(words, &layout));
	assert_int_equal(layout.interp_threads, 7352);
	assert_int_equal(layout.runtime_interp_head, 640);
	assert_int_equal(layout.runtime_interp_main, 648);
	assert_int_equal(layout.gc_count1, known->gc_count1);

	words[576 / 8] =
		208; /* the collector's state is another: what it does not say is unknown */
	assert_true(correct(words, &layout));
	assert_int_equal(layout.gc_collecting, 208);
	assert_int_equal(layout.gc_count1, CT_PY_NONE);
	assert_int_equal(layout.gc_collections, CT_PY_NONE);
}

/* One bad word, and all of the table is refused: nothing in the layout has changed. */
static void test_bad_debug_offsets(void **state)
{
	static const struct {
		uint16_t at;
		uint64_t value;
	} bad[] = {
		{ 360, 24 },  /* objects of a free-threaded build */
		{ 72, 7345 }, /* not aligned */
		{ 72, UINT64_MAX }, { 80, 1ull << 32 }, { 192, 1ull << 20 }, { 264, 5000 },
		{ 312, 67 },	    { 80, CT_PY_NONE }, { 392, 0 },
	};
	uint64_t words[TABLE_WORDS];
	struct ct_py_layout layout;

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(bad); i++) {
		fill_table(words);
		words[bad[i].at / 8] = bad[i].value;
		assert_false(correct(words, &layout));
		assert_memory_equal(&layout, ct_py_layout_of(0x030d00f0), sizeof(layout));
	}
}

static void test_debug_head(void **state)
{
	struct ct_py_debug_head head;
	uint64_t words[TABLE_WORDS];
	struct ct_py_module module;

	(void)state;
	fill_table(words);
	words[2] = 1;
	module = file_of(words, sizeof(words));
	assert_true(ct_py_debug_head(&module, 0x1000, &head));
	assert_int_equal(head.hexversion, 0x030d00f0);
	assert_int_equal(head.free_threaded, 1);
	assert_false(ct_py_debug_head(&module, 0x1008, &head));
	assert_false(ct_py_debug_head(&module, 0x1000 + sizeof(words) - 8, &head));
	assert_false(ct_py_debug_head(&module, 0, &head));
	ct_py_module__close(&module);
}

/* The version among @text, whose strings end in a NUL each. */
static uint32_t version_in(const char *text, size_t len, bool has_runtime)
{
	char bytes[4096] = { 0 };
	struct ct_py_module module;
	uint32_t version;

	memcpy(bytes + 1, text, len);
	module = file_of(bytes, sizeof(bytes));
	version = ct_py_version_of_file(&module, has_runtime);
	ct_py_module__close(&module);
	return version;
}

#define VERSION_IN(text, has_runtime) version_in(text, sizeof(text), has_runtime)

static void test_version_of_file(void **state)
{
	(void)state;
	assert_int_equal(VERSION_IN("3.8.18\0cpython-38\0"
				    "3.2.0",
				    true),
			 0x030812f0);
	assert_int_equal(VERSION_IN("1.2.13\0"
				    "2.7.18\0x",
				    false),
			 0x020712f0);
	assert_int_equal(VERSION_IN("3.10.0rc2\0cpython-310", true), 0x030a00c2);
	assert_int_equal(VERSION_IN("3.9.2+\0cpython-39", true), 0x030902f0);
	assert_int_equal(VERSION_IN("3.6.15\0cpython-36", false), 0x03060ff0);
	/* none, two, another's, too new or old for what it exports */
	assert_int_equal(VERSION_IN("cpython-38", true), 0);
	assert_int_equal(VERSION_IN("3.8.18\0"
				    "3.8.17\0cpython-38",
				    true),
			 0);
	assert_int_equal(VERSION_IN("3.8.18\0cpython-39", true), 0);
	assert_int_equal(VERSION_IN("3.8.18\0cpython-38\0cpython-39", true), 0);
	assert_int_equal(VERSION_IN("3.8.18", true), 0);
	assert_int_equal(VERSION_IN("3.8.18\0cpython-38", false), 0);
	assert_int_equal(VERSION_IN("2.7.18\0cpython-38", false), 0);
	assert_int_equal(VERSION_IN("3.8.1x\0"
				    "3.8\0"
				    "3.8.181\0"
				    "x3.8.1\0cpython-38",
				    true),
			 0);
}

static void test_version_text(void **state)
{
	char text[32], small[4];

	(void)state;
	ct_py_version_text(0x030b02f0, text, sizeof(text));
	assert_string_equal(text, "3.11.2");
	ct_py_version_text(0x031000a3, text, sizeof(text));
	assert_string_equal(text, "3.16.0a3");
	ct_py_version_text(0x030d00c2, text, sizeof(text));
	assert_string_equal(text, "3.13.0rc2");
	ct_py_version_text(UINT32_MAX, text, sizeof(text));
	assert_string_equal(text, "255.255.255");
	ct_py_version_text(0x030b02f0, small, sizeof(small));
	assert_string_equal(small, "3.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_unknown_versions),
		cmocka_unit_test(test_versions_that_differ_within),
		cmocka_unit_test(test_all_are_whole),
		cmocka_unit_test(test_debug_offsets),
		cmocka_unit_test(test_bad_debug_offsets),
		cmocka_unit_test(test_debug_head),
		cmocka_unit_test(test_version_of_file),
		cmocka_unit_test(test_version_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
