/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_shared_crash.c - shared arrays when processes die: names, the lock, the guard. */
#include "shared_fixture.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define PROCESSES 8
#define STEPS	  20000

struct life {
	const char *name;
	unsigned flags;
	int ready[2], go[2]; /* pipes: the child is there; it may go on */
};

static void begin_life(struct life *life, const char *name, unsigned flags)
{
	life->name = name;
	life->flags = flags;
	assert_int_equal(pipe(life->ready), 0);
	assert_int_equal(pipe(life->go), 0);
}

static void end_life(struct life *life)
{
	close(life->ready[0]);
	close(life->ready[1]);
	close(life->go[0]);
	close(life->go[1]);
}

static int create_and_wait(void *arg)
{
	struct life *life = arg;
	struct gcheap_shared *shared;

	if (gcheap_shared_create(&shared, life->name, 'l', 100000, life->flags))
		return 1;
	tell(life->ready[1]);
	for (;;)
		pause();
}

static int attach_and_wait(void *arg)
{
	struct life *life = arg;
	struct gcheap_shared *shared;

	if (gcheap_shared_attach(&shared, life->name, 'l', 0))
		return 1;
	if (gcheap_shared_lock(shared, 1000))
		return 2;
	tell(life->ready[1]);
	for (;;)
		pause();
}

/** The guards of this machine that wait for @name: they hold its file open. */
static int guards(const char *name, pid_t *last)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	struct stat ours;
	int count = 0;

	assert_int_equal(stat(file_of(name), &ours), 0);
	while (proc && (entry = readdir(proc))) {
		char path[600], comm[32] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		file = atoi(entry->d_name) > 0 ? fopen(path, "r") : NULL;
		if (!file)
			continue;
		if (!fgets(comm, sizeof(comm), file))
			comm[0] = '\0';
		fclose(file);
		if (strcmp(comm, "gcheap-guard\n") != 0)
			continue;
		for (int fd = 0; fd < 64; fd++) {
			struct stat theirs;

			snprintf(path, sizeof(path), "/proc/%s/fd/%d", entry->d_name, fd);
			if (stat(path, &theirs) == 0 && theirs.st_ino == ours.st_ino &&
			    theirs.st_dev == ours.st_dev) {
				count++;
				*last = atoi(entry->d_name);
			}
		}
	}
	closedir(proc);
	return count;
}

static void test_creator_is_killed(void **state)
{
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("creator"));
	for (int i = 0; i < 20; i++) {
		struct life life;
		pid_t pid;

		begin_life(&life, name, 0);
		pid = run_child(create_and_wait, &life);
		assert_true(await(life.ready[0]));
		assert_true(there(name));
		kill(pid, SIGKILL);
		assert_int_equal(end_of(pid), 128 + SIGKILL);
		assert_true(gone_soon(name));
		end_life(&life);
	}
}

/* Killed at any moment of a create: there is none that leaves a file. */
static void test_creator_is_killed_anywhere(void **state)
{
	char name[64];
	int seen = 0;

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("anywhere"));
	for (int i = 0; i < 200; i++) {
		struct timespec pause = { .tv_nsec = i * 10000L };
		struct life life;
		pid_t pid;

		begin_life(&life, name, 0);
		pid = run_child(create_and_wait, &life);
		nanosleep(&pause, NULL);
		kill(pid, SIGKILL);
		seen += there(name);
		assert_int_equal(end_of(pid), 128 + SIGKILL);
		assert_true(gone_soon(name));
		end_life(&life);
	}
	print_message("named in %d of 200\n", seen);
}

static void test_user_is_killed(void **state)
{
	struct gcheap_shared *shared;
	struct life life;
	char name[64];
	pid_t pid;

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("user"));
	assert_int_equal(gcheap_shared_create(&shared, name, 'l', 10, 0), 0);
	begin_life(&life, name, 0);
	pid = run_child(attach_and_wait, &life);
	assert_true(await(life.ready[0]));
	kill(pid, SIGKILL);
	assert_int_equal(end_of(pid), 128 + SIGKILL);
	sleep_ms(20);
	assert_true(there(name)); /* it is the creator's still */
	assert_int_equal(gcheap_shared_lock(shared, 5000), GCHEAP_SHARED_RECOVERED);
	assert_int_equal(gcheap_shared_unlock(shared), 0);
	end_life(&life);
	gcheap_shared_close(shared);
	assert_true(gone_soon(name));
}

