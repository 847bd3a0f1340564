/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * empty.c - attaches empty programs to exactly the places where a hook of cowtrace attaches its own
 * on the way of a fault, read from the hook's object, and keeps them until standard input ends. A
 * place that the kernel refuses is refused for cowtrace too, and named.
 *
 *	empty HOOK
 *	empty --stats	instead: have the kernel time every BPF program, until standard input ends
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "capture/object.h"
#include "empty.skel.h"

static int on_message(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* Not on the way of a fault: the family's events, and the walks over all tasks. */
static bool is_lifecycle(const char *section)
{
	return !strncmp(section, "tp_btf/sched_process_", 21) || !strncmp(section, "iter", 4);
}

static struct bpf_program *find(struct bpf_object *object, const char *section)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, object) {
		if (!strcmp(bpf_program__section_name(program), section))
			return program;
	}
	return NULL;
}

/* Some kernels lack these functions, or refuse them; cowtrace does without them there. */
static bool is_optional(const char *section)
{
	return strstr(section, "huge");
}

/* To be loaded: the empty program of each of @hook's places. */
static void choose(struct bpf_object *hook, struct bpf_object *empty, bool optional)
{
	struct bpf_program *program, *own;

	bpf_object__for_each_program(program, empty)
		bpf_program__set_autoload(program, false);
	bpf_object__for_each_program(program, hook) {
		const char *section = bpf_program__section_name(program);

		if (is_lifecycle(section) || (!optional && is_optional(section)))
			continue;
		own = find(empty, section);
		if (!own) {
			fprintf(stderr, "empty: empty.bpf.c has no program for %s\n", section);
			exit(1);
		}
		bpf_program__set_autoload(own, true);
	}
}

static int attach(struct bpf_object *empty)
{
	struct bpf_program *program;
	int count = 0;

	bpf_object__for_each_program(program, empty) {
		const char *section = bpf_program__section_name(program);

		if (!bpf_program__autoload(program))
			continue;
		if (bpf_program__attach(program)) { /* for as long as we live */
			printf(" %s", section);
			count++;
		} else {
			printf(" (not %s: %s)", section, strerror(errno));
		}
	}
	return count;
}

static void wait_for_end(void)
{
	char ignored;

	fflush(stdout);
	while (read(STDIN_FILENO, &ignored, 1) > 0)
		;
}

int main(int argc, char **argv)
{
	struct bpf_object *hook;
	struct empty *empty = NULL;

	if (argc != 2) {
		fprintf(stderr, "usage: empty HOOK | --stats\n");
		return 2;
	}
	if (!strcmp(argv[1], "--stats")) {
		if (bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
			bench_die("bpf_enable_stats");
		printf("on\n");
		wait_for_end();
		return 0;
	}
	libbpf_set_print(on_message);
	hook = ct_object__open(argv[1]);
	if (!hook)
		bench_die(argv[1]);
	for (int optional = 1; optional >= 0 && !empty; optional--) {
		empty = empty__open();
		if (!empty)
			bench_die("open");
		choose(hook, empty->obj, optional);
		if (empty__load(empty) == 0)
			break;
		empty__destroy(empty);
		empty = NULL;
	}
	bpf_object__close(hook);
	if (!empty)
		bench_die("load");
	printf("attached");
	if (!attach(empty->obj)) {
		fprintf(stderr, "empty: none of them can be attached\n");
		return 1;
	}
	printf("\n");
	wait_for_end();
	empty__destroy(empty);
	return 0;
}
