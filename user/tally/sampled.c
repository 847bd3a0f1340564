/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * sampled.c - the part of a snapshot that not every fault counts in: collections, and the lines,
 * functions, modules and stacks of the faults whose stack was taken.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tally/impl.h"

static int ct_by_collection(const void *left, const void *right)
{
	const struct ct_collection_row *a = left, *b = right;

	if (a->unshared != b->unshared)
		return a->unshared > b->unshared ? -1 : 1;
	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	if (a->generation != b->generation)
		return a->generation > b->generation ? -1 : 1;
	return a->ordinal < b->ordinal ? -1 : a->ordinal > b->ordinal;
}

static bool ct_snapshot_collections(struct ct_snapshot *snapshot, const struct ct_tally *tally)
{
	size_t cursor = 0, room = ct_map__count(&tally->collections);
	uint64_t key, value;

	if (!room)
		return true;
	snapshot->collections = calloc(room, sizeof(*snapshot->collections));
	if (!snapshot->collections)
		return false;
	while (ct_map__next(&tally->collections, &cursor, &key, &value)) {
		if (!value || key >> 32 >= tally->n_processes)
			continue;
		snapshot->collections[snapshot->all_collections++] = (struct ct_collection_row){
			.pid = ct_tally_row(tally, (uint32_t)(key >> 32))->pid,
			.generation = key >> 30 & 3,
			.ordinal = key & ((1u << 30) - 1),
			.unshared = (int64_t)value,
		};
	}
	qsort(snapshot->collections, snapshot->all_collections, sizeof(*snapshot->collections),
	      ct_by_collection);
	snapshot->n_collections = snapshot->all_collections < CT_COLLECTION_ROWS
					  ? snapshot->all_collections
					  : CT_COLLECTION_ROWS;
	return true;
}

/* A name of ct_resolver_names.lines taken apart: "12 handle" is line 12 of handle. */
static struct ct_line_row ct_line_of(const struct ct_names *names, enum ct_sampled axis,
				     uint32_t id)
{
	const char *scope = ct_names__scope(names, id), *name = ct_names__name(names, id);
	struct ct_line_row row = { .file = scope, .function = name, .id = id };
	char *end = NULL;

	if (axis == CT_BY_LINE && id) {
		row.line = (uint32_t)strtoul(name, &end, 10);
		if (end != name && *end == ' ')
			row.function = end + 1;
		else
			row.line = 0; /* not made by us: shown as it is */
	}
	if (axis == CT_BY_MODULE) {
		row.file = id ? name : "";
		row.function = id ? "" : name;
	}
	return row;
}

static int ct_by_line(const void *left, const void *right)
{
	const struct ct_line_row *a = left, *b = right;
	int order;

	if (a->samples != b->samples)
		return a->samples > b->samples ? -1 : 1;
	order = strcmp(a->file, b->file);
	if (!order && a->line != b->line)
		order = a->line < b->line ? -1 : 1;
	return order ? order : strcmp(a->function, b->function);
}

static bool ct_snapshot_lines(const struct ct_tally *tally, enum ct_sampled axis,
			      struct ct_line_row **rows, size_t *count)
{
	const struct ct_sampled_count *from = &tally->sampled[axis];

	*rows = calloc(from->count + 1ul, sizeof(**rows));
	if (!*rows)
		return false;
	for (uint32_t id = 0; id < from->count; id++) {
		struct ct_line_row *row = &(*rows)[*count];

		if (!from->list[id])
			continue;
		*row = ct_line_of(tally->line_names, axis, id);
		row->samples = from->list[id];
		row->unshared = from->list[id] * (int64_t)tally->stacks_every;
		++*count;
	}
	qsort(*rows, *count, sizeof(**rows), ct_by_line);
	return true;
}

static int ct_by_stack(const void *left, const void *right)
{
	const struct ct_stack_row *a = left, *b = right;

	if (a->samples != b->samples)
		return a->samples > b->samples ? -1 : 1;
	if (a->n_frames != b->n_frames)
		return a->n_frames < b->n_frames ? -1 : 1;
	for (size_t i = 0; i < a->n_frames; i++)
		if (a->frames[i] != b->frames[i])
			return a->frames[i] < b->frames[i] ? -1 : 1;
	return 0;
}

/* The frames are copied: the table that holds them may move. */
static bool ct_snapshot_stacks(struct ct_snapshot *snapshot, const struct ct_tally *tally)
{
	const struct ct_sampled_count *from = &tally->sampled[CT_BY_STACK];
	size_t frames = 0, n;
	uint32_t *next;

	for (uint32_t id = 0; id < from->count; id++, frames += n) {
		n = 0;
		if (from->list[id])
			ct_lists__get(tally->stack_lists, id, &n);
	}
	snapshot->frames = next = calloc(frames + 1, sizeof(*next));
	snapshot->stacks = calloc(from->count + 1ul, sizeof(*snapshot->stacks));
	if (!snapshot->frames || !snapshot->stacks)
		return false;
	for (uint32_t id = 0; id < from->count; id++) {
		const uint32_t *list;

		if (!from->list[id])
			continue;
		list = ct_lists__get(tally->stack_lists, id, &n);
		if (n)
			memcpy(next, list, n * sizeof(*list));
		snapshot->stacks[snapshot->n_stacks++] = (struct ct_stack_row){
			.frames = next,
			.n_frames = n,
			.samples = from->list[id],
			.unshared = from->list[id] * (int64_t)tally->stacks_every,
		};
		next += n;
	}
	qsort(snapshot->stacks, snapshot->n_stacks, sizeof(*snapshot->stacks), ct_by_stack);
	return true;
}

bool ct_snapshot_sampled(struct ct_snapshot *snapshot, const struct ct_tally *tally)
{
	snapshot->stacks_every = tally->stacks_every;
	snapshot->samples = tally->samples;
	snapshot->line_names = tally->line_names;
	if (!ct_snapshot_collections(snapshot, tally))
		return false;
	if (!tally->stacks_every)
		return true;
	return ct_snapshot_lines(tally, CT_BY_LINE, &snapshot->lines, &snapshot->n_lines) &&
	       ct_snapshot_lines(tally, CT_BY_FUNCTION, &snapshot->functions,
				 &snapshot->n_functions) &&
	       ct_snapshot_lines(tally, CT_BY_MODULE, &snapshot->modules, &snapshot->n_modules) &&
	       ct_snapshot_stacks(snapshot, tally);
}

char *ct_snapshot__frame(const struct ct_snapshot *snapshot, uint32_t frame, char *buf, size_t len)
{
	bool native = frame & CT_FRAME_NATIVE;
	struct ct_line_row row =
		ct_line_of(snapshot->line_names, native ? CT_BY_FUNCTION : CT_BY_LINE,
			   frame & ~CT_FRAME_NATIVE);

	if (!row.id || row.id > ct_names__count(snapshot->line_names))
		snprintf(buf, len, "unknown");
	else if (row.line)
		snprintf(buf, len, "%s (%s:%u)", row.function, row.file, row.line);
	else
		snprintf(buf, len, "%s (%s)", row.function, row.file);
	return buf;
}