/* The creator dies first, a user later, both by kill -9. */
static void test_both_are_killed(void **state)
{
	struct life one, two;
	char name[64];
	pid_t creator, user;

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("both"));
	begin_life(&one, name, 0);
	begin_life(&two, name, 0);
	creator = run_child(create_and_wait, &one);
	assert_true(await(one.ready[0]));
	user = run_child(attach_and_wait, &two);
	assert_true(await(two.ready[0]));
	kill(creator, SIGKILL);
	assert_int_equal(end_of(creator), 128 + SIGKILL);
	sleep_ms(20);
	assert_true(there(name));
	kill(user, SIGKILL);
	assert_int_equal(end_of(user), 128 + SIGKILL);
	assert_true(gone_soon(name));
	end_life(&one);
	end_life(&two);
}

/* The guard dies with them: the next create of anything cleans up. */
static void test_guard_is_killed_too(void **state)
{
	struct gcheap_shared *other;
	struct life life;
	char name[64], second[64];
	pid_t pid, guard = 0;

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("guard"));
	snprintf(second, sizeof(second), "%s", own_name("second"));
	begin_life(&life, name, 0);
	pid = run_child(create_and_wait, &life);
	assert_true(await(life.ready[0]));
	assert_int_equal(guards(name, &guard), 1);
	kill(guard, SIGKILL);
	kill(pid, SIGKILL);
	assert_int_equal(end_of(pid), 128 + SIGKILL);
	sleep_ms(20);
	assert_true(there(name)); /* nobody was left to do it */
	assert_int_equal(gcheap_shared_create(&other, second, 'b', 1, 0), 0);
	assert_false(there(name));
	assert_true(there(second));
	assert_int_equal(gcheap_shared_sweep(), 0); /* what is in use stays */
	assert_true(there(second));
	gcheap_shared_close(other);
	assert_true(gone_soon(second));
	end_life(&life);
}

static void test_without_guard(void **state)
{
	struct gcheap_shared *again;
	struct life life;
	char name[64];
	pid_t pid, guard;

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("none"));
	begin_life(&life, name, GCHEAP_SHARED_NO_GUARD);
	pid = run_child(create_and_wait, &life);
	assert_true(await(life.ready[0]));
	assert_int_equal(guards(name, &guard), 0);
	kill(pid, SIGKILL);
	assert_int_equal(end_of(pid), 128 + SIGKILL);
	assert_true(there(name));
	/* its name is free again */
	assert_int_equal(gcheap_shared_create(&again, name, 'd', 1, 0), 0);
	gcheap_shared_close(again);
	assert_true(gone_soon(name));
	end_life(&life);
}

/** A container's init may not fetch the dead: a zombie doesn't live. */
static bool lives(pid_t pid)
{
	char path[32], line[128] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	return line[0] && !strstr(line, ") Z");
}

/* A guard is nobody's child, and outlives no one. */
static void test_guard_is_quiet(void **state)
{
	struct gcheap_shared *shared;
	pid_t guard;
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("quiet"));
	assert_int_equal(gcheap_shared_create(&shared, name, 'b', 1, 0), 0);
	assert_int_equal(guards(name, &guard), 1);
	assert_int_equal(waitpid(-1, NULL, __WALL | WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	gcheap_shared_close(shared);
	assert_true(gone_soon(name));
	for (int i = 0; i < 1000 && lives(guard); i++)
		sleep_ms(1);
	assert_false(lives(guard));
}

/* Physical frames of our pages: a copy has another. */
static bool frames_of(const char *at, size_t pages, uint64_t *frames)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	ssize_t want = (ssize_t)(pages * 8);
	bool good = fd >= 0 &&
		    pread(fd, frames, (size_t)want, (off_t)((uintptr_t)at / 4096 * 8)) == want;

	close(fd);
	return good && (frames[0] & 0x7fffffffffffff);
}

