/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_view_text.c - the text view byte by byte against tests/golden, and what it says of failed
 * writes. CT_GOLDEN=write in the environment (make golden) writes the golden files instead: read
 * the diff then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "view/fit.h"
#include "view/view.h"
#include "view_fixture.h"

struct golden {
	const char *file;
	struct ct_text_style style;
	bool summary;
	enum { BUSY, FIRST, EMPTY, HUGE, LOST, PYTHON } run;
};

#define STYLE(u, c, w, a, r)                                                                \
	{                                                                                   \
		.utf8 = (u), .color = (c), .columns = (w), .axis = CT_AXIS_##a, .rows = (r) \
	}

static const struct golden cases[] = {
	{ "block-cell.txt", STYLE(true, false, 100, CELL, 10), false, BUSY },
	{ "block-cause-ascii.txt", STYLE(false, false, 80, CAUSE, 10), false, BUSY },
	{ "block-type-narrow.txt", STYLE(true, false, 50, TYPE, 5), false, BUSY },
	{ "block-type-ascii.txt", STYLE(false, false, 100, TYPE, 0), false, BUSY },
	{ "block-writer-80.txt", STYLE(true, false, 80, WRITER, 5), false, BUSY },
	{ "block-page.txt", STYLE(true, false, 100, PAGE, 8), false, BUSY },
	{ "block-process-wide.txt", STYLE(true, false, 140, PROCESS, 6), false, BUSY },
	{ "block-process-color.txt", STYLE(true, true, 100, PROCESS, 4), false, BUSY },
	{ "block-first.txt", STYLE(true, false, 0, UNKNOWN, 3), false, FIRST },
	{ "block-empty.txt", STYLE(true, false, 100, CELL, 10), false, EMPTY },
	{ "summary.txt", STYLE(true, false, 100, CELL, 10), true, BUSY },
	{ "summary-ascii.txt", STYLE(false, false, 80, CELL, 4), true, BUSY },
	{ "summary-color.txt", STYLE(true, true, 120, CELL, 4), true, BUSY },
	{ "summary-empty.txt", STYLE(false, false, 80, CELL, 4), true, EMPTY },
	{ "summary-huge.txt", STYLE(true, false, 100, CELL, 4), true, HUGE },
	{ "block-line.txt", STYLE(true, false, 100, LINE, 10), false, PYTHON },
	{ "block-function-ascii.txt", STYLE(false, false, 80, FUNCTION, 3), false, PYTHON },
	{ "block-module-color.txt", STYLE(true, true, 60, MODULE, 10), false, PYTHON },
	{ "summary-python.txt", STYLE(true, false, 100, CELL, 3), true, PYTHON },
	{ "summary-lost.txt", STYLE(true, false, 100, CELL, 4), true, LOST },
};

static void feed(struct view_fixture *f, int run)
{
	struct ct_sample huge = { .address = 0x7f0000000000ull,
				  .count = 3,
				  .process = f->processes[1],
				  .fault = CT_FAULT_COPY_HUGETLB,
				  .page_shift = 21,
				  .cell = CT_CELL_DATA };

	if (run == LOST)
		ct_tally__add_undetailed(f->tally, f->processes[2], CT_FAULT_COPY, false, 0, 12,
					 1234567);
	if (run == HUGE)
		ct_tally__add(f->tally, &huge);
	if (run == PYTHON)
		assert_true(view_fixture_with_python(f));
	for (int i = 0; i < 20000 && (run == PYTHON || run == BUSY || run == FIRST || run == HUGE);
	     i++)
		view_fixture_fault(f);
}

static char *render(const struct golden *golden, size_t *len)
{
	struct ct_snapshot *last = NULL, *now;
	struct view_fixture f;
	char *text = NULL;
	FILE *out;

	assert_true(view_fixture_open(&f));
	feed(&f, golden->run);
	if (golden->run == BUSY || golden->run == PYTHON) {
		last = view_fixture_snapshot(&f, 113, 50);
		for (int i = 0; i < 5000; i++)
			view_fixture_fault(&f);
		ct_tally__set_ended(f.tally, f.processes[3], 9);
		ct_tally__add_undetailed(f.tally, f.processes[2], CT_FAULT_COPY, false, 0, 12, 412);
	}
	now = view_fixture_snapshot(&f, golden->run == EMPTY ? 0 : 123, 50);
	assert_non_null(now);
	out = open_memstream(&text, len);
	assert_non_null(out);
	if (golden->summary)
		assert_int_equal(ct_view_text__summary(out, &golden->style, now), 0);
	else
		assert_int_equal(ct_view_text__block(out, &golden->style, now, last), 0);
	fclose(out);
	ct_snapshot__free(last);
	ct_snapshot__free(now);
	view_fixture_close(&f);
	return text;
}

