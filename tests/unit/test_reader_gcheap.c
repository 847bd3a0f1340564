/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_reader_gcheap.c - the gcheap reader on real processes: every word of a forked copy of this
 * test's heap against what the library did, a heap that changes, a heap that lies, ELF files that
 * lie.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gcheap/gcheap.h"
#include "gcheap/heapmap.h"
#include "heap/reader.h"

#define OBJECTS 30000

static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* A type in memory that can be written, to lie about it. (No traverse: nothing here collects.) */
static char custom_name[32] = "Custom";
static struct gcheap_type custom_type = {
	.name = custom_name,
	.basicsize = 48,
	.flags = GCHEAP_CONTAINER,
};

/* What the library made, as the test knows it without the heap map. */
struct truth {
	uintptr_t block; /* with the GC header */
	size_t bytes;	 /* asked for, GC header included; the block may be bigger */
	size_t head_bytes;
	const struct gcheap_type *type;
	bool buffer, freed;
};

static enum gcheap_layout layout;
static struct truth truths[OBJECTS];
static struct ct_map truth_of; /* address of a word -> index in truths + 1 */
static struct ct_map counts;   /* address of a count apart -> the same */
static struct ct_map heads;    /* address of a word of a GC header apart -> the same */

static void note(size_t i, void *op, size_t bytes, const struct gcheap_type *type, bool buffer)
{
	size_t head = !buffer && type->flags & GCHEAP_CONTAINER && layout == GCHEAP_INLINE
			      ? sizeof(union gcheap_head)
			      : 0;

	assert_non_null(op);
	truths[i] = (struct truth){
		.block = (uintptr_t)op - head,
		.bytes = bytes + head,
		.head_bytes = head,
		.type = type,
		.buffer = buffer,
	};
}

static void make(size_t i)
{
	static const struct gcheap_type *const types[] = { &gcheap_int,	  &gcheap_string,
							   &gcheap_tuple, &gcheap_list,
							   &gcheap_dict,  &custom_type };
	const struct gcheap_type *type = types[next_random() % CT_ARRAY_SIZE(types)];
	size_t items = type->itemsize ? next_random() % 30 : 0;

	if (next_random() % 200 == 0)
		items = type->itemsize ? 4000 + next_random() % 4000 : 0; /* big */
	if (next_random() % 10 == 0) {
		size_t bytes = 1 + next_random() % (next_random() % 20 ? 600 : 9000);

		note(i, gcheap_buffer_new(&gcheap_list, bytes), bytes, &gcheap_list, true);
		return;
	}
	note(i, gcheap_new(type, items), type->basicsize + items * type->itemsize, type, false);
}

static void release(const struct truth *truth)
{
	if (truth->buffer)
		gcheap_buffer_free((void *)truth->block);
	else
		gcheap_decref((void *)(truth->block + truth->head_bytes));
}

static void note_apart(size_t i)
{
	struct gcheap_object *op = (void *)truths[i].block;
	uintptr_t head = (uintptr_t)gcheap_head_of(op);

	*ct_map__at(&counts, (uintptr_t)gcheap_count_apart(op->refcount)) = i + 1;
	for (size_t at = 0; at < sizeof(union gcheap_head) && op->type->flags & GCHEAP_CONTAINER;
	     at += 8)
		*ct_map__at(&heads, head + at) = i + 1;
}

/* Objects of all kinds, then every 7th freed, so that there are holes. */
static int make_heap(void **state)
{
	const struct gcheap_options options = { .layout = layout };

	(void)state;
	assert_true(gcheap_open(&options));
	for (size_t i = 0; i < OBJECTS; i++)
		make(i);
	for (size_t i = 0; i < OBJECTS; i += 7) {
		release(&truths[i]);
		truths[i].freed = true;
	}
	for (size_t i = 0; i < OBJECTS; i++) {
		for (size_t at = 0; at < truths[i].bytes && !truths[i].freed; at += 8)
			*ct_map__at(&truth_of, truths[i].block + at) = i + 1;
		if (layout == GCHEAP_SPLIT && !truths[i].freed && !truths[i].buffer)
			note_apart(i);
	}
	return 0;
}

