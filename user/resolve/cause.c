/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * cause.c - the cause of a write, from the cell and, where that leaves it open, from the function
 * that wrote. A GC header is written by the collector and by the tracking of a neighbour in the
 * list: only the writer can tell them apart.
 */
#include "resolve/cause.h"

#include <string.h>

static const struct {
	const char *heap, *prefix; /* of a function's name */
	enum ct_cause cause;
} ct_gc_writers[] = {
	{ "gcheap", "gcheap_collect", CT_CAUSE_GC },
	{ "gcheap", "update_refs", CT_CAUSE_GC },
	{ "gcheap", "subtract_refs", CT_CAUSE_GC },
	{ "gcheap", "visit_", CT_CAUSE_GC },
	{ "gcheap", "reach_", CT_CAUSE_GC },
	{ "gcheap", "move_unreachable", CT_CAUSE_GC },
	{ "gcheap", "gcheap_deduce_unreachable", CT_CAUSE_GC },
	{ "gcheap", "gcheap_is_closed", CT_CAUSE_GC },
	{ "gcheap", "collect_into", CT_CAUSE_GC },
	{ "gcheap", "untrack_atomic", CT_CAUSE_GC },
	{ "gcheap", "gcheap_",
	  CT_CAUSE_GC_LINK }, /* all others that the API has: new, track, decref */
};

static enum ct_cause ct_gc_cause(int reader, const char *symbol)
{
	for (size_t i = 0; i < CT_ARRAY_SIZE(ct_gc_writers); i++)
		if (!strcmp(ct_readers[reader]->name, ct_gc_writers[i].heap) &&
		    !strncmp(symbol, ct_gc_writers[i].prefix, strlen(ct_gc_writers[i].prefix)))
			return ct_gc_writers[i].cause;
	return CT_CAUSE_UNKNOWN;
}

enum ct_cause ct_cause_of(const struct ct_place *place, int reader, const char *symbol)
{
	switch (place->cell) {
	case CT_CELL_REFCOUNT:
		return CT_CAUSE_REFCOUNT;
	case CT_CELL_GC_HEADER:
		return reader < 0 ? CT_CAUSE_UNKNOWN : ct_gc_cause(reader, symbol);
	case CT_CELL_ALLOCATOR:
	case CT_CELL_FREE:
		return CT_CAUSE_ALLOCATION;
	case CT_CELL_TYPE:
	case CT_CELL_PAYLOAD:
	case CT_CELL_PREHEADER:
	case CT_CELL_BUFFER:
	case CT_CELL_STATIC:
	case CT_CELL_FILE:
		return CT_CAUSE_MUTATION;
	case CT_CELL_STACK:
		return CT_CAUSE_RUNTIME;
	default:
		return CT_CAUSE_UNKNOWN;
	}
}
