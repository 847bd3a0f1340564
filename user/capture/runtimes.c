/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * runtimes.c - gives tasks the number of their runtime, while the kernel side runs. A thread
 * inherits its maker's number in the kernel, and exec takes it away there.
 */
#include "capture/runtimes.h"

#include <errno.h>
#include <string.h>

#define CT_MAX_PASSES 8 /* a program that makes threads faster than this is left to itself */

static void ct_forget_unused(struct ct_runtimes *runtimes,
			     void (*in_use)(void *context, bool *used), void *context)
{
	bool used[CT_MAX_RUNTIMES] = { false };

	in_use(context, used);
	for (size_t i = 0; i < CT_SLOTS; i++) {
		struct ct_slot *slot = &runtimes->slots[i];
		uint32_t who = __atomic_load_n(&slot->who, __ATOMIC_ACQUIRE);

		if (__atomic_load_n(&slot->task, __ATOMIC_RELAXED))
			used[(who >> CT_TID_BITS) % CT_MAX_RUNTIMES] = true;
	}
	memcpy(runtimes->given, used, sizeof(used));
}

static uint32_t ct_larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* What the kernel side would otherwise work out at each stack. A description that makes no sense
 * gives none. */
static void ct_fill_entry(struct ct_runtime_entry *entry, const struct ct_runtime *runtime)
{
	bool chunk = runtime->frames == CT_FRAMES_CHUNK;
	uint32_t last = ct_larger(runtime->frame_back, runtime->frame_code);

	last = ct_larger(last, runtime->frame_instruction) + 8;
	if (chunk)
		last = ct_larger(last, runtime->frame_owner + 1u);
	entry->runtime = *runtime;
	entry->first_shim = chunk && runtime->owner_shims ? runtime->owner_shims : UINT32_MAX;
	entry->frame_len = 0;
	if ((chunk || runtime->frames == CT_FRAMES_OBJECT) && runtime->tstate &&
	    last < CT_FRAME_LEN)
		entry->frame_len = last;
}

int ct_runtimes__number(struct ct_runtimes *runtimes, const struct ct_runtime *runtime,
			void (*in_use)(void *context, bool *used), void *context)
{
	int free_number = 0;

	for (int pass = 0; !free_number; pass++) {
		for (int i = 1; i < CT_MAX_RUNTIMES; i++) {
			const struct ct_runtime *known = &runtimes->table[i].runtime;

			if (!runtimes->given[i])
				free_number = free_number ? free_number : i;
			else if (!memcmp(known, runtime, sizeof(*runtime)))
				return i;
		}
		if (!free_number && pass)
			return -ENOSPC;
		if (!free_number)
			ct_forget_unused(runtimes, in_use, context);
	}
	ct_fill_entry(&runtimes->table[free_number], runtime);
	runtimes->given[free_number] = true;
	return free_number;
}

/* Return: whether something was changed. */
static bool ct_give_slot(struct ct_slot *slot, uint64_t image, uint32_t tid, uint32_t number)
{
	uint32_t who = __atomic_load_n(&slot->who, __ATOMIC_ACQUIRE), wanted;

	if (!__atomic_load_n(&slot->task, __ATOMIC_RELAXED) ||
	    __atomic_load_n(&slot->image, __ATOMIC_RELAXED) != image ||
	    (tid && (who & CT_TID_MASK) != tid))
		return false;
	wanted = CT_WHO(who & CT_TID_MASK, number);
	if (who == wanted)
		return false;
	if (!__atomic_compare_exchange_n(&slot->who, &who, wanted, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		return true; /* another task's now: look again */
	if (__atomic_load_n(&slot->image, __ATOMIC_ACQUIRE) != image) {
		/* exec came between, after which the number is 0 */
		who = CT_WHO(wanted & CT_TID_MASK, 0);
		__atomic_compare_exchange_n(&slot->who, &wanted, who, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_RELAXED);
	}
	return true;
}

void ct_runtimes__give(struct ct_runtimes *runtimes, uint64_t image, uint32_t tid, uint32_t number)
{
	bool changed = true;

	if (tid) {
		ct_give_slot(&runtimes->slots[tid % CT_SLOTS], image, tid, number);
		return;
	}
	/* A thread may be made behind us by one that is before us: pass until nothing changes. */
	for (int pass = 0; changed && pass < CT_MAX_PASSES; pass++) {
		changed = false;
		for (size_t i = 0; i < CT_SLOTS; i++)
			changed |= ct_give_slot(&runtimes->slots[i], image, 0, number);
	}
}
