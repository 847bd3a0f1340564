/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * text.c - a snapshot as plain lines: one block an interval, and the summary at the end. With
 * colour a bar of a type or process is divided by cell, in the colours of the cell table.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "view/fit.h"
#include "view/layout.h"
#include "view/view.h"
#include "view/words.h"

#define CT_TEXT_COLUMNS 100u /* where the caller knows no width */
#define CT_TEXT_INDENT	2u
#define CT_BOLD		"\033[1m"
#define CT_DIM		"\033[2m"
#define CT_PLAIN	"\033[0m"

static unsigned int ct_text_columns(const struct ct_text_style *style)
{
	unsigned int columns = style->columns ? style->columns : CT_TEXT_COLUMNS;

	return columns < 20 ? 20 : columns > CT_COLUMNS_MAX ? CT_COLUMNS_MAX : columns;
}

static void ct_put_color(FILE *out, int color)
{
	fprintf(out, "\033[%dm", color < 8 ? 30 + color : 82 + color);
}

/* Text between two escapes; nothing where there is no text. */
static void ct_put_in(FILE *out, const struct ct_text_style *style, const char *escape,
		      const char *text)
{
	if (style->color && text[0])
		fprintf(out, "%s%s" CT_PLAIN, escape, text);
	else
		fputs(text, out);
}

static void ct_put_bar(FILE *out, const struct ct_text_style *style, const struct ct_row *row,
		       const char *bar)
{
	unsigned int split[CT_CELL_COUNT], columns = ct_fit_width(bar, style->utf8);

	if (!style->color || !bar[0]) {
		fputs(bar, out);
		return;
	}
	if (!row->has_cells) {
		ct_put_color(out, row->color);
		fprintf(out, "%s" CT_PLAIN, bar);
		return;
	}
	ct_row__split(row, columns, split);
	for (int i = 1; i <= CT_CELL_COUNT; i++) {
		int cell = i % CT_CELL_COUNT;

		if (!split[cell])
			continue;
		ct_put_color(out, ct_cell_color(cell));
		while (split[cell]--)
			fputs(style->utf8 ? "█" : "#", out);
	}
	fputs(CT_PLAIN, out);
}

/* Spaces are put before the next field, so that no line ends in one. */
static void ct_put_row(FILE *out, const struct ct_text_style *style, const struct ct_layout *layout,
		       const struct ct_rows *rows, const struct ct_row *row)
{
	unsigned int gap = CT_TEXT_INDENT;
	char field[CT_LINE_BYTES];

	for (int column = 0; column < CT_COLUMN_COUNT; column++) {
		size_t end;

		if (!layout->width[column])
			continue;
		if (row)
			ct_layout__field(layout, rows, row, column, field, sizeof(field));
		else
			ct_layout__head(layout, column, field, sizeof(field));
		end = strlen(field);
		while (end && field[end - 1] == ' ')
			end--;
		if (!end) {
			gap += layout->width[column] + CT_COLUMN_GAP;
			continue;
		}
		fprintf(out, "%*s", (int)gap, "");
		gap = CT_COLUMN_GAP + (unsigned int)(strlen(field) - end);
		field[end] = '\0';
		if (!row)
			ct_put_in(out, style, CT_DIM, field);
		else if (column == CT_COLUMN_BAR)
			ct_put_bar(out, style, row, field);
		else if (column == CT_COLUMN_NAME)
			ct_put_in(out, style, row->ended ? CT_DIM : CT_BOLD, field);
		else
			ct_put_in(out, style, column == CT_COLUMN_NOTE ? CT_DIM : "", field);
	}
	fputc('\n', out);
}

static void ct_put_more(FILE *out, const struct ct_text_style *style, const struct ct_rows *rows)
{
	char number[40], share[24];

	fprintf(out, "  %s and %s more", style->utf8 ? "…" : "..",
		ct_fit_count(number, sizeof(number), (int64_t)(rows->all - rows->count)));
	if (rows->rest > 0)
		fprintf(out, ": %s pages, %s", ct_fit_count(number, sizeof(number), rows->rest),
			ct_fit_share(share, sizeof(share), rows->rest, rows->whole));
	fputc('\n', out);
}

static int ct_put_table(FILE *out, const struct ct_text_style *style,
			const struct ct_snapshot *snapshot, const struct ct_snapshot *last,
			enum ct_axis axis)
{
	int64_t seconds_ns =
		last ? (int64_t)(snapshot->run.duration_ns - last->run.duration_ns) : 0;
	struct ct_layout layout;
	struct ct_rows rows;
	int err;

	err = ct_rows__make(&rows, snapshot, axis, style->rows);
	if (err)
		return err;
	ct_rows__rate(&rows, last, axis, (double)seconds_ns / 1e9);
	ct_layout__make(&layout, &rows, axis, ct_text_columns(style) - CT_TEXT_INDENT, style->utf8);
	ct_put_row(out, style, &layout, &rows, NULL);
	for (size_t i = 0; i < rows.count; i++)
		ct_put_row(out, style, &layout, &rows, &rows.list[i]);
	if (!rows.all)
		fputs(rows.whole > 0 ? "  (unknown)\n" : "  (none)\n", out);
	else if (rows.all > rows.count)
		ct_put_more(out, style, &rows);
	ct_rows__free(&rows);
	return 0;
}

