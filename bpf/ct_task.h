/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ct_task.h - the current task, on kernels that differ in how one gets at it. */
#ifndef CT_TASK_H
#define CT_TASK_H

/*
 * The current task. 5.10 has no bpf_get_current_task_btf: there the address is a plain number and
 * members are read by helper. Which of the two is known when the program is loaded.
 */
#define CT_HAS_CURRENT_BTF \
	bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)

static __always_inline struct task_struct *ct_current(void)
{
	if (CT_HAS_CURRENT_BTF)
		return bpf_get_current_task_btf();
	return (struct task_struct *)bpf_get_current_task();
}

static __always_inline __u64 ct_current_mm(struct task_struct *current)
{
	if (CT_HAS_CURRENT_BTF)
		return (__u64)current->mm;
	return (__u64)BPF_CORE_READ(current, mm);
}

static __always_inline __u64 ct_current_pgd(void)
{
	struct task_struct *current = ct_current();

	if (CT_HAS_CURRENT_BTF)
		return (__u64)current->mm->pgd;
	return (__u64)BPF_CORE_READ(current, mm, pgd);
}

/* The registers of the task as it entered the kernel. */
static __always_inline struct pt_regs *ct_user_regs(struct task_struct *current)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return (struct pt_regs *)bpf_task_pt_regs(current);
	/* 5.10: x86-64 stacks are 16 KiB and pt_regs stand at their top */
	return (struct pt_regs *)((__u64)BPF_CORE_READ(current, stack) + 16384 -
				  bpf_core_type_size(struct pt_regs));
}

#endif /* CT_TASK_H */
