/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * layout.h - where the fields of CPython's structures stand, version by version (read from DWARF
 * and headers of the builds named in the table; from 3.13 on what _Py_DebugOffsets says goes
 * first). All offsets are bytes; CT_PY_NONE: this version has no such field.
 *
 * The same in all versions that are read (2.7 to 3.15, builds with a GIL) and so not in here:
 * ob_refcnt 0, ob_type 8, ob_size 16; tp_name 24, tp_basicsize 32, tp_itemsize 40, tp_flags 168,
 * tp_is_gc 328; pool_header (pools.h).
 */
#ifndef CT_HEAP_CPYTHON_LAYOUT_H
#define CT_HEAP_CPYTHON_LAYOUT_H

#include <stdbool.h>

#include "base/types.h"

#define CT_PY_NONE 0xffffu

/** enum ct_py_refcount - what the word at ob_refcnt holds. */
enum ct_py_refcount {
	CT_PY_COUNT = 0,   /* up to 3.11: a signed word */
	CT_PY_COUNT_32,	   /* 3.12, 3.13: 32 bits, immortal if bit 31 is set */
	CT_PY_COUNT_FLAGS, /* 3.14 on: 32 bits, overflow at 4, flags at 6 */
};

/** enum ct_py_linetable - how a code object says which line an instruction is of. */
enum ct_py_linetable {
	CT_PY_LNOTAB_UNSIGNED, /* 2.7 */
	CT_PY_LNOTAB,	       /* 3.6 to 3.9: signed line deltas */
	CT_PY_LINES,	       /* 3.10: pairs of length and delta, -128 none */
	CT_PY_LOCATIONS,       /* 3.11 on */
};

struct ct_py_layout {
	uint32_t version;	     /* major << 8 | minor: 0x030b */
	uint16_t gc_head;	     /* bytes before an object with a GC header: 32, 24 or 16 */
	uint16_t gc_refs;	     /* in the GC head, a word of its own; CT_PY_NONE from 3.8 on */
	uint32_t preheader_flags;    /* tp_flags that put 16 bytes before the GC head; 0: none */
	uint32_t inline_values_flag; /* tp_flags: attribute values stand at tp_basicsize; 0: none */
	enum ct_py_refcount refcount;
	uint16_t list_items, list_allocated;
	uint16_t dict_keys, dict_values; /* 2.7: the table, and CT_PY_NONE */
	uint16_t dict_mask, dict_small;	 /* 2.7 only */
	uint16_t keys_header;		 /* bytes of a keys object before its index */
	bool keys_log2;			 /* 3.11 on: sizes are logarithms at 8 and 9, kind at 10 */
	uint16_t set_mask, set_table, set_small;
	uint16_t bytearray_alloc, bytearray_bytes; /* CT_PY_NONE from 3.15 on */
	uint16_t type_cached_keys;
	uint16_t type_name, type_module; /* ht_name, ht_module (CT_PY_NONE before 3.9) */
	uint16_t tuple_items;
	uint16_t str_state, str_ascii_data, str_compact_data; /* 3.x; length is at 16 */
	uint16_t bytes_data;				      /* 2.7: of str */
	uint16_t code_filename, code_name, code_qualname, code_first_line, code_lines, code_bytes;
	enum ct_py_linetable linetable;
	uint16_t instruction_unit; /* bytes of one f_lasti: 1, or 2 in 3.10; 0: a pointer */
	uint16_t frame_back, frame_code, frame_instruction, frame_owner, owner_shims, code_mask;
	uint16_t thread_next, thread_interp, thread_frame, thread_cframe, thread_id;
	uint32_t interp_next, interp_threads, interp_gc, interp_gil, interp_finalising;
	uint32_t runtime_interp_head, runtime_interp_main, runtime_current, runtime_gc;
	uint32_t runtime_finalising, runtime_tss_key; /* all CT_PY_NONE where there is none */
	uint16_t gc_collecting, gc_count1, gc_count2, gc_collections, gc_collections_stride;
	/* gc_count1 and 2 hold if generations[] is at gc_generations; the pointer at gc_generation0
	 * says where it is */
	uint16_t gc_generations, gc_generation0;
	uint16_t gil_last_holder;
};

/** ct_py_layout_of - the layout of @hexversion (PY_VERSION_HEX), NULL for one that is not known. */
const struct ct_py_layout *ct_py_layout_of(uint32_t hexversion);

#endif /* CT_HEAP_CPYTHON_LAYOUT_H */
