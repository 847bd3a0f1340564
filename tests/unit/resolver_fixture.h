/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * resolver_fixture.h - a resolver whose only reader says what the test wants about this very
 * process. The table of readers is the test's own.
 */
#ifndef RESOLVER_FIXTURE_H
#define RESOLVER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap/reader.h"
#include "resolve/image.h"
#include "resolve/resolver.h"

#define CHILD	    5000000u /* no such pid: its parent's memory explains it */
#define N_TOLD	    16
#define N_CORRECTED 64

/* ---- a reader as the test wants it; the table of readers is the test's own ---- */

static struct {
	bool up;	       /* the interpreter is there */
	bool refuses;	       /* it finds one that it knows nothing of */
	bool blind;	       /* it knows no address */
	bool attaches;	       /* the reader finds something */
	struct ct_place place; /* of every address in the arena */
	uint32_t owner_type;   /* what owners() finds; 0: nothing */
	size_t asked, attached;
	struct ct_interpreter interpreter;
} fake;

static char *arena;
#define ARENA_BYTES (16 * 4096)

static void *fake_attach(const struct ct_heap_source *source, const char **why)
{
	*why = fake.refuses ? "32-bit interpreters are not read" : "not yet";
	fake.attached++;
	return fake.attaches ? (void *)(uintptr_t)source->types : NULL;
}

static bool fake_locate(void *heap, ct_raddr_t address, const struct ct_bytes *before,
			struct ct_place *place)
{
	(void)heap;
	if (address - (uintptr_t)arena >= ARENA_BYTES || fake.blind)
		return false;
	*place = fake.place;
	if (before->len && before->data[0] == 0xee)
		place->cell = CT_CELL_REFCOUNT;
	return true;
}

static inline void fake_renew(void *heap, const struct ct_heap_source *source)
{
	(void)heap, (void)source;
}

static inline void fake_close(void *heap)
{
	(void)heap;
}

static size_t fake_owners(void *heap, struct ct_owner_query *queries, size_t count,
			  uint64_t budget_ns)
{
	(void)heap, (void)budget_ns;
	fake.asked += count;
	for (size_t i = 0; i < count; i++) {
		queries[i].type = fake.owner_type;
		queries[i].object = 0xabc0;
	}
	return fake.owner_type ? count : 0;
}

static bool fake_interpreter(void *heap, struct ct_interpreter *interpreter)
{
	(void)heap;
	*interpreter = fake.interpreter;
	return fake.up;
}

static struct ct_names *lines;

static bool fake_source_line(void *heap, const struct ct_frame *frame, struct ct_source_line *line)
{
	char name[32];

	(void)heap;
	if (frame->code < (uintptr_t)arena || frame->code >= (uintptr_t)arena + 4096)
		return false;
	snprintf(name, sizeof(name), "%u f", (unsigned int)frame->instruction);
	line->line = ct_names__id(lines, "a.py", name);
	line->function = ct_names__id(lines, "a.py", "f");
	line->module = ct_names__id(lines, "", "a.py");
	return true;
}

static const struct ct_reader fake_reader = { .name = "cpython",
					      .attach = fake_attach,
					      .locate = fake_locate,
					      .renew = fake_renew,
					      .close = fake_close,
					      .owners = fake_owners,
					      .interpreter = fake_interpreter,
					      .source_line = fake_source_line };

const struct ct_reader *const ct_readers[] = { &fake_reader, NULL };

/* ---- what the resolver tells ---- */

struct told {
	uint64_t image;
	uint32_t tid;
	bool any;
	struct ct_runtime runtime;
};

struct fixture {
	struct ct_resolver_names names;
	struct ct_resolver *resolver;
	struct told told[N_TOLD];
	size_t n_told, n_interpreters, n_corrected;
	struct ct_sample corrected[N_CORRECTED];
	char version[32];
	uint32_t rows;
	bool any_pid; /* not only this very process */
};

static uint32_t on_began(void *context, pid_t pid, pid_t parent, const char *command, uint64_t ts)
{
	struct fixture *f = context;

	(void)pid, (void)parent, (void)command, (void)ts;
	return f->rows++;
}

