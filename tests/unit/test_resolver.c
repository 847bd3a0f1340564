/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_resolver.c - records in, samples and events out, with a reader that says what the test wants
 * about this very process: causes by phase, collections, interpreters told of, stacks in words,
 * owners found later, undo of all of it, carried bytes compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heap/reader.h"
#include "resolve/resolver.h"

#define CHILD	    5000000u /* no such pid: its parent's memory explains it */
#define N_TOLD	    16
#define N_CORRECTED 64

/* ---- a reader as the test wants it; the table of readers is the test's own ---- */

static struct {
	bool up;	       /* the interpreter is there */
	bool refuses;	       /* it finds one that it knows nothing of */
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
	if (address - (uintptr_t)arena >= ARENA_BYTES)
		return false;
	*place = fake.place;
	if (before->len && before->data[0] == 0xee)
		place->cell = CT_CELL_REFCOUNT;
	return true;
}

static void fake_renew(void *heap, const struct ct_heap_source *source)
{
	(void)heap, (void)source;
}

static void fake_close(void *heap)
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
};

static uint32_t on_began(void *context, pid_t pid, pid_t parent, const char *command, uint64_t ts)
{
	struct fixture *f = context;

	(void)pid, (void)parent, (void)command, (void)ts;
	return f->rows++;
}

static void on_ended(void *context, uint32_t row, uint64_t ts)
{
	(void)context, (void)row, (void)ts;
}

static uint64_t time_of(void *context, uint32_t jiffies)
{
	(void)context;
	return jiffies * 1000ull;
}

static void on_runtime(void *context, uint64_t image, uint32_t tid,
		       const struct ct_runtime *runtime)
{
	struct fixture *f = context;

	assert_true(f->n_told < N_TOLD);
	f->told[f->n_told] = (struct told){ .image = image, .tid = tid, .any = runtime };
	if (runtime)
		f->told[f->n_told].runtime = *runtime;
	f->n_told++;
}

static void on_interpreter(void *context, uint32_t row, pid_t pid, const char *name,
			   const struct ct_interpreter *interpreter)
{
	struct fixture *f = context;

	(void)row;
	assert_int_equal(pid, getpid());
	assert_string_equal(name, "cpython");
	memcpy(f->version, interpreter->version, sizeof(f->version));
	f->n_interpreters++;
}

static void on_corrected(void *context, const struct ct_sample *sample)
{
	struct fixture *f = context;

	assert_true(f->n_corrected < N_CORRECTED);
	f->corrected[f->n_corrected++] = *sample;
}

static void open_resolver(struct fixture *f)
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

static void close_resolver(struct fixture *f)
{
	ct_resolver__free(f->resolver);
	ct_names__free(f->names.types);
	ct_names__free(f->names.writers);
	ct_names__free(f->names.lines);
	ct_lists__free(f->names.stacks);
}

static uint64_t own_image(uint32_t serial)
{
	return CT_IMAGE(getpid(), serial);
}

static void event(struct fixture *f, uint8_t type, uint64_t image, uint64_t other, uint32_t tid)
{
	struct ct_record_task task = { .rec = { .image = image, .tid = tid, .type = type },
				       .other_image = other,
				       .comm = "python3" };
	struct ct_sample sample;

	assert_int_equal(ct_resolver__resolve(f->resolver, &task.rec, sizeof(task), &sample), 0);
}

static struct ct_record record(uint8_t type, uint64_t image, uint32_t at, uint32_t phase)
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

static struct ct_sample fault(struct fixture *f, uint8_t type, uint64_t image, uint32_t at,
			      uint32_t phase)
{
	struct ct_record rec = record(type, image, at, phase);
	struct ct_sample sample = { 0 };

	assert_int_equal(ct_resolver__resolve(f->resolver, &rec, sizeof(rec), &sample), 1);
	return sample;
}

/* ---- tests ---- */

