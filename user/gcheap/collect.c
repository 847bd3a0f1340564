/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * collect.c - which containers of a ring can nobody reach? As Modules/gcmodule.c of CPython 2.7 to
 * 3.7: update_refs copies refcounts into the headers, subtract_refs takes away the references from
 * within the ring, and what has any left, with all that is reached from it, stays; move_unreachable
 * finds the rest. Every pass writes every container's header, which is what unshares a forked
 * worker's memory.
 *
 * Neighbours in the ring are neighbours in memory, mostly, but what they refer to is not: so the
 * references to be visited wait in a short queue while their memory is fetched. The order of visits
 * makes no difference to either pass.
 */
#include "internal.h"

#define PROGRESS_EVERY 64
#define QUEUE	       32u /* a power of two */
#define IMMORTAL_REFS  INT64_MAX
#define REACHED	       (-5) /* gc_refs: by a reference from within */

/* References on their way to be visited. */
struct visits {
	struct gcheap_object *queue[QUEUE];
	unsigned int next;
	bool apart;
	union gcheap_head *young;
};

static inline int64_t refs_of(const struct gcheap_object *op, bool apart)
{
	const uint32_t *count;

	if (!apart)
		return op->refcount >= 0 ? op->refcount : IMMORTAL_REFS;
	count = gcheap_count_apart(op->refcount);
	return *count & GCHEAP_IMMORTAL_APART ? IMMORTAL_REFS : (int64_t)*count;
}

/* A function of its own for those who watch: it is the first to write each header. */
static __attribute__((noinline)) size_t update_refs(union gcheap_head *ring, bool apart)
{
	size_t count = 0;

	for (union gcheap_head *head = ring->gc.gc_next; head != ring; head = head->gc.gc_next) {
		head->gc.gc_refs = refs_of(gcheap_object_in(head, apart), apart);
		if (++count % PROGRESS_EVERY == 0 && gcheap_heap.progress)
			gcheap_heap.progress(gcheap_heap.progress_arg);
	}
	return count;
}

static inline void subtract_one(struct gcheap_object *op, bool apart)
{
	union gcheap_head *head;

	if (!op || !gcheap_is_container(op))
		return;
	head = gcheap_head_in(op, apart);
	if (head->gc.gc_refs > 0) /* not one outside the ring: GCHEAP_UNTRACKED, GCHEAP_REACHABLE */
		head->gc.gc_refs--;
}

/* In the queue for @op, out of it the one that waited longest. */
static inline struct gcheap_object *exchange(struct visits *visits, struct gcheap_object *op)
{
	struct gcheap_object **slot = &visits->queue[visits->next++ % QUEUE], *oldest = *slot;

	if (!visits->apart)
		__builtin_prefetch((char *)op - sizeof(int64_t) * 2, 1);
	else
		__builtin_prefetch(op);
	*slot = op;
	return oldest;
}

static void visit_subtract(struct gcheap_object *op, void *arg)
{
	if (op)
		subtract_one(exchange(arg, op), false);
}

static void visit_subtract_apart(struct gcheap_object *op, void *arg)
{
	if (op)
		subtract_one(exchange(arg, op), true);
}

static inline __attribute__((always_inline)) void subtract_refs(union gcheap_head *ring, bool apart)
{
	gcheap_visit visit = apart ? visit_subtract_apart : visit_subtract;
	struct visits visits = { .apart = apart };

	for (union gcheap_head *head = ring->gc.gc_next; head != ring; head = head->gc.gc_next) {
		struct gcheap_object *op = gcheap_object_in(head, apart);

		__builtin_prefetch(head->gc.gc_next->gc.gc_next);
		if (op->type->traverse)
			op->type->traverse(op, visit, &visits);
	}
	for (unsigned int i = 0; i < QUEUE; i++)
		subtract_one(visits.queue[i], apart);
}

