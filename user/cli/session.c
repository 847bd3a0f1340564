/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* session.c - capture, resolver and tally wired together. */
#include "cli/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/log.h"

uint64_t ct_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static uint32_t ct_on_image_began(void *context, pid_t pid, pid_t parent_pid, const char *command,
				  uint64_t ts_ns)
{
	struct ct_session *session = context;

	return ct_tally__process(session->tally, (uint32_t)pid, (uint32_t)parent_pid, command,
				 ts_ns);
}

static void ct_on_image_ended(void *context, uint32_t row, uint64_t ts_ns)
{
	struct ct_session *session = context;

	ct_tally__set_ended(session->tally, row, ts_ns);
}

static uint64_t ct_time_of(void *context, uint32_t jiffies)
{
	struct ct_session *session = context;

	return ct_capture__time_ns(session->capture, jiffies);
}

static int ct_make_parts(struct ct_session *session, pid_t launcher)
{
	const struct ct_resolver_events events = { .context = session,
						   .image_began = ct_on_image_began,
						   .image_ended = ct_on_image_ended,
						   .time_ns = ct_time_of };

	session->types = ct_names__new();
	session->writers = ct_names__new();
	if (!session->types || !session->writers)
		return -ENOMEM;
	session->tally = ct_tally__new(session->types, session->writers);
	session->resolver = ct_resolver__new(session->types, session->writers, &events, launcher);
	return session->tally && session->resolver ? 0 : -ENOMEM;
}

int ct_session__open(struct ct_session *session, const struct ct_options *options,
		     const struct ct_target *target)
{
	const struct ct_capture_options capture = { .hook = options->hook,
						    .follow = options->follow,
						    .ring_bytes = options->ring_bytes };
	struct utsname kernel;
	int n;

	*session = (struct ct_session){ .target = target };
	if (!uname(&kernel))
		snprintf(session->kernel, sizeof(session->kernel), "%s", kernel.release);
	if (ct_make_parts(session, target->started ? target->pid : 0)) {
		ct_error("out of memory");
		return CT_EXIT_FAILED;
	}
	session->capture = ct_capture__open_live(&capture);
	if (!session->capture)
		return CT_EXIT_FAILED;
	if (*ct_capture__refused(session->capture))
		ct_debug("hooks refused: %s", ct_capture__refused(session->capture));
	session->start_ns = ct_now_ns();
	n = ct_capture__adopt(session->capture, target->pid);
	if (n == -ESRCH) {
		ct_error("process %d ended before it could be traced", target->pid);
		return CT_EXIT_NO_TARGET;
	}
	if (n < 0) {
		ct_error("process %d cannot be traced: %s", target->pid, strerror(-n));
		return CT_EXIT_FAILED;
	}
	ct_session__pump(session, INT32_MAX);
	return 0;
}

static int ct_on_record(void *context, const struct ct_record *record, size_t len)
{
	struct ct_session *session = context;
	struct ct_sample sample;
	int n = ct_resolver__resolve(session->resolver, record, len, &sample);

	if (n > 0)
		n = ct_tally__add(session->tally, &sample);
	if (n < 0 && !session->out_of_memory) {
		session->out_of_memory = true;
		ct_warn("out of memory: from now on some faults are counted without their page");
	}
	return 0;
}

int ct_session__pump(struct ct_session *session, int limit)
{
	return ct_capture__consume(session->capture, ct_on_record, session, limit);
}

static void ct_on_overflow(void *context, uint64_t image, uint64_t address, enum ct_kind kind,
			   bool unread, int64_t count)
{
	struct ct_session *session = context;
	uint32_t row = image ? ct_resolver__row(session->resolver, image)
			     : ct_tally__process(session->tally, 0, 0, "processes unknown", 0);

	if (row != UINT32_MAX)
		ct_tally__add_undetailed(session->tally, row, (enum ct_fault)kind, unread, address,
					 12, count);
}

void ct_session__stop(struct ct_session *session)
{
	uint64_t untraced, missed;

	if (session->end_ns || !session->capture)
		return;
	ct_capture__stop(session->capture);
	session->end_ns = ct_now_ns();
	while (ct_session__pump(session, INT32_MAX) > 0)
		;
	ct_capture__drain_overflow(session->capture, ct_on_overflow, session);
	missed = ct_capture__missed(session->capture);
	if (missed)
		ct_warn("this kernel skipped %llu runs of the hook's programs, having preempted "
			"one on the "
			"same CPU: counts may be short by as many",
			(unsigned long long)missed);
	untraced = ct_capture__untraced(session->capture);
	if (untraced)
		ct_warn("%llu tasks found no room in the kernel's tables and were not traced",
			(unsigned long long)untraced);
}

struct ct_snapshot *ct_session__snapshot(struct ct_session *session, size_t max_pages)
{
	const struct ct_run_info run = {
		.hook = ct_capture__hook(session->capture),
		.kernel = session->kernel,
		.command = session->target->command,
		.pid = (uint32_t)session->target->pid,
		.duration_ns =
			(session->end_ns ? session->end_ns : ct_now_ns()) - session->start_ns,
		.finished = session->end_ns != 0,
		.missed = ct_capture__missed(session->capture),
	};
	struct ct_snapshot *snapshot = ct_tally__snapshot(session->tally, &run, max_pages);

	/* while it runs, overflow is still in the kernel: shown, though not yet in the totals */
	if (snapshot && !session->end_ns)
		snapshot->totals.undetailed += (int64_t)ct_capture__overflowed(session->capture);
	return snapshot;
}

bool ct_session__ended(const struct ct_session *session)
{
	return ct_resolver__alive(session->resolver) == 0;
}

void ct_session__reset(struct ct_session *session)
{
	ct_tally__reset(session->tally);
	session->start_ns = ct_now_ns();
}

void ct_session__close(struct ct_session *session)
{
	ct_capture__close(session->capture);
	ct_resolver__free(session->resolver);
	ct_tally__free(session->tally);
	ct_names__free(session->types);
	ct_names__free(session->writers);
}
