/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * heapmap.h - how a program publishes its heap, so that a reader outside the process can tell which
 * part of which object an address is, almost without reading the heap itself. Needs nothing: any
 * runtime can copy this file.
 *
 *   descriptor -> arenas[] -> pools[] (the directory, not inside the arena) -> "block 7 is live,
 * type T"
 *
 * An arena is cut into pools of equal size, a pool (behind its header) into blocks of equal size. A
 * block is [GC header, if HEAPMAP_GC] [object: refcount word, type word, payload]. A big object is
 * an arena of its own with one pool of one block. All addresses are of the publishing process.
 *
 * With HEAPMAP_APART blocks are the object alone: refcounts and GC headers are in two arrays of the
 * pool's, one element a block in the same order, somewhere else in the same arena.
 *
 * Write arena tables and directories, zeros included, before they are on the map: a reader maps in
 * what it reads. The descriptor is found by its ELF note (which survives strip), its section, its
 * symbol or by a scan of the module's writable data for the magic.
 */
#ifndef HEAPMAP_H
#define HEAPMAP_H

#include <stdint.h>

#define HEAPMAP_VERSION	  2
#define HEAPMAP_MAGIC	  "\177heapmap\r\n\032\377v1\0" /* 16 bytes with the last NUL */
#define HEAPMAP_NOTE_NAME "heapmap"
#define HEAPMAP_NOTE_TYPE 1 /* 8 bytes: distance from themselves to the descriptor, signed */

/** The one symbol, heapmap_descriptor. All offsets, sizes and counts are in bytes unless said. */
struct heapmap_descriptor {
	uint8_t magic[16];
	uint32_t version;    /* HEAPMAP_VERSION */
	uint32_t size;	     /* of this struct */
	char name[16];	     /* of the heap, for people; cut, not necessarily terminated */
	uint64_t generation; /* + 1 before and after every change of arenas: odd while changing */
	uint64_t arenas;     /* address of struct heapmap_arena[arena_count], any order */
	uint32_t arena_count;
	uint32_t gc_header_bytes; /* in front of the object in a pool with HEAPMAP_GC */
	uint32_t refcount_offset, refcount_bytes; /* in the object; no such word: 0 bytes */
	uint32_t type_offset, type_bytes;	  /* a pointer of 8 bytes, or 0 bytes: none */
	uint32_t type_name_offset;		  /* in the type */
	uint32_t type_name_bytes;   /* of a name held inside the type; 0: a char pointer */
	uint32_t type_size_offset;  /* of a word: bytes of an object without its items */
	uint32_t type_flags_offset; /* of the type's flags, HEAPMAP_GC among them */
	uint32_t apart_count_bytes; /* of an element of heapmap_pool.counts; version 2 */
	uint32_t apart_head_bytes;  /* the same of .heads */
};

/** A range of addresses that the heap owns. The reader claims it whole: what is no pool is
 * allocator. */
struct heapmap_arena {
	uint64_t start, end;
	uint64_t directory;	    /* address of the first struct heapmap_pool */
	uint64_t pool_bytes;	    /* with more than one pool: a power of two */
	uint32_t pool_count;	    /* 0: no objects here (directories, tables) */
	uint32_t header_bytes;	    /* of the arena, before its first pool */
	uint32_t pool_header_bytes; /* of every pool, before its first block */
	uint32_t entry_bytes;	    /* from one struct heapmap_pool to the next, >= 48 */
};

#define HEAPMAP_GC    1u /* blocks begin with a GC header */
#define HEAPMAP_RAW   2u /* blocks are memory that objects own: no refcount, no type word */
#define HEAPMAP_MIXED 4u /* objects of several types were made here: see each one's type word */
#define HEAPMAP_APART 8u /* refcounts are in counts, GC headers (if HEAPMAP_GC) in heads */

/** What a pool holds. block_bytes 0: nothing yet, all of it is free. */
struct heapmap_pool {
	uint64_t block_bytes;
	uint64_t
		type; /* address of the type of all objects made here so far (RAW: of the owners) */
	uint32_t carved; /* blocks used at least once; those behind them are free */
	uint32_t flags;
	uint64_t counts, heads; /* addresses of the arrays for all its blocks, or 0; version 2 */
	uint64_t live[];	/* bit n % 64 of word n / 64: block n is in use */
};

#ifdef __cplusplus
#define HEAPMAP_C extern "C"
#else
#define HEAPMAP_C extern
#endif
HEAPMAP_C struct heapmap_descriptor heapmap_descriptor;
/** The module's own, by a name that no other module's can take the place of: write to this one. */
HEAPMAP_C struct heapmap_descriptor heapmap_here __attribute__((visibility("hidden")));

/** HEAPMAP_DEFINE(.member = value, ...) - the descriptor with its section, symbol and note (ELF;
 *  once a module; gcc or clang). Members not named here are set in heapmap_here as they come to be.
 */
#define HEAPMAP_DEFINE(...)                                                           \
	__attribute__((section(".heapmap"), used, visibility("default"),              \
		       aligned(16))) struct heapmap_descriptor heapmap_descriptor = { \
		.magic = HEAPMAP_MAGIC,                                               \
		.version = HEAPMAP_VERSION,                                           \
		.size = sizeof(heapmap_descriptor),                                   \
		__VA_ARGS__                                                           \
	};                                                                            \
	HEAPMAP_C struct heapmap_descriptor heapmap_here                              \
		__attribute__((alias("heapmap_descriptor"), used));                   \
	__asm__(".pushsection .note.heapmap, \"a\", %note\n"                          \
		".balign 4\n"                                                         \
		".long 8, 8, 1\n"                                                     \
		".asciz \"heapmap\"\n"                                                \
		".quad heapmap_here - .\n"                                            \
		".popsection\n")

#endif /* HEAPMAP_H */
