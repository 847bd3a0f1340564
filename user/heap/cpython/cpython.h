/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* cpython.h - the reader's handle: what its parts share (private to user/heap/cpython). */
#ifndef CT_HEAP_CPYTHON_CPYTHON_H
#define CT_HEAP_CPYTHON_CPYTHON_H

#include "heap/cpython/pools.h"
#include "heap/cpython/types.h"
#include "heap/glibc.h"

struct ct_py_heap {
	struct ct_python python;
	struct ct_py_present *present;
	struct ct_py_types *types;
	struct ct_py_pools *pools;
	struct ct_py_lines *lines;
	struct ct_glibc *glibc;	       /* NULL: no heap of glibc's */
	const struct ct_mapping *last; /* that an address lay in; of python.source.maps */
};

#endif /* CT_HEAP_CPYTHON_CPYTHON_H */
