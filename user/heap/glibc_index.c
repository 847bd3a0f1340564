/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * glibc_index.c - see glibc_index.h. An entry of a page in which no chunk begins says how many
 * pages to go back, to the page where the chunk around it begins or, if that is too far for 15
 * bits, to a page on the way there.
 */
#include "heap/glibc_index.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#include "heap/glibc_mapped.h"

#define CT_ENTRY_BACK	0x8000u
#define CT_BACK_MAX	0x7fffu
#define CT_PAGE_CHUNKS	(CT_PAGE_SIZE / CT_CHUNK_MIN)
#define CT_CHECK_BACK	4u    /* pages with chunks in them to go back for a check */
#define CT_CHECK_FAR	4096u /* and no more than that */
#define CT_REBUILD_REST 20u   /* a region is walked anew for at most a twentieth of the time */

static size_t ct_page_of(const struct ct_chunk_region *region, ct_raddr_t at)
{
	return (size_t)((at - region->base) / CT_PAGE_SIZE);
}

static bool ct_is_start(uint16_t entry)
{
	return entry && entry < CT_ENTRY_BACK;
}

/** The chunk that begins first in @page, whose entry is a start. */
static ct_raddr_t ct_start_in(const struct ct_chunk_region *region, size_t page)
{
	return region->base + page * CT_PAGE_SIZE +
	       (region->entries[page] - 1u) * (ct_raddr_t)CT_CHUNK_HEAD;
}

/** The last page before @page in which a chunk begins; SIZE_MAX: none. */
static size_t ct_page_before(const struct ct_chunk_region *region, size_t page)
{
	if (!page)
		return SIZE_MAX;
	for (page--; region->entries[page] & CT_ENTRY_BACK;) {
		size_t back = region->entries[page] & CT_BACK_MAX;

		if (!back || back > page)
			return SIZE_MAX;
		page -= back;
	}
	return region->entries[page] ? page : SIZE_MAX;
}

bool ct_chunk_head_read(struct ct_remote *memory, ct_raddr_t at, struct ct_chunk_head *head)
{
	const uint8_t *page = ct_remote__touched_page(memory, at);

	if (page)
		memcpy(head, page + (at & ~CT_PAGE_MASK), sizeof(*head));
	return page;
}

/**
 * The bytes from @head to the next header, 0 if no chunk of this region can be like that. Flag
 * bits: the main arena's chunks have only PREV; a thread arena's have ARENA too while in use.
 */
static uint64_t ct_head_size(const struct ct_chunk_region *region, ct_raddr_t at,
			     const struct ct_chunk_head *head)
{
	uint64_t size = head->size & ~(uint64_t)CT_CHUNK_FLAGS;

	if (size < CT_CHUNK_MIN || size % CT_CHUNK_HEAD || size > region->end - at ||
	    head->size & CT_CHUNK_MMAPPED || (head->size & CT_CHUNK_ARENA && !region->thread))
		return 0;
	return size;
}

bool ct_chunk_region__is_sound(const struct ct_chunk_region *region, struct ct_remote *memory,
			       ct_raddr_t at, size_t count)
{
	struct ct_chunk_head head, next;
	uint64_t size;

	for (; count && at < region->end; count--, at += size) {
		if (!ct_chunk_head_read(memory, at, &head))
			return false;
		size = ct_head_size(region, at, &head);
		if (!size)
			return false;
		if (at + size == region->end)
			return true;
		if (!ct_chunk_head_read(memory, at + size, &next))
			return false;
		if (region->thread && !(head.size & CT_CHUNK_ARENA) != !(next.size & CT_CHUNK_PREV))
			return false;
		if (!(next.size & CT_CHUNK_PREV) && next.prev_size != size)
			return false;
	}
	return true;
}

bool ct_chunk_region__init(struct ct_chunk_region *region)
{
	if (region->end - region->base > CT_REGION_MAX)
		region->end = region->base + CT_REGION_MAX;
	region->walked = region->first;
	region->epoch = 1;
	region->capacity = (size_t)((region->end - region->base) / CT_PAGE_SIZE) + 1;
	region->entries = calloc(region->capacity, sizeof(*region->entries));
	region->epochs = calloc(region->capacity, sizeof(*region->epochs));
	return region->entries && region->epochs;
}

void ct_chunk_region__free(struct ct_chunk_region *region)
{
	free(region->entries);
	free(region->epochs);
	region->entries = NULL;
	region->epochs = NULL;
}

static bool ct_region_grow(struct ct_chunk_region *region, size_t pages)
{
	size_t capacity = pages + pages / 8 + 1;
	uint16_t *entries = realloc(region->entries, capacity * sizeof(*entries));
	uint8_t *epochs;

	if (!entries)
		return false;
	region->entries = entries;
	epochs = realloc(region->epochs, capacity * sizeof(*epochs));
	if (!epochs)
		return false;
	region->epochs = epochs;
	memset(entries + region->capacity, 0, (capacity - region->capacity) * sizeof(*entries));
	memset(epochs + region->capacity, 0, (capacity - region->capacity) * sizeof(*epochs));
	region->capacity = capacity;
	return true;
}

