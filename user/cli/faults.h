/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* faults.h - each fault as a line of JSON, as it comes (--faults). */
#ifndef CT_CLI_FAULTS_H
#define CT_CLI_FAULTS_H

#include "resolve/resolver.h"

struct ct_faults;

/** ct_faults__open - to file @name ("-": standard output). NULL: it can't be; logged. */
struct ct_faults *ct_faults__open(const char *name);
/** ct_faults__start - t_s counts from @start_ns on. */
void ct_faults__start(struct ct_faults *faults, uint64_t start_ns);
/** ct_faults__put - one sample. What can't be written is said once, and no more is tried. */
void ct_faults__put(struct ct_faults *faults, const struct ct_sample *sample,
		    const struct ct_resolver_names *names);
/** ct_faults__put_undetailed - @count faults of which nothing more is known. @address 0: unknown.
 */
void ct_faults__put_undetailed(struct ct_faults *faults, uint32_t pid, enum ct_fault kind,
			       ct_raddr_t address, int64_t count);
/** ct_faults__flush - let those who follow the file see what came so far. */
void ct_faults__flush(struct ct_faults *faults);
/** ct_faults__close - 0, or -errno if something could not be written, which has been said. */
int ct_faults__close(struct ct_faults *faults);

#endif /* CT_CLI_FAULTS_H */
