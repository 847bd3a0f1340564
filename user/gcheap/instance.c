/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * instance.c - classes and their instances: attributes in a dict, made when the first is set, weak
 * references, and a finaliser that the class has for all its instances.
 */
#include "internal.h"

struct class_object {
	struct gcheap_object head;
	struct gcheap_object *name, *dict;
	void (*finalise)(struct gcheap_object *instance);
	void *weaklist;
};

struct instance_object {
	struct gcheap_object head;
	struct gcheap_object *cls, *dict; /* dict as in class_object: see dict_of */
	void *weaklist;
};

_Static_assert(offsetof(struct class_object, dict) == offsetof(struct instance_object, dict),
	       "see dict_of");
_Static_assert(offsetof(struct class_object, name) == offsetof(struct instance_object, cls),
	       "see both_traverse");

static struct gcheap_object **dict_of(const struct gcheap_object *op)
{
	return &((struct instance_object *)(uintptr_t)op)->dict;
}

static void both_traverse(struct gcheap_object *op, gcheap_visit visit, void *arg)
{
	visit(((struct instance_object *)op)->cls, arg);
	visit(((struct instance_object *)op)->dict, arg);
}

static void both_dealloc(struct gcheap_object *op)
{
	gcheap_decref(((struct instance_object *)op)->cls);
	gcheap_decref(((struct instance_object *)op)->dict);
}

/* The class stays, and the name: neither is without others in a cycle. */
static void both_clear(struct gcheap_object *op)
{
	struct gcheap_object *dict = *dict_of(op);

	*dict_of(op) = NULL;
	gcheap_decref(dict);
}

static void instance_finalise(struct gcheap_object *op)
{
	const struct class_object *cls = (void *)((struct instance_object *)op)->cls;

	if (cls && cls->finalise)
		cls->finalise(op);
}

const struct gcheap_type gcheap_class = {
	.name = "class",
	.basicsize = sizeof(struct class_object),
	.flags = GCHEAP_CONTAINER,
	.traverse = both_traverse,
	.dealloc = both_dealloc,
	.clear = both_clear,
	.weaklist_offset = offsetof(struct class_object, weaklist),
};

const struct gcheap_type gcheap_instance = {
	.name = "instance",
	.basicsize = sizeof(struct instance_object),
	.flags = GCHEAP_CONTAINER,
	.traverse = both_traverse,
	.dealloc = both_dealloc,
	.clear = both_clear,
	.finalise = instance_finalise,
	.weaklist_offset = offsetof(struct instance_object, weaklist),
};

struct gcheap_object *gcheap_class_new(struct gcheap_object *name,
				       void (*finalise)(struct gcheap_object *instance))
{
	struct class_object *cls = (void *)gcheap_new(&gcheap_class, 0);

	if (!cls) {
		gcheap_decref(name);
		return NULL;
	}
	cls->name = name;
	cls->finalise = finalise;
	return &cls->head;
}

struct gcheap_object *gcheap_instance_new(struct gcheap_object *cls)
{
	struct instance_object *instance;

	if (!gcheap_is_type(cls, &gcheap_class, "gcheap_instance_new"))
		return NULL;
	instance = (void *)gcheap_new(&gcheap_instance, 0);
	if (!instance)
		return NULL;
	gcheap_incref(cls);
	instance->cls = cls;
	return &instance->head;
}

static bool has_attributes(const struct gcheap_object *op, const char *call)
{
	return (GCHEAP_CHECK(op, call) && op->type == &gcheap_class) ||
	       gcheap_is_type(op, &gcheap_instance, call);
}

bool gcheap_set_attribute(struct gcheap_object *op, struct gcheap_object *key,
			  struct gcheap_object *value)
{
	struct gcheap_object **dict = dict_of(op);

	if (has_attributes(op, "gcheap_set_attribute")) {
		if (!*dict)
			*dict = gcheap_dict_new();
		if (*dict)
			return gcheap_dict_set(*dict, key, value);
	}
	gcheap_decref(key);
	gcheap_decref(value);
	return false;
}

struct gcheap_object *gcheap_get_attribute(const struct gcheap_object *op,
					   const struct gcheap_object *key)
{
	struct gcheap_object *value = NULL;

	if (!has_attributes(op, "gcheap_get_attribute"))
		return NULL;
	if (*dict_of(op))
		value = gcheap_dict_get(*dict_of(op), key);
	if (!value && op->type == &gcheap_instance)
		return gcheap_get_attribute(((const struct instance_object *)op)->cls, key);
	return value;
}
