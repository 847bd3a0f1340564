/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * locate.c - asks the reader about each word of each object that locate_case.py wrote down, and
 * about its noise: locate PID FILE. Exit status 1 if an answer is wrong.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "heap/reader.h"

#define SHOWN 30

struct counts {
	uint64_t objects, words, wrong, missed, buffers, buffers_wrong, owners_asked, owners_found,
		owners_wrong, noise, noise_wrong, freed, freed_free, statics;
};

static struct ct_heap_source source;
static void *heap;
static struct counts n;
static struct ct_owner_query *queries;
static char (*query_types)[64];
static uint64_t *query_owners;
static size_t query_count, query_room;
static unsigned int shown;

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static const char *last_part(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? dot + 1 : name;
}

static void complain(const char *what, uint64_t id, uint64_t at, const char *type,
		     const struct ct_place *place)
{
	static uint64_t seen[64];
	uint64_t kind = strlen(what) ^ (uint64_t)place->cell << 32 ^ (uint64_t)place->type << 40 ^
			(uint64_t)(unsigned char)type[0] << 8 ^ (uint64_t)strlen(type) << 16;

	for (size_t i = 0; i < shown && i < CT_ARRAY_SIZE(seen); i++)
		if (seen[i] == kind) /* one of a kind is enough */
			return;
	if (shown < CT_ARRAY_SIZE(seen))
		seen[shown] = kind;
	if (shown++ < SHOWN)
		printf("  %s: %s at %#" PRIx64 " + %" PRId64 ": %s of %s at %#" PRIx64
		       ", %u bytes\n",
		       what, type, id, (int64_t)(at - id), ct_cell_name(place->cell),
		       ct_names__name(source.types, place->type), place->object, place->size);
}

static enum ct_cell cell_at(int64_t offset)
{
	return offset < 0    ? CT_CELL_GC_HEADER
	       : offset < 8  ? CT_CELL_REFCOUNT
	       : offset < 16 ? CT_CELL_TYPE
			     : CT_CELL_PAYLOAD;
}

static void check_word(uint64_t id, int64_t offset, const char *type)
{
	enum ct_cell cell = cell_at(offset);
	struct ct_place place;
	uint64_t at = id + (uint64_t)offset;

	n.words++;
	if (!ct_reader_cpython.locate(heap, at, NULL, &place)) {
		n.missed++;
		place = (struct ct_place){ 0 };
		complain("missed", id, at, type, &place);
		return;
	}
	if (place.cell == CT_CELL_STATIC) {
		n.statics++;
		place.cell = place.field;
	}
	if (place.cell != cell || place.object != id || place.offset != (uint32_t)offset ||
	    strcmp(last_part(ct_names__name(source.types, place.type)), last_part(type))) {
		n.wrong++;
		complain("wrong", id, at, type, &place);
	}
}

static void check_object(uint64_t id, int64_t bytes, int gc, const char *type)
{
	n.objects++;
	for (int64_t offset = gc ? -16 : 0; offset < bytes; offset += 8)
		check_word(id, offset, type);
}

static void check_buffer(uint64_t address, uint64_t owner, const char *type)
{
	struct ct_place place;

	n.buffers++;
	if (!ct_reader_cpython.locate(heap, address, NULL, &place) ||
	    place.cell != CT_CELL_BUFFER) {
		n.buffers_wrong++;
		complain("buffer", address, address, type, &place);
		return;
	}
	if (!place.owner_unknown)
		return;
	if (query_count == query_room) {
		query_room = query_room ? 2 * query_room : 1024;
		queries = realloc(queries, query_room * sizeof(*queries));
		query_types = realloc(query_types, query_room * sizeof(*query_types));
		query_owners = realloc(query_owners, query_room * sizeof(*query_owners));
		if (!queries || !query_types || !query_owners)
			exit(2);
	}
	queries[query_count] = (struct ct_owner_query){ .address = place.object };
	snprintf(query_types[query_count], sizeof(*query_types), "%s", type);
	query_owners[query_count++] = owner;
}

