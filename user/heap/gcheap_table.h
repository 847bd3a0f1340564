/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* gcheap_table.h - the arenas of a process's heap maps: a table that follows the target's. */
#ifndef CT_HEAP_GCHEAP_TABLE_H
#define CT_HEAP_GCHEAP_TABLE_H

#include "heap/gcheap_find.h"

#define CT_TYPE_CACHE 1024u /* a power of two */

struct ct_heap_map {
	ct_raddr_t address;
	struct heapmap_descriptor head; /* of the last good reading */
	char name[sizeof(((struct heapmap_descriptor *)0)->name) + 1];
	bool known; /* the arenas are as head says */
};

struct ct_arena {
	ct_raddr_t start, end;
	ct_raddr_t directory;
	uint64_t pool_bytes;
	uint32_t pool_count, header_bytes, pool_header_bytes, entry_bytes;
	uint32_t map;	    /* index of its heap map */
	uint8_t pool_shift; /* 63 with one pool */
	uint64_t epoch;	    /* its directory was asked for then... */
	bool readable;	    /* ...and was there */
	uint8_t *entries;   /* NULL: more than we keep */
};

struct ct_type_slot {
	ct_raddr_t address;
	uint64_t epoch;
	uint32_t map, id;
};

struct ct_gcheap {
	struct ct_remote *memory;
	struct ct_names *types;
	uint64_t epoch; /* from 1; each renew counts */
	struct ct_heap_map maps[CT_GCHEAP_MAX];
	size_t map_count;
	bool unsettled;	 /* a map was changing all the while we read... */
	uint64_t misses; /* ...and so many addresses were asked for in vain since */
	size_t count;
	ct_raddr_t *starts; /* of arenas, sorted: what the search touches */
	struct ct_arena *arenas;
	uint8_t *entries; /* memory of all directories' copies */
	struct ct_type_slot type_cache[CT_TYPE_CACHE];
};

/** ct_gcheap_read - @len bytes of the target; false: not all of them. */
bool ct_gcheap_read(struct ct_gcheap *heap, ct_raddr_t address, void *buf, size_t len);
/** ct_head_is_sound - a descriptor of a version that we know, its numbers within limits. */
bool ct_head_is_sound(const struct heapmap_descriptor *head);
/** ct_gcheap_is_current - whether all maps stand where they stood when the table was read. */
bool ct_gcheap_is_current(struct ct_gcheap *heap);
/** ct_gcheap_refresh - read all tables anew. What can't be read now is gone; what was changing is
 *  marked unsettled. */
void ct_gcheap_refresh(struct ct_gcheap *heap);
/** ct_gcheap_forget - the arenas and the copies of their directories. */
void ct_gcheap_forget(struct ct_gcheap *heap);

#endif /* CT_HEAP_GCHEAP_TABLE_H */
