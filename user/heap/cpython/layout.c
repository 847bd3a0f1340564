/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * layout.c - the table of layouts. Read from DWARF of 2.7.18, 3.6.15, 3.7.16, 3.8.18, 3.9.18,
 * 3.10.13, 3.11.7, 3.12.1 and 3.13.0, from the headers of Debian's 3.13.18, 3.14.10 and 3.15.2, and
 * compared with running ones. Groups that several versions share are macros; each version names
 * every group, so that nothing is inherited unseen.
 */
#include "heap/cpython/layout.h"

#define NONE CT_PY_NONE

#define SAME_IN_ALL                                                              \
	.list_items = 24, .list_allocated = 32, .set_mask = 32, .set_table = 40, \
	.gil_last_holder = 8, .owner_shims = 3

/* --- objects ------------------------------------------------------------------------------- */
#define GC_WORDS_3 .gc_refs = 16, .preheader_flags = 0, .inline_values_flag = 0
#define GC_WORDS_2 .gc_head = 16, .gc_refs = NONE

#define DICT_3	    .dict_keys = 32, .dict_values = 40, .dict_mask = NONE, .dict_small = NONE
#define KEYS_36	    .keys_header = 40, .keys_log2 = false
#define KEYS_311    .keys_header = 32, .keys_log2 = true
#define BYTES_3	    .set_small = 64, .bytes_data = 32
#define BYTEARRAY_3 .bytearray_alloc = 24, .bytearray_bytes = 32

#define STR_36	.str_state = 32, .str_ascii_data = 48, .str_compact_data = 72
#define STR_312 .str_state = 32, .str_ascii_data = 40, .str_compact_data = 56

/* --- code ---------------------------------------------------------------------------------- */
#define CODE_36                                                                              \
	.code_filename = 96, .code_name = 104, .code_qualname = NONE, .code_first_line = 36, \
	.code_lines = 112, .code_bytes = NONE
#define CODE_38                                                                               \
	.code_filename = 104, .code_name = 112, .code_qualname = NONE, .code_first_line = 40, \
	.code_lines = 120, .code_bytes = NONE
#define CODE_311                                                                         \
	.code_filename = 112, .code_name = 120, .code_qualname = 128, .code_lines = 136, \
	.linetable = CT_PY_LOCATIONS, .instruction_unit = 0

/* --- frames, threads ------------------------------------------------------------------------- */
#define FRAME_OBJECT .frame_back = 24, .frame_code = 32, .frame_owner = NONE, .code_mask = 0
#define FRAME_312    .frame_back = 8, .frame_code = 0, .frame_instruction = 56
#define THREAD_37                                                                         \
	.thread_next = 8, .thread_interp = 16, .thread_frame = 24, .thread_cframe = NONE, \
	.thread_id = 176
#define THREAD_311 .thread_next = 8, .thread_interp = 16

/* --- the collector ---------------------------------------------------------------------------- */
#define GC_STATIC                                                                            \
	.gc_collecting = NONE, .gc_count1 = NONE, .gc_count2 = NONE, .gc_collections = NONE, \
	.gc_collections_stride = 24, .gc_generations = NONE, .gc_generation0 = NONE
#define GC_STATE_38                                                                    \
	.gc_collecting = 200, .gc_count1 = 68, .gc_count2 = 92, .gc_collections = 128, \
	.gc_collections_stride = 24, .gc_generations = 24, .gc_generation0 = 96

/* --- interpreter and runtime ------------------------------------------------------------------ */
#define RUNTIME_NONE                                                                       \
	.runtime_interp_head = NONE, .runtime_interp_main = NONE, .runtime_current = NONE, \
	.runtime_gc = NONE, .runtime_finalising = NONE, .runtime_tss_key = NONE
#define INTERP_36 \
	.interp_next = 0, .interp_threads = 8, .interp_gil = NONE, .interp_finalising = NONE

static const struct ct_py_layout ct_py_27 = {
	.version = 0x0207,
	SAME_IN_ALL,
	GC_WORDS_3,
	.gc_head = 32,
	.refcount = CT_PY_COUNT,
	/* the table itself, 24 bytes an entry */
	.dict_keys = 40,
	.dict_values = NONE,
	.dict_mask = 32,
	.dict_small = 56,
	.keys_header = NONE,
	.set_small = 56,
	.bytearray_alloc = 32,
	.bytearray_bytes = 40,
	.type_cached_keys = NONE,
	.type_name = 856,
	.type_module = NONE,
	.tuple_items = 24,
	.str_state = NONE,
	.str_ascii_data = NONE,
	.str_compact_data = NONE,
	.bytes_data = 36,
	.code_filename = 80,
	.code_name = 88,
	.code_qualname = NONE,
	.code_first_line = 96,
	.code_lines = 104,
	.code_bytes = NONE,
	.linetable = CT_PY_LNOTAB_UNSIGNED,
	.instruction_unit = 1,
	FRAME_OBJECT,
	.frame_instruction = 120,
	.thread_next = 0,
	.thread_interp = 8,
	.thread_frame = 16,
	.thread_cframe = NONE,
	.thread_id = 144,
	INTERP_36,
	.interp_gc = NONE,
	RUNTIME_NONE,
	GC_STATIC,
};

