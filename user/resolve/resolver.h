/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * resolver.h - records made samples: follows the family of images, and finds for each fault the
 * cell, type, cause and writer, and the Python line of those whose stack was taken.
 */
#ifndef CT_RESOLVE_RESOLVER_H
#define CT_RESOLVE_RESOLVER_H

#include <linux/types.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/lists.h"
#include "base/names.h"
#include "base/types.h"
#include "ct_abi.h"
#include "resolve/sample.h"

struct ct_interpreter;

/** What a resolver interns into; all outlive it. */
struct ct_resolver_names {
	struct ct_names *types, *writers;
	struct ct_names *lines;	 /* (file, "LINE FUNCTION"), (file, FUNCTION), ("", file) */
	struct ct_lists *stacks; /* ids of lines, outermost first; | CT_FRAME_NATIVE */
};

typedef void (*ct_sample_fn)(void *context, const struct ct_sample *sample);

/** What a resolver tells of the family while it works. Rows are the caller's numbers. */
struct ct_resolver_events {
	void *context;
	/** A new image. @parent_pid 0: unknown. Return: the row that its samples carry. */
	uint32_t (*image_began)(void *context, pid_t pid, pid_t parent_pid, const char *command,
				uint64_t ts_ns);
	void (*image_ended)(void *context, uint32_t row, uint64_t ts_ns);
	/** CLOCK_MONOTONIC of a record. */
	uint64_t (*time_ns)(void *context, uint32_t jiffies);
	/** An interpreter was found in @image: the kernel side shall read it (@tid as in
	 *  ct_capture__set_runtime; NULL @runtime: none any more). May be NULL. */
	void (*runtime_found)(void *context, uint64_t image, uint32_t tid,
			      const struct ct_runtime *runtime);
	/** The same for those who want to say so: found by reader @name in the process of @row, or
	 *  more is known of it now. Not for the children that it forks. One that is refused has
	 *  no version and no object, and no_stacks says why. May be NULL. */
	void (*interpreter_found)(void *context, uint32_t row, pid_t pid, const char *name,
				  const struct ct_interpreter *interpreter);
	/** More is known of a sample that was counted: first as it was, with count -1, then as it
	 *  is now. May be NULL: then nothing is looked for later. */
	ct_sample_fn corrected;
};

/** How often what a record carried and what is read later differ. */
struct ct_resolver_bytes {
	uint64_t carried;      /* records that carried bytes */
	uint64_t compared;     /* of these: all at first, then some */
	uint64_t differ;       /* of these: other bytes were read */
	uint64_t place_differ; /* of these: and they led to another cell, object or type */
};

struct ct_resolver;

/** ct_resolver__new - @launcher: the pid whose image before its first exec is ours, not the
 * target's (0: none): it is not counted. */
struct ct_resolver *ct_resolver__new(const struct ct_resolver_names *names,
				     const struct ct_resolver_events *events, pid_t launcher);
void ct_resolver__free(struct ct_resolver *resolver);

/**
 * ct_resolver__resolve - one record. Return: 1 and @sample filled for a fault (with count -1 for
 * one taken back), 0 for a family event or a fault that is not to be counted, -ENOMEM.
 */
int ct_resolver__resolve(struct ct_resolver *resolver, const struct ct_record *record, size_t len,
			 struct ct_sample *sample);
/** ct_resolver__work - what is not done by record, for at most about a tenth of the time: looks for
 *  interpreters that came up, and for the owners of buffers. @last: no record will come, so it may
 *  take about two seconds. */
void ct_resolver__work(struct ct_resolver *resolver, bool last);
/** ct_resolver__reset - all counts were set to 0: nothing that came before is corrected or taken
 *  back any more. */
void ct_resolver__reset(struct ct_resolver *resolver);
/** ct_resolver__row - the row of an image, made if there is none yet; UINT32_MAX: not counted. */
uint32_t ct_resolver__row(struct ct_resolver *resolver, uint64_t image);
/** ct_resolver__alive - images that have not ended. */
size_t ct_resolver__alive(const struct ct_resolver *resolver);
/** ct_resolver__bytes - how the carried bytes did. */
void ct_resolver__bytes(const struct ct_resolver *resolver, struct ct_resolver_bytes *bytes);

#endif /* CT_RESOLVE_RESOLVER_H */
