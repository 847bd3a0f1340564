/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* session.c - capture, resolver and tally wired together. */
#include "cli/session.h"
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/fmt.h"
#include "base/log.h"
#include "heap/reader.h"

#define CT_STACKS_KEPT 262144u /* different ones; of more only their innermost frame is counted */

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

static void ct_on_runtime(void *context, uint64_t image, uint32_t tid,
			  const struct ct_runtime *runtime)
{
	struct ct_session *session = context;
	int err = ct_capture__set_runtime(session->capture, image, tid, runtime);

	if (!err || session->said_no_runtime)
		return;
	session->said_no_runtime = true;
	ct_warn("the interpreter of pid %u is not read at fault time (%s): its causes are told "
		"from the writer alone",
		CT_IMAGE_TGID(image), strerror(-err));
}

static void ct_on_interpreter(void *context, uint32_t row, pid_t pid, const char *name,
			      const struct ct_interpreter *interpreter)
{
	struct ct_session *session = context;
	struct ct_session_interpreter *found = session->found;
	size_t i = 0;

	while (i < session->n_interpreters && found[i].row != row)
		i++;
	if (i == CT_INTERPRETERS_MOST)
		return;
	session->n_interpreters += i == session->n_interpreters;
	found[i].row = row;
	ct_escape(found[i].version, sizeof(found[i].version), interpreter->version,
		  sizeof(interpreter->version));
	ct_escape(found[i].object, sizeof(found[i].object), interpreter->object,
		  sizeof(interpreter->object));
	ct_escape(found[i].why, sizeof(found[i].why), interpreter->no_stacks,
		  sizeof(interpreter->no_stacks));
	session->interpreters[i] = (struct ct_interpreter_row){ .pid = (uint32_t)pid,
								.name = name,
								.version = found[i].version,
								.object = found[i].object,
								.why = found[i].why };
}

static void ct_count_sample(void *context, const struct ct_sample *sample)
{
	struct ct_session *session = context;

	if (ct_tally__add(session->tally, sample) < 0 && !session->out_of_memory) {
		session->out_of_memory = true;
		ct_warn("out of memory: from now on some faults are counted without their page");
	}
	if (session->faults)
		ct_faults__put(session->faults, sample, &session->names);
}

static int ct_make_parts(struct ct_session *session, pid_t launcher)
{
	struct ct_resolver_names *names = &session->names;
	const struct ct_resolver_events events = { .context = session,
						   .image_began = ct_on_image_began,
						   .image_ended = ct_on_image_ended,
						   .time_ns = ct_time_of,
						   .runtime_found = ct_on_runtime,
						   .interpreter_found = ct_on_interpreter,
						   .corrected = ct_count_sample };

	names->types = ct_names__new();
	names->writers = ct_names__new();
	names->lines = ct_names__new();
	names->stacks = ct_lists__new(CT_STACKS_KEPT);
	if (!names->types || !names->writers || !names->lines || !names->stacks)
		return -ENOMEM;
	session->tally = ct_tally__new(names->types, names->writers);
	session->resolver = ct_resolver__new(names, &events, launcher);
	if (!session->tally || !session->resolver)
		return -ENOMEM;
	ct_tally__with_stacks(session->tally, names->lines, names->stacks, session->stacks);
	return 0;
}

int ct_session__open(struct ct_session *session, const struct ct_options *options,
		     const struct ct_target *target, struct ct_faults *faults)
{
	const struct ct_capture_options capture = { .hook = options->hook,
						    .follow = options->follow,
						    .ring_bytes = options->ring_bytes,
						    .stacks = options->stacks };
	struct utsname kernel;
	int n;

	*session = (struct ct_session){ .target = target,
					.faults = faults,
					.stacks = options->stacks };
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
	if (faults)
		ct_faults__start(faults, session->start_ns);
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

	if (n > 0) {
		ct_count_sample(session, &sample);
	} else if (n < 0 && !session->out_of_memory) {
		session->out_of_memory = true;
		ct_warn("out of memory: from now on some faults are not counted");
	}
	return 0;
}

int ct_session__pump(struct ct_session *session, int limit)
{
	int n = ct_capture__consume(session->capture, ct_on_record, session, limit);

	ct_resolver__work(session->resolver, false);
	if (session->faults)
		ct_faults__flush(session->faults);
	return n;
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
	if (row != UINT32_MAX && session->faults)
		ct_faults__put_undetailed(session->faults, CT_IMAGE_TGID(image),
					  (enum ct_fault)kind, address, count);
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
	ct_resolver__work(session->resolver, true);
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
	struct ct_resolver_bytes bytes;
	struct ct_snapshot *snapshot;
	struct ct_run_info run = {
		.hook = ct_capture__hook(session->capture),
		.kernel = session->kernel,
		.command = session->target->command,
		.pid = (uint32_t)session->target->pid,
		.duration_ns =
			(session->end_ns ? session->end_ns : ct_now_ns()) - session->start_ns,
		.finished = session->end_ns != 0,
		.missed = ct_capture__missed(session->capture),
		.interpreters = session->interpreters,
		.n_interpreters = session->n_interpreters,
	};

	ct_resolver__bytes(session->resolver, &bytes);
	run.has_bytes = bytes.carried != 0;
	run.carried = bytes.carried;
	run.compared = bytes.compared;
	run.differ = bytes.differ;
	run.place_differ = bytes.place_differ;
	snapshot = ct_tally__snapshot(session->tally, &run, max_pages);
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
	ct_resolver__reset(session->resolver);
	session->start_ns = ct_now_ns();
}

void ct_session__close(struct ct_session *session)
{
	ct_capture__close(session->capture);
	ct_resolver__free(session->resolver);
	ct_tally__free(session->tally);
	ct_names__free(session->names.types);
	ct_names__free(session->names.writers);
	ct_names__free(session->names.lines);
	ct_lists__free(session->names.stacks);
}
