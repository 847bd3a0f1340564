/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * glibc.c - the chunks of glibc's malloc, 2.27 to 2.43 on x86-64.
 *
 * Layouts: malloc/malloc.c, struct malloc_chunk: { prev_size, size | flags }, 16-aligned, the
 * caller's bytes from 16 on and up to 8 bytes into the next chunk. Whether a chunk is in use says
 * the PREV flag of the next one; one that is free repeats its size in that one's prev_size. Freed
 * chunks that wait in a tcache or a fastbin look in use, to malloc itself too; those in a tcache
 * bear a key (ct_tcache_key), those in a fastbin are not told from others.
 *
 *   main arena     [heap], from its first byte on; in a static program behind the thread-local data
 *                  that its start code took from brk first
 *   thread arenas  malloc/arena.c, heap_info { ar_ptr, prev, size, mprotect_size, (2.35 on:)
 *                  pagesize } at each multiple of 64 MiB; behind the first one of an arena stands
 *                  its malloc_state. (With the tunable hugetlb=2 they are bigger: not seen.)
 *   mmapped        glibc_mapped.c
 *
 * After a fork what is added to a heap is a mapping of its own right behind it: neighbours of a
 * kind are taken for one.
 */
#include "heap/glibc.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "heap/glibc_index.h"
#include "heap/glibc_mapped.h"

#define CT_ARENA_HEAP	   (64ull << 20)
#define CT_ARENA_STATE_MIN 1024u /* bytes of a malloc_state and what stands before, at least */
#define CT_ARENA_STATE_MAX 4080u /* and at most: all is on one page */
#define CT_BRK_SEARCH	   8192u
#define CT_SOUND_CHUNKS	   8u
#define CT_REGIONS_MAX	   4096u
#define CT_RUN_MAPPINGS	   64u

#define CT_TCACHE_HEAD_MAX 1024u /* bytes of a tcache_perthread_struct: 576 to 760 */

struct ct_glibc {
	struct ct_heap_source source;
	struct ct_chunk_region **regions;
	size_t region_count;
	struct ct_chunk_region *last; /* the one asked for last */
	/* start of [heap] or of 64 MiB -> index in regions + 1, or that there is none: bit 63 and
	 * the epoch */
	struct ct_map region_of;
	uint64_t epoch;
	struct ct_mapped mapped;
	struct ct_walk_window window;
	uint64_t tcache_key, tcache_epoch; /* 0: not known; the epoch in which it was looked for */
};

#define CT_NO_REGION (1ull << 63)

/** struct _heap_info */
struct ct_heap_info {
	uint64_t arena, prev, size, protected;
};

/* --- finding regions ----------------------------------------------------------------------------
 */

static bool ct_is_private_data(const struct ct_mapping *m)
{
	return m && m->readable && m->writable && !m->inode &&
	       (m->kind == CT_MAPPING_ANON || m->kind == CT_MAPPING_BSS);
}

static bool ct_is_neighbour(const struct ct_mapping *m, const struct ct_mapping *next)
{
	if (m->end != next->start)
		return false;
	return m->kind == CT_MAPPING_HEAP ? next->kind == CT_MAPPING_HEAP
					  : ct_is_private_data(m) && ct_is_private_data(next);
}

/** The neighbours of @m, which is [heap] or private data, and itself. */
static struct ct_mapped_run ct_run_of(const struct ct_glibc *glibc, const struct ct_mapping *m)
{
	const struct ct_mapping *list = glibc->source.maps->list, *from = m, *to = m;
	const struct ct_mapping *last = list + glibc->source.maps->count - 1;

	for (unsigned int i = 0; i < CT_RUN_MAPPINGS && from > list; i++, from--)
		if (!ct_is_neighbour(from - 1, from))
			break;
	for (unsigned int i = 0; i < CT_RUN_MAPPINGS && to < last; i++, to++)
		if (!ct_is_neighbour(to, to + 1))
			break;
	return (struct ct_mapped_run){ from->start, to->end };
}

