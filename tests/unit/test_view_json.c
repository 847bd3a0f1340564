/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_view_json.c - the JSON read back: every key of the contract, every number, every sum. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "view/view.h"
#include "view_fixture.h"

static json_t *write_and_read(const struct ct_snapshot *snapshot)
{
	char *text = NULL;
	json_error_t error;
	json_t *json;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(ct_view_json__write(out, snapshot), 0);
	fclose(out);
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (!json)
		fail_msg("line %d: %s in\n%s", error.line, error.text, text);
	assert_int_equal(text[len - 1], '\n');
	free(text);
	return json;
}

static int64_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value))
		fail_msg("%s is missing or no integer", key);
	return json_integer_value(value);
}

static const char *string(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_string(value))
		fail_msg("%s is missing or no string", key);
	return json_string_value(value);
}

static int64_t sum(const json_t *object)
{
	const char *key;
	json_t *value;
	int64_t total = 0;

	assert_true(json_is_object(object));
	json_object_foreach((json_t *)object, key, value)
	{
		assert_true(json_is_integer(value));
		total += json_integer_value(value);
	}
	return total;
}

static void check_kinds(const json_t *object, const struct ct_totals *totals)
{
	assert_int_equal(number(object, "unshared"), totals->unshared);
	assert_int_equal(number(object, "unshared_bytes"), totals->unshared_bytes);
	assert_int_equal(number(object, "copy"), totals->copy);
	assert_int_equal(number(object, "copy_file"), totals->copy_file);
	assert_int_equal(number(object, "copy_ksm"), totals->copy_ksm);
	assert_int_equal(number(object, "copy_huge"), totals->copy_huge);
	assert_int_equal(number(object, "copy_hugetlb"), totals->copy_hugetlb);
	assert_int_equal(number(object, "copy_file_unread"), totals->copy_file_unread);
	assert_int_equal(number(object, "zero_fill"), totals->zero_fill);
	assert_int_equal(number(object, "reuse"), totals->reuse);
	assert_int_equal(number(object, "undetailed"), totals->undetailed);
	assert_int_equal(number(object, "copy") + number(object, "copy_file") +
				 number(object, "copy_ksm") + number(object, "copy_huge") +
				 number(object, "copy_hugetlb"),
			 number(object, "unshared"));
}

static void check_cells(const json_t *cells, const int64_t *want, bool all)
{
	for (int i = 0; i < CT_CELL_COUNT; i++) {
		const json_t *value = json_object_get(cells, ct_cell_name(i));

		assert_true(value || (!all && !want[i]));
		assert_int_equal(json_integer_value(value), want[i]);
	}
}

static void check_head(const json_t *json, const struct ct_snapshot *s)
{
	const json_t *target = json_object_get(json, "target");
	int64_t detailed = s->totals.unshared - s->totals.undetailed;

	assert_string_equal(string(json, "schema"), "cowtrace/1");
	assert_string_equal(string(json, "hook"), "tracepoint");
	assert_string_equal(string(json, "kernel"), "6.18.44");
	assert_int_equal(number(target, "pid"), 812);
	assert_string_equal(string(target, "command"), "gunicorn: master [shop.wsgi]");
	assert_true(json_is_real(json_object_get(json, "duration_s")));
	assert_true(json_real_value(json_object_get(json, "duration_s")) == 12.3);
	check_kinds(json_object_get(json, "totals"), &s->totals);
	assert_int_equal(sum(json_object_get(json, "cells")), detailed);
	assert_int_equal(sum(json_object_get(json, "causes")), detailed);
	check_cells(json_object_get(json, "cells"), s->cells, true);
	assert_int_equal(json_object_size(json_object_get(json, "cells")), CT_CELL_COUNT);
	assert_int_equal(json_object_size(json_object_get(json, "causes")), CT_CAUSE_COUNT);
	for (int i = 0; i < CT_CAUSE_COUNT; i++)
		assert_int_equal(number(json_object_get(json, "causes"), ct_cause_name(i)),
				 s->causes[i]);
}

