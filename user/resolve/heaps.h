/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * heaps.h - the heaps of one process, as all readers together see them. Shared by reference: a
 * forked child's inherited memory is explained by its parent's heaps.
 */
#ifndef CT_RESOLVE_HEAPS_H
#define CT_RESOLVE_HEAPS_H

#include <stdbool.h>
#include <sys/types.h>

#include "heap/reader.h"

#define CT_MAX_READERS 8
#define CT_REFUSAL_LEN 128u

struct ct_heaps {
	struct ct_heap_source source; /* maps is never NULL */
	void *heap[CT_MAX_READERS];   /* by index in ct_readers; NULL: not this process's */
	uint64_t maps_read_ns, maps_cost_ns;
	uint64_t modules;    /* of which files it was made when readers were last asked to attach */
	uint64_t refused_of; /* of which files (as modules) it was made when a reader refused ... */
	char refusal[CT_REFUSAL_LEN]; /* in words, of reader @refusal_reader; "": none did */
	int refusal_reader;
	unsigned int refused; /* ... for good, a bit for each by index in ct_readers */
	bool forked;	      /* its memory explains a child's, too */
	bool stale; /* the process forked since: what is cached of its memory may be old */
	unsigned int references;
	uint64_t opened_ns, asked_ns;	 /* when interpreters were last asked for */
	unsigned int interpreter_serial; /* counts changes of what follows */
	int interpreter_reader;		 /* index of the reader that found it; -1: none */
	struct ct_interpreter interpreter;
};

/** ct_heaps__open - of a living process; @source says all but maps and memory. NULL with errno:
 *  ESRCH, EACCES, ENOMEM. */
struct ct_heaps *ct_heaps__open(pid_t pid, const struct ct_heap_source *source);
struct ct_heaps *ct_heaps__get(struct ct_heaps *heaps);
void ct_heaps__put(struct ct_heaps *heaps);
/** ct_heaps__locate - the first reader's answer. @reader: its index in ct_readers. */
struct ct_place ct_heaps__locate(struct ct_heaps *heaps, ct_raddr_t address,
				 const struct ct_bytes *before, int *reader);
/** ct_heaps__covers - is @address in a known mapping? Reads maps anew if it is in none (but
 *  so that no more than a twentieth of the time goes into that). */
bool ct_heaps__covers(struct ct_heaps *heaps, ct_raddr_t address);
/** ct_heaps__read_since - were the mappings read after @since_ns? Reads them if they were not and
 *  it is time for it (as in ct_heaps__covers), or @now. True for a process that is gone, too. */
bool ct_heaps__read_since(struct ct_heaps *heaps, uint64_t since_ns, bool now);
/** ct_heaps__mark_stale - the process has forked: read its memory anew before the next answer. */
void ct_heaps__mark_stale(struct ct_heaps *heaps);
/** ct_heaps__look_again - if it is time: has an interpreter come up since? Often while the process
 *  is young, seldom later, never once it has forked. Return: whether it was looked for. */
bool ct_heaps__look_again(struct ct_heaps *heaps, uint64_t now_ns);
/** ct_heaps__source_line - a frame in words, by the first reader that knows it. */
bool ct_heaps__source_line(struct ct_heaps *heaps, const struct ct_frame *frame,
			   struct ct_source_line *line);

#endif /* CT_RESOLVE_HEAPS_H */
