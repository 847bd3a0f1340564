/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * oracle_supervisor.c - the main() of every truth program: reads the options, starts the family,
 * serves its requests with the oracles, and turns what they saw into one JSON line of what must be
 * counted. It also judges the oracles themselves: plan, page frames and WPCOPY must agree, or the
 * program fails (exit status 1) without any tracer having run.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "truth_shared.h"

static const char *const kind_names[TRUTH_KINDS] = {
	[TRUTH_COPY] = "copy",
	[TRUTH_COPY_FILE] = "copy_file",
	[TRUTH_COPY_KSM] = "copy_ksm",
	[TRUTH_COPY_HUGETLB] = "copy_hugetlb",
	[TRUTH_COPY_FILE_UNREAD] = "copy_file_unread",
	[TRUTH_ZERO_FILL] = "zero_fill",
	[TRUTH_REUSE] = "reuse",
};

struct options {
	long pages;
	bool wait;
	const char *out;
	const struct truth_case *c;
};

static volatile sig_atomic_t stop_signal, go_signal;

/* ---- settings ---- */

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -1;
	if (write(fd, text, strlen(text)) < 0)
		err = errno;
	close(fd);
	errno = err;
	return err ? -1 : 0;
}

int truth_settings__write(struct truth_settings *s, const char *path, const char *value)
{
	char old[64] = "", *open_bracket;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, old, sizeof(old) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	old[strcspn(old, "\n")] = 0;
	open_bracket = strchr(old, '['); /* "always [madvise] never" */
	if (open_bracket) {
		memmove(old, open_bracket + 1, strlen(open_bracket));
		old[strcspn(old, "]")] = 0;
	}
	if (!strcmp(old, value))
		return 0;
	if (s->n == TRUTH_SETTINGS) {
		errno = ENOSPC;
		return -1;
	}
	snprintf(s->item[s->n].path, sizeof(s->item[s->n].path), "%s", path);
	snprintf(s->item[s->n].old, sizeof(s->item[s->n].old), "%s", old);
	s->n++;
	return write_text(path, value);
}

void truth_settings__restore(struct truth_settings *s)
{
	while (s->n > 0) {
		s->n--;
		if (write_text(s->item[s->n].path, s->item[s->n].old))
			fprintf(stderr, "could not put back %s: %s\n", s->item[s->n].path,
				strerror(errno));
	}
}

/* ---- requests ---- */

struct supervisor {
	struct truth *t;
	struct truth_shared *shared;
	struct oracle_snapshot *last[TRUTH_SLOTS]; /* of each slot; NULL: not known */
	FILE *report;
};

static void look(struct supervisor *s, int slot_no, int child)
{
	struct truth_shared *shared = s->shared;
	struct truth_slot *slot = &shared->slots[slot_no];
	struct oracle_snapshot *now = oracle_snapshot__take(slot->pid, shared->page_flags);

	if (!now)
		slot->error = errno;
	else if (s->last[slot_no])
		oracle_compare(s->last[slot_no], now, &slot->counts, shared->ranges,
			       shared->n_ranges);
	oracle_snapshot__put(s->last[slot_no]);
	s->last[slot_no] = now;
	if (child >= 0 && now) {
		s->last[child] = oracle_snapshot__get(now);
		shared->slots[child].pages_known = true;
	}
}

/* An exiting thread is for a moment in both the group's sum and the list of threads. */
static void await_one_thread(pid_t pid)
{
	char path[64], line[256];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	for (int tries = 0; tries < 20000; tries++) {
		FILE *f = fopen(path, "re");
		int threads = 1;

		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "Threads: %d", &threads) == 1)
				break;
		if (f)
			fclose(f);
		if (threads <= 1)
			return;
		usleep(500);
	}
}

