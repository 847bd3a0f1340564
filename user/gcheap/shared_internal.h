/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * shared_internal.h - the memory behind shared.h.
 *
 *   page 0               head: what it is, the lock
 *   from data_offset on  elements; of a list: slots, then their texts
 *
 * Whoever may write the file can write nonsense: a process checks the head once and from then on
 * believes its own copy in struct gcheap_shared.
 */
#ifndef GCHEAP_SHARED_INTERNAL_H
#define GCHEAP_SHARED_INTERNAL_H

#include <pthread.h>

#include "shared.h"

#define SHARED_MAGIC	   "GCHSHARE"
#define SHARED_VERSION	   1
#define SHARED_FOLDER	   "/dev/shm"
#define SHARED_PREFIX	   "gcheap." /* in front of a name, so that a sweep finds its own */
#define SHARED_NAME_MAX	   200
#define SHARED_PATH_MAX	   (sizeof(SHARED_FOLDER "/" SHARED_PREFIX) + SHARED_NAME_MAX)
#define SHARED_DATA_OFFSET 4096
#define SHARED_LIST	   0 /* a typecode */

struct gcheap_shared_head {
	char magic[8];
	uint32_t version;
	uint32_t lock_bytes; /* sizeof(pthread_mutex_t): another libc has another */
	uint32_t typecode;
	uint32_t itemsize;
	uint64_t length;
	uint64_t data_offset;
	uint64_t bytes; /* of the file */
	_Alignas(64) pthread_mutex_t lock;
	uint32_t recovered;
};

_Static_assert(sizeof(struct gcheap_shared_head) <= SHARED_DATA_OFFSET, "head is one page");

struct gcheap_shared {
	struct gcheap_shared_head *head;
	char *data;
	size_t bytes, length;
	size_t itemsize; /* of a list: of a slot's entry */
	char typecode;
	bool read_only;
	int fd; /* holds a shared flock as long as this process or one that it forked lives */
};

struct gcheap_shared_shape {
	size_t length, itemsize;
	size_t data_bytes;
	char typecode;
};

/** gcheap_shared_path - the file of @name. -EINVAL, -ENAMETOOLONG: no name. */
int gcheap_shared_path(const char *name, char path[SHARED_PATH_MAX]);
/** gcheap_shared_open_path - open @path and hold its shared lock. Return: a descriptor. */
int gcheap_shared_open_path(const char *path, int open_flags);
/** gcheap_shared_make - a zeroed segment; a named one is not visible before it is published. */
int gcheap_shared_make(struct gcheap_shared **out, bool named,
		       const struct gcheap_shared_shape *shape);
/** gcheap_shared_publish - give it its name and its guard. On failure it is closed. */
int gcheap_shared_publish(struct gcheap_shared **shared, const char *name, unsigned flags);
/** gcheap_shared_open - attach to @name, or to @fd when that is NULL. @typecode: or -1 for any
 * array. */
int gcheap_shared_open(struct gcheap_shared **out, const char *name, int fd, int typecode,
		       unsigned flags);
/** gcheap_shared_guard_start - a process that removes @path once nobody has @fd's file open. */
int gcheap_shared_guard_start(int fd, const char *path);
int gcheap_shared_lock_init(struct gcheap_shared_head *head);
/** gcheap_shared_itemsize_of - 0: no such type. */
size_t gcheap_shared_itemsize_of(char typecode);
/** gcheap_shared_list_sane - are all slots of a list within its memory? */
bool gcheap_shared_list_sane(const struct gcheap_shared *shared);

#endif /* GCHEAP_SHARED_INTERNAL_H */
