/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * object.c - blocks made objects, tracked and freed. A container whose refcount falls to 0 is put
 * on a list which the outermost gcheap_free empties, so a chain of a million objects dies without a
 * million stack frames. Such a one has refcount 0 and is untracked.
 */
#include "internal.h"

static void track(union gcheap_head *head)
{
	gcheap_ring_add(&gcheap_heap.generations[0].ring, head);
	head->gc.gc_refs = GCHEAP_REACHABLE;
	gcheap_heap.stats.containers++;
}

static void untrack(union gcheap_head *head)
{
	gcheap_ring_remove(head);
	head->gc.gc_refs = GCHEAP_UNTRACKED;
	gcheap_heap.stats.containers--;
}

void gcheap_track(struct gcheap_object *op)
{
	if (GCHEAP_CHECK(op, "gcheap_track") && gcheap_is_container(op) && !gcheap_is_tracked(op))
		track(gcheap_head(op));
}

void gcheap_untrack(struct gcheap_object *op)
{
	if (GCHEAP_CHECK(op, "gcheap_untrack") && gcheap_is_container(op) && gcheap_is_tracked(op))
		untrack(gcheap_head(op));
}

bool gcheap_is_tracked(struct gcheap_object *op)
{
	return gcheap_is_container(op) && gcheap_head(op)->gc.gc_refs != GCHEAP_UNTRACKED;
}

union gcheap_head *gcheap_head_of(struct gcheap_object *op)
{
	return gcheap_head(op);
}

struct gcheap_object *gcheap_new(const struct gcheap_type *type, size_t items)
{
	bool container = type->flags & GCHEAP_CONTAINER;
	size_t bytes, head_bytes = container && !gcheap_heap.apart ? sizeof(union gcheap_head) : 0;
	struct gcheap_object *op;
	char *block;

	if (__builtin_mul_overflow(items, type->itemsize, &bytes) ||
	    __builtin_add_overflow(bytes, type->basicsize, &bytes) ||
	    __builtin_add_overflow(bytes, head_bytes, &bytes))
		return NULL;
	if (!gcheap_heap.ready)
		gcheap_make_ready();
	if (container)
		gcheap_count_new();
	block = gcheap_block_new(container ? GCHEAP_KIND_CONTAINER : GCHEAP_KIND_OBJECT, bytes,
				 type);
	if (!block) {
		gcheap_heap.generations[0].count -= container && gcheap_heap.generations[0].count;
		return NULL;
	}
	op = (void *)(block + head_bytes);
	op->refcount = 1;
	op->type = type;
	if (gcheap_heap.apart)
		gcheap_side_attach(op, container);
	if (container)
		track(gcheap_head(op));
	return op;
}

/* The last of an object: nothing can stop it any more. */
static void destroy(struct gcheap_object *op)
{
	bool container = gcheap_is_container(op);

	if (op->type->weaklist_offset)
		gcheap_weak_forget(op);
	if (op->type->dealloc)
		op->type->dealloc(op);
	if (container && gcheap_heap.generations[0].count)
		gcheap_heap.generations[0].count--;
	gcheap_block_free(container && !gcheap_heap.apart ? (void *)gcheap_head_in(op, false) : op);
}

void gcheap_free(struct gcheap_object *op)
{
	union gcheap_head *head;

	if (!gcheap_is_container(op)) {
		if (op->type->dealloc || op->type->weaklist_offset)
			destroy(op);
		else
			gcheap_block_free(op);
		return;
	}
	head = gcheap_head(op);
	if (head->gc.gc_refs != GCHEAP_UNTRACKED)
		untrack(head);
	head->gc.gc_next = gcheap_heap.dying;
	gcheap_heap.dying = head;
	if (gcheap_heap.freeing)
		return;
	gcheap_heap.freeing = true;
	while (gcheap_heap.dying) {
		head = gcheap_heap.dying;
		gcheap_heap.dying = head->gc.gc_next;
		op = gcheap_object_of(head);
		if (!op->type->finalise || !gcheap_finalise_dying(op))
			destroy(op);
	}
	gcheap_heap.freeing = false;
}

void *gcheap_buffer_new(const struct gcheap_type *owner, size_t bytes)
{
	if (!gcheap_heap.ready)
		gcheap_make_ready();
	return gcheap_block_new(GCHEAP_KIND_BUFFER, bytes, owner);
}

void gcheap_buffer_free(void *buffer)
{
	if (buffer)
		gcheap_block_free(buffer);
}
