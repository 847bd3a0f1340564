/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* verbs.h - what cowtrace can be told to do: each returns an exit status. A new verb is one
 * function here and one line in main.c. */
#ifndef CT_CLI_VERBS_H
#define CT_CLI_VERBS_H

/** cowtrace [OPTIONS] -p PID | -- CMD */
int ct_verb_trace(int argc, char **argv);
/** cowtrace doctor */
int ct_verb_doctor(int argc, char **argv);

#endif /* CT_CLI_VERBS_H */
