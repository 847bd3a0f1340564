/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_py_phase.c - what the kernel side is given, from made-up interpreters in our own memory:
 * several, cyclic, broken. tests/interpreters/probe.py compares with real ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heap/cpython/internal.h"

#define INTERPRETERS 6
#define THREADS	     3
#define FS_BASE	     8192 /* where the control block of a thread stands in its memory */
#define THREAD_BYTES 16384
#define KEY_SLOT     (0x318 + 16 * 5)

/* A process with interpreters of THREADS threads each, of version 3.12. */
struct target {
	struct ct_python python;
	struct ct_interpreter seen;
	uint8_t runtime[4096];
	uint8_t interpreters[INTERPRETERS][4096];
	uint8_t states[INTERPRETERS][THREADS][512];
	_Alignas(16) uint8_t threads[INTERPRETERS][THREADS][THREAD_BYTES];
};

static ct_raddr_t at(const void *p)
{
	return (ct_raddr_t)(uintptr_t)p;
}

static void put(void *base, uint64_t offset, uint64_t word)
{
	memcpy((uint8_t *)base + offset, &word, sizeof(word));
}

static void fill_interpreter(struct target *t, int i, int count)
{
	const struct ct_py_layout *l = &t->python.layout;
	ct_raddr_t interp = at(t->interpreters[i]);

	/* the newest is first, the main one is number 0 */
	put(t->interpreters[i], l->interp_next, i ? at(t->interpreters[i - 1]) : 0);
	put(t->interpreters[i], l->interp_threads, at(t->states[i][0]));
	put(t->interpreters[i], l->interp_gc + l->gc_generation0,
	    interp + l->interp_gc + l->gc_generations);
	for (int n = 0; n < THREADS; n++) {
		uint8_t *block = t->threads[i][n] + FS_BASE;

		put(t->states[i][n], l->thread_next, n + 1 < THREADS ? at(t->states[i][n + 1]) : 0);
		put(t->states[i][n], l->thread_interp, interp);
		put(t->states[i][n], l->thread_id, at(block));
		put(block, 0, at(block));
		put(block, KEY_SLOT, at(t->states[i][n]));
	}
	if (i == count - 1)
		put(t->runtime, l->runtime_interp_head, interp);
}

static struct target *open_target(uint32_t hexversion, int count)
{
	struct target *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->python.source.memory = ct_remote__open(getpid());
	assert_non_null(t->python.source.memory);
	t->python.hexversion = hexversion;
	t->python.layout = *ct_py_layout_of(hexversion);
	ct_py_version_text(hexversion, t->python.version, sizeof(t->python.version));
	strcpy(t->python.object, "libpython.so");
	t->python.runtime = at(t->runtime);
	for (int i = 0; i < count; i++)
		fill_interpreter(t, i, count);
	put(t->runtime, t->python.layout.runtime_interp_main, at(t->interpreters[0]));
	return t;
}

static void close_target(struct target *t)
{
	ct_remote__close(t->python.source.memory);
	free(t);
}

static const struct ct_runtime *phase(struct target *t)
{
	ct_remote__renew(t->python.source.memory);
	ct_python__phase(&t->python, &t->seen);
	return &t->seen.runtime;
}

static void test_places(void **state)
{
	struct target *t = open_target(0x030c01f0, 2);
	const struct ct_py_layout *l = &t->python.layout;
	const struct ct_runtime *rt = phase(t);

	(void)state;
	assert_string_equal(t->seen.version, "3.12.1");
	assert_string_equal(t->seen.object, "libpython.so");
	assert_string_equal(t->seen.no_stacks, "");
	/* the main one first */
	assert_int_equal(rt->collecting[0], at(t->interpreters[0]) + l->interp_gc + 200);
	assert_int_equal(rt->collecting[1], at(t->interpreters[1]) + l->interp_gc + 200);
	assert_int_equal(rt->collecting[2], 0);
	assert_int_equal(rt->count_offset[0], 68 - 200);
	assert_int_equal(rt->count_offset[1], 92 - 200);
	assert_int_equal(rt->collections_offset, 128 - 200);
	assert_int_equal(rt->collections_stride, 24);
	assert_int_equal(rt->finalising, at(t->runtime) + l->runtime_finalising);
	assert_int_equal(rt->finalising_bytes, 8);
	assert_int_equal(rt->tstate_tls, 1);
	assert_int_equal(rt->tstate, KEY_SLOT);
	assert_int_equal(rt->thread_id, l->thread_id);
	assert_int_equal(rt->frames, CT_FRAMES_CHUNK);
	assert_int_equal(rt->cframe, 0);
	assert_int_equal(rt->owner_shims, 3);
	close_target(t);
}

