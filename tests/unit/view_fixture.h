/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * view_fixture.h - a made-up run for the tests of all views: a pre-forking server, made by feeding
 * a real tally, so that its numbers hang together. Everything is fixed: no clock, no chance.
 */
#ifndef CT_TESTS_VIEW_FIXTURE_H
#define CT_TESTS_VIEW_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tally/tally.h"

struct view_fixture {
	struct ct_names *types, *writers;
	struct ct_names *lines; /* NULL: no stacks are taken, no interpreter was found */
	struct ct_lists *stacks;
	struct ct_tally *tally;
	uint32_t processes[9];
	uint64_t state;
	uint32_t n_faults;
};

static inline uint32_t view_fixture_pick(struct view_fixture *f, uint32_t below)
{
	f->state = f->state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((f->state >> 33) % below);
}

static inline bool view_fixture_open(struct view_fixture *f)
{
	static const char *const types[] = { "dict", "str",  "tuple",	     "function",
					     "type", "list", "日本語クラス", "code" };
	static const char *const writers[] = {
		"_PyEval_EvalFrameDefault", "gc_collect_main", "_Py_Dealloc",
		"PyObject_Malloc",	    "update_refs",     "dict_traverse"
	};

	memset(f, 0, sizeof(*f));
	f->types = ct_names__new();
	f->writers = ct_names__new();
	for (size_t i = 0; i < CT_ARRAY_SIZE(types); i++)
		ct_names__id(f->types, "cpython", types[i]);
	for (size_t i = 0; i < CT_ARRAY_SIZE(writers); i++)
		ct_names__id(f->writers, "libpython3.13.so.1.0", writers[i]);
	ct_names__id(f->writers, "libc.so.6", "__memmove_avx_unaligned_erms");
	f->tally = ct_tally__new(f->types, f->writers);
	f->processes[0] = ct_tally__process(f->tally, 812, 1, "gunicorn: master [shop.wsgi]", 1);
	for (uint32_t i = 1; i < 9; i++)
		f->processes[i] = ct_tally__process(f->tally, 813 + i, 812,
						    "gunicorn: worker [shop.wsgi]", i + 1);
	return f->types && f->writers && f->tally && f->processes[8] != UINT32_MAX;
}

/* From here on one fault in four has a stack, and interpreters are known. Before the first fault.
 */
static inline bool view_fixture_with_python(struct view_fixture *f)
{
	f->lines = ct_names__new();
	f->stacks = ct_lists__new(1000);
	if (!f->lines || !f->stacks)
		return false;
	ct_tally__with_stacks(f->tally, f->lines, f->stacks, 4);
	return true;
}

/* The stack of a fault: main calls one of six, one of which is native; some have none. */
static inline void view_fixture_stack(struct view_fixture *f, struct ct_sample *s)
{
	static const struct {
		const char *file, *function;
		unsigned int line;
	} frames[] = { { "/srv/shop/wsgi.py", "application", 12 },
		       { "/usr/lib/python3/dist-packages/gunicorn/workers/sync.py", "handle", 134 },
		       { "/srv/shop/models.py", "<listcomp>", 77 },
		       { "/srv/shop/モデル.py", "読む", 5 },
		       { "/srv/shop/models.py", "load", 70 } };
	uint32_t at = view_fixture_pick(f, 7), ids[2];
	char name[64];

	s->sampled = true;
	if (at > CT_ARRAY_SIZE(frames))
		return;
	ids[0] = ct_names__id(f->lines, "/srv/shop/main.py", "3 main");
	if (at == CT_ARRAY_SIZE(frames)) {
		s->line = ct_names__id(f->lines, "libc.so.6", "0 memmove");
		s->function = ct_names__id(f->lines, "libc.so.6", "memmove");
		s->module = ct_names__id(f->lines, "", "libc.so.6");
		ids[1] = s->function | CT_FRAME_NATIVE;
	} else {
		snprintf(name, sizeof(name), "%u %s", frames[at].line, frames[at].function);
		ids[1] = s->line = ct_names__id(f->lines, frames[at].file, name);
		s->function = ct_names__id(f->lines, frames[at].file, frames[at].function);
		s->module = ct_names__id(f->lines, "", frames[at].file);
	}
	s->stack = ct_lists__id(f->stacks, ids, 2);
}

