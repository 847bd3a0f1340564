/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * python_rate.c - how fast one thread resolves records of a CPython heap to object and type, and
 * what that takes.
 *
 *	python_rate PID FILE	FILE: 16 bytes an object, its id() and the number of its type's
 *name, which stand, a line each, in FILE.types
 *
 * The process is real and is read through /proc; the records are made here, each a write to the
 * reference count of one of the objects, by each of eight children that are not real. Whether
 *object and type are what the interpreter said is checked apart from the time. One line "key value
 *..." a result; python.py makes the report.
 */
#include <errno.h>
#include <linux/types.h>
#include <malloc.h>
#include <string.h>

#include "bench.h"
#include "ct_abi.h"
#include "resolve/heaps.h"
#include "resolve/resolver.h"
#include "tally/tally.h"

#define FIRST_CHILD  5000000 /* no such pids: their memory can't be read, their parent's can */
#define CHILDREN     8
#define BURST	     16 /* pages that one child writes before the next gets its turn */
#define ROUNDS	     3
#define RATE_OBJECTS 60000
#define TYPES_MAX    256

struct object {
	uint64_t address, type;
};

static struct object *objects;
static size_t object_count;
static char type_names[TYPES_MAX][64];

static void read_objects(const char *path)
{
	char names[4096];
	FILE *file = fopen(path, "re");
	long bytes;

	if (!file || fseek(file, 0, SEEK_END) || (bytes = ftell(file)) <= 0)
		bench_die(path);
	rewind(file);
	object_count = (size_t)bytes / sizeof(*objects);
	objects = malloc((size_t)bytes);
	if (!objects || fread(objects, sizeof(*objects), object_count, file) != object_count)
		bench_die(path);
	fclose(file);
	snprintf(names, sizeof(names), "%s.types", path);
	file = fopen(names, "re");
	if (!file)
		bench_die(names);
	for (size_t i = 0; i < TYPES_MAX && fscanf(file, "%63s", type_names[i]) == 1; i++)
		;
	fclose(file);
}

static void shuffle(void)
{
	uint64_t state = 88172645463325252ull;

	for (size_t i = object_count; i > 1; i--) {
		struct object object = objects[i - 1];
		size_t k;

		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		k = state % i;
		objects[i - 1] = objects[k];
		objects[k] = object;
	}
}

/** Keep @count of them, from all over the heap. Return: @count. */
static size_t thin_out(size_t count)
{
	for (size_t i = 0; i < count; i++)
		objects[i] = objects[i * object_count / count];
	return count;
}

