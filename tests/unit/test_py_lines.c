/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_py_lines.c - line tables, strings and frames of made-up code objects in our own memory,
 * sound and hostile. tests/interpreters/probe.py compares with real ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heap/cpython/internal.h"
#include "heap/cpython/linetable.h"

#define ARENA_BYTES (4u << 20)

static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* --- line tables --------------------------------------------------------------------------- */
#define FIND(kind, first, offset, ...)                               \
	ct_py_linetable_find(kind, (const uint8_t[]){ __VA_ARGS__ }, \
			     sizeof((const uint8_t[]){ __VA_ARGS__ }), first, offset)

static void test_lnotab(void **state)
{
	(void)state;
	/* 6 bytes of line 10, 50 of line 12, then 300 lines on (2.7: 255 + 45) */
	assert_int_equal(FIND(CT_PY_LNOTAB_UNSIGNED, 10, 0, 6, 2, 50, 255, 0, 45), 10);
	assert_int_equal(FIND(CT_PY_LNOTAB_UNSIGNED, 10, 5, 6, 2, 50, 255, 0, 45), 10);
	assert_int_equal(FIND(CT_PY_LNOTAB_UNSIGNED, 10, 6, 6, 2, 50, 255, 0, 45), 12);
	assert_int_equal(FIND(CT_PY_LNOTAB_UNSIGNED, 10, 56, 6, 2, 50, 255, 0, 45), 312);
	/* 3.6 on: lines go back too; a last byte without its pair is left out */
	assert_int_equal(FIND(CT_PY_LNOTAB, 10, 6, 6, 2, 50, 253, 7), 12);
	assert_int_equal(FIND(CT_PY_LNOTAB, 10, 56, 6, 2, 50, 253, 7), 9);
	assert_int_equal(FIND(CT_PY_LNOTAB, 1, 9, 0, 128), 0);
	assert_int_equal(ct_py_linetable_find(CT_PY_LNOTAB, NULL, 0, 7, 4), 7);
}

static void test_lines_310(void **state)
{
	(void)state;
	/* 8 bytes of line 10, 4 of none, 6 of line 11, 2 of line 7 */
	assert_int_equal(FIND(CT_PY_LINES, 10, 0, 8, 0, 4, 128, 6, 1, 2, 252), 10);
	assert_int_equal(FIND(CT_PY_LINES, 10, 7, 8, 0, 4, 128, 6, 1, 2, 252), 10);
	assert_int_equal(FIND(CT_PY_LINES, 10, 8, 8, 0, 4, 128, 6, 1, 2, 252), 0);
	assert_int_equal(FIND(CT_PY_LINES, 10, 12, 8, 0, 4, 128, 6, 1, 2, 252), 11);
	assert_int_equal(FIND(CT_PY_LINES, 10, 18, 8, 0, 4, 128, 6, 1, 2, 252), 7);
	assert_int_equal(FIND(CT_PY_LINES, 10, 20, 8, 0, 4, 128, 6, 1, 2, 252), 0);
	assert_int_equal(FIND(CT_PY_LINES, 10, -1, 8, 0), 10);
}

static void test_locations(void **state)
{
	/* line 10: 1 unit, short form; 2 units, two lines on; none for 1; long: 70 on for 8 units;
	 * no column: 3 back for 1 */
	static const uint8_t table[] = { 0x80 | 0 << 3 | 0,
					 0x12,
					 0x80 | 12 << 3 | 1,
					 0x05,
					 0x09,
					 0x80 | 15 << 3 | 0,
					 0x80 | 14 << 3 | 7,
					 0x40 | (140 & 0x3f),
					 140 >> 6,
					 0,
					 1,
					 1,
					 0x80 | 13 << 3 | 0,
					 3 << 1 | 1 };

	(void)state;
#define AT(offset) ct_py_linetable_find(CT_PY_LOCATIONS, table, sizeof(table), 10, offset)
	assert_int_equal(AT(-1), 10);
	assert_int_equal(AT(0), 10);
	assert_int_equal(AT(1), 10);
	assert_int_equal(AT(2), 12);
	assert_int_equal(AT(5), 12);
	assert_int_equal(AT(6), 0);
	assert_int_equal(AT(8), 82);
	assert_int_equal(AT(22), 82);
	assert_int_equal(AT(24), 79);
	assert_int_equal(AT(26), 0);
#undef AT
}

