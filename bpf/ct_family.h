/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ct_family.h - which tasks are traced, and the state of the fault that each is in.
 *
 * A task's slot is found by its pid in a plain array: one bounds mask and one compare of the task
 * pointer, no helper call, which is all that a foreign task ever costs. Two traced tasks whose
 * pids collide: the first has the slot, the other lives in the ct_spill hash, and ct_spilled says
 * that it is worth looking there. A slot is taken before the task's first fault (at fork, or when
 * adopted) and given back when the kernel frees the task_struct, so the pointer cannot be stale.
 */
#ifndef CT_FAMILY_H
#define CT_FAMILY_H

#include "ct_slot.h"

#define CT_MAX_SPILL 4096 /* preallocated */

struct ct_slot ct_slots[CT_SLOTS] __attribute__((aligned(64)));
__u32 ct_spilled[CT_SLOTS];

/* Slot index -> the task that owns it: settles who comes first when two pids collide. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CT_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} ct_owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CT_MAX_SPILL);
	__type(key, __u64); /* task */
	__type(value, struct ct_slot);
} ct_spill SEC(".maps");

/* mm -> image: one image for all threads, and for a writer that is not one of them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CT_MAX_IMAGES);
	__type(key, __u64);
	__type(value, __u64);
} ct_images SEC(".maps");

/* Masked anew at each use: across a call the compiler forgets, and the verifier too, that it was.
 */
static __always_inline __u32 ct_slot_index(__u32 pid)
{
	barrier_var(pid);
	return pid & (CT_SLOTS - 1);
}

static __always_inline struct ct_slot *ct_slot_of(__u64 task, __u32 pid)
{
	__u32 i = ct_slot_index(pid);

	if (ct_slots[i].task == task)
		return &ct_slots[i];
	if (!ct_spilled[i])
		return NULL;
	return bpf_map_lookup_elem(&ct_spill, &task);
}

static __always_inline struct ct_slot *ct_slot_of_current(struct task_struct *current)
{
	__u32 pid = CT_HAS_CURRENT_BTF ? current->pid : (__u32)bpf_get_current_pid_tgid();

	return ct_slot_of((__u64)current, pid);
}

/* Give @task a slot, with the number of a @runtime; harmless if it has one. Return: whether it is
 * new. */
static __always_inline bool ct_slot_claim(__u64 task, __u32 pid, __u64 image, __u64 mm,
					  __u32 runtime)
{
	struct ct_slot fresh = {
		.task = task, .image = image, .mm = mm, .who = CT_WHO(pid, runtime)
	};
	__u32 i = ct_slot_index(pid);
	struct ct_slot *slot;

	if (ct_slot_of(task, pid))
		return false;
	if (bpf_map_update_elem(&ct_owners, &i, &task, BPF_NOEXIST) == 0) {
		slot = &ct_slots[ct_slot_index(pid)];
		slot->image = image;
		slot->mm = mm;
		slot->page = 0;
		slot->who = CT_WHO(pid, runtime);
		slot->state = CT_IDLE;
		barrier();
		slot->task = task; /* last: the slot is the task's from here on */
		return true;
	}
	if (bpf_map_update_elem(&ct_spill, &task, &fresh, BPF_NOEXIST)) {
		__sync_fetch_and_add(&ct_control.untraced, 1);
		return false;
	}
	__sync_fetch_and_add(&ct_spilled[ct_slot_index(pid)], 1);
	__sync_fetch_and_add(&ct_control.spilled, 1);
	return true;
}

static __always_inline void ct_slot_release(__u64 task, __u32 pid)
{
	__u32 i = ct_slot_index(pid);

	if (ct_slots[i].task == task) {
		ct_slots[i].task = 0;
		barrier();
		bpf_map_delete_elem(&ct_owners, &i);
	}
	if (ct_spilled[ct_slot_index(pid)] && bpf_map_delete_elem(&ct_spill, &task) == 0)
		__sync_fetch_and_add(&ct_spilled[ct_slot_index(pid)], -1);
}

/* A serial that makes an image's id unique among those of a tgid, reused pids included. */
static __always_inline __u64 ct_new_image(__u32 tgid)
{
	return CT_IMAGE(tgid, bpf_ktime_get_ns() >> 10);
}

/* The image of @mm: @candidate if none is known yet, else the one that another CPU was first
 * with. */
static __always_inline __u64 ct_image_of_mm(__u64 mm, __u64 candidate)
{
	__u64 *known;

	bpf_map_update_elem(&ct_images, &mm, &candidate, BPF_NOEXIST);
	known = bpf_map_lookup_elem(&ct_images, &mm);
	return known ? *known : candidate;
}

/*
 * The task has new memory: it is in exec. Seen at the event that the kernel sends at the end of
 * that, or earlier by the first fault in the new memory, which the kernel's loader takes when it
 * clears the end of the data section. Not inlined: it is rare, and the fault programs are not.
 */
static __noinline void ct_move(struct ct_slot *slot, struct task_struct *task, __u32 pid,
			       __u32 tgid, __u64 mm)
{
	__u64 old = slot->image, old_mm = slot->mm, image;
	bool own = CT_IMAGE_TGID(old) == tgid;

	if (!own && !ct_config.follow) { /* a vfork child leaves its parent's memory */
		ct_slot_release((__u64)task, pid);
		return;
	}
	image = ct_new_image(tgid);
	bpf_map_update_elem(&ct_images, &mm, &image, BPF_ANY);
	slot->state = CT_IDLE;
	slot->page = 0;
	slot->mm = mm;
	slot->image = image;
	barrier();
	slot->who = CT_WHO(pid, 0); /* after the image: see ct_runtimes__give */
	if (own)
		bpf_map_delete_elem(&ct_images, &old_mm);
	ct_emit_task(CT_REC_EXEC, image, old, pid, task, BPF_RB_FORCE_WAKEUP);
}

#endif /* CT_FAMILY_H */