static size_t allocated_bytes(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static struct ct_resolver_names names;

/** Open the heaps of @pid; say how long that took, what they hold, and how often they are right. */
static void check_heaps(pid_t pid)
{
	const struct ct_heap_source source = {
		.types = names.types,
		.lines = names.lines,
		.symbols = ct_symbols__new(names.writers),
	};
	size_t objects_right = 0, types_right = 0, before = allocated_bytes();
	uint64_t start = bench_now_ns();
	struct ct_heaps *heaps = ct_heaps__open(pid, &source);

	if (!heaps)
		bench_die("ct_heaps__open");
	printf("open %.3f\n", (double)(bench_now_ns() - start) / 1e6);
	for (size_t i = 0; i < object_count; i++) {
		int reader = -1;
		struct ct_place place = ct_heaps__locate(heaps, objects[i].address, NULL, &reader);
		bool right = place.object == objects[i].address && place.cell == CT_CELL_REFCOUNT;

		objects_right += right;
		types_right += right && objects[i].type < TYPES_MAX &&
			       !strcmp(ct_names__name(names.types, place.type),
				       type_names[objects[i].type]);
	}
	printf("right %zu %zu %zu\n", object_count, objects_right, types_right);
	printf("memory %zu\n", allocated_bytes() - before);
	fflush(stdout);
	ct_heaps__put(heaps);
	ct_symbols__free(source.symbols);
}

static struct ct_tally *tally;
static struct ct_resolver *resolver;

static uint32_t on_image_began(void *context, pid_t pid, pid_t parent_pid, const char *command,
			       uint64_t ts_ns)
{
	(void)context;
	return ct_tally__process(tally, (uint32_t)pid, (uint32_t)parent_pid, command, ts_ns);
}

static void on_image_ended(void *context, uint32_t row, uint64_t ts_ns)
{
	(void)context;
	ct_tally__set_ended(tally, row, ts_ns);
}

static uint64_t time_of(void *context, uint32_t jiffies)
{
	(void)context;
	return jiffies * 4000000ull;
}

/** Return: 1 if it was made a sample with a cell and a type. */
static size_t feed(const struct ct_record *record, size_t len)
{
	struct ct_sample sample;
	int n = ct_resolver__resolve(resolver, record, len, &sample);
	bool counted = n > 0;

	if (counted)
		n = ct_tally__add(tally, &sample);
	if (n < 0) {
		errno = -n;
		bench_die("feed");
	}
	return counted && sample.cell == CT_CELL_REFCOUNT && sample.type;
}

static void feed_event(uint8_t type, uint64_t image, uint64_t other)
{
	struct ct_record_task event = {
		.rec = { .image = image, .tid = (uint32_t)image, .type = type },
		.other_image = other,
		.comm = "worker",
	};

	feed(&event.rec, sizeof(event));
}

static void feed_fault(unsigned int round, unsigned int child, size_t object, size_t *resolved)
{
	const struct ct_record record = {
		.address = objects[object].address,
		.ip = 0x1000 + object % 32 * 4,
		.jiffies = 1000 + round,
		.image = CT_IMAGE(child, 1),
		.tid = child,
		.type = CT_REC_FAULT,
		.kind = CT_KIND_COPY,
		.page_shift = 12,
	};

	*resolved += feed(&record, sizeof(record));
}

/** One round: @children are forked, write all the objects, in bursts in turn, and exit. */
static double rate_round(pid_t pid, unsigned int round, unsigned int children, size_t *resolved)
{
	uint64_t image = CT_IMAGE(pid, 1), start;
	unsigned int first = FIRST_CHILD + round * CHILDREN;

	start = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (unsigned int i = 0; i < children; i++)
		feed_event(CT_REC_FORK, CT_IMAGE(first + i, 1), image);
	for (size_t at = 0; at < object_count; at += BURST)
		for (unsigned int child = first; child < first + children; child++)
			for (size_t i = at; i < at + BURST && i < object_count; i++)
				feed_fault(round, child, i, resolved);
	for (unsigned int i = 0; i < children; i++)
		feed_event(CT_REC_EXIT, CT_IMAGE(first + i, 1), 0);
	return (double)(bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - start) /
	       ((double)object_count * children);
}

static void rate(pid_t pid, const char *order, unsigned int children)
{
	static const struct ct_resolver_events events = {
		.image_began = on_image_began,
		.image_ended = on_image_ended,
		.time_ns = time_of,
	};
	size_t resolved = 0;

	tally = ct_tally__new(names.types, names.writers);
	resolver = ct_resolver__new(&names, &events, 0);
	if (!tally || !resolver)
		bench_die("resolver");
	feed_event(CT_REC_TASK, CT_IMAGE(pid, 1), 0);
	printf("rate %s", order);
	for (unsigned int round = 0; round < ROUNDS; round++)
		printf(" %.1f", rate_round(pid, round, children, &resolved));
	printf("\nresolved %s %zu %zu\n", order, object_count * children * ROUNDS, resolved);
	fflush(stdout);
	ct_resolver__free(resolver);
	ct_tally__free(tally);
}

int main(int argc, char **argv)
{
	pid_t pid;

	if (argc != 3) {
		fprintf(stderr, "usage: python_rate PID FILE\n");
		return 2;
	}
	pid = atoi(argv[1]);
	read_objects(argv[2]);
	names = (struct ct_resolver_names){
		.types = ct_names__new(),
		.writers = ct_names__new(),
		.lines = ct_names__new(),
		.stacks = ct_lists__new(1),
	};
	check_heaps(pid);
	if (object_count > RATE_OBJECTS)
		object_count = thin_out(RATE_OBJECTS);
	rate(pid, "ordered", CHILDREN);
	shuffle();
	rate(pid, "scattered", CHILDREN);
	rate(pid, "alone", 1);
	return 0;
}
