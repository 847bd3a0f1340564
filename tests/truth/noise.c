/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* noise.c - write faults on present pages that copy nothing: protection games of the program. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "truth.h"

static char *buffer;
static size_t len_bytes;
static struct truth *self;

static void own_buffer(struct truth *t)
{
	self = t;
	len_bytes = (size_t)t->pages * TRUTH_PAGE;
	buffer = truth_buffer(t, t->pages);
	truth_range(t, buffer, len_bytes, 0, truth_slack_old());
}

/* ---- mprotect ---- */

static void mprotect_rounds(struct truth *t, void *arg)
{
	(void)arg;
	own_buffer(t);
	for (int round = 0; round < 3; round++) {
		if (mprotect(buffer, len_bytes, PROT_READ) ||
		    mprotect(buffer, len_bytes, PROT_READ | PROT_WRITE))
			truth_fail(t, "mprotect: %s", strerror(errno));
		truth_write(buffer, t->pages);
	}
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
}

static void mprotect_noise(struct truth *t)
{
	truth_wait(t, truth_fork(t, "child", mprotect_rounds, NULL));
}

/* ---- SIGSEGV as a write barrier; its handler has the kernel allocate page cache ---- */

static int cold_fd, new_fd;
static long next_page;

static void on_segv(int signal_no, siginfo_t *info, void *context)
{
	char *page = (char *)((uintptr_t)info->si_addr & ~(TRUTH_PAGE - 1));
	off_t at = next_page++ * (off_t)TRUTH_PAGE;
	static char room[TRUTH_PAGE];

	(void)signal_no;
	(void)context;
	if (page < buffer || page >= buffer + len_bytes ||
	    pread(cold_fd, room, sizeof(room), at) != (ssize_t)sizeof(room) ||
	    pwrite(new_fd, room, sizeof(room), at) != (ssize_t)sizeof(room) ||
	    mprotect(page, TRUTH_PAGE, PROT_READ | PROT_WRITE))
		truth_fail(self, "write barrier: %s", strerror(errno));
}

static void barrier_rounds(struct truth *t, void *arg)
{
	struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };

	(void)arg;
	own_buffer(t);
	sigaction(SIGSEGV, &action, NULL);
	if (mprotect(buffer, len_bytes, PROT_READ))
		truth_fail(t, "mprotect: %s", strerror(errno));
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
}

static void sigsegv_reads(struct truth *t)
{
	cold_fd = truth_file(t, t->pages);
	truth_file_cold(cold_fd);
	new_fd = truth_file(t, 1);
	truth_wait(t, truth_fork(t, "child", barrier_rounds, NULL));
}

/* ---- userfaultfd ---- */

static int uffd = -1;

static void protect(struct truth *t, void *start, size_t len, uint64_t mode)
{
	struct uffdio_writeprotect wp = { .range = { (uintptr_t)start, len }, .mode = mode };

	if (ioctl(uffd, UFFDIO_WRITEPROTECT, &wp))
		truth_fail(t, "UFFDIO_WRITEPROTECT: %s", strerror(errno));
}

static void *unprotect_pages(void *arg)
{
	struct truth *t = arg;

	for (long i = 0; i < t->pages; i++) {
		struct uffd_msg msg;

		if (read(uffd, &msg, sizeof(msg)) != (ssize_t)sizeof(msg) ||
		    msg.event != UFFD_EVENT_PAGEFAULT)
			truth_fail(t, "userfaultfd: read: %s", strerror(errno));
		protect(t,
			(void *)(uintptr_t)(msg.arg.pagefault.address &
					    ~(uint64_t)(TRUTH_PAGE - 1)),
			TRUTH_PAGE, 0);
	}
	return NULL;
}

static void uffd_open(struct truth *t)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	struct uffdio_register area = { .range = { (uintptr_t)buffer, len_bytes },
					.mode = UFFDIO_REGISTER_MODE_WP };

	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uffd < 0)
		truth_skip(t, "userfaultfd: %s", strerror(errno));
	if (ioctl(uffd, UFFDIO_API, &api))
		truth_skip(t, "userfaultfd has no write protection: %s", strerror(errno));
	if (ioctl(uffd, UFFDIO_REGISTER, &area))
		truth_fail(t, "UFFDIO_REGISTER: %s", strerror(errno));
}

static void uffd_rounds(struct truth *t, void *arg)
{
	pthread_t thread;
	int err;

	(void)arg;
	own_buffer(t);
	uffd_open(t);
	protect(t, buffer, len_bytes, UFFDIO_WRITEPROTECT_MODE_WP);
	err = pthread_create(&thread, NULL, unprotect_pages, t);
	if (err)
		truth_fail(t, "pthread_create: %s", strerror(err));
	truth_write(buffer, t->pages);
	pthread_join(thread, NULL);
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
	truth_races(t, 8);
}

static void uffd_wp(struct truth *t)
{
	truth_wait(t, truth_fork(t, "child", uffd_rounds, NULL));
}

/* ---- soft-dirty: every page is write-protected behind the program's back ---- */

static void dirty_rounds(struct truth *t, void *arg)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	(void)arg;
	if (fd < 0)
		truth_skip(t, "clear_refs: %s", strerror(errno));
	own_buffer(t);
	for (int round = 0; round < 3; round++) {
		if (write(fd, "4", 1) != 1)
			truth_skip(t, "clear_refs: %s", strerror(errno));
		truth_write(buffer, t->pages);
	}
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
}

static void soft_dirty(struct truth *t)
{
	truth_wait(t, truth_fork(t, "child", dirty_rounds, NULL));
}

/* ---- memory shared on purpose ---- */

static void write_shared(struct truth *t, void *arg)
{
	(void)arg;
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_COPY, 0, TRUTH_NOISE);
}

static void shared_memory(struct truth *t)
{
	len_bytes = (size_t)t->pages * TRUTH_PAGE;
	buffer = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED)
		truth_fail(t, "mmap: %s", strerror(errno));
	truth_write(buffer, t->pages);
	truth_range(t, buffer, len_bytes, 0, 0);
	truth_wait(t, truth_fork(t, "child", write_shared, NULL));
}

static const struct truth_case cases[] = {
	{ "mprotect", "made read-only and writable again, then written: 0", mprotect_noise, false },
	{ "sigsegv_reads", "SIGSEGV write barrier that reads files: 0", sigsegv_reads, false },
	{ "uffd_wp", "userfaultfd write protection: 0", uffd_wp, false },
	{ "soft_dirty", "soft-dirty tracking by /proc/PID/clear_refs: 0", soft_dirty, false },
	{ "shared_memory", "a MAP_SHARED buffer: 0", shared_memory, false },
};

int main(int argc, char **argv)
{
	static const struct truth_program program = { "noise", cases, TRUTH_ARRAY_LEN(cases),
						      NULL };

	return truth_main(argc, argv, &program);
}