/* tests/golden from the top of the repository, or beside this source. */
static void golden_path(char *path, size_t len, const char *file)
{
	const char *slash = strrchr(__FILE__, '/');

	if (access("tests/golden", X_OK) == 0)
		snprintf(path, len, "tests/golden/%s", file);
	else
		snprintf(path, len, "%.*s../golden/%s", slash ? (int)(slash - __FILE__ + 1) : 0,
			 __FILE__, file);
}

static void compare(const char *file, const char *text, size_t len)
{
	const char *mode = getenv("CT_GOLDEN");
	bool update = mode && !strcmp(mode, "write");
	char path[4096], *want = malloc(len + 2);
	size_t got;
	FILE *f;

	assert_non_null(want);
	golden_path(path, sizeof(path), file);
	f = fopen(path, update ? "w+" : "r");
	if (!f)
		fail_msg("%s: %s (make golden writes it)", path, strerror(errno));
	if (update) {
		fwrite(text, 1, len, f);
		rewind(f);
	}
	got = fread(want, 1, len + 1, f);
	fclose(f);
	if (got != len || memcmp(want, text, len))
		fail_msg("%s differs; it is now:\n%s", path, text);
	free(want);
}

static void test_golden(void **state)
{
	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(cases); i++) {
		size_t len;
		char *text = render(&cases[i], &len);

		compare(cases[i].file, text, len);
		free(text);
	}
}

/* Whatever the width: no line of a table is wider, none ends in a space, ASCII is ASCII. */
static void test_any_width(void **state)
{
	struct golden golden = { .run = BUSY };

	(void)state;
	for (unsigned int columns = 1; columns < 260; columns += columns < 40 ? 1 : 13) {
		for (int axis = CT_AXIS_CELL; axis <= CT_AXIS_COUNT; axis++) {
			char *text, *line, *save = NULL;
			int lines = 0;
			size_t len;

			golden.style = (struct ct_text_style){
				.columns = columns, .rows = 3, .utf8 = columns % 2, .axis = axis
			};
			golden.summary = axis == CT_AXIS_COUNT;
			golden.run = ct_axis_is_sampled(axis) ? PYTHON : BUSY;
			text = render(&golden, &len);
			for (size_t i = 0; i < len && !golden.style.utf8; i++)
				assert_true(text[i] == '\n' || (text[i] >= ' ' && text[i] <= '~'));
			for (line = strtok_r(text, "\n", &save); line;
			     line = strtok_r(NULL, "\n", &save)) {
				assert_true(line[strlen(line) - 1] != ' ');
				if (++lines > (golden.run == PYTHON ? 6 : 4) &&
				    !strstr(line, " more")) /* below the head */
					assert_true(ct_fit_width(line, golden.style.utf8) <=
						    (columns < 20 ? 20 : columns));
			}
			free(text);
		}
	}
}

static void test_write_errors(void **state)
{
	struct ct_text_style style = { .columns = 80, .utf8 = true, .axis = CT_AXIS_TYPE };
	struct ct_snapshot *now;
	struct view_fixture f;
	int ends[2];
	FILE *out;

	(void)state;
	assert_true(view_fixture_open(&f));
	feed(&f, BUSY);
	now = view_fixture_snapshot(&f, 10, 50);
	for (int summary = 0; summary < 2; summary++) {
		out = fopen("/dev/full", "w");
		assert_non_null(out);
		assert_int_equal(summary ? ct_view_text__summary(out, &style, now)
					 : ct_view_text__block(out, &style, now, NULL),
				 -ENOSPC);
		fclose(out);
		assert_int_equal(pipe(ends), 0);
		close(ends[0]);
		out = fdopen(ends[1], "w");
		assert_int_equal(summary ? ct_view_text__summary(out, &style, now)
					 : ct_view_text__block(out, &style, now, NULL),
				 -EPIPE);
		fclose(out);
	}
	ct_snapshot__free(now);
	view_fixture_close(&f);
}

static void check_fit(const char *s, unsigned int columns, enum ct_align align, bool utf8,
		      const char *want)
{
	char buf[256];

	assert_string_equal(ct_fit(buf, sizeof(buf), s, columns, align, utf8), want);
	if (align != CT_ALIGN_NONE)
		assert_int_equal(ct_fit_width(buf, utf8), columns);
}

