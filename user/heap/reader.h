/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * reader.h - a heap reader answers "which cell of which object is this address?" for one kind of
 * heap. A new runtime is one struct ct_reader and one line in readers.c.
 *
 * The target's memory is hostile: every pointer is checked, every loop bounded, every string cut
 * (ct_names escapes it).
 */
#ifndef CT_HEAP_READER_H
#define CT_HEAP_READER_H

#include <stdbool.h>

#include "base/names.h"
#include "base/types.h"
#include "heap/vocabulary.h"
#include "process/maps.h"
#include "process/remote.h"
#include "process/symbols.h"

/** The process a heap is read from: what it lends lives as long as the heap. */
struct ct_heap_source {
	struct ct_maps *maps;	  /* may be replaced: see ct_reader.renew */
	struct ct_remote *memory; /* NULL when the process is gone: only generic can answer */
	struct ct_symbols *symbols;
	struct ct_names *types; /* intern (heap name, type name) here */
};

/** Bytes of the page as they were before the write, when the record carried them. */
struct ct_bytes {
	ct_raddr_t address;
	const uint8_t *data;
	size_t len; /* 0: none */
};

/** The answer: where an address lies. */
struct ct_place {
	enum ct_cell cell;
	uint32_t type;	   /* id in source.types; 0 unknown */
	ct_raddr_t object; /* start of the object or block, 0 unknown */
	uint32_t offset;   /* of the address from object, bytes */
	uint32_t size;	   /* of the object or block, bytes; 0 unknown */
};

struct ct_reader {
	const char *name; /* "gcheap": the heap's name in JSON */
	/** attach - a heap, or NULL with @why set to a static string ("no heap map"). */
	void *(*attach)(const struct ct_heap_source *source, const char **why);
	/** locate - false: not in this heap, ask the next reader. Allocates nothing: once per
	 * fault. */
	bool (*locate)(void *heap, ct_raddr_t address, const struct ct_bytes *before,
		       struct ct_place *place);
	/** renew - the process moved on (it forked again, or its maps were read anew): drop what
	 *  was cached of its memory. @source is the new one, equal in all but maps. */
	void (*renew)(void *heap, const struct ct_heap_source *source);
	void (*close)(void *heap);
};

/** All readers in the order they are asked; the last, generic, always answers. Ends in NULL. */
extern const struct ct_reader *const ct_readers[];

extern const struct ct_reader ct_reader_gcheap;
extern const struct ct_reader ct_reader_generic;

#endif /* CT_HEAP_READER_H */
