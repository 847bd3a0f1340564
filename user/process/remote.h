/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * remote.h - reads another process's memory without stopping it and without unsharing a page of
 * it: pread on /proc/PID/mem, never process_vm_readv, which makes the kernel copy every page that
 * is still shared by fork (facts: kernel-hooks.md section 10).
 */
#ifndef CT_PROCESS_REMOTE_H
#define CT_PROCESS_REMOTE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/types.h"

struct ct_remote;

/**
 * ct_remote__open - memory of @pid. NULL with errno set: ESRCH (gone), EACCES or EPERM (not
 * allowed). The file stays bound to the memory it was opened on: after exec or exit reads give 0,
 * never another program's bytes. Free with ct_remote__close.
 */
struct ct_remote *ct_remote__open(pid_t pid);

/** Memory from elsewhere: a saved image, or a test's own. */
struct ct_remote_source {
	void *context;
	/** As ct_remote__read. */
	ssize_t (*read)(void *context, ct_raddr_t addr, void *buf, size_t len);
	/** Is the page that holds @addr in memory? */
	bool (*present)(void *context, ct_raddr_t addr);
};
/** ct_remote__open_source - the same for @source (copied), said to be of @pid. NULL: ENOMEM. */
struct ct_remote *ct_remote__open_source(const struct ct_remote_source *source, pid_t pid);
void ct_remote__close(struct ct_remote *remote);
/** ct_remote__read - @len bytes at @addr. Return: bytes read (fewer at a hole, 0 when the memory is
 *  gone), -EFAULT when nothing is mapped at @addr. */
ssize_t ct_remote__read(struct ct_remote *remote, ct_raddr_t addr, void *buf, size_t len);
/**
 * ct_remote__page - the 4096 bytes of the page that holds @addr, from a bounded cache (4096
 * pages). NULL when unreadable. The pointer is good until the
 * next call on @remote; the content is as of some moment since the last ct_remote__renew.
 * Neighbours are read only where the target has them in memory: to read a page that it never
 * touched maps it there (the kernel's zero page, or the file's), so ask for no such page in vain.
 */
const void *ct_remote__page(struct ct_remote *remote, ct_raddr_t addr);
/** ct_remote__touched_page - the same, but NULL for a page that the target has not in memory (where
 *  that can be told). */
const void *ct_remote__touched_page(struct ct_remote *remote, ct_raddr_t addr);
/**
 * ct_remote__present - which of the @count pages from that of @addr on the target has in memory or
 * in swap: @present[i] is 1 or 0. To read those changes nothing in the target. Return: false when
 * it can't be told (no pagemap, the process is gone); @present is undefined then.
 */
bool ct_remote__present(struct ct_remote *remote, ct_raddr_t addr, size_t count, uint8_t *present);
/** ct_remote__renew - forget what is cached: the memory has moved on (a new fork). O(1). */
void ct_remote__renew(struct ct_remote *remote);
/** ct_remote__pid - the process read. */
pid_t ct_remote__pid(const struct ct_remote *remote);

#endif /* CT_PROCESS_REMOTE_H */
