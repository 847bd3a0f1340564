/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* internal.h - what the files of gcheap share: the one heap of the process and its blocks. */
#ifndef GCHEAP_INTERNAL_H
#define GCHEAP_INTERNAL_H

#include "gcheap.h"
#include "heapmap.h"

#define GCHEAP_ARENA_BYTES     (1ul << 20)
#define GCHEAP_POOL_BYTES      (16ul << 10)
#define GCHEAP_POOL_COUNT      (GCHEAP_ARENA_BYTES / GCHEAP_POOL_BYTES)
#define GCHEAP_LIVE_WORDS      16 /* 1024 blocks: a pool holds at most 1021 */
#define GCHEAP_ENTRY_BYTES     (sizeof(struct heapmap_pool) + GCHEAP_LIVE_WORDS * sizeof(uint64_t))
#define GCHEAP_BIG_ENTRY_BYTES (sizeof(struct heapmap_pool) + sizeof(uint64_t))
#define GCHEAP_CLASS_COUNT     42
#define GCHEAP_BIG	       0xff /* size class of a block with an arena of its own */

/** What a block is; pools hold blocks of one kind. */
enum gcheap_kind {
	GCHEAP_KIND_OBJECT,
	GCHEAP_KIND_CONTAINER,
	GCHEAP_KIND_BUFFER,
	GCHEAP_KIND_COUNT
};

/** Head of a pool, at its start (a multiple of GCHEAP_POOL_BYTES), and of a big block's arena. */
struct gcheap_pool {
	void *free;			 /* list of freed blocks, linked by their first word */
	struct gcheap_pool *next, *prev; /* pools with room of one kind and class; or free pools */
	struct heapmap_pool *entry;	 /* in the directory */
	size_t arena;			 /* big: index in the heap map */
	uint16_t used, capacity;	 /* blocks */
	uint8_t kind, size_class;
};

_Static_assert(sizeof(struct gcheap_pool) == 48, "blocks must be 16-aligned");
_Static_assert(sizeof(union gcheap_head) == 32, "see heapmap_descriptor");

struct gcheap_heap {
	struct gcheap_pool *partial[GCHEAP_KIND_COUNT][GCHEAP_CLASS_COUNT];
	struct gcheap_pool *free_pools;
	union gcheap_head containers; /* head of the ring; gc_next NULL: not yet made */
	struct gcheap_object *dying;  /* refcount 0, not yet freed; linked by the refcount word */
	bool freeing;
	void (*progress)(void *arg);
	void *progress_arg;
	size_t limit_bytes;
	struct gcheap_stats stats;
	/* the heap map's own memory (publish.c) */
	char *meta, *meta_end;
	struct heapmap_pool *meta_free; /* entries of big blocks to use again, linked by type */
	size_t table_capacity;		/* of heapmap_here.arenas */
	size_t table_arena;		/* index of the table in itself */
};

extern struct gcheap_heap gcheap_heap __attribute__((visibility("hidden")));

/* alloc.c */

/** gcheap_block_new - a zeroed block of @bytes, 16-aligned, noted in the heap map. NULL: no memory.
 */
void *gcheap_block_new(enum gcheap_kind kind, size_t bytes, const struct gcheap_type *type);
void gcheap_block_free(void *block);
/** gcheap_map, gcheap_unmap - zeroed memory from the system, within the limit. */
void *gcheap_map(size_t bytes, size_t align);
void gcheap_unmap(void *start, size_t bytes);

/* publish.c */

/** gcheap_publish_pools - make a directory for an arena of pools and publish both. */
struct heapmap_pool *gcheap_publish_pools(void *arena);
/** gcheap_publish_big - the same for a big block's arena; sets pool->arena and pool->entry. */
bool gcheap_publish_big(struct gcheap_pool *pool, size_t bytes);
/** gcheap_unpublish_big - take it off the map. Return: its size in bytes. */
size_t gcheap_unpublish_big(struct gcheap_pool *pool);
/** gcheap_note_type - an object of @type is made in the pool of @entry. */
void gcheap_note_type(struct heapmap_pool *entry, const struct gcheap_type *type);

#endif /* GCHEAP_INTERNAL_H */
