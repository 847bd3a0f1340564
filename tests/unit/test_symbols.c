/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_symbols.c - the symboliser on running programs that are built here in many ways: the names
 * must be those of the source, and where the file does not tell, none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/symbols.h"

static char folder[64], sources[PATH_MAX];

struct target {
	pid_t pid;
	int input;
	struct ct_names *names;
	struct ct_symbols *symbols;
	struct ct_maps *maps;
	ct_raddr_t global, local, data, bss; /* of the program */
	ct_raddr_t lib_global, lib_local, lib_data;
};

/** A shell command; @D is the test's folder, @S that of the sources. Must succeed. */
static void run(const char *format, ...)
{
	char command[4 * PATH_MAX], with_folders[6 * PATH_MAX];
	va_list args;
	int status;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	snprintf(with_folders, sizeof(with_folders), "D='%s'; S='%s'; CC=\"${CC:-cc}\"; %s", folder,
		 sources, command);
	status = system(with_folders);
	if (status)
		print_error("failed: %s\n", with_folders);
	assert_int_equal(status, 0);
}

static void note_address(struct target *t, const char *name, ct_raddr_t address)
{
	const struct {
		const char *name;
		ct_raddr_t *address;
	} known[] = {
		{ "target_global", &t->global },  { "target_static", &t->local },
		{ "target_data", &t->data },	  { "target_bss", &t->bss },
		{ "lib_global", &t->lib_global }, { "lib_static", &t->lib_local },
		{ "lib_data", &t->lib_data },
	};

	for (size_t i = 0; i < CT_ARRAY_SIZE(known); i++)
		if (!strcmp(name, known[i].name))
			*known[i].address = address;
}

