/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_phase_live.c - phase and stack of real faults, of a program that plays the interpreter: it
 * keeps words and frames as one would, in memory of its own, and says what they were at each fault.
 * As root only; CT_HOOK=NAME takes another hook than the first that works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "capture/capture.h"
#include "ct_slot.h"

#define PAGE	   4096
#define PAGES	   128
#define FRAMES	   100
#define STATE_AT   0x300000000000ull /* the same in a program that was run by exec */
#define MAX_PIDS   (1 << 16)
#define NATIVE	   0 /* frames: native ones, however many */
#define CUT	   (1u << 8)
#define INTEGER	   (1u << 9)
#define COLLECTING (CT_PHASE_KNOWN | CT_PHASE_COLLECTING)

struct frame {
	uint64_t code, pad[3], back, instruction, more[2];
	uint8_t owner;
};

/* What an interpreter has; at STATE_AT. */
struct interpreter {
	int counts[2];
	uint64_t collections[3][2];
	int collecting[2];
	uint64_t finalising, current;
	struct {
		uint64_t of_cframe[3], frame, thread_id;
	} thread;
	struct frame frames[FRAMES];
	_Alignas(PAGE) char pages[PAGES][PAGE];
	char hole[PAGE]; /* never written: nothing is there */
	int far_collecting;
};

/* What the target tells the test, and asks it to do. */
struct talk {
	volatile int asked, done;
	volatile pid_t pid;
	volatile int ready, foreign;
	uint32_t phase[PAGES]; /* of the fault on that page */
	uint32_t frames[PAGES];
	pid_t tid[PAGES]; /* 0: none is expected there */
};

enum ask { ASK_FOREIGN = 1, ASK_FORGET, ASK_SET, ASK_OBJECT };

static struct interpreter *const py = (struct interpreter *)STATE_AT;
static struct talk *talk;

struct seen {
	int faults, stacks;
	struct ct_record record;
	struct ct_record_stack stack;
};

struct test {
	struct ct_capture *capture;
	struct ct_record_stack last;
	struct seen seen[PAGES];
	uint64_t images[MAX_PIDS]; /* by process */
	int stacks;
};

static void make_interpreter(void)
{
	munmap(py, sizeof(*py));
	if (mmap(py, sizeof(*py), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != py)
		abort();
}

/* ---- the target ---- */

static void ask(enum ask what)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	int mine = talk->done + 1;

	talk->pid = getpid();
	talk->asked = what;
	while (talk->done != mine)
		nanosleep(&pause, NULL);
}

static void touch(int page, uint32_t phase, uint32_t frames)
{
	talk->phase[page] = phase;
	talk->frames[page] = frames;
	talk->tid[page] = gettid();
	*(volatile char *)py->pages[page] = 1;
}

/* @count frames, the innermost first; those at @shims (bits) are none of Python. */
static void make_frames(int count, uint64_t shims, bool cyclic)
{
	memset(py->frames, 0, sizeof(py->frames));
	for (int i = 0; i < count; i++) {
		struct frame *frame = &py->frames[i];

		frame->code = 0x1000u * (unsigned int)(i + 1) + 1; /* bit 0 is a tag */
		frame->instruction = 0xfffffff00000000ull + (unsigned int)i;
		frame->owner = shims >> (i & 63) & 1 ? 3 : 1;
		frame->back = i + 1 < count ? (uint64_t)&py->frames[i + 1]
					    : (cyclic ? (uint64_t)py->frames : 0);
	}
	py->thread.frame = count ? (uint64_t)py->frames : 0;
}

static void *thread_main(void *page)
{
	py->collecting[0] = 1;
	touch((int)(intptr_t)page, COLLECTING | CT_PHASE_OF(2, 7), 0); /* not its thread state */
	py->collecting[0] = 0;
	return NULL;
}

/* Writes and says what the phase was. Return: the first page that is still untouched. */
static int phases(int page)
{
	pthread_t thread;

	touch(page++, CT_PHASE_KNOWN, NATIVE);
	py->far_collecting = 1; /* the third interpreter; its counts cannot be read */
	py->counts[0] = 3;
	py->collections[0][0] = 0x1234567;
	touch(page++, COLLECTING, NATIVE);
	py->far_collecting = 0;
	py->collecting[0] = 1;
	touch(page++, COLLECTING | CT_PHASE_OF(0, 0x234567), 0);
	py->counts[0] = 0;
	py->counts[1] = 1;
	py->collections[1][0] = 5;
	touch(page++, COLLECTING | CT_PHASE_OF(1, 5), 0);
	py->counts[1] = 0;
	py->collections[2][0] = 7;
	py->finalising = 1ull << 40; /* a word of 8 bytes */
	touch(page++, COLLECTING | CT_PHASE_FINALISING | CT_PHASE_OF(2, 7), 0);
	py->collecting[0] = 0;
	touch(page++, CT_PHASE_KNOWN | CT_PHASE_FINALISING, 0);
	py->finalising = 0;
	pthread_create(&thread, NULL, thread_main, (void *)(intptr_t)page++);
	pthread_join(thread, NULL);
	return page;
}

