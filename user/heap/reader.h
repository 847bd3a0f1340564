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

#include <linux/types.h>
#include <stdbool.h>

#include "base/names.h"
#include "base/types.h"
#include "ct_runtime.h"
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
	struct ct_names *lines; /* intern (file, "LINE FUNCTION"), (file, FUNCTION) here */
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
	uint32_t type;	    /* id in source.types; 0 unknown */
	ct_raddr_t object;  /* start of the object or block, 0 unknown */
	uint32_t offset;    /* of the address from object, bytes */
	uint32_t size;	    /* of the object or block, bytes; 0 unknown */
	enum ct_cell field; /* of a static object: its part that was hit; else 0 */
	bool interpreter;   /* cell data: the interpreter's own state */
	bool owner_unknown; /* a buffer: ct_reader.owners may find whose it is */
};

/** A buffer that locate could not say the owner of. */
struct ct_owner_query {
	ct_raddr_t address; /* in: ct_place.object of it */
	ct_raddr_t object;  /* out: the owner */
	uint32_t type;	    /* out: its type; 0: not found */
};

/** A frame in words: ids in source.lines. */
struct ct_source_line {
	uint32_t line;	   /* of (file, "LINE FUNCTION"); LINE 0: the table has none */
	uint32_t function; /* of (file, FUNCTION) */
	uint32_t module;   /* of ("", file) */
};

/** What is said of an interpreter in every output. */
struct ct_interpreter {
	char version[32];    /* "3.11.2"; "" unknown */
	char object[64];     /* "python3.11", "libpython3.13.so.1.0": file that holds it */
	char no_stacks[128]; /* why there are no Python lines; "" if there are */
	struct ct_runtime runtime;
};

struct ct_reader {
	const char *name; /* "gcheap": the heap's name in JSON */
	/** attach - a heap, or NULL with @why set to a string that lasts until the next attach ("no
	 * heap map"). One with "not read" or "can't read" in it is a refusal, "32-bit interpreters
	 * are not read": it is said to the user, and it is no use to ask again. */
	void *(*attach)(const struct ct_heap_source *source, const char **why);
	/** locate - false: not in this heap, ask the next reader. Allocates nothing: once per
	 * fault. */
	bool (*locate)(void *heap, ct_raddr_t address, const struct ct_bytes *before,
		       struct ct_place *place);
	/** renew - the process moved on (it forked again, or its maps were read anew): drop what
	 *  was cached of its memory. @source is the new one, equal in all but maps. */
	void (*renew)(void *heap, const struct ct_heap_source *source);
	void (*close)(void *heap);

	/* what follows only some have: NULL in the others */

	/** owners - look for the owners of @count buffers, all in one pass over the heap, which
	 * takes time: at most about @budget_ns. Return: how many were found. */
	size_t (*owners)(void *heap, struct ct_owner_query *queries, size_t count,
			 uint64_t budget_ns);
	/** interpreter - which one it is, and where the kernel side finds what it reads of it. */
	bool (*interpreter)(void *heap, struct ct_interpreter *interpreter);
	/** source_line - a Python frame in words. False: its code object can't be read, or is none.
	 */
	bool (*source_line)(void *heap, const struct ct_frame *frame, struct ct_source_line *line);
};

/** All readers in the order they are asked; the last, generic, always answers. Ends in NULL. */
extern const struct ct_reader *const ct_readers[];

extern const struct ct_reader ct_reader_gcheap;
extern const struct ct_reader ct_reader_cpython;
extern const struct ct_reader ct_reader_generic;

#endif /* CT_HEAP_READER_H */
