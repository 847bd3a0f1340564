/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* bench.h - the few lines that every bench program needs. */
#ifndef CT_BENCH_H
#define CT_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BENCH_PAGE 4096ul

static inline uint64_t bench_clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static inline uint64_t bench_now_ns(void)
{
	return bench_clock_ns(CLOCK_MONOTONIC);
}

/** End with what went wrong, errno in words. */
static inline _Noreturn void bench_die(const char *what)
{
	perror(what);
	exit(1);
}

#endif /* CT_BENCH_H */
