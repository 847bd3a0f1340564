/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ct_abi.h - what the kernel side and user space say to each other: the records of the ring
 * buffer, the keys of the overflow maps, and the enums of the design's vocabulary.
 *
 * Included by BPF programs (after vmlinux.h) and by user space (after <linux/types.h>), so it
 * includes nothing but its like and uses only __u8..__u64.
 */
#ifndef CT_ABI_H
#define CT_ABI_H

#include "ct_runtime.h"

/** enum ct_kind - what a write fault did to the page it hit. 0 is "unknown" and never sent. */
enum ct_kind {
	CT_KIND_UNKNOWN = 0,
	CT_KIND_COPY,	      /* anonymous page shared by fork, copied */
	CT_KIND_COPY_FILE,    /* page of a private file mapping, copied */
	CT_KIND_COPY_KSM,     /* page merged by KSM, copied */
	CT_KIND_COPY_HUGE,    /* huge page copied whole (kernels before 5.8) */
	CT_KIND_COPY_HUGETLB, /* hugetlb page copied */
	CT_KIND_ZERO_FILL,    /* the zero page replaced by a page of its own */
	CT_KIND_REUSE,	      /* write-protected, sole owner: made writable, nothing copied */
	CT_KIND_COUNT
};

/** enum ct_record_type - what a record in the ring tells. */
enum ct_record_type {
	CT_REC_NONE = 0,
	CT_REC_FAULT, /* struct ct_record, or struct ct_record_bytes with CT_FLAG_BYTES */
	CT_REC_UNDO, /* the last fault of this thread at this address was thrown away (lost race) */
	CT_REC_FORK, /* struct ct_record_task: image is the child, other_image the parent */
	CT_REC_EXEC, /* struct ct_record_task: image is the new image, other_image the old */
	CT_REC_EXIT, /* struct ct_record_task: the last thread of image began to exit */
	CT_REC_TASK, /* struct ct_record_task: image was found alive when tracing began */
	CT_REC_STACK, /* struct ct_record_stack: of the next fault of this thread, if it is at the
			 same address */
};

enum ct_flag {
	CT_FLAG_KERNEL = 1 << 0,  /* written by the kernel for the process: read(2), recv(2) */
	CT_FLAG_FOREIGN = 1 << 1, /* written by another process: ptrace, /proc/PID/mem */
	CT_FLAG_UNREAD = 1 << 2,  /* copy_file of a page never mapped before: not in WPCOPY */
	CT_FLAG_BYTES = 1 << 3,	  /* the record is a struct ct_record_bytes */
};

/*
 * An image is one program run by one process: it begins at fork, exec or attach, and ends at exec
 * or exit. The id is the tgid (of the initial pid namespace) below, a serial number above, so a
 * reused pid is another image.
 */
#define CT_IMAGE(tgid, serial) (((__u64)(serial) << 32) | (__u32)(tgid))
#define CT_IMAGE_TGID(image)   ((__u32)(image))

/** struct ct_record - one fault. 40 bytes, no padding. */
struct ct_record {
	__u64 address;	 /* byte address that was written, in the image that was hit */
	__u64 ip;	 /* user instruction that wrote; of the system call with CT_FLAG_KERNEL */
	__u32 jiffies;	 /* when, low bits; ct_capture__time_ns makes CLOCK_MONOTONIC of it */
	__u32 phase;	 /* CT_PHASE_*: what the interpreter was doing */
	__u64 image;	 /* CT_IMAGE() of the memory that was hit */
	__u32 tid;	 /* the writing thread */
	__u8 type;	 /* enum ct_record_type */
	__u8 kind;	 /* enum ct_kind */
	__u8 flags;	 /* enum ct_flag */
	__u8 page_shift; /* log2 of the bytes that the fault concerned: 12, 21 or 30 */
};

#define CT_BYTES_LEN 64

/** struct ct_record_bytes - a fault with the bytes around the address as they were before. */
struct ct_record_bytes {
	struct ct_record rec;
	__u64 bytes_address; /* address of bytes[0]; all of them on the page of rec.address */
	__u8 bytes[CT_BYTES_LEN];
};

#define CT_COMM_LEN 16

/** struct ct_record_task - a change in the family. rec.address and rec.ip are 0. */
struct ct_record_task {
	struct ct_record rec;
	__u64 other_image;	/* the parent (fork), the old image (exec), else 0 */
	__u8 comm[CT_COMM_LEN]; /* as the kernel has it: any bytes, maybe unterminated */
};

/** struct ct_record_stack - who was calling when the fault of rec.tid at rec.address began. Only as
 *  long as its frames: offsetof(frames) + n_frames * sizeof(struct ct_frame). */
struct ct_record_stack {
	struct ct_record rec;
	__u32 n_frames;
	__u32 cut; /* not 0: there were more frames than this */
	struct ct_frame frames[CT_STACK_FRAMES];
};

/** struct ct_overflow_key - where the ring was full, faults are counted by this key. */
struct ct_overflow_key {
	__u64 image;
	__u64 address;
	__u32 kind;  /* enum ct_kind */
	__u32 flags; /* enum ct_flag, only CT_FLAG_UNREAD */
};

/** struct ct_kind_counts - net faults by kind, where even the overflow hash was full. */
struct ct_kind_counts {
	__s64 by_kind[CT_KIND_COUNT];
	__s64 copy_file_unread;
};

_Static_assert(sizeof(struct ct_record) == 40, "ct_record is wire format");
_Static_assert(sizeof(struct ct_record_bytes) == 112, "ct_record_bytes is wire format");
_Static_assert(sizeof(struct ct_record_task) == 64, "ct_record_task is wire format");
_Static_assert(sizeof(struct ct_overflow_key) == 24, "ct_overflow_key has no padding");

#endif /* CT_ABI_H */
