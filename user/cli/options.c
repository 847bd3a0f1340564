/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* options.c - the command line of the tracing verb, by argp. */
#include "cli/options.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"
#include "capture/capture.h"

const char *argp_program_version = "cowtrace " CT_VERSION;

#define CT_STACKS_DEFAULT 16
#define CT_STACKS_MOST	  1000000
#define CT_AXES		  "cell, cause, type, writer, page, process, line, function and module"

enum {
	CT_OPT_BY = 256,
	CT_OPT_NO_FOLLOW,
	CT_OPT_HOOK,
	CT_OPT_JSON,
	CT_OPT_FAULTS,
	CT_OPT_STACKS,
	CT_OPT_RING,
	CT_OPT_PLAIN
};

static const struct argp_option ct_argp_options[] = {
	{ "pid", 'p', "PID", 0, "Trace process PID and the children that it has and forks", 1 },
	{ "no-follow", CT_OPT_NO_FOLLOW, NULL, 0, "Trace PID or CMD alone, not its children", 1 },
	{ "duration", 'd', "SECONDS", 0, "Stop after SECONDS (default: when the target has ended)",
	  2 },
	{ "interval", 'i', "SECONDS", 0,
	  "Redraw, or print a block, each SECONDS (default: 0.5 on a terminal; else 2 with -p and "
	  "only a summary with CMD)",
	  2 },
	{ "by", CT_OPT_BY, "AXIS", 0,
	  "Show cell, cause, type, writer, page, process, line, function or module first", 3 },
	{ "stacks", CT_OPT_STACKS, "N", OPTION_ARG_OPTIONAL,
	  "Take the stack of each N-th fault (default 16): Python lines, functions, modules", 3 },
	{ "json", CT_OPT_JSON, "FILE", 0,
	  "At the end write all counts as JSON, one line, to FILE ('-': standard output)", 3 },
	{ "faults", CT_OPT_FAULTS, "FILE", 0,
	  "Write each fault as a line of JSON, as it comes, to FILE ('-': standard output)", 3 },
	{ "plain", CT_OPT_PLAIN, NULL, 0, "No live screen, even on a terminal", 3 },
	{ "hook", CT_OPT_HOOK, "HOOK", 0,
	  "fexit, kprobe or tracepoint (default: auto, the first of them that works here)", 4 },
	{ "ring", CT_OPT_RING, "BYTES", 0,
	  "Size of the ring buffer, a power of two (default 16M, with --stacks 64M; K, M, G may "
	  "follow)",
	  4 },
	{ "verbose", 'v', NULL, 0, "Tell what is being done, and what libbpf says", 4 },
	{ 0 },
};

static const char ct_doc[] =
	"Count every copy-on-write fault of a forking program: which page, which cell of which "
	"object of its heap, who wrote it and why.\v"
	"Examples:\n"
	"  sudo cowtrace -p 812                     live, until it ends or Ctrl-C\n"
	"  sudo cowtrace -p 812 -d 60 --by type     one minute, types of objects first\n"
	"  sudo cowtrace -p 812 --by line           the Python lines that write\n"
	"  sudo cowtrace --json out.json -- python3 app.py\n"
	"  sudo cowtrace -p $(pgrep -of gunicorn) --json - | jq .totals\n"
	"  sudo cowtrace doctor                     what this machine offers\n"
	"\n"
	"Exit status: 0 done, 1 the tool failed, 2 usage, 3 nothing to attach to; with CMD its own "
	"(128 + signal).";

/* One line, not the two that argp_error makes. */
#define ct_usage_error(state, ...) argp_failure(state, CT_EXIT_USAGE, 0, __VA_ARGS__)

static double ct_parse_seconds(struct argp_state *state, const char *option, const char *arg)
{
	double value;
	char *end;

	errno = 0;
	value = strtod(arg, &end);
	if (errno || end == arg || *end || !isfinite(value) || value <= 0 || value > 1e9)
		ct_usage_error(state, "%s takes a number of seconds above 0, not '%s'", option,
			       arg);
	return value;
}

static pid_t ct_parse_pid(struct argp_state *state, const char *arg)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(arg, &end, 10);
	if (errno || end == arg || *end || value <= 0 || value > 4194304)
		ct_usage_error(state, "-p takes a process id, not '%s'", arg);
	return (pid_t)value;
}

