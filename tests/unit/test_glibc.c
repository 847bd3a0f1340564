/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_glibc.c - the chunks of glibc's malloc in a real process, against what malloc returned: a
 * child fills its main arena, thread arenas and mapped chunks, says what it has, and changes it
 * while it is read.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "heap/glibc.h"

#define BLOCKS	100000
#define THREADS 3

/** What the child says: in shared memory, so it is no part of its heap. */
struct truth {
	volatile int step, asked; /* the child does what is asked, and says so in step */
	size_t count;
	struct {
		ct_raddr_t user;
		uint64_t size;
	} blocks[BLOCKS * 2];
};

struct target {
	struct truth *truth;
	pid_t pid;
	struct ct_heap_source source;
	struct ct_glibc *glibc;
};

#ifdef __SANITIZE_ADDRESS__ /* puts its own malloc in the place of glibc's, which is still there \
			     */
void *__libc_malloc(size_t size);
void __libc_free(void *block);
#define ct_malloc __libc_malloc
#define ct_free	  __libc_free
#else
#define ct_malloc malloc
#define ct_free	  free
#endif

static uint64_t seed = 88172645463325252ull;

static uint64_t random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static size_t random_size(void)
{
	uint64_t r = random_number();

	if (r % 1000 == 0)
		return (size_t)(r >> 10) % 900000;
	return r % 50 ? (size_t)(r >> 10) % 300 : (size_t)(r >> 10) % 20000;
}

static void *blocks[BLOCKS];
static pthread_barrier_t barrier;

/* As programs do, it writes to what it gets: what stood there may be a copy of a freed chunk. */
static void *new_block(void)
{
	void *block = ct_malloc(random_size());

	return block ? memset(block, 1, 16) : NULL;
}

static void fill(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		blocks[i] = new_block();
}

/* A quarter of them goes and comes again, of other sizes. */
static void churn(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (random_number() % 4 == 0) {
			ct_free(blocks[i]);
			blocks[i] = random_number() % 2 ? new_block() : NULL;
		}
}

static void *thread_main(void *argument)
{
	size_t i = (size_t)argument, share = BLOCKS / (THREADS + 1);

	fill(i * share, (i + 1) * share);
	churn(i * share, (i + 1) * share);
	pthread_barrier_wait(&barrier);
	pause();
	return NULL;
}

/** malloc_usable_size, which a sanitizer would answer for its own blocks. */
static uint64_t usable_size(const void *block)
{
	uint64_t size;

	memcpy(&size, (const char *)block - sizeof(size), sizeof(size));
	return (size & ~7ull) - (size & 2 ? 16 : 8);
}

static void tell(struct truth *truth)
{
	size_t count = 0;

	for (size_t i = 0; i < BLOCKS; i++) {
		if (!blocks[i])
			continue;
		truth->blocks[count].user = (ct_raddr_t)blocks[i];
		truth->blocks[count++].size = usable_size(blocks[i]);
	}
	truth->count = count;
	truth->step++;
}

static void child_main(struct truth *truth, size_t threads)
{
	size_t share = BLOCKS / (THREADS + 1);
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (threads) {
		pthread_barrier_init(&barrier, NULL, (unsigned int)threads + 1);
		for (size_t i = 1; i <= threads; i++)
			pthread_create(&thread, NULL, thread_main, (void *)i);
		pthread_barrier_wait(&barrier);
	}
	fill(0, threads ? share : BLOCKS);
	churn(0, threads ? share : BLOCKS);
	tell(truth);
	for (;;) {
		while (truth->asked < truth->step)
			usleep(1000);
		churn(0, threads ? share : BLOCKS);
		tell(truth);
	}
}

static void wait_for(struct target *target, int step)
{
	for (int i = 0; i < 20000 && target->truth->step < step; i++)
		usleep(1000);
	assert_int_equal(target->truth->step, step);
}

