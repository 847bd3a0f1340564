/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* types.c - the built-in int, string, tuple and list: enough of Python's to build real graphs. */
#include <string.h>

#include "internal.h"

struct int_object {
	struct gcheap_object head;
	int64_t value;
};

struct string_object {
	struct gcheap_object head;
	size_t len;
	char text[];
};

struct tuple_object {
	struct gcheap_object head;
	size_t len;
	struct gcheap_object *items[];
};

struct list_object {
	struct gcheap_object head;
	size_t len, capacity;
	struct gcheap_object **items;
};

static void tuple_traverse(struct gcheap_object *op, gcheap_visit visit, void *arg)
{
	struct tuple_object *tuple = (void *)op;

	for (size_t i = 0; i < tuple->len; i++)
		visit(tuple->items[i], arg);
}

static void tuple_dealloc(struct gcheap_object *op)
{
	struct tuple_object *tuple = (void *)op;

	for (size_t i = 0; i < tuple->len; i++)
		gcheap_decref(tuple->items[i]);
}

/* What is let go is let go from an object that no longer has it: it may be looked at meanwhile. */
static void tuple_clear(struct gcheap_object *op)
{
	struct tuple_object *tuple = (void *)op;

	for (size_t i = 0; i < tuple->len; i++) {
		struct gcheap_object *item = tuple->items[i];

		tuple->items[i] = NULL;
		gcheap_decref(item);
	}
}

static void list_traverse(struct gcheap_object *op, gcheap_visit visit, void *arg)
{
	struct list_object *list = (void *)op;

	for (size_t i = 0; i < list->len; i++)
		visit(list->items[i], arg);
}

static void list_dealloc(struct gcheap_object *op)
{
	struct list_object *list = (void *)op;

	for (size_t i = 0; i < list->len; i++)
		gcheap_decref(list->items[i]);
	gcheap_buffer_free(list->items);
}

static void list_clear(struct gcheap_object *op)
{
	struct list_object *list = (void *)op, old = *list;

	list->len = list->capacity = 0;
	list->items = NULL;
	for (size_t i = 0; i < old.len; i++)
		gcheap_decref(old.items[i]);
	gcheap_buffer_free(old.items);
}

const struct gcheap_type gcheap_int = { .name = "int", .basicsize = sizeof(struct int_object) };

/* One byte more than its items: a terminating NUL. */
const struct gcheap_type gcheap_string = {
	.name = "string",
	.basicsize = sizeof(struct string_object) + 1,
	.itemsize = 1,
};

const struct gcheap_type gcheap_tuple = {
	.name = "tuple",
	.basicsize = sizeof(struct tuple_object),
	.itemsize = sizeof(struct gcheap_object *),
	.flags = GCHEAP_CONTAINER | GCHEAP_SEALED,
	.traverse = tuple_traverse,
	.dealloc = tuple_dealloc,
	.clear = tuple_clear,
};

const struct gcheap_type gcheap_list = {
	.name = "list",
	.basicsize = sizeof(struct list_object),
	.flags = GCHEAP_CONTAINER,
	.traverse = list_traverse,
	.dealloc = list_dealloc,
	.clear = list_clear,
};

struct gcheap_object *gcheap_int_new(int64_t value)
{
	struct gcheap_object *op = gcheap_new(&gcheap_int, 0);

	if (op)
		((struct int_object *)op)->value = value;
	return op;
}

int64_t gcheap_int_value(const struct gcheap_object *op)
{
	return gcheap_is_type(op, &gcheap_int, "gcheap_int_value")
		       ? ((const struct int_object *)op)->value
		       : 0;
}

struct gcheap_object *gcheap_string_new(const char *text, size_t len)
{
	struct string_object *string = (void *)gcheap_new(&gcheap_string, len);

	if (!string)
		return NULL;
	string->len = len;
	if (len)
		memcpy(string->text, text, len);
	return &string->head;
}

const char *gcheap_string_text(const struct gcheap_object *op)
{
	return gcheap_is_type(op, &gcheap_string, "gcheap_string_text")
		       ? ((const struct string_object *)op)->text
		       : "";
}

struct gcheap_object *gcheap_tuple_new(size_t len)
{
	struct gcheap_object *op = gcheap_new(&gcheap_tuple, len);

	if (op)
		((struct tuple_object *)op)->len = len;
	return op;
}

struct gcheap_object *gcheap_list_new(void)
{
	return gcheap_new(&gcheap_list, 0);
}

static struct gcheap_object **slot(const struct gcheap_object *op, size_t index, const char *call)
{
	if (GCHEAP_CHECK(op, call) && op->type == &gcheap_tuple) {
		struct tuple_object *tuple = (void *)(uintptr_t)op;

		return index < tuple->len ? &tuple->items[index] : NULL;
	}
	if (gcheap_is_type(op, &gcheap_list, call)) {
		const struct list_object *list = (const void *)op;

		return index < list->len ? &list->items[index] : NULL;
	}
	return NULL;
}

struct gcheap_object *gcheap_get(const struct gcheap_object *op, size_t index)
{
	struct gcheap_object **item = slot(op, index, "gcheap_get");

	return item ? *item : NULL;
}

bool gcheap_set(struct gcheap_object *op, size_t index, struct gcheap_object *item)
{
	struct gcheap_object **place = slot(op, index, "gcheap_set"), *old;

	if (!place) {
		gcheap_decref(item);
		return false;
	}
	old = *place;
	*place = item;
	if (op->type == &gcheap_tuple && gcheap_may_be_tracked(item))
		gcheap_track(op); /* a collection may have untracked it */
	gcheap_decref(old);
	return true;
}

static bool list_grow(struct list_object *list)
{
	size_t capacity = list->capacity ? list->capacity * 2 : 4;
	struct gcheap_object **items;

	items = gcheap_buffer_new(&gcheap_list, capacity * sizeof(struct gcheap_object *));
	if (!items)
		return false;
	if (list->len)
		memcpy(items, list->items, list->len * sizeof(struct gcheap_object *));
	gcheap_buffer_free(list->items);
	list->items = items;
	list->capacity = capacity;
	return true;
}

bool gcheap_append(struct gcheap_object *op, struct gcheap_object *item)
{
	struct list_object *list = (void *)op;

	if (!gcheap_is_type(op, &gcheap_list, "gcheap_append") ||
	    (list->len == list->capacity && !list_grow(list))) {
		gcheap_decref(item);
		return false;
	}
	list->items[list->len++] = item;
	return true;
}

struct gcheap_object *gcheap_pop(struct gcheap_object *op)
{
	struct list_object *list = (void *)op;

	if (!gcheap_is_type(op, &gcheap_list, "gcheap_pop") || !list->len)
		return NULL;
	return list->items[--list->len];
}

size_t gcheap_len(const struct gcheap_object *op)
{
	if (!GCHEAP_CHECK(op, "gcheap_len"))
		return 0;
	if (op->type == &gcheap_list || op->type == &gcheap_tuple || op->type == &gcheap_string ||
	    op->type == &gcheap_dict)
		return ((const struct tuple_object *)op)->len; /* at the same place in all four */
	return 0;
}
