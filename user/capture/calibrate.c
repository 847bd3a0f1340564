/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * calibrate.c - drives calibrate.bpf.c: guesses the base of the direct map until a guess proves
 * itself, then looks up pages of our own whose fate we know: one that was only read (the zero
 * page), and one just written (whose struct page the allocator named).
 */
#include "capture/calibrate.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/types.h"
#include "capture/object.h"

#define CT_PTE_PRESENT	     1ull
#define CT_MAX_PHYS_GIB	     65536 /* 64 TiB, what four-level kernels can address */
#define CT_CANDIDATES_A_STEP 64

struct ct_calibrator {
	struct bpf_object *object;
	struct bpf_link *iter, *alloc;
	volatile struct ct_calibration
		*control; /* the kernel looks on: stores must not be merged */
};

static unsigned int ct_phys_bits(void)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	unsigned int bits = 0;
	char line[4096];

	while (f && !bits && fgets(line, sizeof(line), f))
		sscanf(line, "address sizes : %u bits physical", &bits);
	if (f)
		fclose(f);
	return bits >= 32 && bits <= 52 ? bits : 52;
}

static int ct_find_page_offset(struct ct_calibrator *cal)
{
	volatile struct ct_calibration *c = cal->control;

	c->step = CT_CAL_PAGE_OFFSET;
	for (unsigned int first = 0; first < CT_MAX_PHYS_GIB; first += CT_CANDIDATES_A_STEP) {
		for (c->layout.levels = 4; c->layout.levels <= 5; c->layout.levels++) {
			int err;

			c->first = first;
			err = ct_object__run_iter(cal->iter);
			if (err)
				return err;
			if (c->found)
				return 0;
		}
	}
	return -EOPNOTSUPP;
}

static int ct_pte_of(struct ct_calibrator *cal, volatile void *address, __u64 *pfn)
{
	volatile struct ct_calibration *c = cal->control;
	int err;

	c->address = (uint64_t)(uintptr_t)address;
	err = ct_object__run_iter(cal->iter);
	if (err)
		return err;
	if (!(c->pte & CT_PTE_PRESENT) || c->shift != 12)
		return -EOPNOTSUPP;
	*pfn = (c->pte & 0x000ffffffffff000ull & ((1ull << c->layout.phys_bits) - 1)) >> 12;
	return 0;
}

static int ct_find_struct_pages(struct ct_calibrator *cal, volatile char *page)
{
	volatile struct ct_calibration *c = cal->control;
	__u64 pfn;
	int err;

	(void)*page; /* a read: maps the zero page */
	c->step = CT_CAL_WALK;
	err = ct_pte_of(cal, page, &pfn);
	if (err)
		return err;
	c->layout.zero_pfn = pfn;
	c->step = CT_CAL_VMEMMAP;
	c->page = 0;
	*page = 1; /* a write: replaces it by a page of its own, which the allocator names */
	c->step = CT_CAL_WALK;
	err = ct_pte_of(cal, page, &pfn);
	if (err)
		return err;
	c->layout.vmemmap = c->page - pfn * c->layout.page_size;
	/* the array starts on a GiB boundary for every layout, less what lies below the first PFN
	 */
	return c->page && pfn != c->layout.zero_pfn && !(c->layout.vmemmap & 0xfffff) ? 0
										      : -EOPNOTSUPP;
}

static int ct_calibrator_open(struct ct_calibrator *cal)
{
	struct bpf_program *sweep, *alloc;

	cal->object = ct_object__open("calibrate");
	if (!cal->object || bpf_object__load(cal->object))
		return -errno;
	cal->control = ct_object__control(cal->object, sizeof(*cal->control));
	if (!cal->control)
		return -errno;
	cal->control->tid = (uint32_t)gettid();
	cal->control->layout.phys_bits = ct_phys_bits();
	sweep = bpf_object__find_program_by_name(cal->object, "ct_calibrate");
	alloc = bpf_object__find_program_by_name(cal->object, "ct_calibrate_alloc");
	cal->iter = bpf_program__attach_iter(sweep, NULL);
	cal->alloc = cal->iter ? bpf_program__attach(alloc) : NULL;
	return cal->alloc ? 0 : -errno;
}

int ct_calibrate(struct ct_kernel_layout *layout, char *why, size_t why_len)
{
	struct ct_calibrator cal = { 0 };
	void *page;
	int err;

	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return -errno;
	err = ct_calibrator_open(&cal);
	if (err) {
		snprintf(why, why_len, "the kernel refused a BPF program: %s", strerror(-err));
	} else {
		err = ct_find_page_offset(&cal);
		if (!err)
			err = ct_find_struct_pages(&cal, page);
		if (err)
			snprintf(why, why_len, "cannot find the kernel's page tables: %s",
				 strerror(-err));
		else
			memcpy(layout, (const void *)&cal.control->layout, sizeof(*layout));
	}
	bpf_link__destroy(cal.alloc);
	bpf_link__destroy(cal.iter);
	if (cal.control)
		munmap((void *)cal.control, sizeof(*cal.control));
	bpf_object__close(cal.object);
	munmap(page, 4096);
	return err;
}
