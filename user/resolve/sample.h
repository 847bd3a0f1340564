/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* sample.h - a fault after resolving: small integers only, so that counting it is cheap. */
#ifndef CT_RESOLVE_SAMPLE_H
#define CT_RESOLVE_SAMPLE_H

#include <stdbool.h>

#include "base/types.h"
#include "heap/vocabulary.h"

/** enum ct_fault - the kinds of fault (DESIGN: Vocabulary), as user space counts them. */
enum ct_fault {
	CT_FAULT_UNKNOWN = 0,
	CT_FAULT_COPY,
	CT_FAULT_COPY_FILE,
	CT_FAULT_COPY_KSM,
	CT_FAULT_COPY_HUGE,
	CT_FAULT_COPY_HUGETLB,
	CT_FAULT_ZERO_FILL,
	CT_FAULT_REUSE,
	CT_FAULT_COUNT
};

/** In a list of frames: the id is of (object file, symbol), not of (file, "LINE FUNCTION"). */
#define CT_FRAME_NATIVE 0x80000000u

struct ct_sample {
	uint64_t ts_ns;
	ct_raddr_t address;
	uint32_t process; /* row given by ct_tally__process */
	uint32_t type;	  /* id in the tally's types, 0 unknown */
	uint32_t writer;  /* id in the tally's writers, 0 unknown */
	int32_t count;	  /* 1; -1 takes an earlier sample back (lost race) */
	uint8_t fault;	  /* enum ct_fault */
	uint8_t cell;	  /* enum ct_cell */
	uint8_t cause;	  /* enum ct_cause */
	uint8_t page_shift;
	bool unread;	     /* copy_file of a page never mapped before */
	bool sampled;	     /* one of those of which the stack was taken: it counts by line, too */
	bool correction;     /* of a sample already counted: more is known of it now */
	uint8_t generation;  /* that was being collected, if collection is not 0 */
	uint32_t collection; /* 1: the first of that generation since the image began */
	uint32_t line, function, module, stack; /* ids of the innermost frame, of all frames */
	uint32_t offset, size; /* of the address from object; of the object; bytes */
	ct_raddr_t object;     /* 0 unknown */
	ct_raddr_t owner;      /* of a buffer whose owner was found later */
	const char *heap;      /* the reader that answered; NULL: none */
	uint32_t pid, tid;
};

#endif /* CT_RESOLVE_SAMPLE_H */