/** A page that the target has not touched is not read. */
static bool ct_is_touched(const struct ct_glibc *glibc, ct_raddr_t page)
{
	uint8_t present;

	return ct_remote__present(glibc->source.memory, page, 1, &present) && present;
}

/** Look for a first chunk from @from up to @to. 0: none. */
static ct_raddr_t ct_first_chunk(const struct ct_glibc *glibc, const struct ct_chunk_region *region,
				 ct_raddr_t from, ct_raddr_t to)
{
	struct ct_chunk_head head;

	for (ct_raddr_t at = from; at < to && at + CT_CHUNK_MIN <= region->end;
	     at += CT_CHUNK_HEAD) {
		if (!(at & ~CT_PAGE_MASK) && !ct_is_touched(glibc, at))
			return 0;
		if (ct_chunk_head_read(glibc->source.memory, at, &head) &&
		    head.size & CT_CHUNK_PREV && !head.prev_size &&
		    ct_chunk_region__is_sound(region, glibc->source.memory, at, CT_SOUND_CHUNKS))
			return at;
	}
	return 0;
}

static bool ct_brk_region(const struct ct_glibc *glibc, const struct ct_mapping *m,
			  struct ct_chunk_region *region)
{
	struct ct_mapped_run run = ct_run_of(glibc, m);

	*region = (struct ct_chunk_region){ .base = run.start, .end = run.end };
	region->first = ct_first_chunk(glibc, region, run.start, run.start + CT_BRK_SEARCH);
	return region->first != 0;
}

static bool ct_heap_info_read(const struct ct_glibc *glibc, const struct ct_mapping *m,
			      ct_raddr_t base, struct ct_heap_info *info)
{
	const void *page;

	if (!ct_is_private_data(m) || base < m->start || base >= m->end ||
	    !ct_is_touched(glibc, base))
		return false;
	page = ct_remote__page(glibc->source.memory, base);
	if (!page)
		return false;
	memcpy(info, page, sizeof(*info));
	return info->arena % 16 == 0 && info->prev % CT_ARENA_HEAP == 0 && info->size &&
	       info->size % CT_PAGE_SIZE == 0 && info->protected >= info->size &&
	       info->protected % CT_PAGE_SIZE == 0 && info->protected <= CT_ARENA_HEAP &&
	       info->size <= ct_run_of(glibc, m).end - base;
}

/** The heap_info at @base, if all that is said there holds. */
static bool ct_thread_region(const struct ct_glibc *glibc, ct_raddr_t base,
			     struct ct_chunk_region *region)
{
	const struct ct_maps *maps = glibc->source.maps;
	struct ct_heap_info info, first;
	ct_raddr_t home;

	if (!ct_heap_info_read(glibc, ct_maps__find(maps, base), base, &info))
		return false;
	*region = (struct ct_chunk_region){ .base = base, .end = base + info.size, .thread = true };
	home = info.arena & ~(CT_ARENA_HEAP - 1);
	if (info.arena - home != 32 && info.arena - home != 48)
		return false;
	if ((home == base) != !info.prev)
		return false;
	if (home == base) {
		region->first = ct_first_chunk(glibc, region, info.arena + CT_ARENA_STATE_MIN,
					       base + CT_ARENA_STATE_MAX);
		return region->first != 0;
	}
	if (!ct_heap_info_read(glibc, ct_maps__find(maps, home), home, &first) ||
	    first.arena != info.arena || first.prev)
		return false;
	/* heap_info is as long in all heaps, and malloc_state follows the first one */
	region->first = base + (info.arena - home);
	return ct_chunk_region__is_sound(region, glibc->source.memory, region->first,
					 CT_SOUND_CHUNKS);
}