/** Start a shell command that execs symbols_target, and read its addresses. */
static void start(struct target *t, const char *command)
{
	char script[PATH_MAX], line[256], name[64];
	unsigned long long address;
	int in[2], out[2];
	bool ready = false;
	FILE *lines;

	*t = (struct target){ 0 };
	snprintf(script, sizeof(script), "D='%s'; %s", folder, command);
	assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
	t->pid = fork();
	if (!t->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(in[0], 0);
		dup2(out[1], 1);
		execl("/bin/sh", "sh", "-c", script, NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	t->input = in[1];
	lines = fdopen(out[0], "r");
	while (!ready && fgets(line, sizeof(line), lines)) {
		ready = !strcmp(line, "ready\n");
		if (sscanf(line, "%63s %llx", name, &address) == 2)
			note_address(t, name, address);
	}
	fclose(lines);
	assert_true(ready);
	t->names = ct_names__new();
	t->symbols = ct_symbols__new(t->names);
	t->maps = ct_maps__read(t->pid);
	assert_non_null(t->maps);
	assert_true(t->maps->count > 0);
}

static void stop(struct target *t)
{
	close(t->input);
	kill(t->pid, SIGKILL);
	waitpid(t->pid, NULL, 0);
	ct_maps__put(t->maps);
	ct_symbols__free(t->symbols);
	ct_names__free(t->names);
}

static void check_writer(struct target *t, ct_raddr_t ip, const char *object, const char *name)
{
	uint32_t id = ct_symbols__writer(t->symbols, t->maps, ip);

	assert_string_equal(ct_names__name(t->names, id), name);
	assert_string_equal(ct_names__scope(t->names, id), object);
}

static void check_data(struct target *t, ct_raddr_t address, const char *expected)
{
	char name[128] = "before";

	assert_int_equal(ct_symbols__data(t->symbols, t->maps, address, name, sizeof(name)),
			 expected[0] != '\0');
	assert_string_equal(name, expected);
}

/** Functions, and the bytes on both sides of their edges, and data. */
static void check_program(struct target *t, const char *object)
{
	check_writer(t, t->global, object, "target_global");
	check_writer(t, t->global + 5, object, "target_global");
	check_writer(t, t->local, object, "target_static");
	check_writer(t, t->local + 9, object, "target_static");
	check_data(t, t->data, "target_data");
	check_data(t, t->bss, "target_bss");
}

/** The value that nm prints for @symbol of @file. */
static uint64_t nm_value(const char *file, const char *symbol)
{
	char command[PATH_MAX];
	unsigned long long value = 0;
	FILE *out;

	snprintf(command, sizeof(command), "nm '%s/%s' | grep ' %s$'", folder, file, symbol);
	out = popen(command, "r");
	assert_int_equal(fscanf(out, "%llx", &value), 1);
	pclose(out);
	return value;
}

static void check_unnamed(struct target *t, ct_raddr_t ip, const char *object, uint64_t vaddr)
{
	char expected[128];

	snprintf(expected, sizeof(expected), "%s+0x%llx", object, (unsigned long long)vaddr);
	check_writer(t, ip, object, expected);
}

static int setup(void **state)
{
	char relative[PATH_MAX] = __FILE__, *slash = strrchr(relative, '/');

	(void)state;
	strcpy(slash ? slash + 1 : relative, "data");
	assert_non_null(realpath(relative, sources));
	snprintf(folder, sizeof(folder), "/tmp/ct_symbols_XXXXXX");
	assert_non_null(mkdtemp(folder));
	chmod(folder, 0755);
	run("$CC -O1 -fPIE -pie $S/symbols_target.c -o $D/pie -ldl");
	run("$CC -O1 -fno-pie -no-pie $S/symbols_target.c -o $D/fixed -ldl");
	run("$CC -O1 -fPIC -shared $S/symbols_lib.c -o $D/libfull.so");
	run("strip -s -o $D/stripped $D/pie && strip -s -o $D/libstripped.so $D/libfull.so");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	run("rm -rf $D");
	return 0;
}

static void test_pie(void **state)
{
	struct target t;

	(void)state;
	start(&t, "exec $D/pie");
	assert_true(t.global > UINT32_MAX);
	check_program(&t, "pie");
	stop(&t);
}

static void test_fixed(void **state)
{
	struct target t;

	(void)state;
	start(&t, "exec $D/fixed");
	assert_int_equal(t.global, nm_value("fixed", "target_global"));
	check_program(&t, "fixed");
	stop(&t);
}

static void test_stripped(void **state)
{
	struct target t;

	(void)state;
	start(&t, "exec $D/stripped");
	check_unnamed(&t, t.global, "stripped", nm_value("pie", "target_global"));
	check_unnamed(&t, t.local + 3, "stripped", nm_value("pie", "target_static") + 3);
	check_data(&t, t.data, "");
	check_data(&t, t.bss, "");
	stop(&t);
}

static void test_library(void **state)
{
	struct target t;

	(void)state;
	start(&t, "exec $D/pie $D/libfull.so");
	check_writer(&t, t.lib_global + 1, "libfull.so", "lib_global");
	check_writer(&t, t.lib_local + 1, "libfull.so", "lib_static");
	check_data(&t, t.lib_data + 9, "lib_data");
	check_program(&t, "pie");
	stop(&t);
	start(&t, "exec $D/stripped $D/libstripped.so");
	check_writer(&t, t.lib_global + 1, "libstripped.so", "lib_global");
	check_unnamed(&t, t.lib_local + 1, "libstripped.so",
		      nm_value("libfull.so", "lib_static") + 1);
	check_data(&t, t.lib_data + 9, "lib_data");
	stop(&t);
}

/** A deleted program, and another file put in its place, need map_files: root's to read. */
static void test_deleted(void **state)
{
	struct target t;
	char path[96];

	(void)state;
	run("cp $D/pie $D/doomed && cp $D/libfull.so $D/libdoomed.so");
	start(&t, "exec $D/doomed $D/libdoomed.so");
	run("rm $D/doomed && cp $D/stripped $D/new && mv $D/new $D/libdoomed.so");
	ct_maps__put(t.maps);
	t.maps = ct_maps__read(t.pid);
	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", (int)t.pid,
		 (unsigned long long)t.maps->list[0].start,
		 (unsigned long long)t.maps->list[0].end);
	if (access(path, R_OK)) {
		/* without the right the name is left open, but never taken from the wrong file */
		const char *name = ct_names__name(
			t.names, ct_symbols__writer(t.symbols, t.maps, t.lib_global));
		assert_non_null(strchr(name, '@'));
		print_message("skipped: map_files needs CAP_CHECKPOINT_RESTORE\n");
		stop(&t);
		skip();
	}
	check_program(&t, "doomed");
	check_writer(&t, t.lib_local, "libdoomed.so", "lib_static");
	stop(&t);
}

/** An inode number given anew to another file must not bring the old file's names. */
static void test_cache_identity(void **state)
{
	struct target first, second;

	(void)state;
	run("cp $D/pie $D/reused");
	start(&first, "exec $D/reused");
	check_program(&first, "reused");
	close(first.input);
	waitpid(first.pid, NULL, 0);
	run("rm $D/reused && cp $D/fixed $D/reused");
	start(&second, "exec $D/reused");
	ct_symbols__free(second.symbols);
	ct_names__free(second.names);
	second.symbols = first.symbols;
	second.names = first.names;
	check_program(&second, "reused");
	ct_maps__put(first.maps);
	stop(&second);
}

static void split_debug(const char *name, const char *flags)
{
	run("$CC -O1 -fPIE -pie %s $S/symbols_target.c -o $D/%s -ldl", flags, name);
	run("cd $D && objcopy --only-keep-debug %s %s.debug && strip -s %s && "
	    "objcopy --add-gnu-debuglink=%s.debug %s",
	    name, name, name, name, name);
}

static void test_debuglink(void **state)
{
	struct target t;

	(void)state;
	split_debug("linked", "-Wl,--build-id=none");
	start(&t, "exec $D/linked");
	check_program(&t, "linked");
	stop(&t);
	run("mkdir $D/.debug && mv $D/linked.debug $D/.debug/");
	start(&t, "exec $D/linked");
	check_program(&t, "linked");
	stop(&t);
	/* a debug file of another build: same name, wrong checksum */
	run("printf x >> $D/.debug/linked.debug");
	start(&t, "exec $D/linked");
	assert_non_null(
		strstr(ct_names__name(t.names, ct_symbols__writer(t.symbols, t.maps, t.local)),
		       "linked+0x"));
	stop(&t);
}

/**
 * A build id is looked up under the target's root. The link there is absolute: followed in our
 * root it would lead to the trap, a file of the same build id with other names.
 */
static void test_build_id_in_root(void **state)
{
	struct target t;

	(void)state;
	if (geteuid()) {
		print_message("skipped: chroot needs root\n");
		skip();
	}
	run("mkdir $D/root && cd $D/root && $CC -O1 -static -DTARGET_STATIC -Wl,--build-id "
	    "$S/symbols_target.c -o $D/root/prog && "
	    "objcopy --only-keep-debug prog kept.debug && strip -s prog");
	run("id=$(readelf -n $D/root/prog | sed -n 's/.*Build ID: //p') && "
	    "at=$D/root/usr/lib/debug/.build-id/$(printf %%.2s $id) && mkdir -p $at $D/root$D && "
	    "mv $D/root/kept.debug $D/root$D/names.debug && "
	    "objcopy --redefine-sym target_static=trap $D/root$D/names.debug $D/names.debug && "
	    "ln -s $D/names.debug $at/${id#??}.debug");
	start(&t, "exec $D/root/prog chroot $D/root");
	check_program(&t, "prog");
	stop(&t);
	/* not of this build: never used */
	run("cp $D/fixed $D/root$D/names.debug");
	start(&t, "exec $D/root/prog chroot $D/root");
	assert_non_null(
		strstr(ct_names__name(t.names, ct_symbols__writer(t.symbols, t.maps, t.local)),
		       "prog+0x"));
	stop(&t);
}

/** In the target's mount namespace the path is another file than in ours. */
static void test_mount_namespace(void **state)
{
	struct target t;

	(void)state;
	if (system("unshare -m true 2>/dev/null")) {
		print_message("skipped: unshare -m is not permitted\n");
		skip();
	}
	run("mkdir $D/here $D/there && cp $D/stripped $D/here/prog && cp $D/fixed $D/there/prog");
	start(&t, "exec unshare -m sh -c \"mount --bind $D/there $D/here && exec $D/here/prog\"");
	check_program(&t, "prog");
	stop(&t);
}

/** What lies at the path is not a file: it must neither be read nor block us. */
static void test_fifo(void **state)
{
	struct ct_names *names = ct_names__new();
	struct ct_symbols *symbols = ct_symbols__new(names);
	struct ct_maps *maps;
	char text[256], path[128];
	struct stat st;

	(void)state;
	snprintf(path, sizeof(path), "%s/fifo", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(stat(path, &st), 0);
	snprintf(text, sizeof(text), "10000-20000 r-xp 00001000 %x:%x %llu %s\n",
		 (unsigned int)(st.st_dev >> 8), (unsigned int)(st.st_dev & 0xff),
		 (unsigned long long)st.st_ino, path);
	maps = ct_maps__parse(text, strlen(text), getpid());
	alarm(10);
	assert_string_equal(ct_names__name(names, ct_symbols__writer(symbols, maps, 0x10010)),
			    "fifo@0x1010");
	alarm(0);
	ct_maps__put(maps);
	ct_symbols__free(symbols);
	ct_names__free(names);
}

static void test_vdso(void **state)
{
	void *vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
	void *function = vdso ? dlsym(vdso, "__vdso_clock_gettime") : NULL;
	struct ct_names *names = ct_names__new();
	struct ct_symbols *symbols = ct_symbols__new(names);
	struct ct_maps *maps = ct_maps__read(getpid());
	const char *name;
	uint32_t id;

	(void)state;
	if (!function) {
		print_message("skipped: the loader shows no vdso\n");
		skip();
	}
	id = ct_symbols__writer(symbols, maps, (ct_raddr_t)(uintptr_t)function + 1);
	name = ct_names__name(names, id);
	assert_string_equal(ct_names__scope(names, id), "[vdso]");
	assert_non_null(strstr(name, "clock_gettime"));
	/* the ELF header, in no function */
	id = ct_symbols__writer(symbols, maps,
				ct_maps__find(maps, (ct_raddr_t)(uintptr_t)function)->start);
	assert_string_equal(ct_names__name(names, id), "[vdso]+0x0");
	ct_maps__put(maps);
	ct_symbols__free(symbols);
	ct_names__free(names);
}

static void test_elsewhere_and_cache(void **state)
{
	static const char text[] = "1000-2000 rwxp 0 0:0 0\n3000-4000 rwxp 0 0:0 0 [heap]\n"
				   "5000-6000 r--p 0 0:0 0 [vvar]\n7000-8000 r-xp 1000 9:9 9 /no\n";
	struct target t = { .names = ct_names__new() };
	uint32_t id;

	(void)state;
	t.symbols = ct_symbols__new(t.names);
	t.maps = ct_maps__parse(text, strlen(text), getpid());
	check_writer(&t, 0, "", "[unmapped]");
	check_writer(&t, 0x2000, "", "[unmapped]");
	check_writer(&t, 0x1000, "[anon]", "[anonymous code]");
	check_writer(&t, 0x3000, "[heap]", "[anonymous code]");
	check_writer(&t, 0x5000, "[vvar]", "[vvar]");
	check_writer(&t, 0x7010, "no", "no@0x1010");
	check_writer(&t, 1ull << 63, "[kernel]", "[kernel]");
	check_writer(&t, UINT64_MAX, "[kernel]", "[kernel]");
	check_data(&t, 0x1000, "");
	check_data(&t, 0x7010, "");
	check_data(&t, UINT64_MAX, "");
	assert_int_equal(ct_map__count(&t.maps->writers), 6);
	id = ct_symbols__writer(t.symbols, t.maps, 0x1000);
	*ct_map__find(&t.maps->writers, 0x1000) = id + 1; /* a hit asks nothing else */
	assert_int_equal(ct_symbols__writer(t.symbols, t.maps, 0x1000), id + 1);
	assert_int_equal(ct_map__count(&t.maps->writers), 6);
	ct_maps__put(t.maps);
	ct_symbols__free(t.symbols);
	ct_names__free(t.names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pie),
		cmocka_unit_test(test_fixed),
		cmocka_unit_test(test_stripped),
		cmocka_unit_test(test_library),
		cmocka_unit_test(test_deleted),
		cmocka_unit_test(test_cache_identity),
		cmocka_unit_test(test_debuglink),
		cmocka_unit_test(test_build_id_in_root),
		cmocka_unit_test(test_mount_namespace),
		cmocka_unit_test(test_fifo),
		cmocka_unit_test(test_vdso),
		cmocka_unit_test(test_elsewhere_and_cache),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
