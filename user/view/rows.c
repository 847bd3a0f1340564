/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rows.c - a snapshot cut along one axis. Only processes know their bytes; for the rest they follow
 * from the pages, as long as all pages of the run were of one size, and are not told otherwise.
 */
#include "view/rows.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"

#define CT_KEY_UNDETAILED UINT64_MAX
#define CT_COLOR_PLAIN	  6
#define CT_COLOR_UNKNOWN  8

int ct_cell_color(enum ct_cell cell)
{
	static const unsigned char colors[CT_CELL_COUNT] = {
		[CT_CELL_UNKNOWN] = CT_COLOR_UNKNOWN,
		[CT_CELL_GC_HEADER] = 3,
		[CT_CELL_REFCOUNT] = 1,
		[CT_CELL_TYPE] = 14,
		[CT_CELL_PAYLOAD] = 2,
		[CT_CELL_PREHEADER] = 5,
		[CT_CELL_BUFFER] = 4,
		[CT_CELL_ALLOCATOR] = 6,
		[CT_CELL_FREE] = 10,
		[CT_CELL_STATIC] = 13,
		[CT_CELL_STACK] = 12,
		[CT_CELL_DATA] = 11,
		[CT_CELL_FILE] = 7,
	};

	return colors[(unsigned int)cell < CT_CELL_COUNT ? cell : CT_CELL_UNKNOWN];
}

int ct_cause_color(enum ct_cause cause)
{
	static const unsigned char colors[CT_CAUSE_COUNT] = {
		[CT_CAUSE_UNKNOWN] = CT_COLOR_UNKNOWN,
		[CT_CAUSE_REFCOUNT] = 1,
		[CT_CAUSE_GC] = 3,
		[CT_CAUSE_GC_LINK] = 11,
		[CT_CAUSE_ALLOCATION] = 10,
		[CT_CAUSE_MUTATION] = 2,
		[CT_CAUSE_EXIT] = 5,
		[CT_CAUSE_RUNTIME] = 6,
	};

	return colors[(unsigned int)cause < CT_CAUSE_COUNT ? cause : CT_CAUSE_UNKNOWN];
}

/* Bytes of every page unshared in this run, or 0 where they differ. */
static int64_t ct_page_bytes(const struct ct_totals *totals)
{
	if (totals->copy_huge || totals->copy_hugetlb || totals->unshared <= 0 ||
	    totals->unshared_bytes % totals->unshared)
		return 0;
	return totals->unshared_bytes / totals->unshared;
}

static int ct_by_unshared(const void *left, const void *right)
{
	const struct ct_row *a = left, *b = right;

	if (a->unshared != b->unshared)
		return a->unshared > b->unshared ? -1 : 1;
	return a->key < b->key ? -1 : a->key > b->key;
}

static void ct_rows_words(struct ct_rows *rows, const struct ct_snapshot *snapshot,
			  enum ct_axis axis)
{
	bool cells = axis == CT_AXIS_CELL;
	int n = cells ? (int)CT_CELL_COUNT : (int)CT_CAUSE_COUNT;

	for (int i = 0; i < n; i++) {
		int64_t count = cells ? snapshot->cells[i] : snapshot->causes[i];

		if (count)
			rows->list[rows->count++] = (struct ct_row){
				.key = (uint64_t)i,
				.name = cells ? ct_cell_name(i) : ct_cause_name(i),
				.color = cells ? ct_cell_color(i) : ct_cause_color(i),
				.unshared = count,
			};
	}
	qsort(rows->list, rows->count, sizeof(*rows->list), ct_by_unshared);
}

static void ct_rows_types(struct ct_rows *rows, const struct ct_snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_types; i++) {
		const struct ct_type_row *type = &snapshot->types[i];
		struct ct_row *row = &rows->list[rows->count++];

		/* names are interned: a string's place is the name's identity */
		row->key = (uintptr_t)type->type;
		row->name = type->type;
		row->detail = type->heap;
		row->unshared = type->unshared;
		row->has_cells = true;
		memcpy(row->cells, type->cells, sizeof(row->cells));
	}
}

static void ct_rows_writers(struct ct_rows *rows, const struct ct_snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_writers; i++)
		rows->list[rows->count++] = (struct ct_row){
			.key = (uintptr_t)snapshot->writers[i].symbol,
			.name = snapshot->writers[i].symbol,
			.detail = snapshot->writers[i].object,
			.unshared = snapshot->writers[i].unshared,
		};
}

static void ct_rows_pages(struct ct_rows *rows, const struct ct_snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_pages; i++)
		rows->list[rows->count++] = (struct ct_row){
			.key = snapshot->pages[i].address,
			.address = snapshot->pages[i].address,
			.unshared = snapshot->pages[i].unshared,
			.processes = snapshot->pages[i].processes,
		};
	rows->all = snapshot->all_pages;
}