static void test_causes_and_collections(void **state)
{
	const uint32_t full = CT_PHASE_KNOWN | CT_PHASE_COLLECTING;
	struct ct_sample s;
	struct fixture f;

	(void)state;
	open_resolver(&f);
	event(&f, CT_REC_TASK, own_image(1), 0, (uint32_t)getpid());
	event(&f, CT_REC_FORK, CT_IMAGE(CHILD, 1), own_image(1), CHILD);
	s = fault(&f, CT_REC_FAULT, CT_IMAGE(CHILD, 1), 16, CT_PHASE_KNOWN);
	assert_int_equal(s.cause, CT_CAUSE_GC_LINK);
	assert_int_equal(s.collection, 0);
	assert_int_equal(s.pid, CHILD);
	assert_string_equal(s.heap, "cpython");
	s = fault(&f, CT_REC_FAULT, CT_IMAGE(CHILD, 1), 16, full | CT_PHASE_OF(2, 41));
	assert_int_equal(s.cause, CT_CAUSE_GC);
	assert_int_equal(s.generation, 2);
	assert_int_equal(s.collection, 1);
	s = fault(&f, CT_REC_FAULT, CT_IMAGE(CHILD, 1), 16, full | CT_PHASE_OF(2, 43));
	assert_int_equal(s.collection, 3);
	s = fault(&f, CT_REC_FAULT, CT_IMAGE(CHILD, 1), 16, full | CT_PHASE_OF(0, 0xffffff));
	assert_int_equal(s.generation, 0);
	assert_int_equal(s.collection, 1);
	s = fault(&f, CT_REC_FAULT, CT_IMAGE(CHILD, 1), 16, full | CT_PHASE_OF(0, 1));
	assert_int_equal(s.collection, 3);			   /* the count has 24 bits */
	s = fault(&f, CT_REC_FAULT, CT_IMAGE(CHILD, 1), 16, full); /* which one is not known */
	assert_int_equal(s.cause, CT_CAUSE_GC);
	assert_int_equal(s.collection, 0);
	/* another image begins with 1 */
	s = fault(&f, CT_REC_FAULT, own_image(1), 16, full | CT_PHASE_OF(2, 43));
	assert_int_equal(s.collection, 1);
	s = fault(&f, CT_REC_FAULT, own_image(1), 16, CT_PHASE_KNOWN | CT_PHASE_FINALISING);
	assert_int_equal(s.cause, CT_CAUSE_EXIT);
	close_resolver(&f);
}

static void test_runtimes(void **state)
{
	struct fixture f;

	(void)state;
	open_resolver(&f);
	fake.up = false;
	fake.attaches = false; /* nothing of it is there at the first instruction */
	event(&f, CT_REC_TASK, own_image(1), 0, (uint32_t)getpid());
	assert_int_equal(f.n_told, 0);
	fake.up = fake.attaches = true; /* it comes up while the process is young */
	for (int i = 0; i < 500 && !f.n_told; i++) {
		ct_resolver__work(f.resolver, false);
		usleep(10000);
	}
	assert_int_equal(f.n_told, 1);
	assert_true(f.told[0].image == own_image(1));
	assert_int_equal(f.told[0].tid, 0);
	assert_int_equal(f.told[0].runtime.tstate, 0x1234);
	assert_int_equal(f.n_interpreters, 1);
	event(&f, CT_REC_FORK, CT_IMAGE(CHILD, 1), own_image(1), CHILD);
	assert_int_equal(f.n_told, 2);
	assert_string_equal(f.version, "3.11.2");
	/* a child gets it by its own task, before its tasks are looked for */
	event(&f, CT_REC_FORK, CT_IMAGE(CHILD + 1, 1), own_image(1), CHILD + 1);
	assert_int_equal(f.n_told, 3);
	assert_true(f.told[2].image == CT_IMAGE(CHILD + 1, 1));
	assert_int_equal(f.told[2].tid, CHILD + 1);
	/* a second interpreter of the parent: seen at the next fork, told of the parent first */
	fake.interpreter.runtime.collecting[1] = 77;
	usleep(20000);
	event(&f, CT_REC_FORK, CT_IMAGE(CHILD + 2, 1), own_image(1), CHILD + 2);
	assert_int_equal(f.n_told, 5);
	assert_true(f.told[3].image == own_image(1));
	assert_int_equal(f.told[3].runtime.collecting[1], 77);
	assert_int_equal(f.told[4].tid, CHILD + 2);
	assert_int_equal(f.n_interpreters, 2);
	/* the children that were there keep what they were forked with */
	usleep(20000);
	ct_resolver__work(f.resolver, false);
	assert_int_equal(f.n_told, 5);
	/* exec: nothing any more, until the new program is known */
	fake.up = false;
	event(&f, CT_REC_EXEC, own_image(2), own_image(1), (uint32_t)getpid());
	assert_int_equal(f.n_told, 6);
	assert_true(f.told[5].image == own_image(2));
	assert_false(f.told[5].any);
	close_resolver(&f);
}

