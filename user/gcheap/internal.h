/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* internal.h - what the files of gcheap share: the one heap of the process and its blocks. */
#ifndef GCHEAP_INTERNAL_H
#define GCHEAP_INTERNAL_H

#include "gcheap.h"
#include "heapmap.h"

#define GCHEAP_PAGE_BYTES      4096ul
#define GCHEAP_ARENA_BYTES     (1ul << 20)
#define GCHEAP_POOL_BYTES      (16ul << 10)
#define GCHEAP_POOL_COUNT      (GCHEAP_ARENA_BYTES / GCHEAP_POOL_BYTES)
#define GCHEAP_LIVE_WORDS      16 /* 1024 blocks: a pool holds at most 1020 */
#define GCHEAP_ENTRY_BYTES     (sizeof(struct heapmap_pool) + GCHEAP_LIVE_WORDS * sizeof(uint64_t))
#define GCHEAP_BIG_ENTRY_BYTES (sizeof(struct heapmap_pool) + sizeof(uint64_t))
#define GCHEAP_CLASS_COUNT     74
#define GCHEAP_BIG	       0xff /* size class of a block with an arena of its own */

/* Under ASan freed blocks can't be touched. (The checked build looks at them to name them.) */
#if defined(__SANITIZE_ADDRESS__) && !defined(GCHEAP_CHECKED)
#include <sanitizer/asan_interface.h>
#define GCHEAP_POISON(start, bytes)   ASAN_POISON_MEMORY_REGION(start, bytes)
#define GCHEAP_UNPOISON(start, bytes) ASAN_UNPOISON_MEMORY_REGION(start, bytes)
#else
#define GCHEAP_POISON(start, bytes)   ((void)(start), (void)(bytes))
#define GCHEAP_UNPOISON(start, bytes) ((void)(start), (void)(bytes))
#endif

/** What a block is; pools hold blocks of one kind. */
enum gcheap_kind {
	GCHEAP_KIND_OBJECT,
	GCHEAP_KIND_CONTAINER,
	GCHEAP_KIND_BUFFER,
	GCHEAP_KIND_COUNT
};

/** Head of a pool, at its start (a multiple of GCHEAP_POOL_BYTES), and of a big block's arena. */
struct gcheap_pool {
	void *free; /* list of freed blocks, linked by their first word */
	union {
		struct gcheap_pool *next; /* pools with room of one kind and class; or free pools */
		size_t arena;		  /* big: index in the heap map */
	};
	struct gcheap_pool *prev;
	struct heapmap_pool *entry; /* in the directory */
	uint32_t *counts;	    /* split: one a block (not of buffers) */
	union gcheap_head *heads;   /* split: one a block of containers */
	uint32_t inverse;	    /* 2^32 / bytes of a block, rounded up; big: 0 */
	uint16_t used, capacity;    /* blocks */
	uint8_t kind, size_class;
	uint16_t first; /* offset of the first block */
};

_Static_assert(sizeof(struct gcheap_pool) == 64, "blocks must be 16-aligned");
_Static_assert(sizeof(union gcheap_head) == 32, "see heapmap_descriptor");

/* What gc_flags holds beside, in the split layout, the object's address. */
#define GCHEAP_FINALISED  1ul /* its finaliser was called */
#define GCHEAP_FLAGS_MASK 15ul

struct gcheap_generation {
	union gcheap_head ring; /* its head */
	size_t count, threshold;
	struct gcheap_generation_stats stats;
};

