/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * kernel.c - pages written by the kernel for the process (system calls that fill buffers), and
 * pages that the kernel allocates for other reasons right after a write fault that copied nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "truth.h"

#define EXT4_MAGIC  0xef53
#define XFS_MAGIC   0x58465342
#define BTRFS_MAGIC 0x9123683e

static char *buffer;
static int fd;

static void shared_buffer(struct truth *t, int64_t lo, int64_t hi)
{
	buffer = truth_buffer(t, t->pages);
	truth_range(t, buffer, (size_t)t->pages * TRUTH_PAGE, lo, hi);
}

static void expect_copies(struct truth *t)
{
	truth_expect(t, TRUTH_COPY, t->pages, t->pages + TRUTH_NOISE);
}

static void read_page(struct truth *t, long i)
{
	char *page = buffer + (size_t)i * TRUTH_PAGE;

	if (pread(fd, page, TRUTH_PAGE, i * (off_t)TRUTH_PAGE) != (ssize_t)TRUTH_PAGE)
		truth_fail(t, "read: %s", strerror(errno));
}

static void read_pages(struct truth *t, void *arg)
{
	(void)arg;
	for (long i = 0; i < t->pages; i++)
		read_page(t, i);
	expect_copies(t);
}

static void read_each(struct truth *t)
{
	fd = truth_file(t, t->pages);
	shared_buffer(t, t->pages, t->pages);
	truth_wait(t, truth_fork(t, "child", read_pages, NULL));
}

static void read_cold(struct truth *t)
{
	fd = truth_file(t, t->pages);
	truth_file_cold(fd);
	shared_buffer(t, t->pages, t->pages);
	truth_wait(t, truth_fork(t, "child", read_pages, NULL));
}

static void read_at_once(struct truth *t, void *arg)
{
	size_t len = (size_t)t->pages * TRUTH_PAGE, done = 0;
	ssize_t n;

	(void)arg;
	while (done < len && (n = pread(fd, buffer + done, len - done, (off_t)done)) > 0)
		done += (size_t)n;
	if (done < len)
		truth_fail(t, "read: %s", strerror(errno));
	expect_copies(t);
}

static void read_once(struct truth *t)
{
	fd = truth_file(t, t->pages);
	shared_buffer(t, t->pages, t->pages);
	truth_wait(t, truth_fork(t, "child", read_at_once, NULL));
}

static void receive_pages(struct truth *t, void *arg)
{
	static const char message[600] = "so much is a message";
	int pair[2];

	(void)arg;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		truth_fail(t, "socketpair: %s", strerror(errno));
	for (long i = 0; i < t->pages; i++) {
		char *page = buffer + (size_t)i * TRUTH_PAGE;

		if (send(pair[0], message, sizeof(message), 0) != (ssize_t)sizeof(message) ||
		    recv(pair[1], page + 64, sizeof(message), MSG_WAITALL) !=
			    (ssize_t)sizeof(message))
			truth_fail(t, "send and recv: %s", strerror(errno));
	}
	expect_copies(t);
}

static void recv_each(struct truth *t)
{
	shared_buffer(t, t->pages, t->pages);
	truth_wait(t, truth_fork(t, "child", receive_pages, NULL));
}

/* Direct I/O looks the pages up itself: no page fault, so no page-fault tracepoint. */
static void direct_pages(struct truth *t, void *arg)
{
	read_pages(t, arg);
	truth_gup(t, t->pages);
}

static void direct_io(struct truth *t)
{
	struct statfs fs;

	fd = truth_file(t, t->pages);
	if (fstatfs(fd, &fs) || (fs.f_type != EXT4_MAGIC && (unsigned long)fs.f_type != XFS_MAGIC &&
				 (unsigned long)fs.f_type != BTRFS_MAGIC))
		truth_skip(t, "no direct I/O known of the file system of TMPDIR");
	fsync(fd);
	if (fcntl(fd, F_SETFL, O_DIRECT))
		truth_skip(t, "O_DIRECT: %s", strerror(errno));
	shared_buffer(t, t->pages, t->pages);
	truth_wait(t, truth_fork(t, "child", direct_pages, NULL));
}

static void leave(struct truth *t, void *arg)
{
	(void)t;
	(void)arg;
}

/* Reuse a page, then have the kernel allocate a page for the file's cache: still no copy. */
static void reuse_then_read(struct truth *t)
{
	fd = truth_file(t, t->pages);
	truth_file_cold(fd);
	shared_buffer(t, 0, truth_slack_old());
	truth_wait(t, truth_fork(t, "child", leave, NULL));
	for (long i = 0; i < t->pages; i++) {
		truth_write(buffer + (size_t)i * TRUTH_PAGE, 1);
		read_page(t, i);
	}
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
	truth_expect(t, TRUTH_REUSE, t->pages - truth_slack_old(), t->pages + TRUTH_NOISE);
}

/* The other order: the page for the cache first, then the kernel's own write fault, a reuse. */
static void read_reuses(struct truth *t)
{
	fd = truth_file(t, t->pages);
	truth_file_cold(fd);
	shared_buffer(t, 0, truth_slack_old());
	truth_wait(t, truth_fork(t, "child", leave, NULL));
	for (long i = 0; i < t->pages; i++)
		read_page(t, i);
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
	truth_expect(t, TRUTH_REUSE, t->pages - truth_slack_old(), t->pages + TRUTH_NOISE);
}

/* Pages for a file's cache from writing to it, after a reuse. */
static void reuse_then_write(struct truth *t)
{
	fd = truth_file(t, 1);
	shared_buffer(t, 0, truth_slack_old());
	truth_wait(t, truth_fork(t, "child", leave, NULL));
	for (long i = 0; i < t->pages; i++) {
		char *page = buffer + (size_t)i * TRUTH_PAGE;

		truth_write(page, 1);
		if (pwrite(fd, page, TRUTH_PAGE, (i + 1) * (off_t)TRUTH_PAGE) !=
		    (ssize_t)TRUTH_PAGE)
			truth_fail(t, "write: %s", strerror(errno));
	}
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
	truth_expect(t, TRUTH_REUSE, t->pages - truth_slack_old(), t->pages + TRUTH_NOISE);
}

static const struct truth_case cases[] = {
	{ "read_each", "read(2) of a page into each shared page: N", read_each, false },
	{ "read_cold", "the same from a file that is not cached: N", read_cold, false },
	{ "read_once", "one read(2) over N shared pages: N", read_once, false },
	{ "recv_each", "recv(2) into each shared page: N", recv_each, false },
	{ "direct_io", "O_DIRECT read into each shared page: N", direct_io, false },
	{ "reuse_then_read", "reuse, then a page for the cache: 0 copies", reuse_then_read, false },
	{ "read_reuses", "a page for the cache, then a reuse: 0 copies", read_reuses, false },
	{ "reuse_then_write", "reuse, then write(2) to a file: 0 copies", reuse_then_write, false },
};

int main(int argc, char **argv)
{
	static const struct truth_program program = { "kernel", cases, TRUTH_ARRAY_LEN(cases),
						      NULL };

	return truth_main(argc, argv, &program);
}