/* @op is referred to by something reachable. */
static inline void reach_one(struct gcheap_object *op, struct visits *visits, bool apart)
{
	union gcheap_head *head;

	if (!op || !gcheap_is_container(op))
		return;
	head = gcheap_head_in(op, apart);
	if (head->gc.gc_refs == 0) {
		head->gc.gc_refs = REACHED; /* the scan of @young has it before it */
	} else if (head->gc.gc_refs == GCHEAP_UNREACHABLE) {
		gcheap_ring_remove(head);
		gcheap_ring_add(visits->young, head);
		head->gc.gc_refs = REACHED;
	}
}

static void visit_reachable(struct gcheap_object *op, void *arg)
{
	if (op)
		reach_one(exchange(arg, op), arg, false);
}

static void visit_reachable_apart(struct gcheap_object *op, void *arg)
{
	if (op)
		reach_one(exchange(arg, op), arg, true);
}

static void flush_reachable(struct visits *visits, bool apart)
{
	for (unsigned int i = 0; i < QUEUE; i++) {
		struct gcheap_object *op = visits->queue[i];

		visits->queue[i] = NULL;
		reach_one(op, visits, apart);
	}
}

static void visit_tracked(struct gcheap_object *op, void *arg)
{
	bool *atomic = arg;

	if (!op || gcheap_may_be_tracked(op)) /* a slot that is empty may be filled yet */
		*atomic = false;
}

/* A sealed container that holds nothing which could lead back to it. */
static inline bool is_atomic(struct gcheap_object *op)
{
	bool atomic = true;

	if (!(op->type->flags & GCHEAP_SEALED))
		return false;
	op->type->traverse(op, visit_tracked, &atomic);
	return atomic;
}

/* Return: how many have references from outside the ring. */
static inline __attribute__((always_inline)) size_t
move_unreachable(union gcheap_head *young, union gcheap_head *unreachable, bool apart)
{
	gcheap_visit visit = apart ? visit_reachable_apart : visit_reachable;
	struct visits visits = { .apart = apart, .young = young };
	union gcheap_head *head = young->gc.gc_next, *next;
	struct gcheap_object *op;
	size_t roots = 0;

	for (;; head = next) {
		if (head == young) { /* the visits that wait may add to it */
			union gcheap_head *last = young->gc.gc_prev;

			flush_reachable(&visits, apart);
			head = last->gc.gc_next;
			if (head == young)
				return roots;
		}
		next = head->gc.gc_next;
		__builtin_prefetch(next->gc.gc_next);
		if (head->gc.gc_refs == 0) {
			gcheap_ring_remove(head);
			gcheap_ring_add(unreachable, head);
			head->gc.gc_refs = GCHEAP_UNREACHABLE;
			continue;
		}
		roots += head->gc.gc_refs > 0;
		head->gc.gc_refs = GCHEAP_REACHABLE;
		op = gcheap_object_in(head, apart);
		if (!op->type->traverse)
			continue;
		op->type->traverse(op, visit, &visits);
		next = head->gc.gc_next; /* it may have been the last, and now others follow */
		if (is_atomic(op))
			gcheap_untrack(op);
	}
}

static size_t count_roots(const union gcheap_head *ring)
{
	size_t roots = 0;

	for (const union gcheap_head *head = ring->gc.gc_next; head != ring;
	     head = head->gc.gc_next)
		roots += head->gc.gc_refs > 0;
	return roots;
}

void gcheap_deduce_unreachable(union gcheap_head *young, union gcheap_head *unreachable)
{
	/* constants, so that each layout gets loops of its own */
	if (gcheap_heap.apart) {
		gcheap_heap.stats.walked = update_refs(young, true);
		subtract_refs(young, true);
		gcheap_heap.stats.roots = move_unreachable(young, unreachable, true);
	} else {
		gcheap_heap.stats.walked = update_refs(young, false);
		subtract_refs(young, false);
		gcheap_heap.stats.roots = move_unreachable(young, unreachable, false);
	}
}

bool gcheap_is_closed(union gcheap_head *ring)
{
	update_refs(ring, gcheap_heap.apart);
	subtract_refs(ring, gcheap_heap.apart);
	return count_roots(ring) == 0;
}
