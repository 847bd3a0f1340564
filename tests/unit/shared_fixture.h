/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* shared_fixture.h - for the tests of shared arrays: names of our own, children, /dev/shm. */
#ifndef SHARED_FIXTURE_H
#define SHARED_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gcheap/shared.h"

/** A name that no other test has: it carries our pid. Valid until the next call. */
static inline const char *own_name(const char *what)
{
	static char name[64];

	snprintf(name, sizeof(name), "test.%s.%d", what, (int)getpid());
	return name;
}

static inline const char *file_of(const char *name)
{
	static char path[300];

	snprintf(path, sizeof(path), "/dev/shm/gcheap.%s", name);
	return path;
}

static inline bool there(const char *name)
{
	return access(file_of(name), F_OK) == 0;
}

static inline void sleep_ms(int ms)
{
	struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&pause, NULL);
}

/** Wait until the guard has removed @name. Return: false after 10 s. */
static inline bool gone_soon(const char *name)
{
	for (int i = 0; i < 10000; i++) {
		if (!there(name))
			return true;
		sleep_ms(1);
	}
	return false;
}

/** Run @fn(@arg) in a child. */
static inline pid_t run_child(int (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves none behind */
		_exit(fn(arg));
	}
	return pid;
}

/** Its exit status, or 128 + its signal. */
static inline int end_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* A step between processes: one waits for the other's byte. */
static inline void tell(int fd)
{
	if (write(fd, "x", 1) != 1)
		_exit(99);
}

static inline bool await(int fd)
{
	char byte;

	return read(fd, &byte, 1) == 1;
}

#endif /* SHARED_FIXTURE_H */
