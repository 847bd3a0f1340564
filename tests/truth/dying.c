/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* dying.c - processes that end while they fault. How far they came is in the shared mapping. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "truth.h"

#define THREADS	     4
#define BUFFER_TIMES 20 /* far more than a dying process can write in time */

static char *buffer;
static long buffer_pages;

/* Writes on until something ends it. */
static void write_on(struct truth *t, long first, long pages, int counter)
{
	for (long i = 0; i < pages; i++) {
		truth_write(buffer + (size_t)(first + i) * TRUTH_PAGE, 1);
		atomic_store(truth_counter(t, counter), (uint64_t)i + 1);
	}
	for (;;)
		pause();
}

static void write_until_killed(struct truth *t, void *arg)
{
	(void)arg;
	write_on(t, 0, buffer_pages, 1);
}

static uint64_t progress(struct truth *t)
{
	uint64_t sum = 0;

	for (int i = 1; i <= THREADS; i++)
		sum += atomic_load(truth_counter(t, i));
	return sum;
}

static int big_buffer(struct truth *t)
{
	buffer_pages = t->pages * BUFFER_TIMES;
	buffer = truth_buffer(t, buffer_pages);
	return truth_range(t, buffer, (size_t)buffer_pages * TRUTH_PAGE, 0, 0);
}

/* A page may have been copied whose writer didn't live to say so. */
static void expect_progress(struct truth *t, int slot, int range, int64_t writers)
{
	int64_t pages = (int64_t)progress(t);

	truth_range_set(t, range, pages, pages + writers);
	truth_expect_of(t, slot, TRUTH_COPY, pages, pages + writers + TRUTH_NOISE);
}

static void killed(struct truth *t)
{
	int range = big_buffer(t), slot;
	pid_t child = truth_fork(t, "child", write_until_killed, NULL);

	slot = truth_last_slot(t);
	while (progress(t) < (uint64_t)t->pages)
		sched_yield();
	kill(child, SIGKILL);
	truth_wait_dead(t, child, slot, false);
	expect_progress(t, slot, range, 1);
}

struct worker {
	struct truth *t;
	int number;
};

static void *write_share(void *arg)
{
	const struct worker *w = arg;
	long share = buffer_pages / THREADS;

	write_on(w->t, w->number * share, share, w->number + 1);
	return NULL;
}

static void exit_while_threads_write(struct truth *t, void *arg)
{
	static struct worker workers[THREADS];
	pthread_t thread;

	(void)arg;
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ t, i };
		if (pthread_create(&thread, NULL, write_share, &workers[i]))
			truth_fail(t, "pthread_create failed");
	}
	while (progress(t) < (uint64_t)t->pages)
		sched_yield();
	_exit(0);
}

static void exits(struct truth *t)
{
	int range = big_buffer(t), slot;
	pid_t child = truth_fork(t, "child", exit_while_threads_write, NULL);

	slot = truth_last_slot(t);
	truth_wait_dead(t, child, slot, true);
	expect_progress(t, slot, range, THREADS);
}

static const struct truth_case cases[] = {
	{ "killed", "SIGKILL in the middle of its writes", killed, false },
	{ "exits", "_exit while 4 threads write", exits, false },
};

int main(int argc, char **argv)
{
	static const struct truth_program program = { "dying", cases, TRUTH_ARRAY_LEN(cases),
						      NULL };

	return truth_main(argc, argv, &program);
}
