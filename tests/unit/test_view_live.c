/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_view_live.c - the live screen in a pseudo-terminal: a child draws a made-up run and obeys
 * keys as the real program does, this side is the terminal: it types, resizes, hangs up, and reads
 * what was drawn. After Ctrl-L everything is drawn anew, so that whole words can be looked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "view/live.h"
#include "view/view.h"
#include "view_fixture.h"

#define WAIT_MS 20000 /* far more than any machine needs */

struct terminal {
	int fd;
	pid_t child;
	char seen[1 << 18]; /* since the last forget */
	size_t len;
};

static struct terminal terminal;

/* ---- the child ---- */

enum { BAD_OPEN = 10, BAD_MODES, BAD_SIGNALS };

static struct ct_snapshot *next_snapshot(struct view_fixture *f, const struct ct_live *live, int n)
{
	for (int i = 0; i < 400; i++)
		view_fixture_fault(f);
	return view_fixture_snapshot(f, (uint64_t)n, ct_live__wants_pages(live) ? 100 : 0);
}

static void run_screen(struct ct_live *live, struct view_fixture *f)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	enum ct_live_action action = CT_LIVE_NONE;
	struct ct_snapshot *last = NULL;

	for (int n = 1; action != CT_LIVE_QUIT; n++) {
		struct ct_snapshot *now = next_snapshot(f, live, n);

		ct_live__draw(live, now, last, 0.1);
		ct_snapshot__free(last);
		last = now;
		if (poll(&in, 1, 20) == 0)
			continue;
		action = ct_live__key(live);
		if (action == CT_LIVE_RESET) {
			ct_tally__reset(f->tally);
			ct_snapshot__free(last);
			last = NULL;
			fprintf(stderr, "<reset>"); /* the terminal, too */
		}
	}
	ct_snapshot__free(last);
}

static int child_main(bool color, enum ct_axis axis)
{
	struct sigaction before, after;
	struct termios found = { 0 }, left = { 0 }; /* compared whole, padding too */
	struct view_fixture f;
	struct ct_live *live;

	signal(SIGHUP, SIG_IGN);
	if (!setlocale(LC_ALL, getenv("LC_ALL")) || !view_fixture_open(&f) ||
	    (axis == CT_AXIS_LINE && !view_fixture_with_python(&f)))
		return 1;
	tcgetattr(STDIN_FILENO, &found);
	sigaction(SIGINT, NULL, &before);
	live = ct_live__open(color, axis);
	if (!live) {
		printf("<errno %d>", errno);
		view_fixture_close(&f);
		return BAD_OPEN;
	}
	sigaction(SIGINT, NULL, &after);
	if (before.sa_handler != after.sa_handler)
		return BAD_SIGNALS;
	for (int i = 0; i < 3000; i++)
		view_fixture_fault(&f);
	run_screen(live, &f);
	ct_live__close(live);
	view_fixture_close(&f);
	if (tcgetattr(STDIN_FILENO, &left)) /* hung up: no modes left to compare */
		return errno == EIO ? 0 : BAD_MODES;
	return memcmp(&found, &left, sizeof(found)) ? BAD_MODES : 0;
}

/* ---- the terminal ---- */

static void start_on(enum ct_axis axis, unsigned int columns, unsigned int rows, const char *term,
		     const char *locale, bool color)
{
	struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };

	terminal.len = 0;
	fflush(NULL);
	terminal.child = forkpty(&terminal.fd, NULL, NULL, &size);
	assert_true(terminal.child >= 0);
	if (terminal.child == 0) {
		setenv("TERM", term, 1);
		setenv("LC_ALL", locale, 1);
		unsetenv("LINES");
		unsetenv("COLUMNS");
		exit(child_main(color, axis));
	}
	fcntl(terminal.fd, F_SETFL, O_NONBLOCK);
}

static void start(unsigned int columns, unsigned int rows, const char *term, const char *locale,
		  bool color)
{
	start_on(CT_AXIS_CELL, columns, rows, term, locale, color);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Takes what has been drawn, waiting at most @ms for some. False: the other side has closed. */
static bool take(int ms)
{
	struct pollfd fd = { .fd = terminal.fd, .events = POLLIN };
	ssize_t got;

	if (terminal.len > sizeof(terminal.seen) - 8192) { /* keep the newer half */
		terminal.len /= 2;
		memmove(terminal.seen, terminal.seen + terminal.len, terminal.len);
	}
	if (poll(&fd, 1, ms) <= 0)
		return true;
	got = read(terminal.fd, terminal.seen + terminal.len, 4096);
	if (got > 0)
		terminal.len += (size_t)got;
	terminal.seen[terminal.len] = '\0';
	return got > 0 || (got < 0 && errno == EAGAIN);
}

static bool sees(const char *text)
{
	return memmem(terminal.seen, terminal.len, text, strlen(text)) != NULL;
}

static void expect(const char *text)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (!sees(text))
		if (!take(100) || now_ms() > end)
			fail_msg("never saw \"%s\" in\n%.*s", text, (int)terminal.len,
				 terminal.seen);
}

