/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * heaps.c - opens the readers on a process and keeps them fresh: its mappings are read again when
 * an address lies in none of them, and what was cached of its memory is dropped when it forks
 * again, since the next child inherits what is there by then.
 */
#include "resolve/heaps.h"
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* Reading maps may take a twentieth of the time: a small process's are read anew each millisecond.
 */
#define CT_MAPS_REST	     20
#define CT_MAPS_REST_AT_FORK 4 /* then it may be the last chance */

/* A process just started has no interpreter at its first instruction. */
#define CT_YOUNG_NS	     2000000000ull
#define CT_ASK_YOUNG_NS	     10000000ull
#define CT_ASK_NS	     1000000000ull
#define CT_ATTACH_REST	     20 /* looking for heaps may take a twentieth of the time */
#define CT_ATTACH_REST_YOUNG 5	/* and more while that matters most */

/* A number that changes when a file is mapped or unmapped. */
static uint64_t ct_modules_of(const struct ct_maps *maps)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < maps->count; i++)
		if (maps->list[i].inode)
			sum = (sum ^ maps->list[i].inode ^ maps->list[i].start) * 0x100000001b3ull;
	return sum;
}

/* Ask the readers which interpreter this is, and count a change. */
static void ct_heaps_ask(struct ct_heaps *heaps)
{
	struct ct_interpreter found;

	heaps->asked_ns = ct_now_ns();
	for (int i = 0; ct_readers[i] && i < CT_MAX_READERS; i++) {
		if (!heaps->heap[i] || !ct_readers[i]->interpreter)
			continue;
		memset(&found, 0, sizeof(found)); /* compared whole, padding too */
		if (!ct_readers[i]->interpreter(heaps->heap[i], &found))
			continue;
		if (heaps->interpreter_reader == i &&
		    !memcmp(&found, &heaps->interpreter, sizeof(found)))
			return;
		memcpy(&heaps->interpreter, &found, sizeof(found));
		heaps->interpreter_reader = i;
		heaps->interpreter_serial++;
		return;
	}
	/* one that was there once stays: what it said is true of the children it forked */
}

/* @again: ask readers that found nothing, even if no file was mapped or unmapped since. */
static void ct_heaps_attach(struct ct_heaps *heaps, bool again)
{
	uint64_t modules = ct_modules_of(heaps->source.maps);
	bool new_modules = again || modules != heaps->modules;

	heaps->modules = modules;
	for (int i = 0; ct_readers[i] && i < CT_MAX_READERS; i++) {
		const char *why = "";

		if (heaps->heap[i]) {
			ct_readers[i]->renew(heaps->heap[i], &heaps->source);
			continue;
		}
		if (!new_modules || (modules == heaps->refused_of && heaps->refused & 1u << i))
			continue; /* it was not there, and nothing was loaded since */
		heaps->heap[i] = ct_readers[i]->attach(&heaps->source, &why);
		if (!heaps->heap[i] && (strstr(why, "not read") || strstr(why, "can't read"))) {
			heaps->refused |= 1u << i;
			heaps->refused_of = modules;
			snprintf(heaps->refusal, sizeof(heaps->refusal), "%s", why);
			heaps->refusal_reader = i;
		}
		if (!heaps->heap[i])
			ct_debug("pid %d has no %s heap: %s", heaps->source.maps->pid,
				 ct_readers[i]->name, why);
	}
	ct_heaps_ask(heaps);
}

struct ct_heaps *ct_heaps__open(pid_t pid, const struct ct_heap_source *source)
{
	struct ct_heaps *heaps = calloc(1, sizeof(*heaps));

	if (!heaps)
		return NULL;
	heaps->references = 1;
	heaps->source = *source;
	heaps->interpreter_reader = -1;
	heaps->opened_ns = heaps->maps_read_ns = ct_now_ns();
	heaps->source.maps = ct_maps__read(pid);
	if (!heaps->source.maps || !heaps->source.maps->count) {
		int err = heaps->source.maps ? ESRCH : errno;

		ct_maps__put(heaps->source.maps);
		free(heaps);
		errno = err;
		return NULL;
	}
	heaps->source.memory = ct_remote__open(pid);
	ct_heaps_attach(heaps, false);
	heaps->maps_cost_ns = ct_now_ns() - heaps->maps_read_ns;
	return heaps;
}

struct ct_heaps *ct_heaps__get(struct ct_heaps *heaps)
{
	if (heaps)
		heaps->references++;
	return heaps;
}

void ct_heaps__put(struct ct_heaps *heaps)
{
	if (!heaps || --heaps->references)
		return;
	for (int i = 0; ct_readers[i] && i < CT_MAX_READERS; i++)
		if (heaps->heap[i])
			ct_readers[i]->close(heaps->heap[i]);
	ct_remote__close(heaps->source.memory);
	ct_maps__put(heaps->source.maps);
	free(heaps);
}

