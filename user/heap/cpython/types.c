/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * types.c - a type is known by its own type: its ob_type is PyType_Type, or a type that is a
 * subclass of it, whose chain ends there. Sizes and name must make sense too. What was asked for
 * is kept, types and no types alike, in a cache of fixed size.
 */
#include "heap/cpython/types.h"

#include <stdlib.h>
#include <string.h>

#define CT_TYPE_SETS  2048u
#define CT_TYPE_WAYS  4u
#define CT_TYPE_DEPTH 4 /* type of a type of a type: metaclasses of metaclasses */
#define CT_TYPE_BASES 16

/* PyTypeObject, all versions with a GIL (layout.h) */
#define CT_TP_NAME	24u
#define CT_TP_BASICSIZE 32u
#define CT_TP_ITEMSIZE	40u
#define CT_TP_FLAGS	168u
#define CT_TP_BASE	256u
#define CT_TP_IS_GC	328u
#define CT_TP_READ	336u

#define CT_BASICSIZE_MAX (1ull << 20)
#define CT_ITEMSIZE_MAX	 (1ull << 16)

struct ct_type_slot {
	struct ct_py_type type;
	uint64_t epoch; /* asked for in this epoch of the cache, else empty */
	bool valid;
};

struct ct_py_types {
	const struct ct_python *python;
	struct ct_py_present *present;
	uint64_t epoch;
	struct ct_type_slot slots[CT_TYPE_SETS][CT_TYPE_WAYS];
	uint32_t state_id;
	struct ct_type_slot spare;
	uint8_t next[CT_TYPE_SETS]; /* the way to overwrite */
};

struct ct_py_types *ct_py_types__new(const struct ct_python *python, struct ct_py_present *present)
{
	struct ct_py_types *types = calloc(1, sizeof(*types));

	if (!types)
		return NULL;
	types->python = python;
	types->present = present;
	types->epoch = 1;
	return types;
}

void ct_py_types__free(struct ct_py_types *types)
{
	free(types);
}

void ct_py_types__renew(struct ct_py_types *types)
{
	types->epoch++;
}

bool ct_py_types__points(const struct ct_py_types *types, ct_raddr_t address)
{
	return !(address & 7) && address >= CT_PY_LOWEST && address < CT_PY_HIGHEST &&
	       ct_maps__find(types->python->source.maps, address);
}

bool ct_py_types__counts(const struct ct_py_types *types, uint64_t word)
{
	uint32_t low = (uint32_t)word;

	switch (types->python->layout.refcount) {
	case CT_PY_COUNT:
		if (!word || word >= 1ull << 40)
			return false;
		break;
	case CT_PY_COUNT_32:
		if (!low || word >> 32)
			return false;
		break;
	case CT_PY_COUNT_FLAGS:
		if (!low || word >> 52 || ((word >> 32 & 0xffff) && low < 1u << 30))
			return false;
		break;
	}
	/* where programs lie below 4 GiB a pointer could be a count */
	return !ct_py_types__points(types, word);
}

/** Can @len bytes at @address be read without touching a page that the target has not? */
static bool ct_type_readable(const struct ct_py_types *types, ct_raddr_t address, size_t len)
{
	const struct ct_mapping *m;

	if (address < CT_PY_LOWEST || address >= CT_PY_HIGHEST)
		return false;
	m = ct_maps__find(types->python->source.maps, address);
	if (!m || !m->readable || m->shared || m->kind == CT_MAPPING_SPECIAL)
		return false;
	if (m->kind == CT_MAPPING_FILE && !m->writable)
		return true; /* nobody writes there: a page more of the file changes nothing */
	return ct_py_present__has(types->present, address) &&
	       ct_py_present__has(types->present, address + len - 1);
}

