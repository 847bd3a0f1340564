/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* doctor.c - the verb that tells what this machine offers, and what is missing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/log.h"
#include "capture/calibrate.h"
#include "capture/capture.h"
#include "cli/options.h"
#include "cli/target.h"
#include "cli/verbs.h"

static void ct_row(const char *what, bool good, const char *detail)
{
	printf("%-16s %-4s %s\n", what, good ? "ok" : "no", detail);
}

/* The first word of a small file of /proc or /sys; "" if there is none. */
static const char *ct_setting(const char *path, char *text, size_t len)
{
	FILE *f = fopen(path, "re");

	text[0] = '\0';
	if (f && fgets(text, (int)len, f))
		text[strcspn(text, "\n")] = '\0';
	if (f)
		fclose(f);
	return text;
}

static bool ct_doctor_hooks(void)
{
	const char *const *ladder = ct_capture__ladder();
	bool any = false;

	for (size_t i = 0; ladder[i]; i++) {
		char why[256] = "", row[64];
		int err = ct_capture__probe(ladder[i], why, sizeof(why));

		snprintf(row, sizeof(row), "hook %s", ladder[i]);
		ct_row(row, !err, err ? why : any ? "works" : "works: this one is used");
		any = any || !err;
	}
	return any;
}

int ct_verb_doctor(int argc, char **argv)
{
	char missing[128], text[256], why[256] = "";
	struct ct_kernel_layout layout;
	struct utsname kernel;
	bool btf, good;
	int err;

	if (argc > 1) {
		bool help = !strcmp(argv[1], "--help");

		fprintf(help ? stdout : stderr,
			"Usage: cowtrace doctor\nTells what this machine offers for tracing, and "
			"what is missing. Exit status: 0 tracing works, 1 it does not.\n");
		return help ? CT_EXIT_DONE : CT_EXIT_USAGE;
	}
	if (!uname(&kernel))
		printf("cowtrace %s on Linux %s %s\n", CT_VERSION, kernel.release, kernel.machine);
	ct_missing_capabilities(missing, sizeof(missing));
	ct_row("privileges", !*missing,
	       *missing ? missing : "CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE");
	btf = !access("/sys/kernel/btf/vmlinux", R_OK);
	ct_row("kernel BTF", btf, btf ? "/sys/kernel/btf/vmlinux" : strerror(errno));
	ct_setting("/sys/kernel/security/lockdown", text, sizeof(text));
	ct_row("lockdown", !strstr(text, "[confidentiality]"), *text ? text : "not built in");
	good = !*missing && btf;
	if (good) {
		err = ct_calibrate(&layout, why, sizeof(why));
		snprintf(text, sizeof(text), "%u levels, struct page %llu bytes", layout.levels,
			 (unsigned long long)layout.page_size);
		ct_row("page tables", !err, err ? why : text);
		good = !err && ct_doctor_hooks();
	}
	ct_setting("/proc/sys/kernel/task_delayacct", text, sizeof(text));
	printf("%-16s %-4s %s\n", "WPCOPY", "",
	       *text == '1' ? "kernel.task_delayacct is on: taskstats can confirm the counts"
			    : "kernel.task_delayacct is off: 'sysctl kernel.task_delayacct=1' "
			      "before the target "
			      "starts lets taskstats confirm the counts");
	printf("%s\n", good ? "Tracing works here."
			    : "Tracing does not work here: see the lines that say no.");
	return good ? CT_EXIT_DONE : CT_EXIT_FAILED;
}
