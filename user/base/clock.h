/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* clock.h - the time, in ns. */
#ifndef CT_BASE_CLOCK_H
#define CT_BASE_CLOCK_H

#include <time.h>

#include "base/types.h"

/** ct_clock_ns - @clock (CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME_ID), ns. */
static inline uint64_t ct_clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/** ct_now_ns - CLOCK_MONOTONIC, ns. */
static inline uint64_t ct_now_ns(void)
{
	return ct_clock_ns(CLOCK_MONOTONIC);
}

#endif /* CT_BASE_CLOCK_H */
