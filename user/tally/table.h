/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * table.h - a hash table cut into many small segments that grow one at a time and by half: there is
 * no moment at which everything is hashed anew, and never more than 2 slots a key. Private to
 * user/tally; pages.c keeps regions and pairs in it.
 *
 * A slot begins with a word whose bits under ct_table_kind.key_mask are the key, never 0; where
 * slots are tagged, a 32-bit tag that belongs to the key follows.
 */
#ifndef CT_TALLY_TABLE_H
#define CT_TALLY_TABLE_H

#include <stdbool.h>

#include "base/types.h"

struct ct_segment {
	char *slots;
	uint32_t capacity, count;
};

struct ct_table {
	struct ct_segment *segments;
	uint64_t seed; /* the target chooses its addresses, it must not choose our collisions */
	size_t bytes;  /* held, what malloc adds included */
};

/** Constant for a table; passed with every call so that the compiler folds it in. */
struct ct_table_kind {
	uint64_t key_mask;
	uint32_t slot_bytes;
	uint32_t segment_bits;
	uint32_t near_shift; /* keys that differ in the 2 bits above this lie side by side */
	bool tagged;
};

/** What malloc adds to a block. */
#define CT_MALLOC_BYTES 16

int ct_table__init(struct ct_table *table, const struct ct_table_kind *kind, uint64_t seed);
void ct_table__clear(struct ct_table *table, const struct ct_table_kind *kind);
void ct_table__free(struct ct_table *table, const struct ct_table_kind *kind);
/** ct_table__grow - more room in the segment of @hash. False: out of memory. */
bool ct_table__grow(struct ct_table *table, const struct ct_table_kind *kind,
		    struct ct_segment *segment);
/** ct_table__next - a walk over the slots in use; *@segment and *@slot start at 0. NULL: the end.
 */
void *ct_table__next(const struct ct_table *table, const struct ct_table_kind *kind,
		     size_t *segment, size_t *slot);

static inline uint64_t ct_table_hash(const struct ct_table_kind *kind, uint64_t seed, uint64_t key,
				     uint32_t tag)
{
	uint64_t h = (key >> kind->near_shift >> 2 ^ seed) + tag * 0xd6e8feb86659fd93ull;

	h *= 0x9e3779b97f4a7c15ull;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ull;
	return h ^ h >> 29;
}

/* The slot of a key, or the empty one where it belongs. Ends: a segment is never full. */
static inline char *ct_segment_probe(const struct ct_table_kind *kind,
				     const struct ct_segment *segment, uint64_t hash, uint64_t key,
				     uint32_t tag)
{
	size_t i = ((hash & 0xffffffffu) * segment->capacity) >> 32;

	if (kind->near_shift)
		i += key >> kind->near_shift & 3;
	for (;; i++) {
		char *slot;

		if (i >= segment->capacity)
			i -= segment->capacity;
		slot = segment->slots + i * kind->slot_bytes;
		if (!*(uint64_t *)slot)
			return slot;
		if ((*(uint64_t *)slot & kind->key_mask) == key &&
		    (!kind->tagged || *(uint32_t *)(slot + sizeof(key)) == tag))
			return slot;
	}
}

/* The slot of a key, made (zero but for the key and the tag) if absent. NULL: out of memory. */
static inline __attribute__((always_inline)) void *
ct_table_at(struct ct_table *table, const struct ct_table_kind *kind, uint64_t key, uint32_t tag)
{
	uint64_t hash = ct_table_hash(kind, table->seed, key, tag);
	struct ct_segment *segment = &table->segments[hash >> (64 - kind->segment_bits)];
	char *slot;

	if (segment->capacity) {
		slot = ct_segment_probe(kind, segment, hash, key, tag);
		if (*(uint64_t *)slot)
			return slot;
	}
	/* at most 3/4 full, so half full after a step */
	if ((segment->count + 1ull) * 4 > segment->capacity * 3ull) {
		if (!ct_table__grow(table, kind, segment))
			return NULL;
	}
	slot = ct_segment_probe(kind, segment, hash, key, tag);
	segment->count++;
	*(uint64_t *)slot = key;
	if (kind->tagged)
		*(uint32_t *)(slot + sizeof(key)) = tag;
	return slot;
}

#endif /* CT_TALLY_TABLE_H */
