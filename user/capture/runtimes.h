/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* runtimes.h - which runtime the kernel side reads for which task, by number (ct_slot.h). */
#ifndef CT_CAPTURE_RUNTIMES_H
#define CT_CAPTURE_RUNTIMES_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ct_runtime.h"
#include "ct_slot.h"

/** struct ct_runtimes - memory shared with the running programs; all zero: none. */
struct ct_runtimes {
	struct ct_runtime_entry *table; /* CT_MAX_RUNTIMES; [0] is none */
	struct ct_slot *slots;		/* CT_SLOTS */
	bool given[CT_MAX_RUNTIMES];	/* the entry may be in use */
};

/**
 * ct_runtimes__number - the number of an entry equal to @runtime, made if there is none.
 * @in_use: of CT_MAX_RUNTIMES, asked for when all are given: true for those that tasks outside
 * the slots have; those that nobody has are given anew. Return: the number, or -ENOSPC.
 */
int ct_runtimes__number(struct ct_runtimes *runtimes, const struct ct_runtime *runtime,
			void (*in_use)(void *context, bool *used), void *context);

/** ct_runtimes__give - the slots of @image (only that of thread @tid, if not 0) get @number, also
 *  those of threads that are made meanwhile. */
void ct_runtimes__give(struct ct_runtimes *runtimes, uint64_t image, uint32_t tid, uint32_t number);

#endif /* CT_CAPTURE_RUNTIMES_H */
