/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * layout.c - columns of a table: name, pages, size, share, rate, note, bar. Names get what they
 * need, bars what is left; where a line is short, columns go, the least telling first: of a process
 * that is its share, of the others their rate.
 */
#include "view/layout.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "view/fit.h"

#define CT_NAME_LEAST 16u
#define CT_NAME_MOST  64u
#define CT_BAR_LEAST  8u
#define CT_TAKEN      10u /* of "taken from", which may be wider than what stands below it */
#define CT_BAR_MOST   60u

static unsigned int ct_widest(const struct ct_layout *layout, const struct ct_rows *rows,
			      enum ct_column column)
{
	unsigned int most = 0;
	char buf[CT_LINE_BYTES];

	for (size_t i = 0; i < rows->count && i < 200; i++) {
		unsigned int width;

		if (column == CT_COLUMN_NAME)
			ct_row__label(&rows->list[i], layout->axis, buf, sizeof(buf));
		else
			ct_row__note(&rows->list[i], layout->axis, buf, sizeof(buf));
		width = ct_fit_width(buf, layout->utf8);
		most = width > most ? width : most;
	}
	return most;
}

static unsigned int ct_fixed(const struct ct_layout *layout)
{
	unsigned int sum = 0;

	for (int column = CT_COLUMN_PAGES; column < CT_COLUMN_BAR; column++)
		if (layout->width[column])
			sum += layout->width[column] + CT_COLUMN_GAP;
	return sum;
}

void ct_layout__make(struct ct_layout *layout, const struct ct_rows *rows, enum ct_axis axis,
		     unsigned int columns, bool utf8)
{
	static const enum ct_column of_rows[] = { CT_COLUMN_NOTE, CT_COLUMN_RATE, CT_COLUMN_SIZE,
						  CT_COLUMN_BAR, CT_COLUMN_SHARE };
	static const enum ct_column of_processes[] = { CT_COLUMN_NOTE, CT_COLUMN_SHARE,
						       CT_COLUMN_BAR, CT_COLUMN_RATE,
						       CT_COLUMN_SIZE };
	const enum ct_column *gives_way = axis == CT_AXIS_PROCESS ? of_processes : of_rows;
	unsigned int name, bar, left, need;
	char number[40];
	size_t next = 0;

	*layout = (struct ct_layout){ .axis = axis, .utf8 = utf8 };
	name = ct_widest(layout, rows, CT_COLUMN_NAME);
	name = name < CT_NAME_LEAST ? CT_NAME_LEAST : name > CT_NAME_MOST ? CT_NAME_MOST : name;
	ct_fit_count(number, sizeof(number), rows->most);
	layout->width[CT_COLUMN_PAGES] = strlen(number) > 8 ? (unsigned int)strlen(number) : 8;
	layout->width[CT_COLUMN_SIZE] = rows->count && rows->list[0].bytes < 0 ? 0 : 8;
	layout->width[CT_COLUMN_SHARE] = 6;
	layout->width[CT_COLUMN_NOTE] = ct_widest(layout, rows, CT_COLUMN_NOTE);
	if (ct_axis_is_sampled(axis) && rows->count && layout->width[CT_COLUMN_NOTE] < CT_TAKEN)
		layout->width[CT_COLUMN_NOTE] = CT_TAKEN;
	for (size_t i = 0; i < rows->count; i++)
		if (!isnan(rows->list[i].rate))
			layout->width[CT_COLUMN_RATE] = 10;
	bar = CT_BAR_LEAST + CT_COLUMN_GAP;
	for (;;) {
		/* long names may be cut, but not for the sake of a note or a rate */
		need = (next < 2 && name > 40 ? 40
			: next < 2	      ? name
					      : CT_NAME_LEAST) +
		       ct_fixed(layout) + bar;
		if (need <= columns || next == CT_ARRAY_SIZE(of_rows))
			break;
		layout->width[gives_way[next]] = 0;
		if (gives_way[next++] == CT_COLUMN_BAR)
			bar = 0;
	}
	left = columns > ct_fixed(layout) + bar ? columns - ct_fixed(layout) - bar : 1;
	layout->width[CT_COLUMN_NAME] = name < left ? name : left;
	left -= layout->width[CT_COLUMN_NAME];
	if (bar)
		layout->width[CT_COLUMN_BAR] =
			CT_BAR_LEAST + left < CT_BAR_MOST ? CT_BAR_LEAST + left : CT_BAR_MOST;
}

static enum ct_align ct_column_align(enum ct_column column)
{
	return column == CT_COLUMN_NAME || column >= CT_COLUMN_NOTE ? CT_ALIGN_LEFT
								    : CT_ALIGN_RIGHT;
}

char *ct_layout__head(const struct ct_layout *layout, enum ct_column column, char *buf, size_t len)
{
	static const char *const heads[CT_COLUMN_COUNT] = {
		[CT_COLUMN_PAGES] = "pages", [CT_COLUMN_SIZE] = "size", [CT_COLUMN_SHARE] = "share",
		[CT_COLUMN_RATE] = "rate",   [CT_COLUMN_NOTE] = "",	[CT_COLUMN_BAR] = "",
	};
	const char *head = heads[column];

	if (column == CT_COLUMN_NAME)
		head = layout->axis == CT_AXIS_PROCESS ? "    pid process"
						       : ct_axis_name(layout->axis);
	else if (column == CT_COLUMN_PAGES && layout->axis == CT_AXIS_PAGE)
		head = "times";
	else if (column == CT_COLUMN_NOTE && ct_axis_is_sampled(layout->axis))
		head = "taken from";
	else if (column == CT_COLUMN_NOTE && layout->axis != CT_AXIS_PAGE)
		head = "mostly";
	else if (column == CT_COLUMN_NOTE)
		head = "unshared by";
	return ct_fit(buf, len, head, layout->width[column], ct_column_align(column), layout->utf8);
}

char *ct_layout__field(const struct ct_layout *layout, const struct ct_rows *rows,
		       const struct ct_row *row, enum ct_column column, char *buf, size_t len)
{
	char text[CT_LINE_BYTES] = "";

	switch (column) {
	case CT_COLUMN_NAME:
		ct_row__label(row, layout->axis, text, sizeof(text));
		break;
	case CT_COLUMN_PAGES:
		ct_fit_count(text, sizeof(text), row->unshared);
		break;
	case CT_COLUMN_SIZE:
		if (row->bytes >= 0 || row->unshared < 0)
			ct_fit_bytes(text, sizeof(text), row->bytes);
		break;
	case CT_COLUMN_SHARE:
		ct_fit_share(text, sizeof(text), row->unshared, rows->whole);
		break;
	case CT_COLUMN_RATE:
		ct_fit_rate(text, sizeof(text), row->rate);
		break;
	case CT_COLUMN_NOTE:
		ct_row__note(row, layout->axis, text, sizeof(text));
		break;
	default:
		if (rows->most <= 0 || row->unshared <= 0)
			return strcpy(buf, "");
		return ct_fit_bar(buf, len, (double)row->unshared / (double)rows->most,
				  layout->width[column], layout->utf8);
	}
	return ct_fit(buf, len, text, layout->width[column], ct_column_align(column), layout->utf8);
}
