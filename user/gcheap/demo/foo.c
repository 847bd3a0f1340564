/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * foo.c - the program that the question of shared memory starts from: a parent makes many
 * numbers and forks, and each child runs foo(), which only adds them up. As objects on a
 * reference-counted heap they are copied by being read; in a shared array they are not.
 * foo.py beside this is the same in Python.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../gcheap.h"
#include "../shared.h"

#define CHILDREN_MAX 64
#define FIRST	     1000 /* the first number, as in foo.py, where small ones are never copied */

static const char help[] =
	"Usage: gcheap-foo [--list | --array | --slots] [--numbers N] [--children K]\n"
	"Make numbers, fork children, let each add them up.\n"
	"\n"
	"  --list        integers in a list on the gcheap heap (default)\n"
	"  --array       a shared array of 8-byte integers\n"
	"  --slots       a shared list of integers\n"
	"  --numbers N   how many (default 1000000)\n"
	"  --children K  how many children (default 2)\n"
	"  --help        this text\n"
	"\n"
	"Compare: cowtrace -- gcheap-foo --list, cowtrace -- gcheap-foo --array\n";

struct numbers {
	size_t count;
	struct gcheap_object *list;  /* or */
	struct gcheap_shared *array; /* or */
	struct gcheap_shared *slots;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "gcheap-foo: %s: %s\n", what, why);
	exit(1);
}

static void make_list(struct numbers *numbers)
{
	numbers->list = gcheap_list_new();
	for (size_t i = 0; i < numbers->count; i++) {
		struct gcheap_object *number = gcheap_int_new((int64_t)(FIRST + i));

		if (!numbers->list || !number || !gcheap_append(numbers->list, number))
			die("list", "out of memory");
	}
}

static void make_array(struct numbers *numbers)
{
	int error = gcheap_shared_create(&numbers->array, NULL, 'q', numbers->count, 0);

	for (size_t i = 0; i < numbers->count && !error; i++)
		error = gcheap_shared_set_int(numbers->array, i, (int64_t)(FIRST + i));
	if (error)
		die("array", gcheap_shared_message(error));
}

static void make_slots(struct numbers *numbers)
{
	struct gcheap_shared_item *items = calloc(numbers->count, sizeof(*items));
	int error;

	if (!items)
		die("slots", "out of memory");
	for (size_t i = 0; i < numbers->count; i++) {
		items[i].type = GCHEAP_SHARED_INT;
		items[i].number = (int64_t)(FIRST + i);
	}
	error = gcheap_shared_list_create(&numbers->slots, NULL, items, numbers->count, 0);
	free(items);
	if (error)
		die("slots", gcheap_shared_message(error));
}

/* What an interpreter does for `for number in numbers: total += number`. */
static int64_t foo_list(const struct numbers *numbers)
{
	int64_t sum = 0;

	for (size_t i = 0; i < numbers->count; i++) {
		struct gcheap_object *number = gcheap_get(numbers->list, i);

		gcheap_incref(number);
		sum += gcheap_int_value(number);
		gcheap_decref(number);
	}
	return sum;
}

static int64_t foo_array(const struct numbers *numbers)
{
	int64_t sum = 0, number = 0;

	for (size_t i = 0; i < numbers->count; i++) {
		if (gcheap_shared_get_int(numbers->array, i, &number))
			return -1;
		sum += number;
	}
	return sum;
}

static int64_t foo_slots(const struct numbers *numbers)
{
	struct gcheap_shared_item item;
	int64_t sum = 0;

	for (size_t i = 0; i < numbers->count; i++) {
		if (gcheap_shared_list_get(numbers->slots, i, &item, NULL, 0))
			return -1;
		sum += item.number;
	}
	return sum;
}

static int64_t foo(const struct numbers *numbers)
{
	if (numbers->array)
		return foo_array(numbers);
	return numbers->slots ? foo_slots(numbers) : foo_list(numbers);
}

/** Private memory that this process has for itself, as the kernel counts it. */
static long private_kib(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	long kib = -1;
	char line[128];

	while (file && kib < 0 && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Private_Dirty: %ld", &kib) != 1)
			kib = -1;
	}
	if (file)
		fclose(file);
	return kib;
}

static _Noreturn void child(const struct numbers *numbers, size_t number)
{
	int64_t count = (int64_t)numbers->count;
	int64_t wanted = count * FIRST + count * (count - 1) / 2, sum;
	long before = private_kib();

	before = private_kib(); /* the first one touches stdio's own pages */
	sum = foo(numbers);
	printf("gcheap-foo: child %zu: sum %" PRId64 ", private memory %+ld KiB\n", number, sum,
	       private_kib() - before);
	fflush(stdout);
	_exit(sum != wanted);
}

static int run(const struct numbers *numbers, size_t children)
{
	int status, failed = 0;
	size_t started = 0;

	fflush(stdout);
	for (; started < children; started++) {
		pid_t pid = fork();

		if (pid == 0)
			child(numbers, started + 1);
		if (pid < 0) {
			fprintf(stderr, "gcheap-foo: fork: %s\n", strerror(errno));
			failed = 1;
			break;
		}
	}
	while (started && wait(&status) > 0) {
		started--;
		failed |= !WIFEXITED(status) || WEXITSTATUS(status);
	}
	return failed;
}

static size_t number_option(const char *name, const char *text, size_t most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || !value || value > most) {
		fprintf(stderr, "gcheap-foo: --%s must be 1 to %zu\n", name, most);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "list", no_argument, NULL, 'l' },
		{ "array", no_argument, NULL, 'a' },
		{ "slots", no_argument, NULL, 's' },
		{ "numbers", required_argument, NULL, 'n' },
		{ "children", required_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct numbers numbers = { .count = 1000000 };
	void (*make)(struct numbers *) = make_list;
	size_t children = 2;
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'l') {
			make = make_list;
		} else if (option == 'a') {
			make = make_array;
		} else if (option == 's') {
			make = make_slots;
		} else if (option == 'n') {
			numbers.count = number_option("numbers", optarg, 1000000000);
		} else if (option == 'k') {
			children = number_option("children", optarg, CHILDREN_MAX);
		} else {
			fputs(help, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "gcheap-foo: %s: no such option; see --help\n", argv[optind]);
		return 2;
	}
	make(&numbers);
	printf("gcheap-foo: pid %d: %zu numbers, %zu children\n", (int)getpid(), numbers.count,
	       children);
	return run(&numbers, children);
}
