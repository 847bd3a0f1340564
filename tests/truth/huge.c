/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * huge.c - transparent huge pages and hugetlb. Since 5.8 a write to a transparent huge page that is
 * shared by fork splits it and copies 4 KiB; a hugetlb page is copied whole.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "truth.h"

#define HUGE_BYTES (2UL << 20)
#define HUGE_4K	   ((long)(HUGE_BYTES / TRUTH_PAGE))

enum { EVENT_DONE = 0, EVENT_LEAVE };

static char *buffer;
static long n_huge;

static void count_huge(struct truth *t)
{
	n_huge = t->pages / 125 < 2 ? 2 : t->pages / 125; /* 8 for 1000 */
}

/* KiB of transparent huge pages in the mapping that begins at @start. */
static long huge_kib(const void *start)
{
	char line[256], want[32];
	FILE *f = fopen("/proc/self/smaps", "re");
	bool here = false;
	long kib = 0;

	snprintf(want, sizeof(want), "%lx-", (unsigned long)(uintptr_t)start);
	while (f && fgets(line, sizeof(line), f)) {
		if (strchr(line, '-') && strncmp(line, want, strlen(want)) == 0)
			here = true;
		else if (here && sscanf(line, "AnonHugePages: %ld", &kib) == 1)
			break;
	}
	if (f)
		fclose(f);
	return kib;
}

