/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_maps.c - /proc/PID/maps texts, made up and real, against the list of mappings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/maps.h"

static struct ct_maps *parse(const char *text)
{
	struct ct_maps *maps = ct_maps__parse(text, strlen(text), 42);

	assert_non_null(maps);
	assert_int_equal(maps->pid, 42);
	return maps;
}

static const char layout[] =
	"55d104a67000-55d104a69000 r--p 00000000 fe:01 247498                     /usr/bin/prog\n"
	"55d104a69000-55d104a6f000 r-xp 00002000 fe:01 247498                     /usr/bin/prog\n"
	"55d104a72000-55d104a73000 r--p 0000a000 fe:01 247498                     /usr/bin/prog\n"
	"55d104a73000-55d104a74000 rw-p 0000b000 fe:01 247498                     /usr/bin/prog\n"
	"55d104a74000-55d104a80000 rw-p 00000000 00:00 0 \n"
	"55d13abd4000-55d13abf5000 rw-p 00000000 00:00 0                          [heap]\n"
	"7f65cf123000-7f65cf124000 r--p 00000000 fe:00 247498                     /data/other dev\n"
	"7f65cf125000-7f65cf128000 rw-p 00000000 00:00 0 \n"
	"7f65cf128000-7f65cf129000 rw-p 00000000 00:00 0          [anon:a name]\n"
	"7f65cf129000-7f65cf12a000 rw-s 00000000 00:01 77         /dev/zero (deleted)\n"
	"7f65cf12a000-7f65cf12b000 rw-p 00000000 00:06 5          /dev/zero\n"
	"7f65cf12b000-7f65cf12c000 rw-s 00000000 00:01 32769      /SYSV00000000 (deleted)\n"
	"7f65cf12c000-7f65cf12d000 rw-p 00000000 00:01 99         /memfd:my fd (deleted)\n"
	"7f65cf200000-7f65cf400000 rw-p 00000000 00:0f 12         /anon_hugepage (deleted)\n"
	"7f65cf400000-7f65cf401000 rw-p 00001000 fe:00 9          /tmp/a\\012b (deleted)\n"
	"7ffc0a000000-7ffc0a021000 rw-p 00000000 00:00 0          [stack]\n"
	"7ffc0a100000-7ffc0a102000 r-xp 00000000 00:00 0          [vdso]\n"
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]\n";

static void test_layout(void **state)
{
	static const struct {
		enum ct_mapping_kind kind;
		uint32_t module;
		const char *path, *object;
	} expected[] = {
		{ CT_MAPPING_FILE, 0, "/usr/bin/prog", "prog" },
		{ CT_MAPPING_FILE, 0, "/usr/bin/prog", "prog" },
		{ CT_MAPPING_FILE, 0, "/usr/bin/prog", "prog" },
		{ CT_MAPPING_FILE, 0, "/usr/bin/prog", "prog" },
		{ CT_MAPPING_BSS, 0, "", "prog" },
		{ CT_MAPPING_HEAP, 5, "[heap]", "[heap]" },
		{ CT_MAPPING_FILE, 6, "/data/other dev", "other dev" },
		{ CT_MAPPING_ANON, 7, "", "" },
		{ CT_MAPPING_ANON, 8, "[anon:a name]", "[anon:a name]" },
		{ CT_MAPPING_SHARED, 9, "/dev/zero", "zero" },
		{ CT_MAPPING_ANON, 10, "/dev/zero", "zero" },
		{ CT_MAPPING_SHARED, 11, "/SYSV00000000", "SYSV00000000" },
		{ CT_MAPPING_FILE, 12, "/memfd:my fd", "memfd:my fd" },
		{ CT_MAPPING_ANON, 13, "/anon_hugepage", "anon_hugepage" },
		{ CT_MAPPING_FILE, 14, "/tmp/a\nb", "a\nb" },
		{ CT_MAPPING_STACK, 15, "[stack]", "[stack]" },
		{ CT_MAPPING_SPECIAL, 16, "[vdso]", "[vdso]" },
		{ CT_MAPPING_SPECIAL, 17, "[vsyscall]", "[vsyscall]" },
	};
	struct ct_maps *maps = parse(layout);

	(void)state;
	assert_int_equal(maps->count, CT_ARRAY_SIZE(expected));
	for (size_t i = 0; i < maps->count; i++) {
		assert_int_equal(maps->list[i].kind, expected[i].kind);
		assert_int_equal(maps->list[i].module, expected[i].module);
		assert_string_equal(maps->list[i].path, expected[i].path);
		assert_string_equal(maps->list[i].object, expected[i].object);
	}
	assert_int_equal(maps->list[1].start, 0x55d104a69000);
	assert_int_equal(maps->list[1].end, 0x55d104a6f000);
	assert_int_equal(maps->list[1].offset, 0x2000);
	assert_int_equal(maps->list[1].inode, 247498);
	assert_int_equal(maps->list[1].device, makedev(0xfe, 1));
	assert_true(maps->list[1].executable && maps->list[1].readable);
	assert_false(maps->list[1].writable || maps->list[1].shared || maps->list[1].deleted);
	assert_true(maps->list[14].deleted && maps->list[9].shared);
	ct_maps__put(maps);
}

