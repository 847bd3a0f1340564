/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_generic.c - what the generic reader says of addresses in a made-up process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "heap/reader.h"

static const char layout[] = "1000-2000 r--p 00000000 08:01 7 /bin/prog\n"
			     "2000-3000 r-xp 00001000 08:01 7 /bin/prog\n"
			     "3000-4000 r--p 00002000 08:01 7 /bin/prog\n"
			     "4000-5000 r--p 00003000 08:01 7 /bin/prog\n"
			     "5000-6000 rw-p 00004000 08:01 7 /bin/prog\n"
			     "6000-8000 rw-p 00000000 00:00 0\n"
			     "9000-a000 rw-p 00000000 00:00 0 [heap]\n"
			     "b000-c000 rw-p 00000000 08:01 9 /srv/data.bin\n"
			     "d000-e000 rw-p 00000000 00:00 0\n"
			     "f000-10000 rw-p 00000000 00:00 0 [anon:v8]\n"
			     "11000-12000 rw-p 00000000 00:0f 3 /anon_hugepage (deleted)\n"
			     "13000-14000 rw-s 00000000 00:01 3 /SYSV00000001 (deleted)\n"
			     "15000-16000 rw-p 00000000 00:00 0 [anon: glibc: pthread stack: 12]\n"
			     "17000-18000 rw-p 00000000 00:00 0 [stack]\n"
			     "19000-1a000 r-xp 00000000 00:00 0 [vdso]\n";

static const struct {
	ct_raddr_t address;
	enum ct_cell cell;
	const char *type;
} expected[] = {
	{ 0x1000, CT_CELL_FILE, "prog .rodata" },     { 0x2fff, CT_CELL_FILE, "prog .text" },
	{ 0x3000, CT_CELL_FILE, "prog .rodata" },     { 0x4800, CT_CELL_DATA, "prog .relro" },
	{ 0x5000, CT_CELL_DATA, "prog .data" },	      { 0x7fff, CT_CELL_DATA, "prog .bss" },
	{ 0x9000, CT_CELL_DATA, "[heap]" },	      { 0xb000, CT_CELL_FILE, "data.bin" },
	{ 0xd000, CT_CELL_DATA, "[anon]" },	      { 0xf000, CT_CELL_DATA, "[anon:v8]" },
	{ 0x11000, CT_CELL_DATA, "[anon_hugepage]" }, { 0x13000, CT_CELL_FILE, "SYSV00000001" },
	{ 0x15000, CT_CELL_STACK, "[thread stack]" }, { 0x17000, CT_CELL_STACK, "[stack]" },
	{ 0x19000, CT_CELL_DATA, "[vdso]" },
};

static void *attach(struct ct_heap_source *source, const char *text)
{
	const char *why = NULL;
	void *heap;

	*source = (struct ct_heap_source){ .maps = ct_maps__parse(text, strlen(text), 1),
					   .types = ct_names__new() };
	assert_non_null(source->maps);
	heap = ct_reader_generic.attach(source, &why);
	assert_non_null(heap);
	return heap;
}

static void detach(struct ct_heap_source *source, void *heap)
{
	ct_reader_generic.close(heap);
	ct_maps__put(source->maps);
	ct_names__free(source->types);
}

static void check_layout(struct ct_heap_source *source, void *heap)
{
	const struct ct_bytes none = { 0 };
	struct ct_place place;

	for (size_t i = 0; i < CT_ARRAY_SIZE(expected); i++) {
		memset(&place, 0xff, sizeof(place));
		assert_true(ct_reader_generic.locate(heap, expected[i].address, &none, &place));
		assert_int_equal(place.cell, expected[i].cell);
		assert_string_equal(ct_names__name(source->types, place.type), expected[i].type);
		assert_string_equal(ct_names__scope(source->types, place.type), "generic");
		assert_int_equal(place.object, 0);
		assert_int_equal(place.size, 0);
	}
}

static void test_cells(void **state)
{
	struct ct_heap_source source;
	void *heap = attach(&source, layout);
	struct ct_place place;
	uint32_t types;

	(void)state;
	assert_string_equal(ct_reader_generic.name, "generic");
	check_layout(&source, heap);
	types = ct_names__count(source.types);
	check_layout(&source, heap);
	assert_int_equal(ct_names__count(source.types), types);
	for (ct_raddr_t a = 0x8000; a; a = a == 0x8000	     ? UINT64_MAX
					   : a == UINT64_MAX ? 0x12345678
							     : 0) {
		memset(&place, 0xff, sizeof(place));
		assert_true(ct_reader_generic.locate(heap, a, NULL, &place));
		assert_int_equal(place.cell, CT_CELL_UNKNOWN);
		assert_int_equal(place.type, 0);
	}
	detach(&source, heap);
}

static void test_renew(void **state)
{
	struct ct_heap_source source;
	void *heap = attach(&source, "1000-2000 rw-p 0 0:0 0 [stack]\n");
	struct ct_place place;

	(void)state;
	ct_reader_generic.locate(heap, 0x1000, NULL, &place);
	assert_int_equal(place.cell, CT_CELL_STACK);
	ct_maps__put(source.maps); /* as the owner may: the new reading can get the same memory */
	source.maps = ct_maps__parse(layout, strlen(layout), 1);
	ct_reader_generic.renew(heap, &source);
	check_layout(&source, heap);
	ct_reader_generic.renew(heap, &source);
	check_layout(&source, heap);
	detach(&source, heap);
}

/** No mapping at all: a process that is gone. */
static void test_empty(void **state)
{
	struct ct_heap_source source;
	void *heap = attach(&source, "");
	struct ct_place place;

	(void)state;
	assert_true(ct_reader_generic.locate(heap, 0x1000, NULL, &place));
	assert_int_equal(place.cell, CT_CELL_UNKNOWN);
	detach(&source, heap);
}

/** 10 M addresses in a process of 1,000 mappings: no allocation; the rate is printed. */
static void test_steady_state(void **state)
{
	enum { MAPPINGS = 1000, ROUNDS = 10 * 1000 * 1000 };
	char *text = malloc(MAPPINGS * 64);
	struct ct_heap_source source;
	struct timespec start, end;
	struct ct_place place;
	size_t len = 0, data = 0;
	uint32_t next = 1;
	double seconds;
	void *heap;

	(void)state;
	for (size_t i = 0; i < MAPPINGS; i++)
		len += (size_t)sprintf(text + len, "%zx-%zx rw-p 0 08:01 %zu /f%zu\n",
				       (i * 4 + 1) << 12, (i * 4 + 5) << 12, i + 1, i);
	heap = attach(&source, text);
	for (size_t i = 0; i < MAPPINGS; i++)
		ct_reader_generic.locate(heap, (i * 4 + 1) << 12, NULL, &place);
	size_t used = mallinfo2().uordblks;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (size_t i = 0; i < ROUNDS; i++) {
		next = next * 1664525u + 1013904223u;
		ct_reader_generic.locate(heap, 0x1000 + next % (MAPPINGS * 0x4000), NULL, &place);
		data += place.cell == CT_CELL_FILE;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_int_equal(mallinfo2().uordblks, used);
	assert_int_equal(data, ROUNDS);
	seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
	print_message("generic locate: %.1f M/s in %d mappings, random addresses\n",
		      ROUNDS / seconds / 1e6, MAPPINGS);
	free(text);
	detach(&source, heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_renew),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_steady_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
