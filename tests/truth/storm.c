/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * storm.c - four workers that copy pages without end, to attach to, detach from and attach again.
 *
 * Commands, one a line on standard input:
 *	go      the workers run
 *	pause   they stop, each between two writes; then one report line on standard output
 *	report  the same line while they run: WPCOPY of every worker up to now
 *	quit    they end; so does end of file
 * The storm begins paused, with one report line. A report:
 *	{"phase":"pause","processes":[{"pid":812,"role":"worker","wpcopy":4711},...]}
 */
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "truth.h"

#define WORKERS 4

enum { EVENT_PARKED = 0, EVENT_GO };
enum { COUNTER_STATE = 1 };
enum { STATE_PAUSE = 0, STATE_RUN, STATE_QUIT };

static char *buffer;

static void hold(struct truth *t, void *arg)
{
	(void)t;
	(void)arg;
	for (;;)
		pause();
}

/* Return: whether the storm goes on. @gone: how often it has been let go. */
static bool may_go_on(struct truth *t, uint32_t *gone)
{
	while (atomic_load(truth_counter(t, COUNTER_STATE)) == STATE_PAUSE) {
		truth_signal(t, EVENT_PARKED);
		truth_await(t, EVENT_GO, ++*gone);
	}
	return atomic_load(truth_counter(t, COUNTER_STATE)) == STATE_RUN;
}

/* Share all pages with a holder, copy each, let the holder go; again. */
static void storm_worker(struct truth *t, void *arg)
{
	uint32_t gone = 0;
	bool go_on = true;

	(void)arg;
	truth_pages_unknown(t);
	while (go_on && may_go_on(t, &gone)) {
		pid_t holder = truth_fork_plain(t, hold, NULL);

		for (long i = 0; go_on && i < t->pages; i++) {
			go_on = may_go_on(t, &gone);
			truth_write(buffer + (size_t)i * TRUTH_PAGE, 1);
		}
		kill(holder, SIGKILL);
		waitpid(holder, NULL, 0);
	}
}

static bool read_command(char *line, size_t room)
{
	size_t n = 0;

	while (n + 1 < room && read(STDIN_FILENO, line + n, 1) == 1) {
		if (line[n] == '\n') {
			line[n] = 0;
			return true;
		}
		n++;
	}
	return false;
}

static void await_parked(struct truth *t, uint32_t *pauses)
{
	truth_await(t, EVENT_PARKED, ++*pauses * WORKERS);
}

static void obey(struct truth *t)
{
	uint32_t pauses = 0;
	bool paused = true;
	char line[32];

	await_parked(t, &pauses);
	truth_report(t, "start");
	while (read_command(line, sizeof(line)) && strcmp(line, "quit")) {
		if (!strcmp(line, "go") && paused) {
			atomic_store(truth_counter(t, COUNTER_STATE), STATE_RUN);
			truth_signal(t, EVENT_GO);
			paused = false;
		} else if (!strcmp(line, "pause") && !paused) {
			atomic_store(truth_counter(t, COUNTER_STATE), STATE_PAUSE);
			await_parked(t, &pauses);
			truth_report(t, line);
			paused = true;
		} else if (!strcmp(line, "report")) {
			truth_report(t, line);
		}
	}
	atomic_store(truth_counter(t, COUNTER_STATE), STATE_QUIT);
	truth_signal(t, EVENT_GO);
}

static void storm(struct truth *t)
{
	pid_t worker[WORKERS];

	buffer = truth_buffer(t, t->pages);
	for (int i = 0; i < WORKERS; i++)
		worker[i] = truth_fork(t, "worker", storm_worker, NULL);
	obey(t);
	for (int i = 0; i < WORKERS; i++)
		truth_wait(t, worker[i]);
}

static const struct truth_case cases[] = {
	{ "storm", "copies without end; commands on standard input", storm, false },
};

int main(int argc, char **argv)
{
	static const struct truth_program program = { "storm", cases, TRUTH_ARRAY_LEN(cases),
						      NULL };

	return truth_main(argc, argv, &program);
}
