/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_glibc_hostile.c - the chunks of a made-up heap, whole and spoilt: no answer lies outside the
 * heap, no search goes on for ever, and pages that were never touched are not read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "heap/glibc.h"

#define HEAP_PAGES 256u
#define HEAP_BYTES (HEAP_PAGES * CT_PAGE_SIZE)
#define HEAP_START 0x10000000ull

static uint64_t memory[HEAP_BYTES / 8];
static bool touched[HEAP_PAGES];
static size_t reads;
static uint64_t seed;

static uint64_t random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static ssize_t read_memory(void *context, ct_raddr_t addr, void *buf, size_t len)
{
	(void)context;
	reads++;
	if (addr < HEAP_START || addr >= HEAP_START + HEAP_BYTES)
		return -14;
	if (len > HEAP_START + HEAP_BYTES - addr)
		len = HEAP_START + HEAP_BYTES - addr;
	for (ct_raddr_t page = addr & CT_PAGE_MASK; page < addr + len; page += CT_PAGE_SIZE)
		if (!touched[(page - HEAP_START) / CT_PAGE_SIZE])
			fail_msg("read of a page never touched: %#lx", (unsigned long)page);
	memcpy(buf, (const char *)memory + (addr - HEAP_START), len);
	return (ssize_t)len;
}

static bool is_touched(void *context, ct_raddr_t addr)
{
	(void)context;
	return addr >= HEAP_START && addr < HEAP_START + HEAP_BYTES &&
	       touched[(addr - HEAP_START) / CT_PAGE_SIZE];
}

struct heap {
	struct ct_heap_source source;
	struct ct_glibc *glibc;
};

static bool open_heap(struct heap *heap)
{
	static const char text[] = "10000000-10100000 rw-p 00000000 00:00 0 [heap]\n";
	const struct ct_remote_source source = { .read = read_memory, .present = is_touched };
	const char *why = "";

	heap->source = (struct ct_heap_source){
		.maps = ct_maps__parse(text, sizeof(text) - 1, 1),
		.memory = ct_remote__open_source(&source, 1),
	};
	assert_non_null(heap->source.maps);
	heap->glibc = ct_glibc__new(&heap->source, &why);
	return heap->glibc;
}

static void close_heap(struct heap *heap)
{
	ct_glibc__free(heap->glibc);
	ct_remote__close(heap->source.memory);
	ct_maps__put(heap->source.maps);
}

/* Chunks of random sizes up to the end; each fourth is free. Pages without a header stay untouched.
 */
static void make_heap(uint64_t from)
{
	uint64_t at = 0, size;
	bool in_use = true;

	seed = from;
	memset(memory, 0, sizeof(memory));
	memset(touched, 0, sizeof(touched));
	for (; at < HEAP_BYTES; at += size) {
		size = random_number() % 20 ? 32 + random_number() % 40 * 16
					    : 16 * (2 + random_number() % 4000);
		if (size + 1024 > HEAP_BYTES - at)
			size = HEAP_BYTES - at;
		touched[at / CT_PAGE_SIZE] = true;
		memory[at / 8 + 1] = size | in_use;
		in_use = !in_use || random_number() % 4;
		if (!in_use && at + size < HEAP_BYTES)
			memory[(at + size) / 8] = size;
	}
}

static void check_answer(const struct ct_chunk *chunk, ct_raddr_t address)
{
	ct_raddr_t head = chunk->user - 16;

	assert_true(chunk->user % 16 == 0 && chunk->user >= HEAP_START + 16);
	assert_true(chunk->size >= 16 && chunk->size <= HEAP_START + HEAP_BYTES - head);
	assert_true(address >= head + 8 && address < chunk->user + chunk->size);
	assert_int_equal(chunk->in_header, address < chunk->user);
}