/* Whatever a table holds: no crash, no hang, and with sanitizers nothing read beside it. */
static void test_hostile_tables(void **state)
{
	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t len = next_random() % 64;
		uint8_t *table = malloc(len ? len : 1);

		for (size_t i = 0; i < len; i++)
			table[i] = (uint8_t)next_random();
		for (int kind = CT_PY_LNOTAB_UNSIGNED; kind <= CT_PY_LOCATIONS; kind++)
			ct_py_linetable_find((enum ct_py_linetable)kind, table, len,
					     (int32_t)next_random(),
					     (int64_t)(next_random() % 5000) - 10);
		free(table);
	}
}

/* --- a target: our own memory ---------------------------------------------------------------- */
struct target {
	struct ct_python python;
	struct ct_py_lines *lines;
	uint8_t *arena;
	size_t used;
};

static ct_raddr_t place(struct target *t, const void *bytes, size_t len)
{
	void *at = t->arena + t->used;

	t->used += (len + 15) & ~(size_t)15;
	assert_true(t->used <= ARENA_BYTES);
	if (bytes)
		memcpy(at, bytes, len);
	return (ct_raddr_t)(uintptr_t)at;
}

static void put(ct_raddr_t at, const void *bytes, size_t len)
{
	memcpy((void *)(uintptr_t)at, bytes, len);
}

static void put_word(ct_raddr_t at, uint64_t word)
{
	put(at, &word, sizeof(word));
}

/* A type called @name; its own type is the type of types, at first itself. */
static ct_raddr_t make_type(struct target *t, const char *name)
{
	ct_raddr_t type = place(t, NULL, 416), text = place(t, name, strlen(name) + 1);

	put_word(type + 8, t->python.type_type ? t->python.type_type : type);
	put_word(type + 24, text);
	put_word(type + 168, 1ull << 31);
	return type;
}

static void open_target(struct target *t, uint32_t hexversion)
{
	*t = (struct target){ .lines = ct_py_lines__new() };
	t->arena =
		mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(t->arena != MAP_FAILED);
	t->python.source.memory = ct_remote__open(getpid());
	t->python.source.lines = ct_names__new();
	t->python.layout = *ct_py_layout_of(hexversion);
	t->python.type_type = make_type(t, "type");
}

static void close_target(struct target *t)
{
	ct_py_lines__free(t->lines);
	ct_names__free(t->python.source.lines);
	ct_remote__close(t->python.source.memory);
	munmap(t->arena, ARENA_BYTES);
}

/* A compact str of @count characters of @kind bytes. */
static ct_raddr_t make_str(struct target *t, const void *data, size_t count, uint32_t kind,
			   bool is_ascii)
{
	const struct ct_py_layout *layout = &t->python.layout;
	uint32_t str_state = kind << 2 | 1u << 5 | (is_ascii ? 1u << 6 : 0);
	uint32_t at = is_ascii ? layout->str_ascii_data : layout->str_compact_data;
	ct_raddr_t str = place(t, NULL, at + (count + 1) * kind);

	put_word(str + 16, count);
	put(str + layout->str_state, &str_state, sizeof(str_state));
	put(str + at, data, count * kind);
	return str;
}

static ct_raddr_t make_ascii(struct target *t, const char *text)
{
	return make_str(t, text, strlen(text), 1, true);
}

static ct_raddr_t make_bytes(struct target *t, const void *data, size_t len)
{
	ct_raddr_t bytes = place(t, NULL, t->python.layout.bytes_data + len + 1);

	put_word(bytes + 16, len);
	put(bytes + t->python.layout.bytes_data, data, len);
	return bytes;
}

/* 3.11 on: one line for 2 bytes, the next for 2. */
static ct_raddr_t make_code(struct target *t, ct_raddr_t type, ct_raddr_t file, ct_raddr_t name,
			    int32_t first)
{
	static const uint8_t table[] = { 0x80 | 10 << 3, 1, 2, 0x80 | 11 << 3, 1, 2 };
	const struct ct_py_layout *layout = &t->python.layout;
	ct_raddr_t code = place(t, NULL, 256);

	put_word(code + 8, type);
	put_word(code + layout->code_filename, file);
	put_word(code + layout->code_qualname, name);
	put_word(code + layout->code_lines, make_bytes(t, table, sizeof(table)));
	put(code + layout->code_first_line, &first, sizeof(first));
	return code;
}

/* What the target holds now: its memory is cached by pages. */
static bool read_str(struct target *t, ct_raddr_t str, char *text, size_t len)
{
	ct_remote__renew(t->python.source.memory);
	return ct_py_string(&t->python, str, text, len);
}

