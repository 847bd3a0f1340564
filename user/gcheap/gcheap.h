/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * gcheap.h - a small heap of reference-counted objects with a cyclic garbage collector, made like
 * CPython's of 2.7 to 3.7: its writes to a forked worker's memory are the ones that cowtrace is
 * there to show, and its other layout and its immortal objects are the cures.
 * One heap a process, for one thread at a time; a forked child goes on with its copy.
 *
 *   inline  object:                           [refcount][type][payload ...]
 *           container:  [gc_next gc_prev gc_refs ....][refcount][type][payload ...]
 *   split   both:                             [-> count][type][payload ...]
 *           and, in pages of their own, an array of counts and one of GC headers a pool
 *
 * It publishes itself by heapmap.h and needs nothing but libc. Nothing here is fatal: out of memory
 * is NULL or false. With GCHEAP_CHECKED defined (for the library and what uses it: link
 * libgcheap-checked.a) misuse is caught and named; without, that costs nothing.
 */
#ifndef GCHEAP_H
#define GCHEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gcheap_type;

/** @refcount >= 0: a plain count. Else the sign bit and the address of the count apart, or the sign
 *  bit alone: immortal. Read it by gcheap_refcount. */
struct gcheap_object {
	int64_t refcount;
	const struct gcheap_type *type;
};

#define GCHEAP_IMMORTAL INT64_MIN
#define GCHEAP_IMMORTAL_APART                                               \
	0x80000000u /* bit of a count apart; one that overflows gets it too \
		     */

/** In front of every container. The long double makes it 16-aligned, 32 bytes with its padding. */
union gcheap_head {
	struct {
		union gcheap_head *gc_next, *gc_prev; /* containers of one generation, a ring */
		int64_t gc_refs;   /* GCHEAP_REACHABLE, or a count during a collection */
		uint64_t gc_flags; /* what the padding is good for; apart: the object, too */
	} gc;
	long double dummy;
};

enum {
	GCHEAP_UNTRACKED = -2,
	GCHEAP_REACHABLE = -3,
	GCHEAP_UNREACHABLE = -4, /* as far as the collection under way knows */
};

#define GCHEAP_CONTAINER 1u /* flag of a type: its objects have a gcheap_head (and a traverse) */
#define GCHEAP_SEALED	 2u /* and are as good as atomic once all they hold is: see gcheap_tuple */

typedef void (*gcheap_visit)(struct gcheap_object *op, void *arg);

struct gcheap_type {
	const char *name;
	size_t basicsize; /* bytes of an object without items, its struct gcheap_object included */
	size_t itemsize;  /* bytes of each item behind it; 0: fixed size */
	uint64_t flags;
	/** Call @visit for each reference held; a NULL slot may be skipped. Containers only. */
	void (*traverse)(struct gcheap_object *op, gcheap_visit visit, void *arg);
	/** Drop the references and buffers held; the heap frees the object itself. May be NULL.
	 *  One that is no container must hold no chain of others: such a chain is freed nested. */
	void (*dealloc)(struct gcheap_object *op);
	/** Drop the references that may close a cycle; the object stays sound. Without it, cycles
	 *  of such objects alone end in the garbage list. Containers only. */
	void (*clear)(struct gcheap_object *op);
	/** Called once before an object dies, when it is whole; may resurrect it by a new reference
	 *  to it. Containers only. */
	void (*finalise)(struct gcheap_object *op);
	size_t weaklist_offset; /* of a pointer's room in the object; 0: no weak references to it */
};

/* --- the heap -------------------------------------------------------------------------------- */

enum gcheap_layout {
	GCHEAP_INLINE, /* refcount and GC header in and before the object, as in CPython */
	GCHEAP_SPLIT,  /* in side tables: reading objects leaves the pages with them shared */
};

struct gcheap_options {
	enum gcheap_layout layout;
	size_t limit_bytes; /* see gcheap_set_limit */
	bool disabled;	    /* no automatic collections until gcheap_enable */
};

