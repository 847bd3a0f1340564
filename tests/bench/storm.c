/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * storm.c - page faults made to be timed. Pins itself to one CPU and obeys lines on standard input:
 *
 *	cow N		N times: fork a child that writes each page it shares with its parent
 *	touch N		N times: write each page of fresh memory for the first time
 *	populate N	N times: have the kernel allocate pages without a page fault, and free them
 *
 * Each is answered by one line: nanoseconds of every slice of SLICE_PAGES pages in a row, in order.
 * A slice is short, so that most slices see no interrupt and no other process: their low
 * percentiles are the true cost, on a busy machine too.
 *
 *	storm CPU			obey standard input
 *	storm --flood PROCS SECONDS MB	for the time: PROCS processes each fork a child that writes
 *MB of shared pages, and wait for it. Then the pages written, and the seconds that took
 */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define SLICE_PAGES 50
#define SLICES	    40
#define PAGES	    (SLICES * SLICE_PAGES)
#define HEAP_STORMS 16 /* a storm writes one part of a heap of so many, the next one the next */

/* 4 KiB pages, never huge ones. */
static char *make_pages(size_t pages, int flags)
{
	char *at = mmap(NULL, pages * BENCH_PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1,
			0);

	if (at == MAP_FAILED)
		bench_die("mmap");
	madvise(at, pages * BENCH_PAGE, MADV_NOHUGEPAGE);
	return at;
}

static void write_pages(char *at, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		((volatile char *)at)[i * BENCH_PAGE] = 1;
}

static void time_writes(char *at, uint64_t *slices)
{
	uint64_t before = bench_now_ns(), now;

	for (size_t i = 0; i < SLICES; i++) {
		write_pages(at + i * SLICE_PAGES * BENCH_PAGE, SLICE_PAGES);
		now = bench_now_ns();
		slices[i] = now - before;
		before = now;
	}
}

static void cow(char *heap, uint64_t *slices)
{
	static unsigned int turn;
	char *shared = heap + turn++ % HEAP_STORMS * PAGES * BENCH_PAGE;
	pid_t child = fork();

	if (child < 0)
		bench_die("fork");
	if (!child) {
		slices[0] = 0; /* the shared result page and the stack have their faults now */
		bench_now_ns();
		time_writes(shared, slices);
		_exit(0);
	}
	if (waitpid(child, NULL, 0) != child)
		bench_die("waitpid");
}

static void touch(char *heap, uint64_t *slices)
{
	char *fresh = make_pages(PAGES, MAP_PRIVATE);

	(void)heap;
	time_writes(fresh, slices);
	munmap(fresh, PAGES * BENCH_PAGE);
}

static void populate(char *heap, uint64_t *slices)
{
	size_t bytes = SLICE_PAGES * BENCH_PAGE;
	char *fresh = make_pages(PAGES, MAP_PRIVATE);

	(void)heap;
	write_pages(fresh, PAGES); /* the page tables are there from now on */
	madvise(fresh, PAGES * BENCH_PAGE, MADV_DONTNEED);
	for (size_t i = 0; i < SLICES; i++) {
		uint64_t before = bench_now_ns();

		if (madvise(fresh + i * bytes, bytes, MADV_POPULATE_WRITE))
			bench_die("MADV_POPULATE_WRITE");
		madvise(fresh + i * bytes, bytes, MADV_DONTNEED);
		slices[i] = bench_now_ns() - before;
	}
	munmap(fresh, PAGES * BENCH_PAGE);
}

static void obey(const char *what, int times, char *heap, uint64_t *slices)
{
	void (*run)(char *, uint64_t *) = !strcmp(what, "cow")	      ? cow
					  : !strcmp(what, "touch")    ? touch
					  : !strcmp(what, "populate") ? populate
								      : NULL;

	if (!run) {
		fprintf(stderr, "storm: '%s'?\n", what);
		exit(2);
	}
	for (int n = 0; n < times; n++) {
		run(heap, slices);
		for (size_t i = 0; i < SLICES; i++)
			printf("%llu ", (unsigned long long)slices[i]);
	}
	printf("\n");
	fflush(stdout);
}

static int serve(int cpu)
{
	char *heap = make_pages(HEAP_STORMS * PAGES, MAP_PRIVATE), line[64], what[16];
	uint64_t *slices = (void *)make_pages(1, MAP_SHARED);
	cpu_set_t set;
	int times;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		bench_die("sched_setaffinity");
	write_pages(heap, HEAP_STORMS * PAGES);
	printf("slice %d\n", SLICE_PAGES);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		if (sscanf(line, "%15s %d", what, &times) == 2)
			obey(what, times, heap, slices);
	return 0;
}

/* --- the flood ----------------------------------------------------------------------------------
 */

static void flood_one(size_t pages, uint64_t end_ns, _Atomic uint64_t *written)
{
	char *shared = make_pages(pages, MAP_PRIVATE);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	write_pages(shared, pages);
	while (bench_now_ns() < end_ns) {
		pid_t child = fork();

		if (child < 0)
			bench_die("fork");
		if (!child) {
			write_pages(shared, pages);
			_exit(0);
		}
		if (waitpid(child, NULL, 0) != child)
			bench_die("waitpid");
		atomic_fetch_add(written, pages);
	}
	_exit(0);
}

static int flood(int procs, double seconds, size_t pages)
{
	_Atomic uint64_t *written = (void *)make_pages(1, MAP_SHARED);
	uint64_t start_ns = bench_now_ns();

	for (int i = 0; i < procs; i++) {
		pid_t child = fork();

		if (child < 0)
			bench_die("fork");
		if (!child)
			flood_one(pages, start_ns + (uint64_t)(seconds * 1e9), written);
	}
	while (wait(NULL) > 0)
		;
	printf("%llu %.3f\n", (unsigned long long)*written,
	       (double)(bench_now_ns() - start_ns) / 1e9);
	return 0;
}

int main(int argc, char **argv)
{
	char go[8];

	prctl(PR_SET_PDEATHSIG, SIGKILL); /* never to be left behind */
	if (argc == 5 && !strcmp(argv[1], "--flood")) {
		if (!fgets(go, sizeof(go), stdin)) /* a line when the tracer is ready */
			return 0;
		return flood(atoi(argv[2]), atof(argv[3]),
			     strtoul(argv[4], NULL, 10) * (1u << 20) / BENCH_PAGE);
	}
	if (argc == 2)
		return serve(atoi(argv[1]));
	fprintf(stderr, "usage: storm CPU | storm --flood PROCS SECONDS MB\n");
	return 2;
}
