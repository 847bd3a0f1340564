/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* anon.c - anonymous pages shared by fork: who writes them, in which order, in what family. */
#include <sys/mman.h>
#include <unistd.h>

#include "truth.h"

enum { EVENT_GO = 0, EVENT_DONE, EVENT_LEAVE };

static char *buffer;

static void write_all(struct truth *t, void *arg)
{
	(void)arg;
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_COPY, t->pages, t->pages + TRUTH_NOISE);
}

static void read_all(struct truth *t, void *arg)
{
	(void)arg;
	truth_read(buffer, t->pages);
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
}

/* Holds the pages until told to leave. */
static void hold(struct truth *t, void *arg)
{
	(void)arg;
	truth_signal(t, EVENT_DONE);
	truth_await(t, EVENT_LEAVE, 1);
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
}

static char *shared_buffer(struct truth *t, int64_t lo, int64_t hi)
{
	buffer = truth_buffer(t, t->pages);
	truth_range(t, buffer, (size_t)t->pages * TRUTH_PAGE, lo, hi);
	return buffer;
}

static void child_writes(struct truth *t)
{
	shared_buffer(t, t->pages, t->pages);
	truth_wait(t, truth_fork(t, "child", write_all, NULL));
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
}

static void reads_only(struct truth *t)
{
	shared_buffer(t, 0, 0);
	truth_wait(t, truth_fork(t, "child", read_all, NULL));
}

static void parent_writes(struct truth *t)
{
	pid_t child;

	shared_buffer(t, t->pages, t->pages);
	child = truth_fork(t, "holder", hold, NULL);
	truth_await(t, EVENT_DONE, 1);
	truth_write(buffer, t->pages);
	truth_signal(t, EVENT_LEAVE);
	truth_wait(t, child);
	truth_expect(t, TRUTH_COPY, t->pages, t->pages + TRUTH_NOISE);
}

static void last_sharer(struct truth *t)
{
	pid_t child;

	shared_buffer(t, 0, truth_slack_old());
	child = truth_fork(t, "holder", hold, NULL);
	truth_signal(t, EVENT_LEAVE);
	truth_wait(t, child);
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
	truth_expect(t, TRUTH_REUSE, t->pages - truth_slack_old(), t->pages + TRUTH_NOISE);
}

/* The child copies; the pages it left are then the parent's alone while the child still lives. */
static void write_then_hold(struct truth *t, void *arg)
{
	write_all(t, arg);
	truth_signal(t, EVENT_DONE);
	truth_await(t, EVENT_LEAVE, 1);
}

static void parent_after_child(struct truth *t)
{
	pid_t child;

	shared_buffer(t, t->pages, t->pages + truth_slack_old());
	child = truth_fork(t, "child", write_then_hold, NULL);
	truth_await(t, EVENT_DONE, 1);
	truth_write(buffer, t->pages);
	truth_signal(t, EVENT_LEAVE);
	truth_wait(t, child);
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
	truth_expect(t, TRUTH_REUSE, t->pages - truth_slack_old(), t->pages + TRUTH_NOISE);
}

/* Parent and child at the same moment: either may copy, or both. The page frames tell. */
static void write_in_step(struct truth *t, void *arg)
{
	uint32_t parties = *(const uint32_t *)arg;

	for (long i = 0; i < t->pages; i++) {
		truth_meet(t, EVENT_GO, parties, (uint32_t)i);
		truth_write(buffer + (size_t)i * TRUTH_PAGE, 1);
	}
}

static void both_write(struct truth *t)
{
	uint32_t parties = 2;
	pid_t child;

	shared_buffer(t, t->pages, 2 * t->pages);
	child = truth_fork(t, "child", write_in_step, &parties);
	write_in_step(t, &parties);
	truth_wait(t, child);
}

static void eight_in_step(struct truth *t)
{
	uint32_t parties = 8;
	pid_t child[8];

	shared_buffer(t, 8 * t->pages, 8 * t->pages);
	for (size_t i = 0; i < TRUTH_ARRAY_LEN(child); i++)
		child[i] = truth_fork(t, "child", write_in_step, &parties);
	for (size_t i = 0; i < TRUTH_ARRAY_LEN(child); i++)
		truth_wait(t, child[i]);
}

static void write_together(struct truth *t, void *arg)
{
	truth_meet(t, EVENT_GO, 8, 0);
	write_all(t, arg);
}

static void eight_children(struct truth *t)
{
	pid_t child[8];

	shared_buffer(t, 8 * t->pages, 8 * t->pages);
	for (size_t i = 0; i < TRUTH_ARRAY_LEN(child); i++)
		child[i] = truth_fork(t, "child", write_together, NULL);
	for (size_t i = 0; i < TRUTH_ARRAY_LEN(child); i++)
		truth_wait(t, child[i]);
}

