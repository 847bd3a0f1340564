/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * glibc_mapped.h - chunks of glibc's malloc in mappings of their own (private to glibc*.c).
 *
 * malloc/malloc.c, sysmalloc_mmap: page-aligned, prev_size 0, size whole pages with the flag
 * MMAPPED. The kernel joins neighbouring mappings, so one is looked for backwards from an address,
 * at the starts of pages. What was found, and where there was nothing, is remembered.
 */
#ifndef CT_HEAP_GLIBC_MAPPED_H
#define CT_HEAP_GLIBC_MAPPED_H

#include "heap/glibc.h"

/** A stretch of memory that was looked at. */
struct ct_mapped_span {
	ct_raddr_t start, end; /* of the chunk (its header at start), or without one */
	uint64_t epoch;	       /* of an empty one: good only in this */
	bool is_chunk, unproven;
};

/** Zeroed: nothing known yet. */
struct ct_mapped {
	struct ct_mapped_span *spans; /* by address */
	size_t count;
	uint64_t epoch;
	uint64_t since_ns, cost_ns; /* of the first search; of all */
};

/** A stretch of neighbouring private anonymous mappings. */
struct ct_mapped_run {
	ct_raddr_t start, end;
};

/** ct_mapped__find - the mapped chunk around @address, which lies in @run. */
bool ct_mapped__find(struct ct_mapped *mapped, struct ct_remote *memory,
		     const struct ct_mapped_run *run, ct_raddr_t address, struct ct_chunk *chunk);
/** ct_mapped__renew - the memory has moved on. */
void ct_mapped__renew(struct ct_mapped *mapped);
void ct_mapped__free(struct ct_mapped *mapped);

#endif /* CT_HEAP_GLIBC_MAPPED_H */
