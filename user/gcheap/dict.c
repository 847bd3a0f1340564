/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* dict.c - a hash table of objects: open addressing, at most 2/3 full, its slots in a buffer. */
#include <string.h>

#include "internal.h"

struct dict_slot {
	uint64_t hash;
	struct gcheap_object *key, *value; /* no key: empty */
};

struct dict_object {
	struct gcheap_object head;
	size_t len;	 /* see gcheap_len */
	size_t capacity; /* a power of two, or 0 */
	struct dict_slot *slots;
};

static void dict_traverse(struct gcheap_object *op, gcheap_visit visit, void *arg)
{
	struct dict_object *dict = (void *)op;

	for (size_t i = 0; i < dict->capacity; i++) {
		visit(dict->slots[i].key, arg);
		visit(dict->slots[i].value, arg);
	}
}

static void dict_dealloc(struct gcheap_object *op)
{
	struct dict_object *dict = (void *)op;

	for (size_t i = 0; i < dict->capacity; i++) {
		gcheap_decref(dict->slots[i].key);
		gcheap_decref(dict->slots[i].value);
	}
	gcheap_buffer_free(dict->slots);
}

static void dict_clear(struct gcheap_object *op)
{
	struct dict_object *dict = (void *)op, old = *dict;

	dict->len = dict->capacity = 0;
	dict->slots = NULL;
	for (size_t i = 0; i < old.capacity; i++) {
		gcheap_decref(old.slots[i].key);
		gcheap_decref(old.slots[i].value);
	}
	gcheap_buffer_free(old.slots);
}

const struct gcheap_type gcheap_dict = {
	.name = "dict",
	.basicsize = sizeof(struct dict_object),
	.flags = GCHEAP_CONTAINER,
	.traverse = dict_traverse,
	.dealloc = dict_dealloc,
	.clear = dict_clear,
};

static uint64_t hash_of(const struct gcheap_object *key)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	if (key->type == &gcheap_string) {
		const char *text = gcheap_string_text(key);

		for (size_t i = 0; i < gcheap_len(key); i++)
			hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3ull;
		return hash ^ hash >> 32;
	}
	if (key->type == &gcheap_int)
		hash = (uint64_t)gcheap_int_value(key);
	else
		hash = (uintptr_t)key >> 4;
	hash *= 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 32;
}

static bool equal(const struct gcheap_object *a, const struct gcheap_object *b)
{
	if (a == b)
		return true;
	if (a->type != b->type)
		return false;
	if (a->type == &gcheap_int)
		return gcheap_int_value(a) == gcheap_int_value(b);
	return a->type == &gcheap_string && gcheap_len(a) == gcheap_len(b) &&
	       memcmp(gcheap_string_text(a), gcheap_string_text(b), gcheap_len(a)) == 0;
}

/* The slot of @key or the empty one where it belongs. There is always an empty one. */
static struct dict_slot *find_slot(const struct dict_object *dict, const struct gcheap_object *key,
				   uint64_t hash)
{
	for (size_t i = hash & (dict->capacity - 1);; i = (i + 1) & (dict->capacity - 1)) {
		struct dict_slot *slot = &dict->slots[i];

		if (!slot->key || (slot->hash == hash && equal(slot->key, key)))
			return slot;
	}
}

static bool dict_grow(struct dict_object *dict)
{
	struct dict_object bigger = { .capacity = dict->capacity ? dict->capacity * 2 : 4 };

	bigger.slots = gcheap_buffer_new(&gcheap_dict, bigger.capacity * sizeof(*bigger.slots));
	if (!bigger.slots)
		return false;
	for (size_t i = 0; i < dict->capacity; i++) {
		struct dict_slot *slot = &dict->slots[i];

		if (slot->key)
			*find_slot(&bigger, slot->key, slot->hash) = *slot;
	}
	gcheap_buffer_free(dict->slots);
	dict->slots = bigger.slots;
	dict->capacity = bigger.capacity;
	return true;
}

struct gcheap_object *gcheap_dict_new(void)
{
	struct gcheap_object *op = gcheap_new(&gcheap_dict, 0);

	if (op)
		gcheap_untrack(op); /* until it holds something that is tracked, as in CPython */
	return op;
}

bool gcheap_dict_set(struct gcheap_object *op, struct gcheap_object *key,
		     struct gcheap_object *value)
{
	struct dict_object *dict = (void *)op;
	struct gcheap_object *old;
	struct dict_slot *slot;
	uint64_t hash;

	if (!gcheap_is_type(op, &gcheap_dict, "gcheap_dict_set") ||
	    ((dict->len + 1) * 3 > dict->capacity * 2 && !dict_grow(dict))) {
		gcheap_decref(key);
		gcheap_decref(value);
		return false;
	}
	if (gcheap_may_be_tracked(key) || gcheap_may_be_tracked(value))
		gcheap_track(op);
	hash = hash_of(key);
	slot = find_slot(dict, key, hash);
	old = slot->value;
	if (slot->key) {
		slot->value = value;
		gcheap_decref(key);
		gcheap_decref(old);
		return true;
	}
	*slot = (struct dict_slot){ .hash = hash, .key = key, .value = value };
	dict->len++;
	return true;
}

struct gcheap_object *gcheap_dict_get(const struct gcheap_object *op,
				      const struct gcheap_object *key)
{
	const struct dict_object *dict = (const void *)op;

	if (!gcheap_is_type(op, &gcheap_dict, "gcheap_dict_get") || !dict->capacity)
		return NULL;
	return find_slot(dict, key, hash_of(key))->value;
}
