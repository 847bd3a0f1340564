/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * truth_shared.h - the shared mapping through which the processes of a truth program (truth.c)
 * and their supervisor (oracle_supervisor.c) talk. Not for the programs themselves.
 */
#ifndef TRUTH_SHARED_H
#define TRUTH_SHARED_H

#include <stdatomic.h>

#include "truth.h"

#define TRUTH_SLOTS	   1024
#define TRUTH_RANGES	   16
#define TRUTH_SETTINGS	   8
#define TRUTH_SKIP	   77
#define TRUTH_ZERO_NOISE   2 /* zero fills of a process beside its plan, at most */
#define TRUTH_IMAGE_OPTION "--image"

enum truth_request {
	TRUTH_ASK_NONE = 0,
	TRUTH_ASK_SNAPSHOT, /* argument: slot of the child about to be forked, or -1 */
	TRUTH_ASK_FORGET,   /* a new image began: nothing of it was there before */
	TRUTH_ASK_END,
	TRUTH_ASK_ZOMBIE, /* argument: slot of a child that died */
	TRUTH_ASK_REPORT,
};

struct truth_expectation {
	bool known;
	int64_t lo, hi;
};

struct truth_slot {
	char role[24];
	pid_t pid;
	int parent; /* slot */

	_Atomic uint32_t request, answer; /* answer: a futex, counts answers */
	int argument;

	struct truth_expectation expect[TRUTH_KINDS];
	int64_t unmapped, foreign, wpcopy_adjust, wpcopy_extra;
	bool dead_threads, pages_unknown;

	/* the supervisor's */
	bool ended, pages_known;
	int error; /* errno of the page oracle */
	struct oracle_counts counts;
	int64_t wpcopy;
};

/* Files of /proc or /sys that were changed, and what they were. */
struct truth_settings {
	int n;
	struct {
		char path[128], old[64];
	} item[TRUTH_SETTINGS];
};

struct truth_shared {
	_Atomic uint32_t bell, n_slots;
	_Atomic uint32_t event[TRUTH_EVENTS];
	_Atomic uint64_t counter[TRUTH_COUNTERS];
	char reason[256], phase[64];
	int last_slot;
	bool page_flags;
	int n_ranges;
	struct oracle_range ranges[TRUTH_RANGES];
	struct truth_expectation range_expect[TRUTH_RANGES];
	_Atomic int64_t range_unmapped[TRUTH_RANGES];
	struct truth_settings settings;
	struct truth_slot slots[TRUTH_SLOTS];
};

/** truth_settings__write - as truth_sysctl. */
int truth_settings__write(struct truth_settings *s, const char *path, const char *value);
/** truth_settings__restore - put everything back, last change first. */
void truth_settings__restore(struct truth_settings *s);

/** truth_run_stem - the first child of the supervisor: forks the subject, waits, ends. */
_Noreturn void truth_run_stem(struct truth *t, const struct truth_case *c);
/** truth_run_image - what is left of main() after an exec of ourselves. */
_Noreturn void truth_run_image(const struct truth_program *program, char **argv);

#endif /* TRUTH_SHARED_H */
