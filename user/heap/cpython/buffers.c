/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * buffers.c - a block that holds no object belongs to an object that points there: a list to its
 * items, a dict to its table. Nothing in the block says so, so all objects are looked at once, with
 * all blocks asked for at hand. Only pages in memory are read, and pools in pieces of 256 KiB.
 */
#include "heap/cpython/buffers.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define CT_WINDOW	 (CT_PRESENT_GROUP * CT_PAGE_SIZE)
#define CT_DEQUE_LEFT	 24u  /* dequeobject: the first block of a chain */
#define CT_DEQUE_RIGHT	 32u  /* the last one: its link is not set */
#define CT_DEQUE_NEXT	 520u /* 3.x: behind 64 items and the link back */
#define CT_DEQUE_BLOCKS	 65536u
#define CT_CODE_BYTES	 256u /* more than sizeof(PyCodeObject) up to 3.10 */
#define CT_TYPE_DOC	 176u /* tp_doc of a class: a copy of its own */
#define CT_ARRAY_ITEMS	 24u  /* arrayobject.ob_item */
#define CT_STR_UTF8	 8u   /* behind an ASCII one's head: length and pointer of its UTF-8 */
#define CT_STR2_DATA	 24u  /* 2.7's unicode.str */
#define CT_MANAGED_DICT	 (1ull << 4) /* tp_flags */
#define CT_VALUES_3_11	 (-32)	     /* from the object: pointer to its attribute values */
#define CT_VALUES_3_12	 (-24)	     /* the same, low bit set; or its dictionary */
#define CT_BLOOM_BITS	 65536u
#define CT_CHUNKS_A_LOOK 1024u /* between two looks at the clock */

/** A block asked for, maybe more than once. */
struct ct_wanted {
	ct_raddr_t start, end;
	ct_raddr_t owner;
	uint32_t type; /* of the owner; 0: not found yet */
};

struct ct_owner_scan {
	struct ct_py_heap *heap;
	struct ct_wanted *wanted; /* sorted */
	size_t count, found;
	ct_raddr_t lowest, highest;
	uint64_t bloom[CT_BLOOM_BITS / 64]; /* of the 4 KiB that the blocks lie in */
	uint64_t deadline_ns;
	ct_raddr_t at; /* the window looked at */
	uint8_t window[CT_WINDOW];
};

/** An object met: its bytes from @at on if they were read already. */
struct ct_owner {
	ct_raddr_t object;
	const struct ct_py_type *type;
	const uint8_t *bytes; /* of the block, from @start on; NULL */
	ct_raddr_t start;
	uint64_t len;
};

static size_t ct_bloom_bit(ct_raddr_t address)
{
	return (address / CT_PAGE_SIZE * 0x9e3779b97f4a7c15ull >> 40) % CT_BLOOM_BITS;
}

/** The block asked for that @pointer points into, or NULL. */
static struct ct_wanted *ct_wanted_at(struct ct_owner_scan *scan, ct_raddr_t pointer)
{
	size_t low = 0, high = scan->count, bit = ct_bloom_bit(pointer);

	if (pointer < scan->lowest || pointer >= scan->highest ||
	    !(scan->bloom[bit / 64] >> bit % 64 & 1))
		return NULL;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (scan->wanted[middle].start <= pointer)
			low = middle;
		else
			high = middle;
	}
	return pointer >= scan->wanted[low].start && pointer < scan->wanted[low].end
		       ? &scan->wanted[low]
		       : NULL;
}

/** @owner owns what @pointer points to; that is shown by the name of the type at @as. */
static void ct_owner_claim(struct ct_owner_scan *scan, const struct ct_owner *owner,
			   ct_raddr_t pointer, ct_raddr_t as)
{
	struct ct_wanted *wanted = ct_wanted_at(scan, pointer);
	struct ct_py_type *type;

	if (!wanted || wanted->type)
		return;
	/* the object's own block is none of its buffers */
	if (owner->object >= wanted->start && owner->object < wanted->end)
		return;
	type = ct_py_types__find(scan->heap->types, as);
	if (!type)
		return;
	wanted->type = ct_py_types__id(scan->heap->types, type);
	wanted->owner = owner->object;
	scan->found += wanted->type != 0;
}

/** The word @offset bytes from the start of @owner; 0 if it can't be read. */
static uint64_t ct_owner_word(struct ct_owner_scan *scan, const struct ct_owner *owner,
			      int64_t offset)
{
	ct_raddr_t at = owner->object + (uint64_t)offset;
	uint64_t word;

	if (owner->bytes && at - owner->start < owner->len &&
	    owner->len - (at - owner->start) >= 8) {
		memcpy(&word, owner->bytes + (at - owner->start), sizeof(word));
		return word;
	}
	return ct_py_present__has(scan->heap->present, at)
		       ? ct_python__word(&scan->heap->python, at)
		       : 0;
}

