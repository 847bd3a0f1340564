/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_resolver_alive.c - the resolver and living processes: workers found alive, which were forked
 * from what they are found with or were not; memory that was mapped since it was looked at.
 */
#include "resolver_fixture.h"

/* A process of ours that waits: forked, or forked and then another program (@program). */
static pid_t process_new(const char *program)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		if (program)
			execl(program, program, "60", (char *)NULL);
		for (;;)
			pause();
	}
	return pid;
}

static void process_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static bool is_sleep(pid_t pid)
{
	char path[64], name[256] = "";

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	return readlink(path, name, sizeof(name) - 1) > 0 && strstr(name, "sleep");
}

static struct ct_image *image_new(pid_t pid)
{
	const struct ct_heap_source source = { 0 };
	struct ct_image *image = ct_image__new(CT_IMAGE(pid, 1), pid, 0, "x");

	assert_non_null(image);
	ct_image__own(image, &source);
	return image;
}

/* Found alive: a child that was forked has its parent's program, one that ran another has not. */
static void test_forked_from(void **state)
{
	pid_t forked = process_new(NULL), other = process_new("/bin/sleep");
	struct ct_image *self, *child, *stranger, *gone;

	(void)state;
	memset(&fake, 0, sizeof(fake));
	for (int i = 0; i < 500 && !is_sleep(other); i++)
		usleep(10000);
	assert_true(is_sleep(other));
	self = image_new(getpid());
	child = image_new(forked);
	stranger = image_new(other);
	assert_true(ct_image__forked_from(child, self));
	assert_true(ct_image__forked_from(self, child)); /* the same exec: not which came first */
	assert_false(ct_image__forked_from(stranger, self));
	assert_false(ct_image__forked_from(stranger, child));
	process_end(forked);
	process_end(other);
	assert_false(ct_image__forked_from(child, self)); /* who is gone tells nothing */
	gone = image_new(forked);
	assert_null(gone->own);
	assert_false(ct_image__forked_from(gone, self));
	ct_image__free(self);
	ct_image__free(child);
	ct_image__free(stranger);
	ct_image__free(gone);
}

/* The same through the resolver: workers found alive are explained by their parent's heaps only if
 * they were forked from them. */
static void test_found_alive(void **state)
{
	pid_t forked = process_new(NULL), other = process_new("/bin/sleep");
	struct ct_sample s;
	struct fixture f;

	(void)state;
	for (int i = 0; i < 500 && !is_sleep(other); i++)
		usleep(10000);
	open_resolver(&f);
	f.any_pid = true;
	event(&f, CT_REC_TASK, own_image(1), 0, (uint32_t)getpid());
	event(&f, CT_REC_TASK, CT_IMAGE(forked, 1), own_image(1), (uint32_t)forked);
	event(&f, CT_REC_TASK, CT_IMAGE(other, 1), own_image(1), (uint32_t)other);
	process_end(forked);
	process_end(other);
	event(&f, CT_REC_EXIT, CT_IMAGE(forked, 1), 0, (uint32_t)forked);
	event(&f, CT_REC_EXIT, CT_IMAGE(other, 1), 0, (uint32_t)other);
	s = fault(&f, CT_REC_FAULT, CT_IMAGE(forked, 1), 16, 0);
	assert_int_equal(s.cell, CT_CELL_GC_HEADER); /* its own heaps are gone */
	s = fault(&f, CT_REC_FAULT, CT_IMAGE(other, 1), 16, 0);
	assert_int_equal(s.cell, CT_CELL_UNKNOWN);
	close_resolver(&f);
}

/* One fault in memory mapped since the mappings were read. False: they were read again already. */
static bool late_once(void)
{
	char *old = arena;
	struct ct_sample s;
	struct fixture f;
	bool late;

	open_resolver(&f);
	event(&f, CT_REC_TASK, own_image(1), 0, (uint32_t)getpid());
	/* far from all else, so that it is no part of a known mapping */
	arena = mmap((void *)0x200000000000, ARENA_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(arena != MAP_FAILED);
	fake.blind = true;
	fault(&f, CT_REC_FAULT, own_image(1), 8, 0);
	assert_int_equal(fault(&f, CT_REC_UNDO, own_image(1), 8, 0).count, -1);
	s = fault(&f, CT_REC_FAULT, own_image(1), 16, 0);
	assert_int_equal(s.cell, CT_CELL_UNKNOWN);
	fake.blind = false;
	ct_resolver__work(f.resolver, true);
	late = f.n_corrected != 0;
	if (late) {
		assert_int_equal(f.n_corrected, 2); /* and not what was taken back */
		assert_int_equal(f.corrected[0].count, -1);
		assert_int_equal(f.corrected[0].cell, CT_CELL_UNKNOWN);
		assert_int_equal(f.corrected[1].count, 1);
		assert_int_equal(f.corrected[1].cell, CT_CELL_GC_HEADER);
		assert_true(f.corrected[0].correction && f.corrected[1].correction);
		assert_int_equal(f.corrected[1].address, s.address);
		s = fault(&f, CT_REC_UNDO, own_image(1), 16, 0); /* as it is now */
		assert_int_equal(s.count, -1);
		assert_int_equal(s.cell, CT_CELL_GC_HEADER);
		ct_resolver__work(f.resolver, true);
		assert_int_equal(f.n_corrected, 2);
	}
	munmap(arena, ARENA_BYTES);
	arena = old;
	close_resolver(&f);
	return late;
}

static void test_late(void **state)
{
	int tries = 0;

	(void)state;
	while (!late_once())
		assert_true(++tries < 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forked_from),
		cmocka_unit_test(test_found_alive),
		cmocka_unit_test(test_late),
	};

	if (arena_open())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