static const struct ct_py_layout ct_py_36 = {
	.version = 0x0306,
	SAME_IN_ALL,
	GC_WORDS_3,
	.gc_head = 24, /* 32 in patched builds: see ct_python_gc_head */
	.refcount = CT_PY_COUNT,
	DICT_3,
	KEYS_36,
	BYTES_3,
	BYTEARRAY_3,
	.type_cached_keys = 856,
	.type_name = 832,
	.type_module = NONE,
	.tuple_items = 24,
	STR_36,
	CODE_36,
	.linetable = CT_PY_LNOTAB,
	.instruction_unit = 1,
	FRAME_OBJECT,
	.frame_instruction = 120,
	.thread_next = 8,
	.thread_interp = 16,
	.thread_frame = 24,
	.thread_cframe = NONE,
	.thread_id = 152,
	INTERP_36,
	.interp_gc = NONE,
	RUNTIME_NONE,
	GC_STATIC,
};

#define SAME_IN_37                                                                            \
	.version = 0x0307, SAME_IN_ALL, GC_WORDS_3, .refcount = CT_PY_COUNT, DICT_3, KEYS_36, \
	BYTES_3, BYTEARRAY_3, .type_cached_keys = 856, .type_name = 832, .type_module = NONE, \
	.tuple_items = 24, STR_36, CODE_36, .linetable = CT_PY_LNOTAB, .instruction_unit = 1, \
	FRAME_OBJECT, .frame_instruction = 104, THREAD_37, INTERP_36, .interp_gc = NONE,      \
	.runtime_interp_head = 24, .runtime_interp_main = 32, .runtime_finalising = 8

static const struct ct_py_layout ct_py_37 = {
	SAME_IN_37,
	.gc_head = 32,
	.runtime_current = 1480,
	.runtime_gc = 320,
	.runtime_tss_key = 1504,
	.gc_collecting = 312,
	.gc_count1 = 116,
	.gc_count2 = 164,
	.gc_collections = 240,
	.gc_collections_stride = 24,
	.gc_generations = 32,
	.gc_generation0 = 176,
};

/* before bpo-27987 a GC head had 24 bytes, and what is behind the collector's state in the runtime
 * stood elsewhere */
static const struct ct_py_layout ct_py_370 = {
	SAME_IN_37,	    .gc_head = 24,	     .runtime_current = NONE,
	.runtime_gc = NONE, .runtime_tss_key = NONE, GC_STATIC,
};

static const struct ct_py_layout ct_py_38 = {
	.version = 0x0308,
	SAME_IN_ALL,
	GC_WORDS_2,
	.refcount = CT_PY_COUNT,
	DICT_3,
	KEYS_36,
	BYTES_3,
	BYTEARRAY_3,
	.type_cached_keys = 872,
	.type_name = 848,
	.type_module = NONE,
	.tuple_items = 24,
	STR_36,
	CODE_38,
	.linetable = CT_PY_LNOTAB,
	.instruction_unit = 1,
	FRAME_OBJECT,
	.frame_instruction = 104,
	THREAD_37,
	INTERP_36,
	.interp_gc = NONE,
	.runtime_interp_head = 32,
	.runtime_interp_main = 40,
	.runtime_current = 1368,
	.runtime_gc = 344,
	.runtime_finalising = 16,
	.runtime_tss_key = 1392,
	GC_STATE_38,
};

static const struct ct_py_layout ct_py_39 = {
	.version = 0x0309,
	SAME_IN_ALL,
	GC_WORDS_2,
	.refcount = CT_PY_COUNT,
	DICT_3,
	KEYS_36,
	BYTES_3,
	BYTEARRAY_3,
	.type_cached_keys = 864,
	.type_name = 840,
	.type_module = 872,
	.tuple_items = 24,
	STR_36,
	CODE_38,
	.linetable = CT_PY_LNOTAB,
	.instruction_unit = 1,
	FRAME_OBJECT,
	.frame_instruction = 104,
	THREAD_37,
	INTERP_36,
	.interp_gc = 616,
	.runtime_interp_head = 32,
	.runtime_interp_main = 40,
	.runtime_current = 568,
	.runtime_gc = NONE,
	.runtime_finalising = 16,
	.runtime_tss_key = 584,
	GC_STATE_38,
};

