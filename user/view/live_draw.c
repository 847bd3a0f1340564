/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * live_draw.c - the screen painted from the kept frame, at any size:
 *
 *	title, totals and rate, kinds, strip over the address space
 *	the main table by the chosen axis
 *	two smaller tables beside each other, and one row a process   (on a wide screen: at the
 *right) keys
 *
 * Lines go, lowest in the list first, where a terminal has too few.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "view/fit.h"
#include "view/live.h"
#include "view/words.h"

#define CT_WIDE_COLUMNS 150
#define CT_COLOR_HEAD	6
#define CT_GAP_BYTES	(1ull << 30) /* addresses further apart are shown with a gap */

struct ct_area {
	int y, x, rows, columns;
};

static attr_t ct_attr(const struct ct_live *live, int color)
{
	if (!live->color)
		return A_NORMAL;
	return (attr_t)COLOR_PAIR(color + 1) | (COLORS < 16 && color >= 8 ? A_BOLD : A_NORMAL);
}

/* At most @columns of @text. Return: columns used. */
static int ct_put(const struct ct_live *live, int y, int x, int columns, attr_t attr,
		  const char *text)
{
	char fitted[CT_LINE_BYTES];

	if (y < 0 || y >= LINES || x >= COLS || columns <= 0)
		return 0;
	columns = columns < COLS - x ? columns : COLS - x;
	ct_fit(fitted, sizeof(fitted), text, (unsigned int)columns, CT_ALIGN_NONE, live->utf8);
	attrset(attr);
	mvaddstr(y, x, fitted);
	attrset(A_NORMAL);
	return (int)ct_fit_width(fitted, live->utf8);
}

static void ct_paint_title(const struct ct_live *live)
{
	const struct ct_frame *frame = &live->frame;
	char line[CT_LINE_BYTES], padded[CT_LINE_BYTES + 1];
	int tail = live->paused ? 8 : 0;

	snprintf(line, sizeof(line), "cowtrace: waiting for the first faults");
	if (frame->any)
		ct_words__headline(&frame->run, frame->others, frame->totals.undetailed, live->utf8,
				   (unsigned int)(COLS - tail > 2 ? COLS - tail - 2 : 1), true,
				   line, sizeof(line));
	snprintf(padded, sizeof(padded), " %s", line);
	ct_fit(line, sizeof(line), padded, (unsigned int)COLS, CT_ALIGN_LEFT, live->utf8);
	ct_put(live, 0, 0, COLS, A_REVERSE | A_BOLD, line);
	if (tail && COLS > tail)
		ct_put(live, 0, COLS - tail, tail, ct_attr(live, 3) | A_BOLD, " PAUSED ");
}

static void ct_paint_totals(const struct ct_live *live, int y)
{
	const struct ct_frame *frame = &live->frame;
	char text[64], line[CT_LINE_BYTES];
	size_t count = live->n_history;
	int x = 1, room;

	snprintf(line, sizeof(line), "%s pages",
		 ct_fit_count(text, sizeof(text), frame->totals.unshared));
	x += ct_put(live, y, x, COLS - x, A_BOLD, line);
	x += ct_put(live, y, x, COLS - x, A_NORMAL, " unshared  ");
	ct_fit_bytes(text, sizeof(text), frame->totals.unshared_bytes);
	x += ct_put(live, y, x, COLS - x, A_BOLD | ct_attr(live, 1), text);
	ct_fit_rate(text, sizeof(text), frame->rate);
	snprintf(line, sizeof(line), "  %s", text);
	x += ct_put(live, y, x, COLS - x, A_BOLD, line);
	if (!isnan(frame->bytes_rate)) {
		ct_fit_bytes(text, sizeof(text), llround(frame->bytes_rate));
		snprintf(line, sizeof(line), "  %s/s", text);
		x += ct_put(live, y, x, COLS - x, A_NORMAL, line);
	}
	room = COLS - x - 3;
	if (room < 8 || !count)
		return;
	room = room < CT_LIVE_HISTORY ? room : CT_LIVE_HISTORY;
	count = count < (size_t)room ? count : (size_t)room;
	ct_fit_spark(line, sizeof(line), live->history + live->n_history - count, count,
		     live->utf8);
	ct_put(live, y, x + 2, room, ct_attr(live, CT_COLOR_HEAD), line);
}

