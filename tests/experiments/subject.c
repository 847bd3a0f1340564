/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * subject.c - one cell of the experiments: a parent builds a heap, treats it, forks, and the child
 * does one thing with it. Turns the page frames before and after into the number of pages that
 * the child copied, which cowtrace's count of the same process must equal.
 *
 * Three processes: the parent; a witness, executed so that it shares no page with them, which
 * looks while the others wait for its answer; the child. The first look is at the parent just
 * before it forks: what it has then is what the child starts with.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../user/gcheap/gcheap.h"
#include "../../user/gcheap/shared.h"
#include "../truth/oracle.h"

#define OBJECTS_A_RECORD 14 /* what make_record makes, on average */

/* Before and after the child's action: cowtrace looks at mappings some time after a fault, and what
 * it finds only when the process has gone it can't name. The count needs no pause. */
#define PAUSE_US 200000

enum treatment { PLAIN, FREEZE, IMMORTAL, SHARED };
enum action { IDLE, READ, COLLECT, MUTATE, ALLOCATE, EXIT };

static const char *const treatments[] = { "plain", "freeze", "immortal", "shared", NULL };
static const char *const actions[] = {
	"idle", "read", "collect", "mutate", "allocate", "exit", NULL
};

struct subject {
	enum gcheap_layout layout;
	int treatment, action;
	size_t objects;
	const char *out;
	int witness;		       /* a socket */
	struct gcheap_object *records; /* a list: see make_record */
	struct gcheap_object *cls, *state_key;
	struct gcheap_shared *array; /* of treatment shared, in place of most records */
	char *counted;		     /* a bit a page: see note_refcount */
	long refcount_pages;
};

/* What is asked of the witness, and its answer to each. */
struct question {
	enum { WARM_UP, BEFORE, AFTER, RESULT } what;
	pid_t pid;
};

static bool is_child;

/* Memory that the child gives back is looked at first: its copies were made all the same. It ends
 * right after, so nobody misses the memory. */
int __real_munmap(void *start, size_t bytes);
int __wrap_munmap(void *start, size_t bytes);

int __wrap_munmap(void *start, size_t bytes)
{
	return is_child ? 0 : __real_munmap(start, bytes);
}

static void die(const char *what)
{
	fprintf(stderr, "subject: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static void *need(void *pointer)
{
	if (!pointer)
		die("out of memory");
	return pointer;
}

static void need_true(bool fine)
{
	if (!fine)
		die("out of memory");
}

/* ---- the witness ---- */

static int64_t answer(const struct question *question)
{
	static struct oracle_snapshot *before;
	static struct oracle_counts counts;
	struct oracle_snapshot *now;

	if (question->what == RESULT)
		return counts.copy + counts.copy_file;
	now = oracle_snapshot__take(question->pid, false);
	if (!now)
		die("pagemap");
	if (question->what == AFTER)
		oracle_compare(before, now, &counts, NULL, 0);
	oracle_snapshot__put(before);
	before = now;
	return 0;
}

static int witness_main(int fd)
{
	struct question question;

	while (recv(fd, &question, sizeof(question), 0) == sizeof(question)) {
		int64_t said = answer(&question);

		if (send(fd, &said, sizeof(said), 0) != sizeof(said))
			return 1;
	}
	return 0;
}

static int64_t ask(const struct subject *s, int what)
{
	struct question question = { .pid = getpid() };
	int64_t said;

	question.what = what;
	if (send(s->witness, &question, sizeof(question), 0) != sizeof(question) ||
	    recv(s->witness, &said, sizeof(said), 0) != sizeof(said))
		die("the witness is gone");
	return said;
}

static pid_t start_witness(struct subject *s)
{
	char number[16];
	char *argv[] = { "subject-witness", "--witness", number, NULL };
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends))
		die("socketpair");
	fcntl(ends[0], F_SETFD, FD_CLOEXEC); /* else the witness would keep itself from ending */
	snprintf(number, sizeof(number), "%d", ends[1]);
	errno = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ);
	if (errno)
		die("posix_spawn");
	close(ends[1]);
	s->witness = ends[0];
	return pid;
}

/* ---- the heap ---- */

