/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * snapshot.c - the tally copied into sorted rows that nothing changes any more. Rows of equal count
 * are ordered by name or address, so that the same run always prints the same.
 *
 * Without pages it costs processes + types + writers + regions; the pages with most faults are
 * kept in a heap while all are walked, so a short list costs no sort of all.
 */
#include <stdlib.h>
#include <string.h>

#include "tally/impl.h"

static int ct_order(int64_t a, int64_t b)
{
	return a > b ? -1 : a < b;
}

static int ct_by_type(const void *left, const void *right)
{
	const struct ct_type_row *a = left, *b = right;
	int order = ct_order(a->unshared, b->unshared);

	order = order ? order : strcmp(a->type, b->type);
	return order ? order : strcmp(a->heap, b->heap);
}

static int ct_by_writer(const void *left, const void *right)
{
	const struct ct_writer_row *a = left, *b = right;
	int order = ct_order(a->unshared, b->unshared);

	order = order ? order : strcmp(a->symbol, b->symbol);
	return order ? order : strcmp(a->object, b->object);
}

static int ct_by_page(const void *left, const void *right)
{
	const struct ct_page_row *a = left, *b = right;
	int order = ct_order(a->unshared, b->unshared);

	return order ? order : a->address < b->address ? -1 : a->address > b->address;
}

static int ct_by_process(const void *left, const void *right)
{
	const struct ct_process_row *a = left, *b = right;
	int order = ct_order(a->totals.unshared, b->totals.unshared);

	if (!order && a->pid != b->pid)
		order = a->pid < b->pid ? -1 : 1;
	return order ? order : a->start_ns < b->start_ns ? -1 : a->start_ns > b->start_ns;
}

static int ct_by_region(const void *left, const void *right)
{
	const struct ct_region_row *a = left, *b = right;

	return a->address < b->address ? -1 : a->address > b->address;
}

static bool ct_snapshot_types(struct ct_snapshot *snapshot, const struct ct_tally *tally)
{
	snapshot->types = calloc(tally->n_types, sizeof(*snapshot->types));
	if (!snapshot->types)
		return false;
	for (uint32_t id = 0; id < tally->n_types; id++) {
		const struct ct_type_count *count = &tally->types[id];
		struct ct_type_row *row = &snapshot->types[snapshot->n_types];
		bool any = count->unshared != 0;

		for (int cell = 0; cell < CT_CELL_COUNT; cell++)
			any |= count->cells[cell] != 0;
		if (!any)
			continue;
		row->type = ct_names__name(tally->type_names, id);
		row->heap = ct_names__scope(tally->type_names, id);
		row->unshared = count->unshared;
		memcpy(row->cells, count->cells, sizeof(row->cells));
		snapshot->n_types++;
	}
	qsort(snapshot->types, snapshot->n_types, sizeof(*snapshot->types), ct_by_type);
	return true;
}

static bool ct_snapshot_writers(struct ct_snapshot *snapshot, const struct ct_tally *tally)
{
	snapshot->writers = calloc(tally->n_writers, sizeof(*snapshot->writers));
	if (!snapshot->writers)
		return false;
	for (uint32_t id = 0; id < tally->n_writers; id++)
		if (tally->writers[id])
			snapshot->writers[snapshot->n_writers++] = (struct ct_writer_row){
				.symbol = ct_names__name(tally->writer_names, id),
				.object = ct_names__scope(tally->writer_names, id),
				.unshared = tally->writers[id],
			};
	qsort(snapshot->writers, snapshot->n_writers, sizeof(*snapshot->writers), ct_by_writer);
	return true;
}

static bool ct_snapshot_processes(struct ct_snapshot *snapshot, const struct ct_tally *tally)
{
	size_t count = 0;

	for (uint32_t i = 0; i < tally->n_processes; i++) {
		const struct ct_process *row = ct_tally_row(tally, i);

		count += !row->ended || !ct_process__is_zero(row);
	}
	snapshot->processes = calloc(count + 1, sizeof(*snapshot->processes));
	if (!snapshot->processes)
		return false;
	for (uint32_t i = 0; i < tally->n_processes; i++) {
		const struct ct_process *row = ct_tally_row(tally, i);
		struct ct_process_row *out = &snapshot->processes[snapshot->n_processes];

		if (row->ended && ct_process__is_zero(row))
			continue;
		out->pid = row->pid;
		out->parent = row->parent;
		out->command = ct_names__name(tally->commands, row->command);
		out->ended = row->ended;
		out->start_ns = row->start_ns;
		out->end_ns = row->end_ns;
		out->totals = row->totals;
		memcpy(out->cells, row->cells, sizeof(out->cells));
		memcpy(out->causes, row->causes, sizeof(out->causes));
		snapshot->n_processes++;
	}
	qsort(snapshot->processes, snapshot->n_processes, sizeof(*snapshot->processes),
	      ct_by_process);
	return true;
}