static void test_find(void **state)
{
	struct ct_maps *maps = parse(layout);

	(void)state;
	for (size_t i = 0; i < maps->count; i++) {
		const struct ct_mapping *m = &maps->list[i];

		assert_ptr_equal(ct_maps__find(maps, m->start), m);
		assert_ptr_equal(ct_maps__find(maps, m->end - 1), m);
		if (i + 1 == maps->count || maps->list[i + 1].start != m->end)
			assert_null(ct_maps__find(maps, m->end));
	}
	assert_null(ct_maps__find(maps, 0));
	assert_null(ct_maps__find(maps, UINT64_MAX));
	ct_maps__put(maps);
}

/** Lines that are no mapping cost themselves only. */
static void test_garbage(void **state)
{
	static const char *const bad[] = {
		"",
		"-",
		"1000",
		"1000-",
		"1000-2000",
		"1000-2000 r",
		"1000-2000 rw-p",
		"1000-2000 rw-p 0",
		"1000-2000 rw-p 0 00:00",
		"1000-2000 rw-p 0 00:00 ",
		"2000-1000 rw-p 0 00:00 0",
		"1000-1000 rw-p 0 00:00 0",
		"1000-2000 rwzp 0 00:00 0",
		"1000-2000 rw-p 0 00:00 12x /a",
		"10000000000000000-20000000000000000 rw-p 0 00:00 0",
		"1000-2000 rw-p 0 00:00 99999999999999999999999",
		"1000-2000 rw-p 0 fffffffff:00 1",
		"+1000-2000 rw-p 0 00:00 0",
		" 1000-2000 rw-p 0 00:00 0",
		"Permission denied",
	};
	static const char nuls[] = "1000-2000 \0\0\0p 0 00:00 0\n3000-4000 r--p 0 0:0 0\n";
	struct ct_maps *maps;
	char text[512];

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "%s\n5000-6000 rw-p 0 00:00 0\n%s", bad[i], bad[i]);
		maps = parse(text);
		assert_int_equal(maps->count, 1);
		assert_int_equal(maps->list[0].start, 0x5000);
		ct_maps__put(maps);
	}
	maps = ct_maps__parse(nuls, sizeof(nuls), 1);
	assert_int_equal(maps->count, 1);
	ct_maps__put(maps);
	maps = ct_maps__parse(NULL, 0, 1);
	assert_int_equal(maps->count, 0);
	assert_null(ct_maps__find(maps, 0x1000));
	ct_maps__put(maps);
}