static const struct ct_py_layout ct_py_310 = {
	.version = 0x030a,
	SAME_IN_ALL,
	GC_WORDS_2,
	.refcount = CT_PY_COUNT,
	DICT_3,
	KEYS_36,
	BYTES_3,
	BYTEARRAY_3,
	.type_cached_keys = 872,
	.type_name = 848,
	.type_module = 880,
	.tuple_items = 24,
	STR_36,
	CODE_38,
	.linetable = CT_PY_LINES,
	.instruction_unit = 2,
	FRAME_OBJECT,
	.frame_instruction = 96,
	THREAD_37,
	INTERP_36,
	.interp_gc = 616,
	.runtime_interp_head = 32,
	.runtime_interp_main = 40,
	.runtime_current = 568,
	.runtime_gc = NONE,
	.runtime_finalising = 16,
	.runtime_tss_key = 584,
	GC_STATE_38,
};

static const struct ct_py_layout ct_py_311 = {
	.version = 0x030b,
	SAME_IN_ALL,
	GC_WORDS_2,
	.preheader_flags = 1u << 4,
	.refcount = CT_PY_COUNT,
	DICT_3,
	KEYS_311,
	BYTES_3,
	BYTEARRAY_3,
	.type_cached_keys = 872,
	.type_name = 848,
	.type_module = 880,
	.tuple_items = 24,
	STR_36,
	CODE_311,
	.code_first_line = 72,
	.code_bytes = 184,
	.frame_back = 48,
	.frame_code = 32,
	.frame_instruction = 56,
	.frame_owner = 69,
	.code_mask = 0,
	THREAD_311,
	.thread_frame = 56,
	.thread_cframe = 8,
	.thread_id = 152,
	.interp_next = 0,
	.interp_threads = 16,
	.interp_gc = 648,
	.interp_gil = NONE,
	.interp_finalising = NONE,
	.runtime_interp_head = 40,
	.runtime_interp_main = 48,
	.runtime_current = 576,
	.runtime_gc = NONE,
	.runtime_finalising = 24,
	.runtime_tss_key = 592,
	GC_STATE_38,
};

static const struct ct_py_layout ct_py_312 = {
	.version = 0x030c,
	SAME_IN_ALL,
	GC_WORDS_2,
	.preheader_flags = 3u << 3,
	.refcount = CT_PY_COUNT_32,
	DICT_3,
	KEYS_311,
	BYTES_3,
	BYTEARRAY_3,
	.type_cached_keys = 880,
	.type_name = 856,
	.type_module = 888,
	.tuple_items = 24,
	STR_312,
	CODE_311,
	.code_first_line = 68,
	.code_bytes = 192,
	FRAME_312,
	.frame_owner = 70,
	.code_mask = 0,
	THREAD_311,
	.thread_frame = 56,
	.thread_cframe = 0,
	.thread_id = 136,
	.interp_next = 0,
	.interp_threads = 72,
	.interp_gc = 112,
	.interp_gil = 384,
	.interp_finalising = 104,
	.runtime_interp_head = 40,
	.runtime_interp_main = 48,
	.runtime_current = NONE,
	.runtime_gc = NONE,
	.runtime_finalising = 24,
	.runtime_tss_key = 1544,
	GC_STATE_38,
};

static const struct ct_py_layout ct_py_313 = {
	.version = 0x030d,
	SAME_IN_ALL,
	GC_WORDS_2,
	.preheader_flags = 3u << 3,
	.inline_values_flag = 1u << 2,
	.refcount = CT_PY_COUNT_32,
	DICT_3,
	KEYS_311,
	BYTES_3,
	BYTEARRAY_3,
	.type_cached_keys = 880,
	.type_name = 856,
	.type_module = 888,
	.tuple_items = 24,
	STR_312,
	CODE_311,
	.code_first_line = 68,
	.code_bytes = 200,
	FRAME_312,
	.frame_owner = 70,
	.code_mask = 0,
	THREAD_311,
	.thread_frame = 72,
	.thread_cframe = NONE,
	.thread_id = 152,
	.interp_next = 7264,
	.interp_threads = 7344,
	.interp_gc = 7400,
	.interp_gil = 16,
	.interp_finalising = 7384,
	.runtime_interp_head = 632,
	.runtime_interp_main = 640,
	.runtime_current = NONE,
	.runtime_gc = NONE,
	.runtime_finalising = 608,
	.runtime_tss_key = 2160,
	GC_STATE_38,
};

