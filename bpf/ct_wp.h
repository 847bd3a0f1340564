/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ct_wp.h - the decision of the hooks that see do_wp_page from both sides, fexit and kprobe: a
 * copy is "the PFN in *vmf->pte after differs from the PFN in vmf->orig_pte, and the new one is a
 * page that this task was given in between" (two threads may race for one page: the loser sees the
 * winner's page, which it was not given). The old PFN with a writable PTE is a reuse.
 *
 * The memory that is hit need not be the current task's: ptrace and /proc/PID/mem write in the
 * writer's context. Such a writer has no slot; its state lives in ct_foreign for the while.
 */
#ifndef CT_WP_H
#define CT_WP_H

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64); /* the writing task */
	__type(value, struct ct_slot);
} ct_foreign SEC(".maps");

__u32 ct_foreign_count; /* tasks in ct_foreign: 0 saves the look-up on each page allocation */

/* 5.10 has neither real_address nor the anonymous struct around address. */
static __always_inline __u64 ct_fault_address(struct vm_fault *vmf)
{
	if (bpf_core_field_exists(vmf->real_address))
		return BPF_CORE_READ(vmf, real_address);
	return BPF_CORE_READ(vmf, address);
}

/* Nothing is left undecided by these hooks. */
static __always_inline void ct_settle(struct ct_slot *slot, __u64 pgd)
{
}

/* The state for a fault of the current task on @mm: NULL if that is nobody's we trace. */
static __always_inline struct ct_slot *ct_wp_slot(struct task_struct *current, __u64 mm)
{
	struct ct_slot *slot = ct_slot_of_current(current), fresh = {};
	__u64 task = (__u64)current, *image;

	if (slot && slot->mm == mm)
		return slot;
	if (ct_current_mm(current) == mm) {
		if (!slot)
			return NULL; /* by far the most: a foreign task in memory of its own */
		ct_move(slot, current, slot->who & CT_TID_MASK, bpf_get_current_pid_tgid() >> 32,
			mm);
		return slot->mm == mm ? slot : NULL;
	}
	image = bpf_map_lookup_elem(&ct_images, &mm);
	if (!image)
		return NULL;
	fresh.task = task;
	fresh.image = *image;
	fresh.mm = mm;
	fresh.who = CT_WHO((__u32)bpf_get_current_pid_tgid(), 0); /* no runtime: not its memory */
	fresh.flags = CT_FLAG_FOREIGN;
	if (bpf_map_update_elem(&ct_foreign, &task, &fresh, BPF_NOEXIST) == 0)
		__sync_fetch_and_add(&ct_foreign_count, 1);
	return bpf_map_lookup_elem(&ct_foreign, &task);
}

/* The state that ct_wp_slot gave this task, at the end of the fault. */
static __always_inline struct ct_slot *ct_wp_slot_again(struct task_struct *current)
{
	struct ct_slot *slot = ct_slot_of_current(current);
	__u64 task = (__u64)current;

	if (slot && slot->state != CT_IDLE)
		return slot;
	if (!ct_foreign_count)
		return NULL;
	return bpf_map_lookup_elem(&ct_foreign, &task);
}

static __always_inline void ct_wp_done(struct task_struct *current, struct ct_slot *slot)
{
	__u64 task = (__u64)current;

	slot->state = CT_IDLE;
	slot->page = 0;
	if ((slot->flags & CT_FLAG_FOREIGN) && bpf_map_delete_elem(&ct_foreign, &task) == 0)
		__sync_fetch_and_add(&ct_foreign_count, -1);
}

/* Of a copy: before it is reported. A foreign writer's stack says nothing of this program. */
static __always_inline void ct_wp_stack(void *ctx, const struct ct_slot *slot,
					enum ct_scratch_user user)
{
	if (!(slot->flags & CT_FLAG_FOREIGN))
		ct_stack(ctx, slot, user);
}

static __always_inline __u64 ct_user_ip(struct task_struct *current, __u8 *flags)
{
	struct pt_regs *regs = ct_user_regs(current);

	/* an exception leaves -1 there, a system call its number */
	if ((__s64)BPF_CORE_READ(regs, orig_ax) >= 0)
		*flags |= CT_FLAG_KERNEL;
	return BPF_CORE_READ(regs, ip);
}

static __always_inline void ct_wp_enter(struct vm_fault *vmf)
{
	struct task_struct *current = ct_current();
	__u64 mm = (__u64)BPF_CORE_READ(vmf, vma, vm_mm), pfn;
	struct ct_slot *slot = ct_wp_slot(current, mm);

	if (!slot)
		return;
	slot->flags &= CT_FLAG_FOREIGN;
	slot->ip = ct_user_ip(current, &slot->flags);
	slot->address = ct_fault_address(vmf);
	slot->word = BPF_CORE_READ(vmf, orig_pte.pte);
	pfn = ct_pte_pfn(CT_LAYOUT, slot->word);
	slot->kind = ct_copy_kind(pfn, ct_config.layout.zero_pfn, ct_page_mapping(CT_LAYOUT, pfn));
	slot->shift = 12;
	slot->page = 0;
	slot->state = CT_ARMED;
}

