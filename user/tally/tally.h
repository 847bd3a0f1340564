/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * tally.h - samples counted by every axis: kind, cell, cause, type, writer, page, process,
 * collection, and by line, function, module and stack those whose stack was taken. Gives an
 * immutable snapshot, which is all that a view ever sees.
 */
#ifndef CT_TALLY_TALLY_H
#define CT_TALLY_TALLY_H

#include <stdbool.h>

#include "base/lists.h"
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
/** ct_tally__with_stacks - the stack is taken of each @every-th fault; its ids are of @lines and
 *  @stacks, which outlive the tally. Without it nothing is counted by line. */
void ct_tally__with_stacks(struct ct_tally *tally, const struct ct_names *lines,
			   const struct ct_lists *stacks, unsigned int every);
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

/** A full or partial collection of an interpreter's garbage, and what it unshared. */
struct ct_collection_row {
	uint32_t pid;
	unsigned int generation; /* 0 to 2; 2: full */
	uint32_t ordinal;	 /* 1: the first of its generation since the image began */
	int64_t unshared;
};

/** Of a line, a function or a module. What it unshared is an estimate, samples * every, exact if
 *  the stack of each fault is taken. Unknown: no stack could be had of these. */
struct ct_line_row {
	const char *file;     /* of a native function its object file; "" unknown */
	const char *function; /* "" in a module row; "unknown" */
	uint32_t line;	      /* 0: not known, or none */
	int64_t samples, unshared;
	uint32_t id; /* of the name, the same in each snapshot */
};

struct ct_stack_row {
	const uint32_t *frames; /* outermost first: ids for ct_snapshot__frame; the snapshot's */
	size_t n_frames;	/* 0: unknown */
	int64_t samples, unshared;
};

/** One interpreter: what the head of every output says of it. One that is refused has no version
 *  and no object; it is traced like any program. */
struct ct_interpreter_row {
	uint32_t pid;
	const char *name;    /* of the reader that knows it: "cpython" */
	const char *version; /* "3.11.2"; "" unknown */
	const char *object;  /* the file that holds it */
	const char *why;     /* there are no Python lines; "" if there are */
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
	const struct ct_interpreter_row *interpreters;
	size_t n_interpreters;
	/* bytes that records carried, compared with those read later; has_bytes: some did */
	bool has_bytes;
	uint64_t carried, compared, differ, place_differ;
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
	struct ct_collection_row *collections;
	size_t n_collections;	   /* at most CT_COLLECTION_ROWS */
	size_t all_collections;	   /* that unshared something */
	unsigned int stacks_every; /* of each so many faults the stack is taken; 0: of none */
	int64_t samples;	   /* so many there are: what lines, functions ... each add up to */
	struct ct_line_row *lines, *functions, *modules;
	struct ct_stack_row *stacks;
	size_t n_lines, n_functions, n_modules, n_stacks;
	const struct ct_names *line_names;
	uint32_t *frames; /* what the stacks' frames point into */
};

#define CT_COLLECTION_ROWS 1000

/**
 * ct_tally__snapshot - a copy with at most @max_pages page rows (0: none, for a cheap redraw).
 * NULL: out of memory. Free with ct_snapshot__free. Strings belong to the names tables and the
 * tally, which must outlive it.
 */
struct ct_snapshot *ct_tally__snapshot(struct ct_tally *tally, const struct ct_run_info *run,
				       size_t max_pages);
void ct_snapshot__free(struct ct_snapshot *snapshot);
/** ct_snapshot__frame - a frame of a stack in words: "function (file:line)", and without a line
 *  "function (file)". Return: @buf. */
char *ct_snapshot__frame(const struct ct_snapshot *snapshot, uint32_t frame, char *buf, size_t len);

#endif /* CT_TALLY_TALLY_H */
