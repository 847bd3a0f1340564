/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* main.c - chooses the verb. Without one, cowtrace traces. */
#include <locale.h>
#include <signal.h>
#include <string.h>

#include "base/types.h"
#include "cli/verbs.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} ct_verbs[] = {
	{ "doctor", ct_verb_doctor },
};

int main(int argc, char **argv)
{
	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error to report, not a reason to die */
	for (size_t i = 0; argc > 1 && i < CT_ARRAY_SIZE(ct_verbs); i++)
		if (!strcmp(argv[1], ct_verbs[i].name))
			return ct_verbs[i].run(argc - 1, argv + 1);
	return ct_verb_trace(argc, argv);
}