static void ct_owner_deque(struct ct_owner_scan *scan, const struct ct_owner *owner)
{
	const struct ct_owner chain = { .object = 0 };
	ct_raddr_t block = ct_owner_word(scan, owner, CT_DEQUE_LEFT);
	ct_raddr_t last = ct_owner_word(scan, owner, CT_DEQUE_RIGHT);

	if (scan->heap->python.layout.version < 0x0300)
		return;
	for (unsigned int i = 0; i < CT_DEQUE_BLOCKS && block; i++) {
		ct_owner_claim(scan, owner, block, owner->type->address);
		if (block == last)
			break;
		block = ct_owner_word(scan, &chain, (int64_t)(block + CT_DEQUE_NEXT));
	}
}

/** The attribute values of an instance, where they stand apart (3.11 and 3.12). */
static void ct_owner_values(struct ct_owner_scan *scan, const struct ct_owner *owner)
{
	uint32_t version = scan->heap->python.layout.version;
	uint64_t word = 0;

	if (version == 0x030b)
		word = ct_owner_word(scan, owner, CT_VALUES_3_11);
	else if (version == 0x030c)
		word = ct_owner_word(scan, owner, CT_VALUES_3_12);
	if (version == 0x030b || word & 1)
		ct_owner_claim(scan, owner, word & ~1ull, owner->type->address);
}

static void ct_owner_field(struct ct_owner_scan *scan, const struct ct_owner *owner,
			   uint16_t offset)
{
	if (offset != CT_PY_NONE)
		ct_owner_claim(scan, owner, ct_owner_word(scan, owner, offset),
			       owner->type->address);
}

/** The characters of a str that is not compact, and the UTF-8 that one keeps. */
static void ct_owner_str(struct ct_owner_scan *scan, const struct ct_owner *owner)
{
	const struct ct_py_layout *layout = &scan->heap->python.layout;
	uint64_t state;

	if (layout->version < 0x0300) {
		ct_owner_field(scan, owner, CT_STR2_DATA);
		return;
	}
	state = ct_owner_word(scan, owner, layout->str_state & ~7u) >> layout->str_state % 8u * 8;
	if (!(state >> 5 & 1)) /* not compact */
		ct_owner_field(scan, owner, layout->str_compact_data);
	if ((state >> 5 & 3) != 3) /* not ASCII, which is its own UTF-8 */
		ct_owner_field(scan, owner, layout->str_ascii_data + CT_STR_UTF8);
}

/** Up to 3.10 a code object keeps the frame of its last call (co_zombieframe), a dead object. */
static void ct_owner_code(struct ct_owner_scan *scan, const struct ct_owner *owner)
{
	uint32_t bytes =
		owner->type->basicsize < CT_CODE_BYTES ? owner->type->basicsize : CT_CODE_BYTES;

	for (uint16_t at = 16; at < bytes && scan->heap->python.layout.version < 0x030b; at += 8)
		ct_owner_field(scan, owner, at);
}

/** Claim what @owner owns, by its type. */
static void ct_owner_look(struct ct_owner_scan *scan, const struct ct_owner *owner)
{
	const struct ct_py_layout *layout = &scan->heap->python.layout;

	switch ((enum ct_py_kind)owner->type->kind) {
	case CT_PY_IS_LIST:
		ct_owner_field(scan, owner, layout->list_items);
		break;
	case CT_PY_IS_DICT:
		/* with values of its own its keys are shared: those are the class's */
		if (layout->dict_values == CT_PY_NONE ||
		    !ct_owner_word(scan, owner, layout->dict_values))
			ct_owner_field(scan, owner, layout->dict_keys);
		ct_owner_field(scan, owner, layout->dict_values);
		break;
	case CT_PY_IS_SET:
		ct_owner_field(scan, owner, layout->set_table);
		break;
	case CT_PY_IS_BYTEARRAY:
		ct_owner_field(scan, owner, layout->bytearray_bytes);
		break;
	case CT_PY_IS_TYPE:
		/* a table that all instances' dictionaries share: the class's, by its name */
		if (layout->type_cached_keys != CT_PY_NONE)
			ct_owner_claim(scan, owner,
				       ct_owner_word(scan, owner, layout->type_cached_keys),
				       owner->object);
		ct_owner_field(scan, owner, CT_TYPE_DOC);
		break;
	case CT_PY_IS_DEQUE:
		ct_owner_deque(scan, owner);
		break;
	case CT_PY_IS_ARRAY:
		ct_owner_field(scan, owner, CT_ARRAY_ITEMS);
		break;
	case CT_PY_IS_CODE:
		ct_owner_code(scan, owner);
		break;
	case CT_PY_IS_STR:
		ct_owner_str(scan, owner);
		break;
	case CT_PY_OTHER:
		break;
	}
	if (owner->type->flags & CT_MANAGED_DICT)
		ct_owner_values(scan, owner);
}