static int stacks(int page)
{
	py->current = (uint64_t)&py->thread;
	py->thread.thread_id = (uint64_t)pthread_self();
	make_frames(5, 1 << 2, false);
	touch(page++, CT_PHASE_KNOWN, 4);
	make_frames(CT_STACK_FRAMES, 0, false);
	touch(page++, CT_PHASE_KNOWN, CT_STACK_FRAMES);
	make_frames(FRAMES, 0, false);
	touch(page++, CT_PHASE_KNOWN, CT_STACK_FRAMES | CUT);
	make_frames(3, 0, true);
	touch(page++, CT_PHASE_KNOWN, CT_STACK_FRAMES | CUT);
	make_frames(3, 7, true); /* nothing but shims, for ever */
	touch(page++, CT_PHASE_KNOWN, NATIVE);
	make_frames(3, 0, false);
	py->frames[1].back = 0x10; /* leads nowhere */
	touch(page++, CT_PHASE_KNOWN, 2 | CUT);
	py->thread.frame = 0xdeadbeef0000;
	touch(page++, CT_PHASE_KNOWN, NATIVE);
	make_frames(3, 0, false);
	py->thread.thread_id++; /* another thread runs Python */
	touch(page++, CT_PHASE_KNOWN, NATIVE);
	py->thread.thread_id--;
	ask(ASK_OBJECT);
	make_frames(3, 7, false); /* there are no shims in these */
	py->frames[0].instruction = 0x12345678ffffffffull;
	py->thread.of_cframe[0] = (uint64_t)&py->thread.of_cframe[1];
	py->thread.of_cframe[2] = (uint64_t)py->frames;
	touch(page++, CT_PHASE_KNOWN, 3 | INTEGER);
	ask(ASK_SET);
	py->current = 0;
	return page;
}

static void join(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) != child || status)
		_exit(3);
}

/* In a program of its own: it has what the interpreter had at those addresses, and none of it is
 * to be believed. */
