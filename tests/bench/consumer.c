/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * consumer.c - how fast one thread makes records samples and counts them, with no faults beside it.
 *
 *	consumer rate	from a filled BPF ring, and from an array: records per second
 *	consumer big	1,000 children, 5 M (child, page): rate in each tenth, bytes for each page
 *
 * The target is real: a forked process that holds a gcheap heap, read through /proc. Its children
 * are not: their records are made here, one for each page of the heap, at a word of an object on it
 * (refcount, GC header or payload). What the library made is the truth that the cells counted at
 *the end are compared with. One line "key value ..." a result; run.py makes the report.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/map.h"
#include "bench.h"
#include "ct_abi.h"
#include "gcheap/gcheap.h"
#include "resolve/resolver.h"
#include "ring.skel.h"
#include "tally/tally.h"

#define FIRST_CHILD  5000000 /* no such pids: their memory can't be read, their parent's can */
#define BURST	     16	     /* pages that one child writes before the next gets its turn */
#define CHUNK	     4096    /* records */
#define BIG_CHILDREN 1000
#define BIG_PAGES    5000

/* --- the wiring, as user/cli/session.c has it ---------------------------------------------------
 */

struct wired {
	struct ct_resolver_names names;
	struct ct_tally *tally;
	struct ct_resolver *resolver;
};

static uint32_t on_image_began(void *context, pid_t pid, pid_t parent_pid, const char *command,
			       uint64_t ts_ns)
{
	struct wired *wired = context;

	return ct_tally__process(wired->tally, (uint32_t)pid, (uint32_t)parent_pid, command, ts_ns);
}

static void on_image_ended(void *context, uint32_t row, uint64_t ts_ns)
{
	struct wired *wired = context;

	ct_tally__set_ended(wired->tally, row, ts_ns);
}

static uint64_t time_of(void *context, uint32_t jiffies)
{
	(void)context;
	return jiffies * 4000000ull;
}

static void wire(struct wired *wired)
{
	const struct ct_resolver_events events = { .context = wired,
						   .image_began = on_image_began,
						   .image_ended = on_image_ended,
						   .time_ns = time_of };

	wired->names = (struct ct_resolver_names){ .types = ct_names__new(),
						   .writers = ct_names__new(),
						   .lines = ct_names__new(),
						   .stacks = ct_lists__new(1) };
	wired->tally = ct_tally__new(wired->names.types, wired->names.writers);
	wired->resolver = ct_resolver__new(&wired->names, &events, 0);
	if (!wired->tally || !wired->resolver)
		bench_die("wire");
}

static void unwire(struct wired *wired)
{
	ct_resolver__free(wired->resolver);
	ct_tally__free(wired->tally);
	ct_names__free(wired->names.types);
	ct_names__free(wired->names.writers);
	ct_names__free(wired->names.lines);
	ct_lists__free(wired->names.stacks);
}

static void feed(struct wired *wired, const struct ct_record *record, size_t len)
{
	struct ct_sample sample;
	int n = ct_resolver__resolve(wired->resolver, record, len, &sample);

	if (n > 0)
		n = ct_tally__add(wired->tally, &sample);
	if (n < 0) {
		errno = -n;
		bench_die("feed");
	}
}

static int on_ring(void *context, void *data, size_t len)
{
	feed(context, data, len);
	return 0;
}

/* --- the target ---------------------------------------------------------------------------------
 */

struct spot {
	uint64_t address;
	enum ct_cell cell;
};

struct target {
	pid_t pid;
	struct spot *spots; /* one for each page with an object, in the order of allocation */
	size_t count, capacity;
	struct ct_map seen; /* pages that have one, while they are made */
	char *plain;	    /* memory outside any heap: BIG_CHILDREN * BIG_PAGES pages, or NULL */
	uint64_t counted[CT_CELL_COUNT]; /* what has been sent, by cell */
};