/** The region known by @key, made if there is one; NULL if there is none. */
static struct ct_chunk_region *ct_region_at(struct ct_glibc *glibc, ct_raddr_t key,
					    const struct ct_mapping *brk)
{
	uint64_t *slot = ct_map__at(&glibc->region_of, key);
	struct ct_chunk_region found, *region, **regions;

	if (!slot || *slot == (CT_NO_REGION | glibc->epoch))
		return NULL;
	if (*slot && !(*slot & CT_NO_REGION))
		return glibc->regions[*slot - 1];
	*slot = CT_NO_REGION | glibc->epoch;
	if (glibc->region_count >= CT_REGIONS_MAX ||
	    !(brk ? ct_brk_region(glibc, brk, &found) : ct_thread_region(glibc, key, &found)))
		return NULL;
	region = malloc(sizeof(*region));
	regions = realloc(glibc->regions, (glibc->region_count + 1) * sizeof(*regions));
	if (regions)
		glibc->regions = regions;
	if (region)
		*region = found;
	if (!region || !regions || !ct_chunk_region__init(region)) {
		if (region)
			ct_chunk_region__free(region);
		free(region);
		return NULL;
	}
	glibc->regions[glibc->region_count++] = region;
	*slot = glibc->region_count;
	return region;
}

/** The region around @address, in @m. */
static struct ct_chunk_region *ct_region_of(struct ct_glibc *glibc, const struct ct_mapping *m,
					    ct_raddr_t address)
{
	ct_raddr_t base = address & ~(CT_ARENA_HEAP - 1);
	struct ct_chunk_region *region = NULL;

	if (m->kind == CT_MAPPING_HEAP)
		region = ct_region_at(glibc, ct_run_of(glibc, m).start, m);
	else if (ct_is_private_data(m))
		region = ct_region_at(glibc, base, NULL);
	return region && address >= region->base && address < region->end ? region : NULL;
}

/* --- the interface ------------------------------------------------------------------------------
 */

struct ct_glibc *ct_glibc__new(const struct ct_heap_source *source, const char **why)
{
	struct ct_glibc *glibc;

	*why = "no memory to read";
	if (!source->memory)
		return NULL;
	*why = "out of memory";
	glibc = calloc(1, sizeof(*glibc));
	if (!glibc)
		return NULL;
	glibc->source = *source;
	glibc->source.maps = ct_maps__get(source->maps);
	glibc->epoch = 1;
	for (size_t i = 0; i < source->maps->count; i++) {
		const struct ct_mapping *m = &source->maps->list[i];

		if (m->kind == CT_MAPPING_HEAP && ct_region_of(glibc, m, m->start))
			return glibc;
	}
	*why = "no [heap] of glibc's";
	ct_glibc__free(glibc);
	return NULL;
}

void ct_glibc__free(struct ct_glibc *glibc)
{
	if (!glibc)
		return;
	for (size_t i = 0; i < glibc->region_count; i++) {
		ct_chunk_region__free(glibc->regions[i]);
		free(glibc->regions[i]);
	}
	free(glibc->regions);
	ct_map__free(&glibc->region_of);
	ct_mapped__free(&glibc->mapped);
	ct_maps__put(glibc->source.maps);
	free(glibc);
}

/** Where the memory of @region ends now; 0: it is there no more. */
static ct_raddr_t ct_region_end(const struct ct_glibc *glibc, const struct ct_chunk_region *region)
{
	const struct ct_mapping *m = ct_maps__find(glibc->source.maps, region->base);
	struct ct_heap_info info;

	if (region->thread)
		return ct_heap_info_read(glibc, m, region->base, &info) ? region->base + info.size
									: 0;
	return m && m->kind == CT_MAPPING_HEAP && m->start == region->base ? ct_run_of(glibc, m).end
									   : 0;
}