/** Cut anywhere and damaged anywhere, a text still gives a sorted list without overlaps. */
static void test_cut_and_damaged(void **state)
{
	char text[sizeof(layout)];
	unsigned int seed = 1;

	(void)state;
	for (size_t cut = 0; cut < sizeof(layout) + 3000; cut++) {
		size_t len = cut < sizeof(layout) ? cut : sizeof(layout) - 1;
		struct ct_maps *maps;

		memcpy(text, layout, sizeof(text));
		for (int n = 0; cut >= sizeof(layout) && n < 20; n++)
			text[(size_t)rand_r(&seed) % len] =
				"0123456789abcdef -:\nrwxps/["[(size_t)rand_r(&seed) % 27];
		maps = ct_maps__parse(text, len, 1);
		assert_non_null(maps);
		for (size_t i = 0; i < maps->count; i++) {
			assert_true(maps->list[i].start < maps->list[i].end);
			assert_true(!i || maps->list[i - 1].end <= maps->list[i].start);
			assert_true(maps->list[i].module <= i);
		}
		ct_maps__put(maps);
	}
}

static void test_order_and_overlap(void **state)
{
	struct ct_maps *maps = parse("5000-7000 rw-p 00000000 00:00 0\n"
				     "1000-3000 r--p 00000000 08:01 7 /f\n"
				     "2000-5000 r--p 00001000 08:01 7 /f\n"
				     "2000-2800 r--p 00001000 08:01 7 /f\n"
				     "9000-a000 r--p 00001000 08:01 7 /f");

	(void)state;
	assert_int_equal(maps->count, 4);
	assert_int_equal(maps->list[0].start, 0x1000);
	assert_int_equal(maps->list[1].start, 0x3000);
	assert_int_equal(maps->list[1].offset, 0x2000);
	assert_int_equal(maps->list[2].start, 0x5000);
	assert_int_equal(maps->list[3].module, 0);
	assert_int_equal(maps->list[3].end, 0xa000);
	ct_maps__put(maps);
}

/** Only anonymous read-write memory with no gap behind a module's writable data is its .bss. */
static void test_bss(void **state)
{
	static const struct {
		const char *text;
		enum ct_mapping_kind kind;
	} cases[] = {
		{ "1000-2000 rw-p 0 8:1 7 /f\n2000-3000 rw-p 0 0:0 0\n", CT_MAPPING_BSS },
		{ "1000-2000 rw-p 0 8:1 7 /f\n2000-3000 rwxp 0 0:0 0\n", CT_MAPPING_BSS },
		{ "1000-2000 rw-p 0 8:1 7 /f\n2000-3000 rw-p 0 0:0 0 [anon:.bss]\n",
		  CT_MAPPING_BSS },
		{ "1000-2000 rw-p 0 8:1 7 /f\n2000-3000 rw-p 0 0:0 0 [anon:x]\n", CT_MAPPING_ANON },
		{ "1000-2000 rw-p 0 8:1 7 /f\n2000-3000 rw-p 0 0:0 0 [heap]\n", CT_MAPPING_HEAP },
		{ "1000-2000 rw-p 0 8:1 7 /f\n3000-4000 rw-p 0 0:0 0\n", CT_MAPPING_ANON },
		{ "1000-2000 r--p 0 8:1 7 /f\n2000-3000 rw-p 0 0:0 0\n", CT_MAPPING_ANON },
		{ "1000-2000 rw-s 0 8:1 7 /f\n2000-3000 rw-p 0 0:0 0\n", CT_MAPPING_ANON },
		{ "1000-2000 rw-p 0 8:1 7 /f\n2000-3000 r--p 0 0:0 0\n", CT_MAPPING_ANON },
		{ "1000-2000 rw-p 0 0:0 0\n2000-3000 rw-p 0 0:0 0\n", CT_MAPPING_ANON },
	};

	(void)state;
	for (size_t i = 0; i < CT_ARRAY_SIZE(cases); i++) {
		struct ct_maps *maps = parse(cases[i].text);

		assert_int_equal(maps->count, 2);
		assert_int_equal(maps->list[1].kind, cases[i].kind);
		assert_int_equal(maps->list[1].module, cases[i].kind == CT_MAPPING_BSS ? 0 : 1);
		if (cases[i].kind == CT_MAPPING_BSS)
			assert_string_equal(maps->list[1].object, "f");
		ct_maps__put(maps);
	}
}

