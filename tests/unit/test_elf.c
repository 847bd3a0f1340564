/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_elf.c - object files as tables of symbols: made-up tables, damaged files, every library of
 * this machine, and the machine's biggest ones against what nm says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <glob.h>
#include <gnu/libc-version.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "process/elf_file.h"
#include "process/symbols.h"

static void add(struct ct_elf_table *table, uint64_t value, uint64_t size, const char *name,
		uint32_t rank)
{
	assert_true(ct_elf_table__add(table, value, size, name, strlen(name), rank));
}

static void check(const struct ct_elf_table *table, uint64_t vaddr, const char *expected)
{
	const char *name = ct_elf_table__find(table, vaddr);

	assert_string_equal(name ? name : "-", expected);
}

static void fill(struct ct_elf_table *table, bool complete)
{
	static const struct ct_elf_section sections[] = { { 0x100, 0x200, true },
							  { 0x200, 0x300, true } };

	add(table, 0x100, 0x10, "first", 5);
	add(table, 0x104, 0, "label", 4); /* inside first */
	add(table, 0x110, 0, "unsized", 5);
	add(table, 0x110, 0, "__unsized", 5);
	add(table, 0x120, 0x80, "outer", 5);
	add(table, 0x130, 0x10, "inner", 5);
	add(table, 0x138, 0x4, "innermost", 3);
	add(table, 0x1b0, 0x10, "weak", 1);
	add(table, 0x1b0, 0x10, "global", 5);
	add(table, 0x1b0, 0x10, "_global", 5);
	add(table, 0x1b0, 0x8, "local", 3);
	add(table, 0x1f0, 0, "last", 5); /* to the end of its section */
	add(table, UINT64_MAX - 1, UINT64_MAX, "wrapping", 5);
	ct_elf_table__finish(table, sections, 2, complete);
}

static void test_table(void **state)
{
	struct ct_elf_table table = { 0 };

	(void)state;
	check(&table, 0x100, "-");
	fill(&table, true);
	check(&table, 0, "-");
	check(&table, 0xff, "-");
	check(&table, 0x100, "first");
	check(&table, 0x104, "first");
	check(&table, 0x10f, "first");
	check(&table, 0x110, "unsized");
	check(&table, 0x11f, "unsized");
	check(&table, 0x120, "outer");
	check(&table, 0x130, "inner");
	check(&table, 0x138, "innermost");
	check(&table, 0x13b, "innermost");
	check(&table, 0x13c, "inner");
	check(&table, 0x140, "outer");
	check(&table, 0x1b0, "global");
	check(&table, 0x1bf, "global");
	check(&table, 0x1c0, "-");
	check(&table, 0x1ff, "last");
	check(&table, 0x200, "-");
	check(&table, UINT64_MAX - 1, "wrapping");
	check(&table, UINT64_MAX, "-");
	ct_elf_table__free(&table);
	fill(&table, false); /* not all functions are known: no guess where one ends */
	check(&table, 0x110, "-");
	check(&table, 0x1ff, "-");
	check(&table, 0x104, "first");
	check(&table, 0x13c, "inner");
	ct_elf_table__free(&table);
}

/** Against the plain definition: the symbol that starts last of those around the address. */
static void test_table_random(void **state)
{
	unsigned int seed = 3;

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct {
			uint64_t value, end;
		} symbols[40];
		struct ct_elf_table table = { 0 };

		for (int i = 0; i < 40; i++) {
			char name[16];

			symbols[i].value = (uint64_t)(rand_r(&seed) % 1000) * 40 + (uint64_t)i;
			symbols[i].end = symbols[i].value + 1 + (uint64_t)(rand_r(&seed) % 8000);
			snprintf(name, sizeof(name), "%d", i);
			add(&table, symbols[i].value, symbols[i].end - symbols[i].value, name, 0);
		}
		ct_elf_table__finish(&table, NULL, 0, false);
		for (uint64_t vaddr = 0; vaddr < 48000; vaddr += 97) {
			char expected[16] = "-";
			uint64_t best = 0;

			for (int i = 0; i < 40; i++) {
				if (vaddr < symbols[i].value || vaddr >= symbols[i].end ||
				    (best && symbols[i].value < best))
					continue;
				best = symbols[i].value;
				snprintf(expected, sizeof(expected), "%d", i);
			}
			check(&table, vaddr, expected);
		}
		ct_elf_table__free(&table);
	}
}

static int memory_file(const void *bytes, size_t len)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	return fd;
}

/** Read, finish and ask: whatever the file is, nothing may crash. Return: whether it was ELF. */
static bool exercise(int fd)
{
	struct ct_elf *elf = ct_elf__read(fd);

	if (!elf)
		return false;
	ct_elf__merge(elf, fd, false);
	ct_elf__finish(elf);
	for (size_t i = 0; i < elf->segment_count; i++) {
		const struct ct_elf_segment *s = &elf->segments[i];

		ct_elf__segment_of(elf, s->offset, s->writable, s->executable);
		for (uint64_t at = 0; at < 64; at++) {
			ct_elf_table__find(&elf->code, s->vaddr + s->memory_len / 64 * at);
			ct_elf_table__find(&elf->data, s->vaddr + s->memory_len / 64 * at);
		}
	}
	ct_elf__free(elf);
	return true;
}