void ct_glibc__renew(struct ct_glibc *glibc, const struct ct_heap_source *source)
{
	struct ct_maps *old = glibc->source.maps;
	size_t kept = 0;

	glibc->source = *source;
	ct_maps__get(source->maps);
	ct_maps__put(old);
	glibc->epoch++;
	glibc->last = NULL;
	ct_mapped__renew(&glibc->mapped);
	if (!source->memory)
		return;
	for (size_t i = 0; i < glibc->region_count; i++) {
		struct ct_chunk_region *region = glibc->regions[i];
		ct_raddr_t key = region->base, end = ct_region_end(glibc, region);
		uint64_t *slot = ct_map__find(&glibc->region_of, key);

		if (end > region->first && ct_chunk_region__renew(region, end)) {
			glibc->regions[kept++] = region;
			if (slot)
				*slot = kept;
			continue;
		}
		ct_map__delete(&glibc->region_of, key);
		ct_chunk_region__free(region);
		free(region);
	}
	glibc->region_count = kept;
}

/**
 * What malloc writes in the second word of a chunk that it keeps in a tcache, and takes away when
 * it gives the chunk out again (malloc.c, tcache_put and tcache_get): one random number for all of
 * the process, up to 2.33 the address of the thread's tcache. The main thread's tcache, which
 * points to the first chunk of each of its lists, is the first thing that was allocated; the value
 * that two of them share is the key.
 */
static uint64_t ct_tcache_key_of(const struct ct_glibc *glibc, const struct ct_chunk_region *region)
{
	uint64_t lists[CT_TCACHE_HEAD_MAX / 8], keys[CT_TCACHE_HEAD_MAX / 8];
	ct_raddr_t head = region->first + CT_CHUNK_HEAD;
	struct ct_chunk_head chunk;
	size_t n = 0, len;

	if (!ct_chunk_head_read(glibc->source.memory, region->first, &chunk))
		return 0;
	len = (chunk.size & ~7ull) - CT_CHUNK_HEAD;
	if (len > sizeof(lists) || !ct_is_touched(glibc, head) ||
	    ct_remote__read(glibc->source.memory, head, lists, len) != (ssize_t)len)
		return 0;
	for (size_t i = 0; i < len / 8; i++) {
		ct_raddr_t user = lists[i];

		if (user % CT_CHUNK_HEAD || user < head + len ||
		    user > region->end - CT_CHUNK_HEAD || !ct_is_touched(glibc, user) ||
		    ct_remote__read(glibc->source.memory, user + 8, &keys[n], 8) != 8 || !keys[n])
			continue;
		for (size_t j = 0; j < n; j++)
			if (keys[j] == keys[n])
				return keys[n];
		n++;
	}
	return 0;
}

/** Does the chunk, in use by its flags, wait in a tcache? */
static bool ct_in_tcache(struct ct_glibc *glibc, const struct ct_chunk *chunk)
{
	uint64_t key = 0;
	const void *page;

	if (glibc->tcache_epoch != glibc->epoch) {
		glibc->tcache_epoch = glibc->epoch;
		for (size_t i = 0; i < glibc->region_count && !key; i++)
			if (!glibc->regions[i]->thread)
				key = ct_tcache_key_of(glibc, glibc->regions[i]);
		if (key)
			glibc->tcache_key = key;
	}
	if (!glibc->tcache_key)
		return false;
	page = ct_remote__touched_page(glibc->source.memory, chunk->user + 8);
	if (!page)
		return false;
	memcpy(&key, (const char *)page + ((chunk->user + 8) & ~CT_PAGE_MASK), sizeof(key));
	return key == glibc->tcache_key;
}

/** Fill @chunk from @found, for @address. */
static void ct_chunk_fill(const struct ct_region_chunk *found, ct_raddr_t address,
			  struct ct_chunk *chunk)
{
	*chunk = (struct ct_chunk){
		.user = found->at + CT_CHUNK_HEAD,
		/* the last one has no next one, whose first 8 bytes would be its own */
		.size = found->size - (found->last ? CT_CHUNK_HEAD : CT_CHUNK_HEAD / 2),
		.in_use = found->in_use,
		.in_header = address < found->at + CT_CHUNK_HEAD,
	};
}

