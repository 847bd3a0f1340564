/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * shared_guard.c - removing names that nobody uses any more.
 *
 * The guard of a name is a process that asks for the file's lock alone, gets it when the last
 * process that shares it has closed the file or died (the kernel sees to that, kill -9 or not),
 * and removes the name. It has its own session and blocks all signals, so that a terminal's or a
 * kill of the process group spares it. Where it dies too (a cgroup's end), the sweep in the next
 * create asks for the same lock without waiting.
 *
 * It is forked and not executed, as a library has no program to execute. But a fork
 * write-protects the memory of the creator, who would then copy every page it writes for as long
 * as the guard lives: a strange thing to do in a library against that. So the guard lets go of the
 * inherited memory, and the creator waits until it has. After that it may not touch libc's or the
 * dynamic linker's data: all it does is system calls.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared_internal.h"

#define SWEEP_ENTRIES 65536	  /* of the folder, at most, in a sweep */
#define SHED_BYTES    (128 << 10) /* smaller mappings are not worth it */

/* Of functions that run without the memory: a sanitizer's bookkeeping is gone with it. */
#define BARE __attribute__((no_sanitize("address", "undefined"), noinline))

struct guard {
	int fd;	   /* its own open file: the lock that it waits for is not shared with anybody */
	int ready; /* a pipe's end: a byte when it waits */
	char path[SHARED_PATH_MAX];
};

/* ---- the memory it doesn't need ---- */

struct area {
	unsigned long start, end, inode;
	char perms[5];
};

static BARE const char *parse_number(const char *at, const char *end, unsigned base,
				     unsigned long *out)
{
	for (*out = 0; at < end; at++) {
		unsigned digit = *at >= 'a' ? (unsigned)(*at - 'a') + 10 : (unsigned)(*at - '0');

		if (digit >= base)
			break;
		*out = *out * base + digit;
	}
	return at < end ? at + 1 : end; /* behind the separator */
}

/* "start-end perms offset device inode path" */
static BARE void parse_area(const char *line, const char *end, struct area *area)
{
	unsigned long skipped;

	line = parse_number(line, end, 16, &area->start);
	line = parse_number(line, end, 16, &area->end);
	for (int i = 0; i < 4 && line < end; i++)
		area->perms[i] = *line++;
	line = line < end ? line + 1 : end;
	line = parse_number(line, end, 16, &skipped); /* offset */
	line = parse_number(line, end, 16, &skipped); /* device, in two parts */
	line = parse_number(line, end, 16, &skipped);
	parse_number(line, end, 10, &area->inode);
}

static BARE bool holds(const struct area *area, const void *address)
{
	return (unsigned long)address >= area->start && (unsigned long)address < area->end;
}

/* Shared memory, which keeps its file open and so its lock held; and what is private, writable, of
 * no file, and not what we stand on: the stack (a sanitizer keeps locals elsewhere) and the
 * thread's own data. */
static BARE void shed_area(const struct area *area, const void *local)
{
	if (area->perms[3] == 's') {
		syscall(SYS_munmap, area->start, area->end - area->start);
		return;
	}
	if (area->inode || area->perms[1] != 'w' || area->perms[3] != 'p' ||
	    area->end - area->start < SHED_BYTES)
		return;
	if (holds(area, local) || holds(area, __builtin_frame_address(0)) || holds(area, &errno))
		return;
	syscall(SYS_madvise, area->start, area->end - area->start, MADV_DONTNEED);
}

static BARE bool shed_memory(const void *local)
{
	char text[4096];
	long kept = 0, got;
	long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	while ((got = syscall(SYS_read, fd, text + kept, sizeof(text) - (size_t)kept)) > 0) {
		long end = kept + got, line = 0;

		for (long i = kept; i < end; i++) {
			struct area area = { 0 };

			if (text[i] != '\n')
				continue;
			parse_area(text + line, text + i, &area);
			shed_area(&area, local);
			line = i + 1;
		}
		kept = end - line < (long)sizeof(text) ? end - line : 0;
		for (long i = 0; i < kept; i++)
			text[i] = text[line + i];
	}
	syscall(SYS_close, fd);
	return got == 0;
}

/* ---- its life ---- */

static BARE void close_but(int fd, int ready)
{
	unsigned low = (unsigned)(fd < ready ? fd : ready),
		 high = (unsigned)(fd < ready ? ready : fd);
	unsigned gaps[3][2] = { { 0, low - 1 }, { low + 1, high - 1 }, { high + 1, ~0u } };

	for (int i = 0; i < 3; i++) {
		if (gaps[i][0] > gaps[i][1] || (i == 0 && !low))
			continue;
		if (syscall(SYS_close_range, gaps[i][0], gaps[i][1], 0) == 0)
			continue;
		for (unsigned k = gaps[i][0]; k <= gaps[i][1] && k < 65536; k++)
			syscall(SYS_close, k); /* before Linux 5.9 */
	}
}

static BARE bool same_file(int fd, const char *path)
{
	struct statx ours, theirs;

	return syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_INO, &ours) == 0 &&
	       syscall(SYS_statx, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_INO, &theirs) == 0 &&
	       ours.stx_ino == theirs.stx_ino && ours.stx_dev_major == theirs.stx_dev_major &&
	       ours.stx_dev_minor == theirs.stx_dev_minor;
}