static uint64_t random_word(void)
{
	static uint64_t state = 88172645463325252ull;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Remember a word of @op, if nothing on its page is remembered yet. */
static struct gcheap_object *add_spot(struct target *target, struct gcheap_object *op)
{
	bool container = op->type->flags & GCHEAP_CONTAINER;
	struct spot spot = { (uintptr_t)&op->refcount, CT_CELL_REFCOUNT };
	uint64_t die = random_word() % 3, *seen;

	if (die == 0 && container)
		spot = (struct spot){ (uintptr_t)&gcheap_head_of(op)->gc.gc_refs,
				      CT_CELL_GC_HEADER };
	else if (die == 1)
		spot = (struct spot){ (uintptr_t)(op + 1), CT_CELL_PAYLOAD };
	seen = ct_map__at(&target->seen, spot.address / BENCH_PAGE);
	if (!seen)
		bench_die("seen");
	if (!*seen && target->count < target->capacity)
		target->spots[target->count++] = spot;
	*seen = 1;
	return op;
}

/* A row of a table, as a server may load at its start: a dict, a tuple, a few strings, ints. */
static struct gcheap_object *make_row(struct target *target, uint64_t n)
{
	static const char text[] = "text of a length that differs from row to row, cut somewhere";
	struct gcheap_object *row = gcheap_dict_new(), *tuple = gcheap_tuple_new(2 + n % 5);

	if (!row || !tuple)
		bench_die("gcheap");
	add_spot(target, row);
	add_spot(target, tuple);
	for (size_t i = 0; i < gcheap_len(tuple); i++)
		gcheap_set(tuple, i, add_spot(target, gcheap_int_new((int64_t)(n + i))));
	gcheap_dict_set(row, add_spot(target, gcheap_int_new((int64_t)n)), tuple);
	gcheap_dict_set(row, add_spot(target, gcheap_string_new("name", 4)),
			add_spot(target, gcheap_string_new(text, random_word() % sizeof(text))));
	return row;
}

/* A row whose types have size classes of their own, so that no pool is mixed. */
static struct gcheap_object *make_plain_row(struct target *target, uint64_t n)
{
	struct gcheap_object *row = add_spot(target, gcheap_list_new());

	for (size_t i = 0; i < 1 + n % 4; i++)
		gcheap_append(row, add_spot(target, gcheap_int_new((int64_t)(n + i))));
	return row;
}

/* Make a heap with objects on @pages pages. */
static void make_heap(struct target *target, size_t pages, bool mixed)
{
	struct gcheap_object *rows = gcheap_list_new();

	target->capacity = pages;
	target->spots = calloc(pages, sizeof(*target->spots));
	if (!rows || !target->spots)
		bench_die("heap");
	for (uint64_t n = 0; target->count < pages; n++)
		gcheap_append(rows, mixed ? make_row(target, n) : make_plain_row(target, n));
	ct_map__free(&target->seen);
}

static void shuffle(struct spot *spots, size_t count)
{
	for (size_t i = count; i > 1; i--) {
		size_t k = random_word() % i;
		struct spot spot = spots[i - 1];

		spots[i - 1] = spots[k];
		spots[k] = spot;
	}
}

/* Forked off when the heap is made; has it, and does nothing. */
static void start_target(struct target *target)
{
	target->pid = fork();
	if (target->pid < 0)
		bench_die("fork");
	if (target->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static void stop_target(struct target *target)
{
	kill(target->pid, SIGKILL);
	waitpid(target->pid, NULL, 0);
	free(target->spots);
}

/* --- records ------------------------------------------------------------------------------------
 */

static uint64_t image_of(unsigned int child)
{
	return CT_IMAGE(FIRST_CHILD + child, 1);
}

static struct ct_record fault(struct target *target, unsigned int child, const struct spot *spot)
{
	/* a few dozen instructions do all the writing of a program */
	uint64_t ip = (uint64_t)(uintptr_t)gcheap_collect + random_word() % 32 * 4;

	target->counted[spot->cell]++;
	return (struct ct_record){ .address = spot->address,
				   .ip = ip,
				   .jiffies = 1000 + child,
				   .image = image_of(child),
				   .tid = FIRST_CHILD + child,
				   .type = CT_REC_FAULT,
				   .kind = CT_KIND_COPY,
				   .page_shift = 12 };
}

static void feed_event(struct wired *wired, uint8_t type, uint64_t image, uint64_t other)
{
	struct ct_record_task event = {
		.rec = { .image = image, .tid = (uint32_t)image, .type = type },
		.other_image = other,
		.comm = "worker"
	};

	feed(wired, &event.rec, sizeof(event));
}

/* What @children children write that begin to run together: @count pages each, in bursts. */
static struct ct_record *make_faults(struct target *target, unsigned int first,
				     unsigned int children, size_t count)
{
	struct ct_record *records = malloc(children * count * sizeof(*records)), *next = records;

	if (!records)
		bench_die("records");
	for (size_t at = 0; at < count; at += BURST)
		for (unsigned int child = first; child < first + children; child++)
			for (size_t i = at; i < at + BURST && i < count; i++)
				*next++ = fault(target, child, &target->spots[i]);
	return records;
}

/* Were the samples that came out the records that went in? */
static void check(const struct wired *wired, const struct target *target)
{
	const struct ct_run_info run = { .hook = "", .kernel = "", .command = "" };
	struct ct_snapshot *snapshot = ct_tally__snapshot(wired->tally, &run, 0);

	if (!snapshot)
		bench_die("snapshot");
	for (int i = 0; i < CT_CELL_COUNT; i++) {
		if (snapshot->cells[i] == (int64_t)target->counted[i])
			continue;
		fprintf(stderr, "consumer: %lld times %s counted, %llu sent\n",
			(long long)snapshot->cells[i], ct_cell_name((enum ct_cell)i),
			(unsigned long long)target->counted[i]);
		exit(1);
	}
	ct_snapshot__free(snapshot);
}

/* --- rate ---------------------------------------------------------------------------------------
 */

#define RATE_CHILDREN 8 /* at a time */
#define RATE_ROUNDS   10
#define RATE_PAGES    40000 /* 160 MB; times the children it must fit the ring */

static void fill_ring(struct ring *ring, const struct ct_record *records, size_t count)
{
	LIBBPF_OPTS(bpf_test_run_opts, run);

	while (count) {
		size_t n = count < CT_ARRAY_SIZE(ring->bss->ct_table)
				   ? count
				   : CT_ARRAY_SIZE(ring->bss->ct_table);

		memcpy(ring->bss->ct_table, records, n * sizeof(*records));
		ring->bss->ct_count = (uint32_t)n;
		if (bpf_prog_test_run_opts(bpf_program__fd(ring->progs.ct_fill), &run))
			bench_die("bpf_prog_test_run");
		if (ring->bss->ct_sent != n) {
			fprintf(stderr, "consumer: the ring is full with %u of %zu left\n",
				ring->bss->ct_sent, count);
			exit(1);
		}
		records += n;
		count -= n;
	}
}

/* One round of children that are forked, write and exit. Return: CPU nanoseconds a record. */
static double rate_round(struct wired *wired, struct target *target, unsigned int first,
			 size_t pages, struct ring *ring, struct ring_buffer *buffer)
{
	struct ct_record *records = make_faults(target, first, RATE_CHILDREN, pages);
	size_t count = RATE_CHILDREN * pages;
	uint64_t image = CT_IMAGE(target->pid, 1), before, took;

	if (buffer)
		fill_ring(ring, records, count);
	before = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (unsigned int i = 0; i < RATE_CHILDREN; i++)
		feed_event(wired, CT_REC_FORK, image_of(first + i), image);
	if (buffer && ring_buffer__consume(buffer) != (int)count)
		bench_die("ring_buffer__consume");
	for (size_t i = 0; i < count && !buffer; i++)
		feed(wired, &records[i], sizeof(records[i]));
	for (unsigned int i = 0; i < RATE_CHILDREN; i++)
		feed_event(wired, CT_REC_EXIT, image_of(first + i), 0);
	took = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - before;
	free(records);
	return (double)took / (double)count;
}

static void rate_run(struct target *target, const char *name, size_t pages, bool from_ring)
{
	struct ring_buffer *buffer = NULL;
	struct ring *ring = NULL;
	struct wired wired;

	wire(&wired);
	memset(target->counted, 0, sizeof(target->counted));
	if (from_ring) {
		ring = ring__open_and_load();
		if (ring)
			buffer = ring_buffer__new(bpf_map__fd(ring->maps.ct_ring), on_ring, &wired,
						  NULL);
		if (!buffer)
			bench_die("ring");
	}
	feed_event(&wired, CT_REC_TASK, CT_IMAGE(target->pid, 1), 0);
	printf("rate %s %zu", name, pages);
	for (unsigned int i = 0; i < RATE_ROUNDS; i++)
		printf(" %.1f", rate_round(&wired, target, i * RATE_CHILDREN, pages, ring, buffer));
	printf("\n");
	fflush(stdout);
	check(&wired, target);
	ring_buffer__free(buffer);
	ring__destroy(ring);
	unwire(&wired);
}

static void rate_of_heap(bool mixed)
{
	struct target target = { 0 };

	make_heap(&target, RATE_PAGES, mixed);
	start_target(&target);
	if (mixed) {
		rate_run(&target, "ring", RATE_PAGES, true);
		rate_run(&target, "array", RATE_PAGES, false);
		shuffle(target.spots, target.count);
		rate_run(&target, "scattered", RATE_PAGES, false);
	} else {
		rate_run(&target, "uniform", RATE_PAGES, true);
	}
	stop_target(&target);
}

static int rate(void)
{
	rate_of_heap(false);
	rate_of_heap(true);
	return 0;
}

/* --- big ----------------------------------------------------------------------------------------
 */

static size_t resident_bytes(void)
{
	unsigned long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f || fscanf(f, "%*u %llu", &pages) != 1)
		bench_die("/proc/self/statm");
	fclose(f);
	return pages * BENCH_PAGE;
}

/* A tenth of the children: records are made and fed in turns. Return: CPU nanoseconds of feeding.
 */
static uint64_t big_tenth(struct wired *wired, struct target *target, unsigned int first,
			  bool distinct)
{
	uint64_t image = CT_IMAGE(target->pid, 1), took = 0, before;
	static struct ct_record chunk[CHUNK];
	size_t filled = 0;

	for (unsigned int child = first; child < first + BIG_CHILDREN / 10; child++) {
		before = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
		feed_event(wired, CT_REC_FORK, image_of(child), image);
		took += bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - before;
		for (size_t page = 0; page < BIG_PAGES; page++) {
			struct spot spot = target->spots[page];

			if (distinct)
				spot = (struct spot){ (uintptr_t)target->plain +
							      (child * 1ull * BIG_PAGES + page) *
								      BENCH_PAGE,
						      CT_CELL_DATA };
			chunk[filled++] = fault(target, child, &spot);
			if (filled < CHUNK && page + 1 < BIG_PAGES)
				continue;
			before = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
			for (size_t i = 0; i < filled; i++)
				feed(wired, &chunk[i], sizeof(chunk[i]));
			took += bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - before;
			filled = 0;
		}
	}
	return took;
}

static double snapshot_ms(struct wired *wired, size_t max_pages)
{
	const struct ct_run_info run = { .hook = "", .kernel = "", .command = "" };
	uint64_t before = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	struct ct_snapshot *snapshot = ct_tally__snapshot(wired->tally, &run, max_pages);

	if (!snapshot)
		bench_die("snapshot");
	ct_snapshot__free(snapshot);
	return (double)(bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - before) / 1e6;
}

static void big_run(struct target *target, const char *name, bool distinct)
{
	double pages = (double)BIG_CHILDREN * BIG_PAGES;
	size_t before;
	struct wired wired;

	malloc_trim(0);
	before = resident_bytes();
	wire(&wired);
	memset(target->counted, 0, sizeof(target->counted));
	feed_event(&wired, CT_REC_TASK, CT_IMAGE(target->pid, 1), 0);
	printf("big %s", name);
	for (unsigned int i = 0; i < 10; i++)
		printf(" %.1f", (double)big_tenth(&wired, target, i * BIG_CHILDREN / 10, distinct) /
					(pages / 10));
	check(&wired, target);
	printf("\nmemory %s %.0f %zu %zu\n", name, pages, ct_tally__memory(wired.tally),
	       resident_bytes() - before);
	printf("snapshot %s %.1f %.1f\n", name, snapshot_ms(&wired, 0), snapshot_ms(&wired, 20));
	fflush(stdout);
	unwire(&wired);
}

static int big(void)
{
	struct target target = { 0 };

	make_heap(&target, BIG_PAGES, true);
	target.plain =
		mmap(NULL, 1ull * BIG_CHILDREN * BIG_PAGES * BENCH_PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	start_target(&target);
	big_run(&target, "same", false);
	if (target.plain != MAP_FAILED)
		big_run(&target, "distinct", true);
	stop_target(&target);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "rate"))
		return rate();
	if (argc == 2 && !strcmp(argv[1], "big"))
		return big();
	fprintf(stderr, "usage: consumer rate | big\n");
	return 2;
}
