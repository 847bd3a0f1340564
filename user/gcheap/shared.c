/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * shared.c - segments: made, named, attached to, closed.
 *
 * A named one is made as a file without a name (O_TMPFILE) and linked when its head is written,
 * its lock is held and its guard waits. So nobody ever sees half a segment, and there is no moment
 * at which a kill -9 leaves a file behind: shm_open(O_CREAT) has one. The file is where shm_open
 * puts and finds it. Every removal of a name happens under a flock of its file, so that one that
 * is made anew under the same name is never taken for the old one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "shared_internal.h"

#define LOCK_TRIES 1000 /* of a millisecond: a sweep holds its lock for microseconds */

int gcheap_shared_path(const char *name, char path[SHARED_PATH_MAX])
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789._-";
	size_t len = name ? strnlen(name, SHARED_NAME_MAX + 1) : 0;

	if (!len || name[0] == '.')
		return -EINVAL;
	if (len > SHARED_NAME_MAX)
		return -ENAMETOOLONG;
	if (strspn(name, good) != len)
		return -EINVAL;
	snprintf(path, SHARED_PATH_MAX, "%s/%s%s", SHARED_FOLDER, SHARED_PREFIX, name);
	return 0;
}

static int lock_shared(int fd)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_SH | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return -EBUSY;
}

int gcheap_shared_open_path(const char *path, int open_flags)
{
	/* O_NONBLOCK: the name may be a FIFO of somebody's */
	int fd = shm_open(path + strlen(SHARED_FOLDER), open_flags | O_NONBLOCK, 0);
	struct stat st;
	int error;

	if (fd < 0)
		return errno == ELOOP ? -EBADMSG : -errno; /* a symbolic link */
	if (fstat(fd, &st))
		error = -errno;
	else if (!S_ISREG(st.st_mode))
		error = -EBADMSG;
	else if (st.st_uid != geteuid() && st.st_uid && geteuid())
		error = -EACCES; /* of another user, who can write anything into it at any time */
	else
		error = lock_shared(fd);
	/* removed between the open and the lock: too late for us */
	if (!error && (fstat(fd, &st) || !st.st_nlink))
		error = -ENOENT;
	if (!error)
		return fd;
	close(fd);
	return error;
}

static int map(struct gcheap_shared *shared)
{
	int prot = PROT_READ | (shared->read_only ? 0 : PROT_WRITE);
	void *memory = mmap(NULL, shared->bytes, prot, MAP_SHARED, shared->fd, 0);

	if (memory == MAP_FAILED)
		return -errno;
	shared->head = memory;
	return 0;
}

/* A file to hold @bytes: all there for a named one, whose tmpfs has a limit, and for an anonymous
 * one no more than the machine can ever have. */
static int make_file(bool named, size_t bytes)
{
	struct sysinfo machine;
	int fd, error = 0;

	if (!named && !sysinfo(&machine) &&
	    bytes / machine.mem_unit > machine.totalram + machine.totalswap)
		return -ENOMEM;
	fd = named ? open(SHARED_FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)
		   : memfd_create("gcheap", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes))
		error = -errno;
	else if (named)
		error = -posix_fallocate(fd, 0, (off_t)bytes);
	else if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		error = -errno;
	if (!error)
		error = lock_shared(fd);
	if (!error)
		return fd;
	close(fd);
	return error;
}

int gcheap_shared_make(struct gcheap_shared **out, bool named,
		       const struct gcheap_shared_shape *shape)
{
	struct gcheap_shared *shared = calloc(1, sizeof(*shared));
	struct gcheap_shared_head *head;
	int error;

	*out = NULL;
	if (!shared)
		return -ENOMEM;
	shared->typecode = shape->typecode;
	shared->length = shape->length;
	shared->itemsize = shape->itemsize;
	shared->bytes = SHARED_DATA_OFFSET + shape->data_bytes;
	shared->fd = make_file(named, shared->bytes);
	error = shared->fd < 0 ? shared->fd : map(shared);
	if (error)
		goto failed;
	head = shared->head;
	shared->data = (char *)head + SHARED_DATA_OFFSET;
	memcpy(head->magic, SHARED_MAGIC, sizeof(head->magic));
	head->version = SHARED_VERSION;
	head->lock_bytes = sizeof(pthread_mutex_t);
	head->typecode = (unsigned char)shape->typecode;
	head->itemsize = (uint32_t)shape->itemsize;
	head->length = shape->length;
	head->data_offset = SHARED_DATA_OFFSET;
	head->bytes = shared->bytes;
	error = gcheap_shared_lock_init(head);
	if (error)
		goto failed;
	*out = shared;
	return 0;
failed:
	gcheap_shared_close(shared);
	return error;
}

