/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ct_runtime.h - where an interpreter keeps what is read of it at the moment of a fault: is it
 * collecting, is it ending, and the frames of the thread that writes. A heap reader finds these
 * places, the kernel side reads them; 0 is "not there" for each of them.
 *
 * Included by BPF programs (after vmlinux.h) and by user space (after <linux/types.h>).
 */
#ifndef CT_RUNTIME_H
#define CT_RUNTIME_H

#define CT_MAX_RUNTIMES	    256 /* different ones at a time; number 0 is "none" */
#define CT_MAX_INTERPRETERS 4	/* of one process, whose collections are seen */
#define CT_STACK_FRAMES	    64

/** enum ct_frame_kind - how the frames of a thread hang together. */
enum ct_frame_kind {
	CT_FRAMES_NONE = 0,
	CT_FRAMES_OBJECT, /* CPython up to 3.10: frame objects, the instruction is an int */
	CT_FRAMES_CHUNK,  /* CPython 3.11 on: the instruction is a pointer; owner tells shims */
};

/** struct ct_runtime - addresses are the target's, offsets are bytes. */
struct ct_runtime {
	__u64 collecting[CT_MAX_INTERPRETERS]; /* int: not 0 inside a collection */
	__u64 finalising;		       /* not 0 once the interpreter is ending */
	__u32 finalising_bytes;		       /* 4 or 8 */
	__u32 finalising_zero; /* not 0: the other way round, 0 once it is ending (2.7) */
	/* of the interpreter that collects, from &collecting; see ct_phase_of_counts */
	__s32 count_offset[2];	  /* int generations[1].count and [2].count; both 0: unknown */
	__s32 collections_offset; /* word: finished collections of generation 0; 0: unknown */
	__u32 collections_stride; /* of the same of generations 1 and 2 */
	/* the running thread's state: a pointer to it stands at tstate (or, with tstate_tls, at
	 * fs base + tstate, which may lie below: a negative number), and is its own only if its
	 * word at thread_id is the fs base */
	__u32 tstate_tls;
	__u64 tstate;
	__u32 thread_id;
	__u32 frames; /* enum ct_frame_kind; CT_FRAMES_NONE: no Python stack, see ct_reader */
	__u32 frame;  /* in the thread state: pointer to the innermost frame, or to cframe */
	__s32 cframe; /* -1, or where in what that points to the frame pointer stands */
	__u16 frame_back, frame_code, frame_instruction, frame_owner; /* in a frame */
	__u32 code_mask;   /* low bits of the code pointer that are tags, to be cleared */
	__u32 owner_shims; /* owner from here on: no Python function, go on to the next */
};

#define CT_PHASE_KNOWN	    (1u << 0) /* there is a runtime, and it could be read */
#define CT_PHASE_COLLECTING (1u << 1)
#define CT_PHASE_FINALISING (1u << 2)
#define CT_PHASE_COUNTED    (1u << 3) /* generation and collections are known */
/** With CT_PHASE_COLLECTING and _COUNTED: the generation that is being collected, 0 to 2, and how
 *  many collections of it were finished before this one, to 24 bits. */
#define CT_PHASE_GENERATION(phase)  ((phase) >> 4 & 3u)
#define CT_PHASE_COLLECTIONS(phase) ((phase) >> 8)
#define CT_PHASE_OF(generation, collections) \
	(CT_PHASE_COUNTED | (__u32)(generation) << 4 | (__u32)(collections) << 8)

/** A frame, innermost first: of Python (code is not 0) or native (code 0, instruction an ip). */
struct ct_frame {
	__u64 code;	   /* the code object */
	__u64 instruction; /* f_lasti or the instruction pointer, as in the frame */
};

#endif /* CT_RUNTIME_H */