/* --- the process that is read ---------------------------------------------------------------- */

struct target {
	pid_t pid;
	int socket; /* one byte asks, 8 bytes answer */
	struct ct_names *names;
	struct ct_heap_source source;
	void *heap;
};

static struct gcheap_object *target_object;
static void *target_big;

static uint64_t stable_block; /* the arena around it is what churn has wrong half of the time */

static struct heapmap_arena *arena_of(ct_raddr_t address)
{
	struct heapmap_arena *arena = (void *)heapmap_descriptor.arenas;

	while (address < arena->start || address >= arena->end)
		arena++;
	return arena;
}

/* A change that takes its time, with nonsense in the table meanwhile, and some time after it. */
static void change_slowly(struct heapmap_arena *arena)
{
	uint64_t was = arena->directory;

	__atomic_add_fetch(&heapmap_descriptor.generation, 1, __ATOMIC_SEQ_CST);
	for (uint64_t i = next_random() % 300; i; i--)
		__atomic_store_n(&arena->directory, next_random(), __ATOMIC_SEQ_CST);
	__atomic_store_n(&arena->directory, was, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&heapmap_descriptor.generation, 1, __ATOMIC_SEQ_CST);
	for (uint64_t i = next_random() % 1000; i; i--)
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static void churn(void)
{
	void *blocks[64] = { NULL };

	for (size_t round = 0;; round++) {
		change_slowly(arena_of(stable_block));
		if (round % 64) /* rarely: mapping memory keeps readers out */
			continue;
		for (size_t i = next_random() % 4; i < 64; i += 4) {
			gcheap_buffer_free(blocks[i]);
			blocks[i] = gcheap_buffer_new(&gcheap_list, 5000 + next_random() % 5000);
		}
	}
}

static void target_main(int socket)
{
	char command;
	uintptr_t answer;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(socket, &command, 1) == 1) {
		answer = 0;
		if (command == 'o')
			answer = (uintptr_t)(target_object = gcheap_new(&gcheap_tuple, 19));
		else if (command == 'f')
			gcheap_decref(target_object);
		else if (command == 'b')
			answer =
				(uintptr_t)(target_big = gcheap_buffer_new(&gcheap_dict, 1u << 20));
		else if (command == 'u')
			gcheap_buffer_free(target_big);
		if (write(socket, &answer, sizeof(answer)) != sizeof(answer))
			_exit(1);
		if (command == 'c')
			churn();
	}
	_exit(0);
}

static void open_target(struct target *target, pid_t pid)
{
	const char *why = NULL;

	target->pid = pid;
	target->names = ct_names__new();
	target->source = (struct ct_heap_source){
		.maps = ct_maps__read(pid),
		.memory = ct_remote__open(pid),
		.types = target->names,
	};
	assert_non_null(target->source.maps);
	assert_non_null(target->source.memory);
	target->heap = ct_reader_gcheap.attach(&target->source, &why);
	if (!target->heap)
		fail_msg("attach: %s", why);
}

static void close_target(struct target *target)
{
	ct_reader_gcheap.close(target->heap);
	ct_remote__close(target->source.memory);
	ct_maps__put(target->source.maps);
	ct_names__free(target->names);
}

