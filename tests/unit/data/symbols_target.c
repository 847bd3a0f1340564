/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * symbols_target.c - a process to be symbolised: prints the addresses of what it has as
 * "name address" lines and waits until its input ends. Arguments: libraries to dlopen, or "chroot
 * FOLDER" first (static build).
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int target_data[600] = { 1 };
int target_bss[6000];
static volatile int sink;

__attribute__((noinline)) int target_global(int x)
{
	for (int i = 0; i < x; i++)
		sink += i * x;
	return sink;
}

__attribute__((noinline)) static int target_static(int x)
{
	for (int i = 0; i < x; i++)
		sink -= i ^ x;
	return sink;
}

static void print_address(const char *name, const void *address)
{
	printf("%s %p\n", name, address);
}

#ifndef TARGET_STATIC
static int load(const char *path)
{
	void *lib = dlopen(path, RTLD_NOW);
	const void *(*hidden)(void);

	if (!lib) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	print_address("lib_global", dlsym(lib, "lib_global"));
	print_address("lib_data", dlsym(lib, "lib_data"));
	*(void **)&hidden = dlsym(lib, "lib_hidden_address");
	print_address("lib_static", hidden ? hidden() : NULL);
	return 0;
}
#endif

int main(int argc, char **argv)
{
	int first = 1;
	char c;

	if (argc > 2 && !strcmp(argv[1], "chroot")) {
		if (chroot(argv[2]))
			return 1;
		first = 3;
	}
	print_address("target_global", (const void *)target_global);
	print_address("target_static", (const void *)target_static);
	print_address("target_data", &target_data[500]);
	print_address("target_bss", &target_bss[5000]);
	sink = target_global(3) + target_static(4);
#ifndef TARGET_STATIC
	for (int i = first; i < argc; i++)
		if (load(argv[i]))
			return 1;
#endif
	printf("ready\n");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		first++;
	return 0;
}
