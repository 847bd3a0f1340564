/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ct_slot.h - the state of a traced task (ct_family.h). User space maps them all, and of them sets
 * the number of the runtime (user/capture/runtimes.c).
 */
#ifndef CT_SLOT_H
#define CT_SLOT_H

#include "ct_runtime.h"

#define CT_SLOTS 16384 /* a power of two */

#define CT_TID_BITS    22 /* include/linux/threads.h: PID_MAX_LIMIT is 4 Mi */
#define CT_TID_MASK    ((1u << CT_TID_BITS) - 1)
#define CT_WHO(tid, n) ((tid) | (n) << CT_TID_BITS)

enum ct_slot_state {
	CT_IDLE = 0,
	CT_ARMED,    /* in a write fault on a present page, or behind one that got no page */
	CT_TOUCHING, /* in a write fault on a page that is not there */
	CT_GOT_PAGE, /* counted: a page was allocated for it */
};

struct ct_slot {
	__u64 task; /* struct task_struct *, 0: nobody's */
	__u64 image;
	__u64 mm;
	__u64 address;
	__u64 ip;
	__u64 page; /* struct page * that this fault got */
	union {
		__u64 word; /* fexit and kprobe: the old page table entry */
		struct {
			__u32 call; /* tracepoint: number of the call that a kernel-mode fault is in
				     */
			__u32 phase; /* tracepoint: CT_PHASE_* as it was when the fault began */
		};
	};
	__u32 who;  /* CT_WHO: thread id, and above it the number of its runtime */
	__u8 state; /* enum ct_slot_state */
	__u8 kind;  /* enum ct_kind, where it is known before the fault is over */
	__u8 flags; /* enum ct_flag */
	__u8 shift; /* log2 of the page size */
};

#define CT_FRAME_LEN 256 /* more than lies between the fields of any frame */

/** struct ct_runtime_entry - of the table of runtimes, by number: two cache lines. */
struct ct_runtime_entry {
	struct ct_runtime runtime;
	/* worked out once, by ct_runtimes__number */
	__u32 frame_len;  /* bytes of a frame that are read, below CT_FRAME_LEN; 0: no stack */
	__u32 first_shim; /* frames whose owner byte is from here on are none of Python */
} __attribute__((aligned(128)));

_Static_assert(CT_MAX_RUNTIMES <= 1u << (32 - CT_TID_BITS), "a runtime's number fits beside a tid");
_Static_assert(sizeof(struct ct_runtime_entry) == 128, "indexed by a shift");
_Static_assert(sizeof(struct ct_slot) == 64, "a slot is one cache line");

#endif /* CT_SLOT_H */
