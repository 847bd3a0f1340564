/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * gcheap.c - the reader of published heap maps (gcheap/heapmap.h): an address made cell, object,
 * type.
 *
 *   address -> arena (binary search) -> its directory's copy -> pool -> block -> cell
 *
 * Cached are the table of arenas, until the map's generation moves, and the directories, each read
 * when it is first asked for since the last renew. So the answer needs no read of the heap, but in
 * a pool of mixed types that of one type word, and none at all if the record brought it along.
 *
 * A place's object is the start of its block, the GC header included; its size is the block's. For
 * a count or header apart from the object, offset is that in the array's element.
 *
 * Nothing of the target is believed: counts are cut to limits, offsets compared with the sizes they
 * must stay in, and a directory is only looked at through ct_pool_at.
 */
#include <stdlib.h>
#include <string.h>

#include "heap/gcheap_table.h"

#define CT_SIDE_POOLS_MAX 1024u /* of an arena, looked through for an address apart */
#define CT_TYPE_NAME_MAX  64u
#define CT_POOL_NAMED	  0x80000000u /* in our copy's flags: type is an id by now */

static void *ct_gcheap_attach(const struct ct_heap_source *source, const char **why)
{
	ct_raddr_t found[CT_GCHEAP_MAX];
	struct ct_gcheap *heap;

	if (!source->memory || !source->maps) {
		*why = "its memory can't be read";
		return NULL;
	}
	heap = calloc(1, sizeof(*heap));
	if (!heap) {
		*why = "out of memory";
		return NULL;
	}
	heap->memory = source->memory;
	heap->types = source->types;
	heap->epoch = 1;
	*why = "no heap map";
	for (size_t i = 0, count = ct_gcheap_find(source, found); i < count; i++) {
		struct ct_heap_map *map = &heap->maps[heap->map_count];

		map->address = found[i];
		if (!ct_gcheap_read(heap, found[i], &map->head, sizeof(map->head)))
			continue;
		if (!ct_head_is_sound(&map->head)) {
			*why = "a heap map that this version can't read";
			continue;
		}
		memcpy(map->name, map->head.name, sizeof(map->head.name));
		heap->map_count++;
	}
	if (!heap->map_count) {
		free(heap);
		return NULL;
	}
	ct_gcheap_refresh(heap);
	return heap;
}

static void ct_gcheap_renew(void *handle, const struct ct_heap_source *source)
{
	struct ct_gcheap *heap = handle;

	heap->memory = source->memory;
	heap->types = source->types;
	if (!heap->memory)
		return; /* what is cached is the last that can be known */
	heap->epoch++;
	if (heap->unsettled || !ct_gcheap_is_current(heap))
		ct_gcheap_refresh(heap);
}

static void ct_gcheap_close(void *handle)
{
	struct ct_gcheap *heap = handle;

	if (!heap)
		return;
	ct_gcheap_forget(heap);
	free(heap);
}

/** A name that could be a type's: UTF-8 or ASCII text without control characters. */
static bool ct_is_type_name(const char *name)
{
	for (const char *c = name; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return false;
	}
	return *name;
}

/** The id of the type at @type in the target; 0 if it can't be read or has no decent name. */
static uint32_t ct_type_read(struct ct_gcheap *heap, const struct ct_heap_map *map, ct_raddr_t type)
{
	char name[CT_TYPE_NAME_MAX + 1] = { 0 };
	ct_raddr_t text = type + map->head.type_name_offset;
	size_t limit = CT_TYPE_NAME_MAX;
	uint64_t pointer;

	if (map->head.type_name_bytes) {
		if (limit > map->head.type_name_bytes)
			limit = map->head.type_name_bytes;
	} else {
		if (!ct_gcheap_read(heap, text, &pointer, sizeof(pointer)))
			return 0;
		text = pointer;
	}
	if (!heap->memory || ct_remote__read(heap->memory, text, name, limit) <= 0)
		return 0;
	return ct_is_type_name(name) ? ct_names__id(heap->types, map->name, name) : 0;
}

static uint32_t ct_type_id(struct ct_gcheap *heap, uint32_t map, ct_raddr_t type)
{
	struct ct_type_slot *slot;

	if (!type)
		return 0;
	slot = &heap->type_cache[((type * 0x9e3779b97f4a7c15ull) >> 32) & (CT_TYPE_CACHE - 1)];
	if (slot->address != type || slot->epoch != heap->epoch || slot->map != map) {
		slot->id = ct_type_read(heap, &heap->maps[map], type);
		slot->address = type;
		slot->epoch = heap->epoch;
		slot->map = map;
	}
	return slot->id;
}

