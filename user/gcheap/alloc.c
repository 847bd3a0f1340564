/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * alloc.c - turns "so many bytes" into a block, like CPython's pymalloc: arenas of 1 MiB from the
 * system, pools of 16 KiB, in each pool blocks of one size and kind. Freed blocks form a list in
 * the pool; a pool without blocks goes back to the free pools. Above 4080 bytes a block gets a
 * mapping of its own. Arenas stay.
 *
 * A pool is found from a block by masking its address, for big blocks too: theirs is the first
 * in its mapping, right behind the same header (split: behind a page with its count, too).
 */
#include <string.h>

#include "internal.h"

/* Above 512 bytes: what 16320 bytes of pool divide into well. */
static const uint16_t wide_classes[] = { 576, 640, 736, 816, 1008, 1248, 1632, 2032, 2720, 4080 };

#define NARROW_COUNT 64u
#define NARROW_STEP  8u
#define AHEAD_BYTES  512u
#define FREE_TRIES   64 /* free pools looked at for one with room in its side tables */
_Static_assert(NARROW_COUNT + sizeof(wide_classes) / sizeof(wide_classes[0]) == GCHEAP_CLASS_COUNT,
	       "one entry a size class");

static inline unsigned int class_of(size_t bytes)
{
	if (bytes <= NARROW_COUNT * NARROW_STEP)
		return bytes > 2 * NARROW_STEP ? (unsigned int)((bytes - 1) / NARROW_STEP) : 1;
	for (unsigned int i = NARROW_COUNT; i < GCHEAP_CLASS_COUNT; i++) {
		if (bytes <= wide_classes[i - NARROW_COUNT])
			return i;
	}
	return GCHEAP_BIG;
}

static inline uint32_t class_bytes(unsigned int size_class)
{
	return size_class < NARROW_COUNT ? (size_class + 1) * NARROW_STEP
					 : wide_classes[size_class - NARROW_COUNT];
}

static void link_pool(struct gcheap_pool **list, struct gcheap_pool *pool)
{
	pool->prev = NULL;
	pool->next = *list;
	if (*list)
		(*list)->prev = pool;
	*list = pool;
}

static void unlink_pool(struct gcheap_pool **list, struct gcheap_pool *pool)
{
	if (pool->prev)
		pool->prev->next = pool->next;
	else
		*list = pool->next;
	if (pool->next)
		pool->next->prev = pool->prev;
}

static bool add_arena(void)
{
	char *arena = gcheap_map(gcheap_arena_bytes(), gcheap_arena_align()), *entry;

	if (!arena)
		return false;
	entry = (char *)gcheap_publish_pools(arena, gcheap_arena_bytes());
	if (!entry) {
		gcheap_unmap(arena, gcheap_arena_bytes());
		return false;
	}
	for (size_t i = GCHEAP_POOL_COUNT; i-- > 0;) {
		struct gcheap_pool *pool = (void *)(arena + i * GCHEAP_POOL_BYTES);

		pool->entry = (void *)(entry + i * GCHEAP_ENTRY_BYTES);
		link_pool(&gcheap_heap.free_pools, pool);
	}
	gcheap_heap.stats.arenas++;
	return true;
}

static uint32_t kind_flags(unsigned int kind)
{
	static const uint32_t flags[GCHEAP_KIND_COUNT] = { 0, HEAPMAP_GC, HEAPMAP_RAW };

	return flags[kind] | (gcheap_heap.apart && kind != GCHEAP_KIND_BUFFER ? HEAPMAP_APART : 0);
}

/* A free pool that is given its geometry, and side tables if it needs them. */
static struct gcheap_pool *find_pool(enum gcheap_kind kind, unsigned int size_class)
{
	uint32_t bytes = class_bytes(size_class);
	int tries = 0;

	for (;;) {
		struct gcheap_pool *pool = gcheap_heap.free_pools;

		for (; pool && tries < FREE_TRIES; pool = pool->next, tries++) {
			pool->kind = (uint8_t)kind;
			pool->size_class = (uint8_t)size_class;
			pool->first = sizeof(*pool);
			pool->capacity = (uint16_t)((GCHEAP_POOL_BYTES - sizeof(*pool)) / bytes);
			pool->inverse = (uint32_t)(((1ull << 32) + bytes - 1) / bytes);
			if (gcheap_side_take(pool))
				return pool;
		}
		if (!add_arena())
			return NULL;
		tries = 0; /* those of the new arena are first, and have room */
	}
}

static struct gcheap_pool *take_pool(enum gcheap_kind kind, unsigned int size_class)
{
	struct gcheap_pool *pool = find_pool(kind, size_class);

	if (!pool)
		return NULL;
	unlink_pool(&gcheap_heap.free_pools, pool);
	pool->free = NULL;
	pool->used = 0;
	pool->entry->flags = kind_flags(kind);
	pool->entry->counts = (uintptr_t)pool->counts;
	pool->entry->heads = (uintptr_t)pool->heads;
	pool->entry->block_bytes = class_bytes(size_class);
	link_pool(&gcheap_heap.partial[kind][size_class], pool);
	gcheap_heap.stats.pools++;
	return pool;
}