/* Nothing that the reader cannot find at first is asked for without end. */
static void test_no_interpreter(void **state)
{
	struct fixture f;

	(void)state;
	open_resolver(&f);
	fake.attaches = false;
	event(&f, CT_REC_TASK, own_image(1), 0, (uint32_t)getpid());
	for (int i = 0; i < 250; i++) {
		ct_resolver__work(f.resolver, false);
		usleep(10000);
	}
	assert_in_range(fake.attached, 2, 201);
	fake.attached = 0;
	for (int i = 0; i < 20; i++) { /* two seconds old: no more */
		ct_resolver__work(f.resolver, false);
		usleep(10000);
	}
	assert_int_equal(fake.attached, 0);
	assert_int_equal(f.n_told, 0);
	close_resolver(&f);
}

/* One that is refused is told of once, and not asked for again. */
static void test_refused(void **state)
{
	struct fixture f;

	(void)state;
	open_resolver(&f);
	fake.attaches = false;
	fake.refuses = true;
	event(&f, CT_REC_TASK, own_image(1), 0, (uint32_t)getpid());
	assert_int_equal(f.n_interpreters, 1);
	assert_string_equal(f.version, "");
	for (int i = 0; i < 20; i++) {
		ct_resolver__work(f.resolver, false);
		usleep(10000);
	}
	event(&f, CT_REC_FORK, CT_IMAGE(CHILD, 1), own_image(1), CHILD);
	assert_int_equal(fake.attached, 1);
	assert_int_equal(f.n_interpreters, 1);
	assert_int_equal(f.n_told, 0);
	close_resolver(&f);
}

static void stack(struct fixture *f, uint32_t at, const struct ct_frame *frames, uint32_t n)
{
	size_t len = offsetof(struct ct_record_stack, frames) + n * sizeof(*frames);
	struct ct_record_stack rec = { .rec = record(CT_REC_STACK, own_image(1), at, 0),
				       .n_frames = n };
	struct ct_sample sample;

	if (n)
		memcpy(rec.frames, frames, n * sizeof(*frames));
	assert_int_equal(ct_resolver__resolve(f->resolver, &rec.rec, len, &sample), 0);
	assert_int_equal(ct_resolver__resolve(f->resolver, &rec.rec, sizeof(rec.rec), &sample), 0);
	assert_int_equal(ct_resolver__resolve(f->resolver, &rec.rec, len, &sample), 0);
}

