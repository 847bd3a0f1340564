/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * prefork.c - a made-up server in a made-up dynamic language: the parent builds a heap of objects,
 * forks workers, and each of these unshares the memory in its own way. All do so evenly over the
 * given time, so that somebody watching sees it happen.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../gcheap.h"

#define OBJECTS_A_RECORD 10 /* what make_record makes, on average */
#define WORKERS_MAX	 256
#define TICK_NS		 20000000 /* sleep of a worker that is ahead of its time */

static const char help[] =
	"Usage: gcheap-demo [--objects N] [--workers N] [--seconds S] [--seed N] [--layout L]\n"
	"Build a garbage-collected heap, fork workers, and let them unshare it.\n"
	"\n"
	"  --objects N   objects to build (default 400000)\n"
	"  --workers N   processes to fork (default 4): the 1st reads, the 2nd collects,\n"
	"                the 3rd mutates, the 4th allocates, the 5th reads, and so on\n"
	"  --seconds S   how long they take for it (default 20)\n"
	"  --seed N      of the sizes and of where the 3rd and 4th begin (default 1)\n"
	"  --layout L    inline (default), or split: refcounts and GC headers in pages apart\n"
	"  --help        this text\n"
	"\n"
	"Watch it with: cowtrace -- gcheap-demo\n";

struct demo {
	size_t objects, workers;
	double seconds;
	uint64_t random;
	struct timespec start;
	struct gcheap_object *records; /* a list of tuples: see make_record */
	size_t walked;		       /* the collector's progress, in containers */
	size_t containers;
};

/** A type of the program's own: a container with two slots and a counter. */
struct session {
	struct gcheap_object head;
	struct gcheap_object *user, *state;
	int64_t hits;
};

static void session_traverse(struct gcheap_object *op, gcheap_visit visit, void *arg)
{
	visit(((struct session *)op)->user, arg);
	visit(((struct session *)op)->state, arg);
}

static void session_dealloc(struct gcheap_object *op)
{
	gcheap_decref(((struct session *)op)->user);
	gcheap_decref(((struct session *)op)->state);
}

static const struct gcheap_type session_type = {
	.name = "Session",
	.basicsize = sizeof(struct session),
	.flags = GCHEAP_CONTAINER,
	.traverse = session_traverse,
	.dealloc = session_dealloc,
};

static void die_of_memory(void)
{
	fprintf(stderr, "gcheap-demo: out of memory: try fewer --objects\n");
	_exit(1);
}

static struct gcheap_object *need(struct gcheap_object *op)
{
	if (!op)
		die_of_memory();
	return op;
}

static struct gcheap_object *share(struct gcheap_object *op)
{
	gcheap_incref(op);
	return op;
}

static uint64_t next_random(struct demo *demo)
{
	demo->random ^= demo->random << 13;
	demo->random ^= demo->random >> 7;
	demo->random ^= demo->random << 17;
	return demo->random;
}

static struct gcheap_object *make_string(struct demo *demo, size_t number)
{
	char text[64];
	int len = snprintf(text, sizeof(text), "user-%zu", number);

	/* of different lengths, so in different pools */
	for (uint64_t more = next_random(demo) % 40; more && len < (int)sizeof(text) - 1; more--)
		text[len++] = '.';
	return need(gcheap_string_new(text, (size_t)len));
}

/* (int, string, list of 4 ints, Session -> (string, every 4th time a dict)) */
static struct gcheap_object *make_record(struct demo *demo, size_t number)
{
	struct gcheap_object *record = need(gcheap_tuple_new(4)), *list = need(gcheap_list_new());
	struct session *session = (void *)need(gcheap_new(&session_type, 0));
	struct gcheap_object *name = make_string(demo, number);

	for (size_t i = 0; i < 4; i++) {
		if (!gcheap_append(list, need(gcheap_int_new((int64_t)(number + i)))))
			die_of_memory();
	}
	session->user = share(name);
	if (number % 4 == 0) {
		session->state = need(gcheap_dict_new());
		for (size_t i = 0; i < 3; i++) {
			if (!gcheap_dict_set(session->state, need(gcheap_int_new((int64_t)i)),
					     share(name)))
				die_of_memory();
		}
	}
	gcheap_set(record, 0, need(gcheap_int_new((int64_t)number)));
	gcheap_set(record, 1, name);
	gcheap_set(record, 2, list);
	gcheap_set(record, 3, &session->head);
	return record;
}

