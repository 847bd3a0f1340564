/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * weakref.c - weak references: objects that know another one without holding it. The other keeps a
 * list of them in the word at its type's weaklist_offset; when it goes, they are cleared first and
 * called back then.
 */
#include "internal.h"

struct weakref_object {
	struct gcheap_object head;
	struct gcheap_object *to;	   /* NULL: gone */
	struct weakref_object *next, **at; /* in the list of the object; or of calls, by next */
	gcheap_weak_callback fn;
	struct gcheap_object *arg;
};

static void weakref_unlink(struct weakref_object *ref)
{
	if (!ref->to)
		return;
	*ref->at = ref->next;
	if (ref->next)
		ref->next->at = ref->at;
	ref->to = NULL;
	ref->next = NULL;
}

static void weakref_traverse(struct gcheap_object *op, gcheap_visit visit, void *arg)
{
	visit(((struct weakref_object *)op)->arg, arg);
}

static void weakref_clear(struct gcheap_object *op)
{
	struct weakref_object *ref = (void *)op;
	struct gcheap_object *arg = ref->arg;

	weakref_unlink(ref);
	ref->fn = NULL;
	ref->arg = NULL;
	gcheap_decref(arg);
}

const struct gcheap_type gcheap_weakref = {
	.name = "weakref",
	.basicsize = sizeof(struct weakref_object),
	.flags = GCHEAP_CONTAINER,
	.traverse = weakref_traverse,
	.dealloc = weakref_clear,
	.clear = weakref_clear,
};

static struct weakref_object **list_of(struct gcheap_object *op)
{
	return (void *)((char *)op + op->type->weaklist_offset);
}

struct gcheap_object *gcheap_weakref_new(struct gcheap_object *op, gcheap_weak_callback fn,
					 struct gcheap_object *arg)
{
	struct weakref_object *ref = NULL, **list;

	if (GCHEAP_CHECK(op, "gcheap_weakref_new") && op->type->weaklist_offset)
		ref = (void *)gcheap_new(&gcheap_weakref, 0);
	if (!ref) {
		gcheap_decref(arg);
		return NULL;
	}
	list = list_of(op);
	ref->to = op;
	ref->fn = fn;
	ref->arg = arg;
	ref->next = *list;
	ref->at = list;
	if (*list)
		(*list)->at = &ref->next;
	*list = ref;
	return &ref->head;
}

struct gcheap_object *gcheap_weakref_get(const struct gcheap_object *op)
{
	const struct weakref_object *ref = (const void *)op;

	if (!gcheap_is_type(op, &gcheap_weakref, "gcheap_weakref_get") || !ref->to)
		return NULL;
	if (gcheap_refcount(ref->to) == 0) /* waits to be freed */
		return NULL;
	gcheap_incref(ref->to);
	return ref->to;
}

void gcheap_weak_detach(struct gcheap_object *op, struct gcheap_object **calls)
{
	struct weakref_object *ref;

	while ((ref = *list_of(op))) {
		weakref_unlink(ref);
		if (!ref->fn || gcheap_refcount(&ref->head) == 0 ||
		    gcheap_head(&ref->head)->gc.gc_refs == GCHEAP_UNREACHABLE)
			continue; /* nobody would expect a call by what is gone itself */
		gcheap_incref(&ref->head);
		ref->next = (void *)*calls;
		*calls = &ref->head;
	}
}

void gcheap_weak_call(struct gcheap_object *calls)
{
	while (calls) {
		struct weakref_object *ref = (void *)calls;

		calls = (void *)ref->next;
		ref->next = NULL;
		if (ref->fn)
			ref->fn(&ref->head, ref->arg);
		gcheap_decref(&ref->head);
	}
}

void gcheap_weak_forget(struct gcheap_object *op)
{
	struct gcheap_object *calls = NULL;

	if (!*list_of(op))
		return;
	gcheap_weak_detach(op, &calls);
	gcheap_weak_call(calls);
}
