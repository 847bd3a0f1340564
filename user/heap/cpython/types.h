/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * types.h - is this word the address of a type, and of which? A bounded cache in front: most words
 * asked for are the same few hundred types (private to user/heap/cpython).
 */
#ifndef CT_HEAP_CPYTHON_TYPES_H
#define CT_HEAP_CPYTHON_TYPES_H

#include "heap/cpython/present.h"
#include "heap/cpython/python.h"

#define CT_PY_OB_TYPE  8u
#define CT_PY_OB_SIZE  16u
#define CT_PY_NAME_MAX 255u
#define CT_PY_LOWEST   0x10000ull /* no pointer of a process is below */
#define CT_PY_HIGHEST  (1ull << 47)
#define CT_PY_HAVE_GC  (1ull << 14) /* tp_flags, the same from 2.7 to 3.15 */
#define CT_PY_HEAPTYPE (1ull << 9)
#define CT_PY_LIST     (1ull << 25)
#define CT_PY_TUPLE    (1ull << 26)
#define CT_PY_UNICODE  (1ull << 28)
#define CT_PY_DICT     (1ull << 29)
#define CT_PY_TYPE     (1ull << 31)

/** enum ct_py_kind - of objects that own memory elsewhere, by their base type. */
enum ct_py_kind {
	CT_PY_OTHER = 0,
	CT_PY_IS_LIST,
	CT_PY_IS_DICT,
	CT_PY_IS_SET,
	CT_PY_IS_BYTEARRAY,
	CT_PY_IS_TYPE,
	CT_PY_IS_DEQUE,
	CT_PY_IS_ARRAY,
	CT_PY_IS_CODE,
	CT_PY_IS_STR, /* unicode of 2.7, or with its characters or their UTF-8 elsewhere */
};

struct ct_py_type {
	ct_raddr_t address;
	uint64_t flags; /* tp_flags */
	uint32_t basicsize;
	uint16_t itemsize;
	uint8_t kind;	 /* enum ct_py_kind */
	uint8_t header;	 /* bytes before the object that the flags demand */
	bool maybe_bare; /* tp_is_gc: an object of it may have no GC header */
	uint32_t id;	 /* in source.types; 0: not asked for yet */
};

struct ct_py_types;

/** ct_py_types__new - of @python, which it keeps. NULL: out of memory. */
struct ct_py_types *ct_py_types__new(const struct ct_python *python, struct ct_py_present *present);
void ct_py_types__free(struct ct_py_types *types);
/** ct_py_types__renew - the memory has moved on: each type is read again when it is next met. */
void ct_py_types__renew(struct ct_py_types *types);
/** ct_py_types__find - the type at @address, or NULL if there is none. Good until the next call. */
struct ct_py_type *ct_py_types__find(struct ct_py_types *types, ct_raddr_t address);
/** ct_py_types__id - the id of a type's name in source.types; 0 if it has none. */
uint32_t ct_py_types__id(struct ct_py_types *types, struct ct_py_type *type);
/** ct_py_types__state_id - the id of "[interpreter state]". */
uint32_t ct_py_types__state_id(struct ct_py_types *types);
/** ct_py_types__counts - can @word be the reference count of a live object? */
bool ct_py_types__counts(const struct ct_py_types *types, uint64_t word);
/** ct_py_types__points - is @address 8-aligned and inside a mapping? */
bool ct_py_types__points(const struct ct_py_types *types, ct_raddr_t address);

#endif /* CT_HEAP_CPYTHON_TYPES_H */
