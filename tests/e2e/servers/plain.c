/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * plain.c - a C program that forks: 2,000 small blocks and one large one, of which the child
 * writes each page. Built with musl, where the heap is none that cowtrace knows. Prints "ready";
 * at a line on standard input forks, and prints "done PID" when the child has gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS	    2000
#define BLOCK_BYTES 400
#define LARGE_BYTES (4 << 20)

int main(void)
{
	static char *blocks[BLOCKS];
	char line[16], *large = malloc(LARGE_BYTES);
	pid_t pid;
	int i;

	if (!large)
		return 1;
	memset(large, 1, LARGE_BYTES);
	for (i = 0; i < BLOCKS; i++) {
		blocks[i] = calloc(1, BLOCK_BYTES);
		if (!blocks[i])
			return 1;
		blocks[i][0] = 1;
	}
	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	pid = fork();
	if (!pid) {
		for (i = 0; i < BLOCKS; i++)
			blocks[i][0]++;
		for (i = 0; i < LARGE_BYTES; i += 4096)
			large[i]++;
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	printf("done %d\n", (int)pid);
	fflush(stdout);
	fgets(line, sizeof(line), stdin);
	return 0;
}
