/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * truth.h - what the truth programs share: a family of processes whose copy-on-write faults are
 * known exactly, from a plan (N pages) and from witnesses that need no tracing (oracle.h).
 *
 *	supervisor (main)      takes the oracles, prints the expectation; not counted itself
 *	  stem                 exists so that the subject is forked like any child; WPCOPY only
 *	    subject            runs the case; forks children by truth_fork
 *	      child ...        each stops at its end until the supervisor has looked at it
 *
 * They talk through one shared mapping and futexes, which cause no copy-on-write fault, so what
 * is left is the plan and a handful of stack and data pages, which the oracles count too.
 */
#ifndef TRUTH_TRUTH_H
#define TRUTH_TRUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "oracle.h"

#define TRUTH_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* Pages of stack and data that a process may copy beside its plan; the oracles know how many. */
#define TRUTH_NOISE 64

enum truth_kind {
	TRUTH_COPY = 0,
	TRUTH_COPY_FILE,
	TRUTH_COPY_KSM,
	TRUTH_COPY_HUGETLB,
	TRUTH_COPY_FILE_UNREAD,
	TRUTH_ZERO_FILL,
	TRUTH_REUSE,
	TRUTH_KINDS
};

struct truth_shared;

/** struct truth - one process of the family; @pages is --pages. */
struct truth {
	long pages;
	struct truth_shared *shared;
	int self;	       /* my slot */
	int shared_fd;	       /* survives exec */
	const char *case_name; /* of the running case */
};

struct truth_case {
	const char *name, *about;
	void (*run)(struct truth *t); /* in the subject */
	bool page_flags;	      /* KSM or hugetlb: look at kpageflags too */
};

struct truth_program {
	const char *name;
	const struct truth_case *cases;
	size_t n_cases;
	void (*image)(struct truth *t, const char *word); /* after truth_exec; may be NULL */
};

/** truth_main - the main() of every truth program. */
int truth_main(int argc, char **argv, const struct truth_program *program);

/* ---- processes ---- */

typedef void (*truth_fn)(struct truth *t, void *arg);

/** truth_fork - fork a child that runs @fn and ends. The oracles look at us before, at it after. */
pid_t truth_fork(struct truth *t, const char *role, truth_fn fn, void *arg);
/** truth_slot_new - announce a process that is made in another way (vfork, posix_spawn). */
int truth_slot_new(struct truth *t, const char *role);
/** truth_become - we are the process announced as @slot. */
void truth_become(struct truth *t, int slot);
/** truth_snapshot - let the supervisor look at us; @child >= 0: it is about to be forked. */
void truth_snapshot(struct truth *t, int child);
/** truth_image_argv - argv (5 entries and NULL) for an exec of this program as @slot. */
void truth_image_argv(struct truth *t, int slot, const char *word, char *argv[6]);
/** truth_end - be looked at, then _exit(0). What a child does when its function returns. */
_Noreturn void truth_end(struct truth *t);
/** truth_wait - wait until a child ended well. */
void truth_wait(struct truth *t, pid_t pid);
/** truth_wait_dead - wait until a child of @slot died in any way, without reaping it, take its
 *  WPCOPY (@threads: it had several), then reap it. */
void truth_wait_dead(struct truth *t, pid_t pid, int slot, bool threads);
/** truth_fork_plain - fork a child that nobody looks at; it runs @fn, then exits. */
pid_t truth_fork_plain(struct truth *t, truth_fn fn, void *arg);
/** truth_last_slot - slot of the child forked last. */
int truth_last_slot(const struct truth *t);
pid_t truth_pid(const struct truth *t, int slot);
/** truth_report - one JSON line on standard output: WPCOPY of every living process so far. */
void truth_report(struct truth *t, const char *phase);

_Noreturn void truth_fail(struct truth *t, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
_Noreturn void truth_skip(struct truth *t, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- expectations ---- */

/** truth_expect - this process has between @lo and @hi faults of @kind. Copies are known exactly
 *  from the oracles; what is said here is checked against them. */
void truth_expect(struct truth *t, enum truth_kind kind, int64_t lo, int64_t hi);
void truth_expect_of(struct truth *t, int slot, enum truth_kind kind, int64_t lo, int64_t hi);
/** truth_range - all processes together unshare @lo..@hi pages in this range. */
int truth_range(struct truth *t, const void *start, size_t len_bytes, int64_t lo, int64_t hi);
void truth_range_set(struct truth *t, int range, int64_t lo, int64_t hi);
/** truth_unmapped - pages copied in @range (-1: none) that the page oracle can't see any more. */
void truth_unmapped(struct truth *t, int range, int64_t copies);
/** truth_foreign - @writer copied @copies pages of @target: its WPCOPY counts them. @by_kernel:
 *  through ptrace-like access, which a page-fault tracepoint never sees. */
void truth_foreign(struct truth *t, int writer, int target, int64_t copies, bool by_kernel);
/** truth_wpcopy_adjust - add @by to this process's WPCOPY before comparing. */
void truth_wpcopy_adjust(struct truth *t, int64_t by);
/** truth_gup - the kernel copied @copies of our pages without a page fault (direct I/O). */
void truth_gup(struct truth *t, int64_t copies);
/** truth_pages_unknown - we fork unseen, so page frames say too little of us: WPCOPY only. */
void truth_pages_unknown(struct truth *t);
/** truth_races - threads of this process race, so WPCOPY may count up to @extra too many. */
void truth_races(struct truth *t, int64_t extra);

/* ---- between processes; all live in the shared mapping ---- */

#define TRUTH_EVENTS   16
#define TRUTH_COUNTERS 16

/** truth_signal / truth_await - add 1 to an event; wait until it has reached @value. */
void truth_signal(struct truth *t, int event);
void truth_await(struct truth *t, int event, uint32_t value);
/** truth_counter - a number that all see; 0 is taken (--pages, for images after exec). */
_Atomic uint64_t *truth_counter(struct truth *t, int i);
/** truth_meet - wait, spinning at first, until all @parties threads or processes have come;
 * reusable. */
void truth_meet(struct truth *t, int event, uint32_t parties, uint32_t round);

/* ---- memory ---- */

/** truth_map - private anonymous pages, not touched, never huge. */
char *truth_map(struct truth *t, long pages);
/** truth_buffer - the same, written. */
char *truth_buffer(struct truth *t, long pages);
/** truth_write - write one byte in each of @pages pages. */
void truth_write(volatile char *p, long pages);
/** truth_read - read one byte of each. */
void truth_read(const volatile char *p, long pages);
/** truth_file - a new file, already unlinked, of @pages pages of data (on disk, in TMPDIR). */
int truth_file(struct truth *t, long pages);
/** truth_file_cold - drop it from the page cache, and read without readahead from now on. */
void truth_file_cold(int fd);
/** truth_slack_old - copies of pages with one owner that a kernel before 5.15 may make. */
int64_t truth_slack_old(void);
/** truth_kernel_at_least - by uname. */
bool truth_kernel_at_least(unsigned int major, unsigned int minor);
/** truth_sysctl - write @value to a file of /proc or /sys; put back when the program ends.
 *  Return 0 or -1 with errno. */
int truth_sysctl(struct truth *t, const char *path, const char *value);

#endif /* TRUTH_TRUTH_H */
