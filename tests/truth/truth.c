/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * truth.c - the family of truth.h: the shared mapping, the supervisor that serves its requests,
 * and what the cases are made of.
 *
 * A process that wants to be looked at writes a request into its slot, rings the bell and sleeps
 * on a futex of the slot; nothing of that is private memory, so asking changes nothing.
 */
#include "truth.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "truth_shared.h"

static pid_t truth_tid; /* the kernel writes it in every new child: a copy before its first step */

/* ---- futexes ---- */

static void futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *timeout)
{
	syscall(SYS_futex, word, FUTEX_WAIT, value, timeout, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

void truth_signal(struct truth *t, int event)
{
	atomic_fetch_add(&t->shared->event[event], 1);
	futex_wake(&t->shared->event[event]);
}

void truth_await(struct truth *t, int event, uint32_t value)
{
	uint32_t now;

	while ((now = atomic_load(&t->shared->event[event])) < value)
		futex_wait(&t->shared->event[event], now, NULL);
}

_Atomic uint64_t *truth_counter(struct truth *t, int i)
{
	return &t->shared->counter[i];
}

void truth_meet(struct truth *t, int event, uint32_t parties, uint32_t round)
{
	_Atomic uint32_t *word = &t->shared->event[event];
	uint32_t all = parties * (round + 1), now = atomic_fetch_add(word, 1) + 1;

	if (now == all)
		futex_wake(word);
	/* Spin first: who sleeps comes too late for a race. */
	for (int spins = 0; (now = atomic_load(word)) < all; spins++)
		if (spins > 500)
			futex_wait(word, now, NULL);
}

/* ---- requests ---- */

static struct truth_slot *slot_of(const struct truth *t)
{
	return &t->shared->slots[t->self];
}

/*
 * What is written while we are looked at, or from then until fork or exit, must be our own memory
 * already: some stack below; errno, which a futex that need not wait sets; and the restartable
 * sequence area of libc, where the kernel notes the processor whenever it has run another task.
 */
static __attribute__((noinline)) void own_what_follows(void)
{
	volatile char room[TRUTH_PAGE];
	volatile uint64_t *rseq_cs;

	for (size_t i = 0; i < sizeof(room); i += 512)
		room[i] = 0;
	errno = 0;
	rseq_cs = (void *)((char *)__builtin_thread_pointer() + __rseq_offset + 8);
	*rseq_cs = 0; /* as it is outside of such a sequence */
}

static void ask(struct truth *t, enum truth_request request, int argument)
{
	struct truth_slot *slot = slot_of(t);
	uint32_t before = atomic_load(&slot->answer);

	own_what_follows();
	slot->argument = argument;
	atomic_store(&slot->request, request);
	atomic_fetch_add(&t->shared->bell, 1);
	futex_wake(&t->shared->bell);
	while (atomic_load(&slot->answer) == before)
		futex_wait(&slot->answer, before, NULL);
}

void truth_snapshot(struct truth *t, int child)
{
	ask(t, TRUTH_ASK_SNAPSHOT, child);
}

void truth_report(struct truth *t, const char *phase)
{
	snprintf(t->shared->phase, sizeof(t->shared->phase), "%s", phase);
	ask(t, TRUTH_ASK_REPORT, 0);
}

_Noreturn void truth_end(struct truth *t)
{
	ask(t, TRUTH_ASK_END, 0);
	for (;;) /* not _exit: binding that symbol would write to a page of ours */
		syscall(SYS_exit_group, 0);
}

static _Noreturn void stop(struct truth *t, int status, const char *format, va_list args)
{
	vsnprintf(t->shared->reason, sizeof(t->shared->reason), format, args);
	_exit(status);
}

_Noreturn void truth_fail(struct truth *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	stop(t, 1, format, args);
}

_Noreturn void truth_skip(struct truth *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	stop(t, TRUTH_SKIP, format, args);
}

/* ---- processes ---- */

int truth_slot_new(struct truth *t, const char *role)
{
	int slot = (int)atomic_fetch_add(&t->shared->n_slots, 1);

	if (slot >= TRUTH_SLOTS)
		truth_fail(t, "more than %d processes", TRUTH_SLOTS);
	snprintf(t->shared->slots[slot].role, sizeof(t->shared->slots[slot].role), "%s", role);
	t->shared->slots[slot].parent = t->self;
	t->shared->last_slot = slot;
	return slot;
}

int truth_last_slot(const struct truth *t)
{
	return t->shared->last_slot;
}

pid_t truth_pid(const struct truth *t, int slot)
{
	return t->shared->slots[slot].pid;
}

void truth_become(struct truth *t, int slot)
{
	t->self = slot;
	t->shared->slots[slot].pid = (pid_t)syscall(SYS_getpid);
}

/* fork without libc's own writes to its locks, which would come between snapshot and fork. */
static pid_t plain_fork(void)
{
	struct clone_args args = { .flags = CLONE_CHILD_SETTID,
				   .exit_signal = SIGCHLD,
				   .child_tid = (uint64_t)(uintptr_t)&truth_tid };

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

pid_t truth_fork(struct truth *t, const char *role, truth_fn fn, void *arg)
{
	int slot = truth_slot_new(t, role);
	pid_t pid;

	truth_snapshot(t, slot);
	pid = plain_fork();
	if (pid < 0)
		truth_fail(t, "fork: %s", strerror(errno));
	if (pid == 0) {
		truth_become(t, slot);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn(t, arg);
		truth_end(t);
	}
	t->shared->slots[slot].pid = pid;
	return pid;
}

pid_t truth_fork_plain(struct truth *t, truth_fn fn, void *arg)
{
	pid_t pid = plain_fork();

	if (pid < 0)
		truth_fail(t, "fork: %s", strerror(errno));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn(t, arg);
		_exit(0);
	}
	return pid;
}

void truth_image_argv(struct truth *t, int slot, const char *word, char *argv[6])
{
	/* Static: a caller between vfork and exec must not need an allocator. */
	static char fd_text[16], slot_text[16], word_text[32];

	snprintf(fd_text, sizeof(fd_text), "%d", t->shared_fd);
	snprintf(slot_text, sizeof(slot_text), "%d", slot);
	snprintf(word_text, sizeof(word_text), "%s", word);
	argv[0] = (char *)"truth";
	argv[1] = (char *)TRUTH_IMAGE_OPTION;
	argv[2] = fd_text;
	argv[3] = slot_text;
	argv[4] = word_text;
	argv[5] = NULL;
}

void truth_wait(struct truth *t, pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			truth_fail(t, "waitpid: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status)); /* it has said why */
	truth_fail(t, "process %d died of signal %d", pid, WTERMSIG(status));
}

void truth_wait_dead(struct truth *t, pid_t pid, int slot, bool threads)
{
	siginfo_t info;

	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0)
		if (errno != EINTR)
			truth_fail(t, "waitid: %s", strerror(errno));
	t->shared->slots[slot].dead_threads = threads;
	ask(t, TRUTH_ASK_ZOMBIE, slot);
	waitpid(pid, NULL, 0);
}

/* ---- expectations ---- */

void truth_expect_of(struct truth *t, int slot, enum truth_kind kind, int64_t lo, int64_t hi)
{
	t->shared->slots[slot].expect[kind] =
		(struct truth_expectation){ .known = true, .lo = lo, .hi = hi };
}

void truth_expect(struct truth *t, enum truth_kind kind, int64_t lo, int64_t hi)
{
	truth_expect_of(t, t->self, kind, lo, hi);
}

int truth_range(struct truth *t, const void *start, size_t len_bytes, int64_t lo, int64_t hi)
{
	struct truth_shared *s = t->shared;
	int r = s->n_ranges;

	if (r == TRUTH_RANGES)
		truth_fail(t, "more than %d ranges", TRUTH_RANGES);
	s->ranges[r].start = (uint64_t)(uintptr_t)start;
	s->ranges[r].end = s->ranges[r].start + len_bytes;
	s->n_ranges = r + 1;
	truth_range_set(t, r, lo, hi);
	return r;
}

void truth_range_set(struct truth *t, int range, int64_t lo, int64_t hi)
{
	t->shared->range_expect[range] =
		(struct truth_expectation){ .known = true, .lo = lo, .hi = hi };
}

void truth_unmapped(struct truth *t, int range, int64_t copies)
{
	slot_of(t)->unmapped += copies;
	if (range >= 0)
		atomic_fetch_add(&t->shared->range_unmapped[range], copies);
}

void truth_foreign(struct truth *t, int writer, int target, int64_t copies, bool by_kernel)
{
	t->shared->slots[writer].wpcopy_adjust -= copies;
	t->shared->slots[target].wpcopy_adjust += copies;
	if (by_kernel)
		t->shared->slots[target].foreign += copies;
}

void truth_wpcopy_adjust(struct truth *t, int64_t by)
{
	slot_of(t)->wpcopy_adjust += by;
}

void truth_races(struct truth *t, int64_t extra)
{
	slot_of(t)->wpcopy_extra += extra;
}

void truth_gup(struct truth *t, int64_t copies)
{
	slot_of(t)->foreign += copies;
}

void truth_pages_unknown(struct truth *t)
{
	slot_of(t)->pages_unknown = true;
}

bool truth_kernel_at_least(unsigned int major, unsigned int minor)
{
	unsigned int is_major = 0, is_minor = 0;
	struct utsname u;

	if (uname(&u) || sscanf(u.release, "%u.%u", &is_major, &is_minor) != 2)
		return false;
	return is_major > major || (is_major == major && is_minor >= minor);
}

int64_t truth_slack_old(void)
{
	return truth_kernel_at_least(5, 15) ? 0 : 16;
}

/* ---- memory ---- */

char *truth_map(struct truth *t, long pages)
{
	char *p = mmap(NULL, (size_t)pages * TRUTH_PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		truth_fail(t, "mmap of %ld pages: %s", pages, strerror(errno));
	madvise(p, (size_t)pages * TRUTH_PAGE, MADV_NOHUGEPAGE);
	return p;
}

/*
 * Fresh pages wait in a list of their processor before they join the kernel's LRU lists; while
 * they do, the kernel may copy a page for its only owner when that runs elsewhere. So the fill
 * stays on one processor, and some more pages push the last of ours out of the list.
 */
char *truth_buffer(struct truth *t, long pages)
{
	char *p = truth_map(t, pages), *more = truth_map(t, 128);
	cpu_set_t before, here;

	bool pinned = sched_getaffinity(0, sizeof(before), &before) == 0;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	if (pinned)
		sched_setaffinity(0, sizeof(here), &here);
	/* Each page different, so that KSM on this machine merges none by itself. */
	for (long i = 0; i < pages; i++)
		memcpy(p + (size_t)i * TRUTH_PAGE, &i, sizeof(i));
	truth_write(more, 128);
	if (pinned)
		sched_setaffinity(0, sizeof(before), &before);
	munmap(more, 128 * TRUTH_PAGE);
	return p;
}

void truth_write(volatile char *p, long pages)
{
	for (long i = 0; i < pages; i++)
		p[(size_t)i * TRUTH_PAGE + 100] = 1; /* a store only: nothing is read before */
}

void truth_read(const volatile char *p, long pages)
{
	for (long i = 0; i < pages; i++)
		(void)p[(size_t)i * TRUTH_PAGE];
}

int truth_file(struct truth *t, long pages)
{
	const char *dir = getenv("TMPDIR");
	static char page[TRUTH_PAGE], path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/truth-XXXXXX", dir && *dir ? dir : "/tmp");
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		truth_fail(t, "%s: %s", path, strerror(errno));
	unlink(path);
	for (long i = 0; i < pages; i++) {
		memset(page, 'a' + (int)(i % 23), sizeof(page));
		if (write(fd, page, sizeof(page)) != (ssize_t)sizeof(page))
			truth_fail(t, "%s: write: %s", path, strerror(errno));
	}
	return fd;
}

void truth_file_cold(int fd)
{
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
}

int truth_sysctl(struct truth *t, const char *path, const char *value)
{
	return truth_settings__write(&t->shared->settings, path, value);
}

/* ---- where processes begin ---- */

static void run_subject(struct truth *t, void *arg)
{
	const struct truth_case *c = arg;

	c->run(t);
}

_Noreturn void truth_run_stem(struct truth *t, const struct truth_case *c)
{
	truth_become(t, truth_slot_new(t, "stem"));
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	truth_wait(t, truth_fork(t, "subject", run_subject, (void *)(uintptr_t)c));
	truth_end(t);
}

_Noreturn void truth_run_image(const struct truth_program *program, char **argv)
{
	struct truth t = { .shared_fd = atoi(argv[2]) };

	t.shared =
		mmap(NULL, sizeof(*t.shared), PROT_READ | PROT_WRITE, MAP_SHARED, t.shared_fd, 0);
	if (t.shared == MAP_FAILED || !program->image)
		_exit(1);
	t.pages = (long)atomic_load(truth_counter(&t, 0));
	truth_become(&t, atoi(argv[3]));
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ask(&t, TRUTH_ASK_FORGET, 0);
	program->image(&t, argv[4]);
	truth_end(&t);
}
