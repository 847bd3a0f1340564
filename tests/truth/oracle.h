/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * oracle.h - two witnesses that count copies without any tracing: page frame numbers compared
 * over time (/proc/PID/pagemap), and the kernel's own delay accounting (taskstats WPCOPY).
 * Used by the supervisor of a truth program only: it may allocate, the programs it watches don't.
 */
#ifndef TRUTH_ORACLE_H
#define TRUTH_ORACLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define TRUTH_PAGE 4096UL

/** Copies seen by comparing page frames. hugetlb is in huge pages, the others in 4 KiB pages. */
struct oracle_counts {
	int64_t copy, copy_ksm, copy_file, copy_hugetlb;
	int64_t zero_fill; /* at least: only pages that were the zero page at the last look */
};

/** Addresses of which the changes are counted beside. */
struct oracle_range {
	uint64_t start, end;
	int64_t changed;
};

/** All private mappings of a process at one moment. Counted references. */
struct oracle_snapshot;

/**
 * oracle_snapshot__take - page frames of @pid, which must not run meanwhile.
 * @page_flags: also read /proc/kpageflags, to know KSM and hugetlb pages (slower).
 * Return: NULL with errno. Give it back with oracle_snapshot__put.
 */
struct oracle_snapshot *oracle_snapshot__take(pid_t pid, bool page_flags);
/** oracle_snapshot__none - a process with no memory yet: what exec leaves behind. */
struct oracle_snapshot *oracle_snapshot__none(void);
struct oracle_snapshot *oracle_snapshot__get(struct oracle_snapshot *snapshot);
void oracle_snapshot__put(struct oracle_snapshot *snapshot);

/** oracle_snapshot__ksm_pages - how many pages of it KSM has merged; it needs page flags. */
long oracle_snapshot__ksm_pages(const struct oracle_snapshot *snapshot);

/**
 * oracle_compare - add to @counts and @ranges what was copied from @before to @after.
 * Exact when the process did not fork in between: then no page can be copied twice.
 */
void oracle_compare(const struct oracle_snapshot *before, const struct oracle_snapshot *after,
		    struct oracle_counts *counts, struct oracle_range *ranges, int n_ranges);

/**
 * oracle_wpcopy - how many write-protect copies the kernel accounted to a process (@group: all
 * its threads, else only thread @pid). Needs kernel.task_delayacct=1 before its fork, and 5.19.
 * Return: the count, or -1 with errno (EOPNOTSUPP: this kernel has no such count, or
 * loses some for want of a fine clock).
 */
int64_t oracle_wpcopy(pid_t pid, bool group);

#endif /* TRUTH_ORACLE_H */