static bool ct_owns_anything(const struct ct_py_type *type)
{
	return type->kind != CT_PY_OTHER || type->flags & CT_MANAGED_DICT;
}

/** Is at the start of @bytes an object of a type that owns nothing elsewhere? Most blocks are. */
static bool ct_is_plain(struct ct_owner_scan *scan, const uint8_t *bytes)
{
	const struct ct_py_type *type;
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	if (!ct_py_types__counts(scan->heap->types, word))
		return false;
	memcpy(&word, bytes + CT_PY_OB_TYPE, sizeof(word));
	type = ct_py_types__find(scan->heap->types, word);
	return type && !ct_owns_anything(type);
}

/** Look at what is in @block, of which @bytes are known if not NULL. */
static void ct_scan_block(struct ct_owner_scan *scan, const struct ct_py_block *block,
			  const uint8_t *bytes)
{
	struct ct_py_heap *heap = scan->heap;
	struct ct_py_head head;
	struct ct_py_found found;
	struct ct_owner owner;
	struct ct_py_type type;

	if (bytes && block->bytes >= 16 && ct_is_plain(scan, bytes))
		return;
	if (bytes)
		ct_py_head__full(&head, bytes, block->bytes);
	else
		ct_py_head__begin(&head, block, NULL);
	if (!ct_py_object__find(heap, block, &head, &found) || found.dead ||
	    !ct_owns_anything(found.type))
		return;
	type = *found.type; /* other types will be asked for */
	owner = (struct ct_owner){
		.object = block->start + found.prefix + found.header,
		.type = &type,
		.bytes = bytes,
		.start = block->start,
		.len = block->bytes,
	};
	ct_owner_look(scan, &owner);
}

static void ct_scan_pool(struct ct_owner_scan *scan, const struct ct_py_pool *pool,
			 const uint8_t *bytes)
{
	for (uint32_t i = 0; pool->used && i < pool->carved; i++) {
		uint32_t offset = CT_POOL_HEAD + i * pool->block_bytes;
		struct ct_py_block block = { pool->base + offset, pool->block_bytes };

		if (!ct_py_pool_is_free(pool, i))
			ct_scan_block(scan, &block, bytes + offset);
	}
}

/** Read the pages of the window at @base that are in memory; the others become zeroes. */
static bool ct_scan_read(struct ct_owner_scan *scan, ct_raddr_t base)
{
	uint64_t bits = ct_py_present__group(scan->heap->present, base);
	struct ct_remote *memory = scan->heap->python.source.memory;
	unsigned int page = 0, end;

	if (!bits)
		return false;
	if (~bits)
		memset(scan->window, 0, sizeof(scan->window));
	for (; page < CT_PRESENT_GROUP; page = end) {
		for (end = page; end < CT_PRESENT_GROUP && bits >> end & 1; end++)
			;
		if (end == page) {
			end++;
			continue;
		}
		if (ct_remote__read(memory, base + page * CT_PAGE_SIZE,
				    scan->window + page * CT_PAGE_SIZE,
				    (end - page) * CT_PAGE_SIZE) <= 0)
			memset(scan->window + page * CT_PAGE_SIZE, 0, (end - page) * CT_PAGE_SIZE);
	}
	return true;
}

static bool ct_scan_over(const struct ct_owner_scan *scan)
{
	return scan->found == scan->count || ct_now_ns() >= scan->deadline_ns;
}

/** All pools of one mapping whose window begins in @low .. @high. Return: false when there is no
 *  more to do. */
static bool ct_scan_mapping(struct ct_owner_scan *scan, const struct ct_mapping *m, ct_raddr_t low,
			    ct_raddr_t high)
{
	uint32_t bytes = ct_py_pools__bytes(scan->heap->pools);
	struct ct_py_pool pool;

	for (ct_raddr_t base = m->start & ~(CT_WINDOW - 1); base < m->end; base += CT_WINDOW) {
		if (base < low || base >= high)
			continue;
		scan->at = base;
		if (ct_scan_over(scan))
			return false;
		if (!ct_scan_read(scan, base))
			continue;
		for (uint32_t at = 0; at < CT_WINDOW; at += bytes)
			if (base + at >= m->start && base + at + bytes <= m->end &&
			    ct_py_pools__decode(scan->heap->pools, base + at, scan->window + at,
						bytes, &pool))
				ct_scan_pool(scan, &pool, scan->window + at);
	}
	return true;
}

