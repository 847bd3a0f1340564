/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* file.c - the zero page and private file mappings: write faults that copy what fork never shared.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "truth.h"

static char *buffer;
static int fd;

static void watch(struct truth *t, int64_t unshared)
{
	truth_range(t, buffer, (size_t)t->pages * TRUTH_PAGE, unshared, unshared);
}

static void map_file(struct truth *t)
{
	buffer = mmap(NULL, (size_t)t->pages * TRUTH_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd,
		      0);
	if (buffer == MAP_FAILED)
		truth_fail(t, "mmap of a file: %s", strerror(errno));
}

/* ---- the zero page ---- */

static void zero_child(struct truth *t, void *arg)
{
	(void)arg;
	buffer = truth_map(t, t->pages);
	watch(t, 0);
	truth_read(buffer, t->pages);
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_ZERO_FILL, t->pages, t->pages + 8);
}

static void zero_page(struct truth *t)
{
	truth_wait(t, truth_fork(t, "child", zero_child, NULL));
}

static void write_zeroes(struct truth *t, void *arg)
{
	(void)arg;
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_ZERO_FILL, t->pages, t->pages + 8);
}

static void zero_inherited(struct truth *t)
{
	char *all = truth_map(t, t->pages + 1);

	all[(size_t)t->pages * TRUTH_PAGE] = 1; /* without any page of its own fork copies no map */
	buffer = all;
	watch(t, 0);
	truth_read(buffer, t->pages);
	truth_wait(t, truth_fork(t, "child", write_zeroes, NULL));
}

/* ---- private file pages ---- */

static void read_then_write(struct truth *t, void *arg)
{
	(void)arg;
	map_file(t);
	watch(t, t->pages);
	truth_read(buffer, t->pages);
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_COPY_FILE, t->pages, t->pages + TRUTH_NOISE);
	truth_expect(t, TRUTH_COPY_FILE_UNREAD, 0, TRUTH_NOISE);
}

static void file_read(struct truth *t)
{
	fd = truth_file(t, t->pages);
	truth_wait(t, truth_fork(t, "child", read_then_write, NULL));
}

static void only_write(struct truth *t, void *arg)
{
	(void)arg;
	map_file(t);
	watch(t, t->pages);
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_COPY_FILE, t->pages, t->pages + TRUTH_NOISE);
	truth_expect(t, TRUTH_COPY_FILE_UNREAD, t->pages, t->pages + TRUTH_NOISE);
}

static void file_unread(struct truth *t)
{
	fd = truth_file(t, t->pages);
	truth_wait(t, truth_fork(t, "child", only_write, NULL));
}

/* Reading one page maps its neighbours too: how many of the writes are "unread" is the kernel's
 * choice, but they are N copies in all, and WPCOPY says how many are not unread. */
static void read_some(struct truth *t, void *arg)
{
	(void)arg;
	map_file(t);
	watch(t, t->pages);
	for (long i = 0; i < t->pages; i += 40)
		truth_read(buffer + (size_t)i * TRUTH_PAGE, 1);
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_COPY_FILE, t->pages, t->pages + TRUTH_NOISE);
	truth_expect(t, TRUTH_COPY_FILE_UNREAD, 0, t->pages);
}

static void file_around(struct truth *t)
{
	fd = truth_file(t, t->pages);
	truth_wait(t, truth_fork(t, "child", read_some, NULL));
}

static void on_memfd(struct truth *t, truth_fn fn)
{
	fd = memfd_create("truth-file", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, t->pages * (off_t)TRUTH_PAGE))
		truth_fail(t, "memfd: %s", strerror(errno));
	for (long i = 0; i < t->pages; i++)
		if (pwrite(fd, &i, sizeof(i), i * (off_t)TRUTH_PAGE) != (ssize_t)sizeof(i))
			truth_fail(t, "memfd: %s", strerror(errno));
	truth_wait(t, truth_fork(t, "child", fn, NULL));
}

static void shmem_read(struct truth *t)
{
	on_memfd(t, read_then_write);
}

static void shmem_unread(struct truth *t)
{
	on_memfd(t, only_write);
}

static void write_inherited(struct truth *t, void *arg)
{
	(void)arg;
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_COPY, t->pages, t->pages + TRUTH_NOISE);
}

/* Copied from the file by the subject, then shared by fork: anonymous pages from then on. */
static void file_then_fork(struct truth *t)
{
	fd = truth_file(t, t->pages);
	map_file(t);
	watch(t, 2 * t->pages);
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_COPY_FILE, t->pages, t->pages + TRUTH_NOISE);
	truth_expect(t, TRUTH_COPY_FILE_UNREAD, t->pages, t->pages + TRUTH_NOISE);
	truth_wait(t, truth_fork(t, "child", write_inherited, NULL));
}

static void write_shared(struct truth *t, void *arg)
{
	(void)arg;
	truth_read(buffer, t->pages);
	truth_write(buffer, t->pages);
}

/* A shared mapping of a file on disk: write faults that ask the file system, and copy nothing. */
static void shared_file(struct truth *t)
{
	fd = truth_file(t, t->pages);
	buffer = mmap(NULL, (size_t)t->pages * TRUTH_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		      0);
	if (buffer == MAP_FAILED)
		truth_skip(t, "no shared mapping of this file: %s", strerror(errno));
	fsync(fd); /* clean pages are mapped read-only first */
	watch(t, 0);
	truth_wait(t, truth_fork(t, "child", write_shared, NULL));
}

static const struct truth_case cases[] = {
	{ "zero_page", "fresh memory read, then written: N zero fills", zero_page, false },
	{ "zero_inherited", "the same, read before the fork", zero_inherited, false },
	{ "file_read", "private file pages read, then written: N copy_file", file_read, false },
	{ "file_unread", "private file pages written first: N unread", file_unread, false },
	{ "file_around", "every 40th page read, then all written: N", file_around, false },
	{ "shmem_read", "private mapping of tmpfs, read first: N", shmem_read, false },
	{ "shmem_unread", "private mapping of tmpfs, written first: N", shmem_unread, false },
	{ "file_then_fork", "file pages copied, then shared by fork: N + N", file_then_fork,
	  false },
	{ "shared_file", "a shared file mapping: 0", shared_file, false },
};

int main(int argc, char **argv)
{
	static const struct truth_program program = { "file", cases, TRUTH_ARRAY_LEN(cases), NULL };

	return truth_main(argc, argv, &program);
}
