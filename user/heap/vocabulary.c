/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* vocabulary.c - the words for cells and causes. */
#include "heap/vocabulary.h"

static const char *const ct_cell_names[CT_CELL_COUNT] = {
	"unknown",   "gc_header", "refcount", "type",  "payload", "preheader", "buffer",
	"allocator", "free",	  "static",   "stack", "data",	  "file",
};

static const char *const ct_cause_names[CT_CAUSE_COUNT] = {
	"unknown", "refcount", "gc", "gc_link", "allocation", "mutation", "exit", "runtime",
};

const char *ct_cell_name(enum ct_cell cell)
{
	return ct_cell_names[(unsigned int)cell < CT_CELL_COUNT ? cell : CT_CELL_UNKNOWN];
}

const char *ct_cause_name(enum ct_cause cause)
{
	return ct_cause_names[(unsigned int)cause < CT_CAUSE_COUNT ? cause : CT_CAUSE_UNKNOWN];
}