static void end(struct supervisor *s, int slot_no)
{
	struct truth_slot *slot = &s->shared->slots[slot_no];

	await_one_thread(slot->pid);
	look(s, slot_no, -1);
	oracle_snapshot__put(s->last[slot_no]);
	s->last[slot_no] = NULL;
	slot->pages_known &= !slot->pages_unknown;
	slot->wpcopy = oracle_wpcopy(slot->pid, true);
	slot->ended = true;
}

static void zombie(struct supervisor *s, int slot_no)
{
	struct truth_slot *slot = &s->shared->slots[slot_no];

	slot->pages_known = false; /* its memory is gone */
	oracle_snapshot__put(s->last[slot_no]);
	s->last[slot_no] = NULL;
	slot->wpcopy = oracle_wpcopy(slot->pid, slot->dead_threads);
	slot->ended = true;
}

static void report(struct supervisor *s)
{
	const char *comma = "";

	fprintf(s->report, "{\"phase\":\"%s\",\"processes\":[", s->shared->phase);
	for (uint32_t i = 0; i < s->shared->n_slots; i++) {
		struct truth_slot *slot = &s->shared->slots[i];

		if (!slot->pid || slot->ended)
			continue;
		fprintf(s->report, "%s{\"pid\":%d,\"role\":\"%s\",\"wpcopy\":%lld}", comma,
			slot->pid, slot->role, (long long)oracle_wpcopy(slot->pid, true));
		comma = ",";
	}
	fprintf(s->report, "]}\n");
	fflush(s->report);
}

