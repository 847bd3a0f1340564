/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * cause.c - the cause of a write, from the cell, from what the interpreter was doing and, where
 * both leave it open, from the function that wrote. A GC header is written by the collector and by
 * the tracking of a neighbour in the list: only the phase or the writer can tell them apart.
 */
#include "resolve/cause.h"

#include <string.h>

#define CT_PYTHON_HEAP "cpython"
#define CT_MALLOC_HEAP "glibc"

/* Functions that write GC headers. The first that fits counts; a name that ends in * is a prefix.
 */
static const struct {
	const char *heap, *name;
	enum ct_cause cause;
} ct_gc_writers[] = {
	{ "gcheap", "gcheap_collect*", CT_CAUSE_GC },
	{ "gcheap", "update_refs*", CT_CAUSE_GC },
	{ "gcheap", "subtract_refs*", CT_CAUSE_GC },
	{ "gcheap", "visit_*", CT_CAUSE_GC },
	{ "gcheap", "reach_*", CT_CAUSE_GC },
	{ "gcheap", "move_unreachable*", CT_CAUSE_GC },
	{ "gcheap", "gcheap_deduce_unreachable*", CT_CAUSE_GC },
	{ "gcheap", "gcheap_is_closed*", CT_CAUSE_GC },
	{ "gcheap", "collect_into*", CT_CAUSE_GC },
	{ "gcheap", "untrack_atomic*", CT_CAUSE_GC },
	{ "gcheap", "gcheap_*",
	  CT_CAUSE_GC_LINK }, /* all others that the API has: new, track, decref */
	/* CPython, names of 2.7 to 3.15; what only the collector calls is the collector */
	{ "cpython", "collect", CT_CAUSE_GC },
	{ "cpython", "collect_*", CT_CAUSE_GC },
	{ "cpython", "gc_collect*", CT_CAUSE_GC },
	{ "cpython", "visit_*", CT_CAUSE_GC },
	{ "cpython", "update_refs", CT_CAUSE_GC },
	{ "cpython", "subtract_refs", CT_CAUSE_GC },
	{ "cpython", "deduce_unreachable", CT_CAUSE_GC },
	{ "cpython", "move_*", CT_CAUSE_GC }, /* _unreachable, _finalizers, _legacy_finalizers */
	{ "cpython", "delete_garbage", CT_CAUSE_GC },
	{ "cpython", "finalize_garbage", CT_CAUSE_GC },
	{ "cpython", "handle_*", CT_CAUSE_GC }, /* _weakrefs, _finalizers, _legacy_finalizers */
	{ "cpython", "clear_unreachable_mask", CT_CAUSE_GC },
	{ "cpython", "untrack_*", CT_CAUSE_GC }, /* _dicts, _tuples */
	{ "cpython", "_PyDict_MaybeUntrack", CT_CAUSE_GC },
	{ "cpython", "_PyTuple_MaybeUntrack", CT_CAUSE_GC },
	{ "cpython", "_PyGC_Collect*", CT_CAUSE_GC },
	{ "cpython", "PyGC_Collect", CT_CAUSE_GC },
	{ "cpython", "_Py_RunGC", CT_CAUSE_GC },
	{ "cpython", "*traverse", CT_CAUSE_GC }, /* with a visitor in it, by the optimiser */
	/* parts of the interpreter where both are done, inlined or not: nobody can tell */
	{ "cpython", "gc_list_*", CT_CAUSE_UNKNOWN },
	{ "cpython", "append_objects", CT_CAUSE_UNKNOWN },
	{ "cpython", "*+0x", CT_CAUSE_UNKNOWN }, /* a file without .symtab has no name for it */
	{ "cpython", "*@0x", CT_CAUSE_UNKNOWN },
	{ "cpython", "[*", CT_CAUSE_UNKNOWN },
	{ "cpython", "unknown", CT_CAUSE_UNKNOWN },
	/* every other function links and unlinks: PyObject_GC_Track, PyList_New, tupledealloc ...
	 */
	{ "cpython", "*", CT_CAUSE_GC_LINK },
};

/* Does @symbol, but for what the compiler adds to a name (".cold", ".part.0"), fit @name? */
static bool ct_symbol_fits(const char *symbol, const char *name)
{
	size_t len = strcspn(symbol, "."), want = strlen(name);

	if (name[0] == '*' && name[1])
		return strstr(symbol, name + 1) != NULL;
	if (want && name[want - 1] == '*')
		return !strncmp(symbol, name, want - 1);
	return len == want && !strncmp(symbol, name, len);
}

static enum ct_cause ct_gc_cause(const char *heap, const char *symbol)
{
	for (size_t i = 0; i < CT_ARRAY_SIZE(ct_gc_writers); i++)
		if (!strcmp(heap, ct_gc_writers[i].heap) &&
		    ct_symbol_fits(symbol, ct_gc_writers[i].name))
			return ct_gc_writers[i].cause;
	return CT_CAUSE_UNKNOWN;
}

/* Of memory that an interpreter manages, which is known to be doing something special. */
static enum ct_cause ct_phase_cause(const struct ct_place *place, const char *heap, uint32_t phase)
{
	bool cpython = !strcmp(heap, CT_PYTHON_HEAP);

	if (!(phase & CT_PHASE_KNOWN) || place->cell == CT_CELL_UNKNOWN)
		return CT_CAUSE_UNKNOWN;
	/* what it keeps in chunks of malloc goes when it ends, too */
	if ((phase & CT_PHASE_FINALISING) &&
	    (cpython || place->interpreter || !strcmp(heap, CT_MALLOC_HEAP)))
		return CT_CAUSE_EXIT;
	if ((phase & CT_PHASE_COLLECTING) && cpython && !place->interpreter)
		return CT_CAUSE_GC;
	return CT_CAUSE_UNKNOWN;
}

enum ct_cause ct_cause_of(const struct ct_place *place, int reader, const char *symbol,
			  uint32_t phase)
{
	const char *heap = reader < 0 ? "" : ct_readers[reader]->name;
	enum ct_cause cause = ct_phase_cause(place, heap, phase);
	enum ct_cell cell = place->cell;

	if (cause)
		return cause;
	if (place->interpreter)
		return CT_CAUSE_RUNTIME;
	if (cell == CT_CELL_STATIC && place->field)
		cell = place->field;
	switch (cell) {
	case CT_CELL_REFCOUNT:
		return CT_CAUSE_REFCOUNT;
	case CT_CELL_GC_HEADER:
		if ((phase & CT_PHASE_KNOWN) && !strcmp(heap, CT_PYTHON_HEAP))
			return CT_CAUSE_GC_LINK;
		return ct_gc_cause(heap, symbol);
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
