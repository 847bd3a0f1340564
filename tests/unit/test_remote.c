/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_remote.c - another process's memory is read right, and left as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/remote.h"

#define PFN_MASK ((1ull << 55) - 1)
#define PRESENT	 (1ull << 63)

/** A child that shares our memory, works on @work at start, and waits to be killed. */
static pid_t start_child(void (*work)(void *), void *arg)
{
	int ready[2];
	char c = 0;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (work)
			work(arg);
		if (write(ready[1], &c, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

static void stop_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static char *map_pages(size_t pages)
{
	char *area = mmap(NULL, pages * CT_PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(area, MAP_FAILED);
	madvise(area, pages * CT_PAGE_SIZE, MADV_NOHUGEPAGE);
	return area;
}

static ct_raddr_t raddr(const void *p)
{
	return (ct_raddr_t)(uintptr_t)p;
}

static void read_pagemap(pid_t pid, const void *area, uint64_t *entries, size_t pages)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, entries, pages * 8, (off_t)(raddr(area) / CT_PAGE_SIZE * 8)),
			 pages * 8);
	close(fd);
}

static void test_read(void **state)
{
	char *area = map_pages(4), buf[4 * CT_PAGE_SIZE];
	struct ct_remote *remote;
	pid_t pid;

	(void)state;
	memset(area, 'a', 4 * CT_PAGE_SIZE);
	munmap(area + 2 * CT_PAGE_SIZE, CT_PAGE_SIZE);
	pid = start_child(NULL, NULL);
	remote = ct_remote__open(pid);
	assert_non_null(remote);
	assert_int_equal(ct_remote__pid(remote), pid);
	assert_int_equal(ct_remote__read(remote, raddr(area), buf, sizeof(buf)), 2 * CT_PAGE_SIZE);
	assert_memory_equal(buf, area, 2 * CT_PAGE_SIZE);
	assert_int_equal(ct_remote__read(remote, raddr(area) + 8190, buf, 2), 2);
	assert_int_equal(ct_remote__read(remote, raddr(area) + 8192, buf, 2), -EFAULT);
	assert_int_equal(ct_remote__read(remote, 0, buf, 2), -EFAULT);
	assert_int_equal(ct_remote__read(remote, 1ull << 47, buf, 2), -EFAULT);
	assert_int_equal(ct_remote__read(remote, (1ull << 63) - 1, buf, 8), -EFAULT);
	assert_int_equal(ct_remote__read(remote, 1ull << 63, buf, 8), -EFAULT);
	assert_int_equal(ct_remote__read(remote, UINT64_MAX, buf, 8), -EFAULT);
	assert_int_equal(ct_remote__read(remote, raddr(area), buf, 0), 0);
	assert_null(ct_remote__page(remote, 0));
	assert_null(ct_remote__page(remote, UINT64_MAX));
	assert_null(ct_remote__page(remote, (1ull << 63) - 1));
	assert_null(ct_remote__page(remote, raddr(area) + 2 * CT_PAGE_SIZE));
	assert_memory_equal(ct_remote__page(remote, raddr(area) + 3 * CT_PAGE_SIZE + 17),
			    area + 3 * CT_PAGE_SIZE, CT_PAGE_SIZE);
	stop_child(pid);
	/* the memory is gone, and will never be another program's */
	assert_int_equal(ct_remote__read(remote, raddr(area), buf, 8), 0);
	ct_remote__renew(remote);
	assert_null(ct_remote__page(remote, raddr(area) + CT_PAGE_SIZE));
	assert_null(ct_remote__page(remote, raddr(area) + 3 * CT_PAGE_SIZE));
	ct_remote__close(remote);
	ct_remote__close(NULL);
	assert_null(ct_remote__open(pid));
	assert_int_equal(errno, ESRCH);
	munmap(area, 2 * CT_PAGE_SIZE);
	munmap(area + 3 * CT_PAGE_SIZE, CT_PAGE_SIZE);
}

/** More pages than the cache holds, in an order that fights over its places: all right. */
static void test_cache_content(void **state)
{
	enum { PAGES = 10000, ROUNDS = 60000 };
	char *area = map_pages(PAGES);
	struct ct_remote *remote;
	unsigned int seed = 7;
	pid_t pid;

	(void)state;
	for (size_t i = 0; i < PAGES; i++)
		memcpy(area + i * CT_PAGE_SIZE + 40, &i, sizeof(i));
	for (size_t i = 0; i < PAGES; i += 37) /* holes */
		munmap(area + i * CT_PAGE_SIZE, CT_PAGE_SIZE);
	pid = start_child(NULL, NULL);
	remote = ct_remote__open(pid);
	for (size_t round = 0; round < ROUNDS; round++) {
		size_t page = round < PAGES ? round : (size_t)rand_r(&seed) % PAGES, number;
		const char *bytes = ct_remote__page(remote, raddr(area) + page * CT_PAGE_SIZE + 5);

		assert_int_equal(bytes == NULL, page % 37 == 0);
		if (!bytes)
			continue;
		memcpy(&number, bytes + 40, sizeof(number));
		assert_int_equal(number, page);
	}
	ct_remote__close(remote);
	stop_child(pid);
	munmap(area, PAGES * CT_PAGE_SIZE);
}

static void test_renew(void **state)
{
	char *area =
		mmap(NULL, CT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct ct_remote *remote;
	pid_t pid;

	(void)state;
	assert_ptr_not_equal(area, MAP_FAILED);
	area[0] = 'a';
	pid = start_child(NULL, NULL);
	remote = ct_remote__open(pid);
	assert_int_equal(*(const char *)ct_remote__page(remote, raddr(area)), 'a');
	area[0] = 'b'; /* shared: the child's memory changes with it */
	assert_int_equal(*(const char *)ct_remote__page(remote, raddr(area)), 'a');
	ct_remote__renew(remote);
	assert_int_equal(*(const char *)ct_remote__page(remote, raddr(area)), 'b');
	ct_remote__close(remote);
	stop_child(pid);
	munmap(area, CT_PAGE_SIZE);
}

static void write_a_page(void *page)
{
	*(volatile char *)page = 'w';
}

/** After every page was read, by both ways, parent and child still share the very same ones. */
static void test_unshares_nothing(void **state)
{
	enum { PAGES = 5000, WRITTEN = 1234 };
	static uint64_t before[PAGES], parent[PAGES], child[PAGES];
	char *area = map_pages(PAGES), *buf = malloc(PAGES * CT_PAGE_SIZE);
	struct ct_remote *remote;
	size_t shared = 0;
	pid_t pid;

	(void)state;
	memset(area, 'x', PAGES * CT_PAGE_SIZE);
	read_pagemap(getpid(), area, before, PAGES);
	if (!(before[0] & PFN_MASK)) {
		print_message("skipped: page frame numbers need CAP_SYS_ADMIN\n");
		free(buf);
		munmap(area, PAGES * CT_PAGE_SIZE);
		skip();
	}
	/* the child writes one page itself: so the comparison below is seen to work */
	pid = start_child(write_a_page, area + WRITTEN * CT_PAGE_SIZE);
	remote = ct_remote__open(pid);
	assert_int_equal(ct_remote__read(remote, raddr(area), buf, PAGES * CT_PAGE_SIZE),
			 PAGES * CT_PAGE_SIZE);
	for (size_t i = 0; i < PAGES; i++)
		assert_non_null(ct_remote__page(remote, raddr(area) + i * CT_PAGE_SIZE));
	read_pagemap(getpid(), area, parent, PAGES);
	read_pagemap(pid, area, child, PAGES);
	for (size_t i = 0; i < PAGES; i++) {
		bool same = (parent[i] & PFN_MASK) == (child[i] & PFN_MASK);

		assert_int_equal(parent[i] & PFN_MASK, before[i] & PFN_MASK);
		assert_int_equal(same, i != WRITTEN);
		shared += same;
	}
	assert_int_equal(shared, PAGES - 1);
	ct_remote__close(remote);
	stop_child(pid);
	free(buf);
	munmap(area, PAGES * CT_PAGE_SIZE);
}

/** Pages that the target never touched are not mapped into it by reading their neighbours. */
static void test_populates_nothing(void **state)
{
	enum { PAGES = 256 };
	uint64_t before[PAGES], after[PAGES];
	char *area = map_pages(PAGES);
	struct ct_remote *remote;
	size_t touched = 0;
	pid_t pid;

	(void)state;
	for (size_t i = 0; i < PAGES; i += i % 3 + 1, touched++)
		area[i * CT_PAGE_SIZE] = 'x';
	pid = start_child(NULL, NULL);
	read_pagemap(pid, area, before, PAGES);
	remote = ct_remote__open(pid);
	for (size_t i = 0; i < PAGES; i++)
		if (before[i] & PRESENT)
			assert_non_null(ct_remote__page(remote, raddr(area) + i * CT_PAGE_SIZE));
	read_pagemap(pid, area, after, PAGES);
	for (size_t i = 0; i < PAGES; i++) {
		touched -= !!(before[i] & PRESENT);
		assert_int_equal(before[i] & PRESENT, after[i] & PRESENT);
	}
	assert_int_equal(touched, 0);
	ct_remote__close(remote);
	stop_child(pid);
	munmap(area, PAGES * CT_PAGE_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_cache_content),
		cmocka_unit_test(test_renew),
		cmocka_unit_test(test_unshares_nothing),
		cmocka_unit_test(test_populates_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
