/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* table.c - the rarer half of table.h: making, growing, walking and freeing segments. */
#include "tally/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t ct_table_segments(const struct ct_table_kind *kind)
{
	return (size_t)1 << kind->segment_bits;
}

int ct_table__init(struct ct_table *table, const struct ct_table_kind *kind, uint64_t seed)
{
	table->segments = calloc(ct_table_segments(kind), sizeof(*table->segments));
	if (!table->segments)
		return -ENOMEM;
	table->seed = seed;
	table->bytes = ct_table_segments(kind) * sizeof(*table->segments);
	return 0;
}

void ct_table__clear(struct ct_table *table, const struct ct_table_kind *kind)
{
	if (!table->segments)
		return;
	for (size_t i = 0; i < ct_table_segments(kind); i++)
		free(table->segments[i].slots);
	table->bytes = ct_table_segments(kind) * sizeof(*table->segments);
	memset(table->segments, 0, table->bytes);
}

void ct_table__free(struct ct_table *table, const struct ct_table_kind *kind)
{
	ct_table__clear(table, kind);
	free(table->segments);
	*table = (struct ct_table){ 0 };
}

bool ct_table__grow(struct ct_table *table, const struct ct_table_kind *kind,
		    struct ct_segment *segment)
{
	uint64_t capacity = (uint64_t)segment->capacity + segment->capacity / 2 + 4;
	struct ct_segment bigger = { .capacity = (uint32_t)capacity, .count = segment->count };

	if (capacity > UINT32_MAX)
		return false;
	bigger.slots = calloc(capacity, kind->slot_bytes);
	if (!bigger.slots)
		return false;
	for (size_t i = 0; i < segment->capacity; i++) {
		const char *slot = segment->slots + i * kind->slot_bytes;
		uint64_t key = *(const uint64_t *)slot & kind->key_mask;
		uint32_t tag = kind->tagged ? *(const uint32_t *)(slot + sizeof(key)) : 0;
		uint64_t hash = ct_table_hash(kind, table->seed, key, tag);

		if (key)
			memcpy(ct_segment_probe(kind, &bigger, hash, key, tag), slot,
			       kind->slot_bytes);
	}
	table->bytes += (capacity - segment->capacity) * kind->slot_bytes;
	table->bytes += segment->slots ? 0 : CT_MALLOC_BYTES;
	free(segment->slots);
	*segment = bigger;
	return true;
}

void *ct_table__next(const struct ct_table *table, const struct ct_table_kind *kind,
		     size_t *segment, size_t *slot)
{
	for (; *segment < ct_table_segments(kind); (*segment)++, *slot = 0) {
		const struct ct_segment *at = &table->segments[*segment];

		while (*slot < at->capacity) {
			char *found = at->slots + (*slot)++ * kind->slot_bytes;

			if (*(uint64_t *)found)
				return found;
		}
	}
	return NULL;
}