static void start_target(struct target *target)
{
	int pair[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		target_main(pair[1]);
	close(pair[1]);
	target->socket = pair[0];
	open_target(target, pid);
}

static void stop_target(struct target *target)
{
	kill(target->pid, SIGKILL);
	waitpid(target->pid, NULL, 0);
	close(target->socket);
	close_target(target);
}

static uintptr_t ask(struct target *target, char command)
{
	uintptr_t answer;

	assert_int_equal(write(target->socket, &command, 1), 1);
	assert_int_equal(read(target->socket, &answer, sizeof(answer)), sizeof(answer));
	return answer;
}

static void renew(struct target *target)
{
	ct_remote__renew(target->source.memory);
	ct_reader_gcheap.renew(target->heap, &target->source);
}

static bool locate(struct target *target, ct_raddr_t address, struct ct_place *place)
{
	return ct_reader_gcheap.locate(target->heap, address, NULL, place);
}

static const char *type_name(const struct target *target, const struct ct_place *place)
{
	return ct_names__name(target->names, place->type);
}

/* --- every word ------------------------------------------------------------------------------ */

static enum ct_cell expected_cell(const struct truth *truth, size_t offset)
{
	if (truth->buffer)
		return CT_CELL_BUFFER;
	if (offset < truth->head_bytes)
		return CT_CELL_GC_HEADER;
	offset -= truth->head_bytes;
	if (layout == GCHEAP_SPLIT && offset < 8)
		return CT_CELL_PAYLOAD;
	return offset < 8 ? CT_CELL_REFCOUNT : offset < 16 ? CT_CELL_TYPE : CT_CELL_PAYLOAD;
}

static void check_live(const struct target *target, const struct truth *truth, ct_raddr_t address,
		       const struct ct_place *place)
{
	if (place->cell != expected_cell(truth, address - truth->block) ||
	    place->object != truth->block || place->offset != address - truth->block ||
	    place->size < truth->bytes || strcmp(type_name(target, place), truth->type->name) ||
	    strcmp(ct_names__scope(target->names, place->type), "gcheap"))
		fail_msg("%#lx in a %s of %zu at %#lx: %s of a %s, object %#lx + %u, %u bytes",
			 (unsigned long)address, truth->type->name, truth->bytes,
			 (unsigned long)truth->block, ct_cell_name(place->cell),
			 type_name(target, place), (unsigned long)place->object, place->offset,
			 place->size);
}

/* What is no word of an object: its block's padding, free, or the allocator's. */
static void check_other(ct_raddr_t address, const struct heapmap_arena *arena,
			const struct ct_place *place)
{
	uint64_t offset = address - arena->start, pool_bytes = arena->pool_bytes;
	bool head = arena->pool_count == 0 ||
		    (offset / pool_bytes < arena->pool_count && offset % pool_bytes < 64);
	const uint64_t *truth;

	if (place->cell == CT_CELL_PAYLOAD || place->cell == CT_CELL_BUFFER) {
		truth = ct_map__find(&truth_of, place->object);
		assert_non_null(truth);
		assert_true(place->offset >= truths[*truth - 1].bytes);
		assert_true(place->offset < place->size);
		return;
	}
	assert_true(place->cell == CT_CELL_ALLOCATOR || (place->cell == CT_CELL_FREE && !head));
	assert_int_equal(place->type, 0);
}

/* A count or a GC header apart, with the object it belongs to. */
static void check_apart(const struct target *target, ct_raddr_t at, enum ct_cell cell,
			const struct ct_place *place)
{
	const uint64_t *index = ct_map__find(cell == CT_CELL_REFCOUNT ? &counts : &heads, at);
	const struct truth *truth;

	if (!index)
		fail_msg("%#lx is no %s of ours", (unsigned long)at, ct_cell_name(cell));
	truth = &truths[*index - 1];
	if (place->cell != cell || place->object != truth->block || place->size < truth->bytes ||
	    strcmp(type_name(target, place), truth->type->name))
		fail_msg("%#lx, the %s of a %s at %#lx: %s of a %s at %#lx", (unsigned long)at,
			 ct_cell_name(cell), truth->type->name, (unsigned long)truth->block,
			 ct_cell_name(place->cell), type_name(target, place),
			 (unsigned long)place->object);
	assert_int_equal(place->offset, cell == CT_CELL_REFCOUNT ? 0 : at % 32);
}

static void check_word(const struct target *target, const struct heapmap_arena *arena,
		       ct_raddr_t at, const struct ct_place *place)
{
	const uint64_t *truth = ct_map__find(&truth_of, at);

	if (truth)
		check_live(target, &truths[*truth - 1], at, place);
	else if (ct_map__find(&counts, at))
		check_apart(target, at, CT_CELL_REFCOUNT, place);
	else if (ct_map__find(&heads, at))
		check_apart(target, at, CT_CELL_GC_HEADER, place);
	else
		check_other(at, arena, place);
}

static void test_every_word(void **state)
{
	const struct heapmap_arena *arenas = (void *)heapmap_descriptor.arenas;
	size_t words[CT_CELL_COUNT] = { 0 }, live = 0;
	struct target target;
	struct ct_place place;

	(void)state;
	start_target(&target);
	for (uint32_t i = 0; i < heapmap_descriptor.arena_count; i++) {
		for (ct_raddr_t at = arenas[i].start; at < arenas[i].end;
		     at += layout == GCHEAP_SPLIT ? 4 : 8) {
			assert_true(locate(&target, at, &place));
			words[place.cell]++;
			if (at % 8 == 0 || ct_map__find(&counts, at))
				check_word(&target, &arenas[i], at, &place);
			live += ct_map__find(&truth_of, at) != NULL;
		}
	}
	assert_int_equal(live, ct_map__count(&truth_of));
	for (size_t i = 0; i < OBJECTS; i += 7) {
		if (truths[i].bytes > 4080 || !locate(&target, truths[i].block, &place))
			continue; /* a big block: unmapped */
		assert_int_equal(place.cell, CT_CELL_FREE);
	}
	if (layout == GCHEAP_INLINE) {
		/* containers: 4 words of header, 1 refcount, 1 type */
		assert_int_equal(words[CT_CELL_REFCOUNT], words[CT_CELL_TYPE]);
		assert_true(words[CT_CELL_GC_HEADER] > 2 * words[CT_CELL_REFCOUNT]);
	} else {
		assert_int_equal(words[CT_CELL_REFCOUNT], ct_map__count(&counts));
		assert_int_equal(words[CT_CELL_TYPE], 2 * words[CT_CELL_REFCOUNT]);
		assert_int_equal(words[CT_CELL_GC_HEADER], 2 * ct_map__count(&heads));
	}
	assert_int_equal(words[CT_CELL_UNKNOWN], 0);
	assert_false(locate(&target, (uintptr_t)&place, &place));
	assert_false(locate(&target, UINT64_MAX, &place));
	stop_target(&target);
}

/* Random addresses: claimed exactly if in an arena. */
static void test_random_addresses(void **state)
{
	const struct heapmap_arena *arenas = (void *)heapmap_descriptor.arenas;
	struct target target;
	struct ct_place place;
	size_t inside = 0;

	(void)state;
	start_target(&target);
	for (int round = 0; round < 200000; round++) {
		ct_raddr_t at = next_random() >> next_random() % 40;
		bool in = false;

		if (round % 2) /* near an arena */
			at = arenas[next_random() % heapmap_descriptor.arena_count].start - 4096 +
			     next_random() % (2u << 20);
		for (uint32_t i = 0; i < heapmap_descriptor.arena_count && !in; i++)
			in = at >= arenas[i].start && at < arenas[i].end;
		assert_int_equal(locate(&target, at, &place), in);
		inside += in;
	}
	assert_true(inside > 10000);
	stop_target(&target);
}

/* The cell of an object's first word. */
static enum ct_cell refcount_word(void)
{
	return layout == GCHEAP_INLINE ? CT_CELL_REFCOUNT : CT_CELL_PAYLOAD;
}

/* In a pool of mixed types the record's own bytes go before the target's. */
static void test_bytes_of_the_record(void **state)
{
	struct gcheap_object *ops[200], bytes;
	struct target target;
	struct ct_place place;
	struct ct_bytes before = { .data = (void *)&bytes, .len = sizeof(bytes) };

	(void)state;
	for (int i = 0; i < 200; i++) /* 80 bytes each */
		ops[i] = i % 2 ? gcheap_new(&gcheap_tuple, 3) : gcheap_new(&gcheap_list, 0);
	start_target(&target);
	for (int i = 0; i < 200; i++) {
		before.address = (uintptr_t)ops[i];
		bytes = (struct gcheap_object){ .refcount = 1, .type = &custom_type };
		assert_true(locate(&target, (uintptr_t)ops[i], &place));
		assert_int_equal(place.cell, refcount_word());
		assert_string_equal(type_name(&target, &place), i % 2 ? "tuple" : "list");
		assert_true(
			ct_reader_gcheap.locate(target.heap, (uintptr_t)ops[i], &before, &place));
		assert_string_equal(type_name(&target, &place), "Custom");
		before.len = 15; /* not the whole type word */
		assert_true(
			ct_reader_gcheap.locate(target.heap, (uintptr_t)ops[i], &before, &place));
		assert_string_equal(type_name(&target, &place), i % 2 ? "tuple" : "list");
		before.len = sizeof(bytes);
	}
	stop_target(&target);
	for (int i = 0; i < 200; i++)
		gcheap_decref(ops[i]);
}

/* --- a heap that changes --------------------------------------------------------------------- */

static void test_renew(void **state)
{
	struct target target;
	struct ct_place place;
	uintptr_t object, big;

	(void)state;
	start_target(&target);
	object = ask(&target, 'o');
	ask(&target, 'f');
	renew(&target);
	assert_true(locate(&target, object, &place));
	assert_int_equal(place.cell, CT_CELL_FREE);
	assert_int_equal(ask(&target, 'o'), object);
	assert_true(locate(&target, object, &place)); /* still as it was at the fork */
	assert_int_equal(place.cell, CT_CELL_FREE);
	renew(&target);
	assert_true(locate(&target, object + 8, &place));
	assert_int_equal(place.cell, CT_CELL_TYPE);
	assert_string_equal(type_name(&target, &place), "tuple");
	assert_int_equal(place.object, object - (layout == GCHEAP_INLINE ? 32 : 0));
	big = ask(&target, 'b');
	assert_false(locate(&target, big, &place)); /* the arena is newer than the table */
	renew(&target);
	assert_true(locate(&target, big + 1000000, &place));
	assert_int_equal(place.cell, CT_CELL_BUFFER);
	assert_int_equal(place.offset, 1000000);
	assert_string_equal(type_name(&target, &place), "dict");
	ask(&target, 'u');
	renew(&target);
	assert_false(locate(&target, big + 1000000, &place));
	assert_true(locate(&target, object, &place));
	assert_int_equal(place.cell, refcount_word());
	/* the process goes: what was cached holds, and nothing breaks */
	kill(target.pid, SIGKILL);
	waitpid(target.pid, NULL, 0);
	assert_true(locate(&target, object, &place));
	renew(&target);
	assert_false(locate(&target, object, &place));
	stop_target(&target);
}

/* The table changes all the while it is read: what stays put is always found. */
static void test_busy_target(void **state)
{
	const struct truth *stable = NULL;
	struct target target;
	struct ct_place place;

	(void)state;
	for (size_t i = 0; i < OBJECTS && !stable; i++) {
		if (!truths[i].freed && !truths[i].buffer &&
		    truths[i].type->flags & GCHEAP_CONTAINER)
			stable = &truths[i];
	}
	stable_block = stable->block;
	start_target(&target);
	ask(&target, 'c');
	for (int round = 0; round < 20000; round++) {
		renew(&target);
		assert_true(locate(&target, stable->block, &place));
		check_live(&target, stable, stable->block, &place);
	}
	stop_target(&target);
}

/* Caught in a change: an old reader keeps what it had, a new one finds the heap when it is over. */
static void test_unsettled(void **state)
{
	const struct truth *stable = &truths[1];
	struct target target = { 0 }, late = { 0 };
	struct ct_place place;

	(void)state;
	open_target(&target, getpid());
	heapmap_descriptor.generation++;
	renew(&target);
	assert_true(locate(&target, stable->block, &place));
	check_live(&target, stable, stable->block, &place);
	open_target(&late, getpid());
	assert_false(locate(&late, stable->block, &place));
	heapmap_descriptor.generation++;
	for (int tries = 0; !locate(&late, stable->block, &place); tries++)
		assert_true(tries < 4);
	check_live(&late, stable, stable->block, &place);
	close_target(&late);
	close_target(&target);
}

/* --- a heap that lies ------------------------------------------------------------------------ */

#define FLIPS_MAX 8

/* Memory of this process that the reader looks at and nothing else uses meanwhile. */
static uint8_t *random_victim(void)
{
	const struct heapmap_arena *arenas = (void *)heapmap_descriptor.arenas, *arena;

	arena = &arenas[next_random() % heapmap_descriptor.arena_count];
	switch (next_random() % 6) {
	case 0:
		return (uint8_t *)&heapmap_descriptor + next_random() % sizeof(heapmap_descriptor);
	case 1:
		return (uint8_t *)(uintptr_t)arena + next_random() % sizeof(*arena);
	case 2:
		return (uint8_t *)&custom_type + next_random() % sizeof(custom_type);
	case 3:
		return (uint8_t *)custom_name + next_random() % sizeof(custom_name);
	default:
		if (!arena->pool_count)
			return (uint8_t *)custom_name;
		return (uint8_t *)arena->directory +
		       next_random() % ((uint64_t)arena->pool_count * arena->entry_bytes);
	}
}

/* Where the truth was, and where the lie says that something is. */
static void look_around(struct target *target, const struct heapmap_arena *table, uint32_t count)
{
	struct ct_place place;

	for (int i = 0; i < 12; i++) {
		ct_raddr_t at = truths[next_random() % OBJECTS].block + next_random() % 4096;

		if (i % 3 == 0)
			at = table[next_random() % count].start + next_random() % (5u << 20);
		if (i % 3 == 1)
			at = table[next_random() % count].end - next_random() % (1u << 14);
		if (!locate(target, at, &place))
			continue;
		assert_true((unsigned int)place.cell < CT_CELL_COUNT);
		assert_true(place.type <= ct_names__count(target->names));
		if (place.cell != CT_CELL_REFCOUNT && place.cell != CT_CELL_GC_HEADER &&
		    place.cell != CT_CELL_FREE) /* those may be apart */
			assert_true(!place.object || place.object <= at);
	}
}

static void test_lying_heap(void **state)
{
	const struct heapmap_arena *table = (void *)heapmap_descriptor.arenas;
	uint32_t table_count = heapmap_descriptor.arena_count;
	const struct truth *stable = &truths[1];
	struct target target = { 0 };
	struct ct_place place;

	(void)state;
	open_target(&target, getpid());
	for (int round = 0; round < 100000; round++) {
		uint8_t *victims[FLIPS_MAX], flips[FLIPS_MAX];
		size_t count = 1 + next_random() % FLIPS_MAX;

		for (size_t i = 0; i < count; i++)
			victims[i] = random_victim(); /* before the map is a lie */
		for (size_t i = 0; i < count; i++) {
			flips[i] = (uint8_t)(1u << next_random() % 8);
			if (next_random() % 4 == 0)
				flips[i] = (uint8_t)next_random();
			*victims[i] ^= flips[i];
		}
		renew(&target);
		look_around(&target, table, table_count);
		for (size_t i = 0; i < count; i++)
			*victims[i] ^= flips[i];
	}
	renew(&target);
	assert_true(locate(&target, stable->block, &place));
	check_live(&target, stable, stable->block, &place);
	close_target(&target);
}

static int forget_truths(void **state)
{
	(void)state;
	ct_map__free(&truth_of);
	ct_map__free(&counts);
	ct_map__free(&heads);
	gcheap_close();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_word),	    cmocka_unit_test(test_random_addresses),
		cmocka_unit_test(test_bytes_of_the_record), cmocka_unit_test(test_renew),
		cmocka_unit_test(test_busy_target),	    cmocka_unit_test(test_unsettled),
		cmocka_unit_test(test_lying_heap),
	};

	int failed;

	layout = GCHEAP_INLINE;
	failed = cmocka_run_group_tests_name("inline", tests, make_heap, forget_truths);
	layout = GCHEAP_SPLIT;
	return failed + cmocka_run_group_tests_name("split", tests, make_heap, forget_truths);
}