static void test_fit(void **state)
{
	char buf[64], small[4];

	(void)state;
	check_fit("abc", 5, CT_ALIGN_LEFT, true, "abc  ");
	check_fit("abc", 5, CT_ALIGN_RIGHT, true, "  abc");
	check_fit("abc", 5, CT_ALIGN_NONE, true, "abc");
	check_fit("abcdef", 5, CT_ALIGN_LEFT, true, "abcd…");
	check_fit("abcdef", 5, CT_ALIGN_LEFT, false, "abc..");
	check_fit("日本語", 6, CT_ALIGN_LEFT, true, "日本語");
	check_fit("日本語", 5, CT_ALIGN_LEFT, true, "日本…");
	check_fit("日本語", 4, CT_ALIGN_LEFT, true, "日… ");
	check_fit("日本語", 4, CT_ALIGN_LEFT, false, "??? ");
	check_fit("a\033[2Jb\x7f", 9, CT_ALIGN_LEFT, true, "a?[2Jb?  ");
	check_fit("a\xff\xc3", 4, CT_ALIGN_LEFT, true, "a?? ");
	check_fit("a\xe2\x82", 4, CT_ALIGN_LEFT, true, "a?? ");
	check_fit("é\xc2\x85", 3, CT_ALIGN_LEFT, true, "é? ");
	check_fit("abc", 1, CT_ALIGN_LEFT, true, "a");
	check_fit("abc", 0, CT_ALIGN_LEFT, true, "");
	assert_string_equal(ct_fit(small, sizeof(small), "日本語", 6, CT_ALIGN_LEFT, true), "日");
	assert_string_equal(ct_fit_bar(buf, sizeof(buf), 0.5, 5, true), "██▌");
	assert_string_equal(ct_fit_bar(buf, sizeof(buf), 1.5, 2, true), "██");
	assert_string_equal(ct_fit_bar(buf, sizeof(buf), 1e-9, 5, true), "▏");
	assert_string_equal(ct_fit_bar(buf, sizeof(buf), 0, 5, true), "");
	assert_string_equal(ct_fit_bar(buf, sizeof(buf), NAN, 5, true), "");
	assert_string_equal(ct_fit_bar(buf, sizeof(buf), 0.5, 5, false), "###");
	assert_string_equal(ct_fit_spark(buf, sizeof(buf), (double[]){ 0, 1, 4, 8, -3 }, 5, true),
			    " ▂▅█ ");
}

static void test_numbers(void **state)
{
	char buf[64];

	(void)state;
	assert_string_equal(ct_fit_count(buf, sizeof(buf), -1234567), "-1,234,567");
	assert_string_equal(ct_fit_count(buf, sizeof(buf), INT64_MIN),
			    "-9,223,372,036,854,775,808");
	assert_string_equal(ct_fit_bytes(buf, sizeof(buf), -4096), "-4.0 KB");
	assert_string_equal(ct_fit_rate(buf, sizeof(buf), NAN), "-");
	assert_string_equal(ct_fit_rate(buf, sizeof(buf), 0), "0/s");
	assert_string_equal(ct_fit_rate(buf, sizeof(buf), 0.44), "0.4/s");
	assert_string_equal(ct_fit_rate(buf, sizeof(buf), 8231.4), "8,231/s");
	assert_string_equal(ct_fit_share(buf, sizeof(buf), 1, 0), "-");
	assert_string_equal(ct_fit_share(buf, sizeof(buf), 1, 100000), "<0.1 %");
	assert_string_equal(ct_fit_share(buf, sizeof(buf), 99999, 100000), "99.9 %");
	assert_string_equal(ct_fit_share(buf, sizeof(buf), 5, 5), "100 %");
	assert_string_equal(ct_fit_share(buf, sizeof(buf), 71, 100), "71.0 %");
	assert_string_equal(ct_fit_duration(buf, sizeof(buf), 12340000000), "12.3 s");
	assert_string_equal(ct_fit_duration(buf, sizeof(buf), 59970000000), "1 min 00 s");
	assert_string_equal(ct_fit_duration(buf, sizeof(buf), 125000000000), "2 min 05 s");
	assert_string_equal(ct_fit_duration(buf, sizeof(buf), 11220000000000), "3 h 07 min");
}

static void test_axis(void **state)
{
	(void)state;
	for (int axis = CT_AXIS_CELL; axis < CT_AXIS_COUNT; axis++)
		assert_int_equal(ct_axis_parse(ct_axis_name(axis)), axis);
	assert_string_equal(ct_axis_name(CT_AXIS_PROCESS), "process");
	assert_string_equal(ct_axis_name(99), "unknown");
	assert_int_equal(ct_axis_parse("unknown"), CT_AXIS_UNKNOWN);
	assert_int_equal(ct_axis_parse("cells"), CT_AXIS_UNKNOWN);
	assert_int_equal(ct_axis_parse(""), CT_AXIS_UNKNOWN);
	assert_int_equal(ct_axis_parse(NULL), CT_AXIS_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_axis),	  cmocka_unit_test(test_fit),
		cmocka_unit_test(test_numbers),	  cmocka_unit_test(test_golden),
		cmocka_unit_test(test_any_width), cmocka_unit_test(test_write_errors),
	};

	signal(SIGPIPE, SIG_IGN);
	if (!setlocale(LC_ALL, "C.UTF-8")) {
		fprintf(stderr, "no locale C.UTF-8: columns can't be counted\n");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
