/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * gcheap_table.c - heap map descriptors made a sorted table of arenas, each with room for a copy of
 * its directory. The target may change its table while it is read: what was read counts only if the
 * map's generation was the same before and after.
 *
 * Nothing of the target is believed: counts are cut to limits, geometry that makes no sense is left
 * out.
 */
#include <stdlib.h>
#include <string.h>

#include "heap/gcheap_table.h"

#define CT_ARENAS_MAX	   (1u << 18)
#define CT_POOLS_MAX	   (1u << 16) /* of an arena */
#define CT_ENTRY_MAX	   4096u      /* bytes: 32,384 blocks a pool */
#define CT_DIRECTORIES_MAX (256ull << 20)
#define CT_GEOMETRY_MAX	   4096u /* bytes of GC header, offset in an object or type */
#define CT_TRIES	   4

bool ct_gcheap_read(struct ct_gcheap *heap, ct_raddr_t address, void *buf, size_t len)
{
	return heap->memory && ct_remote__read(heap->memory, address, buf, len) == (ssize_t)len;
}

bool ct_head_is_sound(const struct heapmap_descriptor *head)
{
	return head->version == HEAPMAP_VERSION && head->size >= sizeof(*head) &&
	       head->arena_count <= CT_ARENAS_MAX && head->gc_header_bytes <= CT_GEOMETRY_MAX &&
	       head->refcount_offset <= CT_GEOMETRY_MAX && head->refcount_bytes <= 16 &&
	       head->type_offset <= CT_GEOMETRY_MAX &&
	       (head->type_bytes == 0 || head->type_bytes == 8) &&
	       head->type_name_offset <= CT_GEOMETRY_MAX && head->apart_count_bytes <= 16 &&
	       head->apart_head_bytes <= CT_GEOMETRY_MAX;
}

/** Read a descriptor and its table while it stands still. Return: the table (free it) or NULL. */
static struct heapmap_arena *ct_map_read(struct ct_gcheap *heap, struct ct_heap_map *map)
{
	struct heapmap_descriptor head, again;
	struct heapmap_arena *table = NULL;
	size_t bytes;

	map->known = false;
	for (int i = 0; i < CT_TRIES; i++) {
		if (!ct_gcheap_read(heap, map->address, &head, sizeof(head)) ||
		    !ct_head_is_sound(&head))
			return NULL;
		bytes = head.arena_count * sizeof(*table);
		free(table);
		table = malloc(bytes + 1); /* no arena yet: not NULL */
		if (!table)
			return NULL;
		/* a table that moved away under us gives no bytes: try again */
		if (head.generation % 2 || !ct_gcheap_read(heap, head.arenas, table, bytes) ||
		    !ct_gcheap_read(heap, map->address, &again, sizeof(again)))
			continue;
		if (again.generation == head.generation) {
			map->head = head;
			map->known = true;
			return table;
		}
	}
	heap->unsettled = true;
	free(table);
	return NULL;
}

/** One arena of the target made ours. Return: false if it makes no sense. */
static bool ct_arena_check(const struct heapmap_arena *from, uint32_t map, struct ct_arena *to)
{
	*to = (struct ct_arena){
		.start = from->start,
		.end = from->end,
		.directory = from->directory,
		.pool_bytes = from->pool_bytes,
		.pool_count = from->pool_count,
		.header_bytes = from->header_bytes,
		.pool_header_bytes = from->pool_header_bytes,
		.entry_bytes = from->entry_bytes,
		.map = map,
		.pool_shift = 63,
	};
	if (to->start >= to->end || to->end > INT64_MAX)
		return false;
	if (to->pool_count == 0)
		return true;
	if (to->pool_count > 1) {
		if (to->pool_bytes < 64 || to->pool_bytes & (to->pool_bytes - 1))
			return false;
		to->pool_shift = (uint8_t)__builtin_ctzll(to->pool_bytes);
	}
	return to->pool_count <= CT_POOLS_MAX && to->pool_header_bytes < to->pool_bytes &&
	       to->entry_bytes >= sizeof(struct heapmap_pool) && to->entry_bytes <= CT_ENTRY_MAX &&
	       to->entry_bytes % 8 == 0;
}

static int ct_compare_arenas(const void *a, const void *b)
{
	const struct ct_arena *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

void ct_gcheap_forget(struct ct_gcheap *heap)
{
	free(heap->arenas);
	free(heap->starts);
	free(heap->entries);
	heap->arenas = NULL;
	heap->starts = NULL;
	heap->entries = NULL;
	heap->count = 0;
}

/** Sort what is in heap->arenas, and give each the memory for its directory. */
static void ct_gcheap_settle(struct ct_gcheap *heap)
{
	uint64_t total = 0;

	qsort(heap->arenas, heap->count, sizeof(*heap->arenas), ct_compare_arenas);
	for (size_t i = 0; i < heap->count; i++) {
		const struct ct_arena *arena = &heap->arenas[i];
		uint64_t bytes = (uint64_t)arena->pool_count * arena->entry_bytes;

		heap->starts[i] = arena->start;
		total += total + bytes <= CT_DIRECTORIES_MAX ? bytes : 0;
	}
	heap->entries = calloc(1, total + 1);
	if (!heap->entries) {
		heap->count = 0;
		return;
	}
	total = 0;
	for (size_t i = 0; i < heap->count; i++) {
		struct ct_arena *arena = &heap->arenas[i];
		uint64_t bytes = (uint64_t)arena->pool_count * arena->entry_bytes;

		if (total + bytes > CT_DIRECTORIES_MAX)
			continue;
		arena->entries = heap->entries + total;
		total += bytes;
	}
}

bool ct_gcheap_is_current(struct ct_gcheap *heap)
{
	for (size_t i = 0; i < heap->map_count; i++) {
		const struct ct_heap_map *map = &heap->maps[i];
		struct heapmap_descriptor now;

		if (!map->known || !ct_gcheap_read(heap, map->address, &now, sizeof(now)) ||
		    memcmp(&now, &map->head, sizeof(now)))
			return false;
	}
	return true;
}

void ct_gcheap_refresh(struct ct_gcheap *heap)
{
	struct heapmap_arena *tables[CT_GCHEAP_MAX];
	size_t total = 0;

	if (!heap->unsettled)
		heap->misses = 0;
	heap->unsettled = false;
	for (size_t i = 0; i < heap->map_count; i++) {
		tables[i] = ct_map_read(heap, &heap->maps[i]);
		total += tables[i] ? heap->maps[i].head.arena_count : 0;
	}
	if (!heap->unsettled) { /* else the old arenas are better than none */
		ct_gcheap_forget(heap);
		heap->arenas = calloc(total + 1, sizeof(*heap->arenas));
		heap->starts = calloc(total + 1, sizeof(*heap->starts));
	}
	for (size_t i = 0; i < heap->map_count; i++) {
		size_t count = tables[i] ? heap->maps[i].head.arena_count : 0;

		if (heap->unsettled || !heap->arenas || !heap->starts)
			count = 0;
		for (size_t k = 0; k < count; k++) {
			if (ct_arena_check(&tables[i][k], (uint32_t)i, &heap->arenas[heap->count]))
				heap->count++;
		}
		free(tables[i]);
	}
	if (heap->unsettled)
		return;
	if (heap->arenas && heap->starts)
		ct_gcheap_settle(heap);
}
