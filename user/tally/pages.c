/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * pages.c - addresses made counts. pages.h tells the layout and what it costs.
 *
 * Faults come in clusters, so everything of one region lies together and the last region is
 * remembered: a sweep over a heap costs no cache miss a page.
 */
#include "tally/pages.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define CT_REGION_SHIFT	     21
#define CT_REGION_PAGES	     512u
#define CT_REGION_KEY_SHIFT  20
#define CT_PROCESSES_MAX     ((1u << 22) - 1)
#define CT_SLOTS_DIRECT_FROM 300u /* a table longer than this is made one slot a page */

static const struct ct_table_kind ct_region_kind = {
	.key_mask = ~0ull << CT_REGION_KEY_SHIFT,
	.slot_bytes = sizeof(struct ct_region),
	.segment_bits = 10,
};

static const struct ct_table_kind ct_pair_kind = {
	.key_mask = ~0ull,
	.slot_bytes = sizeof(struct ct_pair),
	.segment_bits = 12,
	.near_shift = 12,
	.tagged = true,
};

static_assert(sizeof(struct ct_region) == 24, "the budget of pages.h");
static_assert(sizeof(struct ct_page) == 16, "the budget of pages.h");
static_assert(sizeof(struct ct_pair) == 16, "the budget of pages.h");

static unsigned int ct_region_capacity(const struct ct_region *region)
{
	return region->key >> 10 & 0x3ff;
}

static unsigned int ct_region_count(const struct ct_region *region)
{
	return region->key & 0x3ff;
}

static void ct_region_set(struct ct_region *region, unsigned int capacity, unsigned int count)
{
	region->key = (region->key & ct_region_kind.key_mask) | capacity << 10 | count;
}

ct_raddr_t ct_region__address(const struct ct_region *region)
{
	return ((region->key >> CT_REGION_KEY_SHIFT) - 1) << CT_REGION_SHIFT;
}

/* The slot of a page, or the empty one where it belongs; NULL: absent and all are in use. */
static struct ct_page *ct_slots_probe(struct ct_page *slots, unsigned int capacity, uint32_t tag)
{
	unsigned int i = tag - 1;

	if (capacity < CT_REGION_PAGES)
		i = (i * 0x9e3779b1u >> 16) * capacity >> 16;
	for (unsigned int probes = 0; probes < capacity; probes++) {
		if (slots[i].by.tag == tag || !slots[i].by.tag)
			return &slots[i];
		if (++i == capacity)
			i = 0;
	}
	return NULL;
}

static bool ct_region_grow(struct ct_pages *pages, struct ct_region *region)
{
	unsigned int old = ct_region_capacity(region), capacity = old + old / 2 + 2;
	struct ct_page *slots, moved = { region->unshared, region->only };

	if (capacity > CT_SLOTS_DIRECT_FROM)
		capacity = CT_REGION_PAGES;
	slots = calloc(capacity, sizeof(*slots));
	if (!slots)
		return false;
	if (!old)
		*ct_slots_probe(slots, capacity, moved.by.tag) = moved;
	for (unsigned int i = 0; i < old; i++)
		if (region->slots[i].by.tag)
			*ct_slots_probe(slots, capacity, region->slots[i].by.tag) =
				region->slots[i];
	if (old)
		free(region->slots);
	pages->slot_bytes += (capacity - old) * sizeof(*slots) + (old ? 0 : CT_MALLOC_BYTES);
	region->slots = slots;
	ct_region_set(region, capacity, ct_region_count(region));
	return true;
}

/* The slot of a page in a region that has others, made if absent. NULL: out of memory. */
static struct ct_page *ct_region_at(struct ct_pages *pages, struct ct_region *region, uint32_t tag,
				    uint32_t process)
{
	unsigned int capacity = ct_region_capacity(region), count = ct_region_count(region);
	struct ct_page *page = NULL;

	if (capacity)
		page = ct_slots_probe(region->slots, capacity, tag);
	if (page && page->by.tag)
		return page;
	/* short tables may fill up, long ones to 7/8; one slot a page never collides */
	if (!page || (capacity > 8 && capacity < CT_REGION_PAGES && count + 1 > capacity * 7 / 8)) {
		if (!ct_region_grow(pages, region))
			return NULL;
		page = ct_slots_probe(region->slots, ct_region_capacity(region), tag);
	}
	page->by.tag = tag;
	page->by.owner = process;
	ct_region_set(region, ct_region_capacity(region), count + 1);
	return page;
}

static void ct_page_set_processes(struct ct_page *page, int64_t processes)
{
	page->by.processes = processes > CT_PROCESSES_MAX ? CT_PROCESSES_MAX : (uint32_t)processes;
}

/* Adds to one process' own count on a page that has several. */
static int ct_page_add_pair(struct ct_pages *pages, struct ct_page *page, ct_raddr_t start,
			    uint32_t process, int64_t count)
{
	struct ct_pair *pair = ct_table_at(&pages->pairs, &ct_pair_kind, start | 1, process);
	int64_t sum, before;

	if (!pair)
		return -ENOMEM;
	before = pair->unshared;
	if (__builtin_add_overflow(before, count, &sum))
		sum = count;
	pair->unshared = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
	ct_page_set_processes(page, (int64_t)page->by.processes + (sum > 0) - (before > 0));
	return 0;
}