/* "  105,472 pages unshared, 412 MB, 8,231/s, 32.2 MB/s": of the interval, or on average. */
static void ct_put_totals(FILE *out, const struct ct_text_style *style,
			  const struct ct_snapshot *snapshot, const struct ct_snapshot *last)
{
	const char *dot = style->utf8 ? " · " : " | ";
	const struct ct_totals *now = &snapshot->totals;
	double seconds = (double)snapshot->run.duration_ns / 1e9;
	int64_t pages = now->unshared, bytes = now->unshared_bytes;
	char text[CT_LINE_BYTES], line[CT_LINE_BYTES];

	snprintf(line, sizeof(line), "%s page%s unshared",
		 ct_fit_count(text, sizeof(text), now->unshared), now->unshared == 1 ? "" : "s");
	fputs("  ", out);
	ct_put_in(out, style, CT_BOLD, line);
	fputs(dot, out);
	ct_put_in(out, style, CT_BOLD, ct_fit_bytes(text, sizeof(text), now->unshared_bytes));
	if (last) {
		seconds -= (double)last->run.duration_ns / 1e9;
		pages -= last->totals.unshared;
		bytes -= last->totals.unshared_bytes;
	}
	if (seconds > 0) {
		ct_fit_rate(text, sizeof(text), (double)pages / seconds);
		fprintf(out, "%s%s", dot, text);
		ct_fit_bytes(text, sizeof(text), llround((double)bytes / seconds));
		fprintf(out, "%s%s/s%s", dot, text, last ? "" : " on average");
	}
	fprintf(out, "\n  %s\n", ct_words__kinds(now, style->utf8, line, sizeof(line)));
}

/* A line of its own; nothing where there is nothing to say. */
static void ct_put_sentence(FILE *out, const struct ct_text_style *style, const char *line)
{
	char fitted[CT_LINE_BYTES];

	if (!line[0])
		return;
	ct_fit(fitted, sizeof(fitted), line, CT_COLUMNS_MAX, CT_ALIGN_NONE, style->utf8);
	fprintf(out, "  %s\n", fitted);
}

/* Why there are no Python lines, where there are none. */
static void ct_put_no_stacks(FILE *out, const struct ct_text_style *style,
			     const struct ct_snapshot *snapshot)
{
	char line[CT_LINE_BYTES];

	if (snapshot->stacks_every)
		ct_put_sentence(out, style,
				ct_words__no_stacks(&snapshot->run, line, sizeof(line)));
}

/* What is said of interpreters below the reading. */
static void ct_put_python(FILE *out, const struct ct_text_style *style,
			  const struct ct_snapshot *snapshot)
{
	char line[CT_LINE_BYTES];

	ct_put_sentence(out, style,
			ct_words__collections(snapshot, style->utf8, line, sizeof(line)));
	ct_put_sentence(out, style, ct_words__exit(snapshot, line, sizeof(line)));
	if (snapshot->stacks_every > 1)
		fprintf(out,
			"  Lines, functions and modules are estimated from the stacks of one fault "
			"in %u.\n",
			snapshot->stacks_every);
	ct_put_no_stacks(out, style, snapshot);
}

static void ct_put_headline(FILE *out, const struct ct_text_style *style,
			    const struct ct_snapshot *snapshot)
{
	char line[CT_LINE_BYTES];

	ct_words__headline(&snapshot->run, ct_words__others(snapshot), snapshot->totals.undetailed,
			   style->utf8, ct_text_columns(style), false, line, sizeof(line));
	ct_put_in(out, style, CT_BOLD, line);
	ct_words__interpreters(&snapshot->run, style->utf8, line, sizeof(line));
	fputc('\n', out);
	ct_put_sentence(out, style, line);
	ct_put_sentence(out, style, ct_words__refused(&snapshot->run, line, sizeof(line)));
	fputc('\n', out);
}

/* Buffered writes fail late: only after the flush is it known. */
static int ct_text_end(FILE *out)
{
	errno = 0;
	if (fflush(out) || ferror(out))
		return errno ? -errno : -EIO;
	return 0;
}

int ct_view_text__block(FILE *out, const struct ct_text_style *style,
			const struct ct_snapshot *snapshot, const struct ct_snapshot *last)
{
	int err;

	ct_put_headline(out, style, snapshot);
	ct_put_totals(out, style, snapshot, last);
	if (ct_axis_is_sampled(style->axis))
		ct_put_no_stacks(out, style, snapshot);
	fputc('\n', out);
	err = ct_put_table(out, style, snapshot, last, style->axis ? style->axis : CT_AXIS_CELL);
	fputc('\n', out);
	return ct_text_end(out) ?: err;
}

/* Which axis comes at place @i: the chosen one first, the others as they are. */
static enum ct_axis ct_axis_at(enum ct_axis chosen, int i)
{
	if (!chosen)
		return (enum ct_axis)(CT_AXIS_CELL + i);
	if (i == 0)
		return chosen;
	return (enum ct_axis)(CT_AXIS_CELL + i - ((int)chosen >= CT_AXIS_CELL + i));
}

int ct_view_text__summary(FILE *out, const struct ct_text_style *style,
			  const struct ct_snapshot *snapshot)
{
	char line[CT_LINE_BYTES];
	int err = 0;

	ct_put_headline(out, style, snapshot);
	ct_put_totals(out, style, snapshot, NULL);
	fprintf(out, "  %s\n", ct_words__reading(snapshot, line, sizeof(line)));
	ct_put_python(out, style, snapshot);
	for (int i = 0; i < CT_AXIS_COUNT - CT_AXIS_CELL; i++) {
		enum ct_axis axis = ct_axis_at(style->axis, i);
		int failed;

		if (ct_axis_is_sampled(axis) && !snapshot->stacks_every)
			continue;
		fputc('\n', out);
		failed = ct_put_table(out, style, snapshot, NULL, axis);
		err = err ? err : failed;
	}
	return ct_text_end(out) ?: err;
}
