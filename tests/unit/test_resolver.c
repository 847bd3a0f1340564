/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_resolver.c - records in, samples and events out, with a reader that says what the test wants
 * about this very process: causes by phase, collections, interpreters told of, stacks in words,
 * owners found later, undo of all of it, carried bytes compared.
 */
#include "resolver_fixture.h"

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

	if (arena_open())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
