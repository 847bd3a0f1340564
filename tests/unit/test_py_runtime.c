/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_py_runtime.c - files asked for symbols by name, sound and broken; the machine's own python3
 * found in a process, and refused when it says to be a version that nobody knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <libelf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap/cpython/internal.h"

#define PYTHON "/usr/bin/python3"

static int marker = 4711;

static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* The headers of the file that @address is in. */
static const struct ct_mapping *headers_of(const struct ct_maps *maps, const void *address)
{
	const struct ct_mapping *m = ct_maps__find(maps, (ct_raddr_t)(uintptr_t)address);

	return m ? &maps->list[m->module] : NULL;
}

static void test_exported(void **state)
{
	struct ct_maps *maps = ct_maps__read(getpid());
	struct ct_py_symbol symbol;
	struct ct_py_module module;

	(void)state;
	assert_true(ct_py_module__open(&module, maps, headers_of(maps, (void *)elf_version)));
	assert_false(module.is_32bit);
	assert_true(ct_py_module__exported(&module, "elf_version", &symbol));
	assert_int_equal(symbol.vaddr + module.bias, (uintptr_t)dlsym(RTLD_DEFAULT, "elf_version"));
	assert_true(symbol.size > 0);
	assert_true(ct_py_module__exported(&module, "elf_begin", &symbol));
	assert_int_equal(symbol.vaddr + module.bias, (uintptr_t)dlsym(RTLD_DEFAULT, "elf_begin"));
	/* not there; only used there; part of another's name */
	assert_false(ct_py_module__exported(&module, "_PyRuntime", &symbol));
	assert_false(ct_py_module__exported(&module, "malloc", &symbol));
	assert_false(ct_py_module__exported(&module, "elf_begi", &symbol));
	assert_true(ct_py_module__section(&module, ".text", &symbol));
	assert_true(symbol.size > 0);
	assert_false(ct_py_module__section(&module, ".PyRuntime", &symbol));
	ct_py_module__close(&module);
	ct_maps__put(maps);
}

static void test_symtab(void **state)
{
	struct ct_py_wanted wanted[] = {
		{ .name = "marker", .source = "another.c" },
		{ .name = "marker", .source = "test_py_runtime.c" },
		{ .name = "there is no such name" },
	};
	struct ct_maps *maps = ct_maps__read(getpid());
	struct ct_py_module module;

	(void)state;
	assert_true(ct_py_module__open(&module, maps, headers_of(maps, &marker)));
	assert_true(module.is_program);
	assert_int_equal(ct_py_module__symtab(&module, wanted, CT_ARRAY_SIZE(wanted)), 1);
	assert_true(!wanted[0].found && wanted[1].found && !wanted[2].found);
	assert_int_equal(wanted[1].symbol.vaddr + module.bias, (uintptr_t)&marker);
	assert_int_equal(wanted[1].symbol.size, sizeof(marker));
	ct_py_module__close(&module);
	ct_maps__put(maps);
}

/* All of a file, at most 1 MiB. Free with free. */
static uint8_t *read_file(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *bytes = malloc(1u << 20);
	ssize_t n;

	assert_non_null(bytes);
	assert_true(fd >= 0);
	n = pread(fd, bytes, 1u << 20, 0);
	assert_true(n > 0);
	close(fd);
	*len = (size_t)n;
	return bytes;
}

/* Ask a broken file all there is to ask: it may answer what it likes, but it must answer. */
static void ask_all(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	struct ct_py_wanted wanted[] = { { .name = "_PyRuntime" }, { .name = "collecting" } };
	struct ct_maps *maps = ct_maps__read(getpid());
	struct ct_py_debug_head head;
	struct ct_py_module module;
	struct ct_py_symbol symbol = { 0 };

	assert_true(mapped != MAP_FAILED);
	if (ct_py_module__open(&module, maps, headers_of(maps, mapped)) && !module.is_32bit) {
		ct_py_module__exported(&module, "elf_version", &symbol);
		ct_py_module__exported(&module, "_PyRuntime", &symbol);
		ct_py_module__section(&module, ".PyRuntime", &symbol);
		ct_py_module__symtab(&module, wanted, CT_ARRAY_SIZE(wanted));
		ct_py_version_of_file(&module, true);
		ct_py_debug_head(&module, symbol.vaddr, &head);
	}
	ct_py_module__close(&module);
	ct_maps__put(maps);
	munmap(mapped, 4096);
	close(fd);
}

