/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * map.c - open addressing with linear probing; deletion moves later entries of the run back, so
 * there are no tombstones and a table that sees many short-lived keys does not silt up.
 */
#include "base/map.h"

#include <stdlib.h>

static size_t ct_map_home(const struct ct_map *map, uint64_t key)
{
	/* addresses differ in few, middle bits: the multiply spreads them, the top bits are best */
	return (size_t)((key * 0x9e3779b97f4a7c15ull) >> 20) & (map->capacity - 1);
}

static struct ct_map_slot *ct_map_probe(const struct ct_map *map, uint64_t key)
{
	size_t i = ct_map_home(map, key);

	while (map->slots[i].key && map->slots[i].key != key)
		i = (i + 1) & (map->capacity - 1);
	return &map->slots[i];
}

static bool ct_map_grow(struct ct_map *map)
{
	struct ct_map bigger = { .capacity = map->capacity ? map->capacity * 2 : 64 };

	bigger.slots = calloc(bigger.capacity, sizeof(*bigger.slots));
	if (!bigger.slots)
		return false;
	for (size_t i = 0; i < map->capacity; i++)
		if (map->slots[i].key)
			*ct_map_probe(&bigger, map->slots[i].key) = map->slots[i];
	free(map->slots);
	map->slots = bigger.slots;
	map->capacity = bigger.capacity;
	return true;
}

uint64_t *ct_map__at(struct ct_map *map, uint64_t key)
{
	struct ct_map_slot *slot;

	if (!key) {
		map->has_zero = true;
		return &map->zero_value;
	}
	if (map->capacity) {
		slot = ct_map_probe(map, key);
		if (slot->key)
			return &slot->value;
	}
	if (map->count + 1 > map->capacity / 4 * 3 && !ct_map_grow(map))
		return NULL;
	slot = ct_map_probe(map, key);
	slot->key = key;
	slot->value = 0;
	map->count++;
	return &slot->value;
}

uint64_t *ct_map__find(const struct ct_map *map, uint64_t key)
{
	struct ct_map_slot *slot;

	if (!key)
		return map->has_zero ? (uint64_t *)&map->zero_value : NULL;
	if (!map->capacity)
		return NULL;
	slot = ct_map_probe(map, key);
	return slot->key ? &slot->value : NULL;
}

bool ct_map__delete(struct ct_map *map, uint64_t key)
{
	size_t mask = map->capacity - 1, hole, i;
	struct ct_map_slot *slot;
	bool had = map->has_zero;

	if (!key) {
		map->has_zero = false;
		map->zero_value = 0;
		return had;
	}
	if (!map->capacity)
		return false;
	slot = ct_map_probe(map, key);
	if (!slot->key)
		return false;
	hole = (size_t)(slot - map->slots);
	for (i = (hole + 1) & mask; map->slots[i].key; i = (i + 1) & mask) {
		size_t home = ct_map_home(map, map->slots[i].key);

		/* may move back only if its home does not lie in (hole, i] */
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			map->slots[hole] = map->slots[i];
			hole = i;
		}
	}
	map->slots[hole].key = 0;
	map->count--;
	return true;
}

void ct_map__free(struct ct_map *map)
{
	free(map->slots);
	*map = (struct ct_map){ 0 };
}

bool ct_map__next(const struct ct_map *map, size_t *cursor, uint64_t *key, uint64_t *value)
{
	if (*cursor == 0) {
		*cursor = 1;
		if (map->has_zero) {
			*key = 0;
			*value = map->zero_value;
			return true;
		}
	}
	for (; *cursor <= map->capacity; (*cursor)++) {
		const struct ct_map_slot *slot = &map->slots[*cursor - 1];

		if (!slot->key)
			continue;
		*key = slot->key;
		*value = slot->value;
		(*cursor)++;
		return true;
	}
	return false;
}

size_t ct_map__count(const struct ct_map *map)
{
	return map->count + map->has_zero;
}
