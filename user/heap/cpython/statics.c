/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * statics.c - types, None, small ints, interned strings and code that were compiled into the
 * interpreter, and the types of extension modules. There is no allocator to ask where an object
 * starts: the words before the address are looked through, nearest first, for a count and a type
 * whose object reaches as far as the address. Where the file has symbols for data, start and
 * address must be in the same one.
 */
#include "heap/cpython/statics.h"

#include <string.h>

#define CT_STATIC_BACK	  CT_PAGE_SIZE /* at least so far back is looked, at most twice that */
#define CT_STATIC_WORDS	  6u	       /* of an object, to know its size */
#define CT_STATIC_WINDOW  (2 * CT_PAGE_SIZE + CT_STATIC_WORDS * 8)
#define CT_LONG_SUBCLASS  (1ull << 24) /* tp_flags */
#define CT_BYTES_SUBCLASS (1ull << 27)

/** The words around an address: [start, start + len). */
struct ct_static_window {
	ct_raddr_t start;
	size_t len;
	uint8_t bytes[CT_STATIC_WINDOW];
};

/** sizeof(PyTypeObject): a static type has no more, whatever tp_basicsize of type says. */
static uint64_t ct_static_type_bytes(uint32_t version)
{
	if (version < 0x0300)
		return 392;
	if (version < 0x0308)
		return 400;
	if (version == 0x0308)
		return 416;
	if (version < 0x030c)
		return 408;
	return version < 0x030f ? 416 : 424;
}

/** Read the page of @address, the one before and a bit of the one behind, as far as touched. */
static bool ct_window_read(struct ct_py_heap *heap, ct_raddr_t address,
			   const struct ct_bytes *before, struct ct_static_window *window)
{
	ct_raddr_t page = address & CT_PAGE_MASK, end = (address & ~7ull) + CT_STATIC_WORDS * 8;
	const struct ct_maps *maps = heap->python.source.maps;
	const struct ct_mapping *m = ct_maps__find(maps, page - CT_STATIC_BACK);
	const struct ct_mapping *own = ct_maps__find(maps, page);

	window->start = page;
	if (m && own && m->writable && m->module == own->module &&
	    ct_py_present__has(heap->present, page - CT_STATIC_BACK))
		window->start -= CT_STATIC_BACK;
	m = ct_maps__find(maps, end - 1);
	if (end > page + CT_PAGE_SIZE &&
	    (!m || !m->writable || !ct_py_present__has(heap->present, end - 1)))
		end = page + CT_PAGE_SIZE;
	window->len = end - window->start;
	if (!ct_python__read(&heap->python, window->start, window->bytes, window->len))
		return false;
	for (size_t i = 0; before && i < before->len; i++)
		if (before->address + i - window->start < window->len)
			window->bytes[before->address + i - window->start] = before->data[i];
	return true;
}

/** The bytes of an object of @type whose first words are @words; 0: it is none. */
static uint64_t ct_static_bytes(struct ct_py_heap *heap, const struct ct_py_type *type,
				const uint64_t *words, ct_raddr_t object)
{
	const struct ct_py_layout *layout = &heap->python.layout;
	uint64_t items = words[2], bytes = type->basicsize;

	if (type->flags & CT_PY_TYPE) /* its words are more than a count and a type: see there */
		return ct_py_types__find(heap->types, object)
			       ? ct_static_type_bytes(layout->version)
			       : 0;
	if (type->flags & CT_PY_UNICODE && layout->version >= 0x0300) {
		uint64_t state = words[layout->str_state / 8u] >> layout->str_state % 8u * 8;
		uint64_t header =
			state >> 6 & 1 ? layout->str_ascii_data : layout->str_compact_data;

		if (!(state >> 5 & 1))
			return 0; /* no static one is of that kind */
		bytes = header + (items + 1) * (state >> 2 & 7);
	} else if (type->flags & CT_LONG_SUBCLASS) {
		items = layout->version >= 0x030c ? items >> 3
			: (int64_t)items < 0	  ? -items
						  : items;
		bytes += items * type->itemsize + type->itemsize;
	} else if (type->itemsize) {
		bytes += items * type->itemsize;
	}
	if (items > CT_STATIC_WINDOW)
		return type->itemsize ? 0 : type->basicsize;
	return ct_py_object__fits(&heap->python, type, words, CT_STATIC_WORDS, bytes) ? bytes : 0;
}

/**
 * What the collector knows is allocated; a static object of such a type (the empty tuple) has a GC
 * header that is never used: all zero. Types are the exception. This keeps a number followed by a
 * pointer to a class (a static variable each) from being taken for an instance.
 */
static bool ct_static_may_be(const struct ct_py_heap *heap, const struct ct_static_window *window,
			     const struct ct_py_type *type, ct_raddr_t object)
{
	uint64_t head = heap->python.layout.gc_head, word;

	if (type->flags & CT_PY_HEAPTYPE)
		return false;
	if (!(type->flags & CT_PY_HAVE_GC) || type->flags & CT_PY_TYPE)
		return true;
	if (object - window->start < head)
		return false;
	for (uint64_t at = 8; at <= head; at += 8) {
		memcpy(&word, window->bytes + (object - at - window->start), sizeof(word));
		if (word)
			return false;
	}
	return true;
}

