/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * objects.c - an object's start within its block. Before it may stand a GC header, and from 3.11 on
 * two words for its dictionary and weak references; which, its type's flags say. So each of the
 * three possible starts is tried: the word there must be a plausible count, the next a type, and
 * the flags of that type must demand just this start. The first that also fits is the one; of
 * 3,155,765 objects that was right for all.
 */
#include "heap/cpython/objects.h"

#include <string.h>

#define CT_DEBUG_PREFIX	  16u /* PYTHONMALLOC=debug: size (big-endian), api letter, 7 marks */
#define CT_STR_HEADER_MIN 40u
#define CT_SLACK	  24u /* more than a block has beyond what it was made for */
#define CT_NUMBERS_HEAD	  8u  /* of 2.7's blocks of ints and floats */
#define CT_NUMBER_BYTES	  24u
#define CT_NUMBERS	  41u

void ct_py_place__set(struct ct_place *place, enum ct_cell cell, ct_raddr_t address,
		      ct_raddr_t start, uint64_t bytes)
{
	place->cell = cell;
	place->object = start;
	place->offset = (uint32_t)(address - start);
	place->size = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}

void ct_py_head__full(struct ct_py_head *head, const uint8_t *bytes, size_t len)
{
	head->count = len < CT_PY_HEAD_BYTES ? (uint32_t)(len / 8) : CT_PY_HEAD_WORDS;
	memcpy(head->words, bytes, head->count * 8u);
	head->have = (1u << head->count) - 1;
	head->failed = false;
}

void ct_py_head__begin(struct ct_py_head *head, const struct ct_py_block *block,
		       const struct ct_bytes *before)
{
	head->have = 0;
	head->failed = false;
	head->count =
		block->bytes < CT_PY_HEAD_BYTES ? (uint32_t)(block->bytes / 8) : CT_PY_HEAD_WORDS;
	if (!before || before->len < 8)
		return;
	for (uint32_t i = 0; i < head->count; i++) {
		uint64_t at = block->start + i * 8u - before->address; /* below: very big */

		if (at > before->len - 8)
			continue;
		memcpy(&head->words[i], before->data + at, 8);
		head->have |= 1u << i;
	}
}

/**
 * Is it the first time that the page of @at is asked for, and is it one of a pool of several? Then
 * the few words wanted are read alone, since most pages are asked for once: at the first write of
 * one child. That takes half the time; the second time the page is read and kept.
 */
static bool ct_is_new(struct ct_py_heap *heap, const struct ct_py_block *block, ct_raddr_t at)
{
	uint32_t page = (uint32_t)(at / CT_PAGE_SIZE) | 1u << 31, *seen;

	if (block->bytes > CT_POOL_REQUEST_MAX || !heap->pools ||
	    ct_py_pools__bytes(heap->pools) <= CT_PAGE_SIZE)
		return false;
	seen = &heap->seen[page % CT_PY_SEEN];
	if (*seen == page)
		return false;
	*seen = page;
	return true;
}

/** Read words @from to @to of the block, all in one page, into those of @head that are missing. */
static bool ct_head_piece(struct ct_py_heap *heap, const struct ct_py_block *block,
			  struct ct_py_head *head, uint32_t from, uint32_t to)
{
	struct ct_remote *memory = heap->python.source.memory;
	ct_raddr_t at = block->start + from * 8u;
	uint64_t words[CT_PY_HEAD_WORDS];
	size_t len = (to - from) * 8u;
	const uint8_t *page;
	uint8_t touched;

	if (!ct_py_present__has(heap->present, at)) {
		head->failed = !ct_remote__present(memory, at, 1, &touched);
		return false;
	}
	head->failed = true;
	if (ct_is_new(heap, block, at)) {
		if (ct_remote__read(memory, at, words, len) != (ssize_t)len)
			return false;
	} else {
		page = ct_remote__page(memory, at);
		if (!page)
			return false;
		memcpy(words, page + (at & ~CT_PAGE_MASK), len);
	}
	head->failed = false;
	for (uint32_t i = from; i < to; i++)
		if (!(head->have >> i & 1))
			head->words[i] = words[i - from];
	return true;
}

/** Read the words of @head that are missing. */
static void ct_head_load(struct ct_py_heap *heap, const struct ct_py_block *block,
			 struct ct_py_head *head)
{
	uint64_t room = (CT_PAGE_SIZE - (block->start & ~CT_PAGE_MASK)) / 8;
	uint32_t first = room < head->count ? (uint32_t)room : head->count;

