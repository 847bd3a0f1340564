/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * split.c - the layout that copies less: side tables for counts and GC headers. Behind its pools an
 * arena has room for both, in units that are given to pools as they are taken, so that the counts
 * of an arena lie close together:
 *
 *   [64 pools, 1 MiB][counts: 4096 units of 64 bytes][heads: 4096 units of 512 bytes][units taken]
 *
 * Unit n of the counts and unit n of the heads serve the same 16 blocks. A pool of the smallest
 * blocks needs 64 units, so all pools find theirs, but for holes in between: then another pool is
 * taken. What is not used of it is never touched, so it takes addresses and no memory. Objects keep
 * in their refcount word the address of their count, containers' heads the address of the object.
 */
#include "internal.h"

#define UNIT_BLOCKS   16u
#define UNIT_COUNT    4096u
#define COUNTS_OFFSET GCHEAP_ARENA_BYTES
#define HEADS_OFFSET  (COUNTS_OFFSET + UNIT_COUNT * UNIT_BLOCKS * sizeof(uint32_t))
#define TAKEN_OFFSET  (HEADS_OFFSET + UNIT_COUNT * UNIT_BLOCKS * sizeof(union gcheap_head))
#define SPLIT_BYTES   (TAKEN_OFFSET + GCHEAP_PAGE_BYTES)
#define SPLIT_ALIGN   (4ul << 20) /* to find the arena of a pool */

_Static_assert(SPLIT_BYTES <= SPLIT_ALIGN, "an arena must not reach into the next");

size_t gcheap_arena_bytes(void)
{
	return gcheap_heap.apart ? SPLIT_BYTES : GCHEAP_ARENA_BYTES;
}

size_t gcheap_arena_align(void)
{
	return gcheap_heap.apart ? SPLIT_ALIGN : GCHEAP_ARENA_BYTES;
}

static char *arena_of(const struct gcheap_pool *pool)
{
	return (char *)((uintptr_t)pool & ~(SPLIT_ALIGN - 1));
}

static unsigned int units_of(const struct gcheap_pool *pool)
{
	return (pool->capacity + UNIT_BLOCKS - 1) / UNIT_BLOCKS;
}

/* First of @need free units in a row, or UNIT_COUNT. */
static unsigned int find_units(const uint8_t *taken, unsigned int need)
{
	unsigned int run = 0;

	for (unsigned int i = 0; i < UNIT_COUNT; i++) {
		run = taken[i / 8] >> i % 8 & 1 ? 0 : run + 1;
		if (run == need)
			return i + 1 - need;
	}
	return UNIT_COUNT;
}

bool gcheap_side_take(struct gcheap_pool *pool)
{
	char *arena = arena_of(pool);
	uint8_t *taken = (uint8_t *)arena + TAKEN_OFFSET;
	unsigned int unit;

	pool->counts = NULL;
	pool->heads = NULL;
	if (!gcheap_heap.apart || pool->kind == GCHEAP_KIND_BUFFER)
		return true;
	unit = find_units(taken, units_of(pool));
	if (unit == UNIT_COUNT)
		return false;
	for (unsigned int i = unit; i < unit + units_of(pool); i++)
		taken[i / 8] |= (uint8_t)(1u << i % 8);
	pool->counts = (uint32_t *)(void *)(arena + COUNTS_OFFSET) + unit * UNIT_BLOCKS;
	if (pool->kind == GCHEAP_KIND_CONTAINER)
		pool->heads =
			(union gcheap_head *)(void *)(arena + HEADS_OFFSET) + unit * UNIT_BLOCKS;
	return true;
}

void gcheap_side_give(struct gcheap_pool *pool)
{
	char *arena = arena_of(pool);
	uint8_t *taken = (uint8_t *)arena + TAKEN_OFFSET;
	unsigned int unit;

	if (!pool->counts)
		return;
	unit = (unsigned int)(((char *)pool->counts - arena - COUNTS_OFFSET) /
			      (UNIT_BLOCKS * sizeof(uint32_t)));
	for (unsigned int i = unit; i < unit + units_of(pool); i++)
		taken[i / 8] &= (uint8_t) ~(1u << i % 8);
	pool->counts = NULL;
	pool->heads = NULL;
}

void gcheap_side_big(struct gcheap_pool *pool)
{
	pool->counts = (uint32_t *)(void *)(pool + 1);
	pool->entry->counts = (uintptr_t)pool->counts;
	if (pool->kind != GCHEAP_KIND_CONTAINER)
		return;
	pool->heads = (union gcheap_head *)(void *)(pool + 1) + 1;
	pool->entry->heads = (uintptr_t)pool->heads;
}

void gcheap_side_attach(struct gcheap_object *op, bool container)
{
	const struct gcheap_pool *pool = gcheap_pool_of(op);
	uint32_t index = gcheap_index_of(pool, op);

	pool->counts[index] = 1;
	op->refcount = INT64_MIN | (int64_t)(uintptr_t)&pool->counts[index];
	if (container)
		pool->heads[index].gc.gc_flags = (uintptr_t)op;
}