static int after_exec(int fd, int page)
{
	pid_t child;

	talk = mmap(NULL, sizeof(*talk), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	make_interpreter();
	memset(py, 1, sizeof(*py));
	py->current = (uint64_t)&py->thread;
	py->thread.thread_id = (uint64_t)pthread_self();
	make_frames(3, 0, false);
	child = fork();
	if (!child) {
		touch(page, 0, NATIVE);
		_exit(0);
	}
	join(child);
	return 0;
}

static void exec_self(int fd, int page)
{
	char first[16], second[16];

	snprintf(first, sizeof(first), "%d", fd);
	snprintf(second, sizeof(second), "%d", page);
	execl("/proc/self/exe", "test_phase_live", "--after-exec", first, second, (char *)NULL);
	_exit(5);
}

/* A child whose slot is taken by its parent: their pids differ by a multiple of CT_SLOTS. */
static void spilled(int page)
{
	pid_t self = getpid(), wanted = self > CT_SLOTS ? self - CT_SLOTS : self + CT_SLOTS;
	struct clone_args args = { .exit_signal = SIGCHLD,
				   .set_tid = (uint64_t)&wanted,
				   .set_tid_size = 1 };
	pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (child < 0) {
		print_message("no task outside the slots: pid %d: %s\n", wanted, strerror(errno));
		return;
	}
	if (!child) {
		talk->pid = wanted;
		touch(page++, COLLECTING | CT_PHASE_OF(2, 7), NATIVE);
		ask(ASK_FORGET);
		touch(page++, 0, NATIVE);
		ask(ASK_SET);
		touch(page++, COLLECTING | CT_PHASE_OF(2, 7), NATIVE);
		_exit(0);
	}
	join(child);
}

static void *early_main(void *page)
{
	while (!talk->ready)
		usleep(1000);
	return thread_main(page);
}

static int target_main(int fd)
{
	pthread_t early;
	int page = 0;
	pid_t child;

	py->collections[2][0] = 7;
	pthread_create(&early, NULL, early_main, (void *)(intptr_t)page++);
	talk->pid = getpid();
	while (!talk->ready)
		usleep(1000);
	pthread_join(early, NULL);
	page = stacks(phases(page));
	py->collecting[0] = 1;
	talk->foreign = page++;
	ask(ASK_FOREIGN);
	child = fork();
	if (!child) {
		py->collecting[0] = 0;
		phases(page);
		_exit(0);
	}
	join(child);
	page += 8;
	child = fork();
	if (!child)
		exec_self(fd, page);
	join(child);
	spilled(page + 1);
	return page + 4 < PAGES ? 0 : 6;
}

/* ---- the test ---- */

static void runtime_of(struct ct_runtime *runtime, bool object)
{
	memset(runtime, 0, sizeof(*runtime));
	runtime->collecting[0] = (uint64_t)&py->collecting[0];
	runtime->collecting[2] = (uint64_t)&py->far_collecting;
	runtime->finalising = (uint64_t)&py->finalising;
	runtime->finalising_bytes = 8;
	runtime->count_offset[0] = -(int)offsetof(struct interpreter, collecting);
	runtime->count_offset[1] = runtime->count_offset[0] + 4;
	runtime->collections_offset = (int)offsetof(struct interpreter, collections) -
				      (int)offsetof(struct interpreter, collecting);
	runtime->collections_stride = sizeof(py->collections[0]);
	runtime->tstate = (uint64_t)&py->current;
	runtime->thread_id = 32;
	runtime->frames = object ? CT_FRAMES_OBJECT : CT_FRAMES_CHUNK;
	runtime->frame = object ? 0 : 24;
	runtime->cframe = object ? 8 : -1;
	runtime->frame_back = offsetof(struct frame, back);
	runtime->frame_code = offsetof(struct frame, code);
	runtime->frame_instruction = offsetof(struct frame, instruction);
	runtime->frame_owner = offsetof(struct frame, owner);
	runtime->code_mask = 3;
	runtime->owner_shims = 3;
}

static int page_of(const struct ct_record *record)
{
	uint64_t offset = record->address - (uint64_t)py->pages;

	return record->address >= (uint64_t)py->pages && offset < sizeof(py->pages)
		       ? (int)(offset / PAGE)
		       : -1;
}

static int on_record(void *context, const struct ct_record *record, size_t len)
{
	struct test *test = context;
	int page = page_of(record);

	if (record->type == CT_REC_TASK || record->type == CT_REC_FORK ||
	    record->type == CT_REC_EXEC)
		test->images[CT_IMAGE_TGID(record->image) % MAX_PIDS] = record->image;
	if (record->type == CT_REC_STACK && page >= 0) {
		memcpy(&test->last, record, len);
		assert_int_equal(len, offsetof(struct ct_record_stack, frames) +
					      test->last.n_frames * sizeof(struct ct_frame));
		test->stacks++;
	}
	if (record->type == CT_REC_FAULT && page >= 0 && record->kind == CT_KIND_COPY) {
		struct seen *seen = &test->seen[page];

		seen->faults++;
		seen->record = *record;
		if (test->last.rec.tid == record->tid &&
		    test->last.rec.address == record->address) {
			seen->stack = test->last;
			seen->stacks++;
		}
	}
	return 0;
}

static void consume(struct test *test)
{
	while (ct_capture__consume(test->capture, on_record, test, 1000) > 0)
		;
}

static void poke(pid_t pid, int page)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, (off_t)(uint64_t)py->pages[page]), 1);
	close(fd);
}

static void answer(struct test *test)
{
	uint64_t image;
	struct ct_runtime runtime;

	consume(test);
	image = test->images[talk->pid % MAX_PIDS];
	runtime_of(&runtime, talk->asked == ASK_OBJECT);
	if (talk->asked == ASK_FOREIGN)
		poke(talk->pid, talk->foreign);
	else if (talk->asked == ASK_FORGET)
		assert_int_equal(ct_capture__set_runtime(test->capture, image, 0, NULL), 0);
	else
		assert_int_equal(ct_capture__set_runtime(test->capture, image, (uint32_t)talk->pid,
							 &runtime),
				 0);
	talk->asked = 0;
	talk->done++;
}

static void check_stack(const struct ct_record_stack *stack, const struct ct_record *record,
			uint32_t wanted)
{
	if (wanted == NATIVE) {
		assert_true(stack->n_frames >= 1);
		for (uint32_t i = 0; i < stack->n_frames; i++)
			assert_int_equal(stack->frames[i].code, 0);
		assert_int_equal(stack->frames[0].instruction, record->ip);
		return;
	}
	assert_int_equal(stack->n_frames, wanted & 0xff);
	assert_int_equal(!!stack->cut, !!(wanted & CUT));
	for (uint32_t i = 0; i < stack->n_frames; i++) {
		assert_int_equal(stack->frames[i].code & 0xfff, 0);
		assert_true(stack->frames[i].code);
	}
	if (wanted & INTEGER)
		assert_int_equal(stack->frames[0].instruction, -1);
	else
		assert_int_equal(stack->frames[0].instruction, 0xfffffff00000000ull);
	if (wanted == 4) /* of five, the third is none of Python */
		assert_int_equal(stack->frames[2].code, 0x4000);
}

