/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * log.h - one line a message on standard error, "cowtrace: ...". The place that knows a failure's
 * reason logs it once; callers only pass the negative errno on.
 */
#ifndef CT_BASE_LOG_H
#define CT_BASE_LOG_H

#include "base/types.h"

/** An error: what happened, why, and what to do. One line; a newline is added. */
void ct_error(const char *fmt, ...) CT_PRINTF(1, 2);
/** A warning: the run goes on, but the user should know. */
void ct_warn(const char *fmt, ...) CT_PRINTF(1, 2);
/** Shown with --verbose only. */
void ct_debug(const char *fmt, ...) CT_PRINTF(1, 2);
/** @level: 0 errors and warnings, 1 debug too. */
void ct_log_set_verbose(int level);
/** While a full-screen view owns the terminal, lines are kept (up to 64 KiB) and shown at release.
 */
void ct_log_hold(void);
void ct_log_release(void);

#endif /* CT_BASE_LOG_H */
