/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* names.c - interned pairs of strings; hash to id through a ct_map, equal hashes chained. */
#include "base/names.h"

#include <stdlib.h>
#include <string.h>

#include "base/fmt.h"
#include "base/map.h"

#define CT_NAME_MAX 256 /* bytes kept of one string, after escaping */

struct ct_name {
	char *scope, *name;
	uint32_t next; /* another name of the same hash */
};

struct ct_names {
	struct ct_name *list; /* list[0] is unused */
	uint32_t count, capacity;
	struct ct_map by_hash;
};

struct ct_names *ct_names__new(void)
{
	return calloc(1, sizeof(struct ct_names));
}

void ct_names__free(struct ct_names *names)
{
	if (!names)
		return;
	for (uint32_t i = 1; i <= names->count; i++) {
		free(names->list[i].scope);
		free(names->list[i].name);
	}
	free(names->list);
	ct_map__free(&names->by_hash);
	free(names);
}

static uint64_t ct_name_hash(const char *scope, const char *name)
{
	uint64_t h = 0xcbf29ce484222325ull; /* FNV-1a */

	for (; *scope; scope++)
		h = (h ^ (unsigned char)*scope) * 0x100000001b3ull;
	h = (h ^ 0xff) * 0x100000001b3ull;
	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3ull;
	return h;
}

uint32_t ct_names__id(struct ct_names *names, const char *scope, const char *name)
{
	char s[CT_NAME_MAX], n[CT_NAME_MAX];
	struct ct_name *entry;
	uint64_t *head;

	ct_escape(s, sizeof(s), scope, SIZE_MAX);
	ct_escape(n, sizeof(n), name, SIZE_MAX);
	head = ct_map__at(&names->by_hash, ct_name_hash(s, n));
	if (!head)
		return 0;
	for (uint32_t i = (uint32_t)*head; i; i = names->list[i].next)
		if (!strcmp(names->list[i].scope, s) && !strcmp(names->list[i].name, n))
			return i;
	if (names->count + 1 >= names->capacity) {
		uint32_t capacity = names->capacity ? names->capacity * 2 : 64;
		struct ct_name *list = realloc(names->list, capacity * sizeof(*list));

		if (!list)
			return 0;
		names->list = list;
		names->capacity = capacity;
	}
	entry = &names->list[names->count + 1];
	*entry = (struct ct_name){ strdup(s), strdup(n), (uint32_t)*head };
	if (!entry->scope || !entry->name) {
		free(entry->scope);
		free(entry->name);
		return 0;
	}
	*head = ++names->count;
	return names->count;
}

const char *ct_names__scope(const struct ct_names *names, uint32_t id)
{
	return id && id <= names->count ? names->list[id].scope : "";
}

const char *ct_names__name(const struct ct_names *names, uint32_t id)
{
	return id && id <= names->count ? names->list[id].name : "unknown";
}

uint32_t ct_names__count(const struct ct_names *names)
{
	return names->count;
}