static void give_pool(struct gcheap_pool *pool)
{
	unlink_pool(&gcheap_heap.partial[pool->kind][pool->size_class], pool);
	pool->entry->block_bytes = 0;
	pool->entry->carved = 0;
	pool->entry->flags = 0;
	pool->entry->type = 0;
	pool->entry->counts = pool->entry->heads = 0;
	gcheap_side_give(pool);
	link_pool(&gcheap_heap.free_pools, pool);
	gcheap_heap.stats.pools--;
}

static void *big_new(enum gcheap_kind kind, size_t bytes, const struct gcheap_type *type)
{
	bool side = gcheap_heap.apart && kind != GCHEAP_KIND_BUFFER;
	size_t first = side ? GCHEAP_PAGE_BYTES : sizeof(struct gcheap_pool);
	struct gcheap_pool *pool;

	if (bytes > PTRDIFF_MAX - 2 * GCHEAP_POOL_BYTES)
		return NULL;
	bytes = (bytes + first + GCHEAP_PAGE_BYTES - 1) & ~(GCHEAP_PAGE_BYTES - 1);
	pool = gcheap_map(bytes, GCHEAP_POOL_BYTES);
	if (!pool)
		return NULL;
	pool->kind = (uint8_t)kind;
	pool->size_class = GCHEAP_BIG;
	pool->first = (uint16_t)first;
	if (!gcheap_publish_big(pool, bytes)) {
		gcheap_unmap(pool, bytes);
		return NULL;
	}
	if (side)
		gcheap_side_big(pool);
	gcheap_note_type(pool->entry, type);
	pool->entry->flags = kind_flags(kind);
	pool->entry->live[0] = 1;
	gcheap_heap.stats.big++;
	gcheap_heap.stats.blocks++;
	return (char *)pool + first;
}

/* Sizes are multiples of 8, at least 16. Stores that overlap need fewer branches than a loop has,
 * and a call costs more than most blocks do. */
static inline void zero(char *block, uint32_t bytes)
{
	if (__builtin_expect(bytes > 128, 0)) {
		memset(block, 0, bytes);
		return;
	}
	if (bytes > 64) {
		memset(block, 0, 64);
		memset(block + bytes - 64, 0, 64);
	} else if (bytes > 32) {
		memset(block, 0, 32);
		memset(block + bytes - 32, 0, 32);
	} else {
		memset(block, 0, 16);
		memset(block + bytes - 16, 0, 16);
	}
}

void *gcheap_block_new(enum gcheap_kind kind, size_t bytes, const struct gcheap_type *type)
{
	unsigned int size_class, index;
	struct gcheap_pool *pool;
	uint32_t block_bytes;
	char *block;

	if (!gcheap_may_allocate())
		return NULL;
	size_class = class_of(bytes);
	if (size_class == GCHEAP_BIG)
		return big_new(kind, bytes, type);
	if (kind != GCHEAP_KIND_OBJECT && size_class < NARROW_COUNT)
		size_class |= 1; /* a multiple of 16, as the wide classes are, all */
	pool = gcheap_heap.partial[kind][size_class];
	if (!pool)
		pool = take_pool(kind, size_class);
	if (!pool)
		return NULL;
	block_bytes = class_bytes(size_class);
	gcheap_note_type(pool->entry, type);
	block = pool->free;
	if (block) {
		GCHEAP_UNPOISON(block, block_bytes);
		memcpy(&pool->free, block, sizeof(pool->free));
		__builtin_prefetch(pool->free, 1);
		index = gcheap_index_of(pool, block);
	} else {
		index = pool->entry->carved++;
		block = (char *)pool + sizeof(*pool) + index * block_bytes;
		GCHEAP_UNPOISON(block, block_bytes);
		__builtin_prefetch(block + AHEAD_BYTES,
				   1); /* most time goes into its first write */
	}
	zero(block, block_bytes);
	pool->entry->live[index / 64] |= 1ull << index % 64;
	if (++pool->used == pool->capacity)
		unlink_pool(&gcheap_heap.partial[kind][size_class], pool);
	gcheap_heap.stats.blocks++;
	return block;
}

static void give_back(struct gcheap_pool *pool, void *block)
{
	memcpy(block, &pool->free, sizeof(pool->free));
	pool->free = block;
	GCHEAP_POISON(block, class_bytes(pool->size_class));
	if (pool->used-- == pool->capacity)
		link_pool(&gcheap_heap.partial[pool->kind][pool->size_class], pool);
	if (pool->used == 0)
		give_pool(pool);
}

void gcheap_block_free(void *block)
{
	struct gcheap_pool *pool = gcheap_pool_of(block);
	unsigned int index;

	gcheap_heap.stats.blocks--;
	if (pool->size_class == GCHEAP_BIG) {
		gcheap_heap.stats.big--;
		gcheap_unmap(pool, gcheap_unpublish_big(pool));
		return;
	}
	index = gcheap_index_of(pool, block);
	pool->entry->live[index / 64] &= ~(1ull << index % 64);
	block = gcheap_retire(block);
	if (block)
		give_back(gcheap_pool_of(block), block);
}
