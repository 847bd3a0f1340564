/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* cause.h - why a cell was written. */
#ifndef CT_RESOLVE_CAUSE_H
#define CT_RESOLVE_CAUSE_H

#include "heap/reader.h"

/**
 * ct_cause_of - the cause of a write to @place, found by @reader (index in ct_readers, -1 none),
 * by the function @symbol, while the interpreter was in @phase (CT_PHASE_*, ct_runtime.h).
 * CT_CAUSE_UNKNOWN where the evidence does not say.
 */
enum ct_cause ct_cause_of(const struct ct_place *place, int reader, const char *symbol,
			  uint32_t phase);

#endif /* CT_RESOLVE_CAUSE_H */
