/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * calibrate.bpf.c - finds, once at start, where this boot put the direct map and the array of
 * struct page. The kernel randomises both and many kernels do not list their symbols (no
 * CONFIG_KALLSYMS_ALL), but a right guess proves itself: the direct map maps the page tables too,
 * so walking them for the address of the top table must give just that address back.
 *
 * Driven by user/capture/calibrate.c, which reads the iterator once a step and looks at ct_cal.
 * Not on the fault path: loops are allowed here.
 */
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "ct_pagetable.h"

char LICENSE[] SEC("license")
= "Dual BSD/GPL";

struct ct_calibration
	ct_cal SEC(".data.control"); /* in: tid, step, first, address; out: the rest */

#define CT_CANDIDATES 64

static __always_inline __u64 ct_translate(const volatile struct ct_kernel_layout *layout, __u64 pgd,
					  __u64 address)
{
	__u32 shift = 12;
	__u64 entry = ct_walk(layout, pgd, address, &shift), mask = (1ull << shift) - 1;

	if (!(entry & CT_PTE_PRESENT))
		return ~0ull;
	return (ct_entry_phys(layout, entry) & ~mask) | (address & mask);
}

static __always_inline void ct_find_page_offset(__u64 pgd, __u64 mm)
{
	struct ct_kernel_layout layout = ct_cal.layout;

	for (__u32 i = 0; i < CT_CANDIDATES; i++) {
		__u64 base = (pgd & ~((1ull << 30) - 1)) - ((__u64)(ct_cal.first + i) << 30);

		layout.page_offset = base;
		if (ct_translate(&layout, pgd, pgd) != pgd - base)
			continue;
		if (ct_translate(&layout, pgd, mm) != mm - base)
			continue;
		ct_cal.layout.page_offset = base;
		ct_cal.found = 1;
		return;
	}
}

SEC("iter/task")
int ct_calibrate(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	__u64 pgd;

	if (!task || (__u32)task->pid != ct_cal.tid)
		return 0;
	pgd = (__u64)BPF_CORE_READ(task, mm, pgd);
	if (ct_cal.step == CT_CAL_PAGE_OFFSET) {
		ct_cal.layout.page_size = bpf_core_type_size(struct page);
		ct_find_page_offset(pgd, (__u64)BPF_CORE_READ(task, mm));
	} else {
		struct ct_kernel_layout layout = ct_cal.layout;
		__u32 shift = 0;

		ct_cal.pte = ct_walk(&layout, pgd, ct_cal.address, &shift);
		ct_cal.shift = shift;
	}
	return 0;
}

SEC("tp_btf/mm_page_alloc")
int BPF_PROG(ct_calibrate_alloc, struct page *page, unsigned int order, gfp_t gfp)
{
	if ((__u32)bpf_get_current_pid_tgid() == ct_cal.tid && ct_cal.step == CT_CAL_VMEMMAP &&
	    order == 0 && (gfp & 0xa) == 0xa)
		ct_cal.page = (__u64)page;
	return 0;
}
