/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* buffers.h - whose memory is this block (private to user/heap/cpython). */
#ifndef CT_HEAP_CPYTHON_BUFFERS_H
#define CT_HEAP_CPYTHON_BUFFERS_H

#include "heap/cpython/objects.h"

/** ct_py_buffers__owners - as ct_reader.owners. */
size_t ct_py_buffers__owners(struct ct_py_heap *heap, struct ct_owner_query *queries, size_t count,
			     uint64_t budget_ns);

#endif /* CT_HEAP_CPYTHON_BUFFERS_H */
