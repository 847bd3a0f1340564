/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * pools.h - pymalloc's pools, known by their own consistency: no symbol is needed. A pool is 4 or
 * 16 KiB, aligned to its size; a head of 48 bytes, then blocks of one size (private to
 * user/heap/cpython).
 */
#ifndef CT_HEAP_CPYTHON_POOLS_H
#define CT_HEAP_CPYTHON_POOLS_H

#include "heap/cpython/present.h"
#include "heap/cpython/python.h"

#define CT_POOL_HEAD	    48u
#define CT_POOL_REQUEST_MAX 512u  /* bytes; what is bigger goes to malloc */
#define CT_POOL_BLOCKS_MAX  2042u /* of 8 bytes in 16 KiB */
#define CT_POOL_WORDS	    ((CT_POOL_BLOCKS_MAX + 63) / 64)

struct ct_py_pool {
	ct_raddr_t base;
	uint32_t block_bytes;
	uint32_t pool_bytes;
	uint32_t carved;	      /* blocks made so far; the rest was never used */
	uint32_t used;		      /* ref.count */
	bool has_free;		      /* some of those carved are free: see free */
	uint64_t free[CT_POOL_WORDS]; /* bit of each free block; only with has_free */
};

struct ct_py_pools;

/** ct_py_pools__new - of @python, which it keeps. Finds out the geometry from objects that every
 *  type has. NULL: out of memory. */
struct ct_py_pools *ct_py_pools__new(const struct ct_python *python, struct ct_py_present *present);
void ct_py_pools__free(struct ct_py_pools *pools);
/** ct_py_pools__renew - the memory has moved on: each pool is read again when it is next met. */
void ct_py_pools__renew(struct ct_py_pools *pools);
/** ct_py_pools__find - the pool that @address, in @mapping, lies in; NULL: in none. Good until the
 *  next call. */
const struct ct_py_pool *ct_py_pools__find(struct ct_py_pools *pools,
					   const struct ct_mapping *mapping, ct_raddr_t address);
/** ct_py_pools__decode - the same from @bytes, the @len bytes of memory at @base (a multiple of the
 *  pool size), for a walk over all: false if there is no pool. */
bool ct_py_pools__decode(const struct ct_py_pools *pools, ct_raddr_t base, const uint8_t *bytes,
			 size_t len, struct ct_py_pool *pool);
/** ct_py_pools__bytes - the size of a pool; 0: no pool was met yet. */
uint32_t ct_py_pools__bytes(const struct ct_py_pools *pools);

static inline bool ct_py_pool_is_free(const struct ct_py_pool *pool, uint32_t block)
{
	return block >= pool->carved ||
	       (pool->has_free && pool->free[block / 64] >> block % 64 & 1);
}

#endif /* CT_HEAP_CPYTHON_POOLS_H */
