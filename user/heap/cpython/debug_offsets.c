/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * debug_offsets.c - _Py_DebugOffsets, with which _PyRuntime starts from 3.13 on: the build says
 * itself where its fields stand. Read from the file, where it is constant data. The table's own
 * layout differs from minor version to minor version (read from their pycore_debug_offsets.h).
 */
#include <stddef.h>
#include <string.h>

#include "heap/cpython/internal.h"

#define CT_TABLE_WORDS 128u

/** A word of the table, where it stands in 3.13, 3.14 and 3.15 (bytes), and whose it is. */
struct ct_debug_field {
	uint16_t at[3];
	uint32_t limit;	 /* it must be less */
	uint16_t align;	 /* and a multiple of this */
	uint16_t target; /* offset in struct ct_py_layout */
	uint16_t bytes;	 /* there: 2 or 4 */
};

#define CT_FIELD(name, a, b, c, limit_, align_)                      \
	{                                                            \
		.at = { a, b, c }, .limit = limit_, .align = align_, \
		.target = offsetof(struct ct_py_layout, name),       \
		.bytes = sizeof(((struct ct_py_layout *)0)->name)    \
	}

#define CT_RUNTIME_MAX	   (1u << 24)
#define CT_INTERPRETER_MAX (1u << 24)
#define CT_STRUCT_MAX	   4096u

static const struct ct_debug_field ct_debug_fields[] = {
	CT_FIELD(runtime_finalising, 32, 32, 32, CT_RUNTIME_MAX, 8),
	CT_FIELD(runtime_interp_head, 40, 40, 40, CT_RUNTIME_MAX, 8),
	CT_FIELD(interp_next, 64, 64, 64, CT_INTERPRETER_MAX, 8),
	CT_FIELD(interp_threads, 72, 72, 72, CT_INTERPRETER_MAX, 8),
	CT_FIELD(interp_gc, 80, 88, 88, CT_INTERPRETER_MAX, 8),
	CT_FIELD(interp_gil, 112, 120, 120, CT_INTERPRETER_MAX, 8),
	CT_FIELD(thread_next, 168, 192, 192, CT_STRUCT_MAX, 8),
	CT_FIELD(thread_interp, 176, 200, 200, CT_STRUCT_MAX, 8),
	CT_FIELD(thread_frame, 184, 208, 208, CT_STRUCT_MAX, 8),
	CT_FIELD(thread_id, 192, 216, 240, CT_STRUCT_MAX, 8),
	CT_FIELD(frame_back, 232, 256, 320, CT_STRUCT_MAX, 8),
	CT_FIELD(frame_code, 240, 264, 328, CT_STRUCT_MAX, 8),
	CT_FIELD(frame_instruction, 248, 272, 336, CT_STRUCT_MAX, 8),
	CT_FIELD(frame_owner, 264, 288, 352, CT_STRUCT_MAX, 1),
	CT_FIELD(code_filename, 280, 320, 384, CT_STRUCT_MAX, 8),
	CT_FIELD(code_name, 288, 328, 392, CT_STRUCT_MAX, 8),
	CT_FIELD(code_qualname, 296, 336, 400, CT_STRUCT_MAX, 8),
	CT_FIELD(code_lines, 304, 344, 408, CT_STRUCT_MAX, 8),
	CT_FIELD(code_first_line, 312, 352, 416, CT_STRUCT_MAX, 4),
	CT_FIELD(code_bytes, 344, 384, 448, CT_STRUCT_MAX, 1),
	CT_FIELD(tuple_items, 408, 456, 552, CT_STRUCT_MAX, 8),
	CT_FIELD(list_items, 432, 480, 576, CT_STRUCT_MAX, 8),
	CT_FIELD(dict_keys, 456, 536, 632, CT_STRUCT_MAX, 8),
	CT_FIELD(dict_values, 464, 544, 640, CT_STRUCT_MAX, 8),
	CT_FIELD(bytes_data, 528, 608, 704, CT_STRUCT_MAX, 1),
	CT_FIELD(str_state, 544, 624, 720, CT_STRUCT_MAX, 4),
	CT_FIELD(str_ascii_data, 560, 640, 736, CT_STRUCT_MAX, 8),
	CT_FIELD(gc_collecting, 576, 656, 760, CT_STRUCT_MAX, 4),
};

/** What is the same in every build that is read, and so not in the layout. */
static const struct {
	uint16_t at[3];
	uint64_t value;
} ct_debug_constants[] = {
	{ { 360, 408, 472 }, 8 },   /* ob_type */
	{ { 376, 424, 488 }, 24 },  /* tp_name */
	{ { 392, 440, 504 }, 168 }, /* tp_flags */
	{ { 416, 464, 560 }, 16 },  /* ob_size of a tuple */
	{ { 440, 488, 584 }, 16 },  /* ob_size of a list */
	{ { 520, 600, 696 }, 16 },  /* ob_size of bytes */
	{ { 552, 632, 728 }, 16 },  /* length of a str */
};

bool ct_py_debug_head(const struct ct_py_module *module, uint64_t runtime_vaddr,
		      struct ct_py_debug_head *head)
{
	static const char cookie[8] = { 'x', 'd', 'e', 'b', 'u', 'g', 'p', 'y' };
	char bytes[8];

	return ct_py_module__read(module, runtime_vaddr, bytes, sizeof(bytes)) &&
	       !memcmp(bytes, cookie, sizeof(cookie)) &&
	       ct_py_module__read(module, runtime_vaddr + 8, head, sizeof(*head));
}

bool ct_py_debug_offsets(const struct ct_py_module *module, uint64_t runtime_vaddr,
			 struct ct_py_layout *layout)
{
	unsigned int column = layout->version - 0x030d;
	struct ct_py_layout corrected = *layout;
	uint64_t words[CT_TABLE_WORDS];

	if (column >= CT_ARRAY_SIZE(ct_debug_fields[0].at) ||
	    !ct_py_module__read(module, runtime_vaddr, words, sizeof(words)))
		return false;
	for (size_t i = 0; i < CT_ARRAY_SIZE(ct_debug_constants); i++) {
		if (words[ct_debug_constants[i].at[column] / 8] != ct_debug_constants[i].value)
			return false;
	}
	for (size_t i = 0; i < CT_ARRAY_SIZE(ct_debug_fields); i++) {
		const struct ct_debug_field *field = &ct_debug_fields[i];
		uint64_t value = words[field->at[column] / 8];
		char *target = (char *)&corrected + field->target;

		if (value >= field->limit || value % field->align ||
		    (field->bytes == 4 && value == CT_PY_NONE))
			return false;
		if (field->bytes == 4)
			*(uint32_t *)(void *)target = (uint32_t)value;
		else
			*(uint16_t *)(void *)target = (uint16_t)value;
	}
	/* the head of the list stands before the main one in every version */
	corrected.runtime_interp_main = corrected.runtime_interp_head + 8;
	/* what it does not say stands at the same distance from what it says */
	if (corrected.interp_gc != layout->interp_gc ||
	    corrected.gc_collecting != layout->gc_collecting) {
		corrected.interp_finalising = CT_PY_NONE;
		if (corrected.gc_collecting != layout->gc_collecting) {
			corrected.gc_count1 = corrected.gc_count2 = CT_PY_NONE;
			corrected.gc_collections = CT_PY_NONE;
		}
	}
	*layout = corrected;
	return true;
}
