/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* maps.h - the mappings of a process: one reading of /proc/PID/maps, sorted, shared by reference.
 */
#ifndef CT_PROCESS_MAPS_H
#define CT_PROCESS_MAPS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/map.h"
#include "base/types.h"

enum ct_mapping_kind {
	CT_MAPPING_UNKNOWN = 0,
	CT_MAPPING_ANON,    /* private anonymous: "", "[anon:...]", /dev/zero, huge pages */
	CT_MAPPING_FILE,    /* private mapping of a file */
	CT_MAPPING_BSS,	    /* anonymous, right behind a writable file mapping of the same module */
	CT_MAPPING_HEAP,    /* [heap] */
	CT_MAPPING_STACK,   /* [stack] */
	CT_MAPPING_SHARED,  /* shared file or memory: never copied on write */
	CT_MAPPING_SPECIAL, /* [vdso], [vvar], [vsyscall] */
};

struct ct_mapping {
	ct_raddr_t start, end;
	uint64_t offset;	/* of start in the file, bytes */
	uint64_t inode, device; /* 0 for anonymous memory */
	enum ct_mapping_kind kind;
	bool readable, writable, executable, shared, deleted;
	const char *path;   /* as in maps without " (deleted)", raw bytes; "" if none */
	const char *object; /* last part of the path; of the module before it for BSS */
	uint32_t module;    /* index of the first mapping of the same file; own index if none */
};

/** A reading of maps, shared by every image that forked since; freed by the last ct_maps__put. */
struct ct_maps {
	pid_t pid; /* whose /proc/PID/maps was read */
	size_t count;
	struct ct_mapping *list;
	struct ct_map writers; /* the symboliser's cache for these mappings: ip -> writer id */
	unsigned int references;
	char *text; /* owns the paths */
};

/** ct_maps__read - read and parse /proc/@pid/maps. NULL with errno set (ESRCH, EACCES, ENOMEM).
 *  An exited process or a kernel thread gives a reading with no mapping. */
struct ct_maps *ct_maps__read(pid_t pid);
/** ct_maps__parse - the same from text (which is copied): for tests and records. */
struct ct_maps *ct_maps__parse(const char *text, size_t len, pid_t pid);
struct ct_maps *ct_maps__get(struct ct_maps *maps);
void ct_maps__put(struct ct_maps *maps);
/** ct_maps__find - the mapping that holds @addr, or NULL. */
const struct ct_mapping *ct_maps__find(const struct ct_maps *maps, ct_raddr_t addr);

#endif /* CT_PROCESS_MAPS_H */
