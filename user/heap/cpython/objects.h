/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * objects.h - which object is in this block, and which part of it was hit (private to
 * user/heap/cpython).
 */
#ifndef CT_HEAP_CPYTHON_OBJECTS_H
#define CT_HEAP_CPYTHON_OBJECTS_H

#include "heap/cpython/cpython.h"

/* Bytes at the start of a block that tell what is in it: two prefixes of the debugging allocator,
 * a header of 32, and an object up to the state word of a str. */
#define CT_PY_HEAD_BYTES 104u
#define CT_PY_HEAD_WORDS (CT_PY_HEAD_BYTES / 8)

/** A block of an allocator, in use. */
struct ct_py_block {
	ct_raddr_t start;
	uint64_t bytes;
};

/** The first words of a block, read when they are first asked for. */
struct ct_py_head {
	uint64_t words[CT_PY_HEAD_WORDS];
	uint32_t have;	/* a bit for each word that is there */
	uint32_t count; /* words that the block has */
	bool failed;	/* to read them: the process is gone */
};

/** What is in a block. */
struct ct_py_found {
	struct ct_py_type *type; /* good until the next ct_py_types call; NULL: no object */
	uint32_t prefix;	 /* bytes of the debugging allocator before all else */
	uint32_t header;	 /* bytes between those and the object */
	uint64_t room;		 /* bytes from the object on */
	bool dead;		 /* its count is 0: it waits in its type's list of free ones */
};

/** ct_py_head__begin - a head of @block: what @before (or NULL) has of it; the rest is read when it
 *  is asked for. */
void ct_py_head__begin(struct ct_py_head *head, const struct ct_py_block *block,
		       const struct ct_bytes *before);
/** ct_py_head__full - a head from memory that was read already: @len bytes of the block. */
void ct_py_head__full(struct ct_py_head *head, const uint8_t *bytes, size_t len);
/** ct_py_object__find - the object in @block, whose words are in @head or are read from the
 *  target. Return: whether there is one (or a dead one). */
bool ct_py_object__find(struct ct_py_heap *heap, const struct ct_py_block *block,
			struct ct_py_head *head, struct ct_py_found *found);
/** ct_py_object__locate - what of the object in @block is @address? Fills @place; if no object is
 *  there, as a buffer of an owner unknown. @before as in ct_reader.locate. */
void ct_py_object__locate(struct ct_py_heap *heap, const struct ct_py_block *block,
			  ct_raddr_t address, const struct ct_bytes *before,
			  struct ct_place *place);
/** ct_py_object__fits - could an object of @type, its words from ob_refcnt on at @words (@count of
 *  them), lie in @room bytes? */
bool ct_py_object__fits(const struct ct_python *python, const struct ct_py_type *type,
			const uint64_t *words, uint32_t count, uint64_t room);
/** ct_py_place__set - @place is the @bytes from @start on. */
void ct_py_place__set(struct ct_place *place, enum ct_cell cell, ct_raddr_t address,
		      ct_raddr_t start, uint64_t bytes);

#endif /* CT_HEAP_CPYTHON_OBJECTS_H */
