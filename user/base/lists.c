/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* lists.c - interned lists of numbers, one behind the other; hash to id through a ct_map. */
#include "base/lists.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"

struct ct_list {
	size_t start; /* in items */
	uint32_t count;
	uint32_t next; /* another list of the same hash */
};

struct ct_lists {
	struct ct_list *list; /* list[0] is unused */
	uint32_t *items;
	size_t n_items, items_capacity;
	uint32_t count, capacity, most;
	struct ct_map by_hash;
};

struct ct_lists *ct_lists__new(uint32_t most)
{
	struct ct_lists *lists = calloc(1, sizeof(*lists));

	if (lists)
		lists->most = most;
	return lists;
}

void ct_lists__free(struct ct_lists *lists)
{
	if (!lists)
		return;
	free(lists->list);
	free(lists->items);
	ct_map__free(&lists->by_hash);
	free(lists);
}

static uint64_t ct_list_hash(const uint32_t *items, size_t count)
{
	uint64_t h = count;

	for (size_t i = 0; i < count; i++) {
		h = (h ^ items[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return h;
}

/* An array of elements of @size bytes, with room for @need of them. NULL: out of memory. */
static void *ct_list_room(void *array, size_t *capacity, size_t need, size_t size)
{
	size_t more = *capacity ? *capacity : 64;
	void *bigger;

	if (need <= *capacity)
		return array;
	while (more < need)
		more *= 2;
	bigger = realloc(array, more * size);
	if (bigger)
		*capacity = more;
	return bigger;
}

static bool ct_lists_reserve(struct ct_lists *lists, size_t count)
{
	size_t capacity = lists->capacity;
	void *list = ct_list_room(lists->list, &capacity, lists->count + 2ul, sizeof(*lists->list));
	void *items;

	if (!list)
		return false;
	lists->list = list;
	lists->capacity = (uint32_t)capacity;
	items = ct_list_room(lists->items, &lists->items_capacity, lists->n_items + count,
			     sizeof(*lists->items));
	if (!items)
		return false;
	lists->items = items;
	return true;
}

uint32_t ct_lists__id(struct ct_lists *lists, const uint32_t *items, size_t count)
{
	uint64_t hash = ct_list_hash(items, count), *head = ct_map__find(&lists->by_hash, hash);

	if (!count)
		return 0;
	for (uint32_t i = head ? (uint32_t)*head : 0; i; i = lists->list[i].next)
		if (lists->list[i].count == count &&
		    !memcmp(lists->items + lists->list[i].start, items, count * sizeof(*items)))
			return i;
	if (lists->count >= lists->most || !ct_lists_reserve(lists, count))
		return 0;
	head = ct_map__at(&lists->by_hash, hash);
	if (!head)
		return 0;
	memcpy(lists->items + lists->n_items, items, count * sizeof(*items));
	lists->list[++lists->count] =
		(struct ct_list){ lists->n_items, (uint32_t)count, (uint32_t)*head };
	lists->n_items += count;
	*head = lists->count;
	return lists->count;
}

const uint32_t *ct_lists__get(const struct ct_lists *lists, uint32_t id, size_t *count)
{
	bool known = id && id <= lists->count;

	*count = known ? lists->list[id].count : 0;
	return known ? lists->items + lists->list[id].start : NULL;
}

uint32_t ct_lists__count(const struct ct_lists *lists)
{
	return lists->count;
}
