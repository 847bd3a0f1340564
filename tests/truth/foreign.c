/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* foreign.c - pages of one process written (or read) by another one. The copy is the target's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "truth.h"

enum { EVENT_READY = 0, EVENT_LEAVE };

static char *buffer;
static int target_slot;

static void target(struct truth *t, void *arg)
{
	(void)arg;
	truth_expect(t, TRUTH_COPY, 0, t->pages + TRUTH_NOISE);
	truth_signal(t, EVENT_READY);
	truth_await(t, EVENT_LEAVE, 1);
}

static void write_mem(struct truth *t, void *arg)
{
	char path[64];
	int fd;

	(void)arg;
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)truth_pid(t, target_slot));
	fd = open(path, O_RDWR);
	if (fd < 0)
		truth_fail(t, "%s: %s", path, strerror(errno));
	for (long i = 0; i < t->pages; i++) {
		uintptr_t at = (uintptr_t)buffer + (size_t)i * TRUTH_PAGE + 8;

		if (pwrite(fd, "hello", 5, (off_t)at) != 5)
			truth_fail(t, "%s: write: %s", path, strerror(errno));
	}
	truth_foreign(t, t->self, target_slot, t->pages, true);
}

/* One call for up to 512 pages, as debuggers and profilers do it. */
static void by_vector(struct truth *t, bool write)
{
	static char local[512 * 8];
	struct iovec remote[512], mine = { .iov_base = local };
	long left = t->pages;
	char *at = buffer;

	while (left > 0) {
		long n = left < 512 ? left : 512;
		ssize_t done;

		for (long i = 0; i < n; i++, at += TRUTH_PAGE)
			remote[i] = (struct iovec){ at + 16, 8 };
		mine.iov_len = (size_t)n * 8;
		done = (write ? process_vm_writev : process_vm_readv)(
			truth_pid(t, target_slot), &mine, 1, remote, (unsigned long)n, 0);
		if (done != n * 8)
			truth_fail(t, "process_vm_%sv: %s", write ? "write" : "read",
				   strerror(errno));
		left -= n;
	}
}

static void write_vector(struct truth *t, void *arg)
{
	(void)arg;
	by_vector(t, true);
	truth_foreign(t, t->self, target_slot, t->pages, true);
}

/* Since 5.19 a read-only pin of a page that is shared by fork copies it for its owner. */
static void read_vector(struct truth *t, void *arg)
{
	(void)arg;
	by_vector(t, false);
	if (truth_kernel_at_least(5, 19))
		truth_foreign(t, t->self, target_slot, t->pages, true);
}

static void run_pair(struct truth *t, truth_fn writer, int64_t copies)
{
	pid_t hit, by;

	buffer = truth_buffer(t, t->pages);
	truth_range(t, buffer, (size_t)t->pages * TRUTH_PAGE, copies, copies);
	hit = truth_fork(t, "target", target, NULL);
	target_slot = truth_last_slot(t);
	truth_await(t, EVENT_READY, 1);
	by = truth_fork(t, "writer", writer, NULL);
	truth_wait(t, by);
	truth_signal(t, EVENT_LEAVE);
	truth_wait(t, hit);
}

static void proc_mem(struct truth *t)
{
	run_pair(t, write_mem, t->pages);
}

static void vm_writev(struct truth *t)
{
	run_pair(t, write_vector, t->pages);
}

static void vm_readv(struct truth *t)
{
	run_pair(t, read_vector, truth_kernel_at_least(5, 19) ? t->pages : 0);
}

static const struct truth_case cases[] = {
	{ "proc_mem", "N pages written through /proc/PID/mem: N", proc_mem, false },
	{ "vm_writev", "N pages written by process_vm_writev: N", vm_writev, false },
	{ "vm_readv", "N pages read by process_vm_readv: N since 5.19", vm_readv, false },
};

int main(int argc, char **argv)
{
	static const struct truth_program program = { "foreign", cases, TRUTH_ARRAY_LEN(cases),
						      NULL };

	return truth_main(argc, argv, &program);
}
