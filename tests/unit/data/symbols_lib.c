/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* symbols_lib.c - a library with an exported and a hidden function, for symbols_target.c. */
int lib_data[100] = { 1 };
static volatile int sink;

int lib_global(int x);
const void *lib_hidden_address(void);

int lib_global(int x)
{
	for (int i = 0; i < x; i++)
		sink += i * x;
	return sink;
}

__attribute__((noinline)) static int lib_static(int x)
{
	for (int i = 0; i < x; i++)
		sink -= i ^ x;
	return sink;
}

const void *lib_hidden_address(void)
{
	sink += lib_static(sink);
	return (const void *)lib_static;
}
