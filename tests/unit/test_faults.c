/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_faults.c - --faults: each line read back, hostile names, and a disk that is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/faults.h"

struct fixture {
	struct ct_resolver_names names;
	char path[64];
	struct ct_faults *faults;
};

static void open_faults(struct fixture *f, const char *path)
{
	int fd;

	f->names.types = ct_names__new();
	f->names.writers = ct_names__new();
	f->names.lines = ct_names__new();
	f->names.stacks = ct_lists__new(10);
	snprintf(f->path, sizeof(f->path), "%s", path ? path : "/tmp/ct-faults-XXXXXX");
	if (!path) {
		fd = mkstemp(f->path);
		assert_true(fd >= 0);
		close(fd);
	}
	f->faults = ct_faults__open(f->path);
	assert_non_null(f->faults);
	ct_faults__start(f->faults, 1000000000);
}

static void close_names(struct fixture *f)
{
	ct_names__free(f->names.types);
	ct_names__free(f->names.writers);
	ct_names__free(f->names.lines);
	ct_lists__free(f->names.stacks);
}

static struct ct_sample make_sample(struct fixture *f)
{
	return (struct ct_sample){
		.ts_ns = 1500000000,
		.address = 0x7f0000001234,
		.pid = 7,
		.tid = 8,
		.count = 1,
		.fault = CT_FAULT_COPY,
		.page_shift = 12,
		.cell = CT_CELL_BUFFER,
		.cause = CT_CAUSE_GC,
		.type = ct_names__id(f->names.types, "cpython", "evil\"}\n\x1b]0;\xff"),
		.writer = ct_names__id(f->names.writers, "libpython", "gc_collect_main"),
		.heap = "cpython",
		.object = 0x7f0000001230,
		.offset = 4,
		.size = 64,
		.owner = 0x7f0000005550,
		.generation = 2,
		.collection = 3,
		.sampled = true,
		.line = ct_names__id(f->names.lines, "a.py", "12 handle"),
		.function = ct_names__id(f->names.lines, "a.py", "handle"),
		.module = ct_names__id(f->names.lines, "", "a.py"),
	};
}

static json_t *next_line(FILE *in)
{
	char *line = NULL;
	json_error_t error;
	size_t room = 0;
	json_t *json;

	if (getline(&line, &room, in) < 0) {
		free(line);
		return NULL;
	}
	json = json_loads(line, JSON_REJECT_DUPLICATES, &error);
	if (!json)
		fail_msg("%s in %s", error.text, line);
	free(line);
	return json;
}

static const char *word(const json_t *json, const char *key)
{
	const char *value = json_string_value(json_object_get(json, key));

	return value ? value : "";
}

static int64_t number(const json_t *json, const char *key)
{
	assert_true(json_is_integer(json_object_get(json, key)));
	return json_integer_value(json_object_get(json, key));
}

static void check_full(const json_t *json)
{
	assert_true(json_real_value(json_object_get(json, "t_s")) == 0.5);
	assert_int_equal(number(json, "pid"), 7);
	assert_int_equal(number(json, "tid"), 8);
	assert_string_equal(word(json, "address"), "0x7f0000001234");
	assert_string_equal(word(json, "kind"), "copy");
	assert_string_equal(word(json, "cell"), "buffer");
	assert_string_equal(word(json, "cause"), "gc");
	assert_string_equal(word(json, "heap"), "cpython");
	assert_string_equal(word(json, "type"), "evil\"}\\x0a\\x1b]0;\\xff");
	assert_string_equal(word(json, "symbol"), "gc_collect_main");
	assert_string_equal(word(json, "object"), "0x7f0000001230");
	assert_string_equal(word(json, "owner"), "0x7f0000005550");
	assert_int_equal(number(json, "offset"), 4);
	assert_int_equal(number(json, "size"), 64);
	assert_int_equal(number(json, "generation"), 2);
	assert_int_equal(number(json, "collection"), 3);
	assert_int_equal(number(json, "line"), 12);
	assert_string_equal(word(json, "file"), "a.py");
	assert_string_equal(word(json, "function"), "handle");
	assert_int_equal(number(json, "count"), 1);
}

static void test_lines(void **state)
{
	const struct ct_sample bare = { .pid = 1,
					.count = -1,
					.fault = CT_FAULT_COPY_HUGETLB,
					.page_shift = 21,
					.correction = true };
	const struct ct_sample zero = {
		.pid = 1, .count = 1, .fault = CT_FAULT_ZERO_FILL, .page_shift = 12
	};
	struct ct_sample sample;
	struct fixture f;
	json_t *json;
	FILE *in;

	(void)state;
	open_faults(&f, NULL);
	sample = make_sample(&f);
	ct_faults__put(f.faults, &sample, &f.names);
	ct_faults__put(f.faults, &bare, &f.names);
	ct_faults__put(f.faults, &zero, &f.names);
	ct_faults__put_undetailed(f.faults, 9, CT_FAULT_COPY_FILE, 0, 42);
	assert_int_equal(ct_faults__close(f.faults), 0);
	in = fopen(f.path, "re");
	assert_non_null(in);
	json = next_line(in);
	check_full(json);
	json_decref(json);
	json = next_line(in);
	assert_int_equal(number(json, "count"), -1);
	assert_int_equal(number(json, "bytes"), 2 << 20);
	assert_string_equal(word(json, "cell"), "unknown");
	assert_true(json_is_true(json_object_get(json, "correction")));
	for (const char *const *key = (const char *const[]){ "object", "type", "heap", "line",
							     "symbol", "owner", NULL };
	     *key; key++)
		assert_null(json_object_get(json, *key));
	json_decref(json);
	json = next_line(in);
	assert_string_equal(word(json, "kind"), "zero_fill");
	assert_null(json_object_get(json, "cell"));
	json_decref(json);
	json = next_line(in);
	assert_int_equal(number(json, "count"), 42);
	assert_string_equal(word(json, "kind"), "copy_file");
	assert_true(json_is_true(json_object_get(json, "undetailed")));
	json_decref(json);
	assert_null(next_line(in));
	fclose(in);
	unlink(f.path);
	close_names(&f);
}

/* What cannot be written is told at the end, and does not stop anything. */
static void test_full_disk(void **state)
{
	struct ct_sample sample;
	struct fixture f;

	(void)state;
	open_faults(&f, "/dev/full");
	sample = make_sample(&f);
	for (int i = 0; i < 1000; i++)
		ct_faults__put(f.faults, &sample, &f.names);
	assert_int_equal(ct_faults__close(f.faults), -ENOSPC);
	close_names(&f);
	assert_null(ct_faults__open("/no/such/folder/file"));
	assert_int_equal(ct_faults__close(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