/** gcheap_open - choose how the heap is made (NULL: as it is without this call). Return: false if
 *  it is in use already. */
bool gcheap_open(const struct gcheap_options *options);
/** gcheap_close - give all memory back, at once: objects are gone, none is finalised. */
void gcheap_close(void);
/** gcheap_set_limit - never have more than @bytes from the system; 0: no limit. */
void gcheap_set_limit(size_t bytes);

struct gcheap_stats {
	size_t mapped_bytes; /* from the system: arenas, big objects, directories */
	size_t arenas, pools, big;
	size_t blocks;	   /* in use: objects and buffers */
	size_t containers; /* tracked */
	size_t roots;	   /* containers with references from outside, at the last collection */
	size_t walked;	   /* containers that it looked at */
};

void gcheap_get_stats(struct gcheap_stats *stats);

/* --- objects --------------------------------------------------------------------------------- */

/**
 * gcheap_new - an object of @type with @items items, refcount 1, payload zero; a container is
 * tracked from now on. May collect first. NULL: out of memory.
 */
struct gcheap_object *gcheap_new(const struct gcheap_type *type, size_t items);
/** gcheap_free - what a decref to 0 does; not to be called directly. Nested calls are put off. */
void gcheap_free(struct gcheap_object *op);

#ifdef GCHEAP_CHECKED
/** gcheap_check - is @op a live object? If not, that is told to gcheap_on_misuse's function. */
bool gcheap_check(const struct gcheap_object *op, const char *call);
#define GCHEAP_CHECK(op, call) gcheap_check(op, call)
#else
#define GCHEAP_CHECK(op, call) true
#endif

/** The count apart of a refcount word < 0; NULL: immortal. */
static inline uint32_t *gcheap_count_apart(int64_t refcount)
{
	return (uint32_t *)(uintptr_t)((uint64_t)refcount & INT64_MAX);
}

/** gcheap_incref, gcheap_decref - take or give back a reference; NULL is allowed. */
static inline void gcheap_incref(struct gcheap_object *op)
{
	uint32_t *apart;

	if (!op || !GCHEAP_CHECK(op, "gcheap_incref"))
		return;
	if (__builtin_expect(op->refcount >= 0, 1)) {
		op->refcount++;
		return;
	}
	apart = gcheap_count_apart(op->refcount);
	if (apart && !(*apart & GCHEAP_IMMORTAL_APART))
		++*apart;
}

static inline void gcheap_decref(struct gcheap_object *op)
{
	uint32_t *apart;

	if (!op || !GCHEAP_CHECK(op, "gcheap_decref"))
		return;
	if (__builtin_expect(op->refcount >= 0, 1)) {
		if (--op->refcount == 0)
			gcheap_free(op);
		return;
	}
	apart = gcheap_count_apart(op->refcount);
	if (apart && !(*apart & GCHEAP_IMMORTAL_APART) && --*apart == 0)
		gcheap_free(op);
}

/** gcheap_refcount - in either layout; INT64_MAX: immortal. */
static inline int64_t gcheap_refcount(const struct gcheap_object *op)
{
	const uint32_t *apart;

	if (op->refcount >= 0)
		return op->refcount;
	apart = gcheap_count_apart(op->refcount);
	return apart && !(*apart & GCHEAP_IMMORTAL_APART) ? (int64_t)*apart : INT64_MAX;
}

/** gcheap_head_of - the GC header of a container, wherever it is. */
union gcheap_head *gcheap_head_of(struct gcheap_object *op);

/** gcheap_track, gcheap_untrack - whether collections look at a container: it is tracked when new,
 *  and may be untracked while it can be in no cycle. Safe to repeat. */
void gcheap_track(struct gcheap_object *op);
void gcheap_untrack(struct gcheap_object *op);
bool gcheap_is_tracked(struct gcheap_object *op);

