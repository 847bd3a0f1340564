/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* shared_lock.c - the lock among processes, which outlives a holder that dies; and the words for
 * what can go wrong. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "shared_internal.h"

int gcheap_shared_lock_init(struct gcheap_shared_head *head)
{
	pthread_mutexattr_t how;
	int error = pthread_mutexattr_init(&how);

	if (error)
		return -error;
	pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_settype(&how, PTHREAD_MUTEX_ERRORCHECK);
	error = pthread_mutex_init(&head->lock, &how);
	pthread_mutexattr_destroy(&how);
	return -error;
}

static int wait_lock(pthread_mutex_t *lock, int timeout_ms)
{
	struct timespec until;

	if (timeout_ms < 0)
		return pthread_mutex_lock(lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	return pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, &until);
}

int gcheap_shared_lock(struct gcheap_shared *shared, int timeout_ms)
{
	int error;

	if (shared->read_only)
		return -EROFS;
	error = wait_lock(&shared->head->lock, timeout_ms);
	if (error != EOWNERDEAD)
		return -error;
	error = pthread_mutex_consistent(&shared->head->lock);
	if (error) {
		pthread_mutex_unlock(&shared->head->lock);
		return -error;
	}
	__atomic_add_fetch(&shared->head->recovered, 1, __ATOMIC_RELAXED);
	return GCHEAP_SHARED_RECOVERED;
}

int gcheap_shared_unlock(struct gcheap_shared *shared)
{
	return shared->read_only ? -EROFS : -pthread_mutex_unlock(&shared->head->lock);
}

unsigned gcheap_shared_recovered(const struct gcheap_shared *shared)
{
	return __atomic_load_n(&shared->head->recovered, __ATOMIC_RELAXED);
}

const char *gcheap_shared_message(int error)
{
	static const struct {
		int error;
		const char *text;
	} messages[] = {
		{ EINVAL, "not a valid name, type code, length or flag" },
		{ ENAMETOOLONG, "the name is longer than 200 characters" },
		{ EOVERFLOW, "so many elements do not fit into an address space" },
		{ EEXIST, "living processes use an array of this name" },
		{ ENOENT, "there is no array of this name" },
		{ EBADMSG, "the file is no shared array, or its head is damaged" },
		{ ENODATA, "the file is shorter than its head says: somebody cut it" },
		{ EPROTOTYPE, "the elements are of another type" },
		{ EPROTONOSUPPORT, "the array was made by another version or another libc" },
		{ EACCES, "the array belongs to another user, or its mode forbids it" },
		{ ENOSPC, "/dev/shm is full" },
		{ ENOMEM, "more memory than there is" },
		{ EROFS, "the array is attached for reading only" },
		{ ENXIO, "there is no element of this index" },
		{ ERANGE, "the value does not fit" },
		{ ENOBUFS, "the slot or buffer is too small for the value" },
		{ EDEADLK, "this thread has the lock already" },
		{ EPERM, "this thread does not have the lock" },
		{ ETIMEDOUT, "the lock was not free in time" },
		{ EOWNERDEAD, "a process died while it changed this slot; set it anew" },
		{ ENOTRECOVERABLE, "the lock was given up by a holder that did not recover it" },
		{ EBUSY, "somebody else holds an exclusive lock on the file" },
		{ ECHILD, "the guard process could not be started" },
		{ EBADF, "not an open file descriptor" },
	};

	if (error == GCHEAP_SHARED_RECOVERED)
		return "the last holder of the lock died with it";
	if (!error)
		return "no error";
	if (error > 0 || error < -4095)
		return "no error of this library";
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		if (messages[i].error == -error)
			return messages[i].text;
	}
	return strerror(-error);
}
