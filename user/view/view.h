/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* view.h - a snapshot shown. A view sees a const struct ct_snapshot and nothing else. */
#ifndef CT_VIEW_VIEW_H
#define CT_VIEW_VIEW_H

#include <stdbool.h>
#include <stdio.h>

#include "tally/tally.h"

/** enum ct_axis - what --by and the live keys choose. */
enum ct_axis {
	CT_AXIS_UNKNOWN = 0,
	CT_AXIS_CELL,
	CT_AXIS_CAUSE,
	CT_AXIS_TYPE,
	CT_AXIS_WRITER,
	CT_AXIS_PAGE,
	CT_AXIS_PROCESS,
	CT_AXIS_LINE, /* from here on: of the faults whose stack was taken */
	CT_AXIS_FUNCTION,
	CT_AXIS_MODULE,
	CT_AXIS_COUNT
};

/** ct_axis_name / ct_axis_parse - "cell" ...; CT_AXIS_UNKNOWN for a word that is none. */
const char *ct_axis_name(enum ct_axis axis);
enum ct_axis ct_axis_parse(const char *word);

/** ct_axis_is_sampled - counts only faults whose stack was taken. */
static inline bool ct_axis_is_sampled(enum ct_axis axis)
{
	return axis >= CT_AXIS_LINE && axis < CT_AXIS_COUNT;
}

/** How text is to look: decided once by the caller from the terminal, NO_COLOR and options. */
struct ct_text_style {
	bool color, utf8;
	unsigned int columns;
	enum ct_axis axis;
	unsigned int rows; /* of each table; 0: all */
};

/** ct_view_text__block - one plain block for an interval. @last may be NULL: rates come from it.
 *  The first line says hook, kernel, duration and the undetailed count. 0 or -errno of writing. */
int ct_view_text__block(FILE *out, const struct ct_text_style *style,
			const struct ct_snapshot *snapshot, const struct ct_snapshot *last);
/** ct_view_text__summary - the closing summary: totals, all axes' tops, one row a process. */
int ct_view_text__summary(FILE *out, const struct ct_text_style *style,
			  const struct ct_snapshot *snapshot);

/** ct_view_json__write - DESIGN's JSON, schema "cowtrace/1". 0 or -errno of writing. */
int ct_view_json__write(FILE *out, const struct ct_snapshot *snapshot);

/** The live screen: redrawn in place, keys to change the axis, pause, reset and quit. */
struct ct_live;
enum ct_live_action { CT_LIVE_NONE = 0, CT_LIVE_QUIT, CT_LIVE_RESET };

/** ct_live__open - take the terminal (stdin and stdout). NULL with errno when that can't be. */
struct ct_live *ct_live__open(bool color, enum ct_axis axis);
/** ct_live__close - give the terminal back as it was. */
void ct_live__close(struct ct_live *live);
/** ct_live__key - handle what was typed (call when stdin is readable, or after SIGWINCH). */
enum ct_live_action ct_live__key(struct ct_live *live);
/** ct_live__draw - show a snapshot (unless paused). @last as in ct_view_text__block; @seconds
 *  between the two. */
void ct_live__draw(struct ct_live *live, const struct ct_snapshot *snapshot,
		   const struct ct_snapshot *last, double seconds);
/** ct_live__wants_pages - whether the axis on show needs page rows in the snapshot. */
bool ct_live__wants_pages(const struct ct_live *live);

#endif /* CT_VIEW_VIEW_H */
