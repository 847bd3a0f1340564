/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * pages.h - counts by page, by (process, page) and by 2 MiB region; private to user/tally.
 *
 *	region, 24 B, hashed by address
 *	  .slots -> pages of the region, 16 B each: hashed while few, by index when there are many;
 *		    a region with one page has it in place
 *	pair, 16 B, hashed by (page, process): only for pages that several processes unshared;
 *		    a page of one process names that process itself
 *
 * The tables are half full at least, so what one (process, page) costs, while it grows too, is at
 * most
 *
 *	a page alone in its region	24 * 2				    = 48 B
 *	pages with others in theirs	(24 * 2 + 16 + slots * 16) / pages <= 48 B, 16 B when dense
 *	a page of two processes		(48 + 2 * 16 * 2) / 2		    = 56 B
 *	a page of very many		16 * 2				    = 32 B
 */
#ifndef CT_TALLY_PAGES_H
#define CT_TALLY_PAGES_H

#include <stdbool.h>

#include "base/types.h"
#include "tally/table.h"

#define CT_PAGE_NO_OWNER UINT32_MAX

struct ct_page_owner {
	uint32_t owner; /* the only process so far, or CT_PAGE_NO_OWNER: look at the pairs */
	uint32_t processes : 22; /* whose own count here is above 0; saturates */
	uint32_t tag : 10;	 /* 1 + index in the region; 0: an empty slot */
};

struct ct_page {
	int64_t unshared;
	struct ct_page_owner by;
};

struct ct_region {
	uint64_t key; /* 1 + number of the region, 10 bits of capacity, 10 bits of pages in use */
	int64_t unshared;
	union {
		struct ct_page *slots;	   /* capacity > 0 */
		struct ct_page_owner only; /* capacity 0: one page, with all that was unshared */
	};
};

struct ct_pair {
	uint64_t key; /* start of the page, bit 0 set */
	uint32_t process;
	int32_t unshared; /* saturates: only its sign is ever told */
};

struct ct_pages {
	struct ct_table regions, pairs;
	size_t slot_bytes; /* of all regions' slots */
	size_t unshared;   /* pages whose count is above 0 */
	struct ct_region *last;
};

/** ct_pages__init - 0 or -ENOMEM. */
int ct_pages__init(struct ct_pages *pages);
void ct_pages__free(struct ct_pages *pages);
/** ct_pages__clear - forget every page; keeps no memory but what init takes. */
void ct_pages__clear(struct ct_pages *pages);
/** ct_pages__add - @count on the page at @start (its first byte). @process CT_PAGE_NO_OWNER:
 *  nobody knows. 0, or -ENOMEM: the page may lack it. */
int ct_pages__add(struct ct_pages *pages, ct_raddr_t start, uint32_t process, int64_t count);
size_t ct_pages__memory(const struct ct_pages *pages);

/** A walk over the regions in no order. Start with zeroes. */
struct ct_pages_cursor {
	size_t segment, slot;
};
/** ct_pages__next - the next region, NULL at the end. */
const struct ct_region *ct_pages__next(const struct ct_pages *pages, struct ct_pages_cursor *at);
/** ct_pages__count_regions - how many the walk gives. */
size_t ct_pages__count_regions(const struct ct_pages *pages);
ct_raddr_t ct_region__address(const struct ct_region *region);
/** ct_region__page - the page in slot *@at of the region and on; *@at starts at 0. False: no more.
 */
bool ct_region__page(const struct ct_region *region, size_t *at, ct_raddr_t *address,
		     int64_t *unshared, uint32_t *processes);

#endif /* CT_TALLY_PAGES_H */
