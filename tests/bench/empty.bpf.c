/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * empty.bpf.c - a program that does nothing for every place where a hook of cowtrace has one on the
 * way of a fault: what merely being attached there costs. empty.c loads those of one hook.
 */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license")
= "Dual BSD/GPL";

#define CT_EMPTY(name, section) \
	SEC(section)            \
	int name(void *ctx)     \
	{                       \
		return 0;       \
	}

/* tracepoint */
CT_EMPTY(ct_tp_fault_user, "tp_btf/page_fault_user")
CT_EMPTY(ct_tp_fault_kernel, "tp_btf/page_fault_kernel")
CT_EMPTY(ct_tp_page_alloc, "tp_btf/mm_page_alloc")
CT_EMPTY(ct_tp_page_free, "tp_btf/mm_page_free")
CT_EMPTY(ct_tp_signal, "tp_btf/signal_generate")

/* fexit */
CT_EMPTY(ct_fentry_wp, "fentry/do_wp_page")
CT_EMPTY(ct_fexit_wp, "fexit/do_wp_page")
CT_EMPTY(ct_fexit_finish, "fexit/finish_fault")
CT_EMPTY(ct_fentry_hugetlb, "fentry/hugetlb_fault")
CT_EMPTY(ct_fexit_hugetlb, "fexit/hugetlb_fault")
CT_EMPTY(ct_fentry_huge, "fentry/do_huge_pmd_wp_page")
CT_EMPTY(ct_fexit_huge, "fexit/do_huge_pmd_wp_page")

/* kprobe */
CT_EMPTY(ct_kprobe_wp, "kprobe/do_wp_page")
CT_EMPTY(ct_kretprobe_wp, "kretprobe/do_wp_page")
CT_EMPTY(ct_kprobe_finish, "kprobe/finish_fault")
CT_EMPTY(ct_kretprobe_finish, "kretprobe/finish_fault")
CT_EMPTY(ct_kprobe_hugetlb, "kprobe/hugetlb_fault")
CT_EMPTY(ct_kretprobe_hugetlb, "kretprobe/hugetlb_fault")
CT_EMPTY(ct_kprobe_huge, "kprobe/do_huge_pmd_wp_page")
CT_EMPTY(ct_kretprobe_huge, "kretprobe/do_huge_pmd_wp_page")