/** The type word at @address: from the record if it has it, else from the target. */
static ct_raddr_t ct_type_word(struct ct_gcheap *heap, ct_raddr_t address,
			       const struct ct_bytes *before)
{
	ct_raddr_t word = 0;
	const uint8_t *page;

	if (before && before->len >= sizeof(word) && address >= before->address &&
	    address - before->address <= before->len - sizeof(word)) {
		memcpy(&word, before->data + (address - before->address), sizeof(word));
		return word;
	}
	if (!heap->memory)
		return 0;
	if ((address & ~CT_PAGE_MASK) > CT_PAGE_SIZE - sizeof(word))
		return ct_gcheap_read(heap, address, &word, sizeof(word)) ? word : 0;
	page = ct_remote__page(heap->memory, address);
	if (page)
		memcpy(&word, page + (address & ~CT_PAGE_MASK), sizeof(word));
	return word;
}

static struct ct_arena *ct_arena_find(const struct ct_gcheap *heap, ct_raddr_t address)
{
	const ct_raddr_t *base = heap->starts;
	size_t n = heap->count;

	if (!n || address < base[0])
		return NULL;
	while (n > 1) { /* base[0] <= address always; compiles to conditional moves */
		size_t half = n / 2;

		base = base[half] <= address ? base + half : base;
		n -= half;
	}
	return address < heap->arenas[base - heap->starts].end ? &heap->arenas[base - heap->starts]
							       : NULL;
}

static struct heapmap_pool *ct_pool_of(const struct ct_arena *arena, uint64_t index)
{
	return (struct heapmap_pool *)(void *)(arena->entries + index * arena->entry_bytes);
}

/** Entry @index of the arena's directory as of this epoch, or NULL when it can't be read. */
static struct heapmap_pool *ct_pool_at(struct ct_gcheap *heap, struct ct_arena *arena,
				       uint64_t index)
{
	size_t bytes = (size_t)arena->pool_count * arena->entry_bytes;

	if (arena->epoch != heap->epoch) {
		arena->epoch = heap->epoch;
		arena->readable = arena->entries &&
				  ct_gcheap_read(heap, arena->directory, arena->entries, bytes);
		for (size_t i = 0; i < arena->pool_count && arena->readable; i++)
			ct_pool_of(arena, i)->flags &= ~CT_POOL_NAMED;
	}
	return arena->readable ? ct_pool_of(arena, index) : NULL;
}

/** The cell of a live object's block at @offset, the object's own part beginning at @head_bytes. */
static enum ct_cell ct_cell_at(const struct heapmap_descriptor *map, uint64_t offset,
			       uint64_t head_bytes, bool apart)
{
	if (offset < head_bytes)
		return CT_CELL_GC_HEADER;
	offset -= head_bytes;
	if (offset - map->refcount_offset < map->refcount_bytes)
		return apart ? CT_CELL_PAYLOAD : CT_CELL_REFCOUNT; /* apart: says where it is */
	if (offset - map->type_offset < map->type_bytes)
		return CT_CELL_TYPE;
	return CT_CELL_PAYLOAD;
}

/** Fill @place with the block that holds @offset behind the pool's header. Return: is it live? */
static bool ct_block_find(const struct ct_arena *arena, const struct heapmap_pool *pool,
			  uint64_t offset, ct_raddr_t address, struct ct_place *place)
{
	uint64_t room = arena->pool_bytes - arena->pool_header_bytes, size = pool->block_bytes;
	uint64_t index, in_block;

	if (size == 0) {
		place->cell = CT_CELL_FREE;
		return false;
	}
	/* the narrow division is twice as fast */
	index = (offset | size) >> 32 ? offset / size : (uint32_t)offset / (uint32_t)size;
	if (size > room || index * size > room - size)
		return false; /* left over behind the last block: allocator */
	in_block = offset - index * size;
	place->object = address - in_block;
	place->offset = in_block < UINT32_MAX ? (uint32_t)in_block : UINT32_MAX;
	place->size = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
	place->cell = CT_CELL_FREE;
	if (index >= pool->carved)
		return false;
	if (index >= (arena->entry_bytes - sizeof(*pool)) * 8) {
		place->cell = CT_CELL_UNKNOWN; /* more blocks than the map has bits for */
		return false;
	}
	return pool->live[index / 64] >> index % 64 & 1;
}

/** The bytes of a pool's GC headers that its blocks begin with. */
static uint64_t ct_head_bytes(const struct heapmap_descriptor *map, const struct heapmap_pool *pool)
{
	return (pool->flags & (HEAPMAP_GC | HEAPMAP_APART)) == HEAPMAP_GC ? map->gc_header_bytes
									  : 0;
}

/** Fill in the type of a live block. */
static void ct_block_type(struct ct_gcheap *heap, const struct ct_arena *arena,
			  struct heapmap_pool *pool, const struct ct_bytes *before,
			  struct ct_place *place)
{
	const struct heapmap_descriptor *map = &heap->maps[arena->map].head;
	uint64_t type_at = ct_head_bytes(map, pool) + map->type_offset;