static void test_broken_files(void **state)
{
	struct ct_maps *maps = ct_maps__read(getpid());
	char path[] = "/tmp/test_py_runtime-XXXXXX";
	int fd = mkstemp(path);
	uint8_t *sound, *broken;
	size_t len;

	(void)state;
	assert_true(fd >= 0);
	sound = read_file(headers_of(maps, (void *)elf_version)->path, &len);
	broken = malloc(len);
	for (int round = 0; round < 300; round++) {
		size_t cut = round % 3 ? len : 4096 + next_random() % (len - 4096);

		memcpy(broken, sound, len);
		/* most of what leads elsewhere is in the first pages and the last */
		for (int i = 0; i < 40; i++) {
			size_t at = next_random() % (i % 2 ? 1024 : len);

			at = i % 5 ? at : len - 1 - next_random() % 2048;
			if (at >= 16) /* the magic stays */
				broken[at] = (uint8_t)next_random();
		}
		assert_int_equal(pwrite(fd, broken, cut, 0), (ssize_t)cut);
		assert_int_equal(ftruncate(fd, (off_t)cut), 0);
		ask_all(path);
	}
	unlink(path);
	close(fd);
	free(broken);
	free(sound);
	ct_maps__put(maps);
}

/* --- processes ---------------------------------------------------------------------------------
 */