static void assert_str(struct target *t, ct_raddr_t str, const char *expected)
{
	char text[CT_PY_NAME];

	assert_true(read_str(t, str, text, sizeof(text)));
	assert_string_equal(text, expected);
}

static void test_strings(void **state)
{
	static const uint16_t two[] = { 'a', 0x436, 0x20ac };
	static const uint16_t escaped[] = { 'f', 0xdcff, 0xdc80 };
	static const uint16_t lone[] = { 0xd800 };
	static const uint32_t four[] = { 0x1f40d, 'x' };
	struct target t;

	(void)state;
	for (uint32_t hex = 0x030812f0;; hex = 0x030c01f0) {
		open_target(&t, hex);
		assert_str(&t, make_ascii(&t, "plain"), "plain");
		assert_str(&t, make_ascii(&t, ""), "");
		assert_str(&t, make_str(&t, "d\xe9j\xe0", 4, 1, false), "d\xc3\xa9j\xc3\xa0");
		assert_str(&t, make_str(&t, two, 3, 2, false), "a\xd0\xb6\xe2\x82\xac");
		assert_str(&t, make_str(&t, four, 2, 4, false), "\xf0\x9f\x90\x8dx");
		/* bytes of a file name that were no UTF-8 are themselves again */
		assert_str(&t, make_str(&t, escaped, 3, 2, false), "f\xff\x80");
		assert_str(&t, make_str(&t, lone, 1, 2, false), "\xed\xa0\x80");
		close_target(&t);
		if (hex == 0x030c01f0)
			return;
	}
}

static void test_long_strings(void **state)
{
	char long_text[1000], text[CT_PY_NAME];
	uint16_t wide[1000];
	struct target t;

	(void)state;
	open_target(&t, 0x030b02f0);
	memset(long_text, 'x', sizeof(long_text));
	assert_true(read_str(&t, make_str(&t, long_text, sizeof(long_text), 1, true), text,
			     sizeof(text)));
	assert_int_equal(strlen(text), CT_PY_NAME - 1);
	/* an odd number of bytes: the last character is left out whole */
	for (size_t i = 0; i < CT_ARRAY_SIZE(wide); i++)
		wide[i] = 0x436;
	assert_true(read_str(&t, make_str(&t, wide, CT_ARRAY_SIZE(wide), 2, false), text,
			     sizeof(text)));
	assert_int_equal(strlen(text), CT_PY_NAME - 2);
	close_target(&t);
}

static void test_hostile_strings(void **state)
{
	char text[CT_PY_NAME];
	struct target t;
	ct_raddr_t str;

	(void)state;
	open_target(&t, 0x030b02f0);
	assert_false(read_str(&t, 0, text, sizeof(text)));
	assert_false(read_str(&t, UINT64_MAX - 8, text, sizeof(text)));
	str = make_ascii(&t, "abc");
	put_word(str + 16, UINT64_MAX);
	assert_false(read_str(&t, str, text, sizeof(text)));
	put_word(str + 16, 1ull << 40);
	assert_false(read_str(&t, str, text, sizeof(text)));
	str = make_str(&t, "abcabcabc", 3, 3, false); /* no such kind */
	assert_false(read_str(&t, str, text, sizeof(text)));
	close_target(&t);
}

static void test_strings_27(void **state)
{
	char text[8];
	struct target t;

	(void)state;
	open_target(&t, 0x020712f0);
	assert_str(&t, make_bytes(&t, "function", 8), "function");
	assert_true(read_str(&t, make_bytes(&t, "function", 8), text, sizeof(text)));
	assert_string_equal(text, "functio");
	close_target(&t);
}

static bool find(struct target *t, ct_raddr_t code, int64_t offset, struct ct_source_line *line)
{
	struct ct_frame frame = {
		.code = code,
		.instruction = (code & ~7ull) + t->python.layout.code_bytes + (uint64_t)offset,
	};

	ct_remote__renew(t->python.source.memory);
	return ct_py_lines__find(t->lines, &t->python, &frame, line);
}

static void assert_line(struct target *t, ct_raddr_t code, int64_t offset, const char *file,
			const char *line_text)
{
	struct ct_names *names = t->python.source.lines;
	struct ct_source_line line;

	assert_true(find(t, code, offset, &line));
	assert_string_equal(ct_names__scope(names, line.line), file);
	assert_string_equal(ct_names__name(names, line.line), line_text);
	assert_string_equal(ct_names__scope(names, line.function), file);
	assert_string_equal(ct_names__name(names, line.function), strchr(line_text, ' ') + 1);
	assert_string_equal(ct_names__scope(names, line.module), "");
	assert_string_equal(ct_names__name(names, line.module), file);
}

