/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* output.h - where a run's results go: the live screen, plain blocks, the summary, the JSON file.
 */
#ifndef CT_CLI_OUTPUT_H
#define CT_CLI_OUTPUT_H

#include <stdio.h>

#include "cli/options.h"
#include "cli/session.h"
#include "view/view.h"

struct ct_output {
	struct ct_live *live; /* NULL: plain text */
	FILE *text, *json;    /* json NULL: none */
	const char *json_name;
	struct ct_text_style style;
	struct ct_snapshot *last;
	uint64_t interval_ns, last_ns; /* interval 0: no blocks, only the summary */
	bool closed;		       /* the text cannot be written any more */
	bool failed;		       /* and not because its reader has had enough */
};

/** ct_output__open - decide the kind of output; the JSON file is opened now, so that a name that
 *  cannot be written is known before anything is traced. 0 or an exit status; logged. */
int ct_output__open(struct ct_output *output, const struct ct_options *options);
/** ct_output__start_live - take the terminal, if the live screen was decided on. */
void ct_output__start_live(struct ct_output *output, const struct ct_options *options);
/** ct_output__show - an interval has passed: redraw, or print a block. */
void ct_output__show(struct ct_output *output, struct ct_session *session);
/** ct_output__key - something was typed. */
enum ct_live_action ct_output__key(struct ct_output *output, struct ct_session *session);
/** ct_output__finish - give the terminal back, print the summary, write the JSON. 0 or an exit
 *  status; logged. */
int ct_output__finish(struct ct_output *output, struct ct_session *session);

#endif /* CT_CLI_OUTPUT_H */
