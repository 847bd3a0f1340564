/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ct_slot.h - the state of a traced task (ct_family.h). User space only needs its size. */
#ifndef CT_SLOT_H
#define CT_SLOT_H

#define CT_SLOTS 16384 /* a power of two */

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
	__u64 word; /* the hook's own: the old PTE, or the system call of a kernel-mode fault */
	__u32 tid;
	__u8 state; /* enum ct_slot_state */
	__u8 kind;  /* enum ct_kind, where it is known before the fault is over */
	__u8 flags; /* enum ct_flag */
	__u8 shift; /* log2 of the page size */
};

_Static_assert(sizeof(struct ct_slot) == 64, "a slot is one cache line");

#endif /* CT_SLOT_H */
