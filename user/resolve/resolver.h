/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * resolver.h - records made samples: follows the family of images, and finds for each fault the
 * cell, type, cause and writer.
 */
#ifndef CT_RESOLVE_RESOLVER_H
#define CT_RESOLVE_RESOLVER_H

#include <linux/types.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/names.h"
#include "base/types.h"
#include "ct_abi.h"
#include "resolve/sample.h"

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
};

struct ct_resolver;

/** ct_resolver__new - @types and @writers are interned into, and outlive it. @launcher: the pid
 *  whose image before its first exec is ours, not the target's (0: none): it is not counted. */
struct ct_resolver *ct_resolver__new(struct ct_names *types, struct ct_names *writers,
				     const struct ct_resolver_events *events, pid_t launcher);
void ct_resolver__free(struct ct_resolver *resolver);

/**
 * ct_resolver__resolve - one record. Return: 1 and @sample filled for a fault (with count -1 for
 * one taken back), 0 for a family event or a fault that is not to be counted, -ENOMEM.
 */
int ct_resolver__resolve(struct ct_resolver *resolver, const struct ct_record *record, size_t len,
			 struct ct_sample *sample);
/** ct_resolver__row - the row of an image, made if there is none yet; UINT32_MAX: not counted. */
uint32_t ct_resolver__row(struct ct_resolver *resolver, uint64_t image);
/** ct_resolver__alive - images that have not ended. */
size_t ct_resolver__alive(const struct ct_resolver *resolver);

#endif /* CT_RESOLVE_RESOLVER_H */