static struct gcheap_object *share(struct gcheap_object *op)
{
	gcheap_incref(op);
	return op;
}

static struct gcheap_object *text(size_t number)
{
	char bytes[64];
	int len = snprintf(bytes, sizeof(bytes), "user-%0*zu", (int)(6 + number % 40), number);

	return need(gcheap_string_new(bytes, (size_t)len));
}

/* (int, string, list of 4 ints, instance with a dict of its own, dict of 2 or none) */
static struct gcheap_object *make_record(struct subject *s, size_t number)
{
	struct gcheap_object *record = need(gcheap_tuple_new(5)), *list = need(gcheap_list_new());
	struct gcheap_object *instance = need(gcheap_instance_new(s->cls)), *name = text(number);
	struct gcheap_object *dict = NULL;

	for (size_t i = 0; i < 4; i++)
		need_true(gcheap_append(list, need(gcheap_int_new((int64_t)(number + i)))));
	need_true(gcheap_set_attribute(instance, share(s->state_key), share(name)));
	if (number % 2 == 0) {
		dict = need(gcheap_dict_new());
		for (size_t i = 0; i < 2; i++)
			need_true(gcheap_dict_set(dict, need(gcheap_int_new((int64_t)i)),
						  need(gcheap_int_new((int64_t)number))));
	}
	gcheap_set(record, 0, need(gcheap_int_new((int64_t)number)));
	gcheap_set(record, 1, name);
	gcheap_set(record, 2, list);
	gcheap_set(record, 3, instance);
	gcheap_set(record, 4, dict);
	return record;
}

/* The pages that a reader of all objects writes to, if reading writes. Not twice the same. */
static void note_refcount(struct gcheap_object *op, void *arg)
{
	struct subject *s = arg;
	uintptr_t page;

	if (!op)
		return;
	page = (uintptr_t)(op->refcount < 0 ? (void *)gcheap_count_apart(op->refcount)
					    : (void *)&op->refcount) /
	       TRUTH_PAGE;
	if (!(s->counted[page / 8] >> page % 8 & 1)) {
		s->counted[page / 8] = (char)(s->counted[page / 8] | 1 << page % 8);
		s->refcount_pages++;
	}
	if (op->type->traverse)
		op->type->traverse(op, note_refcount, s);
}

static void count_refcount_pages(struct subject *s)
{
	size_t bytes = (1ull << 47) / TRUTH_PAGE / 8; /* only what is touched is there */

	s->counted = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->counted == MAP_FAILED)
		die("mmap");
	note_refcount(s->records, s);
	__real_munmap(s->counted, bytes);
}

static void build(struct subject *s)
{
	size_t count = s->objects / OBJECTS_A_RECORD + 1, numbers = s->objects;

	need_true(gcheap_open(&(struct gcheap_options){ .layout = s->layout }));
	s->cls = need(gcheap_class_new(text(0), NULL));
	s->state_key = text(1);
	s->records = need(gcheap_list_new());
	if (s->treatment == SHARED) {
		count = 1; /* the rest is numbers in the array */
		errno = -gcheap_shared_create(&s->array, NULL, 'q', numbers, 0);
		if (errno)
			die("gcheap_shared_create");
		for (size_t i = 0; i < numbers; i++)
			gcheap_shared_set_int(s->array, i, (int64_t)i);
	}
	for (size_t i = 0; i < count; i++)
		need_true(gcheap_append(s->records, make_record(s, i)));
	count_refcount_pages(s);
	if (s->treatment == FREEZE || s->treatment == IMMORTAL) {
		gcheap_collect();
		gcheap_freeze();
	}
	if (s->treatment == IMMORTAL)
		gcheap_immortalise_frozen();
}

/* ---- what the child does ---- */

static void read_object(struct gcheap_object *op, void *arg)
{
	if (!op)
		return;
	gcheap_incref(op);
	if (op->type == &gcheap_int)
		*(int64_t *)arg += gcheap_int_value(op);
	if (op->type->traverse)
		op->type->traverse(op, read_object, arg);
	gcheap_decref(op);
}