/** Do two addresses lie in the same symbol, as far as the file's symbols tell? */
static bool ct_same_symbol(struct ct_py_heap *heap, ct_raddr_t a, ct_raddr_t b)
{
	struct ct_heap_source *source = &heap->python.source;
	char name[128], other[128];
	bool has, other_has;

	if (!source->symbols)
		return true;
	has = ct_symbols__data(source->symbols, source->maps, a, name, sizeof(name));
	other_has = ct_symbols__data(source->symbols, source->maps, b, other, sizeof(other));
	return has == other_has && (!has || !strcmp(name, other));
}

/** The object around @address; a type is preferred to what its words could be taken for. */
static ct_raddr_t ct_static_find(struct ct_py_heap *heap, const struct ct_static_window *window,
				 ct_raddr_t address, uint64_t *bytes)
{
	ct_raddr_t found = 0;

	for (ct_raddr_t at = address & ~7ull; at >= window->start; at -= 8) {
		uint64_t words[CT_STATIC_WORDS] = { 0 }, size;
		size_t left = window->len - (at - window->start);
		struct ct_py_type *type;

		if (left < 24)
			continue;
		memcpy(words, window->bytes + (at - window->start),
		       left < sizeof(words) ? left : sizeof(words));
		/* what most words are not is asked first */
		if ((words[1] & 7) || words[1] < CT_PY_LOWEST || words[1] >= CT_PY_HIGHEST ||
		    !ct_py_types__counts(heap->types, words[0]))
			continue;
		type = ct_py_types__find(heap->types, words[1]);
		if (!type || (found && !(type->flags & CT_PY_TYPE)) ||
		    !ct_static_may_be(heap, window, type, at))
			continue;
		size = ct_static_bytes(heap, type, words, at);
		if (address - at >= size || !ct_same_symbol(heap, at, address))
			continue;
		found = at;
		*bytes = size;
		type = ct_py_types__find(heap->types, words[1]);
		if (type && type->flags & CT_PY_TYPE)
			break;
	}
	return found;
}

/** The object right behind @address whose GC header that is in (tuples in _PyRuntime have one). */
static ct_raddr_t ct_static_header(struct ct_py_heap *heap, const struct ct_static_window *window,
				   ct_raddr_t address, uint64_t *bytes)
{
	ct_raddr_t end = (address & ~7ull) + heap->python.layout.gc_head;

	for (ct_raddr_t at = (address & ~7ull) + 8; at <= end; at += 8) {
		struct ct_py_type *type = NULL;
		uint64_t words[3];

		if (at + sizeof(words) > window->start + window->len)
			break;
		memcpy(words, window->bytes + (at - window->start), sizeof(words));
		if (ct_py_types__counts(heap->types, words[0]))
			type = ct_py_types__find(heap->types, words[1]);
		if (!type)
			continue;
		if (!(type->flags & CT_PY_HAVE_GC) || type->flags & CT_PY_TYPE ||
		    !ct_static_may_be(heap, window, type, at) || !ct_same_symbol(heap, at, address))
			break;
		*bytes = type->basicsize + type->itemsize * (words[2] & 0xffff);
		return at;
	}
	return 0;
}

bool ct_py_static__locate(struct ct_py_heap *heap, const struct ct_mapping *mapping,
			  ct_raddr_t address, const struct ct_bytes *before, struct ct_place *place)
{
	const struct ct_python *python = &heap->python;
	struct ct_static_window window;
	struct ct_py_type *type;
	ct_raddr_t object = 0;
	uint64_t bytes = 0, word;

	if (!mapping->writable || mapping->shared)
		return false;
	if (ct_window_read(heap, address, before, &window))
		object = ct_static_find(heap, &window, address, &bytes);
	else
		window.len = 0;
	if (!object && window.len)
		object = ct_static_header(heap, &window, address, &bytes);
	if (object) {
		memcpy(&word, window.bytes + (object + 8 - window.start), sizeof(word));
		type = ct_py_types__find(heap->types, word);
		ct_py_place__set(place, CT_CELL_STATIC, address, object, bytes);
		place->type = type ? ct_py_types__id(heap->types, type) : 0;
		place->field = address < object	     ? CT_CELL_GC_HEADER
			       : place->offset >= 16 ? CT_CELL_PAYLOAD
			       : place->offset >= 8  ? CT_CELL_TYPE
						     : CT_CELL_REFCOUNT;
		return true;
	}
	if (!python->module || python->source.maps->list[mapping->module].start !=
				       python->source.maps->list[python->module->module].start)
		return false;
	place->cell = CT_CELL_DATA;
	place->interpreter = true;
	place->type =
		ct_names__id(python->source.types, ct_reader_cpython.name, "[interpreter state]");
	return true;
}
