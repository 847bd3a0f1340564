/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * map.h - a hash map from a 64-bit key to a 64-bit value, open addressing, 16 bytes a slot, at
 * most 3/4 full. Zeroed memory is an empty map. A key may be any value, 0 included.
 */
#ifndef CT_BASE_MAP_H
#define CT_BASE_MAP_H

#include <stdbool.h>

#include "base/types.h"

struct ct_map_slot {
	uint64_t key, value;
};

struct ct_map {
	struct ct_map_slot *slots; /* key 0 in a slot: empty; key 0 itself lives in zero_value */
	size_t capacity, count;	   /* capacity is a power of two */
	uint64_t zero_value;
	bool has_zero;
};

/** ct_map__at - the value of @key, made with value 0 if absent. NULL: out of memory.
 *  The pointer is good until the next ct_map__at of a new key or ct_map__delete. */
uint64_t *ct_map__at(struct ct_map *map, uint64_t key);
/** ct_map__find - the value of @key, or NULL. */
uint64_t *ct_map__find(const struct ct_map *map, uint64_t key);
/** ct_map__delete - forget @key. Return: whether it was there. */
bool ct_map__delete(struct ct_map *map, uint64_t key);
/** ct_map__free - release the memory; the map is empty after it. */
void ct_map__free(struct ct_map *map);
/** ct_map__next - walk: start with *@cursor 0; false at the end. Order is arbitrary. */
bool ct_map__next(const struct ct_map *map, size_t *cursor, uint64_t *key, uint64_t *value);
/** ct_map__count - number of keys. */
size_t ct_map__count(const struct ct_map *map);

#endif /* CT_BASE_MAP_H */
