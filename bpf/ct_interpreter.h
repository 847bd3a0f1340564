/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ct_interpreter.h - what is read of the interpreter that a task runs, in its user memory, when it
 * takes a fault. A task whose slot has no runtime's number pays one test.
 *
 * These reads set accessed bits, so they are made before the kernel looks at the page table entry
 * of the fault (page_fault_*), or after it is done (fexit), never in between.
 */
#ifndef CT_INTERPRETER_H
#define CT_INTERPRETER_H

#include "ct_pagetable.h"
#include "ct_phase.h"
#include "ct_slot.h"

/* The runtimes by number; written by user space before it gives a task the number. */
struct ct_runtime_entry ct_runtimes[CT_MAX_RUNTIMES];

static __always_inline const struct ct_runtime_entry *ct_entry_of(const struct ct_slot *slot)
{
	__u32 number = slot->who >> CT_TID_BITS;

	barrier_var(number);
	return &ct_runtimes[number & (CT_MAX_RUNTIMES - 1)];
}

/*
 * Where the page with @address, of the current task, stands in the direct map; 0: it is not in
 * memory just now. A function of its own to the verifier, which looks into it once.
 */
__noinline __u64 ct_user_page(__u64 address)
{
	__u32 shift = 12;
	__u64 entry = ct_walk(CT_LAYOUT, ct_current_pgd(), address, &shift),
	      mask = (1ull << shift) - 1;

	if (!(entry & CT_PTE_PRESENT))
		return 0;
	return ct_config.layout.page_offset +
	       ((ct_entry_phys(CT_LAYOUT, entry) & ~mask) | (address & mask & ~4095ull));
}

/* The current task's memory, and the page of it that was read last. */
struct ct_view {
	__u64 number, page;
};

static __always_inline struct ct_view ct_view_current(void)
{
	struct ct_view view = { .number = ~0ull };

	return view;
}

/*
 * A word of the current task's memory: through the direct map where that is cheap, since a user
 * access costs three times as much in a page fault. Return: whether it could be read. (A word that
 * crosses into another page ends in bytes of some other: nothing here is that long.)
 */
static __always_inline bool ct_read_word(struct ct_view *view, __u64 address, __u64 *value)
{
	if (!CT_HAS_RDONLY_CAST)
		return bpf_probe_read_user(value, sizeof(*value), (const void *)address) == 0;
	if (view->number != address >> 12) {
		view->page = ct_user_page(address);
		view->number = address >> 12;
	}
	if (!view->page)
		return false;
	*value = ct_read_u64(view->page + (address & 4095));
	return true;
}

/* The collection that the interpreter with @collecting is in. 0: not known. */
static __always_inline __u32 ct_read_counts(const struct ct_runtime *runtime, struct ct_view *view,
					    __u64 collecting)
{
	__u64 count1 = 0, count2 = 0, collections = 0;
	__u32 generation;

	if ((!runtime->count_offset[0] && !runtime->count_offset[1]) ||
	    !runtime->collections_offset)
		return 0;
	if (!ct_read_word(view, collecting + runtime->count_offset[0], &count1) ||
	    !ct_read_word(view, collecting + runtime->count_offset[1], &count2))
		return 0;
	generation = ct_phase_of_counts((__s32)count1, (__s32)count2);
	if (!ct_read_word(view,
			  collecting + runtime->collections_offset +
				  (__u64)generation * runtime->collections_stride,
			  &collections))
		return 0;
	return CT_PHASE_OF(generation, collections);
}

/* Not inlined: most tasks have no runtime, and their way must stay short. */
static __noinline __u32 ct_read_phase(const struct ct_runtime *runtime)
{
	struct ct_phase_words words = {};
	struct ct_view view = ct_view_current();
	__u64 at, where = 0, value;

	/* the first is the main interpreter; more than one is rare */
#pragma unroll
	for (int i = 0; i < CT_MAX_INTERPRETERS; i++) {
		at = runtime->collecting[i];
		if (!at || where)
			continue;
		value = 0;
		words.asked++;
		if (!ct_read_word(&view, at, &value))
			words.failed++;
		else if ((__u32)value)
			where = at;
	}
	words.collecting = where != 0;
	at = runtime->finalising;
	if (at) {
		words.asked++;
		if (!ct_read_word(&view, at, &words.finalising))
			words.failed++;
		else if (runtime->finalising_zero)
			words.finalising = !(__u32)words.finalising;
		else if (runtime->finalising_bytes == 4)
			words.finalising = (__u32)words.finalising;
	}
	return ct_phase_of_words(&words) | (where ? ct_read_counts(runtime, &view, where) : 0);
}

/* CT_PHASE_* of the task of @slot, which is the current one; 0 if it has no runtime. */
static __always_inline __u32 ct_phase(const struct ct_slot *slot)
{
	return slot->who >> CT_TID_BITS ? ct_read_phase(&ct_entry_of(slot)->runtime) : 0;
}

#endif /* CT_INTERPRETER_H */
