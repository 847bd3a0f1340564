/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * shared.h - numbers and small values in memory that forked and unrelated processes share for
 * good. Their bytes have no refcount and no GC header, and the mapping is MAP_SHARED: neither
 * reading nor writing copies a page, and reading writes nothing at all, not even here.
 *
 * An array holds elements of one type of Python's module `array`; a list holds a fixed number of
 * slots of mixed values, like multiprocessing.shared_memory.ShareableList. Both are anonymous
 * (inherited by fork, or passed on as a file descriptor) or have a name that others attach to.
 *
 * A name lives until gcheap_shared_unlink, or until the last process that has the array open is
 * gone, in whatever way: each one holds a lock on the file, which the kernel drops with the
 * process. A guard, a small process of its own, waits for that and removes the name; should it be
 * killed too, the next gcheap_shared_create or gcheap_shared_sweep of the user does.
 *
 * Functions give 0 or a negative errno, in words by gcheap_shared_message. This part needs libc,
 * /dev/shm and /proc; it doesn't need the rest of gcheap. Threads may use one array at a time,
 * except that nobody may use it once it is being closed.
 */
#ifndef GCHEAP_SHARED_H
#define GCHEAP_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gcheap_shared;

/** Flags of create and attach. */
enum {
	GCHEAP_SHARED_READ_ONLY = 1, /* attach: map it without the right to write */
	GCHEAP_SHARED_NO_GUARD = 2,  /* create: no process of its own; a sweep has to do */
};

/** gcheap_shared_lock's good news with a warning: see there. */
#define GCHEAP_SHARED_RECOVERED 1

/**
 * gcheap_shared_create - a new array of @length zeroes.
 * @name: letters, digits, '.', '_', '-', at most 200, no '.' in front; NULL: anonymous.
 * @typecode: one of "bBuwhHiIlLqQfd", with the meaning and size of Python's array ('u' and 'w' are
 *            4-byte characters).
 * @length: 1 or more. The memory of a named array is reserved: -ENOSPC now, not SIGBUS later.
 * Return: 0; -EEXIST when living processes use the name.
 */
int gcheap_shared_create(struct gcheap_shared **out, const char *name, char typecode, size_t length,
			 unsigned flags);

/**
 * gcheap_shared_attach - open the array @name.
 * @typecode: what its elements must be, else -EPROTOTYPE; 0: take what it is.
 * Return: 0; -ENOENT; -EBADMSG for what is no array of ours, -ENODATA for one cut short,
 * -EPROTONOSUPPORT for one of another build, -EACCES for one of another user.
 */
int gcheap_shared_attach(struct gcheap_shared **out, const char *name, char typecode,
			 unsigned flags);
/** gcheap_shared_attach_fd - the same by a descriptor that another process passed on, as from
 * gcheap_shared_fd. @fd stays the caller's. */
int gcheap_shared_attach_fd(struct gcheap_shared **out, int fd, char typecode, unsigned flags);

/** gcheap_shared_close - the end of it for this process; gives back its lock. NULL is allowed. */
void gcheap_shared_close(struct gcheap_shared *shared);
/** gcheap_shared_unlink - remove the name now; those who have it open go on using the array. */
int gcheap_shared_unlink(const char *name);
/** gcheap_shared_sweep - remove this user's names that no process has open. Return: how many. */
size_t gcheap_shared_sweep(void);
/** gcheap_shared_check - -ENODATA when somebody cut the file since: touching it is SIGBUS then. */
int gcheap_shared_check(const struct gcheap_shared *shared);

char gcheap_shared_typecode(const struct gcheap_shared *shared); /* 0: a list */
size_t gcheap_shared_itemsize(const struct gcheap_shared *shared);
size_t gcheap_shared_length(const struct gcheap_shared *shared);
int gcheap_shared_fd(const struct gcheap_shared *shared);
/** gcheap_shared_data - the elements, aligned to a page, for use as a plain C array. */
void *gcheap_shared_data(const struct gcheap_shared *shared);
/** gcheap_shared_mapping - all of its memory, the head included. */
void *gcheap_shared_mapping(const struct gcheap_shared *shared, size_t *bytes);