int gcheap_shared_publish(struct gcheap_shared **shared, const char *name, unsigned flags)
{
	char path[SHARED_PATH_MAX], link[32];
	int fd = (*shared)->fd, error = gcheap_shared_path(name, path);

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	gcheap_shared_sweep(); /* what is left of the dead must not keep the name */
	if (!error && access(path, F_OK) == 0)
		error = -EEXIST;
	if (!error && !(flags & GCHEAP_SHARED_NO_GUARD))
		error = gcheap_shared_guard_start(fd, path);
	if (!error && linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW))
		error = -errno;
	if (error) {
		gcheap_shared_close(*shared);
		*shared = NULL;
	}
	return error;
}

int gcheap_shared_create(struct gcheap_shared **out, const char *name, char typecode, size_t length,
			 unsigned flags)
{
	struct gcheap_shared_shape shape = { .length = length, .typecode = typecode };
	char path[SHARED_PATH_MAX];
	int error = name ? gcheap_shared_path(name, path) : 0;

	*out = NULL;
	shape.itemsize = gcheap_shared_itemsize_of(typecode);
	if (!error && (!shape.itemsize || !length || (flags & ~GCHEAP_SHARED_NO_GUARD)))
		error = -EINVAL;
	if (!error && length > ((size_t)PTRDIFF_MAX - SHARED_DATA_OFFSET) / shape.itemsize)
		error = -EOVERFLOW;
	if (error)
		return error;
	shape.data_bytes = length * shape.itemsize;
	error = gcheap_shared_make(out, name, &shape);
	return error || !name ? error : gcheap_shared_publish(out, name, flags);
}

/* Believe nothing: is this head one of ours, of this build, and as long as the file? */
static int check_head(const struct gcheap_shared_head *head, uint64_t file_bytes, int typecode)
{
	if (memcmp(head->magic, SHARED_MAGIC, sizeof(head->magic)) != 0)
		return -EBADMSG;
	if (head->version != SHARED_VERSION || head->lock_bytes != sizeof(pthread_mutex_t))
		return -EPROTONOSUPPORT;
	if (head->data_offset != SHARED_DATA_OFFSET || !head->length || !head->itemsize ||
	    head->bytes < SHARED_DATA_OFFSET || head->bytes > PTRDIFF_MAX)
		return -EBADMSG;
	if (head->length > (head->bytes - SHARED_DATA_OFFSET) / head->itemsize)
		return -EBADMSG;
	if (head->typecode != SHARED_LIST) {
		if (head->typecode > 127 ||
		    gcheap_shared_itemsize_of((char)head->typecode) != head->itemsize ||
		    head->bytes != SHARED_DATA_OFFSET + head->length * head->itemsize)
			return -EBADMSG;
	}
	if (file_bytes < head->bytes)
		return -ENODATA;
	if (file_bytes > head->bytes)
		return -EBADMSG;
	if (typecode < 0 ? head->typecode == SHARED_LIST : head->typecode != (uint32_t)typecode)
		return -EPROTOTYPE;
	return 0;
}

