/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * lists.h - lists of small numbers made small numbers: a stack is the list of its frames' ids. A
 * list is stored once, and lives as long as the table; ids count up from 1, 0 is "unknown".
 */
#ifndef CT_BASE_LISTS_H
#define CT_BASE_LISTS_H

#include "base/types.h"

struct ct_lists;

/** ct_lists__new - an empty table that holds at most @most lists. NULL: out of memory. */
struct ct_lists *ct_lists__new(uint32_t most);
void ct_lists__free(struct ct_lists *lists);
/** ct_lists__id - the id of the @count numbers at @items, added if new; 0 when there is no room.
 *  The empty list is 0. */
uint32_t ct_lists__id(struct ct_lists *lists, const uint32_t *items, size_t count);
/** ct_lists__get - the numbers of an id; *@count 0 for 0 and an id never given. Good until the next
 *  ct_lists__id. */
const uint32_t *ct_lists__get(const struct ct_lists *lists, uint32_t id, size_t *count);
/** ct_lists__count - the highest id given. */
uint32_t ct_lists__count(const struct ct_lists *lists);

#endif /* CT_BASE_LISTS_H */