static void check_noise(uint64_t start, uint64_t bytes)
{
	for (uint64_t at = start; at < start + bytes; at += 8) {
		struct ct_place place = { 0 };

		n.noise++;
		if (ct_reader_cpython.locate(heap, at, NULL, &place)) {
			n.noise_wrong++;
			complain("noise", start, at, "noise", &place);
		}
	}
}

static void check_freed(uint64_t id)
{
	struct ct_place place = { 0 };

	n.freed++;
	if (ct_reader_cpython.locate(heap, id, NULL, &place) && place.cell == CT_CELL_FREE)
		n.freed_free++;
}

static void check_owners(void)
{
	double start = now_ms();

	n.owners_asked = query_count;
	ct_reader_cpython.owners(heap, queries, query_count, 20000000000ull);
	printf("owners: %.1f ms\n", now_ms() - start);
	for (size_t i = 0; i < query_count; i++) {
		const char *name = ct_names__name(source.types, queries[i].type);

		if (!queries[i].type) {
			if (shown++ < 2 * SHOWN)
				printf("  no owner: %s at %#" PRIx64 "\n", query_types[i],
				       (uint64_t)queries[i].address);
			continue;
		}
		n.owners_found++;
		if (queries[i].object != query_owners[i] ||
		    strcmp(last_part(name), last_part(query_types[i]))) {
			n.owners_wrong++;
			if (shown++ < 2 * SHOWN)
				printf("  owner: %s, not %s at %#" PRIx64 "\n", name,
				       query_types[i], query_owners[i]);
		}
	}
}

static void check_file(FILE *file)
{
	char line[512], type[64], kind;
	uint64_t a, b;
	int gc;

	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "o %" SCNu64 " %" SCNu64 " %d %63s", &a, &b, &gc, type) == 4)
			check_object(a, (int64_t)b, gc, type);
		else if (sscanf(line, "b %" SCNu64 " %" SCNu64 " %63s", &a, &b, type) == 3)
			check_buffer(a, b, type);
		else if (sscanf(line, "n %" SCNu64 " %" SCNu64, &a, &b) == 2)
			check_noise(a, b);
		else if (sscanf(line, "%c %" SCNu64, &kind, &a) == 2 && kind == 'f')
			check_freed(a);
	}
}

int main(int argc, char **argv)
{
	struct ct_interpreter interpreter = { 0 };
	const char *why = "";
	double start, attached;
	pid_t pid = argc > 2 ? atoi(argv[1]) : 0;
	FILE *file = argc > 2 ? fopen(argv[2], "r") : NULL;

	if (!file) {
		fprintf(stderr, "usage: locate PID FILE\n");
		return 2;
	}
	source.maps = ct_maps__read(pid);
	source.memory = ct_remote__open(pid);
	source.types = ct_names__new();
	source.lines = ct_names__new();
	source.symbols = ct_symbols__new(ct_names__new());
	start = now_ms();
	heap = ct_reader_cpython.attach(&source, &why);
	attached = now_ms();
	if (!heap) {
		printf("no heap: %s\n", why);
		return 2;
	}
	ct_reader_cpython.interpreter(heap, &interpreter);
	printf("%s in %s, attach %.1f ms\n", interpreter.version, interpreter.object,
	       attached - start);
	start = now_ms();
	check_file(file);
	printf("%.0f ns a word\n", (now_ms() - start) * 1e6 / (double)(n.words + n.noise));
	check_owners();
	printf("objects %" PRIu64 " words %" PRIu64 " (static %" PRIu64 ") wrong %" PRIu64
	       " missed %" PRIu64 "\n",
	       n.objects, n.words, n.statics, n.wrong, n.missed);
	printf("buffers %" PRIu64 " wrong %" PRIu64 "; owners %" PRIu64 " of %" PRIu64
	       " wrong %" PRIu64 "\n",
	       n.buffers, n.buffers_wrong, n.owners_found, n.owners_asked, n.owners_wrong);
	printf("noise %" PRIu64 " wrong %" PRIu64 "; freed %" PRIu64 " seen free %" PRIu64 "\n",
	       n.noise, n.noise_wrong, n.freed, n.freed_free);
	return n.wrong || n.missed || n.buffers_wrong || n.owners_wrong || n.noise_wrong;
}
