/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* image.c - what is known of one image. */
#include "resolve/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/log.h"

#define CT_AUXV_MAX 64

struct ct_image *ct_image__new(uint64_t id, pid_t pid, pid_t parent_pid, const char *command)
{
	struct ct_image *image = calloc(1, sizeof(*image));

	if (!image)
		return NULL;
	image->id = id;
	image->pid = pid;
	image->parent_pid = parent_pid;
	image->row = CT_ROW_NONE;
	image->command = strdup(command);
	if (!image->command) {
		free(image);
		return NULL;
	}
	return image;
}

void ct_image__end(struct ct_image *image)
{
	image->ended = true;
	ct_heaps__put(image->own);
	image->own = NULL;
	image->tried_own = true;
	/* inherited stays: records of its last faults may still be on their way */
}

void ct_image__free(struct ct_image *image)
{
	if (!image)
		return;
	ct_heaps__put(image->own);
	ct_heaps__put(image->inherited);
	free(image->command);
	free(image);
}

struct ct_heaps *ct_image__own(struct ct_image *image, const struct ct_heap_source *source)
{
	if (!image->own && !image->tried_own) {
		image->tried_own = true;
		image->own = ct_heaps__open(image->pid, source);
		if (!image->own)
			ct_debug("memory of pid %d cannot be read: %s", image->pid,
				 strerror(errno));
	}
	return image->own;
}

/* The 16 random bytes that exec put on the stack of what @image runs (getauxval(3), AT_RANDOM): new
 * with each exec, the same in all that is forked. */
static bool ct_exec_number(const struct ct_image *image, uint8_t number[16])
{
	uint64_t auxv[2 * CT_AUXV_MAX] = { 0 };
	char path[64];
	size_t n = 0;
	FILE *f;

	if (!image->own || !image->own->source.memory)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/auxv", image->pid);
	f = fopen(path, "re");
	if (f) {
		n = fread(auxv, 2 * sizeof(*auxv), CT_AUXV_MAX, f);
		fclose(f);
	}
	for (size_t i = 0; i < n; i++)
		if (auxv[2 * i] == AT_RANDOM)
			return ct_remote__read(image->own->source.memory, auxv[2 * i + 1], number,
					       16) == 16;
	return false;
}

bool ct_image__forked_from(const struct ct_image *image, const struct ct_image *parent)
{
	uint8_t own[16], other[16];

	return ct_exec_number(image, own) && ct_exec_number(parent, other) &&
	       !memcmp(own, other, sizeof(own));
}

uint32_t ct_image__collection(struct ct_image *image, uint32_t phase)
{
	uint32_t generation = CT_PHASE_GENERATION(phase), finished = CT_PHASE_COLLECTIONS(phase);

	if (!(phase & CT_PHASE_COLLECTING) || !(phase & CT_PHASE_COUNTED) ||
	    generation >= CT_ARRAY_SIZE(image->finished))
		return 0;
	if (!image->collected[generation]) {
		image->collected[generation] = true;
		image->finished[generation] = finished;
	}
	return ((finished - image->finished[generation]) & 0xffffff) + 1; /* it wraps at 24 bits */
}

char *ct_command_of(pid_t pid, const char *comm)
{
	char path[64], line[256];
	size_t len = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	f = fopen(path, "re");
	if (f) {
		len = fread(line, 1, sizeof(line) - 1, f);
		fclose(f);
	}
	while (len && !line[len - 1])
		len--;
	for (size_t i = 0; i < len; i++)
		if (!line[i])
			line[i] = ' ';
	line[len] = '\0';
	return strdup(len ? line : comm);
}