static void type(const char *keys)
{
	assert_int_equal(write(terminal.fd, keys, strlen(keys)), strlen(keys));
}

/* Types, and then waits for a whole new picture with @text in it. */
static void type_and_expect(const char *keys, const char *text)
{
	while (take(0) && terminal.len) { /* drain */
		size_t before = terminal.len;

		take(5);
		if (terminal.len == before)
			break;
	}
	terminal.len = 0;
	type(keys);
	type("\f");
	expect(text);
}

static int finish(void)
{
	uint64_t end = now_ms() + WAIT_MS;
	int status;

	while (waitpid(terminal.child, &status, WNOHANG) == 0) {
		take(20);
		if (now_ms() > end) {
			kill(terminal.child, SIGKILL);
			waitpid(terminal.child, &status, 0);
			fail_msg("the screen did not close");
		}
	}
	for (size_t before = 0; take(50) && terminal.len != before;)
		before = terminal.len;
	if (terminal.fd >= 0)
		close(terminal.fd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void quit(void)
{
	type("q");
	assert_int_equal(finish(), 0);
	assert_true(sees("\033[?1049l")); /* the screen of before is back */
}

/* ---- tests ---- */

static void test_every_axis(void **state)
{
	(void)state;
	start(100, 30, "xterm", "C.UTF-8", true);
	expect("\033[?1049h");
	type_and_expect("c", "refcount");
	expect("hook tracepoint");
	expect("undetailed 0");
	expect("unshared");
	expect("zero_fill");
	expect("0x55d0c2a00000");
	expect("[shop.wsgi]");
	type_and_expect("a", "mutation");
	type_and_expect("t", "日本語クラス");
	type_and_expect("w", "gc_collect_main");
	expect("libpython3.13.so.1.0");
	type_and_expect("p", "8 processes");
	expect("unshared by");
	type_and_expect("P", "pid process");
	expect("    812");
	type_and_expect("2", "mutation");
	type_and_expect("\t", "function  cpython");
	type_and_expect("\033[Z", "mutation");
	type_and_expect("6", "    812");
	type_and_expect("?", "cowtrace keys");
	type_and_expect("\033", "pid process");
	quit();
}

/* By line, function and module; without stacks the screen says what to do. */
static void test_python(void **state)
{
	(void)state;
	start_on(CT_AXIS_LINE, 160, 30, "xterm", "C.UTF-8", true);
	type_and_expect("l", "models.py:77  <listcomp>");
	type_and_expect("f", "<listcomp>  /srv/shop/models.py");
	type_and_expect("9", "/srv/shop/wsgi.py");
	type_and_expect("7", "models.py:70  load");
	quit();
	start(160, 30, "xterm", "C.UTF-8", true);
	type_and_expect("m", "start with --stacks");
	quit();
}

static void test_sizes(void **state)
{
	static const struct {
		unsigned int columns, rows;
		const char *text;
	} sizes[] = { { 80, 24, "undetailed 0" }, { 200, 60, "libpython3.13.so.1.0" },
		      { 10, 3, "cowtrace" },	  { 40, 8, "refcount" },
		      { 1, 1, "\033[" },	  { 2, 2, "\033[" },
		      { 500, 100, "refcount" } };

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(sizes); i++) {
		start(sizes[i].columns, sizes[i].rows, "xterm", "C.UTF-8", true);
		expect("\033[?1049h");
		type_and_expect("c", sizes[i].text);
		type_and_expect("?pP2345\t\tG\033[B\033[A\033[6~\033[5~? ", "\033[");
		quit();
	}
}

static void test_resize(void **state)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };

	(void)state;
	start(80, 24, "xterm", "C.UTF-8", true);
	type_and_expect("w", "6 process");
	assert_false(sees("arrows scroll"));
	size = (struct winsize){ .ws_row = 40, .ws_col = 190 };
	ioctl(terminal.fd, TIOCSWINSZ, &size);
	expect("arrows scroll"); /* by itself, without a key */
	size = (struct winsize){ .ws_row = 3, .ws_col = 10 };
	ioctl(terminal.fd, TIOCSWINSZ, &size);
	type_and_expect("", "\033[");
	size = (struct winsize){ .ws_row = 30, .ws_col = 150 };
	ioctl(terminal.fd, TIOCSWINSZ, &size);
	expect("arrows scroll");
	quit();
}

static void test_pause_and_reset(void **state)
{
	(void)state;
	start(100, 30, "xterm", "C.UTF-8", true);
	type_and_expect(" ", "PAUSED");
	type_and_expect("p", "press space");
	type_and_expect("t", "function  cpython"); /* keys work on the kept picture */
	expect("PAUSED");
	type_and_expect(" ", "function  cpython");
	assert_false(sees("PAUSED"));
	type_and_expect("r", "<reset>");
	type_and_expect("c", "refcount");
	quit();
}