/** gcheap_buffer_new - @bytes of zeroed memory that an object of type @owner will own. NULL: out of
 *  memory. Give it back with gcheap_buffer_free (NULL is allowed). */
void *gcheap_buffer_new(const struct gcheap_type *owner, size_t bytes);
void gcheap_buffer_free(void *buffer);

/* --- collections ----------------------------------------------------------------------------- */

#define GCHEAP_GENERATIONS 3

/**
 * gcheap_collect - a full collection; gcheap_collect_generation - of @generation (0, 1, 2) and
 * those below. Return: containers found unreachable. Within a collection both do nothing.
 */
size_t gcheap_collect(void);
size_t gcheap_collect_generation(int generation);

/** gcheap_enable, gcheap_disable - automatic collections, when gcheap_new makes containers. */
void gcheap_enable(void);
void gcheap_disable(void);
bool gcheap_is_enabled(void);

/** Thresholds are CPython's: 700 more containers made than freed since the last collection, 10
 *  collections of generation 0, 10 of generation 1 (and then only if what came to be long-lived
 *  since the last full one is a quarter of what was found by it). [0] == 0: never. */
void gcheap_set_thresholds(const size_t thresholds[GCHEAP_GENERATIONS]);
void gcheap_get_thresholds(size_t thresholds[GCHEAP_GENERATIONS]);
void gcheap_get_counts(size_t counts[GCHEAP_GENERATIONS]);

struct gcheap_generation_stats {
	size_t collections, collected, uncollectable;
};

/** gcheap_get_generation_stats - of @generation since the heap was opened; false: no such one. */
bool gcheap_get_generation_stats(int generation, struct gcheap_generation_stats *stats);

/** What a callback is told: the numbers are those of this collection, 0 at its start. */
struct gcheap_event {
	bool stop;
	int generation;
	size_t collected, uncollectable;
};

typedef void (*gcheap_callback)(const struct gcheap_event *event, void *arg);

#define GCHEAP_CALLBACKS_MAX 8

/** gcheap_add_callback - call @fn when a collection starts and stops; false: there are too many.
 *  gcheap_remove_callback - the pair of both; false: not there. */
bool gcheap_add_callback(gcheap_callback fn, void *arg);
bool gcheap_remove_callback(gcheap_callback fn, void *arg);
/** gcheap_on_progress - call @fn after every 64 containers of a collection's first pass, for
 * pacing; it must not touch the heap. NULL: none. */
void gcheap_on_progress(void (*fn)(void *arg), void *arg);

/** gcheap_garbage - the list of what a collection could not free, lent; NULL: none ever. Its items
 *  live until they are taken out of it. gcheap_save_all - put all that is unreachable there. */
struct gcheap_object *gcheap_garbage(void);
void gcheap_save_all(bool on);

/* --- sharing with forked children ------------------------------------------------------------ */

/** gcheap_freeze - put all tracked containers where no collection looks, in O(1); gcheap_unfreeze -
 *  and back, into the oldest generation. gcheap_freeze_count - how many there are, counted. */
void gcheap_freeze(void);
void gcheap_unfreeze(void);
size_t gcheap_freeze_count(void);

/**
 * gcheap_immortalise - from now on incref and decref of @op write nothing, and it never dies.
 * gcheap_immortalise_frozen - the same for all that is frozen, and what of it is not tracked.
 * There is no way back: references are not counted any more. Return: objects made immortal.
 */
void gcheap_immortalise(struct gcheap_object *op);
size_t gcheap_immortalise_frozen(void);
static inline bool gcheap_is_immortal(const struct gcheap_object *op)
{
	return gcheap_refcount(op) == INT64_MAX;
}

/* --- built-in types -------------------------------------------------------------------------- */

/* Constructors give a new reference or NULL; getters lend one; setters take the reference given
 * ("steal") even when they fail. Indexes are checked. */
