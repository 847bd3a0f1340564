/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * reader_gcheap_fixture.h - a heap whose every word is known, in the layout asked for, and a forked
 * copy of this test as the process that it is read from.
 */
#ifndef READER_GCHEAP_FIXTURE_H
#define READER_GCHEAP_FIXTURE_H

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

static inline void note(size_t i, void *op, size_t bytes, const struct gcheap_type *type,
			bool buffer)
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

static inline void make(size_t i)
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

static inline void release(const struct truth *truth)
{
	if (truth->buffer)
		gcheap_buffer_free((void *)truth->block);
	else
		gcheap_decref((void *)(truth->block + truth->head_bytes));
}

static inline void note_apart(size_t i)
{
	struct gcheap_object *op = (void *)truths[i].block;
	uintptr_t head = (uintptr_t)gcheap_head_of(op);

	*ct_map__at(&counts, (uintptr_t)gcheap_count_apart(op->refcount)) = i + 1;
	for (size_t at = 0; at < sizeof(union gcheap_head) && op->type->flags & GCHEAP_CONTAINER;
	     at += 8)
		*ct_map__at(&heads, head + at) = i + 1;
}

/* Objects of all kinds, then every 7th freed, so that there are holes. */
static inline int make_heap(void **state)
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

static inline struct heapmap_arena *arena_of(ct_raddr_t address)
{
	struct heapmap_arena *arena = (void *)heapmap_descriptor.arenas;

	while (address < arena->start || address >= arena->end)
		arena++;
	return arena;
}

/* A change that takes its time, with nonsense in the table meanwhile, and some time after it. */
static inline void change_slowly(struct heapmap_arena *arena)
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

static inline void churn(void)
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

static inline void target_main(int socket)
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

static inline void open_target(struct target *target, pid_t pid)
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

static inline void close_target(struct target *target)
{
	ct_reader_gcheap.close(target->heap);
	ct_remote__close(target->source.memory);
	ct_maps__put(target->source.maps);
	ct_names__free(target->names);
}

static inline void start_target(struct target *target)
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

static inline void stop_target(struct target *target)
{
	kill(target->pid, SIGKILL);
	waitpid(target->pid, NULL, 0);
	close(target->socket);
	close_target(target);
}

static inline uintptr_t ask(struct target *target, char command)
{
	uintptr_t answer;

	assert_int_equal(write(target->socket, &command, 1), 1);
	assert_int_equal(read(target->socket, &answer, sizeof(answer)), sizeof(answer));
	return answer;
}

static inline void renew(struct target *target)
{
	ct_remote__renew(target->source.memory);
	ct_reader_gcheap.renew(target->heap, &target->source);
}

static inline bool locate(struct target *target, ct_raddr_t address, struct ct_place *place)
{
	return ct_reader_gcheap.locate(target->heap, address, NULL, place);
}

static inline const char *type_name(const struct target *target, const struct ct_place *place)
{
	return ct_names__name(target->names, place->type);
}

static inline enum ct_cell expected_cell(const struct truth *truth, size_t offset)
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

static inline void check_live(const struct target *target, const struct truth *truth,
			      ct_raddr_t address, const struct ct_place *place)
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

/* The cell of an object's first word. */
static inline enum ct_cell refcount_word(void)
{
	return layout == GCHEAP_INLINE ? CT_CELL_REFCOUNT : CT_CELL_PAYLOAD;
}

static inline int forget_truths(void **state)
{
	(void)state;
	ct_map__free(&truth_of);
	ct_map__free(&counts);
	ct_map__free(&heads);
	gcheap_close();
	return 0;
}

#define RUN_IN_BOTH_LAYOUTS(tests)                                                               \
	do {                                                                                     \
		int failed;                                                                      \
		layout = GCHEAP_INLINE;                                                          \
		failed = cmocka_run_group_tests_name("inline", tests, make_heap, forget_truths); \
		layout = GCHEAP_SPLIT;                                                           \
		return failed +                                                                  \
		       cmocka_run_group_tests_name("split", tests, make_heap, forget_truths);    \
	} while (0)

#endif /* READER_GCHEAP_FIXTURE_H */