size_t ct_live_strip(const struct ct_region_row *regions, size_t n, struct ct_strip_column *strip,
		     size_t columns)
{
	size_t gaps = 0, passed = 0, wide, used = 0;

	for (size_t i = 1; i < n; i++)
		gaps += regions[i].address - regions[i - 1].address > CT_GAP_BYTES;
	if (!n || !columns)
		return 0;
	if (gaps > columns / 8) /* more gaps than picture */
		gaps = 0;
	wide = columns - gaps;
	wide = wide / n > 4 ? n * 4 : wide; /* few regions: not wider than 4 columns each */
	memset(strip, 0, columns * sizeof(*strip));
	for (size_t i = 0; i < n; i++) {
		size_t from = i * wide / n, to = (i + 1) * wide / n;

		/* a column shared with the region before the gap is not given up for it */
		if (gaps && i && regions[i].address - regions[i - 1].address > CT_GAP_BYTES &&
		    !strip[from + passed].unshared)
			strip[from + passed++].gap = true;
		for (size_t c = from; c < (to > from ? to : from + 1); c++) {
			struct ct_strip_column *column = &strip[c + passed];

			if (column->unshared < regions[i].unshared)
				column->unshared = regions[i].unshared;
			used = c + passed + 1;
		}
	}
	return used;
}

static void ct_paint_strip(const struct ct_live *live, int y)
{
	static const int heat[] = { 0, 4, 6, 3, 1 };
	const struct ct_frame *frame = &live->frame;
	struct ct_strip_column strip[CT_COLUMNS_MAX];
	size_t used, room = COLS > 50 ? (size_t)COLS - 37 : 0;
	int64_t most = 0;
	char text[64];
	int x = 1;

	if (!frame->n_regions || !room)
		return;
	room = room < CT_COLUMNS_MAX ? room : CT_COLUMNS_MAX;
	used = ct_live_strip(frame->regions, frame->n_regions, strip, room);
	for (size_t i = 0; i < used; i++)
		most = strip[i].unshared > most ? strip[i].unshared : most;
	snprintf(text, sizeof(text), "0x%012" PRIx64 " ", frame->regions[0].address);
	x += ct_put(live, y, x, COLS - x, A_DIM, text);
	for (size_t i = 0; i < used; i++) {
		int level = 0;

		/* by the square root: a region with little still shows */
		if (strip[i].unshared > 0 && most > 0)
			level = 1 + (int)(3.999 * sqrt((double)strip[i].unshared / (double)most));
		level = level > 4 ? 4 : level;
		if (strip[i].gap)
			x += ct_put(live, y, x, 1, A_DIM, live->utf8 ? "┊" : "|");
		else
			x += ct_put(live, y, x, 1, ct_attr(live, heat[level]),
				    ct_fit_shade(level, live->utf8));
	}
	snprintf(text, sizeof(text), " 0x%012" PRIx64,
		 frame->regions[frame->n_regions - 1].address);
	ct_put(live, y, x, COLS - x, A_DIM, text);
}

static void ct_paint_bar(const struct ct_live *live, int y, int x, const struct ct_row *row,
			 const char *bar)
{
	unsigned int split[CT_CELL_COUNT], columns = ct_fit_width(bar, live->utf8);

	if (!live->color || !row->has_cells) {
		ct_put(live, y, x, COLS - x, ct_attr(live, row->color), bar);
		return;
	}
	ct_row__split(row, columns, split);
	for (int i = 1; i <= CT_CELL_COUNT; i++) {
		int cell = i % CT_CELL_COUNT;

		while (split[cell]--)
			x += ct_put(live, y, x, 1, ct_attr(live, ct_cell_color(cell)),
				    live->utf8 ? "█" : "#");
	}
}

static void ct_paint_row(const struct ct_live *live, const struct ct_layout *layout,
			 const struct ct_rows *rows, const struct ct_row *row, int y, int x)
{
	char field[CT_LINE_BYTES];

	for (int column = 0; column < CT_COLUMN_COUNT; column++) {
		attr_t attr = A_NORMAL;

		if (!layout->width[column])
			continue;
		if (row)
			ct_layout__field(layout, rows, row, column, field, sizeof(field));
		else
			ct_layout__head(layout, column, field, sizeof(field));
		if (!row)
			attr = A_BOLD | ct_attr(live, CT_COLOR_HEAD);
		else if (column == CT_COLUMN_NAME)
			attr = row->ended ? A_DIM : A_BOLD;
		else if (column == CT_COLUMN_NOTE)
			attr = A_DIM;
		if (row && column == CT_COLUMN_BAR)
			ct_paint_bar(live, y, x, row, field);
		else
			ct_put(live, y, x, (int)layout->width[column], attr, field);
		x += (int)layout->width[column] + CT_COLUMN_GAP;
	}
}

/* A head and as many rows as fit, from row @from on. */
static void ct_paint_table(const struct ct_live *live, const struct ct_area *area,
			   enum ct_axis axis, size_t from)
{
	const struct ct_rows *rows = &live->frame.rows[axis];
	struct ct_layout layout;