static __always_inline __u64 ct_pfn_of_page(__u64 page)
{
	return (page - ct_config.layout.vmemmap) / ct_config.layout.page_size;
}

static __always_inline void ct_wp_exit(void *ctx, struct vm_fault *vmf)
{
	struct task_struct *current = ct_current();
	struct ct_slot *slot = ct_wp_slot_again(current);
	__u64 pte, pfn;

	if (!slot || slot->state == CT_IDLE)
		return;
	pte = BPF_CORE_READ(vmf, pte, pte);
	pfn = ct_pte_pfn(CT_LAYOUT, pte);
	if (!(pte & CT_PTE_PRESENT)) {
		/* unmapped meanwhile, or the page table went away */
	} else if (pfn != ct_pte_pfn(CT_LAYOUT, slot->word)) {
		if (slot->page && ct_pfn_of_page(slot->page) == pfn) {
			ct_wp_stack(ctx, slot, CT_SCRATCH_FAULT);
			ct_emit_with_bytes(slot, ct_phase(slot));
		}
	} else if (pte & CT_PTE_WRITE) {
		slot->kind = CT_KIND_REUSE;
		ct_emit(slot, CT_REC_FAULT, ct_phase(slot));
	}
	ct_wp_done(current, slot);
}

/* A first write to an unread page of a private file: copied straight from the page cache. */
static __always_inline void ct_cow_file(void *ctx, struct vm_fault *vmf)
{
	struct task_struct *current = ct_current();
	__u64 page = (__u64)BPF_CORE_READ(vmf, cow_page), pte;
	struct ct_slot *slot;

	if (!page)
		return;
	slot = ct_wp_slot(current, (__u64)BPF_CORE_READ(vmf, vma, vm_mm));
	if (!slot)
		return;
	pte = BPF_CORE_READ(vmf, pte, pte);
	if ((pte & CT_PTE_PRESENT) && ct_pte_pfn(CT_LAYOUT, pte) == ct_pfn_of_page(page)) {
		slot->flags &= CT_FLAG_FOREIGN;
		slot->ip = ct_user_ip(current, &slot->flags);
		slot->flags |= CT_FLAG_UNREAD;
		slot->address = ct_fault_address(vmf);
		slot->kind = CT_KIND_COPY_FILE;
		slot->shift = 12;
		ct_wp_stack(ctx, slot, CT_SCRATCH_FILE);
		ct_emit_with_bytes(slot, ct_phase(slot));
	}
	ct_wp_done(current, slot);
}

static __always_inline void ct_note_page(struct page *page, unsigned int order, gfp_t gfp)
{
	struct task_struct *current;
	struct ct_slot *slot;

	if (!ct_is_user_page(gfp, order) || !page)
		return;
	current = ct_current();
	slot = ct_slot_of_current(current);
	if ((!slot || slot->state == CT_IDLE) && ct_foreign_count)
		slot = ct_wp_slot_again(current);
	if (slot && slot->state == CT_ARMED)
		slot->page = (__u64)page;
}

/* Huge pages are found by their page table entry, whatever the kernel calls its functions. */
static __always_inline void ct_huge_enter(__u64 mm, __u64 pgd, __u64 address)
{
	struct task_struct *current = ct_current();
	struct ct_slot *slot = ct_wp_slot(current, mm);
	__u32 shift = 0;

	if (!slot)
		return;
	slot->flags &= CT_FLAG_FOREIGN;
	slot->word = ct_walk(CT_LAYOUT, pgd, address, &shift);
	if (!(slot->word & CT_PTE_PRESENT) || (slot->word & CT_PTE_WRITE) || shift < 21) {
		ct_wp_done(current, slot);
		return;
	}
	slot->ip = ct_user_ip(current, &slot->flags);
	slot->address = address;
	slot->shift = shift;
	slot->state = CT_ARMED;
}

static __always_inline void ct_huge_exit(void *ctx, __u64 pgd, __u64 address, __u8 copy_kind)
{
	struct task_struct *current = ct_current();
	struct ct_slot *slot = ct_wp_slot_again(current);
	__u32 shift = 0;
	__u64 entry;

	if (!slot || slot->state == CT_IDLE)
		return;
	entry = ct_walk(CT_LAYOUT, pgd, address, &shift);
	if ((entry & (CT_PTE_PRESENT | CT_PTE_WRITE)) == (CT_PTE_PRESENT | CT_PTE_WRITE) &&
	    shift == slot->shift) {
		slot->kind = ct_pte_pfn(CT_LAYOUT, entry) == ct_pte_pfn(CT_LAYOUT, slot->word)
				     ? CT_KIND_REUSE
				     : copy_kind;
		if (slot->kind == copy_kind)
			ct_wp_stack(ctx, slot, CT_SCRATCH_HUGE);
		ct_emit(slot, CT_REC_FAULT, ct_phase(slot));
	}
	ct_wp_done(current, slot);
}

#endif /* CT_WP_H */