/** Let the walk begin again a few pages before where it has come to. */
static void ct_region_step_back(struct ct_chunk_region *region)
{
	size_t page =
		ct_page_of(region, region->walked < region->end ? region->walked : region->end - 1);

	region->broken = false;
	region->top = 0;
	for (unsigned int i = 0; i < CT_CHECK_BACK; i++) {
		size_t before = ct_page_before(region, page);

		if (before == SIZE_MAX) {
			region->walked = region->first;
			return;
		}
		page = before;
	}
	region->walked = ct_start_in(region, page);
}

bool ct_chunk_region__renew(struct ct_chunk_region *region, ct_raddr_t end)
{
	size_t pages;

	if (end - region->base > CT_REGION_MAX)
		end = region->base + CT_REGION_MAX;
	pages = (size_t)((end - region->base) / CT_PAGE_SIZE);
	if (pages > region->capacity && !ct_region_grow(region, pages))
		return false;
	if (!++region->epoch) {
		memset(region->epochs, 0, region->capacity);
		region->epoch = 1;
	}
	if (end == region->end && !region->broken)
		return true;
	if (region->walked > (region->top && region->top < end ? region->top : end))
		region->walked = region->top && region->top < end ? region->top : end;
	region->end = end;
	ct_region_step_back(region);
	return true;
}

/** The header at @at, from the pages read ahead. NULL: not in the target's memory. */
static const struct ct_chunk_head *ct_walk_read(const struct ct_walker *walker,
						const struct ct_chunk_region *region, ct_raddr_t at)
{
	struct ct_walk_window *window = walker->window;
	ct_raddr_t page = at & CT_PAGE_MASK;
	uint8_t present[CT_WALK_PAGES];
	size_t pages = 1;
	ssize_t n;

	if (page - window->start < window->pages * CT_PAGE_SIZE)
		return (const void *)(window->bytes + (at - window->start));
	/* the header of a chunk was written: a page that is not there has none, and stays untouched
	 */
	window->ahead = page == window->start + window->pages * CT_PAGE_SIZE && window->ahead
				? window->ahead * 2
				: 1;
	if (window->ahead > CT_WALK_PAGES)
		window->ahead = CT_WALK_PAGES;
	while (pages < window->ahead && page + pages * CT_PAGE_SIZE < region->end)
		pages++;
	window->pages = 0;
	if (ct_remote__present(walker->memory, page, pages, present)) {
		size_t known = 0;

		while (known < pages && present[known])
			known++;
		pages = known;
	} else {
		pages = 1;
	}
	n = pages ? ct_remote__read(walker->memory, page, window->bytes, pages * CT_PAGE_SIZE) : 0;
	if (n < (ssize_t)CT_PAGE_SIZE)
		return NULL;
	window->start = page;
	window->pages = (size_t)n / CT_PAGE_SIZE;
	return (const void *)(window->bytes + (at - page));
}

/** The pages between a chunk at @at and the one after it lead back to it. */
static void ct_region_span(struct ct_chunk_region *region, ct_raddr_t at, ct_raddr_t next)
{
	size_t from = ct_page_of(region, at), to = ct_page_of(region, next);

	for (size_t page = from + 1; page < to; page++) {
		size_t back = page - from < CT_BACK_MAX ? page - from : CT_BACK_MAX;

		region->entries[page] = (uint16_t)(CT_ENTRY_BACK | back);
		region->epochs[page] = region->epoch;
	}
}

/**
 * Walk from the chunk at @at on, entering what is met, past @target and on to where the index ends
 * or, behind @target, an entry is met that still holds. False: came to what is no chunk before the
 * index's end; there it is broken.
 */
static bool ct_region_walk(struct ct_chunk_region *region, const struct ct_walker *walker,
			   ct_raddr_t at, ct_raddr_t target)
{
	size_t entered = ct_page_of(region, at), page;
	ct_raddr_t index_end = region->walked;

	if (at == region->first || !ct_is_start(region->entries[entered]) ||
	    ct_start_in(region, entered) > at)
		entered = SIZE_MAX;
	for (;;) {
		uint16_t entry = (uint16_t)((at & ~CT_PAGE_MASK) / CT_CHUNK_HEAD + 1);
		const struct ct_chunk_head *head;
		uint64_t size;

		page = ct_page_of(region, at);
		if (page != entered) {
			bool holds = at < index_end && region->entries[page] == entry;

			region->entries[page] = entry;
			region->epochs[page] = region->epoch;
			if (holds && at > target)
				return true;
			entered = page;
		}
		if (at >= index_end) {
			region->walked = at;
			if (at > target)
				return true;
		}
		head = ct_walk_read(walker, region, at);
		size = head ? ct_head_size(region, at, head) : 0;
		if (!size) {
			region->broken = at >= index_end;
			return region->broken;
		}
		if (at + size == region->end) {
			region->top = at;
			region->walked = region->end;
			return true;
		}
		ct_region_span(region, at, at + size);
		at += size;
	}
}

