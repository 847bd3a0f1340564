/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* impl.h - what tally.c counts into and snapshot.c copies from; private to user/tally. */
#ifndef CT_TALLY_IMPL_H
#define CT_TALLY_IMPL_H

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
};

static inline struct ct_process *ct_tally_row(const struct ct_tally *tally, uint32_t process)
{
	return &tally->chunks[process / CT_CHUNK_ROWS][process % CT_CHUNK_ROWS];
}

/** Whether a row counted nothing, or all that it counted was taken back. */
bool ct_process__is_zero(const struct ct_process *row);

#endif /* CT_TALLY_IMPL_H */