/** This program's own file, cut and damaged, mostly in its headers. */
static void test_damaged(void **state)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	unsigned int seed = 11, sound = 0;
	unsigned char *original, *copy;
	struct stat st;
	size_t len;

	(void)state;
	assert_int_equal(fstat(fd, &st), 0);
	len = (size_t)st.st_size;
	original = malloc(len);
	copy = malloc(len);
	assert_int_equal(read(fd, original, len), len);
	close(fd);
	for (int round = 0; round < 400; round++) {
		size_t headers = len - 64 * 40; /* the section headers end the file */
		size_t cut = round % 4 ? len : (size_t)rand_r(&seed) % (len + 1);

		memcpy(copy, original, len);
		for (int n = round ? rand_r(&seed) % 6 : 0; n; n--) {
			size_t where = (size_t)rand_r(&seed);

			where = n % 3 == 0   ? where % 1024
				: n % 3 == 1 ? headers + where % 2560
					     : where % len;
			copy[where] = (unsigned char)(rand_r(&seed) % 3 ? rand_r(&seed) : 0xff);
		}
		fd = memory_file(copy, cut);
		sound += exercise(fd);
		close(fd);
	}
	assert_true(sound > 50); /* else the damage would never get past the first header */
	fd = memory_file("\177ELF", 4);
	assert_false(exercise(fd));
	close(fd);
	fd = memory_file("", 0);
	assert_false(exercise(fd));
	close(fd);
	fd = open("/dev/null", O_RDONLY);
	assert_false(exercise(fd));
	close(fd);
	free(original);
	free(copy);
}

/** The file of the library that holds @function. */
static void library_of(const void *function, char *path)
{
	Dl_info info;

	assert_true(dladdr(function, &info));
	assert_non_null(realpath(info.dli_fname, path));
}

/** Every library of this machine is read without a crash. */
static void test_every_library(void **state)
{
	char pattern[PATH_MAX + 16], path[PATH_MAX];
	size_t files = 0, sound = 0;
	glob_t found;

	(void)state;
	library_of((const void *)(uintptr_t)gnu_get_libc_version, path);
	*strrchr(path, '/') = '\0';
	snprintf(pattern, sizeof(pattern), "%s/*.so*", path);
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct stat st;
		int fd;

		if (lstat(found.gl_pathv[i], &st) || !S_ISREG(st.st_mode))
			continue;
		fd = open(found.gl_pathv[i], O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		files++;
		sound += exercise(fd);
		close(fd);
	}
	print_message("%zu files, %zu of them ELF\n", files, sound);
	assert_true(sound > 10);
	globfree(&found);
}

struct nm_symbol {
	uint64_t value, end;
	char name[120];
};

struct nm_list {
	struct nm_symbol *list;
	size_t count;
};

/** Add the functions that nm prints for a file. */
static void nm_add(struct nm_list *nm, const char *options, const char *path)
{
	char command[PATH_MAX + 128], line[1024];
	FILE *out;

	snprintf(command, sizeof(command), "nm %s -S --defined-only '%s' 2>/dev/null", options,
		 path);
	out = popen(command, "r");
	while (fgets(line, sizeof(line), out)) {
		unsigned long long value, size;
		struct nm_symbol *s;
		char type, name[512];

		if (sscanf(line, "%llx %llx %c %511s", &value, &size, &type, name) != 4) {
			size = 0;
			if (sscanf(line, "%llx %c %511s", &value, &type, name) != 3)
				continue;
		}
		if (!strchr("tTwWi", type) || strlen(name) >= sizeof(s->name))
			continue;
		if (!(nm->count & (nm->count - 1)))
			nm->list = realloc(nm->list, (nm->count * 2 + 1) * sizeof(*nm->list));
		s = &nm->list[nm->count++];
		*s = (struct nm_symbol){ .value = value, .end = value + size };
		strcpy(s->name, name);
		if (strchr(name + 1, '@'))
			*strchr(s->name + 1, '@') = '\0';
	}
	pclose(out);
}

static void nm_add_debug(struct nm_list *nm, const struct ct_elf *elf)
{
	char path[256];
	int len = snprintf(path, sizeof(path), "/usr/lib/debug/.build-id/%02x/", elf->build_id[0]);

	for (size_t i = 1; i < elf->build_id_len; i++)
		len += snprintf(path + len, sizeof(path) - (size_t)len, "%02x", elf->build_id[i]);
	strcat(path, ".debug");
	nm_add(nm, "", path);
}

