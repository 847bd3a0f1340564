/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* fit.h - strings and numbers fitted into terminal columns; private to user/view. */
#ifndef CT_VIEW_FIT_H
#define CT_VIEW_FIT_H

#include <stdbool.h>

#include "base/types.h"

/** Room for any line that a view makes: 512 columns of 4 bytes and some. */
#define CT_LINE_BYTES  2560
#define CT_COLUMNS_MAX 512

enum ct_align { CT_ALIGN_LEFT, CT_ALIGN_RIGHT, CT_ALIGN_NONE };

/**
 * ct_fit - @s in exactly @columns columns: cut with an ellipsis or padded with spaces (not padded
 * with CT_ALIGN_NONE). Without @utf8 what is not ASCII becomes '?'. Bytes that are no UTF-8 and
 * control characters become '?' too: nothing here may act on a terminal.
 * Return: @buf.
 */
char *ct_fit(char *buf, size_t len, const char *s, unsigned int columns, enum ct_align align,
	     bool utf8);
/** ct_fit_width - the columns that @s takes when nothing is cut. */
unsigned int ct_fit_width(const char *s, bool utf8);
/** ct_fit_bar - a bar of @fraction (0 to 1) of @columns, to an eighth of a column with @utf8. */
char *ct_fit_bar(char *buf, size_t len, double fraction, unsigned int columns, bool utf8);
/** ct_fit_spark - one column a value, scaled to the biggest. */
char *ct_fit_spark(char *buf, size_t len, const double *values, size_t count, bool utf8);
/** ct_fit_shade - 0 to 4 as a character of that density; 0 is a space. */
const char *ct_fit_shade(int level, bool utf8);

/** Signed numbers; like ct_fmt_count and ct_fmt_bytes, with "-" in front where below 0. */
char *ct_fit_count(char *buf, size_t len, int64_t count);
char *ct_fit_bytes(char *buf, size_t len, int64_t bytes);
/** ct_fit_rate - "8,231/s", "0.4/s", "-" for one that is not known (NaN). */
char *ct_fit_rate(char *buf, size_t len, double per_second);
/** ct_fit_share - "71.0 %", "<0.1 %" for a little, "-" of nothing. */
char *ct_fit_share(char *buf, size_t len, int64_t part, int64_t whole);
/** ct_fit_duration - "12.3 s", "2 min 05 s", "3 h 07 min". */
char *ct_fit_duration(char *buf, size_t len, uint64_t duration_ns);

#endif /* CT_VIEW_FIT_H */
