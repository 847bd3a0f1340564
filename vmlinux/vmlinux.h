/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * vmlinux.h - the kernel types in use, and of them only the members in use. CO-RE moves each
 * access to where the running kernel has the member.
 * Made by generate.py from types.txt and the BTF of Linux 6.18.44: change those, not this.
 */
#ifndef __VMLINUX_H__ /* the name that bpf_tracing.h looks for */
#define __VMLINUX_H__

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u8 u8;
typedef __u32 u32;
typedef __u64 u64;
typedef _Bool bool;
typedef int pid_t;
typedef unsigned int gfp_t;

enum { false = 0, true = 1 };

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum bpf_func_id {
	BPF_FUNC_get_current_task_btf = 158,
	BPF_FUNC_task_pt_regs = 175,
};

enum special_kfunc_type {
	KF_bpf_rdonly_cast = 10,
};

enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2, BPF_F_USER_STACK = 256 };

enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct pt_regs {
	unsigned long orig_ax;
	unsigned long ip;
	__u16 cs;
	unsigned long sp;
	unsigned long di;
	unsigned long ax;
	unsigned long si;
	unsigned long dx;
};

typedef struct {
	unsigned long pgd;
} pgd_t;

typedef struct {
	unsigned long pte;
} pte_t;

typedef struct {
	unsigned long pmd;
} pmd_t;

struct mm_struct {
	pgd_t *pgd;
	atomic_t mm_users;
};

struct address_space;

struct page {
	struct address_space *mapping;
	unsigned long compound_head;
};

struct vm_operations_struct;

struct file;

struct vm_area_struct {
	unsigned long vm_start;
	unsigned long vm_end;
	struct mm_struct *vm_mm;
	unsigned long vm_flags;
	struct vm_operations_struct *vm_ops;
	struct file *vm_file;
};

struct signal_struct {
	atomic_t live;
};

struct thread_struct {
	unsigned long fsbase;
};

struct task_struct {
	void *stack;
	struct thread_struct thread;
	unsigned int flags;
	struct mm_struct *mm;
	pid_t pid;
	pid_t tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct signal_struct *signal;
	char comm[16];
};

struct vm_fault {
	struct vm_area_struct *vma;
	unsigned long address;
	unsigned long real_address;
	pmd_t *pmd;
	pte_t orig_pte;
	pmd_t orig_pmd;
	struct page *cow_page;
	struct page *page;
	pte_t *pte;
};

struct linux_binprm;

struct kernel_siginfo;

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop

#endif /* __VMLINUX_H__ */