static void test_frames(void **state)
{
	ct_raddr_t type, code;
	struct target t;

	(void)state;
	open_target(&t, 0x030e0af0);
	type = make_type(&t, "code");
	code = make_code(&t, type, make_ascii(&t, "/srv/app.py"), make_ascii(&t, "A.run"), 41);
	for (int round = 0; round < 3; round++) {
		assert_line(&t, code, 0, "/srv/app.py", "41 A.run");
		assert_line(&t, code, 2, "/srv/app.py", "42 A.run");
		assert_line(&t, code, 1000, "/srv/app.py", "0 A.run");
		assert_line(&t, code, -2, "/srv/app.py", "41 A.run");
		ct_py_lines__renew(t.lines);
	}
	/* tags of the stack reference, in case the kernel side left them */
	assert_line(&t, code | 1, 0, "/srv/app.py", "41 A.run");
	close_target(&t);
}

/* Another code object at the same address: seen after a renewal. */
static void test_renew(void **state)
{
	ct_raddr_t type, code, name;
	struct target t;

	(void)state;
	open_target(&t, 0x030d00f0);
	type = make_type(&t, "code");
	name = make_ascii(&t, "old");
	code = make_code(&t, type, make_ascii(&t, "a.py"), name, 1);
	assert_line(&t, code, 0, "a.py", "1 old");
	put(name + t.python.layout.str_ascii_data, "new", 3);
	assert_line(&t, code, 0, "a.py", "1 old");
	ct_py_lines__renew(t.lines);
	assert_line(&t, code, 0, "a.py", "1 new");
	assert_line(&t, code, 2, "a.py", "2 new");
	put_word(code + 8, t.python.type_type); /* no code object any more */
	ct_py_lines__renew(t.lines);
	assert_false(find(&t, code, 0, &(struct ct_source_line){ 0 }));
	close_target(&t);
}

static void test_hostile_code(void **state)
{
	ct_raddr_t type, code, file, name;
	struct ct_source_line line;
	struct target t;

	(void)state;
	open_target(&t, 0x030d00f0);
	type = make_type(&t, "code");
	file = make_ascii(&t, "a.py");
	name = make_ascii(&t, "f");
	assert_false(find(&t, 0, 0, &line));
	assert_false(find(&t, 8, 0, &line));
	assert_false(find(&t, UINT64_MAX - 7, 0, &line));
	code = make_code(&t, make_type(&t, "codex"), file, name, 1);
	assert_false(find(&t, code, 0, &line));
	code = make_code(&t, type, 0, name, 1);
	assert_false(find(&t, code, 0, &line));
	code = make_code(&t, type, file, 24, 1);
	assert_false(find(&t, code, 0, &line));
	assert_false(find(&t, code + 4, 0, &line));
	/* a table that is too long or of a length that makes no sense: no line, but a function */
	code = make_code(&t, type, file, name, 5);
	ct_remote__renew(t.python.source.memory);
	put_word(ct_python__word(&t.python, code + t.python.layout.code_lines) + 16, 2u << 20);
	assert_line(&t, code, 0, "a.py", "0 f");
	close_target(&t);
}

static void test_many_code_objects(void **state)
{
	ct_raddr_t type, first, code;
	char name[32];
	struct target t;

	(void)state;
	open_target(&t, 0x030d00f0);
	type = make_type(&t, "code");
	first = code = make_code(&t, type, make_ascii(&t, "a.py"), make_ascii(&t, "f0"), 1);
	for (int i = 1; i < 5000; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		code = make_code(&t, type, make_ascii(&t, "a.py"), make_ascii(&t, name), i);
		snprintf(name, sizeof(name), "%d f%d", i + 1, i);
		assert_line(&t, code, 2, "a.py", name);
	}
	assert_line(&t, first, 0, "a.py", "1 f0");
	close_target(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lnotab),		cmocka_unit_test(test_lines_310),
		cmocka_unit_test(test_locations),	cmocka_unit_test(test_hostile_tables),
		cmocka_unit_test(test_strings),		cmocka_unit_test(test_long_strings),
		cmocka_unit_test(test_hostile_strings), cmocka_unit_test(test_strings_27),
		cmocka_unit_test(test_frames),		cmocka_unit_test(test_renew),
		cmocka_unit_test(test_hostile_code),	cmocka_unit_test(test_many_code_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