/* A page seen by more than its owner: what is its owner's becomes a pair like the others. */
static int ct_page_disown(struct ct_pages *pages, struct ct_page *page, ct_raddr_t start)
{
	uint32_t owner = page->by.owner;

	page->by.owner = CT_PAGE_NO_OWNER;
	page->by.processes = 0;
	return page->unshared ? ct_page_add_pair(pages, page, start, owner, page->unshared) : 0;
}

static int ct_page_add(struct ct_pages *pages, struct ct_page *page, ct_raddr_t start,
		       uint32_t process, int64_t count)
{
	int err = 0;

	if (page->by.owner != process && page->by.owner != CT_PAGE_NO_OWNER)
		err = ct_page_disown(pages, page, start);
	pages->unshared -= page->unshared > 0;
	page->unshared += count;
	pages->unshared += page->unshared > 0;
	if (page->by.owner != CT_PAGE_NO_OWNER)
		page->by.processes = page->unshared > 0;
	else if (process != CT_PAGE_NO_OWNER)
		err = ct_page_add_pair(pages, page, start, process, count) ?: err;
	return err;
}

int ct_pages__add(struct ct_pages *pages, ct_raddr_t start, uint32_t process, int64_t count)
{
	uint64_t key = ((start >> CT_REGION_SHIFT) + 1) << CT_REGION_KEY_SHIFT;
	uint32_t tag = (start >> 12) % CT_REGION_PAGES + 1;
	struct ct_region *region = pages->last;
	struct ct_page *page, alone;
	int err;

	if (!region || (region->key & ct_region_kind.key_mask) != key) {
		region = ct_table_at(&pages->regions, &ct_region_kind, key, 0);
		pages->last = region;
		if (!region)
			return -ENOMEM;
	}
	if (!ct_region_count(region)) {
		ct_region_set(region, 0, 1);
		region->only = (struct ct_page_owner){ .owner = process, .tag = tag };
	}
	if (!ct_region_capacity(region) && region->only.tag == tag) {
		alone = (struct ct_page){ region->unshared, region->only };
		err = ct_page_add(pages, &alone, start, process, count);
		region->unshared = alone.unshared;
		region->only = alone.by;
		return err;
	}
	page = ct_region_at(pages, region, tag, process);
	if (!page)
		return -ENOMEM;
	err = ct_page_add(pages, page, start, process, count);
	region->unshared += count;
	return err;
}

int ct_pages__init(struct ct_pages *pages)
{
	uint64_t seed;

	memset(pages, 0, sizeof(*pages));
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = (uintptr_t)pages * 0x9e3779b97f4a7c15ull;
	if (ct_table__init(&pages->regions, &ct_region_kind, seed) ||
	    ct_table__init(&pages->pairs, &ct_pair_kind, seed)) {
		ct_pages__free(pages);
		return -ENOMEM;
	}
	return 0;
}

void ct_pages__clear(struct ct_pages *pages)
{
	struct ct_pages_cursor at = { 0 };
	const struct ct_region *region;

	while (pages->regions.segments && (region = ct_pages__next(pages, &at)))
		if (ct_region_capacity(region))
			free(region->slots);
	ct_table__clear(&pages->regions, &ct_region_kind);
	ct_table__clear(&pages->pairs, &ct_pair_kind);
	pages->slot_bytes = 0;
	pages->unshared = 0;
	pages->last = NULL;
}

void ct_pages__free(struct ct_pages *pages)
{
	ct_pages__clear(pages);
	ct_table__free(&pages->regions, &ct_region_kind);
	ct_table__free(&pages->pairs, &ct_pair_kind);
}

size_t ct_pages__memory(const struct ct_pages *pages)
{
	return pages->regions.bytes + pages->pairs.bytes + pages->slot_bytes;
}

const struct ct_region *ct_pages__next(const struct ct_pages *pages, struct ct_pages_cursor *at)
{
	return ct_table__next(&pages->regions, &ct_region_kind, &at->segment, &at->slot);
}

size_t ct_pages__count_regions(const struct ct_pages *pages)
{
	size_t count = 0;

	for (size_t i = 0; i < (size_t)1 << ct_region_kind.segment_bits; i++)
		count += pages->regions.segments[i].count;
	return count;
}

bool ct_region__page(const struct ct_region *region, size_t *at, ct_raddr_t *address,
		     int64_t *unshared, uint32_t *processes)
{
	unsigned int capacity = ct_region_capacity(region);
	struct ct_page page = { region->unshared, { 0 } };

	if (!capacity && !*at)
		page.by = region->only;
	while (*at < capacity && !page.by.tag)
		page = region->slots[(*at)++];
	if (!page.by.tag)
		return false;
	*at += !capacity;
	*address = ct_region__address(region) + (page.by.tag - 1ull) * CT_PAGE_SIZE;
	*unshared = page.unshared;
	*processes = page.by.processes;
	return true;
}