static void test_stacks(void **state)
{
	const struct ct_frame frames[] = { { (uintptr_t)arena, 12 },
					   { 0x10, 5 },
					   { (uintptr_t)arena, 34 } };
	const struct ct_frame native[] = { { 0, (uintptr_t)&ct_resolver__resolve },
					   { 0, (uintptr_t)arena + 3 } };
	const uint32_t *ids;
	struct ct_sample s, again;
	struct fixture f;
	size_t n;

	(void)state;
	open_resolver(&f);
	event(&f, CT_REC_TASK, own_image(1), 0, (uint32_t)getpid());
	stack(&f, 16, frames, 3);
	s = fault(&f, CT_REC_FAULT, own_image(1), 16, 0);
	assert_true(s.sampled);
	assert_string_equal(ct_names__name(lines, s.line), "12 f");
	assert_string_equal(ct_names__name(lines, s.function), "f");
	assert_string_equal(ct_names__name(lines, s.module), "a.py");
	ids = ct_lists__get(f.names.stacks, s.stack, &n);
	assert_int_equal(n, 3);
	assert_string_equal(ct_names__name(lines, ids[0]), "34 f"); /* outermost first */
	assert_int_equal(ids[1], 0); /* a frame that cannot be read stays unknown */
	assert_int_equal(ids[2], s.line);
	/* taken back: with its stack */
	again = fault(&f, CT_REC_UNDO, own_image(1), 16, 0);
	assert_int_equal(again.count, -1);
	assert_true(again.sampled && again.line == s.line && again.stack == s.stack);
	/* used up */
	assert_false(fault(&f, CT_REC_FAULT, own_image(1), 16, 0).sampled);
	/* of another address: it is nobody's, and gone */
	stack(&f, 16, frames, 3);
	assert_false(fault(&f, CT_REC_FAULT, own_image(1), 24, 0).sampled);
	assert_false(fault(&f, CT_REC_FAULT, own_image(1), 16, 0).sampled);
	/* no frame: a sample without a line */
	stack(&f, 16, NULL, 0);
	s = fault(&f, CT_REC_FAULT, own_image(1), 16, 0);
	assert_true(s.sampled && !s.line && !s.function && !s.module && !s.stack);
	/* native frames only: the writer; what is no code ends the stack */
	stack(&f, 16, native, 2);
	s = fault(&f, CT_REC_FAULT, own_image(1), 16, 0);
	assert_true(s.sampled);
	assert_string_equal(ct_names__name(lines, s.function), "ct_resolver__resolve");
	assert_string_equal(ct_names__name(lines, s.line), "0 ct_resolver__resolve");
	ids = ct_lists__get(f.names.stacks, s.stack, &n);
	assert_int_equal(n, 1);
	assert_int_equal(ids[0], s.function | CT_FRAME_NATIVE);
	close_resolver(&f);
}

static void test_owners(void **state)
{
	struct ct_sample first, second, undo;
	struct fixture f;

	(void)state;
	open_resolver(&f);
	fake.place = (struct ct_place){ .cell = CT_CELL_BUFFER,
					.object = (uintptr_t)arena,
					.size = 64,
					.owner_unknown = true };
	event(&f, CT_REC_TASK, own_image(1), 0, (uint32_t)getpid());
	first = fault(&f, CT_REC_FAULT, own_image(1), 8, CT_PHASE_KNOWN);
	assert_int_equal(first.type, 0);
	assert_int_equal(first.object, (uintptr_t)arena);
	/* taken back before it was looked for */
	undo = fault(&f, CT_REC_UNDO, own_image(1), 8, 0);
	assert_int_equal(undo.count, -1);
	ct_resolver__work(f.resolver, true);
	assert_int_equal(f.n_corrected, 0);
	assert_int_equal(fake.asked, 0);
	/* two of the same buffer: asked for once, both corrected */
	fake.owner_type = ct_names__id(f.names.types, "cpython", "dict");
	first = fault(&f, CT_REC_FAULT, own_image(1), 8, CT_PHASE_KNOWN);
	second = fault(&f, CT_REC_FAULT, own_image(1), 16, CT_PHASE_KNOWN);
	ct_resolver__work(f.resolver, true);
	assert_int_equal(fake.asked, 1);
	assert_int_equal(f.n_corrected, 4);
	for (size_t i = 0; i < 4; i++) {
		const struct ct_sample *s = &f.corrected[i];

		assert_int_equal(s->count, i % 2 ? 1 : -1);
		assert_int_equal(s->type, i % 2 ? fake.owner_type : 0);
		assert_int_equal(s->owner, i % 2 ? 0xabc0 : 0);
		assert_int_equal(s->address, i / 2 ? second.address : first.address);
		assert_int_equal(s->cell, CT_CELL_BUFFER);
		assert_true(s->correction);
	}
	/* taken back after it was corrected: as it is now */
	undo = fault(&f, CT_REC_UNDO, own_image(1), 16, 0);
	assert_int_equal(undo.count, -1);
	assert_int_equal(undo.type, fake.owner_type);
	assert_false(undo.correction);
	/* a buffer that is another one by now stays unknown */
	fault(&f, CT_REC_FAULT, own_image(1), 8, CT_PHASE_KNOWN);
	fake.place.size = 128;
	ct_resolver__work(f.resolver, true);
	assert_int_equal(f.n_corrected, 4);
	close_resolver(&f);
}

