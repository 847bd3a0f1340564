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
	ct_emit(slot, CT_REC_FAULT, slot->phase);
}

#include "ct_lifecycle.h"

#define CT_VM_SHARED 0x8 /* include/linux/mm.h: VM_SHARED, the same since 2.4 */

/* What identifies the system call that the task is in: its number and where it was made. */
static __always_inline __u32 ct_syscall(struct task_struct *current, __u64 *ip)
{
	struct pt_regs *regs = ct_user_regs(current);

	*ip = BPF_CORE_READ(regs, ip);
	return (__u32)BPF_CORE_READ(regs, orig_ax);
}

static __always_inline int ct_on_page_fault(void *ctx, __u64 address, struct pt_regs *regs,
					    __u64 error_code, __u8 flags)
{
	struct task_struct *current = ct_current();
	struct ct_slot *slot = ct_slot_of_current(current);
	__u64 ip, mm;
	__u8 state;

	if (!slot)
		return 0;
	mm = ct_current_mm(current);
	if (mm != slot->mm) {
		ct_move(slot, current, slot->who & CT_TID_MASK, bpf_get_current_pid_tgid() >> 32,
			mm);
		if (mm != slot->mm)
			return 0; /* not followed through exec */
	}
	if (slot->state == CT_ARMED)
		ct_settle(slot, (__u64)BPF_CORE_READ(current, mm, pgd));
	slot->state = CT_IDLE;
	slot->page = 0;
	if (ct_is_write_protect_fault(error_code))
		state = CT_ARMED;
	else if (ct_is_first_write(error_code))
		state = CT_TOUCHING;
	else
		return 0;
	slot->address = address;
	slot->flags = flags;
	slot->phase = state == CT_ARMED ? ct_phase(slot) : 0;
	if (flags & CT_FLAG_KERNEL) {
		slot->call = ct_syscall(current, &ip);
		slot->ip = ip;
	} else {
		slot->ip = regs->ip;
	}
	if (state == CT_ARMED)
		ct_stack(ctx, slot, CT_SCRATCH_FAULT);
	/* last: what was read just now can have failed, in a fault that came through here too */
	slot->state = state;
	return 0;
}

SEC("tp_btf/page_fault_user")
int BPF_PROG(ct_on_fault_user, unsigned long address, struct pt_regs *regs, unsigned long error)
{
	return ct_on_page_fault(ctx, address, regs, error, 0);
}

SEC("tp_btf/page_fault_kernel")
int BPF_PROG(ct_on_fault_kernel, unsigned long address, struct pt_regs *regs, unsigned long error)
{
	return ct_on_page_fault(ctx, address, regs, error, CT_FLAG_KERNEL);
}

/* Is the task still in the fault that its slot tells of, on the memory that the slot tells of? */
static __always_inline bool ct_still_in_fault(struct task_struct *current, struct ct_slot *slot)
{
	__u64 ip;

	if (ct_current_mm(current) != slot->mm)
		return false; /* in exec: the fault was in the old memory */
	/* another system call: the one of the fault ended in EFAULT */
	return !(slot->flags & CT_FLAG_KERNEL) ||
	       (slot->call == ct_syscall(current, &ip) && slot->ip == ip);
}

static __always_inline __u64 ct_fault_pte(struct task_struct *current, struct ct_slot *slot,
					  __u32 *shift)
{
	__u64 pgd = CT_HAS_CURRENT_BTF ? (__u64)current->mm->pgd
				       : (__u64)BPF_CORE_READ(current, mm, pgd);

	return ct_walk(CT_LAYOUT, pgd, slot->address, shift);
}

static __always_inline void ct_got_page(struct ct_slot *slot, struct page *page, __u8 kind)
{
	slot->kind = kind;
	slot->shift = 12;
	slot->page = (__u64)page;
	slot->state = CT_GOT_PAGE;
	ct_emit(slot, CT_REC_FAULT, slot->phase);
}

static __always_inline void ct_copied(struct task_struct *current, struct ct_slot *slot,
				      struct page *page)
{
	__u32 shift = 12;
	__u64 pte = ct_fault_pte(current, slot, &shift), pfn;

	if ((pte & (CT_PTE_PRESENT | CT_PTE_WRITE)) != CT_PTE_PRESENT || shift != 12)
		return; /* that fault is over: this page is for something else */
	pfn = ct_pte_pfn(CT_LAYOUT, pte);
	ct_got_page(slot, page,
		    ct_copy_kind(pfn, ct_config.layout.zero_pfn, ct_page_mapping(CT_LAYOUT, pfn)));
}

SEC("tp_btf/mm_page_alloc")
int BPF_PROG(ct_on_page_alloc, struct page *page, unsigned int order, gfp_t gfp)
{
	struct task_struct *current = ct_current();
	struct ct_slot *slot = ct_slot_of_current(current);

	if (slot && slot->state == CT_ARMED && page && ct_is_user_page(gfp, order) &&
	    ct_still_in_fault(current, slot))
		ct_copied(current, slot, page);
	return 0;
}

/* mm/memory.c:do_fault: a mapping with operations is a file's, and private if it is not shared. */
static long ct_see_vma(struct task_struct *task, struct vm_area_struct *vma, void *is_file)
{
	*(__u32 *)is_file = vma->vm_ops && !(vma->vm_flags & CT_VM_SHARED);
	return 0;
}

/*
 * The same for kernels that can look up a mapping (5.17), and so see one more kind: the first page
 * that a write fault gets where there was none is, in a private file mapping, the copy of a page
 * that was never mapped. Elsewhere it is new memory. The look-up is not part of a copy's cost.
 */
SEC("tp_btf/mm_page_alloc")
int BPF_PROG(ct_on_page_alloc_vma, struct page *page, unsigned int order, gfp_t gfp)
{
	struct task_struct *current = bpf_get_current_task_btf();
	struct ct_slot *slot = ct_slot_of_current(current);
	__u32 shift = 12, is_file = 0;

	if (!slot || slot->state == CT_IDLE || slot->state == CT_GOT_PAGE || !page ||
	    !ct_is_user_page(gfp, order) || !ct_still_in_fault(current, slot))
		return 0;
	if (slot->state == CT_ARMED) {
		ct_copied(current, slot, page);
		return 0;
	}
	slot->state = CT_IDLE;
	if (ct_fault_pte(current, slot, &shift))
		return 0; /* a swap entry, or that fault is over */
	bpf_find_vma(current, slot->address, ct_see_vma, &is_file, 0);
	if (!is_file)
		return 0;
	slot->flags |= CT_FLAG_UNREAD;
	slot->phase = ct_phase(slot); /* no page is there yet, so this cannot touch it */
	ct_got_page(slot, page, CT_KIND_COPY_FILE);
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
	ct_emit(slot, CT_REC_UNDO, 0);
	/* the same fault may try again */
	slot->state = slot->flags & CT_FLAG_UNREAD ? CT_TOUCHING : CT_ARMED;
	slot->flags &= ~CT_FLAG_UNREAD;
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
	if (slot && slot->state != CT_GOT_PAGE)
		slot->state = CT_IDLE;
	return 0;
}