extern const struct gcheap_type gcheap_int, gcheap_string, gcheap_tuple, gcheap_list, gcheap_dict,
	gcheap_class, gcheap_instance, gcheap_weakref;

struct gcheap_object *gcheap_int_new(int64_t value);
int64_t gcheap_int_value(const struct gcheap_object *op);
struct gcheap_object *gcheap_string_new(const char *text, size_t len);
const char *gcheap_string_text(const struct gcheap_object *op);
/** gcheap_len - items of a tuple or list, bytes of a string, keys of a dict; 0 for others. */
size_t gcheap_len(const struct gcheap_object *op);
/** gcheap_tuple_new - collections untrack a tuple that is full and holds nothing tracked. A dict is
 *  tracked from when it holds something that is. */
struct gcheap_object *gcheap_tuple_new(size_t len);
struct gcheap_object *gcheap_list_new(void);
/** gcheap_get, gcheap_set - item @index of a tuple or list; NULL, false: no such item. */
struct gcheap_object *gcheap_get(const struct gcheap_object *op, size_t index);
bool gcheap_set(struct gcheap_object *op, size_t index, struct gcheap_object *item);
/** gcheap_append - at the end of a list. False: out of memory. */
bool gcheap_append(struct gcheap_object *list, struct gcheap_object *item);
/** gcheap_pop - a list's last item, its reference given to you. NULL: empty (or NULL is there). */
struct gcheap_object *gcheap_pop(struct gcheap_object *list);
struct gcheap_object *gcheap_dict_new(void);
/** gcheap_dict_set - takes both references; keys are equal if they are the same object, equal ints
 * or equal strings. False: out of memory. */
bool gcheap_dict_set(struct gcheap_object *dict, struct gcheap_object *key,
		     struct gcheap_object *value);
struct gcheap_object *gcheap_dict_get(const struct gcheap_object *dict,
				      const struct gcheap_object *key);

/** gcheap_class_new - a class by name (takes it), its instances finalised by @finalise or NULL. */
struct gcheap_object *gcheap_class_new(struct gcheap_object *name,
				       void (*finalise)(struct gcheap_object *instance));
/** gcheap_instance_new - an instance (it takes a reference of its own to @cls); its dict is made by
 *  the first gcheap_set_attribute. NULL: out of memory, or no class. */
struct gcheap_object *gcheap_instance_new(struct gcheap_object *cls);
/** Of an instance or a class; an instance looks into its class, too. Setting takes both. */
bool gcheap_set_attribute(struct gcheap_object *op, struct gcheap_object *key,
			  struct gcheap_object *value);
struct gcheap_object *gcheap_get_attribute(const struct gcheap_object *op,
					   const struct gcheap_object *key);

/** Called when the object is gone; @arg is what the weak reference holds for it. */
typedef void (*gcheap_weak_callback)(struct gcheap_object *weakref, struct gcheap_object *arg);

/** gcheap_weakref_new - a weak reference to @op; @fn NULL: no callback. Takes @arg, which may be
 *  NULL. NULL: out of memory, or objects of that type can't have one. */
struct gcheap_object *gcheap_weakref_new(struct gcheap_object *op, gcheap_weak_callback fn,
					 struct gcheap_object *arg);
/** gcheap_weakref_get - a new reference to what it refers to; NULL: that is gone. */
struct gcheap_object *gcheap_weakref_get(const struct gcheap_object *weakref);

/* --- the checked build ----------------------------------------------------------------------- */

#ifdef GCHEAP_CHECKED
/** gcheap_on_misuse - call @fn with a message that names the object; NULL: print it and abort.
 *  Where @fn returns, the call that was wrong does nothing. */
void gcheap_on_misuse(void (*fn)(const char *message));
/** gcheap_fail_after - the allocation after @count more fails, and all behind it; < 0: none. */
void gcheap_fail_after(int64_t count);
/** gcheap_allocations - how many were asked for since the start. */
size_t gcheap_allocations(void);
#endif

#endif /* GCHEAP_H */