/* The guard is forked, but nothing is copied for it: it let go of its part. */
static void test_guard_costs_no_copies(void **state)
{
	static uint64_t before[4096], after[4096];
	struct gcheap_shared *shared;
	size_t pages = 4096, copied = 0;
	char name[64], *memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(memory, MAP_FAILED);
	madvise(memory, pages * 4096, MADV_NOHUGEPAGE);
	memset(memory, 1, pages * 4096);
	snprintf(name, sizeof(name), "%s", own_name("copies"));
	if (!frames_of(memory, pages, before)) {
		munmap(memory, pages * 4096);
		print_message("page frames are for root\n");
		skip();
	}
	assert_int_equal(gcheap_shared_create(&shared, name, 'b', 1, 0), 0);
	for (size_t i = 0; i < pages; i++)
		memory[i * 4096]++;
	assert_true(frames_of(memory, pages, after));
	for (size_t i = 0; i < pages; i++)
		copied += (before[i] ^ after[i]) << 9 != 0;
	print_message("%zu of %zu pages copied\n", copied, pages);
	assert_true(copied < 64); /* the kernel may migrate some */
	gcheap_shared_close(shared);
	assert_true(gone_soon(name));
	munmap(memory, pages * 4096);
}

/* ---- the lock ---- */

static int die_with_lock(void *arg)
{
	struct gcheap_shared *shared = arg;

	if (gcheap_shared_lock(shared, -1) < 0)
		return 1;
	gcheap_shared_set_int(shared, 0, 1); /* half of a change */
	raise(SIGKILL);
	return 2;
}

static void test_lock(void **state)
{
	struct gcheap_shared *shared;

	(void)state;
	assert_int_equal(gcheap_shared_create(&shared, NULL, 'i', 4, 0), 0);
	assert_int_equal(gcheap_shared_unlock(shared), -EPERM);
	assert_int_equal(gcheap_shared_lock(shared, -1), 0);
	assert_int_equal(gcheap_shared_lock(shared, -1), -EDEADLK);
	assert_int_equal(gcheap_shared_unlock(shared), 0);
	for (unsigned i = 1; i <= 20; i++) {
		assert_int_equal(end_of(run_child(die_with_lock, shared)), 128 + SIGKILL);
		assert_int_equal(gcheap_shared_lock(shared, 5000), GCHEAP_SHARED_RECOVERED);
		assert_int_equal(gcheap_shared_recovered(shared), i);
		assert_int_equal(gcheap_shared_set_int(shared, 0, 0), 0);
		assert_int_equal(gcheap_shared_unlock(shared), 0);
		assert_int_equal(gcheap_shared_lock(shared, -1), 0); /* as if nothing had been */
		assert_int_equal(gcheap_shared_unlock(shared), 0);
	}
	gcheap_shared_close(shared);
}

struct holder {
	struct gcheap_shared *shared;
	struct life life;
};

static int hold(void *arg)
{
	struct holder *holder = arg;

	if (gcheap_shared_lock(holder->shared, -1))
		return 1;
	tell(holder->life.ready[1]);
	if (!await(holder->life.go[0]))
		return 2;
	gcheap_shared_close(holder->shared); /* gives the lock back */
	return 0;
}

static void test_lock_timeout(void **state)
{
	struct holder holder;
	pid_t pid;

	(void)state;
	begin_life(&holder.life, "", 0);
	assert_int_equal(gcheap_shared_create(&holder.shared, NULL, 'i', 4, 0), 0);
	pid = run_child(hold, &holder);
	assert_true(await(holder.life.ready[0]));
	assert_int_equal(gcheap_shared_lock(holder.shared, 0), -ETIMEDOUT);
	assert_int_equal(gcheap_shared_lock(holder.shared, 30), -ETIMEDOUT);
	assert_int_equal(gcheap_shared_unlock(holder.shared), -EPERM);
	tell(holder.life.go[1]);
	assert_int_equal(gcheap_shared_lock(holder.shared, 5000), 0);
	assert_int_equal(end_of(pid), 0);
	gcheap_shared_close(holder.shared);
	end_life(&holder.life);
}

/* Element 0 is only touched under the lock, by steps that a second process would spoil; element 1
 * without it. */
static int work(void *arg)
{
	struct gcheap_shared *shared = arg;
	volatile int64_t *data = gcheap_shared_data(shared);

	for (int i = 0; i < STEPS; i++) {
		if (gcheap_shared_lock(shared, 60000))
			return 1;
		data[0] = data[0] + 1;
		if (gcheap_shared_unlock(shared))
			return 2;
		if (gcheap_shared_add(shared, 1, 3, NULL))
			return 3;
	}
	return 0;
}