static void check_lists(const json_t *json, const struct ct_snapshot *s)
{
	int64_t detailed = s->totals.unshared - s->totals.undetailed, left = detailed;
	const json_t *list = json_object_get(json, "types"), *row;

	assert_int_equal(json_array_size(list), s->n_types);
	for (size_t i = 0; i < s->n_types; i++) {
		row = json_array_get(list, i);
		assert_string_equal(string(row, "type"), s->types[i].type);
		assert_string_equal(string(row, "heap"), s->types[i].heap);
		assert_int_equal(number(row, "unshared"), s->types[i].unshared);
		assert_int_equal(sum(json_object_get(row, "cells")), s->types[i].unshared);
		check_cells(json_object_get(row, "cells"), s->types[i].cells, false);
		left -= s->types[i].unshared;
	}
	assert_int_equal(left, 0);
	list = json_object_get(json, "writers");
	assert_int_equal(json_array_size(list), s->n_writers);
	for (size_t i = 0; i < s->n_writers; i++) {
		row = json_array_get(list, i);
		assert_string_equal(string(row, "symbol"), s->writers[i].symbol);
		assert_string_equal(string(row, "object"), s->writers[i].object);
		detailed -= number(row, "unshared");
	}
	assert_int_equal(detailed, 0);
}

static void check_pages(const json_t *json, const struct ct_snapshot *s)
{
	const json_t *list = json_object_get(json, "pages"), *row;
	int64_t regions = 0;
	char hex[32];

	assert_int_equal(number(json, "all_pages"), s->all_pages);
	assert_int_equal(json_array_size(list), s->n_pages);
	for (size_t i = 0; i < s->n_pages; i++) {
		row = json_array_get(list, i);
		snprintf(hex, sizeof(hex), "0x%" PRIx64, s->pages[i].address);
		assert_string_equal(string(row, "address"), hex);
		assert_int_equal(number(row, "unshared"), s->pages[i].unshared);
		assert_int_equal(number(row, "processes"), s->pages[i].processes);
	}
	list = json_object_get(json, "regions");
	for (size_t i = 0; i < json_array_size(list); i++)
		regions += number(json_array_get(list, i), "unshared");
	assert_int_equal(regions, s->totals.unshared - s->totals.undetailed);
}

static void check_processes(const json_t *json, const struct ct_snapshot *s)
{
	const json_t *list = json_object_get(json, "processes");
	int64_t left = s->totals.unshared;

	assert_int_equal(json_array_size(list), s->n_processes);
	for (size_t i = 0; i < s->n_processes; i++) {
		const struct ct_process_row *want = &s->processes[i];
		const json_t *row = json_array_get(list, i);

		assert_int_equal(number(row, "pid"), want->pid);
		assert_int_equal(number(row, "parent"), want->parent);
		assert_string_equal(string(row, "command"), want->command);
		assert_true(json_is_boolean(json_object_get(row, "ended")));
		assert_int_equal(json_is_true(json_object_get(row, "ended")), want->ended);
		check_kinds(row, &want->totals);
		check_cells(json_object_get(row, "cells"), want->cells, false);
		assert_int_equal(sum(json_object_get(row, "causes")),
				 want->totals.unshared - want->totals.undetailed);
		assert_int_equal(sum(json_object_get(row, "cells")),
				 want->totals.unshared - want->totals.undetailed);
		left -= want->totals.unshared;
	}
	assert_int_equal(left, 0);
}

static void test_contract(void **state)
{
	struct ct_snapshot *s;
	struct view_fixture f;
	json_t *json;

	(void)state;
	assert_true(view_fixture_open(&f));
	for (int i = 0; i < 20000; i++)
		view_fixture_fault(&f);
	ct_tally__set_ended(f.tally, f.processes[3], 9);
	ct_tally__add_undetailed(f.tally, f.processes[2], CT_FAULT_COPY, false, 0, 12, 412);
	for (size_t pages = 0; pages < 5000; pages += 1250) {
		s = view_fixture_snapshot(&f, 123, pages);
		assert_non_null(s);
		json = write_and_read(s);
		check_head(json, s);
		check_lists(json, s);
		check_pages(json, s);
		check_processes(json, s);
		json_decref(json);
		ct_snapshot__free(s);
	}
	view_fixture_close(&f);
}