/* An aligned buffer of its own mapping, so that smaps shows it alone. */
static void map_aligned(struct truth *t, bool huge)
{
	size_t len = (size_t)n_huge * HUGE_BYTES;
	char *all = mmap(NULL, len + 2 * HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (all == MAP_FAILED)
		truth_fail(t, "mmap: %s", strerror(errno));
	buffer = (char *)(((uintptr_t)all + HUGE_BYTES) & ~(HUGE_BYTES - 1));
	if (mprotect(buffer, len, PROT_READ | PROT_WRITE) ||
	    madvise(buffer, len, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		truth_skip(t, "no transparent huge pages: %s", strerror(errno));
}

static void fill_huge(struct truth *t)
{
	count_huge(t);
	truth_sysctl(t, "/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
	map_aligned(t, true);
	for (size_t i = 0; i < (size_t)n_huge * HUGE_BYTES; i += TRUTH_PAGE)
		buffer[i] = 1;
	if (huge_kib(buffer) != n_huge * 2048)
		truth_skip(t, "got %ld KiB of huge pages instead of %ld", huge_kib(buffer),
			   n_huge * 2048);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* khugepaged must not collapse what is split */
}

static void write_one_byte(struct truth *t, void *arg)
{
	(void)arg;
	for (long i = 0; i < n_huge; i++)
		buffer[(size_t)i * HUGE_BYTES + 5 * TRUTH_PAGE + 7] = 2;
	truth_expect(t, TRUTH_COPY, n_huge, n_huge + TRUTH_NOISE);
}

static void write_every_4k(struct truth *t, void *arg)
{
	(void)arg;
	truth_write(buffer, n_huge * HUGE_4K);
	truth_expect(t, TRUTH_COPY, n_huge * HUGE_4K, n_huge * HUGE_4K + TRUTH_NOISE);
}

static void watch(struct truth *t, int64_t lo, int64_t hi)
{
	truth_range(t, buffer, (size_t)n_huge * HUGE_BYTES, lo, hi);
}

static void thp_one_byte(struct truth *t)
{
	fill_huge(t);
	watch(t, n_huge, n_huge);
	truth_wait(t, truth_fork(t, "child", write_one_byte, NULL));
}

static void thp_every_4k(struct truth *t)
{
	fill_huge(t);
	watch(t, n_huge * HUGE_4K, n_huge * HUGE_4K);
	truth_wait(t, truth_fork(t, "child", write_every_4k, NULL));
}

static void thp_off(struct truth *t)
{
	count_huge(t);
	map_aligned(t, false);
	truth_write(buffer, n_huge * HUGE_4K);
	watch(t, n_huge * HUGE_4K, n_huge * HUGE_4K);
	truth_wait(t, truth_fork(t, "child", write_every_4k, NULL));
}

static void leave(struct truth *t, void *arg)
{
	(void)t;
	(void)arg;
}

static void thp_last_sharer(struct truth *t)
{
	fill_huge(t);
	watch(t, 0, 0);
	truth_wait(t, truth_fork(t, "child", leave, NULL));
	truth_write(buffer, n_huge * HUGE_4K);
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
}

static void write_and_hold(struct truth *t, void *arg)
{
	write_every_4k(t, arg);
	truth_signal(t, EVENT_DONE);
	truth_await(t, EVENT_LEAVE, 1);
}

/* What the kernel copies for the second writer differs from version to version; the page frames
 * tell, and each page is copied once or twice. */
static void thp_both(struct truth *t)
{
	pid_t child;

	fill_huge(t);
	watch(t, n_huge * HUGE_4K, 2 * n_huge * HUGE_4K);
	child = truth_fork(t, "child", write_and_hold, NULL);
	truth_await(t, EVENT_DONE, 1);
	truth_write(buffer, n_huge * HUGE_4K);
	truth_signal(t, EVENT_LEAVE);
	truth_wait(t, child);
}

/* ---- hugetlb ---- */

static void reserve_hugetlb(struct truth *t)
{
	static const char path[] = "/proc/sys/vm/nr_hugepages";
	long before = 0, now = 0;
	char text[32];
	FILE *f = fopen(path, "re");

	count_huge(t);
	if (!f || fscanf(f, "%ld", &before) != 1)
		truth_skip(t, "%s: no hugetlb", path);
	fclose(f);
	snprintf(text, sizeof(text), "%ld", before + 2 * n_huge);
	if (truth_sysctl(t, path, text))
		truth_skip(t, "%s: %s", path, strerror(errno));
	f = fopen(path, "re");
	if (!f || fscanf(f, "%ld", &now) != 1 || now < before + 2 * n_huge)
		truth_skip(t, "%s: got %ld of %ld", path, now, before + 2 * n_huge);
	fclose(f);
	buffer = mmap(NULL, (size_t)n_huge * HUGE_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0);
	if (buffer == MAP_FAILED)
		truth_skip(t, "mmap of hugetlb pages: %s", strerror(errno));
	for (long i = 0; i < n_huge; i++)
		buffer[(size_t)i * HUGE_BYTES] = 1;
}

/* taskstats counts hugetlb write faults too, copy or reuse; the sum of kinds leaves them out. */
static void hugetlb_child(struct truth *t, void *arg)
{
	(void)arg;
	for (long i = 0; i < n_huge; i++)
		buffer[(size_t)i * HUGE_BYTES + 12345] = 2;
	truth_expect(t, TRUTH_COPY_HUGETLB, n_huge, n_huge);
	truth_wpcopy_adjust(t, -n_huge);
}

static void hugetlb(struct truth *t)
{
	reserve_hugetlb(t);
	truth_wait(t, truth_fork(t, "child", hugetlb_child, NULL));
	for (long i = 0; i < n_huge; i++)
		buffer[(size_t)i * HUGE_BYTES + 99] = 3;
	truth_expect(t, TRUTH_COPY_HUGETLB, 0, 0);
	truth_wpcopy_adjust(t, -2 * n_huge); /* the first touches count too (hugetlb_no_page) */
}

static const struct truth_case cases[] = {
	{ "thp_one_byte", "one byte in each of H huge pages: H", thp_one_byte, false },
	{ "thp_every_4k", "each 4 KiB of H huge pages: 512 H", thp_every_4k, false },
	{ "thp_off", "the same memory without huge pages: 512 H", thp_off, false },
	{ "thp_last_sharer", "huge pages that nobody shares any more: 0", thp_last_sharer, false },
	{ "thp_both", "child, then parent, write all of it", thp_both, false },
	{ "hugetlb", "H hugetlb pages: H copy_hugetlb, then H reuses", hugetlb, true },
};

int main(int argc, char **argv)
{
	static const struct truth_program program = { "huge", cases, TRUTH_ARRAY_LEN(cases), NULL };

	return truth_main(argc, argv, &program);
}