static bool ct_snapshot_regions(struct ct_snapshot *snapshot, const struct ct_tally *tally)
{
	const struct ct_region *region;
	struct ct_pages_cursor at = { 0 };

	snapshot->regions =
		calloc(ct_pages__count_regions(&tally->pages) + 1, sizeof(*snapshot->regions));
	if (!snapshot->regions)
		return false;
	while ((region = ct_pages__next(&tally->pages, &at)))
		if (region->unshared)
			snapshot->regions[snapshot->n_regions++] = (struct ct_region_row){
				.address = ct_region__address(region),
				.unshared = region->unshared,
			};
	qsort(snapshot->regions, snapshot->n_regions, sizeof(*snapshot->regions), ct_by_region);
	return true;
}

/* Puts @row into a heap of @count whose root is the row that sorts last. */
static void ct_heap_sink(struct ct_page_row *heap, size_t count, size_t at,
			 const struct ct_page_row *row)
{
	for (;;) {
		size_t child = at * 2 + 1;

		if (child >= count)
			break;
		if (child + 1 < count && ct_by_page(&heap[child + 1], &heap[child]) > 0)
			child++;
		if (ct_by_page(&heap[child], row) <= 0)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = *row;
}

/* One more page into the list of at most @room, which becomes a heap when it is full. */
static void ct_snapshot_page(struct ct_snapshot *snapshot, size_t room,
			     const struct ct_page_row *row)
{
	struct ct_page_row *pages = snapshot->pages;

	if (snapshot->n_pages < room) {
		pages[snapshot->n_pages++] = *row;
		for (size_t i = snapshot->n_pages == room ? room / 2 : 0; i-- > 0;) {
			struct ct_page_row sinks = pages[i];

			ct_heap_sink(pages, room, i, &sinks);
		}
	} else if (ct_by_page(row, &pages[0]) < 0) {
		ct_heap_sink(pages, room, 0, row);
	}
}

static bool ct_snapshot_pages(struct ct_snapshot *snapshot, const struct ct_tally *tally,
			      size_t max_pages)
{
	size_t room = max_pages < snapshot->all_pages ? max_pages : snapshot->all_pages;
	struct ct_pages_cursor at = { 0 };
	const struct ct_region *region;
	struct ct_page_row row;

	if (!room)
		return true;
	snapshot->pages = calloc(room, sizeof(*snapshot->pages));
	if (!snapshot->pages)
		return false;
	while ((region = ct_pages__next(&tally->pages, &at))) {
		size_t slot = 0;

		while (ct_region__page(region, &slot, &row.address, &row.unshared, &row.processes))
			if (row.unshared > 0)
				ct_snapshot_page(snapshot, room, &row);
	}
	qsort(snapshot->pages, snapshot->n_pages, sizeof(*snapshot->pages), ct_by_page);
	return true;
}

struct ct_snapshot *ct_tally__snapshot(struct ct_tally *tally, const struct ct_run_info *run,
				       size_t max_pages)
{
	struct ct_snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (!snapshot)
		return NULL;
	snapshot->run = *run;
	snapshot->totals = tally->totals;
	memcpy(snapshot->cells, tally->cells, sizeof(snapshot->cells));
	memcpy(snapshot->causes, tally->causes, sizeof(snapshot->causes));
	snapshot->all_pages = tally->pages.unshared;
	if (ct_snapshot_types(snapshot, tally) && ct_snapshot_writers(snapshot, tally) &&
	    ct_snapshot_processes(snapshot, tally) && ct_snapshot_regions(snapshot, tally) &&
	    ct_snapshot_pages(snapshot, tally, max_pages) && ct_snapshot_sampled(snapshot, tally))
		return snapshot;
	ct_snapshot__free(snapshot);
	return NULL;
}

void ct_snapshot__free(struct ct_snapshot *snapshot)
{
	if (!snapshot)
		return;
	free(snapshot->types);
	free(snapshot->writers);
	free(snapshot->pages);
	free(snapshot->processes);
	free(snapshot->regions);
	free(snapshot->collections);
	free(snapshot->lines);
	free(snapshot->functions);
	free(snapshot->modules);
	free(snapshot->stacks);
	free(snapshot->frames);
	free(snapshot);
}
