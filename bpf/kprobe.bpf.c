/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * kprobe.bpf.c - the hook by breakpoints, where the kernel has no trampolines: the same decision
 * as fexit.bpf.c. A return probe does not see the arguments: they wait in ct_calls.
 */
#include "ct_core.h"

#include "ct_wp.h"

enum ct_call_kind { CT_CALL_WP = 1, CT_CALL_FILE, CT_CALL_HUGETLB, CT_CALL_HUGE };

struct ct_call_key {
	__u64 task;
	__u64 kind; /* they nest: finish_fault may call do_wp_page on some kernels */
};

struct ct_call {
	__u64 vmf;
	__u64 pgd;
	__u64 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct ct_call_key);
	__type(value, struct ct_call);
} ct_calls SEC(".maps");

static __always_inline void ct_call_push(__u64 kind, __u64 vmf, __u64 pgd, __u64 address)
{
	struct ct_call_key key = { .task = bpf_get_current_task(), .kind = kind };
	struct ct_call call = { .vmf = vmf, .pgd = pgd, .address = address };

	bpf_map_update_elem(&ct_calls, &key, &call, BPF_ANY);
}

static __always_inline bool ct_call_pop(__u64 kind, struct ct_call *call)
{
	struct ct_call_key key = { .task = bpf_get_current_task(), .kind = kind };
	struct ct_call *found = bpf_map_lookup_elem(&ct_calls, &key);

	if (!found)
		return false;
	*call = *found;
	bpf_map_delete_elem(&ct_calls, &key);
	return true;
}

/* Is a fault on @mm by the current task any of ours? Keeps ct_calls free of the rest. */
static __always_inline bool ct_concerns_us(__u64 mm)
{
	struct task_struct *current = ct_current();
	struct ct_slot *slot = ct_slot_of_current(current);

	/* a traced task in exec has new memory that ct_images is about to learn of */
	if (slot && ct_current_mm(current) == mm)
		return true;
	return bpf_map_lookup_elem(&ct_images, &mm) != NULL;
}

SEC("kprobe/do_wp_page")
int BPF_KPROBE(ct_on_wp_enter, struct vm_fault *vmf)
{
	if (!ct_concerns_us((__u64)BPF_CORE_READ(vmf, vma, vm_mm)))
		return 0;
	ct_wp_enter(vmf);
	ct_call_push(CT_CALL_WP, (__u64)vmf, 0, 0);
	return 0;
}

SEC("kretprobe/do_wp_page")
int BPF_KRETPROBE(ct_on_wp_exit)
{
	struct ct_call call;

	if (ct_call_pop(CT_CALL_WP, &call))
		ct_wp_exit(ctx, (struct vm_fault *)call.vmf);
	return 0;
}

SEC("kprobe/finish_fault")
int BPF_KPROBE(ct_on_finish_enter, struct vm_fault *vmf)
{
	if (BPF_CORE_READ(vmf, cow_page) && ct_concerns_us((__u64)BPF_CORE_READ(vmf, vma, vm_mm)))
		ct_call_push(CT_CALL_FILE, (__u64)vmf, 0, 0);
	return 0;
}

SEC("kretprobe/finish_fault")
int BPF_KRETPROBE(ct_on_finish_exit)
{
	struct ct_call call;

	if (ct_call_pop(CT_CALL_FILE, &call))
		ct_cow_file(ctx, (struct vm_fault *)call.vmf);
	return 0;
}

SEC("tp_btf/mm_page_alloc")
int BPF_PROG(ct_on_page_alloc, struct page *page, unsigned int order, gfp_t gfp)
{
	ct_note_page(page, order, gfp);
	return 0;
}

SEC("kprobe/hugetlb_fault")
int BPF_KPROBE(ct_on_hugetlb_enter, struct mm_struct *mm, struct vm_area_struct *vma,
	       unsigned long address)
{
	__u64 pgd = (__u64)BPF_CORE_READ(mm, pgd);

	if (!ct_concerns_us((__u64)mm))
		return 0;
	ct_huge_enter((__u64)mm, pgd, address);
	ct_call_push(CT_CALL_HUGETLB, 0, pgd, address);
	return 0;
}

SEC("kretprobe/hugetlb_fault")
int BPF_KRETPROBE(ct_on_hugetlb_exit)
{
	struct ct_call call;

	if (ct_call_pop(CT_CALL_HUGETLB, &call))
		ct_huge_exit(ctx, call.pgd, call.address, CT_KIND_COPY_HUGETLB);
	return 0;
}

SEC("kprobe/do_huge_pmd_wp_page")
int BPF_KPROBE(ct_on_huge_wp_enter, struct vm_fault *vmf)
{
	__u64 mm = (__u64)BPF_CORE_READ(vmf, vma, vm_mm), address = ct_fault_address(vmf);
	__u64 pgd = (__u64)BPF_CORE_READ(vmf, vma, vm_mm, pgd);

	if (!ct_concerns_us(mm))
		return 0;
	ct_huge_enter(mm, pgd, address);
	ct_call_push(CT_CALL_HUGE, 0, pgd, address);
	return 0;
}

SEC("kretprobe/do_huge_pmd_wp_page")
int BPF_KRETPROBE(ct_on_huge_wp_exit)
{
	struct ct_call call;

	if (ct_call_pop(CT_CALL_HUGE, &call))
		ct_huge_exit(ctx, call.pgd, call.address, CT_KIND_COPY_HUGE);
	return 0;
}

/* last: where this hook is refused, its own programs say so before these are loaded */
#include "ct_lifecycle.h"