static const struct ct_line_row *ct_line_rows(const struct ct_snapshot *snapshot, enum ct_axis axis,
					      size_t *count)
{
	if (axis == CT_AXIS_LINE) {
		*count = snapshot->n_lines;
		return snapshot->lines;
	}
	*count = axis == CT_AXIS_FUNCTION ? snapshot->n_functions : snapshot->n_modules;
	return axis == CT_AXIS_FUNCTION ? snapshot->functions : snapshot->modules;
}

static void ct_rows_lines(struct ct_rows *rows, const struct ct_snapshot *snapshot,
			  enum ct_axis axis)
{
	size_t count;
	const struct ct_line_row *lines = ct_line_rows(snapshot, axis, &count);

	for (size_t i = 0; i < count; i++)
		rows->list[rows->count++] = (struct ct_row){
			.key = lines[i].id,
			.name = lines[i].function,
			.detail = lines[i].file,
			.line = lines[i].line,
			.samples = lines[i].samples,
			.unshared = lines[i].unshared,
			.color = lines[i].id ? 0 : CT_COLOR_UNKNOWN,
		};
	rows->whole = snapshot->samples * (int64_t)snapshot->stacks_every;
}

static void ct_rows_processes(struct ct_rows *rows, const struct ct_snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_processes; i++) {
		const struct ct_process_row *process = &snapshot->processes[i];
		struct ct_row *row = &rows->list[rows->count++];

		row->key = process->start_ns * 0x9e3779b97f4a7c15ull ^ process->pid;
		row->name = process->command;
		row->pid = process->pid;
		row->ended = process->ended;
		row->unshared = process->totals.unshared;
		row->bytes = process->totals.unshared_bytes;
		row->has_cells = true;
		memcpy(row->cells, process->cells, sizeof(row->cells));
	}
}

static void ct_rows_undetailed(struct ct_rows *rows, const struct ct_snapshot *snapshot)
{
	size_t at = rows->count;
	struct ct_row row = { .key = CT_KEY_UNDETAILED,
			      .name = "(undetailed)",
			      .color = CT_COLOR_UNKNOWN,
			      .unshared = snapshot->totals.undetailed };

	if (!row.unshared)
		return;
	while (at && rows->list[at - 1].unshared < row.unshared)
		at--;
	memmove(&rows->list[at + 1], &rows->list[at], (rows->count - at) * sizeof(row));
	rows->list[at] = row;
	rows->count++;
}

static size_t ct_rows_room(const struct ct_snapshot *snapshot, enum ct_axis axis)
{
	switch (axis) {
	case CT_AXIS_TYPE:
		return snapshot->n_types + 1;
	case CT_AXIS_WRITER:
		return snapshot->n_writers + 1;
	case CT_AXIS_PAGE:
		return snapshot->n_pages + 1;
	case CT_AXIS_PROCESS:
		return snapshot->n_processes + 1;
	case CT_AXIS_LINE:
		return snapshot->n_lines + 1;
	case CT_AXIS_FUNCTION:
		return snapshot->n_functions + 1;
	case CT_AXIS_MODULE:
		return snapshot->n_modules + 1;
	default:
		return (size_t)CT_CELL_COUNT + CT_CAUSE_COUNT + 1;
	}
}

int ct_rows__make(struct ct_rows *rows, const struct ct_snapshot *snapshot, enum ct_axis axis,
		  size_t max)
{
	int64_t page_bytes = ct_page_bytes(&snapshot->totals);

	*rows = (struct ct_rows){ .whole = snapshot->totals.unshared };
	rows->list = calloc(ct_rows_room(snapshot, axis), sizeof(*rows->list));
	if (!rows->list)
		return -ENOMEM;
	if (axis == CT_AXIS_TYPE)
		ct_rows_types(rows, snapshot);
	else if (axis == CT_AXIS_WRITER)
		ct_rows_writers(rows, snapshot);
	else if (axis == CT_AXIS_PAGE)
		ct_rows_pages(rows, snapshot);
	else if (axis == CT_AXIS_PROCESS)
		ct_rows_processes(rows, snapshot);
	else if (ct_axis_is_sampled(axis))
		ct_rows_lines(rows, snapshot, axis);
	else
		ct_rows_words(rows, snapshot, axis);
	if (axis != CT_AXIS_PAGE && axis != CT_AXIS_PROCESS && !ct_axis_is_sampled(axis))
		ct_rows_undetailed(rows, snapshot);
	rows->all = rows->all > rows->count ? rows->all : rows->count;
	if (max && rows->count > max && axis != CT_AXIS_CELL && axis != CT_AXIS_CAUSE) {
		for (size_t i = max; i < rows->count && axis != CT_AXIS_PAGE; i++)
			rows->rest += rows->list[i].unshared;
		rows->count = max;
	}
	rows->most = rows->count ? rows->list[0].unshared : 0;
	for (size_t i = 0; i < rows->count; i++) {
		struct ct_row *row = &rows->list[i];

		row->detail = row->detail ? row->detail : "";
		row->color = row->color ? row->color : CT_COLOR_PLAIN;
		row->rate = NAN;
		if (axis != CT_AXIS_PROCESS)
			row->bytes = page_bytes ? row->unshared * page_bytes : -1;
	}
	return 0;
}