/* The grandchild copies from the child, which copies from the subject. */
static void child_with_child(struct truth *t, void *arg)
{
	truth_wait(t, truth_fork(t, "grandchild", write_all, arg));
	write_all(t, arg);
}

static void grandchildren(struct truth *t)
{
	shared_buffer(t, 2 * t->pages, 2 * t->pages);
	truth_wait(t, truth_fork(t, "child", child_with_child, NULL));
}

static void write_twenty(struct truth *t, void *arg)
{
	long first = *(const long *)arg;

	for (long i = 0; i < 20; i++)
		truth_write(buffer + (size_t)((first + i) % t->pages) * TRUTH_PAGE, 1);
	truth_expect(t, TRUTH_COPY, 20, 20 + TRUTH_NOISE);
}

static void fork_loop(struct truth *t)
{
	if (t->pages < 20)
		truth_skip(t, "needs --pages 20 or more");
	shared_buffer(t, 500 * 20, 500 * 20);
	for (long i = 0; i < 500; i++) {
		long first = i * 20;

		truth_wait(t, truth_fork(t, "child", write_twenty, &first));
	}
}

static int range_no;

static void write_and_unmap(struct truth *t, void *arg)
{
	(void)arg;
	truth_write(buffer, t->pages);
	munmap(buffer, (size_t)t->pages * TRUTH_PAGE);
	truth_unmapped(t, range_no, t->pages);
}

static void unmap_each(struct truth *t, void *arg)
{
	(void)arg;
	for (long i = 0; i < t->pages; i++) {
		char *page = buffer + (size_t)i * TRUTH_PAGE;

		page[1] = 1;
		munmap(page, TRUTH_PAGE);
	}
	truth_unmapped(t, range_no, t->pages);
}

static void drop_each(struct truth *t, void *arg)
{
	(void)arg;
	for (long i = 0; i < t->pages; i++) {
		char *page = buffer + (size_t)i * TRUTH_PAGE;

		page[1] = 1;
		madvise(page, TRUTH_PAGE, MADV_DONTNEED);
	}
	truth_unmapped(t, range_no, t->pages);
}

static void run_unmapping(struct truth *t, truth_fn fn)
{
	buffer = truth_buffer(t, t->pages);
	range_no = truth_range(t, buffer, (size_t)t->pages * TRUTH_PAGE, t->pages, t->pages);
	truth_wait(t, truth_fork(t, "child", fn, NULL));
}

static void munmap_after(struct truth *t)
{
	run_unmapping(t, write_and_unmap);
}

static void munmap_each(struct truth *t)
{
	run_unmapping(t, unmap_each);
}

static void dontneed_each(struct truth *t)
{
	run_unmapping(t, drop_each);
}

/* libc's own fork, with its locks and handlers. Forked once before so that those pages are hot. */
static void libc_fork(struct truth *t)
{
	pid_t pid = fork();
	int slot;

	if (pid == 0)
		_exit(0); /* no expectation of its own */
	truth_wait(t, pid);
	truth_pages_unknown(t); /* of us: a page can be copied twice around a fork not looked at */
	shared_buffer(t, t->pages, t->pages);
	slot = truth_slot_new(t, "child");
	truth_snapshot(t, slot);
	pid = fork();
	if (pid == 0) {
		truth_become(t, slot);
		write_all(t, NULL);
		truth_end(t);
	}
	truth_wait(t, pid);
}

static const struct truth_case cases[] = {
	{ "child_writes", "a child writes N shared pages: N copies", child_writes, false },
	{ "reads_only", "a child only reads: 0", reads_only, false },
	{ "parent_writes", "the parent writes while the child lives: N", parent_writes, false },
	{ "last_sharer", "the parent writes after the child's end: N reuses", last_sharer, false },
	{ "parent_after_child", "child, then parent: N and N reuses", parent_after_child, false },
	{ "both_write", "parent and child write the same page at once", both_write, false },
	{ "eight_children", "8 children at once: 8 N", eight_children, false },
	{ "eight_in_step", "8 children, page by page in step", eight_in_step, false },
	{ "grandchildren", "grandchild, then child: 2 N", grandchildren, false },
	{ "fork_loop", "500 short-lived children, 20 pages each: 10000", fork_loop, false },
	{ "munmap_after", "munmap right after N writes: still N", munmap_after, false },
	{ "munmap_each", "munmap of each page right after its write: still N", munmap_each, false },
	{ "dontneed_each", "MADV_DONTNEED of each page after its write: N", dontneed_each, false },
	{ "libc_fork", "the child is made by libc's fork(): N", libc_fork, false },
};

int main(int argc, char **argv)
{
	static const struct truth_program program = { "anon", cases, TRUTH_ARRAY_LEN(cases), NULL };

	return truth_main(argc, argv, &program);
}
