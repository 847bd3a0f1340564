/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * pools.c - a pool is one if its head agrees with itself in seven ways (struct pool_header of
 * obmalloc.c, the same from 2.7 to 3.15): of these, that maxnextoffset is the pool's size less the
 * block's is the strongest. Which of the four geometries it is (4 or 16 KiB, blocks in steps of 8
 * or 16) is found once and then kept.
 */
#include "heap/cpython/pools.h"

#include <stdlib.h>
#include <string.h>

#define CT_POOL_SLOTS	  2048u
#define CT_LOWEST_POINTER 0x10000ull
#define CT_HIGHEST	  (1ull << 47)

struct ct_pool_head {
	uint32_t count, count_pad;
	uint64_t freeblock, nextpool, prevpool;
	uint32_t arenaindex, szidx, nextoffset, maxnextoffset;
};

_Static_assert(sizeof(struct ct_pool_head) == CT_POOL_HEAD, "the head of 2.7 to 3.15");

struct ct_geometry {
	uint32_t pool_bytes, step; /* step: bytes from one size class to the next */
};

static const struct ct_geometry ct_geometries[] = {
	{ 16384, 16 }, /* 3.10 on */
	{ 4096, 16 },
	{ 4096, 8 }, /* 2.7 to 2.7.16, 3.6, 3.7 to 3.7.3 */
	{ 16384, 8 },
};

struct ct_pool_slot {
	struct ct_py_pool pool; /* its base also if there is none */
	uint64_t epoch;
	bool valid;
};

struct ct_py_pools {
	const struct ct_python *python;
	struct ct_py_present *present;
	struct ct_geometry geometry; /* zero: not found out yet */
	uint64_t epoch;
	struct ct_pool_slot slots[CT_POOL_SLOTS];
};

static bool ct_is_pointer(uint64_t word)
{
	return word >= CT_LOWEST_POINTER && word < CT_HIGHEST && !(word & 7);
}

/** The seven checks. Fills in all of @pool but its free blocks. */
static bool ct_pool_check(const struct ct_geometry *geometry, ct_raddr_t base,
			  const struct ct_pool_head *head, struct ct_py_pool *pool)
{
	uint32_t bytes = geometry->pool_bytes, size, max;
	uint64_t carved_end, first = head->freeblock - base - CT_POOL_HEAD;

	if (head->szidx >= CT_POOL_REQUEST_MAX / geometry->step)
		return false;
	size = (head->szidx + 1) * geometry->step;
	max = (bytes - CT_POOL_HEAD) / size;
	if (head->maxnextoffset != bytes - size || head->count > max)
		return false;
	if (head->nextoffset < CT_POOL_HEAD + 2 * size || head->nextoffset > bytes ||
	    (head->nextoffset - CT_POOL_HEAD) % size)
		return false;
	carved_end = head->nextoffset - CT_POOL_HEAD;
	if (head->freeblock && (head->freeblock < base || first >= carved_end || first % size))
		return false;
	if (!ct_is_pointer(head->prevpool) && head->count)
		return false;
	if (head->count && !ct_is_pointer(head->nextpool))
		return false;
	if (!head->freeblock && head->count != max && head->nextoffset <= head->maxnextoffset)
		return false;
	pool->base = base;
	pool->block_bytes = size;
	pool->pool_bytes = bytes;
	pool->carved = (uint32_t)carved_end / size;
	pool->used = head->count;
	pool->has_free = head->freeblock && head->count < pool->carved;
	return true;
}

/** Mark the block at @address free. False: it is none of the pool's, or is marked already. */
static bool ct_pool_mark(struct ct_py_pool *pool, ct_raddr_t address)
{
	uint64_t offset = address - pool->base - CT_POOL_HEAD;
	uint64_t block = offset / pool->block_bytes;

	if (address < pool->base + CT_POOL_HEAD || offset % pool->block_bytes ||
	    block >= pool->carved || pool->free[block / 64] >> block % 64 & 1)
		return false;
	pool->free[block / 64] |= 1ull << block % 64;
	return true;
}

/**
 * The head of what may be a pool at @base; the page is one that the target has touched. Of a pool
 * of several pages the head is read alone: most faults are in the other pages.
 */
static bool ct_pool_head_read(struct ct_py_pools *pools, const struct ct_geometry *geometry,
			      ct_raddr_t base, struct ct_pool_head *head)
{
	struct ct_remote *memory = pools->python->source.memory;
	const uint8_t *page;

	if (geometry->pool_bytes > CT_PAGE_SIZE)
		return ct_remote__read(memory, base, head, sizeof(*head)) == sizeof(*head);
	page = ct_remote__page(memory, base);
	if (page)
		memcpy(head, page + (base & ~CT_PAGE_MASK), sizeof(*head));
	return page;
}

