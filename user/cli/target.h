/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* target.h - the process to trace: found and checked, or started. */
#ifndef CT_CLI_TARGET_H
#define CT_CLI_TARGET_H

#include <stdbool.h>
#include <sys/types.h>

struct ct_target {
	pid_t pid;
	bool started;	   /* by us: to be waited for */
	int go_fd;	   /* the started command waits for a byte here; -1 */
	int exec_error_fd; /* and says here why it could not be run; -1 */
	char command[256]; /* escaped */
};

/** ct_target__find - check that @pid can be traced. 0, or an exit status; the reason is logged. */
int ct_target__find(struct ct_target *target, pid_t pid, bool follow);
/** ct_target__start - fork @argv's process and hold it before its exec. 0 or an exit status. */
int ct_target__start(struct ct_target *target, char **argv);
/** ct_target__release - let the started command run. 0 or, when it cannot be run, its exit status
 *  (126, 127); the reason is logged. */
int ct_target__release(struct ct_target *target);
/** ct_target__reap - has the started command ended? Sets *@status to its exit status, 128 + signal.
 */
bool ct_target__reap(struct ct_target *target, int *status);
/** ct_check_privileges - 0, or CT_EXIT_FAILED after one line on what is missing. */
int ct_check_privileges(void);
/** ct_missing_capabilities - names of what tracing needs and this process has not, "" if nothing.
 */
const char *ct_missing_capabilities(char *text, size_t len);

#endif /* CT_CLI_TARGET_H */