static void serve(struct supervisor *s, int slot_no)
{
	struct truth_slot *slot = &s->shared->slots[slot_no];

	switch ((enum truth_request)atomic_exchange(&slot->request, TRUTH_ASK_NONE)) {
	case TRUTH_ASK_NONE:
		return;
	case TRUTH_ASK_SNAPSHOT:
		look(s, slot_no, slot->argument);
		break;
	case TRUTH_ASK_FORGET:
		oracle_snapshot__put(s->last[slot_no]);
		s->last[slot_no] = oracle_snapshot__none();
		slot->pages_known = true;
		break;
	case TRUTH_ASK_END:
		end(s, slot_no);
		break;
	case TRUTH_ASK_ZOMBIE:
		zombie(s, slot->argument);
		break;
	case TRUTH_ASK_REPORT:
		report(s);
		break;
	}
	atomic_fetch_add(&slot->answer, 1);
	syscall(SYS_futex, &slot->answer, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* Until the stem has ended. Return: its wait status. */
static int supervise(struct supervisor *s, pid_t stem)
{
	const struct timespec tick = { .tv_nsec = 20000000 };
	int status = 1 << 8;

	for (;;) {
		uint32_t seen = atomic_load(&s->shared->bell);
		uint32_t n = atomic_load(&s->shared->n_slots);

		for (uint32_t i = 0; i < n && i < TRUTH_SLOTS; i++)
			serve(s, (int)i);
		if (stop_signal)
			kill(stem, SIGKILL); /* the others follow by PDEATHSIG */
		if (waitpid(stem, &status, WNOHANG) != 0)
			return status;
		syscall(SYS_futex, &s->shared->bell, FUTEX_WAIT, seen, &tick, NULL, 0);
	}
}

/* ---- the verdict of the oracles on each other ---- */

static bool complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "oracles disagree: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	return false;
}

static bool within(struct truth_expectation e, int64_t value)
{
	return !e.known || (value >= e.lo && value <= e.hi);
}

static int64_t pages_of(const struct truth_slot *slot, enum truth_kind kind)
{
	switch (kind) {
	case TRUTH_COPY:
		return slot->counts.copy + slot->unmapped;
	case TRUTH_COPY_FILE:
		return slot->counts.copy_file;
	case TRUTH_COPY_KSM:
		return slot->counts.copy_ksm;
	case TRUTH_COPY_HUGETLB:
		return slot->counts.copy_hugetlb;
	default:
		return -1; /* page frames can't tell */
	}
}

/* WPCOPY = copy + copy_ksm + copy_file - unread + zero_fill, where the last two have bounds. */
static bool wpcopy_agrees(const struct truth_slot *slot)
{
	struct truth_expectation zero = slot->expect[TRUTH_ZERO_FILL];
	struct truth_expectation unread = slot->expect[TRUTH_COPY_FILE_UNREAD];
	int64_t pages = pages_of(slot, TRUTH_COPY) + slot->counts.copy_ksm;
	int64_t rest = slot->wpcopy + slot->wpcopy_adjust - pages - slot->counts.copy_file;
	int64_t lo =
		(zero.known ? zero.lo : 0) - (unread.known ? unread.hi : slot->counts.copy_file);
	int64_t hi = (zero.known ? zero.hi : TRUTH_ZERO_NOISE) - (unread.known ? unread.lo : 0);

	return rest >= lo && rest <= hi + slot->wpcopy_extra;
}

static bool judge_slot(const struct truth_slot *slot)
{
	bool good = true;

	if (slot->error)
		return complain("%s: pages can't be read: %s", slot->role, strerror(slot->error));
	if (!slot->ended)
		return complain("%s: never came to its end", slot->role);
	if (!slot->pages_known)
		return slot->wpcopy < 0 || within(slot->expect[TRUTH_COPY], slot->wpcopy) ||
		       complain("%s: copy by plan %lld..%lld, WPCOPY %lld", slot->role,
				(long long)slot->expect[TRUTH_COPY].lo,
				(long long)slot->expect[TRUTH_COPY].hi, (long long)slot->wpcopy);
	for (enum truth_kind k = 0; k < TRUTH_KINDS; k++)
		if (pages_of(slot, k) >= 0 && !within(slot->expect[k], pages_of(slot, k)))
			good = complain("%s: %s by plan %lld..%lld, by page frames %lld",
					slot->role, kind_names[k], (long long)slot->expect[k].lo,
					(long long)slot->expect[k].hi,
					(long long)pages_of(slot, k));
	if (slot->wpcopy >= 0 && !wpcopy_agrees(slot))
		good = complain("%s: WPCOPY %lld%+lld, page frames: copy %lld ksm %lld file %lld",
				slot->role, (long long)slot->wpcopy, (long long)slot->wpcopy_adjust,
				(long long)pages_of(slot, TRUTH_COPY),
				(long long)slot->counts.copy_ksm,
				(long long)slot->counts.copy_file);
	return good;
}

static bool judge(const struct truth_shared *shared)
{
	bool good = true, pages_known = true;

	for (uint32_t i = 0; i < shared->n_slots; i++) {
		good &= judge_slot(&shared->slots[i]);
		pages_known &= i == 0 || shared->slots[i].pages_known;
	}
	for (int r = 0; r < shared->n_ranges && pages_known; r++) {
		int64_t seen = shared->ranges[r].changed + shared->range_unmapped[r];

		if (!within(shared->range_expect[r], seen))
			good = complain("range %d: by plan %lld..%lld, by page frames %lld", r,
					(long long)shared->range_expect[r].lo,
					(long long)shared->range_expect[r].hi, (long long)seen);
	}
	return good;
}

/* ---- the expectation as JSON ---- */

static void print_slot(FILE *out, const struct truth_shared *shared, const struct truth_slot *slot)
{
	const char *comma = "";

	fprintf(out, "{\"pid\":%d,\"parent\":%d,\"role\":\"%s\",\"expect\":{", slot->pid,
		slot->parent >= 0 ? shared->slots[slot->parent].pid : 0, slot->role);
	for (enum truth_kind k = 0; k < TRUTH_KINDS; k++) {
		int64_t pages = slot->pages_known ? pages_of(slot, k) : -1;
		int64_t lo = pages >= 0 ? pages : slot->expect[k].lo;
		int64_t hi = pages >= 0 ? pages : slot->expect[k].hi;

		if (pages < 0 && !slot->expect[k].known)
			continue;
		fprintf(out, "%s\"%s\":[%lld,%lld]", comma, kind_names[k], (long long)lo,
			(long long)hi);
		comma = ",";
	}
	fprintf(out, "},\"wpcopy\":");
	if (slot->wpcopy >= 0)
		fprintf(out, "%lld", (long long)slot->wpcopy);
	else
		fprintf(out, "null");
	fprintf(out, ",\"wpcopy_adjust\":%lld,\"wpcopy_extra\":%lld,\"foreign\":%lld",
		(long long)slot->wpcopy_adjust, (long long)slot->wpcopy_extra,
		(long long)slot->foreign);
	if (slot->pages_known && !slot->unmapped)
		fprintf(out, ",\"pagemap_unshared\":%lld}",
			(long long)(slot->counts.copy + slot->counts.copy_ksm +
				    slot->counts.copy_file + slot->counts.copy_hugetlb));
	else
		fprintf(out, ",\"pagemap_unshared\":null}");
}

static int print_expectation(const char *path, const struct truth_program *program,
			     const struct options *opt, const struct truth_shared *shared)
{
	FILE *out = path ? fopen(path, "we") : stdout;
	int failed;

	if (!out) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	fprintf(out, "{\"name\":\"%s/%s\",\"pages\":%ld,\"supervisor\":%d,\"processes\":[",
		program->name, opt->c->name, opt->pages, (int)getpid());
	for (uint32_t i = 0; i < shared->n_slots; i++) {
		fprintf(out, "%s", i ? "," : "");
		print_slot(out, shared, &shared->slots[i]);
	}
	fprintf(out, "],\"ranges\":[");
	for (int r = 0; r < shared->n_ranges; r++)
		fprintf(out,
			"%s{\"start\":\"0x%llx\",\"len\":%llu,\"unshared\":[%lld,%lld],"
			"\"pagemap\":%lld}",
			r ? "," : "", (unsigned long long)shared->ranges[r].start,
			(unsigned long long)(shared->ranges[r].end - shared->ranges[r].start),
			(long long)shared->range_expect[r].lo,
			(long long)shared->range_expect[r].hi,
			(long long)(shared->ranges[r].changed + shared->range_unmapped[r]));
	fprintf(out, "]}\n");
	failed = ferror(out);
	if (path)
		failed |= fclose(out);
	return failed ? -1 : 0;
}

/* ---- main ---- */

static void usage(FILE *out, const struct truth_program *program)
{
	fprintf(out,
		"usage: %s [--case NAME] [--pages N] [--out FILE] [--wait] [--list]\n"
		"  --case NAME  what to do (default %s)\n"
		"  --pages N    pages of the plan (default 1000)\n"
		"  --out FILE   the expectation goes there instead of standard output\n"
		"  --wait       begin at a byte on standard input or SIGUSR1\n"
		"  --list       the cases, one a line\n"
		"Exit status: 0 the oracles agree, 1 they don't, 2 usage, 77 can't be done here.\n"
		"Cases:\n",
		program->name, program->cases[0].name);
	for (size_t i = 0; i < program->n_cases; i++)
		fprintf(out, "  %-20s %s\n", program->cases[i].name, program->cases[i].about);
}

static const struct truth_case *find_case(const struct truth_program *program, const char *name)
{
	for (size_t i = 0; i < program->n_cases; i++)
		if (!strcmp(program->cases[i].name, name))
			return &program->cases[i];
	fprintf(stderr, "%s: no case %s\n", program->name, name);
	exit(2);
}

static void parse(int argc, char **argv, const struct truth_program *program, struct options *opt)
{
	static const struct option longs[] = { { "case", required_argument, NULL, 'c' },
					       { "pages", required_argument, NULL, 'n' },
					       { "out", required_argument, NULL, 'o' },
					       { "wait", no_argument, NULL, 'w' },
					       { "list", no_argument, NULL, 'l' },
					       { "help", no_argument, NULL, 'h' },
					       { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'c')
			opt->c = find_case(program, optarg);
		else if (c == 'n')
			opt->pages = strtol(optarg, NULL, 10);
		else if (c == 'o')
			opt->out = optarg;
		else if (c == 'w')
			opt->wait = true;
		else if (c == 'l') {
			for (size_t i = 0; i < program->n_cases; i++)
				printf("%s\n", program->cases[i].name);
			exit(0);
		} else {
			usage(c == 'h' ? stdout : stderr, program);
			exit(c == 'h' ? 0 : 2);
		}
	}
	if (opt->pages < 8 || opt->pages > 1000000 || optind != argc) {
		usage(stderr, program);
		exit(2);
	}
}

static void on_signal(int signal_no)
{
	if (signal_no == SIGUSR1)
		go_signal = 1;
	else
		stop_signal = 1;
}

static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1 };
	struct sigaction action = { .sa_handler = on_signal };

	for (size_t i = 0; i < TRUTH_ARRAY_LEN(signals); i++)
		sigaction(signals[i], &action, NULL);
}