/* Read the mappings anew. Of a process that is gone the old ones stay, which are right for it. */
static void ct_heaps_refresh(struct ct_heaps *heaps, bool again)
{
	struct ct_maps *maps, *old = heaps->source.maps;

	heaps->maps_read_ns = ct_now_ns();
	maps = ct_maps__read(old->pid);
	if (!maps || !maps->count) {
		ct_maps__put(maps);
		return;
	}
	heaps->source.maps = maps;
	ct_heaps_attach(heaps, again);
	ct_maps__put(old);
	heaps->maps_cost_ns = ct_now_ns() - heaps->maps_read_ns;
}

static bool ct_heaps_old(const struct ct_heaps *heaps, unsigned int rest)
{
	return ct_now_ns() - heaps->maps_read_ns >= rest * heaps->maps_cost_ns;
}

bool ct_heaps__covers(struct ct_heaps *heaps, ct_raddr_t address)
{
	if (ct_maps__find(heaps->source.maps, address))
		return true;
	if (!ct_heaps_old(heaps, CT_MAPS_REST))
		return false;
	ct_heaps_refresh(heaps, false);
	return ct_maps__find(heaps->source.maps, address) != NULL;
}

bool ct_heaps__read_since(struct ct_heaps *heaps, uint64_t since_ns, bool now)
{
	if (heaps->maps_read_ns <= since_ns && (now || ct_heaps_old(heaps, CT_MAPS_REST)))
		ct_heaps_refresh(heaps, false);
	return heaps->maps_read_ns > since_ns;
}

void ct_heaps__mark_stale(struct ct_heaps *heaps)
{
	bool first = !heaps->forked;
	bool young = ct_now_ns() - heaps->opened_ns < CT_YOUNG_NS;

	heaps->stale = heaps->forked = true;
	/* at once: by the child's first fault the parent may be gone */
	if (first && heaps->source.memory)
		ct_remote__renew(heaps->source.memory);
	if (first || ct_heaps_old(heaps, CT_MAPS_REST_AT_FORK))
		ct_heaps_refresh(heaps, (first || young) && heaps->interpreter_reader < 0);
}

/* Is there a file that holds an interpreter, which is not up yet? */
static bool ct_heaps_expects(const struct ct_heaps *heaps)
{
	for (int i = 0; ct_readers[i] && i < CT_MAX_READERS; i++)
		if (heaps->heap[i] && ct_readers[i]->interpreter)
			return true;
	return false;
}

bool ct_heaps__look_again(struct ct_heaps *heaps, uint64_t now_ns)
{
	bool young = now_ns - heaps->opened_ns < CT_YOUNG_NS;
	uint64_t rest_ns = young ? CT_ASK_YOUNG_NS : CT_ASK_NS;

	/* what was read of its memory since it forked is as it was then, and is not to be dropped;
	 * an interpreter that is known is asked again at each fork */
	if (heaps->forked || !heaps->source.memory ||
	    (heaps->interpreter_reader >= 0 && !(young && heaps->interpreter.no_stacks[0])) ||
	    (!young && !ct_heaps_expects(heaps)))
		return false;
	if (now_ns - heaps->asked_ns < rest_ns ||
	    now_ns - heaps->maps_read_ns <
		    (young ? CT_ATTACH_REST_YOUNG : CT_ATTACH_REST) * heaps->maps_cost_ns)
		return false;
	heaps->asked_ns = now_ns;
	ct_remote__renew(heaps->source.memory);
	ct_heaps_refresh(heaps, young);
	return true;
}

bool ct_heaps__source_line(struct ct_heaps *heaps, const struct ct_frame *frame,
			   struct ct_source_line *line)
{
	for (int i = 0; ct_readers[i] && i < CT_MAX_READERS; i++)
		if (heaps->heap[i] && ct_readers[i]->source_line &&
		    ct_readers[i]->source_line(heaps->heap[i], frame, line))
			return true;
	return false;
}

struct ct_place ct_heaps__locate(struct ct_heaps *heaps, ct_raddr_t address,
				 const struct ct_bytes *before, int *reader)
{
	struct ct_place place = { 0 };

	if (heaps->stale) {
		heaps->stale = false;
		if (heaps->source.memory)
			ct_remote__renew(heaps->source.memory);
		ct_heaps_attach(heaps, false);
	}
	for (int i = 0; ct_readers[i] && i < CT_MAX_READERS; i++) {
		if (!heaps->heap[i] ||
		    !ct_readers[i]->locate(heaps->heap[i], address, before, &place))
			continue;
		*reader = i;
		return place;
	}
	*reader = -1;
	return place;
}