/** Follow the chain of free blocks: each holds the address of the next, and so was touched. */
static void ct_pool_walk(struct ct_py_pools *pools, struct ct_py_pool *pool, ct_raddr_t next)
{
	struct ct_remote *memory = pools->python->source.memory;

	memset(pool->free, 0, sizeof(pool->free));
	while (ct_pool_mark(pool, next)) { /* ends: each round marks one block more */
		const uint8_t *page = ct_remote__page(memory, next);

		if (!page)
			break;
		memcpy(&next, page + (next & ~CT_PAGE_MASK), sizeof(next));
	}
}

bool ct_py_pools__decode(const struct ct_py_pools *pools, ct_raddr_t base, const uint8_t *bytes,
			 size_t len, struct ct_py_pool *pool)
{
	struct ct_pool_head head;
	ct_raddr_t next;

	if (!pools->geometry.pool_bytes || len < sizeof(head))
		return false;
	memcpy(&head, bytes, sizeof(head));
	if (!ct_pool_check(&pools->geometry, base, &head, pool))
		return false;
	if (!pool->has_free)
		return true;
	memset(pool->free, 0, sizeof(pool->free));
	next = head.freeblock;
	while (ct_pool_mark(pool, next) && next - base <= len - sizeof(next))
		memcpy(&next, bytes + (next - base), sizeof(next));
	return true;
}

/** Is there a pool of @geometry around @address in @mapping? Fills @pool and @head. */
static bool ct_pool_try(struct ct_py_pools *pools, const struct ct_geometry *geometry,
			const struct ct_mapping *mapping, ct_raddr_t address,
			struct ct_pool_head *head, struct ct_py_pool *pool)
{
	ct_raddr_t base = address & ~(ct_raddr_t)(geometry->pool_bytes - 1);

	if (base < mapping->start || base + geometry->pool_bytes > mapping->end)
		return false;
	if ((base ^ address) & CT_PAGE_MASK && !ct_py_present__has(pools->present, base))
		return false;
	return ct_pool_head_read(pools, geometry, base, head) &&
	       ct_pool_check(geometry, base, head, pool);
}

/** Find out the geometry from @address: the first pool in use that is one decides. */
static void ct_pools_learn(struct ct_py_pools *pools, ct_raddr_t address)
{
	const struct ct_mapping *mapping = ct_maps__find(pools->python->source.maps, address);
	struct ct_pool_head head;
	struct ct_py_pool pool;

	if (!mapping || !mapping->writable || mapping->shared)
		return;
	for (size_t i = 0; i < CT_ARRAY_SIZE(ct_geometries); i++)
		if (ct_pool_try(pools, &ct_geometries[i], mapping, address, &head, &pool) &&
		    pool.used) {
			pools->geometry = ct_geometries[i];
			return;
		}
}

struct ct_py_pools *ct_py_pools__new(const struct ct_python *python, struct ct_py_present *present)
{
	static const uint16_t anchors[] = { 264, 336, 344 }; /* tp_dict, tp_bases, tp_mro */
	struct ct_py_pools *pools = calloc(1, sizeof(*pools));

	if (!pools)
		return NULL;
	pools->python = python;
	pools->present = present;
	pools->epoch = 1;
	for (size_t i = 0; i < CT_ARRAY_SIZE(anchors) && !pools->geometry.pool_bytes; i++) {
		ct_raddr_t object = ct_python__word(python, python->type_type + anchors[i]);

		if (ct_is_pointer(object) && ct_py_present__has(present, object))
			ct_pools_learn(pools, object);
	}
	return pools;
}

void ct_py_pools__free(struct ct_py_pools *pools)
{
	free(pools);
}

void ct_py_pools__renew(struct ct_py_pools *pools)
{
	pools->epoch++;
}

uint32_t ct_py_pools__bytes(const struct ct_py_pools *pools)
{
	return pools->geometry.pool_bytes;
}

const struct ct_py_pool *ct_py_pools__find(struct ct_py_pools *pools,
					   const struct ct_mapping *mapping, ct_raddr_t address)
{
	struct ct_pool_head head;
	struct ct_pool_slot *slot;
	ct_raddr_t base;

	if (!pools->geometry.pool_bytes) {
		ct_pools_learn(pools, address);
		if (!pools->geometry.pool_bytes)
			return NULL;
	}
	base = address & ~(ct_raddr_t)(pools->geometry.pool_bytes - 1);
	slot = &pools->slots[(base * 0x9e3779b97f4a7c15ull >> 40) % CT_POOL_SLOTS];
	if (slot->pool.base != base || slot->epoch != pools->epoch) {
		slot->valid =
			ct_pool_try(pools, &pools->geometry, mapping, address, &head, &slot->pool);
		slot->pool.base = base;
		slot->epoch = pools->epoch;
		if (slot->valid && slot->pool.has_free)
			ct_pool_walk(pools, &slot->pool, head.freeblock);
	}
	return slot->valid ? &slot->pool : NULL;
}