static size_t ct_parse_ring(struct argp_state *state, const char *arg)
{
	static const char units[] = "KMG";
	unsigned long long value;
	const char *unit;
	char *end;

	errno = 0;
	value = strtoull(arg, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (unit && value < 1ull << 32) {
		value <<= 10 * (unit - units + 1);
		end++;
	}
	if (errno || *end || *arg == '-' || value < 4096 || value > 1u << 30 ||
	    (value & (value - 1)))
		ct_usage_error(state, "--ring takes a power of two from 4K to 1G, not '%s'", arg);
	return (size_t)value;
}

static unsigned int ct_parse_stacks(struct argp_state *state, const char *arg)
{
	unsigned long value;
	char *end;

	if (!arg)
		return CT_STACKS_DEFAULT;
	errno = 0;
	value = strtoul(arg, &end, 10);
	if (errno || end == arg || *end || *arg == '-' || value < 1 || value > CT_STACKS_MOST)
		ct_usage_error(state, "--stacks takes a number from 1 to %d, not '%s'",
			       CT_STACKS_MOST, arg);
	return (unsigned int)value;
}

static const char *ct_parse_hook(struct argp_state *state, const char *arg)
{
	if (!strcmp(arg, "auto"))
		return NULL;
	for (size_t i = 0; ct_hook_names[i]; i++)
		if (!strcmp(arg, ct_hook_names[i]))
			return ct_hook_names[i];
	ct_usage_error(state, "unknown hook '%s': there are auto, fexit, kprobe and tracepoint",
		       arg);
	return NULL;
}

static void ct_check(struct argp_state *state, struct ct_options *options)
{
	if (ct_axis_is_sampled(options->axis) && !options->stacks)
		options->stacks = CT_STACKS_DEFAULT;
	if (options->json && options->faults && !strcmp(options->json, options->faults) &&
	    strcmp(options->json, "-") != 0)
		ct_usage_error(state, "--json and --faults cannot write the same file");
	if (options->pid && options->command)
		ct_usage_error(state, "-p and a command exclude each other");
	if (!options->pid && !options->command)
		ct_usage_error(state, "what is to be traced? Give -p PID, or -- CMD");
}

static error_t ct_parse_one(int key, char *arg, struct argp_state *state)
{
	struct ct_options *options = state->input;

	switch (key) {
	case 'p':
		options->pid = ct_parse_pid(state, arg);
		break;
	case 'd':
		options->duration_s = ct_parse_seconds(state, "-d", arg);
		break;
	case 'i':
		options->interval_s = ct_parse_seconds(state, "-i", arg);
		break;
	case 'v':
		options->verbose = true;
		break;
	case CT_OPT_BY:
		options->axis = ct_axis_parse(arg);
		if (options->axis == CT_AXIS_UNKNOWN)
			ct_usage_error(state, "unknown axis '%s': there are " CT_AXES, arg);
		break;
	case CT_OPT_NO_FOLLOW:
		options->follow = false;
		break;
	case CT_OPT_HOOK:
		options->hook = ct_parse_hook(state, arg);
		break;
	case CT_OPT_JSON:
		options->json = arg;
		break;
	case CT_OPT_FAULTS:
		options->faults = arg;
		break;
	case CT_OPT_STACKS:
		options->stacks = ct_parse_stacks(state, arg);
		break;
	case CT_OPT_RING:
		options->ring_bytes = ct_parse_ring(state, arg);
		break;
	case CT_OPT_PLAIN:
		options->plain = true;
		break;
	case ARGP_KEY_ARG:
		if (!state->quoted || state->next <= state->quoted)
			ct_usage_error(
				state,
				"unknown verb '%s': there is doctor; a command to trace goes "
				"behind --",
				arg);
		options->command = state->argv + state->next - 1;
		state->next = state->argc;
		break;
	case ARGP_KEY_END:
		ct_check(state, options);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

void ct_options__parse(struct ct_options *options, int argc, char **argv)
{
	static const struct argp argp = { .options = ct_argp_options,
					  .parser = ct_parse_one,
					  .args_doc = "-p PID\n-- CMD [ARG...]\ndoctor",
					  .doc = ct_doc };

	*options = (struct ct_options){ .axis = CT_AXIS_CELL, .follow = true };
	argp_err_exit_status = CT_EXIT_USAGE;
	argv[0] = (char *)"cowtrace"; /* what getopt's own messages begin with */
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, options);
}