struct gcheap_heap {
	struct gcheap_pool *partial[GCHEAP_KIND_COUNT][GCHEAP_CLASS_COUNT];
	struct gcheap_pool *free_pools;
	bool apart; /* the split layout */
	bool ready; /* rings and thresholds are made */
	bool enabled, collecting, save_all, freeing;
	struct gcheap_generation generations[GCHEAP_GENERATIONS];
	union gcheap_head frozen;
	size_t long_lived_total, long_lived_pending;
	union gcheap_head *dying; /* containers of refcount 0, not yet freed; linked by gc_next */
	struct gcheap_object *garbage;
	struct {
		gcheap_callback fn;
		void *arg;
	} callbacks[GCHEAP_CALLBACKS_MAX];
	size_t callback_count;
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

/** gcheap_block_new - a zeroed block of @bytes, 16-aligned (of an object that is no container: 8),
 *  noted in the heap map. NULL: no memory. */
void *gcheap_block_new(enum gcheap_kind kind, size_t bytes, const struct gcheap_type *type);
void gcheap_block_free(void *block);

static inline struct gcheap_pool *gcheap_pool_of(const void *block)
{
	return (struct gcheap_pool *)((uintptr_t)block & ~(GCHEAP_POOL_BYTES - 1));
}

/** gcheap_index_of - number of the block at or around @block in its pool. */
static inline uint32_t gcheap_index_of(const struct gcheap_pool *pool, const void *block)
{
	return (uint32_t)((uint64_t)((const char *)block - (const char *)pool - pool->first) *
				  pool->inverse >>
			  32);
}

/* system.c */

/** gcheap_map, gcheap_unmap - zeroed memory from the system, within the limit. */
void *gcheap_map(size_t bytes, size_t align);
void gcheap_unmap(void *start, size_t bytes);
/** gcheap_make_ready - what the heap needs before its first use; once. */
void gcheap_make_ready(void);

/* publish.c */

/** gcheap_publish_pools - make a directory for an arena of pools and publish both. @bytes: of the
 *  arena, its side tables included. */
struct heapmap_pool *gcheap_publish_pools(void *arena, size_t bytes);
/** gcheap_publish_big - the same for a big block's arena; sets pool->arena and pool->entry. */
bool gcheap_publish_big(struct gcheap_pool *pool, size_t bytes);
/** gcheap_unpublish_big - take it off the map. Return: its size in bytes. */
size_t gcheap_unpublish_big(struct gcheap_pool *pool);
/** gcheap_unpublish_all - unmap every arena, directory and table. */
void gcheap_unpublish_all(void);
/** gcheap_note_other_type - an object of a type not seen there is made in the pool of @entry. */
void gcheap_note_other_type(struct heapmap_pool *entry, const struct gcheap_type *type);

static inline void gcheap_note_type(struct heapmap_pool *entry, const struct gcheap_type *type)
{
	if (entry->type != (uintptr_t)type)
		gcheap_note_other_type(entry, type);
}

/* split.c */

/** gcheap_arena_bytes, gcheap_arena_align - of an arena of pools, side tables included. */
size_t gcheap_arena_bytes(void);
size_t gcheap_arena_align(void);
/** gcheap_side_take - counts and heads for a pool that is to have pool->capacity blocks. False: its
 *  arena has no room for so many. gcheap_side_give - back. Both do nothing for the inline layout.*/
bool gcheap_side_take(struct gcheap_pool *pool);
void gcheap_side_give(struct gcheap_pool *pool);
/** gcheap_side_big - the same in the page before a big block. */
void gcheap_side_big(struct gcheap_pool *pool);
/** gcheap_side_attach - connect an object just made with its count and head. */
void gcheap_side_attach(struct gcheap_object *op, bool container);

/** gcheap_head_in - the header of a container in the layout given (a constant, where speed is). */
static inline union gcheap_head *gcheap_head_in(struct gcheap_object *op, bool apart)
{
	const struct gcheap_pool *pool;

	if (!apart)
		return (union gcheap_head *)(void *)op - 1;
	pool = gcheap_pool_of(op);
	return &pool->heads[gcheap_index_of(pool, op)];
}

static inline struct gcheap_object *gcheap_object_in(union gcheap_head *head, bool apart)
{
	if (!apart)
		return (struct gcheap_object *)(void *)(head + 1);
	return (struct gcheap_object *)(uintptr_t)(head->gc.gc_flags & ~GCHEAP_FLAGS_MASK);
}

static inline union gcheap_head *gcheap_head(struct gcheap_object *op)
{
	return gcheap_head_in(op, gcheap_heap.apart);
}

static inline struct gcheap_object *gcheap_object_of(union gcheap_head *head)
{
	return gcheap_object_in(head, gcheap_heap.apart);
}

static inline bool gcheap_is_container(const struct gcheap_object *op)
{
	return op->type->flags & GCHEAP_CONTAINER;
}

/** gcheap_may_be_tracked - could @op, perhaps later, be part of a cycle? (In CPython a tuple that
 * is untracked never will be; here it can still be changed.) */
static inline bool gcheap_may_be_tracked(const struct gcheap_object *op)
{
	return op && gcheap_is_container(op);
}

/* rings */

static inline void gcheap_ring_init(union gcheap_head *ring)
{
	ring->gc.gc_next = ring->gc.gc_prev = ring;
}

static inline bool gcheap_ring_is_empty(const union gcheap_head *ring)
{
	return ring->gc.gc_next == ring;
}

/** At the end, as CPython does: its former end is written too. */
static inline void gcheap_ring_add(union gcheap_head *ring, union gcheap_head *head)
{
	head->gc.gc_next = ring;
	head->gc.gc_prev = ring->gc.gc_prev;
	ring->gc.gc_prev->gc.gc_next = head;
	ring->gc.gc_prev = head;
}

static inline void gcheap_ring_remove(union gcheap_head *head)
{
	head->gc.gc_prev->gc.gc_next = head->gc.gc_next;
	head->gc.gc_next->gc.gc_prev = head->gc.gc_prev;
}

/** All of @from to the end of @to. */
static inline void gcheap_ring_splice(union gcheap_head *to, union gcheap_head *from)
{
	if (gcheap_ring_is_empty(from))
		return;
	to->gc.gc_prev->gc.gc_next = from->gc.gc_next;
	from->gc.gc_next->gc.gc_prev = to->gc.gc_prev;
	to->gc.gc_prev = from->gc.gc_prev;
	to->gc.gc_prev->gc.gc_next = to;
	gcheap_ring_init(from);
}

size_t gcheap_ring_len(const union gcheap_head *ring);

/* generations.c */

/** gcheap_collect_due - the automatic collection. */
void gcheap_collect_due(void);

/** gcheap_count_new - called before a container is made. */
static inline void gcheap_count_new(void)
{
	struct gcheap_generation *gen = &gcheap_heap.generations[0];

	if (__builtin_expect(++gen->count > gen->threshold, 0) && gen->threshold)
		gcheap_collect_due();
}

/* collect.c */

/** gcheap_deduce_unreachable - move what nothing outside @young refers to into @unreachable; @young
 *  is left reachable. Sets stats.walked and stats.roots. */
void gcheap_deduce_unreachable(union gcheap_head *young, union gcheap_head *unreachable);
/** gcheap_is_closed - does nothing outside of @ring refer to it? Leaves gc_refs as counts. */
bool gcheap_is_closed(union gcheap_head *ring);

/* finalise.c */

/** gcheap_finalise_all - weak references' callbacks, then finalisers of @unreachable, of which
 *  there are *@count. Return: was anything called? */
bool gcheap_finalise_all(union gcheap_head *unreachable, size_t *count);
/** gcheap_clear_all - free what can be; the rest goes to @old. Return: what is uncollectable. */
size_t gcheap_clear_all(union gcheap_head *unreachable, union gcheap_head *old);
/** gcheap_finalise_dying - call the finaliser of a container of refcount 0, once. Return: true if
 *  it is resurrected. */
bool gcheap_finalise_dying(struct gcheap_object *op);

/* weakref.c */

/** gcheap_weak_forget - @op dies: its weak references are cleared, then called back. */
void gcheap_weak_forget(struct gcheap_object *op);
/** gcheap_weak_detach - clear them; those to be called back (not if unreachable themselves) are
 *  put on the list *@calls, a reference held; gcheap_weak_call empties it. */
void gcheap_weak_detach(struct gcheap_object *op, struct gcheap_object **calls);
void gcheap_weak_call(struct gcheap_object *calls);

/* checked.c */

#ifdef GCHEAP_CHECKED
/** gcheap_is_type - is @op a live object of @type? Misuse if not. */
bool gcheap_is_type(const struct gcheap_object *op, const struct gcheap_type *type,
		    const char *call);
/** gcheap_may_allocate - false: this allocation is to fail. */
bool gcheap_may_allocate(void);
/** gcheap_retire - keep a freed block from being used again for a while. Return: another one, to
 *  be given back now, or NULL. */
void *gcheap_retire(void *block);
void gcheap_forget_retired(void);
#else
static inline bool gcheap_is_type(const struct gcheap_object *op, const struct gcheap_type *type,
				  const char *call)
{
	(void)call;
	return op->type == type;
}
static inline bool gcheap_may_allocate(void)
{
	return true;
}
static inline void *gcheap_retire(void *block)
{
	return block;
}
static inline void gcheap_forget_retired(void)
{
}
#endif

#endif /* GCHEAP_INTERNAL_H */