static BARE _Noreturn void guard_main(struct guard *guard)
{
	static const char name[] = "gcheap-guard";
	char byte = 1;

	close_but(guard->fd, guard->ready);
	syscall(SYS_setsid);
	syscall(SYS_chdir, "/");
	syscall(SYS_prctl, PR_SET_NAME, name, 0, 0, 0);
	if (shed_memory(guard))
		syscall(SYS_write, guard->ready, &byte, 1);
	else
		syscall(SYS_exit_group, 1);
	syscall(SYS_close, guard->ready);
	while (syscall(SYS_flock, guard->fd, LOCK_EX) && errno == EINTR)
		;
	/* Nobody has the file open now, and who removes its name must hold its lock as we do. */
	if (same_file(guard->fd, guard->path))
		syscall(SYS_unlinkat, AT_FDCWD, guard->path, 0);
	for (;;)
		syscall(SYS_exit_group, 0);
}

/* Not fork(): no handlers of the program's are run, and without SIGCHLD as its signal a process
 * is none that the program's wait() could find. */
static long fork_quietly(void)
{
	return syscall(SYS_clone, 0, NULL, NULL, NULL, 0);
}

static int start(struct guard *guard, int ready_end)
{
	long pid = fork_quietly();
	char byte;
	ssize_t got;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		/* fork again, so that the guard is init's child and needs no wait by anybody */
		pid = fork_quietly();
		if (pid == 0)
			guard_main(guard);
		for (;;)
			syscall(SYS_exit_group, 0);
	}
	close(guard->ready);
	guard->ready = -1;
	while (waitpid((pid_t)pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	do
		got = read(ready_end, &byte, 1);
	while (got < 0 && errno == EINTR);
	return got == 1 ? 0 : -ECHILD;
}

int gcheap_shared_guard_start(int fd, const char *path)
{
	struct guard guard = { .fd = -1, .ready = -1 };
	char link[32];
	int ends[2], error;
	sigset_t all, before;

	snprintf(guard.path, sizeof(guard.path), "%s", path);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	guard.fd = open(link, O_RDONLY | O_CLOEXEC);
	if (guard.fd < 0)
		return -errno;
	if (pipe2(ends, O_CLOEXEC)) {
		error = -errno;
		close(guard.fd);
		return error;
	}
	guard.ready = ends[1];
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = start(&guard, ends[0]);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (guard.ready >= 0)
		close(guard.ready);
	close(ends[0]);
	close(guard.fd);
	return error;
}

/* ---- names by hand ---- */

int gcheap_shared_unlink(const char *name)
{
	char path[SHARED_PATH_MAX], magic[sizeof(SHARED_MAGIC) - 1];
	int fd, error = gcheap_shared_path(name, path);

	if (error)
		return error;
	fd = gcheap_shared_open_path(path, O_RDONLY);
	if (fd < 0)
		return fd;
	/* one cut short is still ours to remove; a file of somebody else's program is not */
	ssize_t got = pread(fd, magic, sizeof(magic), 0);

	if (got < 0 || memcmp(magic, SHARED_MAGIC, (size_t)got) != 0)
		error = -EBADMSG;
	else if (!same_file(fd, path))
		error = -ENOENT;
	else if (unlink(path))
		error = -errno;
	close(fd);
	return error;
}

/* Is it a segment of ours, of this user, that nobody has open? Then its name goes. */
static bool sweep_entry(int folder, const char *name)
{
	char magic[sizeof(SHARED_MAGIC) - 1];
	struct stat st, now;
	bool gone = false;
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	    pread(fd, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
	    memcmp(magic, SHARED_MAGIC, sizeof(magic)) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
	    fstatat(folder, name, &now, AT_SYMLINK_NOFOLLOW) == 0 && now.st_ino == st.st_ino &&
	    now.st_dev == st.st_dev)
		gone = unlinkat(folder, name, 0) == 0;
	close(fd);
	return gone;
}

size_t gcheap_shared_sweep(void)
{
	DIR *folder = opendir(SHARED_FOLDER);
	struct dirent *entry;
	size_t swept = 0, seen = 0;

	if (!folder)
		return 0;
	while ((entry = readdir(folder)) && seen++ < SWEEP_ENTRIES) {
		if (strncmp(entry->d_name, SHARED_PREFIX, sizeof(SHARED_PREFIX) - 1) == 0)
			swept += sweep_entry(dirfd(folder), entry->d_name);
	}
	closedir(folder);
	return swept;
}