/* One more write fault of a worker: three in five hit a refcount, one in five a GC header. */
static inline void view_fixture_fault(struct view_fixture *f)
{
	static const uint8_t cells[] = { CT_CELL_REFCOUNT,  CT_CELL_REFCOUNT,  CT_CELL_REFCOUNT,
					 CT_CELL_REFCOUNT,  CT_CELL_REFCOUNT,  CT_CELL_REFCOUNT,
					 CT_CELL_GC_HEADER, CT_CELL_GC_HEADER, CT_CELL_GC_HEADER,
					 CT_CELL_PAYLOAD };
	static const uint8_t rare[] = { CT_CELL_ALLOCATOR, CT_CELL_FREE,     CT_CELL_STACK,
					CT_CELL_STATIC,	   CT_CELL_DATA,     CT_CELL_UNKNOWN,
					CT_CELL_BUFFER,	   CT_CELL_PREHEADER };
	uint32_t page = view_fixture_pick(f, 3000), kind = view_fixture_pick(f, 100);
	struct ct_sample s = { .count = 1, .page_shift = 12, .fault = CT_FAULT_COPY };
	uint32_t worker = 1 + view_fixture_pick(f, 8);

	worker = worker > 1 && !view_fixture_pick(f, 3) ? worker - 1 : worker;
	s.process = f->processes[worker];
	s.cell = cells[view_fixture_pick(f, sizeof(cells))];
	if (!view_fixture_pick(f, 12))
		s.cell = rare[view_fixture_pick(f, sizeof(rare))];
	s.cause = s.cell == CT_CELL_REFCOUNT	? CT_CAUSE_REFCOUNT
		  : s.cell == CT_CELL_GC_HEADER ? CT_CAUSE_GC
		  : s.cell == CT_CELL_PAYLOAD	? CT_CAUSE_MUTATION
		  : s.cell == CT_CELL_FREE	? CT_CAUSE_ALLOCATION
		  : s.cell == CT_CELL_UNKNOWN	? CT_CAUSE_UNKNOWN
						: CT_CAUSE_RUNTIME;
	s.type = s.cell == CT_CELL_STACK || s.cell == CT_CELL_UNKNOWN
			 ? 0
			 : 1 + view_fixture_pick(f, 1 + view_fixture_pick(f, 8));
	s.writer = s.cell == CT_CELL_GC_HEADER	? 2 + 3 * view_fixture_pick(f, 2)
		   : s.cell == CT_CELL_REFCOUNT ? 1 + 2 * view_fixture_pick(f, 2)
						: view_fixture_pick(f, 8);
	s.address = 0x7f2a4c000000ull + (uint64_t)page * page / 1000 * 4096 +
		    view_fixture_pick(f, 4096);
	if (page % 7 == 0)
		s.address = 0x55d0c2a00000ull + page * 4096ull;
	if (kind == 0)
		s.fault = CT_FAULT_COPY_FILE;
	s.unread = kind == 0 && page % 3 == 0;
	if (kind >= 97)
		s.fault = kind == 99 ? CT_FAULT_REUSE : CT_FAULT_ZERO_FILL;
	if (f->lines && s.cell == CT_CELL_GC_HEADER) {
		s.generation = view_fixture_pick(f, 3);
		s.collection = 1 + view_fixture_pick(f, s.generation == 2 ? 2 : 40);
	}
	if (f->lines && s.cell == CT_CELL_PAYLOAD && !view_fixture_pick(f, 3))
		s.cause = CT_CAUSE_EXIT;
	if (f->lines && !view_fixture_pick(f, 4))
		view_fixture_stack(f, &s);
	ct_tally__add(f->tally, &s);
	f->n_faults++;
}

static inline struct ct_snapshot *view_fixture_snapshot(struct view_fixture *f, uint64_t seconds10,
							size_t pages)
{
	static const struct ct_interpreter_row interpreters[] = {
		{ 812, "cpython", "3.13.0", "libpython3.13.so.1.0", "" },
		{ 813, "cpython", "3.13.0", "libpython3.13.so.1.0", "" },
		{ 900, "cpython", "3.14.2", "python3.14t", "free-threaded builds have no GIL" },
		{ 901, "cpython", "", "", "32-bit interpreters are not read" },
	};
	const struct ct_run_info run = { .hook = "tracepoint",
					 .kernel = "6.18.44",
					 .command = "gunicorn: master [shop.wsgi]",
					 .pid = 812,
					 .duration_ns = seconds10 * 100000000ull,
					 .interpreters = interpreters,
					 .n_interpreters =
						 f->lines ? CT_ARRAY_SIZE(interpreters) : 0,
					 .has_bytes = f->lines,
					 .carried = 1000,
					 .compared = 900,
					 .differ = 7,
					 .place_differ = 2 };

	return ct_tally__snapshot(f->tally, &run, pages);
}

static inline void view_fixture_close(struct view_fixture *f)
{
	ct_tally__free(f->tally);
	ct_names__free(f->types);
	ct_names__free(f->writers);
	ct_names__free(f->lines);
	ct_lists__free(f->stacks);
}

#endif /* CT_TESTS_VIEW_FIXTURE_H */
