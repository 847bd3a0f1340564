/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * remote.c - a process's memory by pread on /proc/PID/mem, with a cache of pages in front.
 *
 * The cache holds 4096 pages, two ways a set. A page is read alone: a pread of sixteen costs what
 * sixteen preads cost, and reading a neighbour that the target never touched would map the zero
 * page or a file's page there, and its next write would be another kind of fault than without us.
 * Which pages it has touched is in /proc/PID/pagemap (bits 63 and 62 of 8 bytes a page: present,
 * swapped; Documentation/admin-guide/mm/pagemap.rst), for readers that want many at once.
 */
#include "process/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CT_WAYS		 2u
#define CT_SETS		 2048u
#define CT_ADDRESS_LIMIT (1ull << 63) /* pread takes no offset beyond */
#define CT_PAGEMAP_BATCH 512u
#define CT_PAGEMAP_HAS	 (3ull << 62) /* present or swapped */

_Static_assert(CT_WAYS *CT_SETS == 4096, "remote.h promises 4096 pages");

struct ct_cached_page {
	uint64_t number; /* address / CT_PAGE_SIZE */
	uint64_t epoch;	 /* read in this epoch of the cache, else empty */
};

struct ct_remote {
	pid_t pid;
	struct ct_remote_source source; /* read is NULL: /proc/PID */
	int mem, pagemap;		/* -1: not open */
	uint64_t epoch;			/* from 1; ct_remote__renew counts it up */
	struct ct_cached_page pages[CT_SETS][CT_WAYS];
	uint8_t used_last[CT_SETS]; /* the way to keep */
	uint8_t *bytes;		    /* CT_PAGE_SIZE for each page; made at the first miss */
};

struct ct_remote *ct_remote__open(pid_t pid)
{
	struct ct_remote *remote = calloc(1, sizeof(*remote));
	char path[64];
	int err;

	if (!remote)
		return NULL;
	remote->pid = pid;
	remote->epoch = 1;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	remote->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	remote->mem = open(path, O_RDONLY | O_CLOEXEC);
	if (remote->mem < 0) {
		err = errno == ENOENT ? ESRCH : errno;
		ct_remote__close(remote);
		errno = err;
		return NULL;
	}
	return remote;
}

struct ct_remote *ct_remote__open_source(const struct ct_remote_source *source, pid_t pid)
{
	struct ct_remote *remote = calloc(1, sizeof(*remote));

	if (!remote)
		return NULL;
	remote->pid = pid;
	remote->epoch = 1;
	remote->mem = remote->pagemap = -1;
	remote->source = *source;
	return remote;
}

void ct_remote__close(struct ct_remote *remote)
{
	if (!remote)
		return;
	if (remote->mem >= 0)
		close(remote->mem);
	if (remote->pagemap >= 0)
		close(remote->pagemap);
	free(remote->bytes);
	free(remote);
}

ssize_t ct_remote__read(struct ct_remote *remote, ct_raddr_t addr, void *buf, size_t len)
{
	size_t done = 0;

	if (addr >= CT_ADDRESS_LIMIT)
		return -EFAULT;
	if (len > CT_ADDRESS_LIMIT - addr)
		len = CT_ADDRESS_LIMIT - addr;
	if (remote->source.read)
		return remote->source.read(remote->source.context, addr, buf, len);
	while (done < len) {
		ssize_t n =
			pread(remote->mem, (char *)buf + done, len - done, (off_t)(addr + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && !done)
			return errno == EIO ? -EFAULT : -errno;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static const void *ct_remote_page(struct ct_remote *remote, ct_raddr_t addr, bool only_touched)
{
	uint64_t number = addr / CT_PAGE_SIZE;
	size_t set = (size_t)((number * 0x9e3779b97f4a7c15ull) >> 40) % CT_SETS, way;
	struct ct_cached_page *ways = remote->pages[set];
	uint8_t *bytes, touched;

	if (addr >= CT_ADDRESS_LIMIT)
		return NULL;
	if (!remote->bytes) {
		remote->bytes = malloc((size_t)CT_SETS * CT_WAYS * CT_PAGE_SIZE);
		if (!remote->bytes)
			return NULL;
	}
	for (way = 0; way < CT_WAYS; way++)
		if (ways[way].number == number && ways[way].epoch == remote->epoch)
			break;
	if (way < CT_WAYS) {
		remote->used_last[set] = (uint8_t)way;
		return remote->bytes + (set * CT_WAYS + way) * CT_PAGE_SIZE;
	}
	if (only_touched && ct_remote__present(remote, addr, 1, &touched) && !touched)
		return NULL;
	way = remote->used_last[set] ^ 1;
	bytes = remote->bytes + (set * CT_WAYS + way) * CT_PAGE_SIZE;
	ways[way].epoch = 0; /* what was there is overwritten, whatever comes of it */
	if (ct_remote__read(remote, number * CT_PAGE_SIZE, bytes, CT_PAGE_SIZE) <
	    (ssize_t)CT_PAGE_SIZE)
		return NULL;
	ways[way] = (struct ct_cached_page){ .number = number, .epoch = remote->epoch };
	remote->used_last[set] = (uint8_t)way;
	return bytes;
}

const void *ct_remote__page(struct ct_remote *remote, ct_raddr_t addr)
{
	return ct_remote_page(remote, addr, false);
}

const void *ct_remote__touched_page(struct ct_remote *remote, ct_raddr_t addr)
{
	return ct_remote_page(remote, addr, true);
}

bool ct_remote__present(struct ct_remote *remote, ct_raddr_t addr, size_t count, uint8_t *present)
{
	uint64_t entries[CT_PAGEMAP_BATCH];
	uint64_t number = addr / CT_PAGE_SIZE;

	if (addr >= CT_ADDRESS_LIMIT)
		return false;
	if (remote->source.read) {
		for (size_t i = 0; i < count; i++)
			present[i] = remote->source.present(remote->source.context,
							    (number + i) * CT_PAGE_SIZE);
		return true;
	}
	for (size_t done = 0; done < count;) {
		size_t batch = count - done < CT_PAGEMAP_BATCH ? count - done : CT_PAGEMAP_BATCH;
		ssize_t n = pread(remote->pagemap, entries, batch * sizeof(*entries),
				  (off_t)((number + done) * sizeof(*entries)));

		if (n < (ssize_t)sizeof(*entries))
			return false; /* also where pagemap ends: above user space */
		batch = (size_t)n / sizeof(*entries);
		for (size_t i = 0; i < batch; i++)
			present[done + i] = (entries[i] & CT_PAGEMAP_HAS) != 0;
		done += batch;
	}
	return true;
}

void ct_remote__renew(struct ct_remote *remote)
{
	remote->epoch++;
}

pid_t ct_remote__pid(const struct ct_remote *remote)
{
	return remote->pid;
}