static void test_whole(void **state)
{
	struct ct_chunk chunk, walk = { 0 };
	struct heap heap;

	(void)state;
	for (uint64_t from = 1; from < 20; from++) {
		size_t chunks = 0;

		make_heap(from);
		assert_true(open_heap(&heap));
		for (ct_raddr_t at = HEAP_START + 8; at < HEAP_START + HEAP_BYTES; at += 8) {
			assert_true(ct_glibc__chunk(heap.glibc, at, &chunk));
			check_answer(&chunk, at);
		}
		walk = (struct ct_chunk){ 0 };
		for (uint64_t at = 0; at < HEAP_BYTES; at += memory[at / 8 + 1] & ~7ull) {
			assert_true(ct_glibc__next(heap.glibc, &walk));
			assert_int_equal(walk.user, HEAP_START + at + 16);
			chunks++;
		}
		assert_true(chunks > 100);
		assert_false(ct_glibc__next(heap.glibc, &walk));
		close_heap(&heap);
	}
}

/* What a chunk's size can be made to be: 0, huge, unaligned, of another arena, back to itself. */
static uint64_t spoilt(uint64_t word)
{
	switch (random_number() % 8) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return word + 8;
	case 3:
		return word | 2;
	case 4:
		return word | 4;
	case 5:
		return HEAP_BYTES | 1;
	case 6:
		return (word & ~7ull) * 2 | 1;
	default:
		return random_number();
	}
}

static void ask(struct heap *heap)
{
	struct ct_chunk chunk;

	for (int i = 0; i < 200; i++) {
		ct_raddr_t at = HEAP_START + random_number() % HEAP_BYTES;

		if (ct_glibc__chunk(heap->glibc, at, &chunk))
			check_answer(&chunk, at);
	}
}

static void test_spoilt(void **state)
{
	size_t opened = 0;

	(void)state;
	for (uint64_t from = 1; from < 300; from++) {
		struct ct_chunk walk = { 0 };
		struct heap heap;
		ct_raddr_t before = 0;
		size_t chunks = 0;

		make_heap(from);
		if (from % 2)
			memory[random_number() % 300] = random_number();
		if (!open_heap(&heap)) {
			close_heap(&heap);
			continue;
		}
		opened++;
		ask(&heap);
		for (int changes = 0; changes < 5; changes++) {
			for (size_t at = random_number() % HEAP_BYTES / 16 * 2, n = 0; n < 400;
			     at = (at + 2) % (HEAP_BYTES / 8), n++)
				if (memory[at + 1] && touched[at * 8 / CT_PAGE_SIZE] &&
				    random_number() % 50 == 0)
					memory[at + 1] = spoilt(memory[at + 1]);
			ct_remote__renew(heap.source.memory);
			ct_glibc__renew(heap.glibc, &heap.source);
			reads = 0;
			ask(&heap);
			assert_true(reads < 200 * 2 * HEAP_PAGES);
		}
		while (ct_glibc__next(heap.glibc, &walk)) {
			assert_true(walk.user > before && chunks++ < HEAP_BYTES / 32);
			before = walk.user;
		}
		close_heap(&heap);
	}
	assert_true(opened > 200);
}

/* Behind what the start code of a static program took from brk, the chunks are found too. */
static void test_static_program(void **state)
{
	const size_t words = 0x1e0 / 8;
	struct ct_chunk chunk;
	struct heap heap;

	(void)state;
	make_heap(7);
	memmove(memory + words, memory, sizeof(memory) - words * 8);
	for (size_t i = 0; i < words; i++)
		memory[i] = i * 0x1000001;
	memset(touched, true, sizeof(touched));
	assert_true(open_heap(&heap));
	assert_true(ct_glibc__chunk(heap.glibc, HEAP_START + 0x1e0 + 16, &chunk));
	assert_int_equal(chunk.user, HEAP_START + 0x1e0 + 16);
	assert_false(ct_glibc__chunk(heap.glibc, HEAP_START + 64, &chunk));
	close_heap(&heap);
}

/* Any memory that is no heap of glibc's is refused. */
static void test_noise(void **state)
{
	struct heap heap;

	(void)state;
	memset(touched, true, sizeof(touched));
	for (uint64_t from = 1; from < 20; from++) {
		seed = from;
		for (size_t i = 0; i < HEAP_BYTES / 8; i++)
			memory[i] = from % 2 ? random_number()
					     : HEAP_START + random_number() % HEAP_BYTES;
		assert_false(open_heap(&heap));
		close_heap(&heap);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_spoilt),
		cmocka_unit_test(test_static_program),
		cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests_name("glibc_hostile", tests, NULL, NULL);
}