static int attach(struct gcheap_shared *shared, int typecode)
{
	struct gcheap_shared_head head;
	struct stat st;
	ssize_t got = pread(shared->fd, &head, sizeof(head), 0); /* a copy: it can't change */
	int error;

	if (got < 0)
		return -errno;
	if (fstat(shared->fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	if ((size_t)got < sizeof(head)) {
		size_t known = (size_t)got < sizeof(head.magic) ? (size_t)got : sizeof(head.magic);

		return memcmp(head.magic, SHARED_MAGIC, known) == 0 ? -ENODATA : -EBADMSG;
	}
	error = check_head(&head, (uint64_t)st.st_size, typecode);
	if (error)
		return error;
	shared->typecode = (char)head.typecode;
	shared->length = head.length;
	shared->itemsize = head.itemsize;
	shared->bytes = head.bytes;
	error = map(shared);
	if (error)
		return error;
	shared->data = (char *)shared->head + SHARED_DATA_OFFSET;
	return shared->typecode == SHARED_LIST && !gcheap_shared_list_sane(shared) ? -EBADMSG : 0;
}

/* Our own open file of @fd, whose lock doesn't end with that of the one who passed it on. */
static int reopen(int fd, int open_flags)
{
	char link[32];
	int again, error;

	if (fd < 0)
		return -EBADF;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	again = open(link, open_flags | O_CLOEXEC | O_NONBLOCK);
	if (again < 0)
		return errno == ENOENT ? -EBADF : -errno;
	error = lock_shared(again);
	if (!error)
		return again;
	close(again);
	return error;
}

int gcheap_shared_open(struct gcheap_shared **out, const char *name, int fd, int typecode,
		       unsigned flags)
{
	int open_flags = flags & GCHEAP_SHARED_READ_ONLY ? O_RDONLY : O_RDWR, error;
	struct gcheap_shared *shared;
	char path[SHARED_PATH_MAX];

	*out = NULL;
	if (flags & ~GCHEAP_SHARED_READ_ONLY)
		return -EINVAL;
	error = name ? gcheap_shared_path(name, path) : 0;
	if (error)
		return error;
	shared = calloc(1, sizeof(*shared));
	if (!shared)
		return -ENOMEM;
	shared->read_only = flags & GCHEAP_SHARED_READ_ONLY;
	shared->fd = name ? gcheap_shared_open_path(path, open_flags) : reopen(fd, open_flags);
	error = shared->fd < 0 ? shared->fd : attach(shared, typecode);
	if (error) {
		gcheap_shared_close(shared);
		return error;
	}
	*out = shared;
	return 0;
}

int gcheap_shared_attach(struct gcheap_shared **out, const char *name, char typecode,
			 unsigned flags)
{
	*out = NULL;
	if (!name || (typecode && !gcheap_shared_itemsize_of(typecode)))
		return -EINVAL;
	return gcheap_shared_open(out, name, -1, typecode ? typecode : -1, flags);
}

int gcheap_shared_attach_fd(struct gcheap_shared **out, int fd, char typecode, unsigned flags)
{
	*out = NULL;
	if (typecode && !gcheap_shared_itemsize_of(typecode))
		return -EINVAL;
	return gcheap_shared_open(out, NULL, fd, typecode ? typecode : -1, flags);
}

void gcheap_shared_close(struct gcheap_shared *shared)
{
	if (!shared)
		return;
	/* the kernel's list of our locks must not point here; of a file cut to nothing, no touching
	 */
	if (shared->data && !shared->read_only && gcheap_shared_check(shared) == 0)
		gcheap_shared_unlock(shared);
	if (shared->head)
		munmap(shared->head, shared->bytes);
	if (shared->fd >= 0)
		close(shared->fd);
	free(shared);
}

int gcheap_shared_check(const struct gcheap_shared *shared)
{
	struct stat st;

	if (fstat(shared->fd, &st))
		return -errno;
	return (uint64_t)st.st_size < shared->bytes ? -ENODATA : 0;
}

char gcheap_shared_typecode(const struct gcheap_shared *shared)
{
	return shared->typecode;
}

size_t gcheap_shared_itemsize(const struct gcheap_shared *shared)
{
	return shared->itemsize;
}

size_t gcheap_shared_length(const struct gcheap_shared *shared)
{
	return shared->length;
}

int gcheap_shared_fd(const struct gcheap_shared *shared)
{
	return shared->fd;
}

void *gcheap_shared_data(const struct gcheap_shared *shared)
{
	return shared->data;
}

void *gcheap_shared_mapping(const struct gcheap_shared *shared, size_t *bytes)
{
	*bytes = shared->bytes;
	return shared->head;
}