static void check_page(const struct test *test, int page)
{
	const struct seen *seen = &test->seen[page];

	if (page == talk->foreign) {
		if (seen->faults) {
			assert_int_equal(seen->record.flags & CT_FLAG_FOREIGN, CT_FLAG_FOREIGN);
			assert_int_equal(seen->record.phase, 0);
			assert_int_equal(seen->stacks, 0);
		}
		return;
	}
	if (talk->tid[page] == 0) {
		assert_int_equal(seen->faults, 0);
		return;
	}
	if (seen->record.phase != talk->phase[page] || seen->stacks != 1)
		print_message("page %d: %d faults, %d stacks, phase %#x\n", page, seen->faults,
			      seen->stacks, seen->record.phase);
	assert_int_equal(seen->faults, 1);
	assert_int_equal(seen->record.tid, talk->tid[page]);
	assert_int_equal(seen->record.phase, talk->phase[page]);
	assert_int_equal(seen->stacks, 1);
	check_stack(&seen->stack, &seen->record, talk->frames[page]);
}

static void begin(struct test *test, unsigned int every)
{
	const struct ct_capture_options options = { .hook = getenv("CT_HOOK"),
						    .follow = true,
						    .stacks = every };

	memset(test, 0, sizeof(*test));
	make_interpreter();
	py->far_collecting = 0; /* there, on a page of its own */
	memset(py->pages, 'x', sizeof(py->pages));
	test->capture = ct_capture__open_live(&options);
	assert_non_null(test->capture);
}

static void end(struct test *test)
{
	ct_capture__stop(test->capture);
	consume(test);
	assert_int_equal(ct_capture__overflowed(test->capture), 0);
	assert_int_equal(ct_capture__stacks_dropped(test->capture), 0);
	ct_capture__close(test->capture);
}

static void test_phases_and_stacks(void **state)
{
	static struct test test;
	struct ct_runtime runtime;
	int fd = memfd_create("talk", 0), status, touched = 0;
	pid_t target;

	(void)state;
	if (geteuid())
		skip();
	assert_int_equal(ftruncate(fd, sizeof(*talk)), 0);
	talk = mmap(NULL, sizeof(*talk), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(talk, MAP_FAILED);
	begin(&test, 1);
	target = fork();
	if (!target)
		_exit(target_main(fd));
	while (talk->pid != target)
		usleep(1000);
	assert_true(ct_capture__adopt(test.capture, target) >= 1);
	consume(&test);
	runtime_of(&runtime, false);
	assert_int_equal(
		ct_capture__set_runtime(test.capture, test.images[target % MAX_PIDS], 0, &runtime),
		0);
	talk->ready = 1;
	while (waitpid(target, &status, WNOHANG) == 0) {
		if (talk->asked)
			answer(&test);
		consume(&test);
		usleep(500);
	}
	assert_int_equal(status, 0);
	end(&test);
	for (int page = 0; page < PAGES; page++) {
		check_page(&test, page);
		touched += talk->tid[page] != 0;
	}
	print_message("%d pages, hook %s\n", touched,
		      test.seen[talk->foreign].faults ? "that sees a foreign writer"
						      : "that sees none");
	assert_true(touched >= 26);
	munmap(talk, sizeof(*talk));
	close(fd);
}

/* Of each so many: of faults one behind the other, on hardly ever more than one CPU. */
static void test_sampling(void **state)
{
	static struct test test;
	pid_t target;
	int pipes[2], status;

	(void)state;
	if (geteuid())
		skip();
	assert_int_equal(pipe(pipes), 0);
	begin(&test, 4);
	target = fork();
	if (!target) {
		char byte;

		if (read(pipes[0], &byte, 1) != 1)
			_exit(1);
		for (int page = 0; page < PAGES; page++)
			*(volatile char *)py->pages[page] = 1;
		_exit(0);
	}
	assert_true(ct_capture__adopt(test.capture, target) >= 1);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_int_equal(waitpid(target, &status, 0), target);
	end(&test);
	for (int page = 0; page < PAGES; page++)
		assert_int_equal(test.seen[page].faults, 1);
	assert_in_range(test.stacks, PAGES / 4 - 4, PAGES / 4 + 4);
	close(pipes[0]);
	close(pipes[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_phases_and_stacks),
		cmocka_unit_test(test_sampling),
	};

	if (argc == 4 && !strcmp(argv[1], "--after-exec"))
		return after_exec(atoi(argv[2]), atoi(argv[3]));
	ct_log_set_verbose(getenv("CT_DEBUG") ? 1 : 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