static void test_concurrency(void **state)
{
	struct gcheap_shared *shared;
	pid_t pids[PROCESSES];
	int64_t value;

	(void)state;
	assert_int_equal(gcheap_shared_create(&shared, NULL, 'q', 2, 0), 0);
	for (int i = 0; i < PROCESSES; i++)
		pids[i] = run_child(work, shared);
	for (int i = 0; i < PROCESSES; i++)
		assert_int_equal(end_of(pids[i]), 0);
	assert_int_equal(gcheap_shared_get_int(shared, 0, &value), 0);
	assert_int_equal(value, PROCESSES * STEPS);
	assert_int_equal(gcheap_shared_get_int(shared, 1, &value), 0);
	assert_int_equal(value, PROCESSES * STEPS * 3);
	gcheap_shared_close(shared);
}

/* Holders die all the time; nobody hangs. */
static int survive(void *arg)
{
	struct gcheap_shared *shared = arg;

	for (int i = 0; i < 500; i++) {
		int got = gcheap_shared_lock(shared, 60000);

		if (got < 0)
			return 1;
		if (i == 250 && getpid() % 2)
			raise(SIGKILL);
		gcheap_shared_add(shared, 1, 1, NULL);
		if (gcheap_shared_unlock(shared))
			return 2;
	}
	return 0;
}

static void test_dying_among_others(void **state)
{
	struct gcheap_shared *shared;
	pid_t pids[PROCESSES];
	unsigned killed = 0;
	int64_t value;

	(void)state;
	assert_int_equal(gcheap_shared_create(&shared, NULL, 'q', 2, 0), 0);
	for (int i = 0; i < PROCESSES; i++)
		pids[i] = run_child(survive, shared);
	for (int i = 0; i < PROCESSES; i++) {
		int status = end_of(pids[i]);

		assert_true(status == 0 || status == 128 + SIGKILL);
		killed += status != 0;
	}
	assert_true(gcheap_shared_lock(shared, 5000) >= 0);
	assert_int_equal(gcheap_shared_recovered(shared), killed);
	assert_int_equal(gcheap_shared_get_int(shared, 1, &value), 0);
	assert_int_equal(value, (PROCESSES - killed) * 500 + killed * 250);
	gcheap_shared_close(shared);
}

/* 8 processes create, attach and unlink one name against each other. */
static int quarrel(void *arg)
{
	struct gcheap_shared *shared;
	int64_t value = 0;

	for (int i = 0; i < 60; i++) {
		int error = gcheap_shared_create(&shared, arg, 'i', 2000, 0);

		if (error == -EEXIST)
			error = gcheap_shared_attach(&shared, arg, 'i', 0);
		if (error == -ENOENT)
			continue; /* gone in between */
		if (error)
			return 10;
		if (gcheap_shared_length(shared) != 2000 ||
		    gcheap_shared_get_int(shared, 1999, &value) || (value && value != 7))
			return 2;
		gcheap_shared_set_int(shared, 1999, 7);
		error = i % 7 == 0 ? gcheap_shared_unlink(arg) : 0;
		if (error && error != -ENOENT)
			return 3;
		gcheap_shared_close(shared);
	}
	return 0;
}

static void test_quarrel(void **state)
{
	char name[64];
	pid_t pids[PROCESSES];

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("quarrel"));
	for (int i = 0; i < PROCESSES; i++)
		pids[i] = run_child(quarrel, name);
	for (int i = 0; i < PROCESSES; i++)
		assert_int_equal(end_of(pids[i]), 0);
	assert_true(gone_soon(name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_creator_is_killed),
		cmocka_unit_test(test_creator_is_killed_anywhere),
		cmocka_unit_test(test_user_is_killed),
		cmocka_unit_test(test_both_are_killed),
		cmocka_unit_test(test_guard_is_killed_too),
		cmocka_unit_test(test_without_guard),
		cmocka_unit_test(test_guard_is_quiet),
		cmocka_unit_test(test_guard_costs_no_copies),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_lock_timeout),
		cmocka_unit_test(test_concurrency),
		cmocka_unit_test(test_dying_among_others),
		cmocka_unit_test(test_quarrel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