static int64_t check_sampled(const json_t *json, const char *key, size_t count, const char *name)
{
	const json_t *list = json_object_get(json, key), *row;
	int64_t samples = 0;
	size_t i;

	assert_int_equal(json_array_size(list), count);
	json_array_foreach(list, i, row)
	{
		assert_int_equal(number(row, "unshared"), number(row, "samples") * 4);
		if (name)
			assert_true(string(row, name)[0] != '\0');
		samples += number(row, "samples");
	}
	return samples;
}

static void check_words(const json_t *json)
{
	const json_t *list = json_object_get(json, "interpreters"), *row;
	bool native = false, unknown = false;
	size_t i;

	assert_int_equal(json_array_size(list), 4);
	row = json_array_get(list, 2);
	assert_int_equal(number(row, "pid"), 900);
	assert_string_equal(string(row, "name"), "cpython");
	assert_string_equal(string(row, "version"), "3.14.2");
	assert_string_equal(string(row, "object"), "python3.14t");
	assert_true(json_is_false(json_object_get(row, "stacks")));
	assert_string_equal(string(row, "why"), "free-threaded builds have no GIL");
	assert_true(json_is_true(json_object_get(json_array_get(list, 0), "stacks")));
	row = json_object_get(json, "bytes");
	assert_int_equal(number(row, "carried"), 1000);
	assert_int_equal(number(row, "compared"), 900);
	assert_int_equal(number(row, "differ"), 7);
	assert_int_equal(number(row, "place_differ"), 2);
	json_array_foreach(json_object_get(json, "lines"), i, row)
	{
		native |= !strcmp(string(row, "file"), "libc.so.6") &&
			  !strcmp(string(row, "function"), "memmove") &&
			  json_is_null(json_object_get(row, "line"));
		unknown |= !string(row, "file")[0] && json_is_null(json_object_get(row, "line")) &&
			   !strcmp(string(row, "function"), "unknown");
	}
	assert_true(native && unknown);
	native = unknown = false;
	json_array_foreach(json_object_get(json, "stacks"), i, row)
	{
		const json_t *frames = json_object_get(row, "frames");

		unknown |= json_array_size(frames) == 0;
		if (!json_array_size(frames))
			continue;
		assert_string_equal(json_string_value(json_array_get(frames, 0)),
				    "main (/srv/shop/main.py:3)");
		native |= !strcmp(json_string_value(json_array_get(frames, 1)),
				  "memmove (libc.so.6)");
	}
	assert_true(native && unknown);
}

static void test_python(void **state)
{
	int64_t exits = 0, collected = 0;
	struct ct_snapshot *s;
	struct view_fixture f;
	const json_t *row;
	json_t *json;
	size_t i;

	(void)state;
	assert_true(view_fixture_open(&f));
	json = write_and_read(s = view_fixture_snapshot(&f, 123, 10));
	assert_int_equal(number(json, "stacks_every"), 0);
	assert_int_equal(check_sampled(json, "lines", 0, NULL), 0);
	assert_true(json_is_null(json_object_get(json, "bytes")));
	json_decref(json);
	ct_snapshot__free(s);
	assert_true(view_fixture_with_python(&f));
	for (int n = 0; n < 20000; n++)
		view_fixture_fault(&f);
	json = write_and_read(s = view_fixture_snapshot(&f, 123, 10));
	assert_int_equal(number(json, "stacks_every"), 4);
	assert_true(number(json, "samples") > 4000);
	assert_int_equal(check_sampled(json, "lines", s->n_lines, "function"), s->samples);
	assert_int_equal(check_sampled(json, "functions", s->n_functions, "module"), s->samples);
	assert_int_equal(check_sampled(json, "modules", s->n_modules, "module"), s->samples);
	assert_int_equal(check_sampled(json, "stacks", s->n_stacks, NULL), s->samples);
	assert_int_equal(number(json, "samples"), s->samples);
	check_words(json);
	json_array_foreach(json_object_get(json, "processes"), i, row) exits +=
		json_integer_value(json_object_get(json_object_get(row, "causes"), "exit")) > 0;
	assert_true(exits > 3);
	row = json_object_get(json, "exit");
	assert_int_equal(number(row, "processes"), exits);
	assert_int_equal(number(row, "unshared"), s->causes[CT_CAUSE_EXIT]);
	json_array_foreach(json_object_get(json, "collections"), i, row)
	{
		assert_in_range(number(row, "generation"), 0, 2);
		assert_in_range(number(row, "ordinal"), 1, 40);
		collected += number(row, "unshared");
	}
	assert_int_equal(collected, s->cells[CT_CELL_GC_HEADER]);
	assert_int_equal(number(json, "all_collections"), s->all_collections);
	json_decref(json);
	ct_snapshot__free(s);
	view_fixture_close(&f);
}