/* No colour where none is wanted; no UTF-8 where the locale has none. */
static void test_plain(void **state)
{
	(void)state;
	start(100, 30, "xterm", "C", false);
	type_and_expect("t", "function  cpython");
	type_and_expect("c", "####");
	expect(" | ");
	for (size_t i = 0; i < terminal.len; i++)
		assert_true((unsigned char)terminal.seen[i] < 0x80);
	assert_false(sees("\033[3") && (sees("\033[31m") || sees("\033[33m") || sees("\033[36m")));
	quit();
	start(100, 30, "vt100", "C.UTF-8", true); /* a terminal without colour */
	type_and_expect("c", "cowtrace: gunicorn");
	assert_false(sees("\033[31m"));
	type("q");
	assert_int_equal(finish(), 0);
	start(100, 30, "xterm", "C.UTF-8", true);
	expect("\033[31m");
	quit();
}

static void test_no_screen(void **state)
{
	int status, fd;
	pid_t child;

	(void)state;
	start(80, 24, "dumb", "C.UTF-8", true);
	assert_int_equal(finish(), BAD_OPEN);
	start(80, 24, "no-such-terminal", "C.UTF-8", true);
	assert_int_equal(finish(), BAD_OPEN);
	start(80, 24, "", "C.UTF-8", true);
	assert_int_equal(finish(), BAD_OPEN);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		fd = open("/dev/null", O_RDWR);
		dup2(fd, STDIN_FILENO);
		_exit(!ct_live__open(true, CT_AXIS_CELL) && errno == ENOTTY ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* The window is closed: the caller is told to quit instead of spinning. */
static void test_hangup(void **state)
{
	(void)state;
	start(80, 24, "xterm", "C.UTF-8", true);
	expect("refcount");
	close(terminal.fd);
	terminal.fd = -1;
	assert_int_equal(finish(), 0);
}

/* Anything typed at any size; what must hold is that it still quits and gives the modes back. */
static void test_monkey(void **state)
{
	static const char *const keys[] = { "c",  "a",	    "t",      "w",	 "p",
					    "P",  "\t",	    "\033[Z", " ",	 "r",
					    "?",  "\033[A", "\033[B", "\033[5~", "\033[6~",
					    "\f", "\033[H", "\033[F", "\033",	 "k",
					    "l",  "f",	    "m",      "9",	 "j",
					    "G",  "\xff",   "é" };
	uint64_t random_state = 4;

	(void)state;
	start(80, 24, "xterm", "C.UTF-8", true);
	expect("refcount");
	for (int i = 0; i < 600; i++) {
		uint32_t pick;

		random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
		pick = (uint32_t)(random_state >> 33);
		if (pick % 10 == 0) {
			struct winsize size = { .ws_row = (unsigned short)(1 + pick / 10 % 70),
						.ws_col = (unsigned short)(1 + pick / 700 % 230) };

			ioctl(terminal.fd, TIOCSWINSZ, &size);
		} else {
			type(keys[pick / 10 % CT_ARRAY_SIZE(keys)]);
		}
		take(pick % 7 ? 0 : 10);
	}
	terminal.len = 0;
	quit();
}

/* The packing itself: never wider than asked, no region lost, gaps only where addresses have them.
 */
static void test_strip(void **state)
{
	struct ct_region_row regions[300];
	struct ct_strip_column strip[256];
	uint64_t random_state = 9;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		size_t n, columns, used, gaps = 0;
		int64_t most = 0, seen = 0;

		random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
		n = random_state >> 40 & 0xff;
		columns = random_state >> 50 & 0xff;
		for (size_t i = 0; i < n; i++) {
			random_state =
				random_state * 6364136223846793005ull + 1442695040888963407ull;
			regions[i].address = (i ? regions[i - 1].address : 0) + (2ull << 20);
			if (random_state >> 60 == 0)
				regions[i].address += 1ull << 40;
			regions[i].unshared = 1 + (int64_t)(random_state >> 50);
			most = regions[i].unshared > most ? regions[i].unshared : most;
		}
		used = ct_live_strip(regions, n, strip, columns);
		assert_true(used <= columns);
		assert_int_equal(used > 0, n && columns);
		for (size_t i = 0; i < used; i++) {
			gaps += strip[i].gap;
			assert_true(strip[i].gap != (strip[i].unshared > 0));
			seen = strip[i].unshared > seen ? strip[i].unshared : seen;
		}
		assert_true(gaps <= columns / 8);
		if (used)
			assert_int_equal(seen, most);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strip),  cmocka_unit_test(test_every_axis),
		cmocka_unit_test(test_python), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_resize), cmocka_unit_test(test_pause_and_reset),
		cmocka_unit_test(test_plain),  cmocka_unit_test(test_no_screen),
		cmocka_unit_test(test_hangup), cmocka_unit_test(test_monkey),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