/**
 * gcheap_shared_lock - take the lock of the array among all its users.
 * @timeout_ms: negative: for ever.
 * Return: 0; GCHEAP_SHARED_RECOVERED: it is yours, but its last holder died with it, so the data
 * may be half of a change; -ETIMEDOUT; -EDEADLK when this thread has it; -EROFS.
 */
int gcheap_shared_lock(struct gcheap_shared *shared, int timeout_ms);
/** gcheap_shared_unlock - -EPERM when this thread doesn't have it. */
int gcheap_shared_unlock(struct gcheap_shared *shared);
/** gcheap_shared_recovered - how often the lock was recovered from a dead holder. */
unsigned gcheap_shared_recovered(const struct gcheap_shared *shared);

/*
 * Single elements, without the lock: each is read or written as a whole, a reader that sees a
 * value sees what its writer wrote before. -ENXIO: no such element. -EPROTOTYPE: a number of the
 * other kind. -ERANGE: does not fit. -EROFS: attached for reading only.
 */
int gcheap_shared_get_int(const struct gcheap_shared *shared, size_t index, int64_t *value);
int gcheap_shared_set_int(struct gcheap_shared *shared, size_t index, int64_t value);
int gcheap_shared_get_uint(const struct gcheap_shared *shared, size_t index, uint64_t *value);
int gcheap_shared_set_uint(struct gcheap_shared *shared, size_t index, uint64_t value);
int gcheap_shared_get_float(const struct gcheap_shared *shared, size_t index, double *value);
int gcheap_shared_set_float(struct gcheap_shared *shared, size_t index, double value);
/** gcheap_shared_add - add to an integer in one step, modulo its size; @before may be NULL. */
int gcheap_shared_add(struct gcheap_shared *shared, size_t index, int64_t delta, int64_t *before);

enum gcheap_shared_type {
	GCHEAP_SHARED_NONE,
	GCHEAP_SHARED_BOOL,
	GCHEAP_SHARED_INT,
	GCHEAP_SHARED_FLOAT,
	GCHEAP_SHARED_STRING, /* bytes that the caller calls text; not checked */
	GCHEAP_SHARED_BYTES,
};

struct gcheap_shared_item {
	enum gcheap_shared_type type;
	union {
		bool truth;
		int64_t number;
		double real;
		struct {
			const void *text; /* not terminated */
			size_t len;
		};
	};
};

/**
 * gcheap_shared_list_create - a list of @count slots with a copy of @items. A slot's size is fixed
 * by its first value: 8 bytes, or a string's length rounded up to 8; any value that fits may
 * replace it. Name and flags as above.
 */
int gcheap_shared_list_create(struct gcheap_shared **out, const char *name,
			      const struct gcheap_shared_item *items, size_t count, unsigned flags);
int gcheap_shared_list_attach(struct gcheap_shared **out, const char *name, unsigned flags);
int gcheap_shared_list_attach_fd(struct gcheap_shared **out, int fd, unsigned flags);

/**
 * gcheap_shared_list_get - a copy of slot @index, without the lock and never half of a change.
 * @text, @size: where a string or bytes go, @item->text then points there.
 * Return: 0; -ENOBUFS with @item->len set; -EOWNERDEAD when its writer died halfway (the next
 * gcheap_shared_list_set mends it).
 */
int gcheap_shared_list_get(const struct gcheap_shared *shared, size_t index,
			   struct gcheap_shared_item *item, void *text, size_t size);
/** gcheap_shared_list_set - takes the lock for it unless this thread has it. -ENOBUFS: the value is
 * larger than the slot. */
int gcheap_shared_list_set(struct gcheap_shared *shared, size_t index,
			   const struct gcheap_shared_item *item);
/** gcheap_shared_list_room - bytes that slot @index takes; 0: no such slot. */
size_t gcheap_shared_list_room(const struct gcheap_shared *shared, size_t index);

/** gcheap_shared_message - what an error of these functions means, in one line. */
const char *gcheap_shared_message(int error);

#endif /* GCHEAP_SHARED_H */
