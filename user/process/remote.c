/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * remote.c - a process's memory by pread on /proc/PID/mem, with a cache of pages in front.
 *
 * The cache holds 256 blocks of 16 pages, two ways a set; a block knows by a bit mask which of its
 * pages are filled. A miss fills the run of neighbours around the page that the target has in
 * memory, in one pread. /proc/PID/pagemap is asked which those are: reading a page that the
 * target never touched would map the zero page or a file's page there, and its next write would
 * be another kind of fault than without us.
 */
#include "process/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CT_BLOCK_PAGES	   16u
#define CT_WAYS		   2u
#define CT_SETS		   128u
#define CT_BLOCK_BYTES	   (CT_BLOCK_PAGES * CT_PAGE_SIZE)
#define CT_PAGEMAP_PRESENT (1ull << 63)
#define CT_ADDRESS_LIMIT   (1ull << 63) /* pread takes no offset beyond */

_Static_assert(CT_BLOCK_PAGES *CT_WAYS *CT_SETS == 4096, "remote.h promises 4096 pages");

struct ct_block {
	uint64_t number; /* address / CT_BLOCK_BYTES */
	uint64_t epoch;	 /* filled in this epoch of the cache, else empty */
	uint32_t filled; /* bit i: page i is there */
};

struct ct_remote {
	pid_t pid;
	int mem, pagemap; /* pagemap -1: not readable, so no neighbours */
	uint64_t epoch;	  /* from 1; ct_remote__renew counts it up */
	struct ct_block blocks[CT_SETS][CT_WAYS];
	uint8_t used_last[CT_SETS]; /* the way to keep */
	uint8_t *bytes;		    /* CT_BLOCK_BYTES for each block; made at the first miss */
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
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	remote->mem = open(path, O_RDONLY | O_CLOEXEC);
	if (remote->mem < 0) {
		err = errno == ENOENT ? ESRCH : errno;
		free(remote);
		errno = err;
		return NULL;
	}
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	remote->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	return remote;
}

void ct_remote__close(struct ct_remote *remote)
{
	if (!remote)
		return;
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

/** The cached block @number, or the place where it may be filled (then emptied). */
static struct ct_block *ct_remote_block(struct ct_remote *remote, uint64_t number, uint8_t **bytes)
{
	size_t set = (size_t)((number * 0x9e3779b97f4a7c15ull) >> 40) % CT_SETS;
	struct ct_block *ways = remote->blocks[set];
	size_t way;

	for (way = 0; way < CT_WAYS; way++)
		if (ways[way].number == number && ways[way].epoch == remote->epoch)
			break;
	if (way == CT_WAYS) {
		way = remote->used_last[set] ^ 1;
		ways[way] = (struct ct_block){ .number = number, .epoch = remote->epoch };
	}
	remote->used_last[set] = (uint8_t)way;
	*bytes = remote->bytes + (set * CT_WAYS + way) * CT_BLOCK_BYTES;
	return &ways[way];
}

/** Which pages of block @number the target has in memory: bit i for page i. */
static uint32_t ct_remote_present(const struct ct_remote *remote, uint64_t number)
{
	uint64_t entries[CT_BLOCK_PAGES];
	uint32_t mask = 0;
	ssize_t n;

	if (remote->pagemap < 0)
		return 0;
	n = pread(remote->pagemap, entries, sizeof(entries),
		  (off_t)(number * CT_BLOCK_PAGES * sizeof(entries[0])));
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(entries[0]); i++)
		if (entries[i] & CT_PAGEMAP_PRESENT)
			mask |= 1u << i;
	return mask;
}

/** Fill page @index of @block and those around it that are present and not yet filled. */
static bool ct_remote_fill(struct ct_remote *remote, struct ct_block *block, uint8_t *bytes,
			   unsigned int index)
{
	uint32_t wanted = ct_remote_present(remote, block->number) & ~block->filled;
	ct_raddr_t base = block->number * CT_BLOCK_BYTES;
	unsigned int first = index, last = index;
	ssize_t n;

	while (first > 0 && wanted & (1u << (first - 1)))
		first--;
	while (last + 1 < CT_BLOCK_PAGES && wanted & (1u << (last + 1)))
		last++;
	n = ct_remote__read(remote, base + first * CT_PAGE_SIZE, bytes + first * CT_PAGE_SIZE,
			    (last - first + 1) * CT_PAGE_SIZE);
	for (unsigned int i = first; n >= (ssize_t)CT_PAGE_SIZE; i++, n -= (ssize_t)CT_PAGE_SIZE)
		block->filled |= 1u << i;
	if (block->filled & (1u << index))
		return true;
	/* a neighbour went away since pagemap was read: the page itself may still be there */
	n = ct_remote__read(remote, base + index * CT_PAGE_SIZE, bytes + index * CT_PAGE_SIZE,
			    CT_PAGE_SIZE);
	if (n < (ssize_t)CT_PAGE_SIZE)
		return false;
	block->filled |= 1u << index;
	return true;
}

const void *ct_remote__page(struct ct_remote *remote, ct_raddr_t addr)
{
	unsigned int index = (unsigned int)(addr / CT_PAGE_SIZE % CT_BLOCK_PAGES);
	struct ct_block *block;
	uint8_t *bytes;

	if (addr >= CT_ADDRESS_LIMIT)
		return NULL;
	if (!remote->bytes) {
		remote->bytes = malloc((size_t)CT_SETS * CT_WAYS * CT_BLOCK_BYTES);
		if (!remote->bytes)
			return NULL;
	}
	block = ct_remote_block(remote, addr / CT_BLOCK_BYTES, &bytes);
	if (!(block->filled & (1u << index)) && !ct_remote_fill(remote, block, bytes, index))
		return NULL;
	return bytes + index * CT_PAGE_SIZE;
}

void ct_remote__renew(struct ct_remote *remote)
{
	remote->epoch++;
}

pid_t ct_remote__pid(const struct ct_remote *remote)
{
	return remote->pid;
}