static void build(struct demo *demo)
{
	size_t count = demo->objects / OBJECTS_A_RECORD + 1;

	demo->records = need(gcheap_list_new());
	for (size_t i = 0; i < count; i++) {
		if (!gcheap_append(demo->records, make_record(demo, i)))
			die_of_memory();
	}
	/* a server that has run for a while has holes in its heap */
	for (size_t i = 0; i < count / 16; i++) {
		size_t k = next_random(demo) % count;

		gcheap_set(demo->records, k, make_record(demo, k));
	}
}

/** Sleep until the time is come for @done of @total steps. */
static void pace(const struct demo *demo, size_t done, size_t total)
{
	struct timespec now, tick = { .tv_nsec = TICK_NS };
	double due = demo->seconds * ((double)done / (double)total);

	for (;;) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if ((double)(now.tv_sec - demo->start.tv_sec) +
			    (double)(now.tv_nsec - demo->start.tv_nsec) / 1e9 >=
		    due)
			return;
		nanosleep(&tick, NULL);
	}
}

static void read_object(struct gcheap_object *op, void *arg)
{
	if (!op)
		return;
	gcheap_incref(op);
	if (op->type->traverse)
		op->type->traverse(op, read_object, arg);
	gcheap_decref(op);
}

static void work_read(struct demo *demo)
{
	size_t count = gcheap_len(demo->records);

	for (size_t i = 0; i < count; i++) {
		read_object(gcheap_get(demo->records, i), NULL);
		if (i % 16 == 0)
			pace(demo, i, count);
	}
}

static void collect_progress(void *arg)
{
	struct demo *demo = arg;

	demo->walked += 64;
	pace(demo, demo->walked < demo->containers ? demo->walked : demo->containers,
	     demo->containers);
}

static void work_collect(struct demo *demo)
{
	struct gcheap_stats stats;

	gcheap_get_stats(&stats);
	demo->containers = stats.containers;
	gcheap_on_progress(collect_progress, demo);
	gcheap_collect();
}

/* New list items, a counter in place, now and then a dict's value. */
static void work_mutate(struct demo *demo)
{
	struct gcheap_object *value = need(gcheap_int_new(-1));
	size_t count = gcheap_len(demo->records), first = next_random(demo) % count;

	for (size_t i = 0; i < count; i++) {
		struct gcheap_object *record = gcheap_get(demo->records, (first + i) % count);
		struct session *session = (void *)gcheap_get(record, 3);

		session->hits++;
		gcheap_set(gcheap_get(record, 2), i % 4, share(value));
		if (session->state)
			gcheap_dict_set(session->state, need(gcheap_int_new(1)), share(value));
		if (i % 16 == 0)
			pace(demo, i, count);
	}
}

/* Requests: each makes a record, one in four is kept. */
static void work_allocate(struct demo *demo)
{
	size_t count = gcheap_len(demo->records) / 4 + 1;
	struct gcheap_object *kept = need(gcheap_list_new());

	for (size_t i = 0; i < count; i++) {
		struct gcheap_object *record = make_record(demo, i);

		if (i % 4 == 0 && !gcheap_append(kept, share(record)))
			die_of_memory();
		gcheap_decref(record);
		if (i % 16 == 0)
			pace(demo, i, count);
	}
}

static void work(struct demo *demo, size_t number)
{
	static void (*const jobs[])(struct demo *) = { work_read, work_collect, work_mutate,
						       work_allocate };

	demo->random += number * 0x9e3779b97f4a7c15ull;
	next_random(demo);
	gcheap_disable(); /* each in its own way: only the 2nd collects */
	jobs[number % 4](demo);
	pace(demo, 1, 1); /* stay to the end, to be looked at */
}

