/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* statics.h - objects in the data of the interpreter and of extension modules (private to
 * user/heap/cpython). */
#ifndef CT_HEAP_CPYTHON_STATICS_H
#define CT_HEAP_CPYTHON_STATICS_H

#include "heap/cpython/objects.h"

/** ct_py_static__locate - @address lies in @mapping, a module's data: in which static object, or in
 *  the interpreter's own state? False: neither. */
bool ct_py_static__locate(struct ct_py_heap *heap, const struct ct_mapping *mapping,
			  ct_raddr_t address, const struct ct_bytes *before,
			  struct ct_place *place);

#endif /* CT_HEAP_CPYTHON_STATICS_H */
