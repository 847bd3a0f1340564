/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * present.h - has the target ever touched this page? Reading one that it has not would map the zero
 * page (or the file's) there, so whoever follows a pointer of the target asks here first.
 */
#ifndef CT_HEAP_CPYTHON_PRESENT_H
#define CT_HEAP_CPYTHON_PRESENT_H

#include <stdbool.h>

#include "base/types.h"
#include "process/remote.h"

#define CT_PRESENT_GROUP 64u /* pages that one word of bits tells of */

struct ct_py_present;

/** ct_py_present__new - of @memory, which it keeps. NULL: out of memory. Where it can't be told,
 *  every page counts as untouched. */
struct ct_py_present *ct_py_present__new(struct ct_remote *memory);
void ct_py_present__free(struct ct_py_present *present);
/** ct_py_present__renew - the memory has moved on. */
void ct_py_present__renew(struct ct_py_present *present);
/** ct_py_present__group - a bit for each of the 64 pages of the aligned 256 KiB around @address:
 *  in memory or in swap. */
uint64_t ct_py_present__group(struct ct_py_present *present, ct_raddr_t address);
/** ct_py_present__has - whether the page of @address is in memory or in swap. */
bool ct_py_present__has(struct ct_py_present *present, ct_raddr_t address);

#endif /* CT_HEAP_CPYTHON_PRESENT_H */