/** Length of the UTF-8 sequence at @text, 0 if it is none; at most @left bytes. */
static size_t ct_utf8_len(const uint8_t *text, size_t left)
{
	size_t len = text[0] < 0x80		? 1
		     : (text[0] & 0xe0) == 0xc0 ? 2
		     : (text[0] & 0xf0) == 0xe0 ? 3
		     : (text[0] & 0xf8) == 0xf0 ? 4
						: 0;

	if (len > left)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

/**
 * Read the type name at @address into @name (CT_PY_NAME_MAX + 1 bytes), cut at a character. A class
 * may have any name, control characters and broken UTF-8 too (ct_names escapes them); a static
 * type's is printable.
 */
static bool ct_type_name(const struct ct_py_types *types, ct_raddr_t address, bool any, char *name)
{
	size_t room = CT_PAGE_SIZE - (address & ~CT_PAGE_MASK), have = 0, at = 0;

	if (!ct_type_readable(types, address, 1))
		return false;
	have = room < CT_PY_NAME_MAX ? room : CT_PY_NAME_MAX;
	if (!ct_python__read(types->python, address, name, have))
		return false;
	if (!memchr(name, 0, have) && have < CT_PY_NAME_MAX &&
	    ct_type_readable(types, address + have, 1) &&
	    ct_python__read(types->python, address + have, name + have, CT_PY_NAME_MAX - have))
		have = CT_PY_NAME_MAX;
	name[have] = 0;
	while (name[at]) {
		size_t len = ct_utf8_len((const uint8_t *)name + at, have - at);

		if (!len && have == CT_PY_NAME_MAX && have - at < 4)
			name[at] = 0; /* cut inside of a character */
		else if (!any && (!len || (uint8_t)name[at] < ' ' || name[at] == 0x7f))
			return false;
		else
			at += len ? len : 1;
	}
	return any || at;
}

static const struct {
	const char *name;
	enum ct_py_kind kind;
} ct_kinds[] = {
	{ "set", CT_PY_IS_SET },
	{ "frozenset", CT_PY_IS_SET },
	{ "bytearray", CT_PY_IS_BYTEARRAY },
	{ "collections.deque", CT_PY_IS_DEQUE },
	{ "array.array", CT_PY_IS_ARRAY },
	{ "code", CT_PY_IS_CODE },
};

static uint64_t ct_word_of(const uint8_t *bytes, size_t offset)
{
	uint64_t word;

	memcpy(&word, bytes + offset, sizeof(word));
	return word;
}

/** What an object of this type owns elsewhere: by flag, or by the name of its base in C. */
static enum ct_py_kind ct_type_kind(const struct ct_py_types *types, uint64_t flags,
				    ct_raddr_t base, const char *own_name)
{
	char name[CT_PY_NAME_MAX + 1];
	uint8_t bytes[CT_TP_READ];

	if (flags & CT_PY_TYPE)
		return CT_PY_IS_TYPE;
	if (flags & CT_PY_LIST)
		return CT_PY_IS_LIST;
	if (flags & CT_PY_DICT)
		return CT_PY_IS_DICT;
	if (flags & CT_PY_UNICODE)
		return CT_PY_IS_STR;
	strcpy(name, own_name);
	for (int depth = 0; depth < CT_TYPE_BASES; depth++) {
		if (!(flags & CT_PY_HEAPTYPE) || !strcmp(name, "collections.deque") ||
		    !strcmp(name, "array.array"))
			for (size_t i = 0; i < CT_ARRAY_SIZE(ct_kinds); i++)
				if (!strcmp(name, ct_kinds[i].name))
					return ct_kinds[i].kind;
		if ((base & 7) || !ct_type_readable(types, base, CT_TP_READ) ||
		    !ct_python__read(types->python, base, bytes, sizeof(bytes)))
			break;
		flags = ct_word_of(bytes, CT_TP_FLAGS);
		base = ct_word_of(bytes, CT_TP_BASE);
		if (!ct_type_name(types, ct_word_of(bytes, CT_TP_NAME), true, name))
			break;
	}
	return CT_PY_OTHER;
}

static struct ct_type_slot *ct_type_slot(struct ct_py_types *types, ct_raddr_t address, int depth);

/** Fill in @type from the target. Return: whether there is a type at its address. */
static bool ct_type_read(struct ct_py_types *types, struct ct_py_type *type, int depth)
{
	const struct ct_python *python = types->python;
	char name[CT_PY_NAME_MAX + 1];
	uint64_t basicsize, itemsize, meta;
	uint8_t bytes[CT_TP_READ];
	uint64_t header;

	if (!ct_type_readable(types, type->address, CT_TP_READ) ||
	    !ct_maps__find(python->source.maps, type->address)->writable ||
	    !ct_python__read(python, type->address, bytes, sizeof(bytes)))
		return false;
	meta = ct_word_of(bytes, CT_PY_OB_TYPE);
	if (meta != python->type_type) {
		struct ct_type_slot *slot =
			depth < CT_TYPE_DEPTH ? ct_type_slot(types, meta, depth + 1) : NULL;

		if (!slot || !slot->valid || !(slot->type.flags & CT_PY_TYPE))
			return false;
	}
	basicsize = ct_word_of(bytes, CT_TP_BASICSIZE);
	itemsize = ct_word_of(bytes, CT_TP_ITEMSIZE);
	type->flags = ct_word_of(bytes, CT_TP_FLAGS);
	if (basicsize < 16 || basicsize >= CT_BASICSIZE_MAX || itemsize >= CT_ITEMSIZE_MAX ||
	    !ct_py_types__counts(types, ct_word_of(bytes, 0)) ||
	    !ct_type_name(types, ct_word_of(bytes, CT_TP_NAME), type->flags & CT_PY_HEAPTYPE, name))
		return false;
	type->basicsize = (uint32_t)basicsize;
	type->itemsize = (uint16_t)itemsize;
	type->maybe_bare = ct_word_of(bytes, CT_TP_IS_GC) != 0;
	header = type->flags & CT_PY_HAVE_GC ? python->layout.gc_head : 0u;
	header += type->flags & python->layout.preheader_flags ? 16u : 0u;
	type->header = (uint8_t)header;
	type->kind = (uint8_t)ct_type_kind(types, type->flags, ct_word_of(bytes, CT_TP_BASE), name);
	return true;
}

/** The slot to overwrite: no type, of which there are many, drives out one that is. */
static struct ct_type_slot *ct_type_victim(struct ct_py_types *types, size_t set, bool valid)
{
	struct ct_type_slot *ways = types->slots[set];
	size_t first = types->next[set]++ % CT_TYPE_WAYS;

	for (size_t i = 0; i < CT_TYPE_WAYS; i++) {
		struct ct_type_slot *slot = &ways[(first + i) % CT_TYPE_WAYS];

		if (slot->epoch != types->epoch || !slot->valid)
			return slot;
	}
	return valid ? &ways[first] : &types->spare;
}

/** The cache's answer for @address, filled if need be; NULL where no type can be. */
static struct ct_type_slot *ct_type_slot(struct ct_py_types *types, ct_raddr_t address, int depth)
{
	size_t set = (address * 0x9e3779b97f4a7c15ull >> 40) % CT_TYPE_SETS;
	struct ct_type_slot *ways = types->slots[set], fresh = { .type.address = address }, *slot;

	if ((address & 7) || address < CT_PY_LOWEST || address >= CT_PY_HIGHEST)
		return NULL;
	for (size_t way = 0; way < CT_TYPE_WAYS; way++)
		if (ways[way].type.address == address && ways[way].epoch == types->epoch)
			return &ways[way];
	fresh.valid = ct_type_read(types, &fresh.type, depth);
	fresh.epoch = types->epoch;
	slot = ct_type_victim(types, set, fresh.valid);
	*slot = fresh;
	return slot;
}

struct ct_py_type *ct_py_types__find(struct ct_py_types *types, ct_raddr_t address)
{
	struct ct_type_slot *slot = ct_type_slot(types, address, 0);

	return slot && slot->valid ? &slot->type : NULL;
}

uint32_t ct_py_types__id(struct ct_py_types *types, struct ct_py_type *type)
{
	char name[CT_PY_NAME_MAX + 1];

	if (!type->id &&
	    ct_type_name(types, ct_python__word(types->python, type->address + CT_TP_NAME),
			 type->flags & CT_PY_HEAPTYPE, name))
		type->id = ct_names__id(types->python->source.types, ct_reader_cpython.name, name);
	return type->id;
}

uint32_t ct_py_types__state_id(struct ct_py_types *types)
{
	if (!types->state_id)
		types->state_id = ct_names__id(types->python->source.types, ct_reader_cpython.name,
					       "[interpreter state]");
	return types->state_id;
}
