/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * glibc.h - the chunks of glibc's malloc in [heap], in thread arenas and in mappings of their own:
 * which chunk holds an address, and is it in use. Used by readers of
 * runtimes that put objects there.
 */
#ifndef CT_HEAP_GLIBC_H
#define CT_HEAP_GLIBC_H

#include "heap/reader.h"

struct ct_glibc;

/** A chunk: its header is the 16 bytes before @user. */
struct ct_chunk {
	ct_raddr_t user; /* what malloc returned */
	uint64_t size;	 /* bytes from @user on that are the caller's (malloc_usable_size) */
	bool in_use;
	bool in_header; /* the address asked for lies in the chunk's header (size word) */
	bool unproven;	/* a chunk in a mapping of its own, by its header only: it takes more
			   evidence, such as an object in it */
};

/** ct_glibc__new - of the process that @source lends. NULL with @why: no [heap], no memory. */
struct ct_glibc *ct_glibc__new(const struct ct_heap_source *source, const char **why);
void ct_glibc__free(struct ct_glibc *glibc);
/** ct_glibc__renew - the memory has moved on; @source as in ct_reader.renew. */
void ct_glibc__renew(struct ct_glibc *glibc, const struct ct_heap_source *source);
/** ct_glibc__chunk - the chunk around @address. False: not in a heap of glibc's, or its chunks
 *  make no sense there. Amortised constant time; the index takes at most 1/1000 of the heap. */
bool ct_glibc__chunk(struct ct_glibc *glibc, ct_raddr_t address, struct ct_chunk *chunk);
/** ct_glibc__next - the chunk after @chunk, for a walk over all; start with a zeroed one. False:
 *  the end. Ends on any input. */
bool ct_glibc__next(struct ct_glibc *glibc, struct ct_chunk *chunk);

#endif /* CT_HEAP_GLIBC_H */