/* Signals that the parent takes by sigwaitinfo: blocked, so that none comes at a wrong moment. */
static void parent_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGCHLD);
}

static pid_t start_worker(struct demo *demo, size_t number, pid_t parent)
{
	pid_t pid = fork();
	sigset_t set;

	if (pid)
		return pid;
	signal(SIGINT, SIG_IGN); /* Ctrl-C is the parent's business */
	parent_signals(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		work(demo, number);
	_exit(0);
}

static void stop_workers(const pid_t *workers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (workers[i])
			kill(workers[i], SIGTERM);
	}
}

/** Take note of workers that ended: their pid becomes 0. Return: how many failed. */
static size_t reap(pid_t *workers, size_t count, size_t *left)
{
	size_t failed = 0;
	int status;

	for (size_t i = 0; i < count; i++) {
		if (!workers[i] || waitpid(workers[i], &status, WNOHANG) != workers[i])
			continue;
		workers[i] = 0;
		(*left)--;
		failed += !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	return failed;
}

/** Wait for the workers, or stop them when told to. Return: exit status. */
static int wait_for(pid_t *workers, size_t count, const sigset_t *set)
{
	size_t left = count, failed = 0;
	bool stopped = false;

	while (left) {
		int sig = sigwaitinfo(set, NULL);

		if (sig == SIGINT || sig == SIGTERM) {
			stop_workers(workers, count);
			stopped = true;
		}
		failed += reap(workers, count, &left);
	}
	return failed && !stopped;
}

static int run(struct demo *demo)
{
	pid_t workers[WORKERS_MAX], parent = getpid();
	struct gcheap_stats stats;
	size_t count = 0;
	sigset_t set;
	int error = 0;

	parent_signals(&set);
	build(demo);
	gcheap_get_stats(&stats);
	printf("gcheap-demo: pid %d: %zu objects and buffers in %zu MiB; %zu workers for %g s: "
	       "1 reads, 2 collects, 3 mutates, 4 allocates\n",
	       (int)parent, stats.blocks, stats.mapped_bytes >> 20, demo->workers, demo->seconds);
	fflush(stdout);
	sigprocmask(SIG_BLOCK, &set, NULL);
	clock_gettime(CLOCK_MONOTONIC, &demo->start);
	for (; count < demo->workers && !error; count += !error) {
		workers[count] = start_worker(demo, count, parent);
		error = workers[count] < 0 ? errno : 0;
	}
	if (error) {
		fprintf(stderr, "gcheap-demo: fork: %s\n", strerror(error));
		stop_workers(workers, count);
	}
	return wait_for(workers, count, &set) || error;
}

static double number_option(const char *name, const char *text, double low, double high)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= low && value <= high)) {
		fprintf(stderr, "gcheap-demo: --%s must be %g to %g\n", name, low, high);
		exit(2);
	}
	return value;
}

static void open_heap(const char *layout)
{
	const struct gcheap_options options = {
		.layout = strcmp(layout, "split") ? GCHEAP_INLINE : GCHEAP_SPLIT,
	};

	if (strcmp(layout, "split") && strcmp(layout, "inline")) {
		fprintf(stderr, "gcheap-demo: --layout must be inline or split\n");
		exit(2);
	}
	gcheap_open(&options);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "objects", required_argument, NULL, 'o' },
		{ "workers", required_argument, NULL, 'w' },
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'r' },
		{ "layout", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct demo demo = { .objects = 400000, .workers = 4, .seconds = 20, .random = 1 };
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'o':
			demo.objects = (size_t)number_option("objects", optarg, 1, 1e9);
			break;
		case 'w':
			demo.workers = (size_t)number_option("workers", optarg, 1, WORKERS_MAX);
			break;
		case 's':
			demo.seconds = number_option("seconds", optarg, 0, 1e6);
			break;
		case 'r':
			demo.random = (uint64_t)number_option("seed", optarg, 1, 1e15);
			break;
		case 'l':
			open_heap(optarg);
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			fputs(help, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "gcheap-demo: %s: no such option; see --help\n", argv[optind]);
		return 2;
	}
	return run(&demo);
}