static bool ct_scan_pools(struct ct_owner_scan *scan, ct_raddr_t low, ct_raddr_t high)
{
	const struct ct_maps *maps = scan->heap->python.source.maps;

	if (!ct_py_pools__bytes(scan->heap->pools))
		return true;
	for (size_t i = 0; i < maps->count; i++) {
		const struct ct_mapping *m = &maps->list[i];

		if ((m->kind == CT_MAPPING_ANON || m->kind == CT_MAPPING_HEAP ||
		     m->kind == CT_MAPPING_BSS) &&
		    m->writable && !m->shared && !ct_scan_mapping(scan, m, low, high))
			return false;
	}
	return true;
}

static bool ct_scan_chunks(struct ct_owner_scan *scan)
{
	struct ct_chunk chunk = { 0 };

	scan->at = UINT64_MAX;
	for (uint64_t i = 1; scan->heap->glibc && ct_glibc__next(scan->heap->glibc, &chunk); i++) {
		struct ct_py_block block = { chunk.user, chunk.size };

		if (i % CT_CHUNKS_A_LOOK == 0 && ct_scan_over(scan))
			return false;
		if (chunk.in_use && ct_py_present__has(scan->heap->present, chunk.user))
			ct_scan_block(scan, &block, NULL);
	}
	return true;
}

/** All of the heap once, beginning where the last one ran out of time. */
static void ct_scan_all(struct ct_owner_scan *scan)
{
	ct_raddr_t from = scan->heap->owners_from;
	bool whole = ct_scan_pools(scan, from, UINT64_MAX) && ct_scan_chunks(scan) &&
		     ct_scan_pools(scan, 0, from);

	scan->heap->owners_from = whole || scan->found == scan->count ? 0 : scan->at;
}

static int ct_wanted_compare(const void *a, const void *b)
{
	const struct ct_wanted *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/** The bytes of the block that starts at @address: of a pool, or of a chunk. 0: there is none. */
static uint64_t ct_block_bytes(struct ct_py_heap *heap, ct_raddr_t address)
{
	const struct ct_mapping *m = ct_maps__find(heap->python.source.maps, address);
	const struct ct_py_pool *pool = NULL;
	struct ct_chunk chunk;

	if (m && m->kind != CT_MAPPING_FILE)
		pool = ct_py_pools__find(heap->pools, m, address);
	if (pool)
		return address - pool->base >= CT_POOL_HEAD ? pool->block_bytes : 0;
	if (heap->glibc && ct_glibc__chunk(heap->glibc, address, &chunk) && chunk.user == address)
		return chunk.size;
	return 0;
}

static bool ct_scan_begin(struct ct_owner_scan *scan, const struct ct_owner_query *queries,
			  size_t count)
{
	scan->wanted = calloc(count, sizeof(*scan->wanted));
	if (!scan->wanted)
		return false;
	for (size_t i = 0; i < count; i++)
		scan->wanted[i].start = queries[i].address;
	qsort(scan->wanted, count, sizeof(*scan->wanted), ct_wanted_compare);
	for (size_t i = 0; i < count; i++) {
		ct_raddr_t start = scan->wanted[i].start;
		uint64_t bytes = 0;

		if (!i || start != scan->wanted[i - 1].start)
			bytes = ct_block_bytes(scan->heap, start);
		scan->wanted[i].end = start + bytes; /* an empty one is found by nothing */
	}
	for (size_t i = 0; i < count; i++)
		if (scan->wanted[i].end > scan->wanted[i].start)
			scan->wanted[scan->count++] = scan->wanted[i];
	if (!scan->count)
		return false;
	scan->lowest = scan->wanted[0].start;
	scan->highest = scan->wanted[scan->count - 1].end;
	for (size_t i = 0; i < scan->count; i++) {
		/* pointers are to the start, or a few words behind it */
		size_t first = ct_bloom_bit(scan->wanted[i].start);
		size_t next = ct_bloom_bit(scan->wanted[i].start + CT_PAGE_SIZE);

		scan->bloom[first / 64] |= 1ull << first % 64;
		scan->bloom[next / 64] |= 1ull << next % 64;
	}
	return true;
}

size_t ct_py_buffers__owners(struct ct_py_heap *heap, struct ct_owner_query *queries, size_t count,
			     uint64_t budget_ns)
{
	struct ct_owner_scan *scan = count ? calloc(1, sizeof(*scan)) : NULL;
	size_t found = 0;

	if (!scan)
		return 0;
	scan->heap = heap;
	scan->deadline_ns = ct_now_ns() + budget_ns;
	if (ct_scan_begin(scan, queries, count))
		ct_scan_all(scan);
	for (size_t i = 0; i < count; i++) {
		struct ct_wanted *wanted = ct_wanted_at(scan, queries[i].address);

		queries[i].object = wanted ? wanted->owner : 0;
		queries[i].type = wanted ? wanted->type : 0;
		found += queries[i].type != 0;
	}
	free(scan->wanted);
	free(scan);
	return found;
}
