/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ct_pagetable.h - x86-64 page tables read from BPF, straight-line. They are read through the
 * kernel's direct map, so no user page is touched and no accessed bit is set: the fault that we
 * watch does not notice (reading the *page* would make the kernel take it again).
 */
#ifndef CT_PAGETABLE_H
#define CT_PAGETABLE_H

#include "ct_calibrate.h"

#define CT_PTE_PRESENT 0x001ull
#define CT_PTE_WRITE   0x002ull
#define CT_PTE_LEAF    0x080ull /* in a PMD or PUD entry: a huge page, not a table */
#define CT_PTE_ADDR    0x000ffffffffff000ull

/* Any struct of plain words does: it only tells the verifier what a load gives. */
struct timespec64 {
	long tv_sec;
	long tv_nsec;
} __attribute__((preserve_access_index));

extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak; /* 6.2 */

#define CT_HAS_RDONLY_CAST bpf_core_enum_value_exists(enum special_kfunc_type, KF_bpf_rdonly_cast)

/*
 * A word of kernel memory; 0 where nothing is. A cast costs one load that the kernel's exception
 * table guards; the helper about 25 ns, five times a fault.
 */
static __always_inline __u64 ct_read_u64(__u64 kernel_address)
{
	__u64 value = 0;

	if (CT_HAS_RDONLY_CAST) {
		const struct timespec64 *word = bpf_rdonly_cast(
			(const void *)kernel_address, bpf_core_type_id_kernel(struct timespec64));

		return word->tv_sec;
	}
	bpf_probe_read_kernel(&value, sizeof(value), (const void *)kernel_address);
	return value;
}

static __always_inline __u64 ct_entry_phys(const volatile struct ct_kernel_layout *layout,
					   __u64 entry)
{
	return entry & CT_PTE_ADDR & ((1ull << layout->phys_bits) - 1);
}

/*
 * The last-level entry for @address below the table at kernel address @pgd: a PTE, or the PMD or
 * PUD entry of a huge page, whose size is left in @shift (12, 21, 30). 0: nothing there.
 */
static __always_inline __u64 ct_walk(const volatile struct ct_kernel_layout *layout, __u64 pgd,
				     __u64 address, __u32 *shift)
{
	__u64 entry, base = layout->page_offset;

	if (layout->levels == 5) {
		entry = ct_read_u64(pgd + ((address >> 48) & 511) * 8);
		if (!(entry & CT_PTE_PRESENT))
			return 0;
		pgd = base + ct_entry_phys(layout, entry);
	}
	entry = ct_read_u64(pgd + ((address >> 39) & 511) * 8);
	if (!(entry & CT_PTE_PRESENT))
		return 0;
	*shift = 30;
	entry = ct_read_u64(base + ct_entry_phys(layout, entry) + ((address >> 30) & 511) * 8);
	if (!(entry & CT_PTE_PRESENT) || (entry & CT_PTE_LEAF))
		return entry;
	*shift = 21;
	entry = ct_read_u64(base + ct_entry_phys(layout, entry) + ((address >> 21) & 511) * 8);
	if (!(entry & CT_PTE_PRESENT) || (entry & CT_PTE_LEAF))
		return entry;
	*shift = 12;
	return ct_read_u64(base + ct_entry_phys(layout, entry) + ((address >> 12) & 511) * 8);
}

/* 7.0 renamed page->compound_head, and put a mask there instead of an address. */
struct page___v7 {
	unsigned long compound_info;
} __attribute__((preserve_access_index));

/*
 * The head of the large page that @page is a part of; @page itself if it is none. In a part, bit 0
 * of the word is set; the rest is the head's address, or (all top bits set, as in no address of a
 * struct page) the mask that makes the head's address of the part's.
 */
static __always_inline __u64 ct_page_head(__u64 page)
{
	__u64 info;

	if (bpf_core_field_exists(struct page, compound_head))
		info = ct_read_u64(page + bpf_core_field_offset(struct page, compound_head));
	else
		info = ct_read_u64(page + bpf_core_field_offset(struct page___v7, compound_info));
	if (!(info & 1))
		return page;
	return info >> 44 == 0xfffff ? page & info : info - 1;
}

/* page->mapping of the page with that PFN: only a head has it. */
static __always_inline __u64 ct_page_mapping(const volatile struct ct_kernel_layout *layout,
					     __u64 pfn)
{
	__u64 page = ct_page_head(layout->vmemmap + pfn * layout->page_size);

	return ct_read_u64(page + bpf_core_field_offset(struct page, mapping));
}

static __always_inline __u64 ct_pte_pfn(const volatile struct ct_kernel_layout *layout, __u64 pte)
{
	return ct_entry_phys(layout, pte) >> 12;
}

#endif /* CT_PAGETABLE_H */