#define SAME_IN_314                                                                                \
	.version = 0x030e, SAME_IN_ALL, GC_WORDS_2, .preheader_flags = 3u << 3,                    \
	.inline_values_flag = 1u << 2, .refcount = CT_PY_COUNT_FLAGS, DICT_3, KEYS_311, BYTES_3,   \
	BYTEARRAY_3, .type_cached_keys = 880, .type_name = 856, .type_module = 888,                \
	.tuple_items = 32, STR_312, CODE_311, .code_first_line = 68, .code_bytes = 208, FRAME_312, \
	.frame_owner = 74, .code_mask = 3, THREAD_311, .thread_frame = 72, .thread_cframe = NONE,  \
	.thread_id = 152, .interp_next = 7272, .interp_threads = 7344, .interp_gc = 7408,          \
	.interp_gil = 16, .interp_finalising = NONE, .runtime_interp_head = 808,                   \
	.runtime_interp_main = 816, .runtime_current = NONE, .runtime_gc = NONE,                   \
	.runtime_finalising = 784, .runtime_tss_key = 2336, .gc_collecting = 192,                  \
	.gc_collections_stride = 24

static const struct ct_py_layout ct_py_314 = {
	SAME_IN_314,	       .gc_count1 = 68,	     .gc_count2 = 92,
	.gc_collections = 120, .gc_generations = 24, .gc_generation0 = 256,
};

/* 3.14.0 to 3.14.4 collect in increments: there are no generations to count */
static const struct ct_py_layout ct_py_314_incremental = {
	SAME_IN_314,
	.gc_count1 = NONE,
	.gc_count2 = NONE,
	.gc_collections = NONE,
	.gc_generations = NONE,
	.gc_generation0 = NONE,
};

static const struct ct_py_layout ct_py_315 = {
	.version = 0x030f,
	SAME_IN_ALL,
	GC_WORDS_2,
	.preheader_flags = 3u << 3,
	.inline_values_flag = 1u << 2,
	.refcount = CT_PY_COUNT_FLAGS,
	DICT_3,
	KEYS_311,
	BYTES_3,
	/* its buffer is a bytes object */
	.bytearray_alloc = NONE,
	.bytearray_bytes = NONE,
	.type_cached_keys = 888,
	.type_name = 864,
	.type_module = 896,
	.tuple_items = 32,
	STR_312,
	CODE_311,
	.code_first_line = 68,
	.code_bytes = 208,
	FRAME_312,
	.frame_owner = 74,
	.code_mask = 3,
	THREAD_311,
	.thread_frame = 72,
	.thread_cframe = NONE,
	.thread_id = 176,
	.interp_next = 7264,
	.interp_threads = 7336,
	.interp_gc = 7400,
	.interp_gil = 16,
	.interp_finalising = NONE,
	.runtime_interp_head = 936,
	.runtime_interp_main = 944,
	.runtime_current = NONE,
	.runtime_gc = NONE,
	.runtime_finalising = 912,
	.runtime_tss_key = NONE,
	.gc_collecting = 112,
	.gc_count1 = 52,
	.gc_count2 = 76,
	/* counted in a ring of records elsewhere */
	.gc_collections = NONE,
	.gc_collections_stride = 0,
	.gc_generations = 8,
	.gc_generation0 = 168,
};

/** From a version on, up to the next line. */
static const struct {
	uint32_t since; /* PY_VERSION_HEX */
	const struct ct_py_layout *layout;
} ct_py_layouts[] = {
	{ 0x020700f0, &ct_py_27 },
	{ 0x02080000, NULL },
	{ 0x030600c0, &ct_py_36 },
	{ 0x03070000, NULL },
	{ 0x030700c0, &ct_py_370 },
	{ 0x030704c0, &ct_py_37 },
	{ 0x03080000, NULL },
	{ 0x030800c0, &ct_py_38 },
	{ 0x03090000, NULL },
	{ 0x030900c0, &ct_py_39 },
	{ 0x030a0000, NULL },
	{ 0x030a00c0, &ct_py_310 },
	{ 0x030b0000, NULL },
	{ 0x030b00c0, &ct_py_311 },
	{ 0x030c0000, NULL },
	{ 0x030c00c0, &ct_py_312 },
	{ 0x030d0000, NULL },
	{ 0x030d00c3, &ct_py_313 }, /* the first two candidates still had the incremental GC */
	{ 0x030e0000, NULL },
	{ 0x030e00c0, &ct_py_314_incremental },
	{ 0x030e0500, &ct_py_314 },
	{ 0x030f0000, NULL }, /* alphas and betas are not known: much still moves in them */
	{ 0x030f00c0, &ct_py_315 },
	{ 0x03100000, NULL },
};

const struct ct_py_layout *ct_py_layout_of(uint32_t hexversion)
{
	const struct ct_py_layout *layout = NULL;

	for (size_t i = 0; i < CT_ARRAY_SIZE(ct_py_layouts); i++) {
		if (hexversion < ct_py_layouts[i].since)
			break;
		layout = ct_py_layouts[i].layout;
	}
	return layout;
}
