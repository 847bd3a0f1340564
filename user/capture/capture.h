/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * capture.h - faults as records, from the running kernel. (A file will be a second maker of the
 * same interface.)
 */
#ifndef CT_CAPTURE_CAPTURE_H
#define CT_CAPTURE_CAPTURE_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ct_abi.h"

/** All hooks: "fexit", "kprobe", "tracepoint", NULL. */
extern const char *const ct_hook_names[];
/** ct_capture__ladder - all hooks in the order in which they are tried on this kernel. */
const char *const *ct_capture__ladder(void);

struct ct_capture_options {
	const char *hook; /* NULL: the first that works */
	bool follow;
	size_t ring_bytes;   /* 0: the default, 16 MiB, or 64 with stacks; else a power of two of at
				least a page */
	unsigned int stacks; /* of each so many faults the stack is taken; 0: of none */
};

struct ct_capture;

/**
 * ct_capture__open_live - load and attach a hook; nothing is traced until ct_capture__adopt.
 * NULL when no hook works: the reasons have been logged, and errno says the last of them.
 * Free with ct_capture__close, which leaves nothing behind in the kernel.
 */
struct ct_capture *ct_capture__open_live(const struct ct_capture_options *options);
void ct_capture__close(struct ct_capture *capture);

/** ct_capture__adopt - trace process @pid (of the initial pid namespace), its threads and, when
 *  following, its living descendants. Return: tasks taken in; -ESRCH if there was none. */
int ct_capture__adopt(struct ct_capture *capture, pid_t pid);

/** One record: @len bytes of a struct ct_record, or of the longer one that its type and flags
 *  tell. A value below 0 stops the batch after this record. */
typedef int (*ct_record_fn)(void *context, const struct ct_record *record, size_t len);

/** ct_capture__consume - hand over what is in the ring, at most @limit records. Return: how many,
 *  or -errno. Never waits. */
int ct_capture__consume(struct ct_capture *capture, ct_record_fn fn, void *context, int limit);

/** ct_capture__wake_fd - readable when there is something that should be consumed at once (poll it,
 *  then consume); -1 if there is no such thing. */
int ct_capture__wake_fd(const struct ct_capture *capture);

/** Faults without a record. @image 0: of processes unknown; @address 0: address unknown. */
typedef void (*ct_overflow_fn)(void *context, uint64_t image, uint64_t address, enum ct_kind kind,
			       bool unread, int64_t count);

/** ct_capture__drain_overflow - report and clear what did not fit the ring. Only after
 *  ct_capture__stop: while programs run, taking a counter out could lose an increment. */
void ct_capture__drain_overflow(struct ct_capture *capture, ct_overflow_fn fn, void *context);
/** ct_capture__overflowed - how many records did not fit so far: for a live display. */
uint64_t ct_capture__overflowed(const struct ct_capture *capture);

/** ct_capture__stop - decide what is pending and detach: after it, consume sees the last record. */
void ct_capture__stop(struct ct_capture *capture);

/** ct_capture__hook - the name of the hook in use. */
const char *ct_capture__hook(const struct ct_capture *capture);
/** ct_capture__refused - one line for each rung of the ladder tried before it: "fexit: why". */
const char *ct_capture__refused(const struct ct_capture *capture);
/** ct_capture__time_ns - CLOCK_MONOTONIC of a record's jiffies. */
uint64_t ct_capture__time_ns(const struct ct_capture *capture, uint32_t jiffies);
/** ct_capture__stacks_dropped - stacks that did not fit the ring so far; their faults are counted.
 */
uint64_t ct_capture__stacks_dropped(const struct ct_capture *capture);
/** ct_capture__untraced - tasks that no kernel table had room for (their faults are not counted).
 */
uint64_t ct_capture__untraced(const struct ct_capture *capture);

/** ct_capture__missed - runs of the hook's programs that the kernel skipped, for any process: it
 *  runs no program of a trampoline twice at a time on a CPU, and may preempt one. Counts may be
 *  short by at most that. 0 where the kernel does not say (before 5.12). */
uint64_t ct_capture__missed(const struct ct_capture *capture);

/** ct_capture__set_runtime - from now on read @runtime of the tasks of @image (and of what they
 *  fork) at each fault. @tid: only of this task, known to be of @image (a fork just seen); 0: of
 * all that are. NULL: nothing any more. Return: 0, or -ENOSPC when there are too many different
 * ones. */
int ct_capture__set_runtime(struct ct_capture *capture, uint64_t image, uint32_t tid,
			    const struct ct_runtime *runtime);

/** ct_capture__probe - does @hook load and attach here? 0 or -errno with the reason in @why. */
int ct_capture__probe(const char *hook, char *why, size_t why_len);

#endif /* CT_CAPTURE_CAPTURE_H */
