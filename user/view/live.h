/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* live.h - what live.c keeps and live_draw.c paints; private to user/view. */
#ifndef CT_VIEW_LIVE_H
#define CT_VIEW_LIVE_H

#include <curses.h>
#include <signal.h>
#include <termios.h>

#include "view/layout.h"

#define CT_LIVE_HISTORY	  256
#define CT_LIVE_ROWS_MOST 10000 /* kept of one table; more are counted but can't be scrolled to */

/** All that the screen needs of a snapshot, so that keys work while it is paused. */
struct ct_frame {
	bool any;
	struct ct_run_info run; /* points at the strings below */
	char hook[32], kernel[64], command[256];
	size_t others;
	struct ct_totals totals;
	double rate, bytes_rate; /* a second; NaN: not known */
	struct ct_rows rows[CT_AXIS_COUNT];
	struct ct_region_row *regions;
	size_t n_regions;
	unsigned int stacks_every;
	bool has_pages; /* the snapshot had page rows, or there are none */
};

#define CT_LIVE_SIGNALS 4

struct ct_live {
	SCREEN *screen;
	struct termios termios;			   /* as found */
	struct sigaction actions[CT_LIVE_SIGNALS]; /* as found */
	bool color, utf8, paused, help;
	enum ct_axis axis;
	size_t scroll;
	size_t page_rows; /* rows of the main table on the last screen */
	double history[CT_LIVE_HISTORY];
	size_t n_history;
	struct ct_frame frame;
};

/** ct_live_can_draw - false where $TERM is not known or can't move the cursor. */
bool ct_live_can_draw(void);
/** ct_live_paint - the whole screen from what is kept. The caller has set the terminal. */
void ct_live_paint(struct ct_live *live);

/** One column of the strip over the address space. */
struct ct_strip_column {
	int64_t unshared; /* of the region with most in this column */
	bool gap;	  /* addresses left out here, not a region */
};

/** ct_live_strip - pack @n regions into @columns. Return: columns used. */
size_t ct_live_strip(const struct ct_region_row *regions, size_t n, struct ct_strip_column *strip,
		     size_t columns);

#endif /* CT_VIEW_LIVE_H */
