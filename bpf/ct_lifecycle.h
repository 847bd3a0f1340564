/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ct_lifecycle.h - the programs that every hook has: they follow the family through fork, exec and
 * exit, in the kernel, so that a child is traced before its first instruction.
 *
 * The including hook defines ct_settle(slot, pgd): decide a fault that is over (may do nothing).
 */
#ifndef CT_LIFECYCLE_H
#define CT_LIFECYCLE_H

static __always_inline __u64 ct_task_mm(struct task_struct *task)
{
	return (__u64)BPF_CORE_READ(task, mm);
}

/* kernel/fork.c: in the parent, after the child is made and before it is woken. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(ct_on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct ct_slot *slot = ct_slot_of((__u64)parent, parent->pid);
	__u64 mm = ct_task_mm(child), image;
	__u32 runtime;

	if (!slot || !mm)
		return 0;
	runtime = slot->who >> CT_TID_BITS; /* the same memory, or a copy of it */
	if (mm == slot->mm) {		    /* a thread, or vfork: the same memory */
		ct_slot_claim((__u64)child, child->pid, slot->image, mm, runtime);
		return 0;
	}
	if (!ct_config.follow)
		return 0;
	image = ct_new_image(child->tgid);
	bpf_map_update_elem(&ct_images, &mm, &image, BPF_ANY); /* the address of an mm long gone */
	ct_slot_claim((__u64)child, child->pid, image, mm, runtime);
	/* before the child gets far: has its parent an interpreter that is not known yet? */
	ct_emit_task(CT_REC_FORK, image, slot->image, child->pid, child,
		     runtime ? BPF_RB_NO_WAKEUP : BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* fs/exec.c: the new program is in place, its first instruction not run. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(ct_on_exec, struct task_struct *task)
{
	struct ct_slot *slot = ct_slot_of((__u64)task, task->pid);
	__u64 mm = ct_task_mm(task);

	if (slot && mm && slot->mm != mm)
		ct_move(slot, task, task->pid, task->tgid, mm);
	return 0;
}

/* kernel/exit.c: before the memory is let go from 6.16 on, after it before that. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(ct_on_exit, struct task_struct *task)
{
	struct ct_slot *slot = ct_slot_of((__u64)task, task->pid);
	__u64 mm;

	if (!slot)
		return 0;
	mm = ct_task_mm(task);
	if (mm && mm == slot->mm)
		ct_settle(slot, (__u64)BPF_CORE_READ(task, mm, pgd));
	slot->state = CT_IDLE;
	if (BPF_CORE_READ(task, signal, live.counter) != 0 ||
	    CT_IMAGE_TGID(slot->image) != (__u32)task->tgid)
		return 0;
	mm = slot->mm;
	bpf_map_delete_elem(&ct_images, &mm);
	ct_emit_task(CT_REC_EXIT, slot->image, 0, task->pid, task, BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* kernel/exit.c:delayed_put_task_struct: from here on the task pointer may be another's. */
SEC("tp_btf/sched_process_free")
int BPF_PROG(ct_on_free, struct task_struct *task)
{
	ct_slot_release((__u64)task, task->pid);
	return 0;
}

static __always_inline void ct_adopt(struct task_struct *task)
{
	struct task_struct *parent = task->real_parent;
	__u64 mm = ct_task_mm(task), image, *known, other = 0;
	struct ct_slot *slot;

	if (!mm || ct_slot_of((__u64)task, task->pid) || (__u32)task->tgid == ct_config.self_tgid)
		return;
	known = bpf_map_lookup_elem(&ct_images, &mm);
	if (known) { /* a thread of somebody taken in before */
		if (ct_slot_claim((__u64)task, task->pid, *known, mm, 0))
			ct_control.adopted++;
		return;
	}
	slot = ct_slot_of((__u64)parent, parent->pid);
	if (slot)
		other = slot->image;
	if ((__u32)task->tgid != ct_control.adopt_tgid && !(slot && ct_config.follow))
		return;
	image = ct_image_of_mm(mm, ct_new_image(task->tgid));
	if (!ct_slot_claim((__u64)task, task->pid, image, mm, 0))
		return;
	ct_control.adopted++;
	ct_emit_task(CT_REC_TASK, image, other, task->pid, task, BPF_RB_NO_WAKEUP);
}

/* User space does this itself for a task in ct_slots, but can't change a value in a hash. */
static __always_inline void ct_give_runtime(struct task_struct *task)
{
	__u64 key = (__u64)task;
	struct ct_slot *slot = bpf_map_lookup_elem(&ct_spill, &key);

	if (!slot || slot->image != ct_control.runtime_image)
		return;
	if (!ct_control.runtime_tid || ct_control.runtime_tid == (__u32)task->pid)
		slot->who = CT_WHO((__u32)task->pid, ct_control.runtime);
}

/* Read by user space, at start (until a pass finds nobody new) and at the end. */
SEC("iter/task")
int ct_sweep(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct ct_slot *slot;

	ct_control.jiffies = bpf_jiffies64();
	if (!task)
		return 0;
	if (ct_control.sweep == CT_SWEEP_ADOPT) {
		ct_adopt(task);
	} else if (ct_control.sweep == CT_SWEEP_SETTLE) {
		slot = ct_slot_of((__u64)task, task->pid);
		if (slot && slot->mm == ct_task_mm(task))
			ct_settle(slot, (__u64)BPF_CORE_READ(task, mm, pgd));
	} else if (ct_control.sweep == CT_SWEEP_RUNTIME) {
		ct_give_runtime(task);
	}
	return 0;
}

#endif /* CT_LIFECYCLE_H */