/** The mapped chunk around @address, in @m. */
static bool ct_mapped_chunk(struct ct_glibc *glibc, const struct ct_mapping *m, ct_raddr_t address,
			    struct ct_chunk *chunk)
{
	struct ct_mapped_run run;

	if (!ct_is_private_data(m))
		return false;
	run = ct_run_of(glibc, m);
	return ct_mapped__find(&glibc->mapped, glibc->source.memory, &run, address, chunk);
}

bool ct_glibc__chunk(struct ct_glibc *glibc, ct_raddr_t address, struct ct_chunk *chunk)
{
	struct ct_chunk_region *region = glibc->last;
	struct ct_walker walker = { glibc->source.memory, &glibc->window };
	struct ct_region_chunk found;

	if (!glibc->source.memory)
		return false;
	if (!region || address < region->base || address >= region->end) {
		const struct ct_mapping *m = ct_maps__find(glibc->source.maps, address);

		region = m ? ct_region_of(glibc, m, address) : NULL;
		if (!region)
			return m && ct_mapped_chunk(glibc, m, address, chunk);
		glibc->last = region;
	}
	/* a chunk's bytes are those from its size word to the next one's */
	if (address < region->first + CT_CHUNK_HEAD / 2 ||
	    !ct_chunk_region__find(region, &walker, address - CT_CHUNK_HEAD / 2, &found))
		return false;
	ct_chunk_fill(&found, address, chunk);
	if (chunk->in_use && ct_in_tcache(glibc, chunk))
		chunk->in_use = false;
	return true;
}

/** The first chunk at or behind @at in @m. */
static bool ct_mapping_next(struct ct_glibc *glibc, const struct ct_mapping *m, ct_raddr_t at,
			    struct ct_chunk *chunk)
{
	struct ct_walker walker = { glibc->source.memory, &glibc->window };
	struct ct_chunk_region *region;
	struct ct_region_chunk found;

	while (at < m->end) {
		region = ct_region_of(glibc, m, at);
		if (region) {
			ct_raddr_t from = at > region->first ? at : region->first;

			if (ct_chunk_region__find(region, &walker, from, &found) &&
			    found.at >= from) {
				ct_chunk_fill(&found, found.at + CT_CHUNK_HEAD, chunk);
				return true;
			}
			at = region->end;
		} else if (m->kind != CT_MAPPING_HEAP && !(at & ~CT_PAGE_MASK) &&
			   ct_mapped_chunk(glibc, m, at, chunk) && chunk->user > at) {
			return true;
		} else if (m->kind == CT_MAPPING_HEAP) {
			return false;
		} else {
			at = (at | (CT_ARENA_HEAP - 1)) + 1; /* thread arenas stand there */
		}
	}
	return false;
}

bool ct_glibc__next(struct ct_glibc *glibc, struct ct_chunk *chunk)
{
	const struct ct_maps *maps = glibc->source.maps;
	const struct ct_mapping *from;
	ct_raddr_t at = 0;

	if (!glibc->source.memory)
		return false;
	if (chunk->user) {
		/* where the next one stands: the end of this one's bytes, less the 8 lent to it */
		at = chunk->user + chunk->size;
		if (at % CT_CHUNK_HEAD)
			at -= CT_CHUNK_HEAD / 2;
		if (at <= chunk->user)
			return false;
	}
	from = ct_maps__find(maps, at);
	for (size_t i = from ? (size_t)(from - maps->list) : 0; i < maps->count; i++) {
		const struct ct_mapping *m = &maps->list[i];

		if (m->end <= at || (m->kind != CT_MAPPING_HEAP && !ct_is_private_data(m)))
			continue;
		if (ct_mapping_next(glibc, m, at > m->start ? at : m->start, chunk))
			return true;
	}
	return false;
}
