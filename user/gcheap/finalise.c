/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * finalise.c - the end of what is unreachable: weak references are cleared and called back,
 * finalisers run (and may resurrect), and then the cycles are broken by type->clear. Any of these
 * calls may run code that frees, makes or moves objects: so loops here take the first of a ring,
 * and what they hold is held by a reference.
 */
#include "internal.h"

static void call_finaliser(struct gcheap_object *op)
{
	gcheap_head(op)->gc.gc_flags |= GCHEAP_FINALISED;
	op->type->finalise(op);
}

static bool is_to_finalise(struct gcheap_object *op)
{
	return op->type->finalise && !(gcheap_head(op)->gc.gc_flags & GCHEAP_FINALISED);
}

/* Sets a count that is no immortal's. Return: what it was before. */
static int64_t add_refs(struct gcheap_object *op, int64_t more)
{
	int64_t *count = &op->refcount;
	uint32_t *apart;

	if (*count >= 0) {
		*count += more;
		return *count - more;
	}
	apart = gcheap_count_apart(op->refcount);
	*apart = (uint32_t)(*apart + more);
	return (int64_t)*apart - more;
}

bool gcheap_finalise_dying(struct gcheap_object *op)
{
	if (!is_to_finalise(op))
		return false;
	add_refs(op, 1);
	gcheap_track(op);
	call_finaliser(op);
	if (gcheap_is_immortal(op) || add_refs(op, -1) > 1)
		return true;
	gcheap_untrack(op);
	return false;
}

/* Return: was anybody called? */
static bool call_weakrefs(union gcheap_head *unreachable)
{
	struct gcheap_object *calls = NULL;

	for (union gcheap_head *head = unreachable->gc.gc_next; head != unreachable;
	     head = head->gc.gc_next) {
		struct gcheap_object *op = gcheap_object_of(head);

		if (op->type->weaklist_offset)
			gcheap_weak_detach(op, &calls);
	}
	if (!calls)
		return false;
	/* all are cleared before the first call: no callback gets at what is going to die */
	gcheap_weak_call(calls);
	return true;
}

static bool call_finalisers(union gcheap_head *unreachable)
{
	bool called = false;
	union gcheap_head seen;

	gcheap_ring_init(&seen);
	while (!gcheap_ring_is_empty(unreachable)) {
		union gcheap_head *head = unreachable->gc.gc_next;
		struct gcheap_object *op = gcheap_object_of(head);

		gcheap_ring_remove(head);
		gcheap_ring_add(&seen, head);
		if (!is_to_finalise(op))
			continue;
		gcheap_incref(op);
		call_finaliser(op);
		gcheap_decref(op);
		called = true;
	}
	gcheap_ring_splice(unreachable, &seen);
	return called;
}

bool gcheap_finalise_all(union gcheap_head *unreachable, size_t *count)
{
	bool finalisers = false, weakrefs = false, called;

	*count = 0;
	for (union gcheap_head *head = unreachable->gc.gc_next; head != unreachable;
	     head = head->gc.gc_next) {
		struct gcheap_object *op = gcheap_object_of(head);

		++*count;
		weakrefs |= op->type->weaklist_offset != 0;
		finalisers |= is_to_finalise(op);
	}
	called = weakrefs && call_weakrefs(unreachable);
	if (finalisers)
		called |= call_finalisers(unreachable);
	return called;
}

static bool keep_as_garbage(struct gcheap_object *op)
{
	if (!gcheap_heap.garbage)
		gcheap_heap.garbage = gcheap_list_new();
	gcheap_incref(op);
	return gcheap_heap.garbage && gcheap_append(gcheap_heap.garbage, op);
}

/* The first of @unreachable: cleared, and then in @old if it is still there. */
static size_t clear_first(union gcheap_head *unreachable, union gcheap_head *old)
{
	union gcheap_head *head = unreachable->gc.gc_next;
	struct gcheap_object *op = gcheap_object_of(head);
	size_t uncollectable = 0;

	gcheap_incref(op);
	if (gcheap_heap.save_all || !op->type->clear) {
		head->gc.gc_refs = GCHEAP_REACHABLE; /* by the list, or freed by others' clear */
	} else {
		op->type->clear(op);
	}
	if (unreachable->gc.gc_next == head) {
		gcheap_ring_remove(head);
		gcheap_ring_add(old, head);
		head->gc.gc_refs = GCHEAP_REACHABLE;
	}
	if (gcheap_heap.save_all && keep_as_garbage(op))
		uncollectable++;
	gcheap_decref(op);
	return uncollectable;
}

/* Those without a clear have to wait for the others': what is left then holds on to itself. */
static size_t keep_unclearable(union gcheap_head *kept, union gcheap_head *old)
{
	union gcheap_head unreachable;
	size_t count = 0;

	gcheap_ring_init(&unreachable);
	gcheap_deduce_unreachable(kept, &unreachable);
	gcheap_ring_splice(old, kept);
	while (!gcheap_ring_is_empty(&unreachable)) {
		union gcheap_head *head = unreachable.gc.gc_next;

		gcheap_ring_remove(head);
		gcheap_ring_add(old, head);
		head->gc.gc_refs = GCHEAP_REACHABLE;
		if (keep_as_garbage(gcheap_object_of(head)))
			count++;
	}
	return count;
}

size_t gcheap_clear_all(union gcheap_head *unreachable, union gcheap_head *old)
{
	size_t uncollectable = 0, walked = gcheap_heap.stats.walked,
	       roots = gcheap_heap.stats.roots;
	union gcheap_head kept;

	gcheap_ring_init(&kept);
	while (!gcheap_ring_is_empty(unreachable)) {
		union gcheap_head *head = unreachable->gc.gc_next;

		if (gcheap_object_of(head)->type->clear || gcheap_heap.save_all) {
			uncollectable += clear_first(unreachable, old);
			continue;
		}
		gcheap_ring_remove(head);
		gcheap_ring_add(&kept, head);
	}
	if (!gcheap_ring_is_empty(&kept))
		uncollectable += keep_unclearable(&kept, old);
	gcheap_heap.stats.walked = walked;
	gcheap_heap.stats.roots = roots;
	return uncollectable;
}

struct gcheap_object *gcheap_garbage(void)
{
	return gcheap_heap.garbage;
}
