/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * tally.h - samples counted by every axis: kind, cell, cause, type, writer, page, process. Gives
 * an immutable snapshot, which is all that a view ever sees.
 */
#ifndef CT_TALLY_TALLY_H
#define CT_TALLY_TALLY_H

#include <stdbool.h>

#include "base/names.h"
#include "base/types.h"
#include "resolve/sample.h"

/** Net counts by kind. unshared = copy + copy_file + copy_ksm + copy_huge + copy_hugetlb. */
struct ct_totals {
	int64_t unshared, unshared_bytes;
	int64_t copy, copy_file, copy_ksm, copy_huge, copy_hugetlb;
	int64_t copy_file_unread, zero_fill, reuse;
	int64_t undetailed; /* of unshared: counted, but without cell, cause, type and writer */
};

struct ct_tally;

/** ct_tally__new - @types and @writers give the names behind the ids; they must outlive it. */
struct ct_tally *ct_tally__new(const struct ct_names *types, const struct ct_names *writers);
void ct_tally__free(struct ct_tally *tally);
/** ct_tally__process - a row for a new image. @command is copied (and escaped). Return: its number,
 *  UINT32_MAX when out of memory. */
uint32_t ct_tally__process(struct ct_tally *tally, uint32_t pid, uint32_t parent_pid,
			   const char *command, uint64_t start_ns);
/** A better command line for a row, once known. */
void ct_tally__set_command(struct ct_tally *tally, uint32_t process, const char *command);
/** The image of a row ended (exit or exec). */
void ct_tally__set_ended(struct ct_tally *tally, uint32_t process, uint64_t end_ns);
/** ct_tally__add - count one sample. 0 or -ENOMEM (then totals are still right). */
int ct_tally__add(struct ct_tally *tally, const struct ct_sample *sample);
/** ct_tally__add_undetailed - @count faults of @fault that have no record: counted by process
 *  and kind, and as undetailed where they unshare. @address 0: page unknown. */
int ct_tally__add_undetailed(struct ct_tally *tally, uint32_t process, enum ct_fault fault,
			     bool unread, ct_raddr_t address, uint8_t page_shift, int64_t count);
/** ct_tally__reset - all counts to 0; processes that ended are dropped, live ones keep their row
 *  numbers. */
void ct_tally__reset(struct ct_tally *tally);
/** ct_tally__memory - bytes held. */
size_t ct_tally__memory(const struct ct_tally *tally);

struct ct_type_row {
	const char *type, *heap;
	int64_t unshared;
	int64_t cells[CT_CELL_COUNT];
};

struct ct_writer_row {
	const char *symbol, *object;
	int64_t unshared;
};

struct ct_page_row {
	ct_raddr_t address;
	int64_t unshared;
	uint32_t processes; /* that unshared it */
};

struct ct_process_row {
	uint32_t pid, parent;
	const char *command;
	bool ended;
	uint64_t start_ns, end_ns; /* end_ns 0 while it lives */
	struct ct_totals totals;
	int64_t cells[CT_CELL_COUNT], causes[CT_CAUSE_COUNT];
};

/** A piece of the address space with faults in it, 2 MiB each, ascending. */
struct ct_region_row {
	ct_raddr_t address;
	int64_t unshared;
};

/** What is said of the run in the first line of every output. Strings are the caller's. */
struct ct_run_info {
	const char *hook;    /* "tracepoint" */
	const char *kernel;  /* "6.18.44" */
	const char *command; /* of the target, escaped */
	uint32_t pid;
	uint64_t duration_ns;
	uint64_t missed; /* faults that the kernel may not have shown, at most */
	bool finished;	 /* the last snapshot of the run */
};

/** An immutable copy of the tally: rows sorted by unshared, most first; zero rows left out (but
 *  every process that is alive or has counted is there). */
struct ct_snapshot {
	struct ct_run_info run;
	struct ct_totals totals;
	int64_t cells[CT_CELL_COUNT], causes[CT_CAUSE_COUNT];
	struct ct_type_row *types;
	struct ct_writer_row *writers;
	struct ct_page_row *pages;
	struct ct_process_row *processes;
	struct ct_region_row *regions;
	size_t n_types, n_writers, n_pages, n_processes, n_regions;
	size_t all_pages; /* distinct addresses unshared; pages may hold fewer */
};

/**
 * ct_tally__snapshot - a copy with at most @max_pages page rows (0: none, for a cheap redraw).
 * NULL: out of memory. Free with ct_snapshot__free. Strings belong to the names tables and the
 * tally, which must outlive it.
 */
struct ct_snapshot *ct_tally__snapshot(struct ct_tally *tally, const struct ct_run_info *run,
				       size_t max_pages);
void ct_snapshot__free(struct ct_snapshot *snapshot);

#endif /* CT_TALLY_TALLY_H */