	if (!(pool->flags & CT_POOL_NAMED)) {
		pool->type =
			pool->flags & HEAPMAP_MIXED ? 0 : ct_type_id(heap, arena->map, pool->type);
		pool->flags |= CT_POOL_NAMED;
	}
	place->type = (uint32_t)pool->type;
	if (pool->flags & HEAPMAP_RAW || !(pool->flags & HEAPMAP_MIXED) || !map->type_bytes ||
	    type_at + map->type_bytes > place->size)
		return;
	place->type =
		ct_type_id(heap, arena->map, ct_type_word(heap, place->object + type_at, before));
}

/** Fill in cell and type of a live block. */
static void ct_block_cell(struct ct_gcheap *heap, const struct ct_arena *arena,
			  struct heapmap_pool *pool, const struct ct_bytes *before,
			  struct ct_place *place)
{
	const struct heapmap_descriptor *map = &heap->maps[arena->map].head;

	ct_block_type(heap, arena, pool, before, place);
	place->cell = pool->flags & HEAPMAP_RAW
			      ? CT_CELL_BUFFER
			      : ct_cell_at(map, place->offset, ct_head_bytes(map, pool),
					   pool->flags & HEAPMAP_APART);
}

/**
 * Is @address in the array of counts or of GC headers (@cell) apart from the blocks of a pool? Fill
 * in @place with the object that the element belongs to.
 */
static bool ct_side_find(struct ct_gcheap *heap, const struct ct_arena *arena, uint64_t pool_index,
			 enum ct_cell cell, ct_raddr_t address, const struct ct_bytes *before,
			 struct ct_place *place)
{
	const struct heapmap_descriptor *map = &heap->maps[arena->map].head;
	struct heapmap_pool *pool = ct_pool_of(arena, pool_index);
	uint64_t room = arena->pool_bytes - arena->pool_header_bytes, size = pool->block_bytes;
	uint64_t first = arena->start + arena->header_bytes + pool_index * arena->pool_bytes +
			 arena->pool_header_bytes;
	ct_raddr_t array = cell == CT_CELL_REFCOUNT ? pool->counts : pool->heads;
	uint32_t bytes = cell == CT_CELL_REFCOUNT ? map->apart_count_bytes : map->apart_head_bytes;
	uint64_t index;

	if (!array || !bytes || address < array || !size || size > room)
		return false;
	index = (address - array) / bytes;
	if (index >= room / size)
		return false;
	if (ct_block_find(arena, pool, index * size, first + index * size, place)) {
		ct_block_type(heap, arena, pool, before, place);
		place->cell = cell;
	}
	place->offset = (uint32_t)((address - array) % bytes);
	return true;
}

/** An address in none of the arena's pools, or before a big block: in one of their side arrays? */
static void ct_side_locate(struct ct_gcheap *heap, struct ct_arena *arena, ct_raddr_t address,
			   const struct ct_bytes *before, struct ct_place *place)
{
	for (uint32_t i = 0; i < arena->pool_count && i < CT_SIDE_POOLS_MAX; i++) {
		const struct heapmap_pool *pool = ct_pool_at(heap, arena, i);

		if (!pool)
			return;
		if (pool->flags & HEAPMAP_APART &&
		    (ct_side_find(heap, arena, i, CT_CELL_REFCOUNT, address, before, place) ||
		     ct_side_find(heap, arena, i, CT_CELL_GC_HEADER, address, before, place)))
			return;
	}
}

/** True the 1st, 2nd, 4th, 8th ... time. */
static bool ct_is_rare(uint64_t times)
{
	return (times & (times - 1)) == 0;
}

static bool ct_gcheap_locate(void *handle, ct_raddr_t address, const struct ct_bytes *before,
			     struct ct_place *place)
{
	struct ct_gcheap *heap = handle;
	struct ct_arena *arena = ct_arena_find(heap, address);
	struct heapmap_pool *pool;
	uint64_t offset, index;

	if (!arena && heap->unsettled && heap->memory && ct_is_rare(++heap->misses)) {
		ct_gcheap_refresh(heap);
		arena = ct_arena_find(heap, address);
	}
	if (!arena)
		return false;
	*place = (struct ct_place){ .cell = CT_CELL_ALLOCATOR };
	offset = address - arena->start;
	if (arena->pool_count == 0)
		return true;
	offset -= arena->header_bytes; /* an address before it: a very big index */
	index = offset >> arena->pool_shift;
	offset -= index << arena->pool_shift;
	if (index >= arena->pool_count || offset < arena->pool_header_bytes ||
	    offset >= arena->pool_bytes) {
		ct_side_locate(heap, arena, address, before, place);
		return true;
	}
	pool = ct_pool_at(heap, arena, index);
	if (!pool)
		return false;
	if (ct_block_find(arena, pool, offset - arena->pool_header_bytes, address, place))
		ct_block_cell(heap, arena, pool, before, place);
	return true;
}

const struct ct_reader ct_reader_gcheap = {
	.name = "gcheap",
	.attach = ct_gcheap_attach,
	.locate = ct_gcheap_locate,
	.renew = ct_gcheap_renew,
	.close = ct_gcheap_close,
};
