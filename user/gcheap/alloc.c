/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * alloc.c - turns "so many bytes" into a block, like CPython's pymalloc: arenas of 1 MiB from the
 * system, pools of 16 KiB, in each pool blocks of one size and kind. Freed blocks form a list in
 * the pool; a pool without blocks goes back to the free pools. Above 4080 bytes a block gets a
 * mapping of its own. Arenas stay.
 *
 * A pool is found from a block by masking its address, for big blocks too: theirs is the first
 * in its mapping, right behind the same header.
 */
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

#define PAGE_BYTES 4096ul

struct gcheap_heap gcheap_heap;

/* Above 512 bytes: what 16336 bytes of pool divide into well. */
static const uint16_t wide_classes[] = { 576, 640, 736, 816, 1008, 1248, 1632, 2032, 2720, 4080 };

#define NARROW_COUNT 32u
_Static_assert(NARROW_COUNT + sizeof(wide_classes) / sizeof(wide_classes[0]) == GCHEAP_CLASS_COUNT,
	       "one entry a size class");

static unsigned int class_of(size_t bytes)
{
	if (bytes <= NARROW_COUNT * 16)
		return bytes ? (unsigned int)((bytes - 1) / 16) : 0;
	for (unsigned int i = NARROW_COUNT; i < GCHEAP_CLASS_COUNT; i++) {
		if (bytes <= wide_classes[i - NARROW_COUNT])
			return i;
	}
	return GCHEAP_BIG;
}

static uint32_t class_bytes(unsigned int size_class)
{
	return size_class < NARROW_COUNT ? (size_class + 1) * 16
					 : wide_classes[size_class - NARROW_COUNT];
}

void *gcheap_map(size_t bytes, size_t align)
{
	size_t slack = align > PAGE_BYTES ? align - PAGE_BYTES : 0, before;
	char *start;

	if (gcheap_heap.limit_bytes &&
	    (bytes > gcheap_heap.limit_bytes ||
	     gcheap_heap.stats.mapped_bytes > gcheap_heap.limit_bytes - bytes))
		return NULL;
	start = mmap(NULL, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	if (start == MAP_FAILED)
		return NULL;
	before = slack ? -(uintptr_t)start & (align - 1) : 0;
	if (before)
		munmap(start, before);
	if (slack > before)
		munmap(start + before + bytes, slack - before);
	gcheap_heap.stats.mapped_bytes += bytes;
	return start + before;
}

void gcheap_unmap(void *start, size_t bytes)
{
	munmap(start, bytes);
	gcheap_heap.stats.mapped_bytes -= bytes;
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
	char *arena = gcheap_map(GCHEAP_ARENA_BYTES, GCHEAP_ARENA_BYTES), *entry;

	if (!arena)
		return false;
	entry = (char *)gcheap_publish_pools(arena);
	if (!entry) {
		gcheap_unmap(arena, GCHEAP_ARENA_BYTES);
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

static const uint32_t kind_flags[GCHEAP_KIND_COUNT] = { 0, HEAPMAP_GC, HEAPMAP_RAW };

static struct gcheap_pool *take_pool(enum gcheap_kind kind, unsigned int size_class)
{
	struct gcheap_pool *pool;
	uint32_t bytes = class_bytes(size_class);

	if (!gcheap_heap.free_pools && !add_arena())
		return NULL;
	pool = gcheap_heap.free_pools;
	unlink_pool(&gcheap_heap.free_pools, pool);
	pool->free = NULL;
	pool->used = 0;
	pool->capacity = (uint16_t)((GCHEAP_POOL_BYTES - sizeof(*pool)) / bytes);
	pool->kind = (uint8_t)kind;
	pool->size_class = (uint8_t)size_class;
	pool->entry->flags = kind_flags[kind];
	pool->entry->block_bytes = bytes;
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
	link_pool(&gcheap_heap.free_pools, pool);
	gcheap_heap.stats.pools--;
}

static void *big_new(enum gcheap_kind kind, size_t bytes, const struct gcheap_type *type)
{
	struct gcheap_pool *pool;

	if (bytes > PTRDIFF_MAX - 2 * GCHEAP_POOL_BYTES)
		return NULL;
	bytes = (bytes + sizeof(*pool) + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	pool = gcheap_map(bytes, GCHEAP_POOL_BYTES);
	if (!pool)
		return NULL;
	pool->kind = (uint8_t)kind;
	pool->size_class = GCHEAP_BIG;
	if (!gcheap_publish_big(pool, bytes)) {
		gcheap_unmap(pool, bytes);
		return NULL;
	}
	gcheap_note_type(pool->entry, type);
	pool->entry->flags = kind_flags[kind];
	pool->entry->live[0] = 1;
	gcheap_heap.stats.big++;
	gcheap_heap.stats.blocks++;
	return pool + 1;
}

void *gcheap_block_new(enum gcheap_kind kind, size_t bytes, const struct gcheap_type *type)
{
	unsigned int size_class = class_of(bytes), index;
	struct gcheap_pool *pool;
	char *block;

	if (size_class == GCHEAP_BIG)
		return big_new(kind, bytes, type);
	pool = gcheap_heap.partial[kind][size_class];
	if (!pool)
		pool = take_pool(kind, size_class);
	if (!pool)
		return NULL;
	bytes = class_bytes(size_class);
	gcheap_note_type(pool->entry, type);
	block = pool->free;
	if (block) {
		memcpy(&pool->free, block, sizeof(pool->free));
		index = (unsigned int)(block - (char *)(pool + 1)) / (unsigned int)bytes;
	} else {
		index = pool->entry->carved++;
		block = (char *)(pool + 1) + index * bytes;
	}
	memset(block, 0, bytes);
	pool->entry->live[index / 64] |= 1ull << index % 64;
	if (++pool->used == pool->capacity)
		unlink_pool(&gcheap_heap.partial[kind][size_class], pool);
	gcheap_heap.stats.blocks++;
	return block;
}

void gcheap_block_free(void *block)
{
	struct gcheap_pool *pool = (void *)((uintptr_t)block & ~(GCHEAP_POOL_BYTES - 1));
	unsigned int index;

	gcheap_heap.stats.blocks--;
	if (pool->size_class == GCHEAP_BIG) {
		gcheap_heap.stats.big--;
		gcheap_unmap(pool, gcheap_unpublish_big(pool));
		return;
	}
	index = (unsigned int)((char *)block - (char *)(pool + 1)) / class_bytes(pool->size_class);
	pool->entry->live[index / 64] &= ~(1ull << index % 64);
	memcpy(block, &pool->free, sizeof(pool->free));
	pool->free = block;
	if (pool->used-- == pool->capacity)
		link_pool(&gcheap_heap.partial[pool->kind][pool->size_class], pool);
	if (pool->used == 0)
		give_pool(pool);
}

void gcheap_get_stats(struct gcheap_stats *stats)
{
	*stats = gcheap_heap.stats;
}

void gcheap_set_limit(size_t bytes)
{
	gcheap_heap.limit_bytes = bytes;
}
