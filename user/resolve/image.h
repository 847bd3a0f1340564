/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* image.h - one program run by one process, from fork, exec or attach to exec or exit. */
#ifndef CT_RESOLVE_IMAGE_H
#define CT_RESOLVE_IMAGE_H

#include <stdbool.h>
#include <sys/types.h>

#include "resolve/heaps.h"

#define CT_ROW_NONE UINT32_MAX /* not counted: the launcher before it became the target */

struct ct_image {
	uint64_t id;
	pid_t pid, parent_pid;
	uint32_t row;
	bool ended, has_forked, tried_own;
	bool told_refusal;
	bool has_runtime;     /* the kernel side reads what follows of it */
	bool collected[3];    /* a collection of this generation was seen ... */
	uint32_t finished[3]; /* ... when so many had been finished */
	unsigned int serial;  /* of its heaps' interpreter, when it was last told of */
	struct ct_runtime runtime;
	char *command;
	struct ct_heaps *own;	    /* of its own memory; NULL until needed, or when it is gone */
	struct ct_heaps *inherited; /* of the memory it was forked from; NULL if it was not */
};

/** ct_image__new - @command is copied. NULL: out of memory. */
struct ct_image *ct_image__new(uint64_t id, pid_t pid, pid_t parent_pid, const char *command);
void ct_image__free(struct ct_image *image);
/** ct_image__end - give up what only a living image needs. */
void ct_image__end(struct ct_image *image);
/** ct_image__own - heaps of its own memory, opened at first use; NULL when it is gone. */
struct ct_heaps *ct_image__own(struct ct_image *image, const struct ct_heap_source *source);
/** ct_image__forked_from - both found alive: was @image forked from @parent, or from what that was
 *  forked from, and has it not run another program since? Both need their own heaps open. */
bool ct_image__forked_from(const struct ct_image *image, const struct ct_image *parent);
/** ct_image__collection - 1 for the first collection of its generation that this image was seen in,
 *  2 for the next ...; 0 if @phase tells of none. Sub-interpreters count each for themselves: two
 *  collections of theirs that have the same number are told as one. */
uint32_t ct_image__collection(struct ct_image *image, uint32_t phase);
/** ct_command_of - the command line of @pid (arguments joined by spaces, cut at 255 bytes), else
 *  @comm. Return: to be freed; NULL: out of memory. */
char *ct_command_of(pid_t pid, const char *comm);

#endif /* CT_RESOLVE_IMAGE_H */
