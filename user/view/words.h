/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* words.h - the lines said above and below every table; private to user/view. */
#ifndef CT_VIEW_WORDS_H
#define CT_VIEW_WORDS_H

#include "view/view.h"

/** ct_words__headline - "cowtrace: gunicorn[812] + 8 processes, hook, kernel, duration,
 * undetailed". Nothing but the command is cut to make it fit @columns (0: as long as it is), so it
 * may be longer; with @terse the words go too where they must. */
char *ct_words__headline(const struct ct_run_info *run, size_t others, int64_t undetailed,
			 bool utf8, unsigned int columns, bool terse, char *buf, size_t len);
/** ct_words__others - how many processes beside the target are in a snapshot (by pid). */
size_t ct_words__others(const struct ct_snapshot *snapshot);
/** ct_words__kinds - "copy 104,960, copy_file 512 (96 unread), zero_fill 2,048". */
char *ct_words__kinds(const struct ct_totals *totals, bool utf8, char *buf, size_t len);
/** ct_words__interpreters - "CPython 3.11.2 in python3.11 (9 processes)", and others behind it;
 *  "" if there is none. */
char *ct_words__interpreters(const struct ct_run_info *run, bool utf8, char *buf, size_t len);
/** ct_words__no_stacks - why some of them have no Python lines; "" if all have. */
char *ct_words__no_stacks(const struct ct_run_info *run, char *buf, size_t len);
/** ct_words__refused - which interpreters are not understood, and why; "" if all are. */
char *ct_words__refused(const struct ct_run_info *run, char *buf, size_t len);
/** ct_words__collections - the few that unshared most; "" if there is none. */
char *ct_words__collections(const struct ct_snapshot *snapshot, bool utf8, char *buf, size_t len);
/** ct_words__exit - what interpreters unshared while they ended; "" if nothing. */
char *ct_words__exit(const struct ct_snapshot *snapshot, char *buf, size_t len);
/** ct_words__reading - one sentence on what the numbers say. */
char *ct_words__reading(const struct ct_snapshot *snapshot, char *buf, size_t len);

#endif /* CT_VIEW_WORDS_H */
