/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * impl.h - what the parts of the resolver share; private to user/resolve.
 *   resolver.c  the family of images, and records to samples
 *   explain.c   which memory explains a fault, and what it says
 *   stacks.c    stacks, kept until their fault comes, and their frames in words
 *   pending.c   buffers whose owner is looked for later
 *   late.c      faults in memory mapped since the mappings were read
 *   runtimes.c  interpreters that come up, told to the kernel side
 */
#ifndef CT_RESOLVE_IMPL_H
#define CT_RESOLVE_IMPL_H

#include "base/map.h"
#include "resolve/image.h"
#include "resolve/resolver.h"

#define CT_UNDO_SLOTS 1024
#define CT_REFUSALS   16   /* different ones that are said in one run */
#define CT_MAX_ENDED  4096 /* images kept after their end, for records that come late */

/* The last sample of a thread: what an undo takes back, exactly as it was counted. */
struct ct_last_sample {
	uint32_t tid;
	uint64_t ticket; /* of its place among the pending; 0: it is not */
	uint64_t late;	 /* the same, among the late */
	struct ct_sample sample;
};

struct ct_stacks;
struct ct_pending;
struct ct_late;

struct ct_resolver {
	struct ct_resolver_names names;
	struct ct_heap_source source; /* what all heaps share */
	struct ct_symbols *symbols;
	struct ct_resolver_events events;
	struct ct_map images; /* id -> struct ct_image * */
	struct ct_image *latest;
	uint64_t ended[CT_MAX_ENDED];
	size_t n_ended, alive;
	pid_t launcher;
	uint64_t look_ns;	    /* when images may be looked at for interpreters again ... */
	size_t look_cursor;	    /* ... from which one on */
	struct ct_stacks *stacks;   /* NULL until a stack comes */
	struct ct_pending *pending; /* NULL until a buffer comes */
	struct ct_late *late;	    /* NULL until such a fault comes */
	char refusals[CT_REFUSALS][CT_REFUSAL_LEN]; /* said already */
	size_t n_refusals;
	struct ct_resolver_bytes bytes;
	struct ct_last_sample undo[CT_UNDO_SLOTS];
};

static inline struct ct_last_sample *ct_last_of(struct ct_resolver *resolver, uint32_t tid)
{
	return &resolver->undo[tid % CT_UNDO_SLOTS];
}

/** ct_heaps_for - the heaps that explain @address in @image; NULL when all that could are gone. */
struct ct_heaps *ct_heaps_for(struct ct_resolver *resolver, struct ct_image *image,
			      ct_raddr_t address);
/** ct_explain - fill in what @sample says of the memory, the writer and the cause. Return: the
 *  heaps and the reader (index in ct_readers, -1 none) that may find the owner of a buffer; NULL
 *  if there is none to be looked for. */
struct ct_heaps *ct_explain(struct ct_resolver *resolver, struct ct_image *image,
			    const struct ct_record *record, size_t len, struct ct_sample *sample,
			    int *reader);

/** ct_stacks__keep - a stack came: keep it until its fault comes. Without memory it is lost. */
void ct_stacks__keep(struct ct_resolver *resolver, const struct ct_record_stack *stack, size_t len);
/** ct_stacks__take - @sample is of the next fault of its thread: was a stack taken of it? */
void ct_stacks__take(struct ct_resolver *resolver, struct ct_image *image,
		     const struct ct_record *record, struct ct_sample *sample);
void ct_stacks__free(struct ct_stacks *stacks);

/** ct_pending__add - @sample hit a buffer of @heaps whose owner @reader may find. Return: the
 *  ticket by which it is taken back; 0: there is no room, it stays as it is. */
uint64_t ct_pending__add(struct ct_resolver *resolver, struct ct_heaps *heaps, int reader,
			 const struct ct_sample *sample, uint32_t tid);
/** ct_pending__forget - it was taken back. */
void ct_pending__forget(struct ct_resolver *resolver, uint64_t ticket);
/** ct_pending__work - look for owners, in @heaps (NULL: in all), if the duty cycle allows (@last:
 *  the end, it does), and hand corrections to the function that ct_resolver__work was given. */
void ct_pending__work(struct ct_resolver *resolver, struct ct_heaps *heaps, bool last);
/** ct_pending__clear - those that wait stay as they were counted, if they still count. */
void ct_pending__clear(struct ct_resolver *resolver);
void ct_pending__free(struct ct_pending *pending);

/** ct_late__add - @sample, in @image, if it is of memory that is in no known mapping. Return: the
 *  ticket by which it is taken back; 0: it stays as it is. */
uint64_t ct_late__add(struct ct_resolver *resolver, const struct ct_image *image,
		      const struct ct_record *record, size_t len, const struct ct_sample *sample);
/** ct_late__forget - it was taken back. */
void ct_late__forget(struct ct_resolver *resolver, uint64_t ticket);
/** ct_late__work - explain those whose mappings were read since, or may be read now (@last: the
 *  end, they may), and hand on corrections. */
void ct_late__work(struct ct_resolver *resolver, bool last);
/** ct_late__clear - those that wait stay as they were counted, if they still count. */
void ct_late__clear(struct ct_resolver *resolver);
void ct_late__free(struct ct_late *late);

/** ct_runtimes__tell - tell of the interpreter of @image, if there is news. @tid as in
 *  ct_resolver_events.runtime_found. */
void ct_runtimes__tell(struct ct_resolver *resolver, struct ct_image *image, uint32_t tid);
/** ct_runtimes__look - now and then: look at all images. */
void ct_runtimes__look(struct ct_resolver *resolver);

#endif /* CT_RESOLVE_IMPL_H */