	if (!ct_head_piece(heap, block, head, 0, first))
		head->count = 0;
	else if (first < head->count && !ct_head_piece(heap, block, head, first, head->count))
		head->count = first;
	head->have = (1u << head->count) - 1;
}

/** Word @i of the block into @word. False: it has not so many, or can't be read. */
static bool ct_head_word(struct ct_py_heap *heap, const struct ct_py_block *block,
			 struct ct_py_head *head, uint32_t i, uint64_t *word)
{
	if (i < head->count && !(head->have >> i & 1))
		ct_head_load(heap, block, head);
	if (i >= head->count)
		return false;
	*word = head->words[i];
	return true;
}

static bool ct_is_mark(uint64_t word)
{
	uint64_t marks = word >> 8;
	uint8_t api = (uint8_t)word;

	/* 0xFD from 3.8 on, 0xFB before; 'o', 'm', 'r': which of the three allocators */
	return (marks == 0xfdfdfdfdfdfdfdull || marks == 0xfbfbfbfbfbfbfbull) &&
	       (api == 'o' || api == 'm' || api == 'r');
}

/** Bytes of the debugging allocator's prefixes; @room becomes what was asked of it. */
static uint32_t ct_debug_prefix(struct ct_py_heap *heap, const struct ct_py_block *block,
				struct ct_py_head *head, uint64_t *room)
{
	uint32_t prefix = 0;
	uint64_t size, mark;

	*room = block->bytes;
	while (prefix < 2 * CT_DEBUG_PREFIX &&
	       ct_head_word(heap, block, head, prefix / 8 + 1, &mark) && ct_is_mark(mark) &&
	       ct_head_word(heap, block, head, prefix / 8, &size)) {
		size = __builtin_bswap64(size);
		if (*room < CT_DEBUG_PREFIX || size > *room - CT_DEBUG_PREFIX)
			break;
		*room = size;
		prefix += CT_DEBUG_PREFIX;
	}
	return prefix;
}

/** A str must have a kind, and its characters must fit (PyASCIIObject.state). */
static bool ct_str_fits(const struct ct_py_type *type, const struct ct_py_layout *layout,
			const uint64_t *words, uint32_t count, uint64_t room)
{
	uint64_t length, header, state;

	if (count <= layout->str_state / 8u)
		return false;
	length = words[2];
	state = words[layout->str_state / 8u] >> layout->str_state % 8u * 8;
	header = state >> 6 & 1 ? layout->str_ascii_data : layout->str_compact_data;
	switch (state >> 2 & 7) {
	case 0:
	case 1:
	case 2:
	case 4:
		break;
	default:
		return false;
	}
	if (!(state >> 5 & 1))
		return type->basicsize <= room + 16; /* the characters are elsewhere */
	return length < room + 8 && header + (length + 1) * (state >> 2 & 7) <= room + 8;
}

bool ct_py_object__fits(const struct ct_python *python, const struct ct_py_type *type,
			const uint64_t *words, uint32_t count, uint64_t room)
{
	if (room < 16)
		return false;
	/* a short str has less than tp_basicsize, which is that of the longest kind */
	if (type->flags & CT_PY_UNICODE && python->hexversion >= 0x03000000 &&
	    type->basicsize >= CT_STR_HEADER_MIN)
		return ct_str_fits(type, &python->layout, words, count, room);
	/* a few types ask for less than tp_basicsize: datetime.time without a time zone */
	if (type->basicsize > room + 16)
		return false;
	if (type->flags & CT_PY_TUPLE)
		return count > 2 && words[2] <= room && type->basicsize + 8 * words[2] <= room;
	return true;
}

/** May an object of @type stand @header bytes behind the start of what was allocated? */
static bool ct_header_is(const struct ct_python *python, const struct ct_py_type *type,
			 uint32_t header)
{
	uint32_t gc = type->flags & CT_PY_HAVE_GC ? python->layout.gc_head : 0;

	if (header == type->header || (type->maybe_bare && header + gc == type->header))
		return true;
	/* two lengths of GC heads were built of 3.6 and 3.7: bpo-27987 */
	return python->layout.version <= 0x0307 && gc && (header == 24 || header == 32);
}

/** Is there an object @header bytes behind the prefix? */
static bool ct_object_try(struct ct_py_heap *heap, const struct ct_py_block *block,
			  struct ct_py_head *head, uint32_t header, struct ct_py_found *found)
{
	uint32_t first = (found->prefix + header) / 8;
	uint64_t count, word, unused;
	struct ct_py_type *type;

