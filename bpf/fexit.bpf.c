/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* fexit.bpf.c - the hook by trampolines: mm/memory.c:do_wp_page from both sides (ct_wp.h). */
#include "ct_core.h"

#include "ct_wp.h"

SEC("fentry/do_wp_page")
int BPF_PROG(ct_on_wp_enter, struct vm_fault *vmf)
{
	ct_wp_enter(vmf);
	return 0;
}

SEC("fexit/do_wp_page")
int BPF_PROG(ct_on_wp_exit, struct vm_fault *vmf)
{
	ct_wp_exit(ctx, vmf);
	return 0;
}

SEC("fexit/finish_fault")
int BPF_PROG(ct_on_finish_fault, struct vm_fault *vmf)
{
	ct_cow_file(ctx, vmf);
	return 0;
}

SEC("tp_btf/mm_page_alloc")
int BPF_PROG(ct_on_page_alloc, struct page *page, unsigned int order, gfp_t gfp)
{
	ct_note_page(page, order, gfp);
	return 0;
}

/* mm/hugetlb.c: hugetlb_wp changes its arguments too often to be hooked itself. */
SEC("fentry/hugetlb_fault")
int BPF_PROG(ct_on_hugetlb_enter, struct mm_struct *mm, struct vm_area_struct *vma,
	     unsigned long address)
{
	ct_huge_enter((__u64)BPF_CORE_READ(vma, vm_mm), (__u64)mm->pgd, address);
	return 0;
}

SEC("fexit/hugetlb_fault")
int BPF_PROG(ct_on_hugetlb_exit, struct mm_struct *mm, struct vm_area_struct *vma,
	     unsigned long address)
{
	ct_huge_exit(ctx, (__u64)mm->pgd, address, CT_KIND_COPY_HUGETLB);
	return 0;
}

/* mm/huge_memory.c: since 5.8 it only reuses, or splits and leaves the copy to do_wp_page. */
SEC("fentry/do_huge_pmd_wp_page")
int BPF_PROG(ct_on_huge_wp_enter, struct vm_fault *vmf)
{
	ct_huge_enter((__u64)BPF_CORE_READ(vmf, vma, vm_mm),
		      (__u64)BPF_CORE_READ(vmf, vma, vm_mm, pgd), ct_fault_address(vmf));
	return 0;
}

SEC("fexit/do_huge_pmd_wp_page")
int BPF_PROG(ct_on_huge_wp_exit, struct vm_fault *vmf)
{
	ct_huge_exit(ctx, (__u64)BPF_CORE_READ(vmf, vma, vm_mm, pgd), ct_fault_address(vmf),
		     CT_KIND_COPY_HUGE);
	return 0;
}

/* last: where this hook is refused, its own programs say so before these are loaded */
#include "ct_lifecycle.h"