void ct_rows__rate(struct ct_rows *rows, const struct ct_snapshot *last, enum ct_axis axis,
		   double seconds)
{
	struct ct_map before = { 0 };
	struct ct_rows earlier;

	/* a page may be new in the list without being new */
	if (!last || !(seconds > 0) || axis == CT_AXIS_PAGE)
		return;
	if (ct_rows__make(&earlier, last, axis, 0))
		return;
	for (size_t i = 0; i < earlier.count; i++) {
		uint64_t *value = ct_map__at(&before, earlier.list[i].key);

		if (!value)
			goto out; /* no rates, rather than wrong ones */
		*value = (uint64_t)earlier.list[i].unshared;
	}
	for (size_t i = 0; i < rows->count; i++) {
		const uint64_t *value = ct_map__find(&before, rows->list[i].key);
		int64_t added = rows->list[i].unshared - (value ? (int64_t)*value : 0);

		rows->list[i].rate = (double)added / seconds;
	}
out:
	ct_map__free(&before);
	ct_rows__free(&earlier);
}

void ct_rows__free(struct ct_rows *rows)
{
	free(rows->list);
	*rows = (struct ct_rows){ 0 };
}

/* The last parts of a path that fit @most bytes; the last one whatever its length. */
static const char *ct_path_tail(const char *path, size_t most)
{
	const char *tail = path;

	while (strlen(tail) > most) {
		const char *next = strchr(tail + 1, '/');

		if (!next || !next[1])
			break;
		tail = next + 1;
	}
	return tail;
}

/* "sync.py:134  handle", "handle  sync.py", "workers/sync.py"; of native ones "memcpy  libc.so.6"
 */
static void ct_line_label(const struct ct_row *row, enum ct_axis axis, char *buf, size_t len)
{
	const char *file = ct_path_tail(row->detail, axis == CT_AXIS_MODULE ? 60 : 32);

	if (axis == CT_AXIS_MODULE)
		snprintf(buf, len, "%s", file[0] ? file : row->name);
	else if (axis == CT_AXIS_LINE && row->line)
		snprintf(buf, len, "%s:%" PRIu32 "  %s", file, row->line, row->name);
	else
		snprintf(buf, len, "%s%s%s", row->name, file[0] ? "  " : "", file);
}

char *ct_row__label(const struct ct_row *row, enum ct_axis axis, char *buf, size_t len)
{
	if (axis == CT_AXIS_PAGE)
		snprintf(buf, len, "0x%012" PRIx64, row->address);
	else if (axis == CT_AXIS_PROCESS)
		snprintf(buf, len, "%7" PRIu32 " %s%s", row->pid, row->ended ? "(ended) " : "",
			 row->name);
	else if (ct_axis_is_sampled(axis))
		ct_line_label(row, axis, buf, len);
	else
		snprintf(buf, len, "%s%s%s", row->name, row->detail[0] ? "  " : "", row->detail);
	return buf;
}

char *ct_row__note(const struct ct_row *row, enum ct_axis axis, char *buf, size_t len)
{
	int best = 0;

	buf[0] = '\0';
	if (axis == CT_AXIS_PAGE)
		snprintf(buf, len, "%" PRIu32 " process%s", row->processes,
			 row->processes == 1 ? "" : "es");
	if (ct_axis_is_sampled(axis))
		snprintf(buf, len, "%" PRId64 " sample%s", row->samples,
			 row->samples == 1 ? "" : "s");
	if (!row->has_cells || row->unshared <= 0)
		return buf;
	for (int cell = 1; cell < CT_CELL_COUNT; cell++)
		if (row->cells[cell] > row->cells[best])
			best = cell;
	if (row->cells[best] > 0)
		snprintf(buf, len, "%s %.0f %%", ct_cell_name(best),
			 100.0 * (double)row->cells[best] / (double)row->unshared);
	return buf;
}

void ct_row__split(const struct ct_row *row, unsigned int columns, unsigned int out[CT_CELL_COUNT])
{
	int64_t sum = 0, upto = 0;
	unsigned int drawn = 0;

	memset(out, 0, CT_CELL_COUNT * sizeof(*out));
	for (int cell = 0; cell < CT_CELL_COUNT; cell++)
		sum += row->cells[cell] > 0 ? row->cells[cell] : 0;
	sum = sum > row->unshared ? sum : row->unshared; /* undetailed: drawn as unknown */
	/* unknown is index 0 and comes last: known colours stand at the left */
	for (int i = 1; i <= CT_CELL_COUNT; i++) {
		int cell = i % CT_CELL_COUNT;
		unsigned int end = columns;

		upto += row->cells[cell] > 0 ? row->cells[cell] : 0;
		if (sum && upto < sum)
			end = (unsigned int)((double)upto / (double)sum * columns + 0.5);
		else if (!sum && cell)
			end = 0;
		out[cell] = end - drawn;
		drawn = end;
	}
}
