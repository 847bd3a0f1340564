/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* layout.h - which columns a table has at a given width, and their text; private to user/view. */
#ifndef CT_VIEW_LAYOUT_H
#define CT_VIEW_LAYOUT_H

#include "view/rows.h"

/** In the order in which they are shown. */
enum ct_column {
	CT_COLUMN_NAME = 0,
	CT_COLUMN_PAGES,
	CT_COLUMN_SIZE,
	CT_COLUMN_SHARE,
	CT_COLUMN_RATE,
	CT_COLUMN_NOTE,
	CT_COLUMN_BAR,
	CT_COLUMN_COUNT
};

#define CT_COLUMN_GAP 2

struct ct_layout {
	enum ct_axis axis;
	bool utf8;
	unsigned int width[CT_COLUMN_COUNT]; /* 0: not shown */
};

/** ct_layout__make - fit @rows into @columns: what matters least gives way first. */
void ct_layout__make(struct ct_layout *layout, const struct ct_rows *rows, enum ct_axis axis,
		     unsigned int columns, bool utf8);
/** ct_layout__head - the head of a column, padded to it. Return: @buf. */
char *ct_layout__head(const struct ct_layout *layout, enum ct_column column, char *buf, size_t len);
/** ct_layout__field - a field of a row, padded to its column; of the bar only what is drawn. */
char *ct_layout__field(const struct ct_layout *layout, const struct ct_rows *rows,
		       const struct ct_row *row, enum ct_column column, char *buf, size_t len);

#endif /* CT_VIEW_LAYOUT_H */
