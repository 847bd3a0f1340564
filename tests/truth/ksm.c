/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ksm.c - pages that KSM merged: a write always copies, fork or not. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "truth.h"

#define KSM "/sys/kernel/mm/ksm/"

static char *buffer;

static long read_ksm(const char *name)
{
	char path[64];
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), KSM "%s", name);
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%ld", &value) != 1)
			value = -1;
		fclose(f);
	}
	return value;
}

static long count_merged(struct truth *t)
{
	struct oracle_snapshot *now = oracle_snapshot__take(getpid(), true);
	long merged = 0;

	if (!now)
		truth_fail(t, "page flags: %s", strerror(errno));
	merged = oracle_snapshot__ksm_pages(now);
	oracle_snapshot__put(now);
	return merged;
}

/* Until all pages are merged, or nothing has happened for 20 seconds. */
static long merge(struct truth *t)
{
	long merged = 0, last = -1;

	for (int idle = 0; idle < 400 && merged < t->pages; idle++) {
		usleep(50000);
		merged = count_merged(t);
		if (merged != last)
			idle = 0;
		last = merged;
	}
	return merged;
}

static void merged_buffer(struct truth *t)
{
	long merged;

	if (read_ksm("run") < 0)
		truth_skip(t, "this kernel has no KSM");
	if (read_ksm("run") == 1)
		truth_skip(t, "KSM is already at work on this machine");
	buffer = truth_map(t, t->pages);
	memset(buffer, 0x5a, (size_t)t->pages * TRUTH_PAGE);
	if (madvise(buffer, (size_t)t->pages * TRUTH_PAGE, MADV_MERGEABLE))
		truth_skip(t, "MADV_MERGEABLE: %s", strerror(errno));
	if (truth_sysctl(t, KSM "pages_to_scan", "2000") ||
	    truth_sysctl(t, KSM "sleep_millisecs", "20") || truth_sysctl(t, KSM "run", "1"))
		truth_skip(t, "KSM can't be switched on: %s", strerror(errno));
	merged = merge(t);
	if (merged < t->pages / 2)
		truth_skip(t, "KSM merged %ld of %ld pages", merged, t->pages);
	truth_sysctl(t, KSM "run", "0"); /* what is merged stays so */
	truth_range(t, buffer, (size_t)t->pages * TRUTH_PAGE, 2 * t->pages, 2 * t->pages);
}

static void write_all(struct truth *t, void *arg)
{
	(void)arg;
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_COPY_KSM, t->pages / 2, t->pages);
}

/* The child first, then the subject: no sharer is left, but KSM's page is never reused. */
static void ksm(struct truth *t)
{
	merged_buffer(t);
	truth_wait(t, truth_fork(t, "child", write_all, NULL));
	write_all(t, NULL);
}

static const struct truth_case cases[] = {
	{ "ksm", "N merged pages, written by child and parent: 2 N copy_ksm", ksm, true },
};

int main(int argc, char **argv)
{
	static const struct truth_program program = { "ksm", cases, TRUTH_ARRAY_LEN(cases), NULL };

	return truth_main(argc, argv, &program);
}
