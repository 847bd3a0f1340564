/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* cpython.h - the reader's handle: what its parts share (private to user/heap/cpython). */
#ifndef CT_HEAP_CPYTHON_CPYTHON_H
#define CT_HEAP_CPYTHON_CPYTHON_H

#include "heap/cpython/pools.h"
#include "heap/cpython/types.h"
#include "heap/glibc.h"

#define CT_PY_STATES 512u
#define CT_PY_SEEN   4096u

/** What was found in a block: the same first writes come from one child after the other. */
struct ct_py_known {
	ct_raddr_t start; /* of the block; 0: none */
	uint64_t bytes, room;
	uint32_t type; /* id; of a live object */
	uint8_t prefix, header, gc;
	bool object, dead, failed;
};
#define CT_PY_KNOWN 4096u

struct ct_py_heap {
	struct ct_python python;
	struct ct_py_present *present;
	struct ct_py_types *types;
	struct ct_py_pools *pools;
	struct ct_py_lines *lines;
	struct ct_glibc *glibc; /* NULL: no heap of glibc's */
	/* states of interpreters and threads, which are in chunks too */
	ct_raddr_t states[CT_PY_STATES];
	size_t state_count;
	bool states_read;		       /* since the last renew */
	struct ct_py_known known[CT_PY_KNOWN]; /* since the last renew */
	uint32_t seen[CT_PY_SEEN]; /* pages asked for since the last renew: low bits of numbers */
	ct_raddr_t owners_from; /* where the last look for owners ran out of time: the next goes on
				 * there; UINT64_MAX: in the chunks; 0: at the beginning */
	const struct ct_mapping *last; /* that an address lay in; of python.source.maps */
};

#endif /* CT_HEAP_CPYTHON_CPYTHON_H */
