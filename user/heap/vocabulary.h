/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* vocabulary.h - cells and causes, one spelling everywhere (DESIGN: Vocabulary). */
#ifndef CT_HEAP_VOCABULARY_H
#define CT_HEAP_VOCABULARY_H

/** enum ct_cell - what kind of memory a written address is. */
enum ct_cell {
	CT_CELL_UNKNOWN = 0,
	CT_CELL_GC_HEADER,
	CT_CELL_REFCOUNT,
	CT_CELL_TYPE,
	CT_CELL_PAYLOAD,
	CT_CELL_PREHEADER, /* managed dict and weakref words in front of an object */
	CT_CELL_BUFFER,	   /* memory that an object owns elsewhere: list items, dict tables */
	CT_CELL_ALLOCATOR, /* heads of pools, arenas and chunks */
	CT_CELL_FREE,	   /* a free block: a new object is made there */
	CT_CELL_STATIC,	   /* an object in a library's data */
	CT_CELL_STACK,
	CT_CELL_DATA,
	CT_CELL_FILE,
	CT_CELL_COUNT
};

/** enum ct_cause - why it was written, from cell, writer and phase. */
enum ct_cause {
	CT_CAUSE_UNKNOWN = 0,
	CT_CAUSE_REFCOUNT,
	CT_CAUSE_GC,	  /* the collector */
	CT_CAUSE_GC_LINK, /* track or untrack of a neighbour */
	CT_CAUSE_ALLOCATION,
	CT_CAUSE_MUTATION,
	CT_CAUSE_EXIT,	  /* the interpreter's finalisation */
	CT_CAUSE_RUNTIME, /* loader, libc, interpreter state */
	CT_CAUSE_COUNT
};

/** The word used in JSON, on screen and in --help. Never NULL; "unknown" for a wild value. */
const char *ct_cell_name(enum ct_cell cell);
const char *ct_cause_name(enum ct_cause cause);

#endif /* CT_HEAP_VOCABULARY_H */