/* More than there is room for: the oldest stay as they were counted, none is told of twice. */
static void test_many_owners(void **state)
{
	struct fixture f;

	(void)state;
	open_resolver(&f);
	event(&f, CT_REC_TASK, own_image(1), 0, (uint32_t)getpid());
	fake.place = (struct ct_place){ .cell = CT_CELL_BUFFER,
					.object = (uintptr_t)arena,
					.size = 64,
					.owner_unknown = true };
	for (int i = 0; i < 200000; i++)
		fault(&f, CT_REC_FAULT, own_image(1), 8, 0);
	ct_resolver__work(f.resolver, true); /* nothing found */
	assert_int_equal(fake.asked, 1);
	assert_int_equal(f.n_corrected, 0);
	ct_resolver__work(f.resolver, true);
	assert_int_equal(fake.asked, 1);
	fault(&f, CT_REC_FAULT, own_image(1), 8, 0); /* still pending at the end */
	close_resolver(&f);
}

static void test_bytes(void **state)
{
	struct ct_record_bytes rec = { .rec = record(CT_REC_FAULT, own_image(1), 64, 0),
				       .bytes_address = (uintptr_t)arena + 64 };
	struct ct_resolver_bytes count;
	struct ct_sample sample;
	struct fixture f;

	(void)state;
	open_resolver(&f);
	event(&f, CT_REC_TASK, own_image(1), 0, (uint32_t)getpid());
	rec.rec.flags = CT_FLAG_BYTES;
	assert_int_equal(ct_resolver__resolve(f.resolver, &rec.rec, sizeof(rec), &sample), 1);
	ct_resolver__bytes(f.resolver, &count);
	assert_int_equal(count.carried, 1);
	assert_int_equal(count.compared, 1);
	assert_int_equal(count.differ, 0);
	rec.bytes[1] = 1; /* other bytes, the same place */
	ct_resolver__resolve(f.resolver, &rec.rec, sizeof(rec), &sample);
	rec.bytes[0] = 0xee; /* other bytes, another place: what was carried counts */
	ct_resolver__resolve(f.resolver, &rec.rec, sizeof(rec), &sample);
	assert_int_equal(sample.cell, CT_CELL_REFCOUNT);
	ct_resolver__bytes(f.resolver, &count);
	assert_int_equal(count.carried, 3);
	assert_int_equal(count.differ, 2);
	assert_int_equal(count.place_differ, 1);
	/* cut short: counted, without the bytes */
	ct_resolver__resolve(f.resolver, &rec.rec, sizeof(rec.rec), &sample);
	ct_resolver__bytes(f.resolver, &count);
	assert_int_equal(count.carried, 3);
	close_resolver(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_causes_and_collections),
		cmocka_unit_test(test_runtimes),
		cmocka_unit_test(test_no_interpreter),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_stacks),
		cmocka_unit_test(test_owners),
		cmocka_unit_test(test_many_owners),
		cmocka_unit_test(test_bytes),
	};

	arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena == MAP_FAILED)
		return 1;
	memset(arena, 0, ARENA_BYTES);
	arena[0] = 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