	if (found->room < header + 16 || !ct_head_word(heap, block, head, first + 1, &word) ||
	    !ct_head_word(heap, block, head, first, &count))
		return false;
	if (count && !ct_py_types__counts(heap->types, count))
		return false;
	type = ct_py_types__find(heap->types, word);
	if (!type || !ct_header_is(&heap->python, type, header))
		return false;
	if (type->flags & (CT_PY_TUPLE | CT_PY_UNICODE)) /* their fit is seen from more words */
		ct_head_word(heap, block, head, first + 4, &unused);
	return ct_py_object__fits(&heap->python, type, head->words + first,
				  head->count > first ? head->count - first : 0,
				  found->room - header);
}

/**
 * A count of 0 is that of an object in its type's list of free ones, if its GC header says that the
 * collector does not know it, and its block is just as big as it needs. A buffer that was never
 * written since can still hold what an object left there; but the first word of most buffers is
 * written, and is not 0. In big blocks (frames were there, and deques are) that is no proof.
 */
static bool ct_is_dead(struct ct_py_heap *heap, const struct ct_py_block *block,
		       struct ct_py_head *head, const struct ct_py_found *found, uint32_t header)
{
	const struct ct_py_layout *layout = &heap->python.layout;
	uint32_t first = (found->prefix + header) / 8, gc = layout->gc_head / 8u;
	uint64_t refs, type_word = 0, items = 0, bytes;
	struct ct_py_type *type;

	if (header != layout->gc_head || block->bytes > CT_POOL_REQUEST_MAX ||
	    !ct_head_word(heap, block, head,
			  layout->gc_refs == CT_PY_NONE ? first - gc
							: first - gc + layout->gc_refs / 8,
			  &refs) ||
	    !ct_head_word(heap, block, head, first + 1, &type_word))
		return false;
	if (layout->gc_refs == CT_PY_NONE ? refs != 0 /* next in its list */
					  : (int64_t)refs != -2 && (int64_t)refs >> 1 != -2)
		return false;
	type = ct_py_types__find(heap->types, type_word);
	if (!type || (type->itemsize && !ct_head_word(heap, block, head, first + 2, &items)))
		return false;
	if (items > block->bytes)
		return false;
	bytes = header + type->basicsize + items * type->itemsize;
	return bytes <= found->room && found->room - bytes < CT_SLACK;
}

bool ct_py_object__find(struct ct_py_heap *heap, const struct ct_py_block *block,
			struct ct_py_head *head, struct ct_py_found *found)
{
	static const uint8_t old[] = { 0, 24, 32 }, middle[] = { 0, 16 }, now[] = { 0, 16, 32 };
	uint32_t version = heap->python.layout.version, dead = UINT32_MAX;
	const uint8_t *headers = version <= 0x0307 ? old : version < 0x030b ? middle : now;
	uint32_t n = version > 0x0307 && version < 0x030b ? 2 : 3;

	*found = (struct ct_py_found){ 0 };
	found->prefix = ct_debug_prefix(heap, block, head, &found->room);
	for (uint32_t i = 0; i <= n; i++) {
		uint32_t at = i < n ? headers[i] : dead, word;

		if (at == UINT32_MAX || !ct_object_try(heap, block, head, at, found))
			continue;
		word = (found->prefix + at) / 8;
		if (!head->words[word] && i < n) {
			if (dead == UINT32_MAX && ct_is_dead(heap, block, head, found, at))
				dead = at;
			continue; /* taken only if no live one is there */
		}
		found->type = ct_py_types__find(heap->types, head->words[word + 1]);
		found->dead = !head->words[word];
		found->header = at;
		found->room -= at;
		return found->type;
	}
	return false;
}

/** The part of an object that @offset is, counted from its start: negative before it. */
static enum ct_cell ct_object_cell(const struct ct_py_known *known, int64_t offset)
{
	if (offset >= 16)
		return CT_CELL_PAYLOAD;
	if (offset >= 8)
		return CT_CELL_TYPE;
	if (offset >= 0)
		return CT_CELL_REFCOUNT;
	return offset >= -(int64_t)known->gc ? CT_CELL_GC_HEADER : CT_CELL_PREHEADER;
}

/**
 * 2.7 keeps ints and floats apart: a block of malloc's with a pointer to the next such block, and
 * 41 objects of 24 bytes. Of a free one the type word is a link to another. Is @block one of those
 * blocks? Fills @place then.
 */
