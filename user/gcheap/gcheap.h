/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * gcheap.h - a small heap of reference-counted objects with a tracing mark, made like CPython's of
 * 2.7 to 3.7: its writes to a forked worker's memory are the ones that cowtrace is there to show.
 * One heap a process, for one thread at a time; a forked child goes on with its copy.
 *
 *   object:                           [refcount][type][payload ...]
 *   container:  [gc_next gc_prev gc_refs ....][refcount][type][payload ...]
 *
 * It publishes itself by heapmap.h and needs nothing but libc.
 */
#ifndef GCHEAP_H
#define GCHEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gcheap_type;

struct gcheap_object {
	int64_t refcount;
	const struct gcheap_type *type;
};

/** In front of every container. The long double makes it 16-aligned, 32 bytes with its padding. */
union gcheap_head {
	struct {
		union gcheap_head *gc_next, *gc_prev; /* all tracked containers, a ring */
		int64_t gc_refs; /* GCHEAP_REACHABLE, or a count during a collection */
	} gc;
	long double dummy;
};

enum {
	GCHEAP_UNTRACKED = -2,
	GCHEAP_REACHABLE = -3,
};

#define GCHEAP_CONTAINER 1u /* flag of a type: its objects have a gcheap_head (and a traverse) */

typedef void (*gcheap_visit)(struct gcheap_object *op, void *arg);

struct gcheap_type {
	const char *name;
	size_t basicsize; /* bytes of an object without items, its struct gcheap_object included */
	size_t itemsize;  /* bytes of each item behind it; 0: fixed size */
	uint64_t flags;
	/** Call @visit for each reference held; a NULL slot may be skipped. Containers only. */
	void (*traverse)(struct gcheap_object *op, gcheap_visit visit, void *arg);
	/** Drop the references and buffers held; the heap frees the object itself. May be NULL. */
	void (*dealloc)(struct gcheap_object *op);
};

/**
 * gcheap_new - an object of @type with @items items, refcount 1, payload zero; a container is
 * tracked from now on. NULL: out of memory.
 */
struct gcheap_object *gcheap_new(const struct gcheap_type *type, size_t items);
/** gcheap_free - what a decref to 0 does; not to be called directly. Never recurses. */
void gcheap_free(struct gcheap_object *op);

/** gcheap_incref, gcheap_decref - take or give back a reference; NULL is allowed. */
static inline void gcheap_incref(struct gcheap_object *op)
{
	if (op)
		op->refcount++;
}

static inline void gcheap_decref(struct gcheap_object *op)
{
	if (op && --op->refcount == 0)
		gcheap_free(op);
}

/** gcheap_head_of - the GC header of a container. */
static inline union gcheap_head *gcheap_head_of(struct gcheap_object *op)
{
	return (union gcheap_head *)(void *)op - 1;
}

/** gcheap_buffer_new - @bytes of zeroed memory that an object of type @owner will own. NULL: out of
 *  memory. Give it back with gcheap_buffer_free (NULL is allowed). */
void *gcheap_buffer_new(const struct gcheap_type *owner, size_t bytes);
void gcheap_buffer_free(void *buffer);

/**
 * gcheap_collect - the mark of a collection: gc_refs of every tracked container is set to its
 * refcount, reduced by the references from other containers, and put back to GCHEAP_REACHABLE.
 * Return: containers walked.
 */
size_t gcheap_collect(void);
/** gcheap_on_progress - call @fn after every 64 containers of a collection's first pass, for
 * pacing; it must not touch the heap. NULL: none. */
void gcheap_on_progress(void (*fn)(void *arg), void *arg);

struct gcheap_stats {
	size_t mapped_bytes; /* from the system: arenas, big objects, directories */
	size_t arenas, pools, big;
	size_t blocks;	   /* in use: objects and buffers */
	size_t containers; /* tracked */
	size_t roots;	   /* containers with references from outside, at the last mark */
};

void gcheap_get_stats(struct gcheap_stats *stats);
/** gcheap_set_limit - never have more than @bytes from the system; 0: no limit. */
void gcheap_set_limit(size_t bytes);

/* Built-in types. Constructors give a new reference or NULL; getters lend one; setters take the
 * reference given ("steal") even when they fail. Indexes are checked. */
extern const struct gcheap_type gcheap_int, gcheap_string, gcheap_tuple, gcheap_list, gcheap_dict;

struct gcheap_object *gcheap_int_new(int64_t value);
int64_t gcheap_int_value(const struct gcheap_object *op);
struct gcheap_object *gcheap_string_new(const char *text, size_t len);
const char *gcheap_string_text(const struct gcheap_object *op);
/** gcheap_len - items of a tuple or list, bytes of a string, keys of a dict; 0 for others. */
size_t gcheap_len(const struct gcheap_object *op);
struct gcheap_object *gcheap_tuple_new(size_t len);
struct gcheap_object *gcheap_list_new(void);
/** gcheap_get, gcheap_set - item @index of a tuple or list; NULL, false: no such item. */
struct gcheap_object *gcheap_get(const struct gcheap_object *op, size_t index);
bool gcheap_set(struct gcheap_object *op, size_t index, struct gcheap_object *item);
/** gcheap_append - at the end of a list. False: out of memory. */
bool gcheap_append(struct gcheap_object *list, struct gcheap_object *item);
struct gcheap_object *gcheap_dict_new(void);
/** gcheap_dict_set - takes both references; keys are equal if they are the same object, equal ints
 * or equal strings. False: out of memory. */
bool gcheap_dict_set(struct gcheap_object *dict, struct gcheap_object *key,
		     struct gcheap_object *value);
struct gcheap_object *gcheap_dict_get(const struct gcheap_object *dict,
				      const struct gcheap_object *key);

#endif /* GCHEAP_H */
