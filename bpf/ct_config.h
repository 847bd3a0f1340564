/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ct_config.h - what user space tells the hooks before they load, and while they run. */
#ifndef CT_CONFIG_H
#define CT_CONFIG_H

#include "ct_calibrate.h"

/** struct ct_config - constant once loaded, so that the verifier drops what is not needed. The
 *  only object in .rodata. */
struct ct_config {
	struct ct_kernel_layout layout;
	__u32 follow;	 /* trace forked children */
	__u32 stacks;	 /* of each so many faults the stack is taken; 0: of none */
	__u32 self_tgid; /* cowtrace, which may descend from the target: never traced */
};

enum ct_sweep {
	CT_SWEEP_NONE = 0,
	CT_SWEEP_ADOPT,	  /* take in adopt_tgid and, when following, whatever descends from it */
	CT_SWEEP_SETTLE,  /* at the end: decide faults that no later event has decided */
	CT_SWEEP_RUNTIME, /* give the tasks of runtime_image that are in ct_spill their runtime */
};

/** struct ct_control - what user space and the hooks share while they run; a map of its own,
 *  .data.control. */
struct ct_control {
	__u32 sweep;		    /* in: enum ct_sweep, what reading the iterator does */
	__u32 adopt_tgid;	    /* in */
	__u64 jiffies;		    /* out: at the last sweep */
	__u64 adopted;		    /* out: tasks taken in so far */
	__u64 overflowed;	    /* out: records that did not fit the ring */
	__u64 late;		    /* out: family events put into ct_late */
	__u64 untraced;		    /* out: tasks that no table had room for */
	__u64 stacks_dropped;	    /* out: stacks that did not fit the ring */
	__u64 spilled;		    /* out: tasks put into ct_spill so far */
	__u64 runtime_image;	    /* in: of CT_SWEEP_RUNTIME */
	__u32 runtime_tid;	    /* in: 0: any */
	__u32 runtime;		    /* in: its number */
	struct ct_kind_counts lost; /* out: faults that fitted no map either, of all processes */
};

#endif /* CT_CONFIG_H */
