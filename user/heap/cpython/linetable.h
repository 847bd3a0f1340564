/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* linetable.h - the tables with which a code object says which line an instruction is of. */
#ifndef CT_HEAP_CPYTHON_LINETABLE_H
#define CT_HEAP_CPYTHON_LINETABLE_H

#include "heap/cpython/layout.h"

/**
 * ct_py_linetable_find - the line of the instruction @offset bytes into the code (negative: none
 * was executed yet), by @table of @len bytes, whatever it holds. @first: the code's first line.
 * Return: 0 for an instruction that has none, or is not in the table.
 */
uint32_t ct_py_linetable_find(enum ct_py_linetable kind, const uint8_t *table, size_t len,
			      int32_t first, int64_t offset);

#endif /* CT_HEAP_CPYTHON_LINETABLE_H */
