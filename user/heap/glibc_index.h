/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * glibc_index.h - a run of chunks that follow each other (the main arena's [heap], or one heap of a
 * thread arena), and where in each of its pages the first chunk begins (private to glibc*.c).
 *
 * Chunks can only be walked forwards from the first one. The index remembers per page, in two
 * bytes, where the walk came by, so that an address is found by walking one page. It reaches only
 * as far as was asked. When the memory has moved on, a page's entry is used again only after a walk
 * from a few pages before it came by there again; where it did not, the walk goes on and corrects
 * the entries until it meets one that still holds.
 */
#ifndef CT_HEAP_GLIBC_INDEX_H
#define CT_HEAP_GLIBC_INDEX_H

#include <stdbool.h>

#include "process/remote.h"

#define CT_CHUNK_HEAD	 16u /* prev_size (the last bytes of the chunk before, if in use), size */
#define CT_CHUNK_MIN	 32u
#define CT_CHUNK_PREV	 1u /* flags in the size: the chunk before is in use */
#define CT_CHUNK_MMAPPED 2u
#define CT_CHUNK_ARENA	 4u /* in use, of a thread arena */
#define CT_CHUNK_FLAGS	 7u
#define CT_CHUNK_FENCE	 16u /* size of the mark at the end of a heap that was left */
#define CT_WALK_PAGES	 64u /* at most read at once */
#define CT_REGION_MAX	 (64ull << 30)

/** The header of a chunk, as it is in memory. */
struct ct_chunk_head {
	uint64_t prev_size, size;
};

/** Pages read ahead of a walk. */
struct ct_walk_window {
	ct_raddr_t start;
	size_t pages, ahead; /* how many are there; to be read the next time */
	uint8_t bytes[CT_WALK_PAGES * CT_PAGE_SIZE];
};

struct ct_chunk_region {
	ct_raddr_t base;   /* page-aligned; where the index begins */
	ct_raddr_t first;  /* the first chunk, on the first page or the ones after it */
	ct_raddr_t end;	   /* of the memory */
	ct_raddr_t walked; /* before it, the index is made; at it stands a chunk, or the end */
	ct_raddr_t top;	   /* the chunk that ends at the end; 0: the walk has not been there */
	bool thread;	   /* of a thread arena */
	bool broken;	   /* at walked stands no chunk */
	uint8_t epoch;	   /* entries of this one need no check */
	uint64_t rebuilt_ns, rebuild_cost_ns;
	uint16_t *entries; /* 0: none; 1 to 256: 16-byte step of the first chunk that begins in the
			      page, + 1; else pages to go back (see the .c) */
	uint8_t *epochs;
	size_t capacity;
};

/** What a walk needs of the process. */
struct ct_walker {
	struct ct_remote *memory;
	struct ct_walk_window *window;
};

/** A chunk of a region, where it stands. */
struct ct_region_chunk {
	ct_raddr_t at;	   /* its header */
	uint64_t size;	   /* up to the next one's header */
	bool in_use, last; /* last: no chunk follows */
};

/** ct_chunk_region__init - @region, zeroed but for base, first, end and thread. False: no memory.
 */
bool ct_chunk_region__init(struct ct_chunk_region *region);
void ct_chunk_region__free(struct ct_chunk_region *region);
/** ct_chunk_region__renew - the memory has moved on, and ends at @end. False: no memory. */
bool ct_chunk_region__renew(struct ct_chunk_region *region, ct_raddr_t end);
/** ct_chunk_region__find - the chunk with @at in [header, next header). False: makes no sense. */
bool ct_chunk_region__find(struct ct_chunk_region *region, const struct ct_walker *walker,
			   ct_raddr_t at, struct ct_region_chunk *chunk);
/** ct_chunk_region__is_sound - do chunks follow each other from @at on, @count of them or up to the
 *  end? For finding out where the first one is. */
bool ct_chunk_region__is_sound(const struct ct_chunk_region *region, struct ct_remote *memory,
			       ct_raddr_t at, size_t count);
/** ct_chunk_head_read - through the page cache, if the target has touched the page. @at is
 *  16-aligned. */
bool ct_chunk_head_read(struct ct_remote *memory, ct_raddr_t at, struct ct_chunk_head *head);

#endif /* CT_HEAP_GLIBC_INDEX_H */
