/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * tracepoint.bpf.c - the hook that needs neither fentry nor kprobes: a write fault on a present
 * page (exceptions:page_fault_*), then a user page allocated by the same task (kmem:mm_page_alloc)
 * while the PTE of the fault is still present and read-only = a copy. If the task frees that page
 * again and it was never mapped (kmem:mm_page_free), the copy was thrown away: the fault lost a
 * race, or will be taken once more.
 *
 * The PTE is what makes this exact: once a fault is resolved its PTE is writable, so a page that
 * the same task gets later for the page cache is never taken for a copy; and it leads to the old
 * page, which tells the kind. Nothing of the faulting page itself is read (ct_pagetable.h).
 */
#include "ct_core.h"

static __always_inline void ct_settle(struct ct_slot *slot, __u64 pgd)
{
	__u32 shift = 12;
	__u64 pte;

	if (slot->state != CT_ARMED)
		return;
	slot->state = CT_IDLE;
	pte = ct_walk(CT_LAYOUT, pgd, slot->address, &shift);
	if ((pte & (CT_PTE_PRESENT | CT_PTE_WRITE)) != (CT_PTE_PRESENT | CT_PTE_WRITE))
		return; /* refused (SIGSEGV), or unmapped since */
	slot->kind = CT_KIND_REUSE;
	slot->shift = shift;
	ct_emit(slot, CT_REC_FAULT);
}

#include "ct_lifecycle.h"

/* What identifies the system call that the task is in. */
static __always_inline __u64 ct_syscall_word(struct task_struct *current, __u64 *ip)
{
	struct pt_regs *regs = ct_user_regs(current);

	*ip = BPF_CORE_READ(regs, ip);
	return *ip ^ (__u64)BPF_CORE_READ(regs, orig_ax) << 48;
}

static __always_inline int ct_on_page_fault(__u64 address, struct pt_regs *regs, __u64 error_code,
					    __u8 flags)
{
	struct task_struct *current = ct_current();
	struct ct_slot *slot = ct_slot_of_current(current);
	__u64 ip;

	if (!slot)
		return 0;
	if (slot->state == CT_ARMED)
		ct_settle(slot, (__u64)BPF_CORE_READ(current, mm, pgd));
	slot->state = CT_IDLE;
	slot->page = 0;
	if (!ct_is_write_protect_fault(error_code))
		return 0;
	slot->address = address;
	slot->flags = flags;
	if (flags & CT_FLAG_KERNEL) {
		slot->word = ct_syscall_word(current, &ip);
		slot->ip = ip;
	} else {
		slot->ip = regs->ip;
	}
	slot->state = CT_ARMED;
	return 0;
}

SEC("tp_btf/page_fault_user")
int BPF_PROG(ct_on_fault_user, unsigned long address, struct pt_regs *regs, unsigned long error)
{
	return ct_on_page_fault(address, regs, error, 0);
}

SEC("tp_btf/page_fault_kernel")
int BPF_PROG(ct_on_fault_kernel, unsigned long address, struct pt_regs *regs, unsigned long error)
{
	return ct_on_page_fault(address, regs, error, CT_FLAG_KERNEL);
}

SEC("tp_btf/mm_page_alloc")
int BPF_PROG(ct_on_page_alloc, struct page *page, unsigned int order, gfp_t gfp)
{
	struct task_struct *current = ct_current();
	struct ct_slot *slot = ct_slot_of_current(current);
	__u64 pte, pfn, ip, mm;
	__u32 shift = 12;

	if (!slot || slot->state != CT_ARMED || !page || !ct_is_user_page(gfp, order))
		return 0;
	mm = ct_current_mm(current);
	if (mm != slot->mm)
		return 0; /* in exec, between the two memories */
	if ((slot->flags & CT_FLAG_KERNEL) && slot->word != ct_syscall_word(current, &ip))
		return 0; /* that system call is over: it ended in EFAULT */
	pte = ct_walk(CT_LAYOUT,
		      CT_HAS_CURRENT_BTF ? (__u64)current->mm->pgd
					 : (__u64)BPF_CORE_READ(current, mm, pgd),
		      slot->address, &shift);
	if ((pte & (CT_PTE_PRESENT | CT_PTE_WRITE)) != CT_PTE_PRESENT || shift != 12)
		return 0; /* that fault is over: this page is for something else */
	pfn = ct_pte_pfn(CT_LAYOUT, pte);
	slot->kind = ct_copy_kind(pfn, ct_config.layout.zero_pfn, ct_page_mapping(CT_LAYOUT, pfn));
	slot->shift = 12;
	slot->page = (__u64)page;
	slot->state = CT_GOT_PAGE;
	ct_emit(slot, CT_REC_FAULT);
	return 0;
}

SEC("tp_btf/mm_page_free")
int BPF_PROG(ct_on_page_free, struct page *page, unsigned int order)
{
	struct task_struct *current = ct_current();
	struct ct_slot *slot = ct_slot_of_current(current);

	if (!slot || slot->page != (__u64)page || slot->state != CT_GOT_PAGE)
		return 0;
	slot->page = 0;
	if (page->mapping)
		return 0; /* it was mapped: an ordinary end, munmap or exit */
	ct_emit(slot, CT_REC_UNDO);
	slot->state = CT_ARMED; /* the same fault may try again */
	return 0;
}

/* A fault that ended in a signal is over, though its PTE stays read-only. */
SEC("tp_btf/signal_generate")
int BPF_PROG(ct_on_signal, int sig, struct kernel_siginfo *info, struct task_struct *task)
{
	struct task_struct *current = ct_current();
	struct ct_slot *slot;

	if (sig != 11 && sig != 7) /* SIGSEGV, SIGBUS */
		return 0;
	if ((__u64)task != (__u64)current)
		return 0;
	slot = ct_slot_of_current(current);
	if (slot && slot->state == CT_ARMED)
		slot->state = CT_IDLE;
	return 0;
}