/* @program with Python that says it is there, then waits. */
static pid_t start(const char *program, char *said, size_t len)
{
	static const char script[] =
		"import sys, time\n"
		"print(sys.version.split()[0].rstrip('+'), id(type), flush=True)\n"
		"time.sleep(60)\n";
	int ends[2];
	size_t at = 0;
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(ends[1], 1);
		/* what a sanitizer needs of its library's order is none of its business */
		unsetenv("LD_PRELOAD");
		execl(program, PYTHON, "-SIc", script, (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	while (at + 1 < len && read(ends[0], said + at, 1) == 1 && said[at] != '\n')
		at++;
	said[at] = '\0';
	close(ends[0]);
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static bool find(pid_t pid, struct ct_python *python, const char **why, char *text, size_t len)
{
	struct ct_heap_source source = { .maps = ct_maps__read(pid),
					 .memory = ct_remote__open(pid) };
	bool found;

	assert_non_null(source.maps);
	assert_non_null(source.memory);
	found = ct_python__find(python, &source, why, text, len);
	ct_remote__close(source.memory);
	ct_maps__put(source.maps);
	return found;
}

static void test_no_python(void **state)
{
	struct ct_python python;
	const char *why = NULL;
	char text[128];

	(void)state;
	assert_false(find(getpid(), &python, &why, text, sizeof(text)));
	assert_string_equal(why, "no CPython in it");
}

/* Mapped into ourselves, a file of that name that starts with these bytes. */
static const char *why_of_file(const char *name, uint8_t class)
{
	static const uint8_t page[4096] = { 0x7f, 'E', 'L', 'F' };
	char folder[] = "/tmp/test_py_runtime-XXXXXX", path[128];
	static char text[128];
	struct ct_python python;
	const char *why = NULL;
	void *mapped;
	int fd;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0755);
	assert_int_equal(write(fd, page, sizeof(page)), sizeof(page));
	assert_int_equal(pwrite(fd, (const uint8_t[]){ class, 1, 1 }, 3, 4), 3);
	/* as much of a header as a file needs to be looked at */
	if (class == 2) {
		int program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
		uint8_t head[4096];

		assert_int_equal(read(program, head, sizeof(head)), sizeof(head));
		assert_int_equal(pwrite(fd, head, sizeof(head), 0), sizeof(head));
		close(program);
	}
	mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(mapped != MAP_FAILED);
	assert_false(find(getpid(), &python, &why, text, sizeof(text)));
	munmap(mapped, 4096);
	close(fd);
	unlink(path);
	rmdir(folder);
	return why;
}

static void test_other_pythons(void **state)
{
	(void)state;
	assert_string_equal(why_of_file("python3.9", 1), "32-bit interpreters are not read");
	assert_string_equal(why_of_file("libpypy3.9-c.so", 2), "PyPy's heap is not read");
	assert_string_equal(why_of_file("other", 1), "no CPython in it");
	assert_string_equal(why_of_file("python3.9", 2), "no CPython in it");
}

static void test_process_gone(void **state)
{
	struct ct_heap_source source = { .maps = ct_maps__read(getpid()) };
	struct ct_python python;
	const char *why = NULL;
	char text[128];

	(void)state;
	assert_false(ct_python__find(&python, &source, &why, text, sizeof(text)));
	assert_string_equal(why, "the process is gone");
	ct_maps__put(source.maps);
}

static void test_live(void **state)
{
	char said[128], expected[128], text[128];
	struct ct_python python;
	const char *why = "";
	bool found;
	pid_t pid;

	(void)state;
	if (access(PYTHON, X_OK))
		skip();
	pid = start(PYTHON, said, sizeof(said));
	found = find(pid, &python, &why, text, sizeof(text));
	stop(pid);
	if (!found)
		print_error("%s: %s\n", PYTHON, why);
	assert_true(found);
	snprintf(expected, sizeof(expected), "%s %llu", python.version,
		 (unsigned long long)python.type_type);
	assert_string_equal(said, expected);
	assert_true(python.object[0] != '\0');
}

/* A copy of @from at @to in which every PY_VERSION_HEX is @version. False: there was none. */
static bool copy_as_version(const char *from, const char *to, uint64_t hexversion, uint64_t version)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	struct stat st;
	uint8_t *bytes;
	bool found = false;

	assert_true(in >= 0 && out >= 0);
	assert_int_equal(fstat(in, &st), 0);
	bytes = malloc((size_t)st.st_size);
	assert_non_null(bytes);
	assert_int_equal(read(in, bytes, (size_t)st.st_size), st.st_size);
	for (off_t i = 0; i + 8 <= st.st_size; i += 8) {
		if (memcmp(bytes + i, &hexversion, 8) != 0)
			continue;
		memcpy(bytes + i, &version, 8);
		found = true;
	}
	assert_int_equal(write(out, bytes, (size_t)st.st_size), st.st_size);
	free(bytes);
	close(in);
	close(out);
	return found;
}

static void test_unknown_version(void **state)
{
	char folder[] = "/tmp/test_py_runtime-XXXXXX", copy[64], said[128], text[128];
	struct ct_python python;
	const char *why = "";
	bool found, patched;
	pid_t pid;

	(void)state;
	if (access(PYTHON, X_OK))
		skip();
	pid = start(PYTHON, said, sizeof(said));
	found = find(pid, &python, &why, text, sizeof(text));
	stop(pid);
	/* where the interpreter is a library, there is none in the program's file */
	if (!found || python.hexversion < 0x030b0000 || strncmp(python.object, "python", 6) != 0)
		skip();
	assert_non_null(mkdtemp(folder));
	snprintf(copy, sizeof(copy), "%s/python3", folder);
	patched = copy_as_version(PYTHON, copy, python.hexversion, 0x031000f0);
	pid = patched ? start(copy, said, sizeof(said)) : 0;
	found = patched && find(pid, &python, &why, text, sizeof(text));
	if (patched)
		stop(pid);
	unlink(copy);
	rmdir(folder);
	assert_true(patched && !found);
	assert_string_equal(why, "CPython 3.16.0 is not known to this version");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exported),     cmocka_unit_test(test_symtab),
		cmocka_unit_test(test_broken_files), cmocka_unit_test(test_no_python),
		cmocka_unit_test(test_process_gone), cmocka_unit_test(test_other_pythons),
		cmocka_unit_test(test_live),	     cmocka_unit_test(test_unknown_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
