/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * trace.c - the tracing verb: one loop over a timer that empties the ring, signals, and keys. The
 * ring is never waited for by record: a wake-up a fault would cost more than the fault.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/session.h"
#include "cli/target.h"
#include "cli/verbs.h"

#define CT_POLL_MS	 10
#define CT_POLL_IDLE_MS	 50
#define CT_POLL_FIRST_MS 2 /* at first: a short program may be gone by the next look */
#define CT_FIRST_NS	 200000000ull
#define CT_PUMP_RECORDS	 200000	       /* then look at keys and clock again */
#define CT_GRACE_NS	 2000000000ull /* for a command to end once it was signalled */

struct ct_trace {
	struct ct_options options;
	struct ct_target target;
	struct ct_session session;
	struct ct_output output;
	struct ct_faults *faults;
	int signal_fd;
	int command_status; /* of a started command; -1: not known yet */
	bool quit;
	uint64_t quit_at_ns; /* 0: not decided */
	bool said_waiting;
};

static int ct_open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* A signal to end: at once, unless a command of ours runs; that is told, and gets time to end. */
static void ct_on_end_signal(struct ct_trace *trace, const struct signalfd_siginfo *info)
{
	if (!trace->target.started || trace->quit_at_ns) {
		trace->quit = true;
		return;
	}
	if (info->ssi_code != SI_KERNEL) /* a terminal has told the whole foreground already */
		kill(trace->target.pid, (int)info->ssi_signo);
	trace->quit_at_ns = ct_now_ns() + CT_GRACE_NS;
}

static void ct_on_signals(struct ct_trace *trace)
{
	struct signalfd_siginfo info;

	while (read(trace->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGWINCH) {
			if (trace->output.live)
				ct_output__key(&trace->output, &trace->session);
		} else if (info.ssi_signo != SIGCHLD) {
			ct_on_end_signal(trace, &info);
		}
	}
}

static void ct_check_ends(struct ct_trace *trace, uint64_t now_ns)
{
	int status;

	if (ct_target__reap(&trace->target, &status))
		trace->command_status = status;
	if (trace->options.duration_s > 0 &&
	    now_ns - trace->session.start_ns >= (uint64_t)(trace->options.duration_s * 1e9))
		trace->quit = true;
	if (trace->quit_at_ns && (now_ns >= trace->quit_at_ns || !trace->target.started))
		trace->quit = true;
	if (ct_session__ended(&trace->session) && !trace->target.started)
		trace->quit = true;
	if (trace->command_status >= 0 && !trace->quit && !trace->said_waiting) {
		trace->said_waiting = true;
		ct_warn("the command has ended; processes that it left behind are still traced "
			"(Ctrl-C to stop)");
	}
}

static void ct_loop(struct ct_trace *trace)
{
	struct pollfd fds[3] = {
		{ .fd = trace->signal_fd, .events = POLLIN },
		{ .fd = trace->output.live ? STDIN_FILENO : -1, .events = POLLIN },
		{ .fd = ct_capture__wake_fd(trace->session.capture), .events = POLLIN },
	};
	int wait_ms = CT_POLL_FIRST_MS;

	while (!trace->quit && !trace->output.closed) {
		int n = poll(fds, 3, wait_ms), records;
		uint64_t now_ns;

		if (n < 0 && errno != EINTR)
			break;
		records = ct_session__pump(&trace->session, CT_PUMP_RECORDS);
		wait_ms = records >= CT_PUMP_RECORDS ? 0 : records ? CT_POLL_MS : CT_POLL_IDLE_MS;
		if (n > 0 && fds[0].revents)
			ct_on_signals(trace);
		if (n > 0 && (fds[1].revents & POLLIN) &&
		    ct_output__key(&trace->output, &trace->session) == CT_LIVE_QUIT)
			trace->quit = true;
		if (n > 0 && (fds[1].revents & (POLLHUP | POLLERR | POLLNVAL)))
			trace->quit = true; /* the terminal is gone */
		now_ns = ct_now_ns();
		if (now_ns - trace->session.start_ns < CT_FIRST_NS && wait_ms > CT_POLL_FIRST_MS)
			wait_ms = CT_POLL_FIRST_MS;
		ct_check_ends(trace, now_ns);
		if (trace->output.interval_ns && !trace->quit &&
		    now_ns - trace->output.last_ns >= trace->output.interval_ns)
			ct_output__show(&trace->output, &trace->session);
	}
}

static void ct_say_tracing(const struct ct_trace *trace)
{
	const char *refused = ct_capture__refused(trace->session.capture);

	fprintf(stderr, "cowtrace: tracing %d (%s)%s by hook %s%s%s\n", trace->target.pid,
		trace->target.command, trace->options.follow ? " and its children" : "",
		ct_capture__hook(trace->session.capture), *refused ? "; refused: " : "", refused);
}

static int ct_trace_run(struct ct_trace *trace)
{
	int status = ct_session__open(&trace->session, &trace->options, &trace->target,
				      trace->faults),
	    err;

	if (!status)
		status = ct_target__release(&trace->target);
	if (status)
		return status;
	ct_say_tracing(trace);
	ct_output__start_live(&trace->output, &trace->options);
	if (trace->output.live)
		ct_output__show(&trace->output, &trace->session);
	ct_loop(trace);
	ct_session__stop(&trace->session);
	err = ct_output__finish(&trace->output, &trace->session);
	if (trace->command_status < 0 && trace->target.started)
		ct_warn("%s (pid %d) goes on without us", trace->target.command, trace->target.pid);
	return trace->command_status > 0 ? trace->command_status : err;
}

int ct_verb_trace(int argc, char **argv)
{
	struct ct_trace trace = { .command_status = -1 };
	int status;

	ct_options__parse(&trace.options, argc, argv);
	ct_log_set_verbose(trace.options.verbose);
	status = trace.options.pid
			 ? ct_target__find(&trace.target, trace.options.pid, trace.options.follow)
			 : 0;
	if (!status)
		status = ct_check_privileges();
	if (!status)
		status = ct_output__open(&trace.output, &trace.options);
	if (!status && trace.options.faults) {
		trace.faults = ct_faults__open(trace.options.faults);
		status = trace.faults ? 0 : CT_EXIT_FAILED;
	}
	if (!status && trace.options.command)
		status = ct_target__start(&trace.target, trace.options.command);
	if (status)
		return status;
	trace.signal_fd = ct_open_signals();
	status = ct_trace_run(&trace);
	ct_session__close(&trace.session);
	if (ct_faults__close(trace.faults) && !status)
		status = CT_EXIT_FAILED;
	return status;
}
