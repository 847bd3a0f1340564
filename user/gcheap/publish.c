/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * publish.c - keeps the heap map (heapmap.h) in step with the allocator: the table of arenas, which
 * moves when it grows, and the directories, which never do. Both lie in mappings of their own, and
 * those are on the map too, as arenas without pools.
 *
 * Pools change their entries in place (alloc.c); only a change of the table counts a generation.
 */
#include <string.h>

#include "internal.h"

#define META_BYTES  (256ul << 10)
#define TABLE_BYTES (64ul << 10)

HEAPMAP_DEFINE(.name = "gcheap", .gc_header_bytes = sizeof(union gcheap_head),
	       .refcount_offset = offsetof(struct gcheap_object, refcount),
	       .refcount_bytes = sizeof(int64_t),
	       .type_offset = offsetof(struct gcheap_object, type), .type_bytes = sizeof(void *),
	       .type_name_offset = offsetof(struct gcheap_type, name),
	       .type_size_offset = offsetof(struct gcheap_type, basicsize),
	       .type_flags_offset = offsetof(struct gcheap_type, flags),
	       .apart_count_bytes = sizeof(uint32_t),
	       .apart_head_bytes = sizeof(union gcheap_head));

_Static_assert(GCHEAP_CONTAINER == HEAPMAP_GC, "the flag that type_flags_offset promises");

static struct heapmap_arena *table(void)
{
	return (struct heapmap_arena *)(uintptr_t)heapmap_here.arenas;
}

/* A reader outside sees an odd generation, or the same one before and after, never half a change.
 */
static void change_begin(void)
{
	__atomic_add_fetch(&heapmap_here.generation, 1, __ATOMIC_SEQ_CST);
}

static void change_end(void)
{
	__atomic_add_fetch(&heapmap_here.generation, 1, __ATOMIC_SEQ_CST);
}

/* Makes room for @more entries: never to fail halfway is what callers need. */
static bool table_reserve(size_t more)
{
	size_t count = heapmap_here.arena_count, bytes;
	struct heapmap_arena *old = table(), *bigger;

	if (count + more <= gcheap_heap.table_capacity)
		return true;
	bytes = old ? 2 * (old[gcheap_heap.table_arena].end - (uintptr_t)old) : TABLE_BYTES;
	bigger = gcheap_map(bytes, 0);
	if (!bigger)
		return false;
	change_begin();
	if (old) {
		size_t old_bytes = old[gcheap_heap.table_arena].end - (uintptr_t)old;

		memcpy(bigger, old, count * sizeof(*old));
		gcheap_unmap(old, old_bytes);
	} else {
		heapmap_here.arena_count = 1;
	}
	bigger[gcheap_heap.table_arena] = (struct heapmap_arena){
		.start = (uintptr_t)bigger,
		.end = (uintptr_t)bigger + bytes,
	};
	heapmap_here.arenas = (uintptr_t)bigger;
	gcheap_heap.table_capacity = bytes / sizeof(*bigger);
	change_end();
	return true;
}

/* Needs a table_reserve(1) before. */
static size_t table_add(const struct heapmap_arena *arena)
{
	size_t index = heapmap_here.arena_count;

	change_begin();
	table()[index] = *arena;
	heapmap_here.arena_count++;
	change_end();
	return index;
}

static void *meta_new(size_t bytes)
{
	char *start;

	if ((size_t)(gcheap_heap.meta_end - gcheap_heap.meta) < bytes) {
		if (!table_reserve(1))
			return NULL;
		start = gcheap_map(META_BYTES, 0);
		if (!start)
			return NULL;
		table_add(&(struct heapmap_arena){
			.start = (uintptr_t)start,
			.end = (uintptr_t)start + META_BYTES,
		});
		gcheap_heap.meta = start;
		gcheap_heap.meta_end = start + META_BYTES;
	}
	start = gcheap_heap.meta;
	gcheap_heap.meta += bytes;
	return start;
}

struct heapmap_pool *gcheap_publish_pools(void *arena, size_t bytes)
{
	struct heapmap_pool *directory;

	if (!table_reserve(2)) /* one for meta_new */
		return NULL;
	directory = meta_new(GCHEAP_POOL_COUNT * GCHEAP_ENTRY_BYTES);
	if (!directory)
		return NULL;
	/* all of it will be read from outside, and reading pages never written would map the zero
	 * page */
	memset(directory, 0, GCHEAP_POOL_COUNT * GCHEAP_ENTRY_BYTES);
	table_add(&(struct heapmap_arena){
		.start = (uintptr_t)arena,
		.end = (uintptr_t)arena + bytes,
		.directory = (uintptr_t)directory,
		.pool_bytes = GCHEAP_POOL_BYTES,
		.pool_count = GCHEAP_POOL_COUNT,
		.pool_header_bytes = sizeof(struct gcheap_pool),
		.entry_bytes = GCHEAP_ENTRY_BYTES,
	});
	return directory;
}

bool gcheap_publish_big(struct gcheap_pool *pool, size_t bytes)
{
	struct heapmap_pool *entry = gcheap_heap.meta_free;

	if (!table_reserve(2))
		return false;
	if (entry)
		gcheap_heap.meta_free = (struct heapmap_pool *)(uintptr_t)entry->type;
	else
		entry = meta_new(GCHEAP_BIG_ENTRY_BYTES);
	if (!entry)
		return false;
	entry->type = 0;
	entry->carved = 1;
	entry->counts = entry->heads = 0;
	entry->block_bytes = bytes - pool->first;
	pool->entry = entry;
	pool->arena = table_add(&(struct heapmap_arena){
		.start = (uintptr_t)pool,
		.end = (uintptr_t)pool + bytes,
		.directory = (uintptr_t)entry,
		.pool_bytes = bytes,
		.pool_count = 1,
		.pool_header_bytes = pool->first,
		.entry_bytes = GCHEAP_BIG_ENTRY_BYTES,
	});
	return true;
}

size_t gcheap_unpublish_big(struct gcheap_pool *pool)
{
	struct heapmap_arena *hole = &table()[pool->arena], *last;
	size_t bytes = hole->pool_bytes;

	change_begin();
	last = &table()[--heapmap_here.arena_count];
	if (last != hole) {
		*hole = *last;
		if (hole->pool_count == 1) /* only big blocks know their index */
			((struct gcheap_pool *)(uintptr_t)hole->start)->arena = pool->arena;
	}
	change_end();
	pool->entry->block_bytes = 0;
	pool->entry->live[0] = 0;
	pool->entry->type = (uintptr_t)gcheap_heap.meta_free;
	gcheap_heap.meta_free = pool->entry;
	return bytes;
}

void gcheap_unpublish_all(void)
{
	struct heapmap_arena *arenas = table();
	uint32_t count = heapmap_here.arena_count;

	change_begin();
	heapmap_here.arena_count = 0;
	heapmap_here.arenas = 0;
	change_end();
	for (size_t i = 0; i < count; i++) {
		if (i != gcheap_heap.table_arena)
			gcheap_unmap((void *)(uintptr_t)arenas[i].start,
				     arenas[i].end - arenas[i].start);
	}
	if (arenas)
		gcheap_unmap(arenas, arenas[gcheap_heap.table_arena].end - (uintptr_t)arenas);
}

void gcheap_note_other_type(struct heapmap_pool *entry, const struct gcheap_type *type)
{
	if (entry->flags & HEAPMAP_MIXED)
		return;
	if (entry->type == 0) {
		entry->type = (uintptr_t)type;
	} else {
		entry->flags |= HEAPMAP_MIXED;
		entry->type = 0;
	}
}
