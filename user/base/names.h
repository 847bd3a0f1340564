/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * names.h - pairs of strings made small numbers: (heap, type) and (object file, symbol). A name is
 * stored once, escaped on its way in, and lives as long as the table; ids count up from 1, so an
 * array indexed by id is the natural tally. Id 0 is "unknown".
 */
#ifndef CT_BASE_NAMES_H
#define CT_BASE_NAMES_H

#include "base/types.h"

struct ct_names;

/** ct_names__new - an empty table. NULL: out of memory. Free with ct_names__free. */
struct ct_names *ct_names__new(void);
void ct_names__free(struct ct_names *names);
/** ct_names__id - the id of (@scope, @name), added if new; 0 when out of memory. */
uint32_t ct_names__id(struct ct_names *names, const char *scope, const char *name);
/** Strings of an id; "" and "unknown" for 0 or an id never given. */
const char *ct_names__scope(const struct ct_names *names, uint32_t id);
const char *ct_names__name(const struct ct_names *names, uint32_t id);
/** ct_names__count - the highest id given. */
uint32_t ct_names__count(const struct ct_names *names);

#endif /* CT_BASE_NAMES_H */
