/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* rows.h - a snapshot cut along one axis: rows that text and live show alike; private to user/view.
 */
#ifndef CT_VIEW_ROWS_H
#define CT_VIEW_ROWS_H

#include "view/view.h"

struct ct_row {
	uint64_t key; /* the same thing in another snapshot has the same */
	const char *name, *detail;
	ct_raddr_t address;    /* page axis */
	uint32_t pid;	       /* process axis */
	uint32_t processes;    /* page axis: that unshared it */
	uint32_t line;	       /* line axis; 0: none */
	int64_t samples;       /* line, function, module: that it was estimated from */
	int color;	       /* 0 to 15, of the bar where it is not split by cell */
	bool ended, has_cells; /* cells below are known */
	int64_t unshared;
	int64_t bytes; /* -1: not known, pages were not all of one size */
	double rate;   /* a second; NaN: not known */
	int64_t cells[CT_CELL_COUNT];
};

struct ct_rows {
	struct ct_row *list;
	size_t count;
	size_t all;    /* rows there are; count may be fewer */
	int64_t most;  /* the biggest count: a full bar */
	int64_t rest;  /* counted by the rows that are left out; 0 for pages: not known */
	int64_t whole; /* what a share is of: everything unshared, or estimated to be */
};

/** ct_rows__make - at most @max rows (0: all) of @axis, most unshared first; cells and causes are
 *  few and always all there. Faults that lost their
 *  detail are a row of their own where the axis needs the detail. Strings are the snapshot's.
 *  0 or -ENOMEM. */
int ct_rows__make(struct ct_rows *rows, const struct ct_snapshot *snapshot, enum ct_axis axis,
		  size_t max);
/** ct_rows__rate - fills in the rates from an earlier snapshot. NaN stays where there is none. */
void ct_rows__rate(struct ct_rows *rows, const struct ct_snapshot *last, enum ct_axis axis,
		   double seconds);
void ct_rows__free(struct ct_rows *rows);
/** ct_row__label - the name column: type and heap, symbol and object, pid and command. */
char *ct_row__label(const struct ct_row *row, enum ct_axis axis, char *buf, size_t len);
/** ct_row__note - what stands beside: its biggest cell, or how many processes; may be "". */
char *ct_row__note(const struct ct_row *row, enum ct_axis axis, char *buf, size_t len);
/** ct_row__split - a bar of @columns whole columns divided by cell; @out sums to @columns. */
void ct_row__split(const struct ct_row *row, unsigned int columns, unsigned int out[CT_CELL_COUNT]);
/** ct_cell_color / ct_cause_color - 0 to 15 of the terminal's palette, the same everywhere. */
int ct_cell_color(enum ct_cell cell);
int ct_cause_color(enum ct_cause cause);

#endif /* CT_VIEW_ROWS_H */