static void start_target(struct target *target, size_t threads)
{
	const char *why = "";

	target->truth = mmap(NULL, sizeof(*target->truth), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(target->truth, MAP_FAILED);
	target->pid = fork();
	assert_true(target->pid >= 0);
	if (!target->pid) {
		child_main(target->truth, threads);
		_exit(0);
	}
	wait_for(target, 1);
	target->source = (struct ct_heap_source){
		.maps = ct_maps__read(target->pid),
		.memory = ct_remote__open(target->pid),
	};
	assert_non_null(target->source.maps);
	target->glibc = ct_glibc__new(&target->source, &why);
	if (!target->glibc)
		fail_msg("%s", why);
}

static void stop_target(struct target *target)
{
	kill(target->pid, SIGKILL);
	waitpid(target->pid, NULL, 0);
	ct_glibc__free(target->glibc);
	ct_remote__close(target->source.memory);
	ct_maps__put(target->source.maps);
	munmap(target->truth, sizeof(*target->truth));
}

/* Every block in the order @step says, at its first, last and a middle byte, and its header. */
static void check_blocks(struct target *target, size_t step, size_t may_miss)
{
	size_t missed = 0, count = target->truth->count;

	for (size_t n = 0, i = 0; n < count; n++, i = (i + step) % count) {
		ct_raddr_t user = target->truth->blocks[i].user;
		uint64_t size = target->truth->blocks[i].size;
		ct_raddr_t at[] = { user, user + size - 1, user + size / 2, user - 8 };
		struct ct_chunk chunk;

		for (size_t k = 0; k < CT_ARRAY_SIZE(at); k++) {
			if (!ct_glibc__chunk(target->glibc, at[k], &chunk)) {
				missed++;
				continue;
			}
			if (chunk.user != user || chunk.size != size || !chunk.in_use ||
			    chunk.in_header != (at[k] < user))
				fail_msg("%#lx (%lu of %lu bytes at %#lx): %lu bytes at %#lx",
					 (unsigned long)at[k], (unsigned long)k,
					 (unsigned long)size, (unsigned long)user,
					 (unsigned long)chunk.size, (unsigned long)chunk.user);
		}
	}
	if (missed > may_miss)
		fail_msg("%zu of %zu addresses in no chunk", missed, count * 4);
}

static void renew(struct target *target)
{
	struct ct_maps *maps = ct_maps__read(target->pid), *old = target->source.maps;

	assert_non_null(maps);
	target->source.maps = maps;
	ct_remote__renew(target->source.memory);
	ct_glibc__renew(target->glibc, &target->source);
	ct_maps__put(old);
}

static void test_every_block(void **state)
{
	struct target target;

	(void)state;
	start_target(&target, 0);
	check_blocks(&target, 7919, 0);
	stop_target(&target);
}

static void test_thread_arenas(void **state)
{
	struct target target;

	(void)state;
	start_target(&target, THREADS);
	check_blocks(&target, 1, 0);
	stop_target(&target);
}

/* Each time a quarter of all blocks has changed: what was indexed must be corrected. */
static void test_changes(void **state)
{
	struct target target;

	(void)state;
	start_target(&target, 0);
	check_blocks(&target, 1, 0);
	for (int step = 1; step < 6; step++) {
		target.truth->asked = step;
		wait_for(&target, step + 1);
		renew(&target);
		check_blocks(&target, step % 2 ? 7919 : 1, 0);
	}
	stop_target(&target);
}

/* A walk over all meets every block once, in order, and nothing that overlaps. */
static void test_walk(void **state)
{
	struct ct_chunk chunk = { 0 };
	struct ct_map met = { 0 };
	struct target target;
	ct_raddr_t before = 0;

	(void)state;
	start_target(&target, THREADS);
	while (ct_glibc__next(target.glibc, &chunk)) {
		assert_true(chunk.user >= before);
		before = chunk.user + chunk.size;
		*ct_map__at(&met, chunk.user) = chunk.in_use ? chunk.size : 0;
	}
	for (size_t i = 0; i < target.truth->count; i++) {
		uint64_t *size = ct_map__find(&met, target.truth->blocks[i].user);

#ifdef __SANITIZE_ADDRESS__ /* its own mappings are neighbours of malloc's, where no walk looks */
		if (!size && target.truth->blocks[i].size > 128 << 10)
			continue;
#endif
		if (!size)
			fail_msg("no chunk at %#lx of %lu bytes",
				 (unsigned long)target.truth->blocks[i].user,
				 (unsigned long)target.truth->blocks[i].size);
		assert_int_equal(*size, target.truth->blocks[i].size);
	}
	ct_map__free(&met);
	stop_target(&target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_block),
		cmocka_unit_test(test_thread_arenas),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_walk),
	};

	return cmocka_run_group_tests_name("glibc", tests, NULL, NULL);
}
