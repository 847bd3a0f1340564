/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* impl.h - what tally.c counts into and snapshot.c copies from; private to user/tally. */
#ifndef CT_TALLY_IMPL_H
#define CT_TALLY_IMPL_H

#include "base/map.h"
#include "tally/pages.h"
#include "tally/tally.h"

#define CT_CHUNK_ROWS 256 /* process rows are made in chunks, which never move */

struct ct_type_count {
	int64_t unshared;
	int64_t cells[CT_CELL_COUNT];
};

struct ct_process {
	uint32_t pid, parent;
	uint32_t command; /* id in ct_tally.commands */
	uint32_t next;	  /* in the queue of rows to use again */
	uint64_t start_ns, end_ns;
	bool ended;
	struct ct_totals totals;
	int64_t cells[CT_CELL_COUNT], causes[CT_CAUSE_COUNT];
};

/** The axes of which only sampled faults are counted. */
enum ct_sampled { CT_BY_LINE, CT_BY_FUNCTION, CT_BY_MODULE, CT_BY_STACK, CT_SAMPLED_COUNT };

struct ct_sampled_count {
	int64_t *list; /* by id: samples */
	uint32_t count;
};

struct ct_tally {
	const struct ct_names *type_names, *writer_names;
	struct ct_names *commands; /* interned: workers are many and called alike */
	struct ct_totals totals;
	int64_t cells[CT_CELL_COUNT], causes[CT_CAUSE_COUNT];
	struct ct_type_count *types; /* by id */
	int64_t *writers;	     /* by id */
	uint32_t n_types, n_writers;
	struct ct_process **chunks;
	uint32_t n_chunks, n_processes;
	uint32_t queue_head, queue_tail; /* ended rows, oldest first; UINT32_MAX: none */
	struct ct_pages pages;
	struct ct_map collections; /* ct_collection_key -> unshared */
	const struct ct_names *line_names;
	const struct ct_lists *stack_lists;
	unsigned int stacks_every;
	int64_t samples;
	struct ct_sampled_count sampled[CT_SAMPLED_COUNT];
};

#define CT_COLLECTIONS_MOST 262144u /* kept; what later ones unshare is only in the totals */

/** A process, a generation (2 bits) and an ordinal (30 bits, saturating), in one number. */
static inline uint64_t ct_collection_key(uint32_t process, unsigned int generation,
					 uint32_t ordinal)
{
	uint32_t most = (1u << 30) - 1;

	return (uint64_t)process << 32 | (generation & 3u) << 30 |
	       (ordinal < most ? ordinal : most);
}

static inline struct ct_process *ct_tally_row(const struct ct_tally *tally, uint32_t process)
{
	return &tally->chunks[process / CT_CHUNK_ROWS][process % CT_CHUNK_ROWS];
}

/** ct_snapshot_sampled - fill in the collections, lines, functions, modules and stacks. False: out
 *  of memory. */
bool ct_snapshot_sampled(struct ct_snapshot *snapshot, const struct ct_tally *tally);

/** Whether a row counted nothing, or all that it counted was taken back. */
bool ct_process__is_zero(const struct ct_process *row);

#endif /* CT_TALLY_IMPL_H */
