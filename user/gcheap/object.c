/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * object.c - blocks made objects, counted, tracked and freed. A refcount that falls to 0 puts the
 * object on a list which the outermost gcheap_free empties, so a chain of a million objects dies
 * without a million stack frames.
 */
#include "internal.h"

static bool is_container(const struct gcheap_type *type)
{
	return type->flags & GCHEAP_CONTAINER;
}

/* At the end of the ring, as CPython does: its former end is written too. */
static void track(union gcheap_head *head)
{
	union gcheap_head *ring = &gcheap_heap.containers;

	if (!ring->gc.gc_next)
		ring->gc.gc_next = ring->gc.gc_prev = ring;
	head->gc.gc_next = ring;
	head->gc.gc_prev = ring->gc.gc_prev;
	head->gc.gc_refs = GCHEAP_REACHABLE;
	ring->gc.gc_prev->gc.gc_next = head;
	ring->gc.gc_prev = head;
	gcheap_heap.stats.containers++;
}

static void untrack(union gcheap_head *head)
{
	head->gc.gc_prev->gc.gc_next = head->gc.gc_next;
	head->gc.gc_next->gc.gc_prev = head->gc.gc_prev;
	head->gc.gc_refs = GCHEAP_UNTRACKED;
	gcheap_heap.stats.containers--;
}

struct gcheap_object *gcheap_new(const struct gcheap_type *type, size_t items)
{
	bool container = is_container(type);
	struct gcheap_object *op;
	size_t bytes;
	char *block;

	if (__builtin_mul_overflow(items, type->itemsize, &bytes) ||
	    __builtin_add_overflow(bytes, type->basicsize, &bytes) ||
	    __builtin_add_overflow(bytes, container ? sizeof(union gcheap_head) : 0, &bytes))
		return NULL;
	block = gcheap_block_new(container ? GCHEAP_KIND_CONTAINER : GCHEAP_KIND_OBJECT, bytes,
				 type);
	if (!block)
		return NULL;
	op = (void *)(block + (container ? sizeof(union gcheap_head) : 0));
	op->refcount = 1;
	op->type = type;
	if (container)
		track(gcheap_head_of(op));
	return op;
}

void gcheap_free(struct gcheap_object *op)
{
	op->refcount = (intptr_t)gcheap_heap.dying;
	gcheap_heap.dying = op;
	if (gcheap_heap.freeing)
		return;
	gcheap_heap.freeing = true;
	while (gcheap_heap.dying) {
		op = gcheap_heap.dying;
		gcheap_heap.dying = (struct gcheap_object *)(intptr_t)op->refcount;
		op->refcount = 0;
		if (is_container(op->type))
			untrack(gcheap_head_of(op));
		if (op->type->dealloc)
			op->type->dealloc(op);
		gcheap_block_free(is_container(op->type) ? (void *)gcheap_head_of(op) : op);
	}
	gcheap_heap.freeing = false;
}

void *gcheap_buffer_new(const struct gcheap_type *owner, size_t bytes)
{
	return gcheap_block_new(GCHEAP_KIND_BUFFER, bytes, owner);
}

void gcheap_buffer_free(void *buffer)
{
	if (buffer)
		gcheap_block_free(buffer);
}
