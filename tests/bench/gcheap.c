/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * gcheap.c - what the embedded heap does in a second, on the graphs that gcheap.py also builds in
 * CPython. One measurement a run, so that each begins on a fresh heap; prints "NAME VALUE" lines.
 *
 *   gcheap LAYOUT alloc|collect|cycles|refs|rss OBJECTS
 *
 * A record is a tuple of an int, a string, a list of 4 ints and a dict with one int: 10 objects.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gcheap/gcheap.h"

#define RECORD_OBJECTS 10
#define ROUNDS	       15

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* others may be busy, too */
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *need(void *op)
{
	if (!op) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	return op;
}

static struct gcheap_object *make_record(int64_t number)
{
	struct gcheap_object *record = need(gcheap_tuple_new(4)), *list = need(gcheap_list_new());
	struct gcheap_object *dict = need(gcheap_dict_new()), *name;
	char text[32] = "user-", *end = text + 5;

	for (int64_t left = number; left || end == text + 5; left /= 10)
		*end++ = (char)('0' + left % 10);
	name = need(gcheap_string_new(text, (size_t)(end - text)));
	for (int64_t i = 0; i < 4; i++)
		gcheap_append(list, need(gcheap_int_new(number + 1000 + i)));
	gcheap_incref(name);
	gcheap_dict_set(dict, need(gcheap_int_new(number + 2000)), name);
	gcheap_set(record, 0, need(gcheap_int_new(number + 3000)));
	gcheap_set(record, 1, name);
	gcheap_set(record, 2, list);
	gcheap_set(record, 3, dict);
	return record;
}

static struct gcheap_object *make_records(size_t objects)
{
	struct gcheap_object *records = need(gcheap_list_new());

	for (size_t i = 0; i < objects / RECORD_OBJECTS; i++)
		gcheap_append(records, make_record((int64_t)i));
	return records;
}

static double best(double time, double so_far)
{
	return so_far == 0 || time < so_far ? time : so_far;
}

static void bench_alloc(size_t objects)
{
	double time = 0;

	for (int i = 0; i < ROUNDS; i++) {
		double start = now_s();

		gcheap_decref(make_records(objects));
		time = best(now_s() - start, time);
	}
	printf("alloc_per_s %.0f\n", (double)objects / time);
}

static void bench_collect(size_t objects)
{
	struct gcheap_object *records = make_records(objects);
	double time = 0;

	gcheap_collect(); /* what can be untracked is, from now on */
	for (int i = 0; i < ROUNDS; i++) {
		double start = now_s();

		gcheap_collect();
		time = best(now_s() - start, time);
	}
	printf("collect_per_s %.0f\ncollect_ns_per_object %.2f\n", (double)objects / time,
	       time * 1e9 / (double)objects);
	gcheap_decref(records);
}

/* Rings of 4 lists, each a list of the next one and an int: 8 objects of garbage. */
static void make_ring(int64_t number)
{
	struct gcheap_object *lists[4];

	for (size_t i = 0; i < 4; i++)
		lists[i] = need(gcheap_list_new());
	for (size_t i = 0; i < 4; i++) {
		gcheap_append(lists[i], lists[(i + 1) % 4]);
		gcheap_append(lists[i], need(gcheap_int_new(number + 1000)));
	}
}

static void bench_cycles(size_t objects)
{
	double time = 0;

	for (int i = 0; i < ROUNDS; i++) {
		double start;

		for (size_t k = 0; k < objects / 8; k++)
			make_ring((int64_t)k);
		start = now_s();
		if (gcheap_collect() != objects / 8 * 4)
			exit(1);
		time = best(now_s() - start, time);
	}
	printf("cycles_per_s %.0f\n", (double)objects / time);
}

/* A copy of a list of shared objects, made and dropped, is what [:] and del do. */
static void bench_refs(size_t objects)
{
	struct gcheap_object **items = need(malloc(objects * sizeof(*items))),
			     **copy = need(malloc(objects * sizeof(*copy)));
	double time = 0;

	for (size_t i = 0; i < objects; i++)
		items[i] = need(gcheap_int_new((int64_t)i + 1000));
	for (int i = 0; i < 3 * ROUNDS; i++) {
		double start = now_s();

		for (size_t k = 0; k < objects; k++) {
			gcheap_incref(items[k]);
			copy[k] = items[k];
		}
		for (size_t k = objects; k-- > 0;)
			gcheap_decref(copy[k]);
		time = best(now_s() - start, time);
	}
	printf("refs_per_s %.0f\n", (double)objects / time);
	free(items);
	free(copy);
}

static double rss_bytes(void)
{
	unsigned long size, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%lu %lu", &size, &resident) != 2)
		exit(1);
	fclose(file);
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void bench_rss(size_t objects)
{
	double before = rss_bytes();

	make_records(objects);
	printf("rss_per_object %.1f\n", (rss_bytes() - before) / (double)objects);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(size_t objects);
	} benches[] = { { "alloc", bench_alloc },
			{ "collect", bench_collect },
			{ "cycles", bench_cycles },
			{ "refs", bench_refs },
			{ "rss", bench_rss } };
	struct gcheap_options options = { .disabled = true };

	if (argc != 4)
		return 2;
	options.layout = strcmp(argv[1], "split") ? GCHEAP_INLINE : GCHEAP_SPLIT;
	if (!gcheap_open(&options))
		return 1;
	for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
		if (!strcmp(argv[2], benches[i].name)) {
			benches[i].run(strtoul(argv[3], NULL, 10));
			return 0;
		}
	}
	return 2;
}