	if (area->rows <= 0 || area->columns < 4)
		return;
	ct_layout__make(&layout, rows, axis, (unsigned int)area->columns, live->utf8);
	ct_paint_row(live, &layout, rows, NULL, area->y, area->x);
	for (int i = 1; i < area->rows && from + (size_t)i <= rows->count; i++)
		ct_paint_row(live, &layout, rows, &rows->list[from + (size_t)i - 1], area->y + i,
			     area->x);
	if (rows->count || area->rows < 2)
		return;
	if (axis == CT_AXIS_PAGE && live->frame.any && !live->frame.has_pages)
		ct_put(live, area->y + 1, area->x, area->columns, A_DIM,
		       live->paused ? "pages were not counted out when paused: press space"
				    : "at the next redraw");
	else
		ct_put(live, area->y + 1, area->x, area->columns, A_DIM,
		       ct_axis_is_sampled(axis) && live->frame.any && !live->frame.stacks_every
			       ? "no stacks are taken: start with --stacks"
			       : "none so far");
}

/* The main table, scrolled, with "11-20 of 240" at the right end of its head. */
static void ct_paint_main(struct ct_live *live, const struct ct_area *area)
{
	const struct ct_rows *rows = &live->frame.rows[live->axis];
	size_t fits = area->rows > 1 ? (size_t)area->rows - 1 : 1, last;
	char text[128], a[40], b[40], c[40];
	int width;

	if (live->scroll + fits > rows->count)
		live->scroll = rows->count > fits ? rows->count - fits : 0;
	live->page_rows = fits;
	ct_paint_table(live, area, live->axis, live->scroll);
	if (rows->all <= fits || area->columns < 60)
		return;
	last = live->scroll + fits < rows->count ? live->scroll + fits : rows->count;
	snprintf(text, sizeof(text), "%s-%s of %s",
		 ct_fit_count(a, sizeof(a), (int64_t)live->scroll + 1),
		 ct_fit_count(b, sizeof(b), (int64_t)last),
		 ct_fit_count(c, sizeof(c), (int64_t)rows->all));
	width = (int)strlen(text);
	ct_put(live, area->y, area->x + area->columns - width, width, A_DIM, text);
}

/* The smaller tables: cells, types, writers, processes but for the one that is the main table;
 * processes are last and always there. Return: how many. */
static size_t ct_side_axes(enum ct_axis main_axis, enum ct_axis axes[4])
{
	static const enum ct_axis all[] = { CT_AXIS_CELL, CT_AXIS_TYPE, CT_AXIS_WRITER,
					    CT_AXIS_PROCESS };
	size_t n = 0;

	for (size_t i = 0; i < CT_ARRAY_SIZE(all); i++)
		if (all[i] != main_axis)
			axes[n++] = all[i];
	return n;
}

static int ct_min(int a, int b)
{
	return a < b ? a : b;
}

static int ct_max(int a, int b)
{
	return a > b ? a : b;
}

/* One above the other; the two in the middle side by side. */
static void ct_paint_narrow(struct ct_live *live, struct ct_area body)
{
	int need = 1 + (int)live->frame.rows[live->axis].count, gap = body.rows >= 16, left;
	int half = (body.columns - CT_COLUMN_GAP) / 2;
	struct ct_area area = body;
	enum ct_axis sides[4];
	size_t n = ct_side_axes(live->axis, sides);

	if (body.rows >= 9)
		area.rows = ct_max(3, ct_min(need, body.rows * 9 / 20));
	ct_paint_main(live, &area);
	area.y += area.rows + gap;
	left = body.y + body.rows - area.y;
	if (left < 3 || body.rows < 9)
		return;
	if (left >= 8) {
		int others = 1 + (int)live->frame.rows[sides[n - 1]].count;

		area.rows = ct_max((left - gap) / 2, left - gap - others);
		area.columns = half;
		ct_paint_table(live, &area, sides[0], 0);
		area.x += half + CT_COLUMN_GAP;
		ct_paint_table(live, &area, sides[1], 0);
		area.x = body.x;
		area.columns = body.columns;
		area.y += area.rows + gap;
	}
	area.rows = body.y + body.rows - area.y;
	ct_paint_table(live, &area, sides[n - 1], 0);
}