/** Whether nm too has @name around @vaddr; or, for a symbol without a size, before it. */
static bool nm_agrees(const struct nm_list *nm, uint64_t vaddr, const char *name)
{
	for (size_t i = 0; i < nm->count; i++) {
		const struct nm_symbol *s = &nm->list[i];

		if (vaddr >= s->value && (vaddr < s->end || s->end == s->value) &&
		    !strcmp(s->name, name))
			return true;
	}
	return false;
}

static bool nm_covers(const struct nm_list *nm, uint64_t vaddr)
{
	for (size_t i = 0; i < nm->count; i++)
		if (vaddr >= nm->list[i].value && vaddr < nm->list[i].end)
			return true;
	return false;
}

#define BASE 0x7f1234500000ull

/** Maps of a process that has the code of @path at BASE. */
static struct ct_maps *maps_of(const char *path, const struct ct_elf *elf, uint64_t *start,
			       uint64_t *len)
{
	char text[PATH_MAX + 256];
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	for (size_t i = 0; i < elf->segment_count; i++) {
		const struct ct_elf_segment *s = &elf->segments[i];
		uint64_t slack = s->offset & 4095;

		if (!s->executable)
			continue;
		*start = s->vaddr;
		*len = s->file_len;
		snprintf(text, sizeof(text), "%llx-%llx r-xp %llx %x:%x %llu %s\n",
			 (unsigned long long)(BASE + s->vaddr - slack),
			 (unsigned long long)(BASE +
					      ((s->vaddr + s->file_len + 4095) & CT_PAGE_MASK)),
			 (unsigned long long)(s->offset - slack), major(st.st_dev),
			 minor(st.st_dev), (unsigned long long)st.st_ino, path);
		return ct_maps__parse(text, strlen(text), getpid());
	}
	fail_msg("%s has no code", path);
	return NULL;
}

/** 1,000 random addresses in functions that nm knows, and 1,000 anywhere in the code. */
static void compare_with_nm(const char *path)
{
	const char *object = strrchr(path, '/') + 1;
	struct ct_names *names = ct_names__new();
	struct ct_symbols *symbols = ct_symbols__new(names);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct ct_elf *elf = ct_elf__read(fd);
	unsigned int seed = 5, unnamed = 0;
	struct nm_list nm = { 0 };
	uint64_t start = 0, len = 0;
	struct ct_maps *maps = maps_of(path, elf, &start, &len);

	close(fd);
	nm_add(&nm, "", path);
	nm_add(&nm, "-D", path);
	nm_add_debug(&nm, elf);
	assert_true(nm.count > 20);
	for (int i = 0; i < 2000; i++) {
		const struct nm_symbol *s = &nm.list[(size_t)rand_r(&seed) % nm.count];
		uint64_t vaddr = start + (uint64_t)rand_r(&seed) % len;
		const char *name;
		char plain[320];

		if (i < 1000 && s->end == s->value)
			continue;
		if (i < 1000)
			vaddr = s->value + (uint64_t)rand_r(&seed) % (s->end - s->value);
		name = ct_names__name(names, ct_symbols__writer(symbols, maps, BASE + vaddr));
		snprintf(plain, sizeof(plain), "%s+0x%llx", object, (unsigned long long)vaddr);
		if (!strcmp(name, plain)) {
			unnamed++;
			assert_false(nm_covers(&nm, vaddr));
		} else if (!nm_agrees(&nm, vaddr, name)) {
			fail_msg("%s: 0x%llx is not in %s", path, (unsigned long long)vaddr, name);
		}
	}
	print_message("%s: nm lists %zu functions; of 2,000 addresses %u are in none\n", object,
		      nm.count, unnamed);
	free(nm.list);
	ct_elf__free(elf);
	ct_maps__put(maps);
	ct_symbols__free(symbols);
	ct_names__free(names);
}

static void test_libc_against_nm(void **state)
{
	char path[PATH_MAX];

	(void)state;
	library_of((const void *)(uintptr_t)gnu_get_libc_version, path);
	compare_with_nm(path);
}

static void test_libpython_against_nm(void **state)
{
	char pattern[PATH_MAX + 32], path[PATH_MAX];
	glob_t found;

	(void)state;
	library_of((const void *)(uintptr_t)gnu_get_libc_version, path);
	*strrchr(path, '/') = '\0';
	snprintf(pattern, sizeof(pattern), "%s/libpython3.*.so.1.0", path);
	if (glob(pattern, 0, NULL, &found)) {
		print_message("skipped: no libpython3 here\n");
		skip();
	}
	compare_with_nm(found.gl_pathv[0]);
	globfree(&found);
}

static void test_own_program_against_nm(void **state)
{
	char path[PATH_MAX];

	(void)state;
	assert_non_null(realpath("/proc/self/exe", path));
	compare_with_nm(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_table_random),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_every_library),
		cmocka_unit_test(test_libc_against_nm),
		cmocka_unit_test(test_libpython_against_nm),
		cmocka_unit_test(test_own_program_against_nm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
