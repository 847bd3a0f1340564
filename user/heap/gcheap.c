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
 * A place's object is the start of its block, the GC header included; its size is the block's.
 *
 * Nothing of the target is believed: counts are cut to limits, offsets compared with the sizes they
 * must stay in, and a directory is only looked at through ct_pool_at.
 */
#include <stdlib.h>
#include <string.h>

#include "heap/gcheap_find.h"

#define CT_ARENAS_MAX	   (1u << 18)
#define CT_POOLS_MAX	   (1u << 16) /* of an arena */
#define CT_ENTRY_MAX	   4096u      /* bytes: 32,512 blocks a pool */
#define CT_DIRECTORIES_MAX (256ull << 20)
#define CT_GEOMETRY_MAX	   4096u /* bytes of GC header, offset in an object or type */
#define CT_TYPE_CACHE	   1024u /* a power of two */
#define CT_TYPE_NAME_MAX   64u
#define CT_TRIES	   4

#define CT_POOL_NAMED 0x80000000u /* in our copy's flags: type is an id by now */

struct ct_heap_map {
	ct_raddr_t address;
	struct heapmap_descriptor head; /* of the last good reading */
	char name[sizeof(((struct heapmap_descriptor *)0)->name) + 1];
	bool known; /* the arenas are as head says */
};

struct ct_arena {
	ct_raddr_t start, end;
	ct_raddr_t directory;
	uint64_t pool_bytes;
	uint32_t pool_count, header_bytes, pool_header_bytes, entry_bytes;
	uint32_t map;	    /* index of its heap map */
	uint8_t pool_shift; /* 63 with one pool */
	uint64_t epoch;	    /* its directory was asked for then... */
	bool readable;	    /* ...and was there */
	uint8_t *entries;   /* NULL: more than we keep */
};

struct ct_type_slot {
	ct_raddr_t address;
	uint64_t epoch;
	uint32_t map, id;
};

struct ct_gcheap {
	struct ct_remote *memory;
	struct ct_names *types;
	uint64_t epoch; /* from 1; each renew counts */
	struct ct_heap_map maps[CT_GCHEAP_MAX];
	size_t map_count;
	bool unsettled;	 /* a map was changing all the while we read... */
	uint64_t misses; /* ...and so many addresses were asked for in vain since */
	size_t count;
	ct_raddr_t *starts; /* of arenas, sorted: what the search touches */
	struct ct_arena *arenas;
	uint8_t *entries; /* memory of all directories' copies */
	struct ct_type_slot type_cache[CT_TYPE_CACHE];
};

static bool ct_gcheap_read(struct ct_gcheap *heap, ct_raddr_t address, void *buf, size_t len)
{
	return heap->memory && ct_remote__read(heap->memory, address, buf, len) == (ssize_t)len;
}

static bool ct_head_is_sound(const struct heapmap_descriptor *head)
{
	return head->version == HEAPMAP_VERSION && head->size >= sizeof(*head) &&
	       head->arena_count <= CT_ARENAS_MAX && head->gc_header_bytes <= CT_GEOMETRY_MAX &&
	       head->refcount_offset <= CT_GEOMETRY_MAX && head->refcount_bytes <= 16 &&
	       head->type_offset <= CT_GEOMETRY_MAX &&
	       (head->type_bytes == 0 || head->type_bytes == 8) &&
	       head->type_name_offset <= CT_GEOMETRY_MAX;
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

static void ct_gcheap_forget(struct ct_gcheap *heap)
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

/** Whether all maps stand where they stood when the table was read. */
static bool ct_gcheap_is_current(struct ct_gcheap *heap)
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

/** Read all tables anew. What can't be read now is gone; what was changing is marked unsettled. */
static void ct_gcheap_refresh(struct ct_gcheap *heap)
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
			       uint64_t head_bytes)
{
	if (offset < head_bytes)
		return CT_CELL_GC_HEADER;
	offset -= head_bytes;
	if (offset - map->refcount_offset < map->refcount_bytes)
		return CT_CELL_REFCOUNT;
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

/** Fill in cell and type of a live block. */
static void ct_block_cell(struct ct_gcheap *heap, const struct ct_arena *arena,
			  struct heapmap_pool *pool, const struct ct_bytes *before,
			  struct ct_place *place)
{
	const struct heapmap_descriptor *map = &heap->maps[arena->map].head;
	uint64_t head_bytes, type_at;

	if (!(pool->flags & CT_POOL_NAMED)) {
		pool->type =
			pool->flags & HEAPMAP_MIXED ? 0 : ct_type_id(heap, arena->map, pool->type);
		pool->flags |= CT_POOL_NAMED;
	}
	place->type = (uint32_t)pool->type;
	if (pool->flags & HEAPMAP_RAW) {
		place->cell = CT_CELL_BUFFER;
		return;
	}
	head_bytes = pool->flags & HEAPMAP_GC ? map->gc_header_bytes : 0;
	place->cell = ct_cell_at(map, place->offset, head_bytes);
	type_at = head_bytes + map->type_offset;
	if (!(pool->flags & HEAPMAP_MIXED) || !map->type_bytes ||
	    type_at + map->type_bytes > place->size)
		return;
	place->type =
		ct_type_id(heap, arena->map, ct_type_word(heap, place->object + type_at, before));
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
	if (arena->pool_count == 0 || offset < arena->header_bytes)
		return true;
	offset -= arena->header_bytes;
	index = offset >> arena->pool_shift;
	if (index >= arena->pool_count)
		return true;
	offset -= index << arena->pool_shift;
	if (offset < arena->pool_header_bytes || offset >= arena->pool_bytes)
		return true;
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
