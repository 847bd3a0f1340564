/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ct_calibrate.h - what calibrate.bpf.c and user/capture/calibrate.c say to each other. */
#ifndef CT_CALIBRATE_H
#define CT_CALIBRATE_H

/** struct ct_kernel_layout - where this boot put things; found by calibrate.bpf.c. */
struct ct_kernel_layout {
	__u64 page_offset; /* the direct map: virtual = page_offset + physical */
	__u64 vmemmap;	   /* struct page of a PFN: vmemmap + pfn * page_size */
	__u64 page_size;   /* sizeof(struct page) */
	__u64 zero_pfn;	   /* of the page that reads of untouched anonymous memory see */
	__u32 levels;	   /* of the page tables: 4 or 5 */
	__u32 phys_bits;   /* of a physical address: above them may be an encryption bit */
};

enum ct_calibration_step {
	CT_CAL_PAGE_OFFSET = 1, /* try 64 candidates from `first` GiB below the top table */
	CT_CAL_WALK,		/* pte of `address` in the calling process */
	CT_CAL_VMEMMAP,		/* also: note the struct page of each page that `tid` gets */
};

struct ct_calibration {
	struct ct_kernel_layout layout;
	__u64 address, pte, page;
	__u32 tid, step, first, found, shift, reserved;
};

#endif /* CT_CALIBRATE_H */