static bool ct_region_rebuild(struct ct_chunk_region *region, const struct ct_walker *walker,
			      ct_raddr_t target)
{
	uint64_t now = ct_now_ns();

	if (now - region->rebuilt_ns < CT_REBUILD_REST * region->rebuild_cost_ns) {
		region->broken = true;
		return false;
	}
	region->rebuilt_ns = now;
	region->walked = region->first;
	region->top = 0;
	region->broken = false;
	ct_region_walk(region, walker, region->first, target);
	region->rebuild_cost_ns = ct_now_ns() - now;
	return region->walked > target;
}

/** Make sure that the entry of the page of @at is of this epoch, and so is the index up to it. */
static bool ct_region_check(struct ct_chunk_region *region, const struct ct_walker *walker,
			    ct_raddr_t at)
{
	size_t page = ct_page_of(region, at);

	if (region->epochs[page] == region->epoch)
		return true;
	for (size_t pages = CT_CHECK_BACK; pages <= CT_CHECK_FAR; pages *= 16) {
		size_t from = page;

		for (size_t i = 0; i < pages; i++) {
			size_t before = ct_page_before(region, from);

			if (before == SIZE_MAX)
				break;
			from = before;
			if (region->epochs[from] == region->epoch)
				break;
		}
		if (ct_is_start(region->entries[from]) &&
		    ct_region_walk(region, walker, ct_start_in(region, from), at))
			return region->epochs[page] == region->epoch ||
			       (region->top && at >= region->top);
	}
	return ct_region_rebuild(region, walker, at) &&
	       (region->epochs[page] == region->epoch || (region->top && at >= region->top));
}

/** The chunk at @at is followed by another: is it in use, and do the two agree? */
static bool ct_chunk_finish(struct ct_chunk_region *region, struct ct_remote *memory,
			    struct ct_region_chunk *chunk)
{
	struct ct_chunk_head next;

	chunk->last = chunk->at + chunk->size == region->end;
	if (chunk->last) {
		chunk->in_use = false; /* what malloc has not given out yet */
		return true;
	}
	if (!ct_chunk_head_read(memory, chunk->at + chunk->size, &next))
		return false;
	chunk->in_use = next.size & CT_CHUNK_PREV;
	return chunk->in_use || next.prev_size == chunk->size;
}

/** Walk from the chunk that begins first in @page to the one around @at, in the cached pages. */
static bool ct_region_seek(struct ct_chunk_region *region, struct ct_remote *memory, size_t page,
			   ct_raddr_t at, struct ct_region_chunk *chunk)
{
	ct_raddr_t here = ct_start_in(region, page);
	const uint8_t *bytes = ct_remote__touched_page(memory, here);
	struct ct_chunk_head head;

	while (bytes && ct_page_of(region, here) == page) {
		memcpy(&head, bytes + (here & ~CT_PAGE_MASK), sizeof(head));
		chunk->at = here;
		chunk->size = ct_head_size(region, here, &head);
		if (!chunk->size)
			return false;
		here += chunk->size;
		if (at < here)
			return ct_chunk_finish(region, memory, chunk);
	}
	return false;
}

/** The page whose first chunk the walk to @at begins with; SIZE_MAX: none. */
static size_t ct_region_page(const struct ct_chunk_region *region, ct_raddr_t at)
{
	size_t page = ct_page_of(region, region->top && at >= region->top ? region->top : at);

	return ct_is_start(region->entries[page]) && ct_start_in(region, page) <= at
		       ? page
		       : ct_page_before(region, page);
}

bool ct_chunk_region__find(struct ct_chunk_region *region, const struct ct_walker *walker,
			   ct_raddr_t at, struct ct_region_chunk *chunk)
{
	size_t page;

	if (at < region->first || at >= region->end)
		return false;
	walker->window->pages = 0;
	walker->window->ahead = 0;
	if (at >= region->walked &&
	    (region->broken || !ct_region_walk(region, walker, region->walked, at) ||
	     at >= region->walked))
		return false;
	if (!ct_region_check(region, walker, region->top && at >= region->top ? region->top : at))
		return false;
	/* each check may find that another chunk, or the top, begins elsewhere than was known */
	for (unsigned int i = 0; i < CT_CHECK_BACK; i++) {
		page = ct_region_page(region, at);
		if (page == SIZE_MAX || !ct_region_check(region, walker, ct_start_in(region, page)))
			return false;
		if (ct_region_page(region, at) == page)
			return ct_region_seek(region, walker->memory, page, at, chunk);
	}
	return false;
}