static inline void on_ended(void *context, uint32_t row, uint64_t ts)
{
	(void)context, (void)row, (void)ts;
}

static inline uint64_t time_of(void *context, uint32_t jiffies)
{
	(void)context;
	return jiffies * 1000ull;
}

static inline void on_runtime(void *context, uint64_t image, uint32_t tid,
			      const struct ct_runtime *runtime)
{
	struct fixture *f = context;

	assert_true(f->n_told < N_TOLD);
	f->told[f->n_told] = (struct told){ .image = image, .tid = tid, .any = runtime };
	if (runtime)
		f->told[f->n_told].runtime = *runtime;
	f->n_told++;
}

static inline void on_interpreter(void *context, uint32_t row, pid_t pid, const char *name,
				  const struct ct_interpreter *interpreter)
{
	struct fixture *f = context;

	(void)row;
	assert_true(f->any_pid || pid == getpid());
	assert_string_equal(name, "cpython");
	memcpy(f->version, interpreter->version, sizeof(f->version));
	f->n_interpreters++;
}

static inline void on_corrected(void *context, const struct ct_sample *sample)
{
	struct fixture *f = context;

	assert_true(f->n_corrected < N_CORRECTED);
	f->corrected[f->n_corrected++] = *sample;
}

static inline void open_resolver(struct fixture *f)
{
	const struct ct_resolver_events events = { .context = f,
						   .image_began = on_began,
						   .image_ended = on_ended,
						   .time_ns = time_of,
						   .runtime_found = on_runtime,
						   .interpreter_found = on_interpreter,
						   .corrected = on_corrected };

	memset(f, 0, sizeof(*f));
	f->names.types = ct_names__new();
	f->names.writers = ct_names__new();
	f->names.lines = lines = ct_names__new();
	f->names.stacks = ct_lists__new(100);
	f->resolver = ct_resolver__new(&f->names, &events, 0);
	assert_non_null(f->resolver);
	memset(&fake, 0, sizeof(fake));
	fake.attaches = fake.up = true;
	fake.place.cell = CT_CELL_GC_HEADER;
	fake.interpreter.runtime.tstate = 0x1234;
	strcpy(fake.interpreter.version, "3.11.2");
}

static inline void close_resolver(struct fixture *f)
{
	ct_resolver__free(f->resolver);
	ct_names__free(f->names.types);
	ct_names__free(f->names.writers);
	ct_names__free(f->names.lines);
	ct_lists__free(f->names.stacks);
}

static inline uint64_t own_image(uint32_t serial)
{
	return CT_IMAGE(getpid(), serial);
}

static inline void event(struct fixture *f, uint8_t type, uint64_t image, uint64_t other,
			 uint32_t tid)
{
	struct ct_record_task task = { .rec = { .image = image, .tid = tid, .type = type },
				       .other_image = other,
				       .comm = "python3" };
	struct ct_sample sample;

	assert_int_equal(ct_resolver__resolve(f->resolver, &task.rec, sizeof(task), &sample), 0);
}

static inline struct ct_record record(uint8_t type, uint64_t image, uint32_t at, uint32_t phase)
{
	return (struct ct_record){ .address = (uintptr_t)arena + at,
				   .ip = (uintptr_t)&ct_resolver__resolve,
				   .phase = phase,
				   .image = image,
				   .tid = (uint32_t)getpid(),
				   .type = type,
				   .kind = CT_KIND_COPY,
				   .page_shift = 12 };
}

static inline struct ct_sample fault(struct fixture *f, uint8_t type, uint64_t image, uint32_t at,
				     uint32_t phase)
{
	struct ct_record rec = record(type, image, at, phase);
	struct ct_sample sample = { 0 };

	assert_int_equal(ct_resolver__resolve(f->resolver, &rec, sizeof(rec), &sample), 1);
	return sample;
}

static inline int arena_open(void)
{
	arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena == MAP_FAILED)
		return 1;
	memset(arena, 0, ARENA_BYTES);
	arena[0] = 1;
	return 0;
}

#endif /* RESOLVER_FIXTURE_H */
