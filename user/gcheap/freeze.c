/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * freeze.c - what a program does to its heap before it forks: freeze it, as gc.freeze of CPython
 * 3.7, so that no collection writes its headers, and make it immortal, as since 3.12, so that no
 * use of it writes its refcounts.
 */
#include "internal.h"

void gcheap_freeze(void)
{
	gcheap_make_ready();
	for (int i = 0; i < GCHEAP_GENERATIONS; i++) {
		gcheap_ring_splice(&gcheap_heap.frozen, &gcheap_heap.generations[i].ring);
		gcheap_heap.generations[i].count = 0;
	}
}

void gcheap_unfreeze(void)
{
	gcheap_make_ready();
	gcheap_ring_splice(&gcheap_heap.generations[GCHEAP_GENERATIONS - 1].ring,
			   &gcheap_heap.frozen);
}

size_t gcheap_freeze_count(void)
{
	gcheap_make_ready();
	return gcheap_ring_len(&gcheap_heap.frozen);
}

void gcheap_immortalise(struct gcheap_object *op)
{
	uint32_t *apart;

	if (!op || !GCHEAP_CHECK(op, "gcheap_immortalise") || gcheap_is_immortal(op))
		return;
	if (op->refcount >= 0) {
		op->refcount = GCHEAP_IMMORTAL;
		return;
	}
	apart = gcheap_count_apart(op->refcount);
	*apart |= GCHEAP_IMMORTAL_APART;
}

struct immortals {
	size_t count;
	union gcheap_head *waiting; /* untracked containers to be traversed, linked by gc_next */
};

/* What collections don't see: strings, and tuples of them. Tracked ones are frozen, or not meant.*/
static void visit_immortalise(struct gcheap_object *op, void *arg)
{
	struct immortals *immortals = arg;

	if (!op || gcheap_is_immortal(op) || gcheap_is_tracked(op))
		return;
	gcheap_immortalise(op);
	immortals->count++;
	if (gcheap_is_container(op)) {
		gcheap_head(op)->gc.gc_next = immortals->waiting;
		immortals->waiting = gcheap_head(op);
	}
}

static void traverse(struct gcheap_object *op, struct immortals *immortals)
{
	if (op->type->traverse)
		op->type->traverse(op, visit_immortalise, immortals);
}

size_t gcheap_immortalise_frozen(void)
{
	struct immortals immortals = { 0 };
	union gcheap_head *head;

	gcheap_make_ready();
	for (head = gcheap_heap.frozen.gc.gc_next; head != &gcheap_heap.frozen;
	     head = head->gc.gc_next) {
		struct gcheap_object *op = gcheap_object_of(head);

		immortals.count += !gcheap_is_immortal(op);
		gcheap_immortalise(op);
		traverse(op, &immortals);
		while (immortals.waiting) {
			union gcheap_head *first = immortals.waiting;

			immortals.waiting = first->gc.gc_next;
			traverse(gcheap_object_of(first), &immortals);
		}
	}
	return immortals.count;
}
