/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* options.h - the command line of the tracing verb. */
#ifndef CT_CLI_OPTIONS_H
#define CT_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "view/view.h"

#ifndef CT_VERSION
#define CT_VERSION "0.1" /* the Makefile gives the real one */
#endif

/** Exit statuses (DESIGN: Promises). With -- CMD, CMD's own comes first. */
enum ct_exit {
	CT_EXIT_DONE = 0,
	CT_EXIT_FAILED = 1,
	CT_EXIT_USAGE = 2,
	CT_EXIT_NO_TARGET = 3,
};

struct ct_options {
	pid_t pid;	     /* 0: a command is started */
	char **command;	     /* NULL-terminated; NULL with pid */
	double duration_s;   /* 0: until the target ends */
	double interval_s;   /* 0: the default for the kind of output */
	const char *hook;    /* NULL: the first that works */
	const char *json;    /* file name or "-"; NULL: none */
	const char *faults;  /* the same, of each fault as it comes */
	size_t ring_bytes;   /* 0: the default */
	unsigned int stacks; /* of each so many faults the stack is taken; 0: of none */
	enum ct_axis axis;
	bool follow, plain, verbose;
};

/** ct_options__parse - from argv. On --help, --version and usage errors it exits (0, 0, 2). */
void ct_options__parse(struct ct_options *options, int argc, char **argv);

#endif /* CT_CLI_OPTIONS_H */