/* The main table and the processes at the left, the others at the right. */
static void ct_paint_wide(struct ct_live *live, struct ct_area body)
{
	int need = 1 + (int)live->frame.rows[live->axis].count;
	struct ct_area left = body, right = body;
	enum ct_axis sides[4];
	size_t n = ct_side_axes(live->axis, sides);

	left.columns = (body.columns - 4) / 2;
	right.x += left.columns + 4;
	right.columns = body.columns - left.columns - 4;
	left.rows = ct_max(6, ct_min(need, body.rows * 3 / 5));
	ct_paint_main(live, &left);
	left.y += left.rows + 1;
	left.rows = body.y + body.rows - left.y;
	ct_paint_table(live, &left, sides[n - 1], 0);
	for (size_t i = 0; i + 1 < n; i++) { /* what one does not need, the next may have */
		int share = (body.y + body.rows - right.y) / (int)(n - 1 - i);

		need = 1 + (int)live->frame.rows[sides[i]].count;
		right.rows = ct_min(need, share - (i + 2 < n));
		ct_paint_table(live, &right, sides[i], 0);
		right.y += ct_max(right.rows, 2) + 1;
	}
}

/* Axes of sampled faults only where they are taken, or where there is room for all. */
static void ct_paint_keys(const struct ct_live *live)
{
	static const char *const names[CT_AXIS_COUNT] = {
		"",	  "1 cell",    "2 cause", "3 type",	"4 writer",
		"5 page", "6 process", "7 line",  "8 function", "9 module",
	};
	bool all = COLS >= 107 || live->frame.stacks_every || ct_axis_is_sampled(live->axis);
	int x = 1, end = all ? CT_AXIS_COUNT : CT_AXIS_LINE;

	for (int axis = CT_AXIS_CELL; axis < end; axis++) {
		bool on = (enum ct_axis)axis == live->axis;

		x += ct_put(live, LINES - 1, x, COLS - x, on ? A_REVERSE | A_BOLD : A_NORMAL,
			    names[axis]);
		x += 2;
	}
	ct_put(live, LINES - 1, x, COLS - x, A_DIM,
	       COLS >= 147 ? "Tab next  arrows scroll  space pause  r reset  ? help  q quit"
			   : "space pause  ? help  q");
}

static void ct_paint_help(const struct ct_live *live)
{
	static const char *const lines[] = {
		"1-6, c a t w p P   rows by cell, cause, type, writer, page, process",
		"7-9, l f m         by Python line, function, module (with --stacks)",
		"Tab, Shift-Tab     the next, the previous of them",
		"arrows, PgUp PgDn  scroll the main table (Home, End)",
		"space              pause and go on; counting never stops",
		"r                  all counts to zero",
		"q, Ctrl-C          quit and print the summary",
		"",
		"pages    write faults that gave a process a page of its own",
		"size     what that took in memory",
		"share    of all that was unshared",
		"cell     what was written: a refcount, a GC header, the payload ...",
		"cause    why: counting references, collecting, allocating ...",
		"unknown  cowtrace does not know; it never guesses",
		"undetailed  counted exactly, but its record did not fit the ring",
		"strip    the address space in pieces of 2 MiB, gaps left out;",
		"         the denser, the more faults",
	};
	int rows = ct_min((int)CT_ARRAY_SIZE(lines), LINES - 2), columns = ct_min(74, COLS);
	int y = ct_max(0, (LINES - rows - 2) / 2), x = ct_max(0, (COLS - columns) / 2);
	char line[CT_LINE_BYTES], padded[CT_LINE_BYTES];

	for (int i = -1; i <= rows; i++) {
		snprintf(line, sizeof(line), "  %s", i < 0 || i >= rows ? "" : lines[i]);
		ct_fit(padded, sizeof(padded), line, (unsigned int)columns, CT_ALIGN_LEFT,
		       live->utf8);
		ct_put(live, y + 1 + i, x, columns, A_REVERSE, padded);
	}
	ct_put(live, y, x + 2, columns - 2, A_REVERSE | A_BOLD, "cowtrace keys");
}

void ct_live_paint(struct ct_live *live)
{
	struct ct_area body = { .y = 1, .x = 1, .columns = ct_max(COLS - 2, 1) };
	char line[CT_LINE_BYTES];

	erase();
	ct_paint_title(live);
	if (LINES >= 2)
		ct_paint_totals(live, body.y++);
	if (LINES >= 9) {
		ct_words__kinds(&live->frame.totals, live->utf8, line, sizeof(line));
		ct_put(live, body.y++, 1, COLS - 1, A_DIM, line);
	}
	if (LINES >= 12)
		ct_paint_strip(live, body.y++);
	if (LINES >= 22)
		body.y++;
	body.rows = LINES - body.y - (LINES >= 6);
	if (COLS >= CT_WIDE_COLUMNS && body.rows >= 16)
		ct_paint_wide(live, body);
	else if (body.rows > 0)
		ct_paint_narrow(live, body);
	if (LINES >= 6)
		ct_paint_keys(live);
	if (live->help)
		ct_paint_help(live);
	wnoutrefresh(stdscr);
	doupdate();
}
