/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* gcheap_find.h - where in a process are the heap map descriptors (gcheap/heapmap.h)? */
#ifndef CT_HEAP_GCHEAP_FIND_H
#define CT_HEAP_GCHEAP_FIND_H

#include "gcheap/heapmap.h"
#include "heap/reader.h"

#define CT_GCHEAP_MAX 8u /* heaps in one process */

/**
 * ct_gcheap_find - look through the modules of @source for descriptors.
 * @found: filled with up to CT_GCHEAP_MAX addresses at which the target's memory holds the magic.
 * Return: how many.
 */
size_t ct_gcheap_find(const struct ct_heap_source *source, ct_raddr_t found[CT_GCHEAP_MAX]);

#endif /* CT_HEAP_GCHEAP_FIND_H */