static void wait_for_go(void)
{
	char byte;

	if (!go_signal && read(STDIN_FILENO, &byte, 1) == 0)
		while (!go_signal && !stop_signal)
			pause(); /* standard input is closed: only the signal is left */
}

static void new_family(struct truth *t, const struct options *opt)
{
	t->shared_fd = memfd_create("truth", 0); /* inherited by exec */
	if (t->shared_fd < 0 || ftruncate(t->shared_fd, sizeof(*t->shared))) {
		perror("truth: memfd");
		exit(1);
	}
	t->shared =
		mmap(NULL, sizeof(*t->shared), PROT_READ | PROT_WRITE, MAP_SHARED, t->shared_fd, 0);
	if (t->shared == MAP_FAILED) {
		perror("truth: mmap");
		exit(1);
	}
	t->pages = opt->pages;
	t->case_name = opt->c->name;
	atomic_store(truth_counter(t, 0), (uint64_t)opt->pages); /* for images after exec */
	t->shared->page_flags = opt->c->page_flags;
	for (int i = 0; i < TRUTH_SLOTS; i++) {
		t->shared->slots[i].parent = -1;
		t->shared->slots[i].wpcopy = -1;
	}
	t->self = -1;
}

static int verdict(int status, const struct truth_program *program, const struct options *opt,
		   const struct truth_shared *shared)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == TRUTH_SKIP) {
		fprintf(stderr, "skip: %s\n", shared->reason);
		return TRUTH_SKIP;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		fprintf(stderr, "%s: %s\n", program->name,
			shared->reason[0] ? shared->reason : "the family died");
		return 1;
	}
	if (print_expectation(opt->out, program, opt, shared))
		return 1;
	return judge(shared) ? 0 : 1;
}

int truth_main(int argc, char **argv, const struct truth_program *program)
{
	static struct supervisor s;
	static struct truth t;
	struct options opt = { .pages = 1000, .c = &program->cases[0] };
	int status;
	pid_t stem;

	if (argc == 5 && !strcmp(argv[1], TRUTH_IMAGE_OPTION))
		truth_run_image(program, argv);
	parse(argc, argv, program, &opt);
	if (geteuid()) {
		fprintf(stderr, "skip: page frames and taskstats need root\n");
		return TRUTH_SKIP;
	}
	new_family(&t, &opt);
	catch_signals();
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	if (access("/proc/sys/kernel/task_delayacct", F_OK) == 0)
		truth_settings__write(&t.shared->settings, "/proc/sys/kernel/task_delayacct", "1");
	if (opt.wait)
		wait_for_go();
	s = (struct supervisor){ .t = &t, .shared = t.shared, .report = stdout };
	stem = fork();
	if (stem == 0)
		truth_run_stem(&t, opt.c);
	status = stem < 0 ? 1 << 8 : supervise(&s, stem);
	truth_settings__restore(&t.shared->settings);
	return verdict(status, program, &opt, t.shared);
}
