/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * probe.c - what the reader knows of the CPython in a running process, as text for probe.py:
 *   probe PID          version and places, the phase now, and the stack of every thread, walked
 *                      with what the kernel side is given and nothing else
 *   probe PID lines    for each "CODE LASTI" on standard input: LINE FUNCTION, and the file
 * Fields are separated by tabs. Status 1: nothing that is read; standard output says why.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "heap/cpython/internal.h"

struct probe {
	struct ct_python python;
	struct ct_interpreter interpreter;
	struct ct_py_lines *lines;
	struct ct_names *names;
};

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void print_line(struct probe *probe, const struct ct_frame *frame)
{
	struct ct_source_line line;

	if (!ct_py_lines__find(probe->lines, &probe->python, frame, &line)) {
		puts("none\tcode 0x0 is none\t");
		return;
	}
	printf("%s\t%s\t%s\n", ct_names__name(probe->names, line.line),
	       ct_names__scope(probe->names, line.line),
	       ct_names__name(probe->names, line.function));
}

static uint64_t word(struct probe *probe, ct_raddr_t address)
{
	return ct_python__word(&probe->python, address);
}

/* As the kernel side does it: nothing but struct ct_runtime is asked. */
static void print_stack(struct probe *probe, ct_raddr_t thread)
{
	const struct ct_runtime *rt = &probe->interpreter.runtime;
	ct_raddr_t at = word(probe, thread + rt->frame);

	if (at && rt->cframe >= 0)
		at = word(probe, at + (uint32_t)rt->cframe);
	for (int i = 0; at && i < CT_STACK_FRAMES; i++) {
		struct ct_frame frame = {
			.code = word(probe, at + rt->frame_code),
			.instruction = word(probe, at + rt->frame_instruction),
		};
		uint8_t owner = 0;

		if (rt->frames == CT_FRAMES_CHUNK)
			ct_python__read(&probe->python, at + rt->frame_owner, &owner, 1);
		if (rt->frames == CT_FRAMES_OBJECT || owner < rt->owner_shims) {
			printf("frame\t");
			frame.code &= ~(uint64_t)rt->code_mask;
			print_line(probe, &frame);
		}
		at = word(probe, at + rt->frame_back);
	}
}

/* The thread state that the kernel side would find in the thread with this fs base. */
static ct_raddr_t own_state(struct probe *probe, uint64_t fs_base)
{
	const struct ct_runtime *rt = &probe->interpreter.runtime;
	ct_raddr_t state = word(probe, rt->tstate + (rt->tstate_tls ? fs_base : 0));

	return state && word(probe, state + rt->thread_id) == fs_base ? state : 0;
}

static void print_threads(struct probe *probe)
{
	ct_raddr_t interpreters[CT_PY_INTERPRETERS], threads[256];
	size_t count = ct_py_interpreters(&probe->python, interpreters, CT_PY_INTERPRETERS);

	printf("interpreters\t%zu\n", count);
	for (size_t i = 0; i < count; i++) {
		size_t n = ct_py_threads(&probe->python, interpreters[i], threads,
					 CT_ARRAY_SIZE(threads));

		for (size_t t = 0; t < n; t++) {
			uint64_t id =
				word(probe, threads[t] + probe->interpreter.runtime.thread_id);

			printf("thread\t%" PRIu64 "\t%s\n", id,
			       own_state(probe, id) == threads[t] ? "own" : "other");
			print_stack(probe, threads[t]);
		}
	}
}

static int int_at(struct probe *probe, ct_raddr_t address)
{
	int value = -1;

	ct_python__read(&probe->python, address, &value, sizeof(value));
	return value;
}

static void print_phase(struct probe *probe)
{
	const struct ct_runtime *rt = &probe->interpreter.runtime;
	unsigned int generation;
	bool ending;

	printf("tstate\t%s\ncollectors", rt->tstate_tls ? "tls" : "global");
	for (int i = 0; i < CT_MAX_INTERPRETERS; i++)
		printf("\t%d", rt->collecting[i] ? int_at(probe, rt->collecting[i]) : -1);
	/* in 2.7 an int, the other way round */
	ending = rt->finalising_zero ? !(uint32_t)word(probe, rt->finalising)
				     : word(probe, rt->finalising) != 0;
	printf("\nfinalising\t%d\n", rt->finalising ? ending : -1);
	for (int i = 0; i < CT_MAX_INTERPRETERS; i++) {
		ct_raddr_t at = rt->collecting[i];

		if (!at || int_at(probe, at) <= 0 || (!rt->count_offset[0] && !rt->count_offset[1]))
			continue;
		generation = int_at(probe, at + (uint64_t)rt->count_offset[0])	 ? 0
			     : int_at(probe, at + (uint64_t)rt->count_offset[1]) ? 1
										 : 2;
		printf("generation\t%u\t%" PRId64 "\n", generation,
		       rt->collections_offset
			       ? (int64_t)word(probe, at + (uint64_t)rt->collections_offset +
							      (uint64_t)generation *
								      rt->collections_stride)
			       : -1);
	}
}

static void print_lines(struct probe *probe)
{
	const struct ct_py_layout *layout = &probe->python.layout;
	struct ct_frame frame;
	double start = now_ms();
	int64_t lasti;
	long count = 0;

	while (scanf("%" SCNu64 " %" SCNd64, (uint64_t *)&frame.code, &lasti) == 2) {
		frame.instruction = layout->instruction_unit
					    ? (uint64_t)(lasti / layout->instruction_unit)
					    : frame.code + layout->code_bytes + (uint64_t)lasti;
		print_line(probe, &frame);
		count++;
	}
	fprintf(stderr, "%ld lines in %.1f ms\n", count, now_ms() - start);
}

int main(int argc, char **argv)
{
	pid_t pid = argc > 1 ? (pid_t)atoi(argv[1]) : 0;
	static struct probe probe;
	const char *why = NULL;
	char text[128];
	double start = now_ms();
	struct ct_heap_source source = { .maps = ct_maps__read(pid),
					 .memory = ct_remote__open(pid) };

	probe.names = source.lines = ct_names__new();
	probe.lines = ct_py_lines__new();
	if (!source.maps || !probe.names || !probe.lines) {
		puts("no such process");
		return 1;
	}
	if (!ct_python__find(&probe.python, &source, &why, text, sizeof(text))) {
		printf("why\t%s\n", why);
		return 1;
	}
	ct_python__phase(&probe.python, &probe.interpreter);
	if (argc > 2) {
		print_lines(&probe);
		return 0;
	}
	printf("ms\t%.2f\n", now_ms() - start);
	printf("version\t%s\nobject\t%s\ntype\t%" PRIu64 "\ngc_head\t%u\nno_stacks\t%s\n",
	       probe.interpreter.version, probe.interpreter.object, probe.python.type_type,
	       probe.python.layout.gc_head, probe.interpreter.no_stacks);
	print_phase(&probe);
	print_threads(&probe);
	return 0;
}
