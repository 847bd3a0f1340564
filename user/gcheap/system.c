/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * system.c - the heap's memory from the system and back, within its limit; how the heap is opened,
 * made ready by its first use, and closed.
 */
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

struct gcheap_heap gcheap_heap;

void *gcheap_map(size_t bytes, size_t align)
{
	size_t slack = align > GCHEAP_PAGE_BYTES ? align - GCHEAP_PAGE_BYTES : 0, before;
	char *start;

	if (gcheap_heap.limit_bytes &&
	    (bytes > gcheap_heap.limit_bytes ||
	     gcheap_heap.stats.mapped_bytes > gcheap_heap.limit_bytes - bytes))
		return NULL;
	start = mmap(NULL, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	if (start == MAP_FAILED)
		return NULL;
	before = slack ? -(uintptr_t)start & (align - 1) : 0;
	if (before)
		munmap(start, before);
	if (slack > before)
		munmap(start + before + bytes, slack - before);
	gcheap_heap.stats.mapped_bytes += bytes;
	return start + before;
}

void gcheap_unmap(void *start, size_t bytes)
{
	GCHEAP_UNPOISON(start, bytes);
	munmap(start, bytes);
	gcheap_heap.stats.mapped_bytes -= bytes;
}

void gcheap_make_ready(void)
{
	static const size_t thresholds[GCHEAP_GENERATIONS] = { 700, 10, 10 };

	if (gcheap_heap.ready)
		return;
	gcheap_heap.ready = true;
	gcheap_heap.enabled = true;
	gcheap_ring_init(&gcheap_heap.frozen);
	for (int i = 0; i < GCHEAP_GENERATIONS; i++) {
		gcheap_ring_init(&gcheap_heap.generations[i].ring);
		gcheap_heap.generations[i].threshold = thresholds[i];
	}
}

bool gcheap_open(const struct gcheap_options *options)
{
	if (gcheap_heap.stats.mapped_bytes)
		return false;
	gcheap_make_ready();
	if (!options)
		return true;
	if (options->layout != GCHEAP_INLINE && options->layout != GCHEAP_SPLIT)
		return false;
	gcheap_heap.apart = options->layout == GCHEAP_SPLIT;
	gcheap_heap.enabled = !options->disabled;
	gcheap_heap.limit_bytes = options->limit_bytes;
	return true;
}

void gcheap_close(void)
{
	gcheap_forget_retired();
	gcheap_unpublish_all();
	memset(&gcheap_heap, 0, sizeof(gcheap_heap));
}

void gcheap_get_stats(struct gcheap_stats *stats)
{
	*stats = gcheap_heap.stats;
}

void gcheap_set_limit(size_t bytes)
{
	gcheap_heap.limit_bytes = bytes;
}