/* 2^53 + 1 has no double: integers must not pass through one. */
static void test_exact_integers(void **state)
{
	const int64_t big = (INT64_C(1) << 53) + 1;
	struct ct_snapshot *s;
	struct view_fixture f;
	json_t *json;

	(void)state;
	assert_true(view_fixture_open(&f));
	ct_tally__add_undetailed(f.tally, f.processes[2], CT_FAULT_REUSE, false, 0, 12, big);
	ct_tally__add_undetailed(f.tally, f.processes[2], CT_FAULT_COPY, false, 0, 12, -5);
	s = view_fixture_snapshot(&f, 0, 10);
	json = write_and_read(s);
	assert_int_equal(number(json_object_get(json, "totals"), "reuse"), big);
	assert_int_equal(number(json_object_get(json, "totals"), "unshared_bytes"), -5 * 4096);
	json_decref(json);
	ct_snapshot__free(s);
	view_fixture_close(&f);
}

static void test_hostile_names(void **state)
{
	const struct ct_run_info run = { .hook = NULL,
					 .kernel = "\xff\"\\",
					 .command = "a\xc0\xaf\xed\xa0\x80\"\n\x1b]0;x",
					 .pid = 7 };
	struct ct_names *types = ct_names__new(), *writers = ct_names__new();
	struct ct_tally *tally = ct_tally__new(types, writers);
	struct ct_sample sample = { .address = 0x1000, .count = 1, .fault = CT_FAULT_COPY };
	struct ct_snapshot *s;
	json_t *json;

	(void)state;
	assert_non_null(tally);
	sample.process = ct_tally__process(tally, 7, 1, "\xff\xfe\"quoted\"\\\t", 1);
	sample.type = ct_names__id(types, "\x80", "evil\"},{\x01");
	sample.writer = ct_names__id(writers, "/lib/\xf5.so", "sym\xe2\x80\xae");
	assert_int_equal(ct_tally__add(tally, &sample), 0);
	s = ct_tally__snapshot(tally, &run, 10);
	assert_non_null(s);
	json = write_and_read(s);
	assert_true(json_is_null(json_object_get(json, "hook")));
	assert_int_equal(json_array_size(json_object_get(json, "types")), 1);
	assert_string_equal(string(json_array_get(json_object_get(json, "types"), 0), "type"),
			    "evil\"},{\\x01");
	assert_non_null(strstr(string(json_object_get(json, "target"), "command"), "\\xc0"));
	json_decref(json);
	ct_snapshot__free(s);
	ct_tally__free(tally);
	ct_names__free(types);
	ct_names__free(writers);
}

static void test_write_errors(void **state)
{
	struct ct_snapshot *s;
	struct view_fixture f;
	int ends[2];
	FILE *out;

	(void)state;
	assert_true(view_fixture_open(&f));
	/* less than a buffer, and more: fails in the flush, fails in the middle */
	for (int faults = 0; faults <= 20000; faults += 20000) {
		for (int i = 0; i < faults; i++)
			view_fixture_fault(&f);
		s = view_fixture_snapshot(&f, 10, 1000);
		out = fopen("/dev/full", "w");
		assert_non_null(out);
		assert_int_equal(ct_view_json__write(out, s), -ENOSPC);
		fclose(out);
		assert_int_equal(pipe(ends), 0);
		close(ends[0]);
		out = fdopen(ends[1], "w");
		assert_int_equal(ct_view_json__write(out, s), -EPIPE);
		fclose(out);
		ct_snapshot__free(s);
	}
	view_fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contract),       cmocka_unit_test(test_python),
		cmocka_unit_test(test_exact_integers), cmocka_unit_test(test_hostile_names),
		cmocka_unit_test(test_write_errors),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