/** A real text of many times the kernel's buffer is read whole: every one of 8,000 mappings. */
static void test_read_large(void **state)
{
	enum { PAGES = 8000 };
	char *area = mmap(NULL, PAGES * CT_PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct ct_maps *maps;

	(void)state;
	assert_ptr_not_equal(area, MAP_FAILED);
	for (size_t i = 0; i < PAGES; i += 2)
		assert_int_equal(mprotect(area + i * CT_PAGE_SIZE, CT_PAGE_SIZE, PROT_READ), 0);
	maps = ct_maps__read(getpid());
	assert_non_null(maps);
	assert_true(maps->count >= PAGES); /* of 50 bytes and more each */
	for (size_t i = 1; i + 1 < PAGES; i++) {
		ct_raddr_t at = (ct_raddr_t)(uintptr_t)area + i * CT_PAGE_SIZE;
		const struct ct_mapping *m = ct_maps__find(maps, at + 100);

		assert_non_null(m);
		assert_int_equal(m->start, at);
		assert_int_equal(m->end, at + CT_PAGE_SIZE);
		assert_int_equal(m->writable, i % 2);
	}
	ct_maps__put(maps);
	munmap(area, PAGES * CT_PAGE_SIZE);
}

static char initialised[3 * 4096] = "data";
static char zeroed[64 * 4096];

static void test_read_self(void **state)
{
	struct ct_maps *maps = ct_maps__read(getpid());
	const struct ct_mapping *m;

	(void)state;
	assert_non_null(maps);
	assert_int_equal(maps->references, 1);
	/* not of a local variable: ASan may keep those elsewhere */
	m = ct_maps__find(maps, (ct_raddr_t)(uintptr_t)__builtin_frame_address(0));
	assert_int_equal(m->kind, CT_MAPPING_STACK);
	m = ct_maps__find(maps, (ct_raddr_t)(uintptr_t)test_read_self);
	assert_true(m->executable && m->kind == CT_MAPPING_FILE);
	assert_string_equal(m->object, program_invocation_short_name);
	m = ct_maps__find(maps, (ct_raddr_t)(uintptr_t)&initialised[4096]);
	assert_int_equal(m->kind, CT_MAPPING_FILE);
	m = ct_maps__find(maps, (ct_raddr_t)(uintptr_t)&zeroed[32 * 4096]);
	assert_int_equal(m->kind, CT_MAPPING_BSS);
	assert_string_equal(m->object, program_invocation_short_name);
	assert_ptr_equal(ct_maps__get(maps), maps);
	ct_maps__put(maps);
	assert_int_equal(maps->references, 1);
	ct_maps__put(maps);
}

static void test_read_gone(void **state)
{
	pid_t pid = fork();
	siginfo_t info;
	struct ct_maps *maps;

	(void)state;
	if (!pid)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	maps = ct_maps__read(pid); /* a zombie */
	assert_non_null(maps);
	assert_int_equal(maps->count, 0);
	ct_maps__put(maps);
	waitpid(pid, NULL, 0);
	assert_null(ct_maps__read(pid));
	assert_int_equal(errno, ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_cut_and_damaged),
		cmocka_unit_test(test_order_and_overlap),
		cmocka_unit_test(test_bss),
		cmocka_unit_test(test_read_large),
		cmocka_unit_test(test_read_self),
		cmocka_unit_test(test_read_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
