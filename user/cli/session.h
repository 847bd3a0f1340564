/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* session.h - capture, resolver and tally wired together: records in, snapshots out. */
#ifndef CT_CLI_SESSION_H
#define CT_CLI_SESSION_H

#include "capture/capture.h"
#include "cli/faults.h"
#include "cli/options.h"
#include "cli/target.h"
#include "resolve/resolver.h"
#include "tally/tally.h"

#define CT_INTERPRETERS_MOST 256 /* named; more are traced alike */

struct ct_session_interpreter {
	uint32_t row; /* the image's */
	char version[32], object[64], why[128];
};

struct ct_session {
	struct ct_capture *capture;
	struct ct_resolver *resolver;
	struct ct_tally *tally;
	struct ct_resolver_names names;
	struct ct_faults *faults;				      /* NULL: not written */
	struct ct_interpreter_row interpreters[CT_INTERPRETERS_MOST]; /* point into found */
	struct ct_session_interpreter found[CT_INTERPRETERS_MOST];
	size_t n_interpreters;
	unsigned int stacks;
	bool said_no_runtime;
	const struct ct_target *target;
	char kernel[72];
	uint64_t start_ns, end_ns; /* end_ns 0: running */
	bool out_of_memory;
};

/** ct_session__open - load the hook and take the target in. @faults: told of each fault; NULL:
 * none. 0 or an exit status; logged. */
int ct_session__open(struct ct_session *session, const struct ct_options *options,
		     const struct ct_target *target, struct ct_faults *faults);
/** ct_session__pump - count what the ring holds, but no longer than about @limit records. Return:
 *  records counted. */
int ct_session__pump(struct ct_session *session, int limit);
/** ct_session__stop - detach, and count all that is left. */
void ct_session__stop(struct ct_session *session);
/** ct_session__snapshot - what has been counted; NULL: out of memory. */
struct ct_snapshot *ct_session__snapshot(struct ct_session *session, size_t max_pages);
/** ct_session__ended - has the last image of the family ended? */
bool ct_session__ended(const struct ct_session *session);
/** ct_session__reset - forget the counts so far. */
void ct_session__reset(struct ct_session *session);
void ct_session__close(struct ct_session *session);

#endif /* CT_CLI_SESSION_H */