static void do_read(struct subject *s)
{
	int64_t value, sum = 0;

	if (!s->array) {
		read_object(s->records, &sum);
	} else {
		for (size_t i = 0; i < gcheap_shared_length(s->array); i++)
			sum += gcheap_shared_get_int(s->array, i, &value) ? 0 : value;
	}
	if (!sum)
		die("nothing was read");
}

/* One record in 16, or one number: no more than a request that changes something. */
static void do_mutate(struct subject *s)
{
	if (s->array) {
		for (size_t i = 0; i < gcheap_shared_length(s->array); i += 16)
			gcheap_shared_set_int(s->array, i, -1);
		return;
	}
	for (size_t i = 0; i < gcheap_len(s->records); i += 16) {
		struct gcheap_object *list = gcheap_get(gcheap_get(s->records, i), 2);

		gcheap_set(list, 0, need(gcheap_int_new(-1)));
	}
}

/* A quarter as many records again, kept; the collector runs when it sees fit. */
static void do_allocate(struct subject *s)
{
	struct gcheap_object *kept = need(gcheap_list_new());

	for (size_t i = 0; i < s->objects / OBJECTS_A_RECORD / 4; i++)
		need_true(gcheap_append(kept, make_record(s, i)));
}

static void do_exit(struct subject *s)
{
	gcheap_decref(s->records);
	gcheap_decref(s->cls);
	gcheap_decref(s->state_key);
	gcheap_collect();
	gcheap_shared_close(s->array);
}

static void act(struct subject *s)
{
	switch (s->action) {
	case READ:
		do_read(s);
		break;
	case COLLECT:
		gcheap_collect();
		break;
	case MUTATE:
		do_mutate(s);
		break;
	case ALLOCATE:
		do_allocate(s);
		break;
	case EXIT:
		do_exit(s);
		break;
	default:
		break;
	}
}

/* The first time only to touch what forking touches, so that it has its frame before the look. */
static pid_t fork_child(struct subject *s, bool for_real)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		die("fork");
	if (!pid) {
		is_child = true;
		if (for_real) {
			usleep(PAUSE_US);
			act(s);
			usleep(PAUSE_US);
			ask(s, AFTER);
		}
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		die("the child failed");
	return pid;
}

static void report(const struct subject *s, pid_t child)
{
	FILE *out = s->out ? fopen(s->out, "we") : stdout;

	if (!out)
		die(s->out);
	fprintf(out, "{\"pagemap\":%lld,\"refcount_pages\":%ld,\"child\":%d}\n",
		(long long)ask(s, RESULT), s->refcount_pages, (int)child);
	if (fflush(out) || ferror(out))
		die("writing the result");
}

/* ---- options ---- */

static int choice(const char *const *names, const char *name)
{
	for (int i = 0; names[i]; i++)
		if (!strcmp(names[i], name))
			return i;
	fprintf(stderr, "subject: no such choice: %s\n", name);
	exit(2);
}

static void parse(struct subject *s, int argc, char **argv)
{
	static const char *const layouts[] = { "inline", "split", NULL };
	static const struct option options[] = {
		{ "layout", 1, NULL, 'l' }, { "treatment", 1, NULL, 't' },
		{ "action", 1, NULL, 'a' }, { "objects", 1, NULL, 'n' },
		{ "out", 1, NULL, 'o' },    { "witness", 1, NULL, 'w' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'l':
			s->layout = choice(layouts, optarg) ? GCHEAP_SPLIT : GCHEAP_INLINE;
			break;
		case 't':
			s->treatment = choice(treatments, optarg);
			break;
		case 'a':
			s->action = choice(actions, optarg);
			break;
		case 'n':
			s->objects = strtoul(optarg, NULL, 0);
			break;
		case 'o':
			s->out = optarg;
			break;
		case 'w':
			exit(witness_main(atoi(optarg)));
		default:
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct subject s = { .objects = 200000 };
	pid_t witness, child;

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	parse(&s, argc, argv);
	witness = start_witness(&s);
	build(&s);
	fork_child(&s, false);
	ask(&s, WARM_UP);
	ask(&s, BEFORE);
	child = fork_child(&s, true);
	report(&s, child);
	close(s.witness);
	waitpid(witness, NULL, 0);
	return 0;
}