static bool ct_number_locate(struct ct_py_heap *heap, const struct ct_py_block *block,
			     ct_raddr_t address, struct ct_place *place)
{
	uint64_t index = (address - block->start - CT_NUMBERS_HEAD) / CT_NUMBER_BYTES, word;
	ct_raddr_t object = block->start + CT_NUMBERS_HEAD + index * CT_NUMBER_BYTES;
	struct ct_py_type *type = NULL;
	uint8_t bytes[CT_NUMBERS_HEAD + CT_NUMBERS * CT_NUMBER_BYTES];

	if (heap->python.layout.version >= 0x0300 || block->bytes < sizeof(bytes) ||
	    block->bytes > sizeof(bytes) + 16 || !ct_py_present__has(heap->present, block->start) ||
	    !ct_py_present__has(heap->present, block->start + sizeof(bytes) - 1) ||
	    !ct_python__read(&heap->python, block->start, bytes, sizeof(bytes)))
		return false;
	if (address < block->start + CT_NUMBERS_HEAD) {
		index = 0;
		object = block->start;
	} else if (index < CT_NUMBERS) {
		memcpy(&word, bytes + (object - block->start) + 8, sizeof(word));
		type = ct_py_types__find(heap->types, word);
	}
	if (type && type->basicsize == CT_NUMBER_BYTES && !(type->flags & CT_PY_HEAPTYPE)) {
		ct_py_place__set(place, CT_CELL_PAYLOAD, address, object, CT_NUMBER_BYTES);
		if (place->offset < 16)
			place->cell = place->offset < 8 ? CT_CELL_REFCOUNT : CT_CELL_TYPE;
		place->type = ct_py_types__id(heap->types, type);
		return true;
	}
	/* a free one, or the links: only if the block has an int or float elsewhere */
	for (size_t i = 0; i < CT_NUMBERS; i++) {
		memcpy(&word, bytes + CT_NUMBERS_HEAD + i * CT_NUMBER_BYTES + 8, sizeof(word));
		type = ct_py_types__find(heap->types, word);
		if (!type || type->basicsize != CT_NUMBER_BYTES || type->flags & CT_PY_HEAPTYPE)
			continue;
		ct_py_place__set(place, CT_CELL_FREE, address, object, CT_NUMBER_BYTES);
		if (object == block->start || index >= CT_NUMBERS)
			ct_py_place__set(place, CT_CELL_ALLOCATOR, address, block->start,
					 block->bytes);
		return true;
	}
	return false;
}

/** What is in @block, from @before or the target; or what was there when it was last asked for. */
static const struct ct_py_known *ct_block_known(struct ct_py_heap *heap,
						const struct ct_py_block *block,
						const struct ct_bytes *before)
{
	struct ct_py_known *known =
		&heap->known[(block->start * 0x9e3779b97f4a7c15ull >> 40) % CT_PY_KNOWN];
	struct ct_py_found found;
	struct ct_py_head head;

	if (known->start == block->start && known->bytes == block->bytes &&
	    (!before || !before->len))
		return known;
	ct_py_head__begin(&head, block, before);
	*known = (struct ct_py_known){ .start = block->start, .bytes = block->bytes };
	known->object = ct_py_object__find(heap, block, &head, &found);
	known->room = found.room;
	known->prefix = (uint8_t)found.prefix;
	known->header = (uint8_t)found.header;
	known->dead = found.dead;
	known->failed = !known->object && head.failed;
	if (known->object && !known->dead) {
		known->gc = found.type->flags & CT_PY_HAVE_GC ? (uint8_t)heap->python.layout.gc_head
							      : 0;
		known->type = ct_py_types__id(heap->types, found.type);
	}
	return known;
}

void ct_py_object__locate(struct ct_py_heap *heap, const struct ct_py_block *block,
			  ct_raddr_t address, const struct ct_bytes *before, struct ct_place *place)
{
	const struct ct_py_known *known = ct_block_known(heap, block, before);
	ct_raddr_t object = block->start + known->prefix + known->header;

	if (known->failed)
		return; /* unknown */
	if (known->prefix && (address - block->start < known->prefix ||
			      (address >= object && address - object >= known->room))) {
		/* the debugging allocator's own bytes, on either side */
		ct_py_place__set(place, CT_CELL_ALLOCATOR, address, block->start, block->bytes);
	} else if (!known->object) {
		if (!known->prefix && ct_number_locate(heap, block, address, place))
			return;
		ct_py_place__set(place, CT_CELL_BUFFER, address, block->start, block->bytes);
		place->owner_unknown = true;
	} else if (known->dead) {
		ct_py_place__set(place, CT_CELL_FREE, address, block->start, block->bytes);
	} else {
		ct_py_place__set(place, ct_object_cell(known, (int64_t)(address - object)), address,
				 object, known->room);
		place->type = known->type;
	}
}
