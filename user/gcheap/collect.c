/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * collect.c - the mark of a collection, as Modules/gcmodule.c of CPython 2.7 to 3.7 begins it: what
 * is left in gc_refs after update_refs and subtract_refs is the number of references from outside
 * the tracked containers. Every pass writes every container's header, which is what unshares a
 * forked worker's memory. Moving the unreachable to a list of their own and freeing them goes
 * between subtract_refs and restore_refs; each pass takes the ring it works on, so that rings can
 * be several.
 */
#include "internal.h"

#define PROGRESS_EVERY 64

static struct gcheap_object *object_of(union gcheap_head *head)
{
	return (struct gcheap_object *)(void *)(head + 1);
}

static size_t update_refs(union gcheap_head *ring)
{
	size_t count = 0;

	for (union gcheap_head *head = ring->gc.gc_next; head != ring; head = head->gc.gc_next) {
		head->gc.gc_refs = object_of(head)->refcount;
		if (++count % PROGRESS_EVERY == 0 && gcheap_heap.progress)
			gcheap_heap.progress(gcheap_heap.progress_arg);
	}
	return count;
}

static void subtract_one(struct gcheap_object *op, void *arg)
{
	union gcheap_head *head;

	(void)arg;
	if (!op || !(op->type->flags & GCHEAP_CONTAINER))
		return;
	head = gcheap_head_of(op);
	if (head->gc.gc_refs > 0) /* not one outside the ring: GCHEAP_UNTRACKED, GCHEAP_REACHABLE */
		head->gc.gc_refs--;
}

static void subtract_refs(union gcheap_head *ring)
{
	for (union gcheap_head *head = ring->gc.gc_next; head != ring; head = head->gc.gc_next) {
		struct gcheap_object *op = object_of(head);

		op->type->traverse(op, subtract_one, NULL);
	}
}

static size_t restore_refs(union gcheap_head *ring)
{
	size_t roots = 0;

	for (union gcheap_head *head = ring->gc.gc_next; head != ring; head = head->gc.gc_next) {
		roots += head->gc.gc_refs > 0;
		head->gc.gc_refs = GCHEAP_REACHABLE;
	}
	return roots;
}

size_t gcheap_collect(void)
{
	union gcheap_head *ring = &gcheap_heap.containers;
	size_t count;

	if (!ring->gc.gc_next)
		return 0;
	count = update_refs(ring);
	subtract_refs(ring);
	gcheap_heap.stats.roots = restore_refs(ring);
	return count;
}

void gcheap_on_progress(void (*fn)(void *arg), void *arg)
{
	gcheap_heap.progress = fn;
	gcheap_heap.progress_arg = arg;
}
