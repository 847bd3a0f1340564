/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ct_classify.h - what was on the page before: decides the kind of a copy. Plain arithmetic on
 * words that the caller has read, so that it compiles and is tested on the host as well.
 */
#ifndef CT_CLASSIFY_H
#define CT_CLASSIFY_H

/* include/linux/page-flags.h: the low bits of page->mapping, the same since 2.6.32 */
#define CT_MAPPING_BITS 3ull
#define CT_MAPPING_ANON 1ull
#define CT_MAPPING_KSM	3ull

/** ct_is_write_protect_fault - x86 error code: the page was there, and it was a write. */
static __always_inline int ct_is_write_protect_fault(__u64 error_code)
{
	return (error_code & 3) == 3;
}

/** ct_is_first_write - x86 error code: a write, and no page was there. */
static __always_inline int ct_is_first_write(__u64 error_code)
{
	return (error_code & 3) == 2;
}

/** ct_is_user_page - include/linux/gfp.h: __GFP_HIGHMEM and __GFP_MOVABLE, as every page that is
 *  made for user space has, and few others. */
static __always_inline int ct_is_user_page(__u32 gfp, __u32 order)
{
	return order == 0 && (gfp & 0xa) == 0xa;
}

/** ct_copy_kind - the kind of a copy, from the old page: its PFN, and its page->mapping word. */
static __always_inline __u8 ct_copy_kind(__u64 pfn, __u64 zero_pfn, __u64 mapping)
{
	if (pfn == zero_pfn)
		return CT_KIND_ZERO_FILL;
	if ((mapping & CT_MAPPING_BITS) == CT_MAPPING_ANON)
		return CT_KIND_COPY;
	if ((mapping & CT_MAPPING_BITS) == CT_MAPPING_KSM)
		return CT_KIND_COPY_KSM;
	return CT_KIND_COPY_FILE;
}

#endif /* CT_CLASSIFY_H */
