/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* thread.c - several threads of one process, racing for pages or each with its own. */
#include <pthread.h>
#include <string.h>

#include "truth.h"

#define THREADS 4

enum { EVENT_STEP = 0 };

struct worker {
	struct truth *t;
	pthread_t thread;
	long first, pages;
	uint32_t parties;
	bool read_only;
};

static char *buffer;

static void *write_own(void *arg)
{
	const struct worker *w = arg;

	truth_meet(w->t, EVENT_STEP, w->parties, 0);
	truth_write(buffer + (size_t)w->first * TRUTH_PAGE, w->pages);
	return NULL;
}

/* All threads reach page i together, then touch it at once. */
static void *race(void *arg)
{
	const struct worker *w = arg;

	for (long i = 0; i < w->pages; i++) {
		char *page = buffer + (size_t)i * TRUTH_PAGE;

		truth_meet(w->t, EVENT_STEP, w->parties, (uint32_t)i);
		if (w->read_only)
			truth_read(page, 1);
		else
			truth_write(page, 1);
	}
	return NULL;
}

static void run_threads(struct truth *t, struct worker *workers, int n, void *(*fn)(void *))
{
	for (int i = 0; i < n; i++) {
		int err = pthread_create(&workers[i].thread, NULL, fn, &workers[i]);

		if (err)
			truth_fail(t, "pthread_create: %s", strerror(err));
	}
	for (int i = 0; i < n; i++)
		pthread_join(workers[i].thread, NULL);
	truth_expect(t, TRUTH_COPY, t->pages, t->pages + TRUTH_NOISE);
}

static void four_own(struct truth *t, void *arg)
{
	struct worker workers[THREADS];
	long share = t->pages / THREADS;

	(void)arg;
	for (int i = 0; i < THREADS; i++)
		workers[i] = (struct worker){
			.t = t,
			.first = i * share,
			.pages = i == THREADS - 1 ? t->pages - i * share : share,
			.parties = THREADS,
		};
	run_threads(t, workers, THREADS, write_own);
	truth_races(t, 8); /* for pages of libc and stacks only */
}

static void race_n(struct truth *t, int n, bool reader)
{
	struct worker workers[THREADS];

	for (int i = 0; i < n; i++)
		workers[i] = (struct worker){ .t = t,
					      .pages = t->pages,
					      .parties = (uint32_t)n,
					      .read_only = reader && i == 0 };
	run_threads(t, workers, n, race);
	truth_races(t, (n - 1) * t->pages + 8); /* WPCOPY counts the losers too */
}

static void race_two(struct truth *t, void *arg)
{
	(void)arg;
	race_n(t, 2, false);
}

static void race_four(struct truth *t, void *arg)
{
	(void)arg;
	race_n(t, 4, false);
}

static void race_reader(struct truth *t, void *arg)
{
	(void)arg;
	race_n(t, 2, true);
}

static void in_child(struct truth *t, truth_fn fn)
{
	buffer = truth_buffer(t, t->pages);
	truth_range(t, buffer, (size_t)t->pages * TRUTH_PAGE, t->pages, t->pages);
	truth_wait(t, truth_fork(t, "child", fn, NULL));
}

static void four_threads(struct truth *t)
{
	in_child(t, four_own);
}

static void two_race(struct truth *t)
{
	in_child(t, race_two);
}

static void four_race(struct truth *t)
{
	in_child(t, race_four);
}

static void reader_race(struct truth *t)
{
	in_child(t, race_reader);
}

static const struct truth_case cases[] = {
	{ "two_race", "2 threads write the same pages at once: N", two_race, false },
	{ "four_race", "4 threads write the same pages at once: N", four_race, false },
	{ "reader_race", "one writes while another reads the page: N", reader_race, false },
	{ "four_threads", "4 threads, N pages between them: N", four_threads, false },
};

int main(int argc, char **argv)
{
	static const struct truth_program program = { "thread", cases, TRUTH_ARRAY_LEN(cases),
						      NULL };

	return truth_main(argc, argv, &program);
}