static void test_versions(void **state)
{
	static const struct {
		uint32_t hexversion, frames, tls;
		int32_t cframe;
		uint32_t mask;
	} versions[] = {
		{ 0x030710f0, CT_FRAMES_OBJECT, 0, -1, 0 },
		{ 0x030a0df0, CT_FRAMES_OBJECT, 0, -1, 0 },
		{ 0x030b02f0, CT_FRAMES_CHUNK, 0, 8, 0 },
		{ 0x030c01f0, CT_FRAMES_CHUNK, 1, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(versions); i++) {
		struct target *t = open_target(versions[i].hexversion, 1);
		const struct ct_runtime *rt = phase(t);

		assert_int_equal(rt->frames, versions[i].frames);
		assert_int_equal(rt->tstate_tls, versions[i].tls);
		assert_int_equal(rt->cframe, versions[i].cframe);
		assert_int_equal(rt->code_mask, versions[i].mask);
		assert_true(rt->tstate != 0);
		close_target(t);
	}
}

static void test_many_interpreters(void **state)
{
	struct target *t = open_target(0x030c01f0, INTERPRETERS);
	const struct ct_runtime *rt = phase(t);
	ct_raddr_t list[CT_PY_INTERPRETERS];

	(void)state;
	assert_int_equal(ct_py_interpreters(&t->python, list, CT_PY_INTERPRETERS), INTERPRETERS);
	assert_int_equal(list[0], at(t->interpreters[0]));
	for (int i = 0; i < CT_MAX_INTERPRETERS; i++) {
		assert_true(rt->collecting[i] != 0);
		for (int k = 0; k < i; k++)
			assert_true(rt->collecting[i] != rt->collecting[k]);
	}
	close_target(t);
}

/* Lists that never end, lead nowhere, or belong to somebody else. */
static void test_broken_lists(void **state)
{
	struct target *t = open_target(0x030c01f0, 2);
	const struct ct_py_layout *l = &t->python.layout;
	ct_raddr_t list[CT_PY_THREADS];

	(void)state;
	put(t->states[0][THREADS - 1], l->thread_next, at(t->states[0][0]));
	put(t->interpreters[0], l->interp_next, at(t->interpreters[1]));
	phase(t);
	assert_int_equal(ct_py_threads(&t->python, at(t->interpreters[0]), list, CT_PY_THREADS),
			 CT_PY_THREADS);
	assert_true(ct_py_interpreters(&t->python, list, CT_PY_INTERPRETERS) <= CT_PY_INTERPRETERS);
	put(t->states[0][1], l->thread_next, 1);
	put(t->interpreters[0], l->interp_next, UINT64_MAX - 4096);
	phase(t);
	assert_int_equal(ct_py_threads(&t->python, at(t->interpreters[0]), list, CT_PY_THREADS), 2);
	/* threads of another interpreter are none of this one's */
	put(t->interpreters[1], l->interp_threads, at(t->states[0][0]));
	phase(t);
	assert_int_equal(ct_py_threads(&t->python, at(t->interpreters[1]), list, CT_PY_THREADS), 0);
	assert_int_equal(ct_py_interpreters(&t->python, list, CT_PY_INTERPRETERS), 1);
	close_target(t);
}

static void test_slots(void **state)
{
	struct target *t = open_target(0x030c01f0, 1);
	const struct ct_runtime *rt;

	(void)state;
	/* a thread that is gone, or has not begun, says nothing */
	put(t->threads[0][1] + FS_BASE, 0, 0);
	put(t->threads[0][1] + FS_BASE, KEY_SLOT, 0);
	put(t->states[0][2], t->python.layout.thread_id, 0);
	rt = phase(t);
	assert_int_equal(rt->tstate, KEY_SLOT);
	/* another's state in the slot: it is another slot; in 3.15 a thread-local variable */
	put(t->threads[0][0] + FS_BASE, KEY_SLOT, at(t->states[0][1]));
	rt = phase(t);
	assert_int_equal(rt->frames, CT_FRAMES_NONE);
	assert_true(t->seen.no_stacks[0] != '\0');
	put(t->threads[0][0] + FS_BASE - 40, 0, at(t->states[0][0]));
	rt = phase(t);
	assert_true(rt->tstate_tls == 1 && (int64_t)rt->tstate == -40);
	assert_string_equal(t->seen.no_stacks, "");
	close_target(t);
}

/* Builds whose compiler packs the generations have their counts elsewhere; a pointer that leads
 * out of the collector's state says nothing. */
static void test_generations(void **state)
{
	struct target *t = open_target(0x030c01f0, 1);
	const struct ct_py_layout *l = &t->python.layout;
	ct_raddr_t gc = at(t->interpreters[0]) + l->interp_gc;
	const struct ct_runtime *rt;

	(void)state;
	put(t->interpreters[0], l->interp_gc + l->gc_generation0, gc + 20);
	rt = phase(t);
	assert_int_equal(rt->count_offset[0], 64 - 200);
	assert_int_equal(rt->count_offset[1], 88 - 200);
	assert_int_equal(rt->collections_offset, 128 - 200);
	for (int i = 0; i < 3; i++) {
		put(t->interpreters[0], l->interp_gc + l->gc_generation0,
		    i == 0   ? 0
		    : i == 1 ? gc - 8
			     : gc + 4096);
		rt = phase(t);
		assert_true(rt->collecting[0] != 0);
		assert_true(!rt->count_offset[0] && !rt->count_offset[1]);
		assert_int_equal(rt->collections_offset, 0);
	}
	close_target(t);
}

static void test_no_interpreter(void **state)
{
	struct target *t = open_target(0x030c01f0, 0);
	const struct ct_runtime *rt = phase(t);

	(void)state;
	assert_int_equal(rt->collecting[0], 0);
	assert_int_equal(rt->frames, CT_FRAMES_NONE);
	assert_true(t->seen.no_stacks[0] != '\0');
	close_target(t);
}

/* 2.7 and 3.6 have variables of their own. */
static void test_statics(void **state)
{
	struct target *t = open_target(0x020712f0, 0);
	ct_raddr_t base = at(t->runtime);
	const struct ct_runtime *rt;

	(void)state;
	t->python.runtime = 0;
	t->python.current_thread = base;
	t->python.generations = base + 512;
	t->python.collecting = base + 1024;
	rt = phase(t);
	assert_int_equal(rt->tstate, base);
	assert_int_equal(rt->tstate_tls, 0);
	assert_int_equal(rt->frames, CT_FRAMES_OBJECT);
	assert_int_equal(rt->collecting[0], base + 1024);
	assert_int_equal(rt->count_offset[0], -512 + 40 + 36);
	assert_int_equal(rt->count_offset[1], -512 + 80 + 36);
	assert_int_equal(rt->collections_offset, 0);
	assert_int_equal(rt->finalising, 0);

	t->python.layout = *ct_py_layout_of(0x03060ff0);
	t->python.collections = base + 2048;
	t->python.finalising = base + 3072;
	rt = phase(t);
	assert_int_equal(rt->count_offset[0], -512 + 32 + 28);
	assert_int_equal(rt->collections_offset, 1024);
	assert_int_equal(rt->finalising, base + 3072);
	t->python.layout.gc_head = 32;
	rt = phase(t);
	assert_int_equal(rt->count_offset[0], -512 + 48 + 36);
	assert_int_equal(rt->count_offset[1], -512 + 96 + 36);
	/* without .symtab only the running thread is known */
	t->python.collecting = 0;
	rt = phase(t);
	assert_true(!rt->collecting[0] && !rt->count_offset[0] && !rt->collections_offset);
	assert_int_equal(rt->frames, CT_FRAMES_OBJECT);
	close_target(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_many_interpreters),
		cmocka_unit_test(test_broken_lists),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_generations),
		cmocka_unit_test(test_no_interpreter),
		cmocka_unit_test(test_statics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
