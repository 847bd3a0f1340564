/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* readers.c - the table of heap readers: add a runtime here. */
#include "heap/reader.h"

const struct ct_reader *const ct_readers[] = {
	&ct_reader_gcheap,
	&ct_reader_cpython,
	&ct_reader_generic,
	NULL,
};
