/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* exec.c - exec, vfork and posix_spawn: the same pid with another memory, or another's memory. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "truth.h"

#define SELF "/proc/self/exe"

enum { EVENT_READY = 0, EVENT_LEAVE };

static char *buffer;
static char *image_argv[6], *no_env[] = { NULL };

static void write_all(struct truth *t, void *arg)
{
	(void)arg;
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_COPY, t->pages, t->pages + TRUTH_NOISE);
}

/* After exec: a new program with memory of its own, which forks and whose child writes. */
static void image(struct truth *t, const char *word)
{
	buffer = truth_buffer(t, t->pages);
	truth_range(t, buffer, (size_t)t->pages * TRUTH_PAGE, t->pages, t->pages);
	truth_wait(t, truth_fork(t, word, write_all, NULL));
}

static void become_image(struct truth *t, void *arg)
{
	(void)arg;
	truth_write(buffer, t->pages);
	truth_expect(t, TRUTH_COPY, t->pages, t->pages + TRUTH_NOISE);
	truth_image_argv(t, t->self, "after-exec", image_argv);
	truth_snapshot(t, -1);
	execve(SELF, image_argv, no_env);
	truth_fail(t, "execve: %s", strerror(errno));
}

static void exec_after_write(struct truth *t)
{
	buffer = truth_buffer(t, t->pages);
	truth_range(t, buffer, (size_t)t->pages * TRUTH_PAGE, t->pages, t->pages);
	truth_wait(t, truth_fork(t, "child", become_image, NULL));
}

static void hold(struct truth *t, void *arg)
{
	(void)arg;
	truth_signal(t, EVENT_READY);
	truth_await(t, EVENT_LEAVE, 1);
}

/* In a function of its own: what the vfork child does to locals is its parent's business too. */
static __attribute__((noinline)) pid_t vfork_image(long pages_to_write)
{
	pid_t pid = vfork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		truth_write(buffer, pages_to_write);
		execve(SELF, image_argv, no_env);
		_exit(1);
	}
	return pid;
}

static void vfork_exec(struct truth *t)
{
	buffer = truth_buffer(t, t->pages);
	truth_image_argv(t, truth_slot_new(t, "vforked"), "after-vfork", image_argv);
	truth_wait(t, vfork_image(0));
}

/* The vfork child writes its parent's pages, which a third process shares: the parent's copies,
 * though taskstats counts them for the child. */
static void vfork_writes(struct truth *t)
{
	pid_t holder, pid;
	int slot;

	buffer = truth_buffer(t, t->pages);
	truth_range(t, buffer, (size_t)t->pages * TRUTH_PAGE, t->pages, t->pages);
	holder = truth_fork(t, "holder", hold, NULL);
	truth_await(t, EVENT_READY, 1);
	slot = truth_slot_new(t, "vforked");
	truth_image_argv(t, slot, "after-vfork", image_argv);
	truth_snapshot(t, -1); /* pages of code and stack become the subject's own before */
	truth_foreign(t, slot, t->self, t->pages, false);
	pid = vfork_image(t->pages);
	truth_wait(t, pid);
	truth_signal(t, EVENT_LEAVE);
	truth_wait(t, holder);
	truth_expect(t, TRUTH_COPY, t->pages, t->pages + TRUTH_NOISE);
}

static void spawn(struct truth *t)
{
	pid_t pid;
	int err;

	truth_image_argv(t, truth_slot_new(t, "spawned"), "after-spawn", image_argv);
	err = posix_spawn(&pid, SELF, NULL, NULL, image_argv, no_env);
	if (err)
		truth_fail(t, "posix_spawn: %s", strerror(err));
	truth_wait(t, pid);
}

static const struct truth_case cases[] = {
	{ "exec", "N copies, exec, then a child of the new image: N", exec_after_write, false },
	{ "vfork_exec", "vfork and exec, then a child: N", vfork_exec, false },
	{ "vfork_writes", "a vfork child writes its parent's pages: N + N", vfork_writes, false },
	{ "posix_spawn", "posix_spawn, then a child: N", spawn, false },
};

int main(int argc, char **argv)
{
	static const struct truth_program program = { "exec", cases, TRUTH_ARRAY_LEN(cases),
						      image };

	return truth_main(argc, argv, &program);
}
