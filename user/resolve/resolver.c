/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * resolver.c - records made samples.
 *
 * Which memory explains a fault? The page that was copied is one that the image had when it was
 * forked, so its parent's heap explains it: the parent still has the bytes as they were, while the
 * child is just changing them and may be gone when we look. What the image mapped since, and what
 * it shares with children of its own, its own heap explains.
 */
#include "resolve/resolver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "resolve/cause.h"
#include "resolve/image.h"

#define CT_UNDO_SLOTS 1024
#define CT_MAX_ENDED  4096 /* images kept after their end, for records that come late */

/* The last sample of a thread: what an undo takes back, exactly as it was counted. */
struct ct_last_sample {
	uint32_t tid;
	struct ct_sample sample;
};

struct ct_resolver {
	struct ct_names *types, *writers;
	struct ct_symbols *symbols;
	struct ct_resolver_events events;
	struct ct_map images; /* id -> struct ct_image * */
	struct ct_image *latest;
	uint64_t ended[CT_MAX_ENDED];
	size_t n_ended, alive;
	pid_t launcher;
	struct ct_last_sample undo[CT_UNDO_SLOTS];
};

struct ct_resolver *ct_resolver__new(struct ct_names *types, struct ct_names *writers,
				     const struct ct_resolver_events *events, pid_t launcher)
{
	struct ct_resolver *resolver = calloc(1, sizeof(*resolver));

	if (!resolver)
		return NULL;
	resolver->types = types;
	resolver->writers = writers;
	resolver->events = *events;
	resolver->launcher = launcher;
	resolver->symbols = ct_symbols__new(writers);
	if (!resolver->symbols) {
		free(resolver);
		return NULL;
	}
	return resolver;
}

void ct_resolver__free(struct ct_resolver *resolver)
{
	uint64_t id, image;
	size_t cursor = 0;

	if (!resolver)
		return;
	while (ct_map__next(&resolver->images, &cursor, &id, &image))
		ct_image__free((struct ct_image *)(uintptr_t)image);
	ct_map__free(&resolver->images);
	ct_symbols__free(resolver->symbols);
	free(resolver);
}

size_t ct_resolver__alive(const struct ct_resolver *resolver)
{
	return resolver->alive;
}

static struct ct_image *ct_find_image(struct ct_resolver *resolver, uint64_t id)
{
	uint64_t *found;

	if (resolver->latest && resolver->latest->id == id)
		return resolver->latest;
	found = ct_map__find(&resolver->images, id);
	if (found)
		resolver->latest = (struct ct_image *)(uintptr_t)*found;
	return found ? resolver->latest : NULL;
}

static struct ct_image *ct_add_image(struct ct_resolver *resolver, uint64_t id, pid_t parent_pid,
				     const char *command, uint64_t ts_ns)
{
	pid_t pid = (pid_t)CT_IMAGE_TGID(id);
	struct ct_image *image = ct_image__new(id, pid, parent_pid, command);
	uint64_t *at = image ? ct_map__at(&resolver->images, id) : NULL;

	if (!at) {
		ct_image__free(image);
		return NULL;
	}
	*at = (uint64_t)(uintptr_t)image;
	resolver->alive++;
	if (pid != resolver->launcher)
		image->row = resolver->events.image_began(resolver->events.context, pid, parent_pid,
							  image->command, ts_ns);
	return image;
}

static void ct_forget_image(struct ct_resolver *resolver, uint64_t id)
{
	struct ct_image *image = ct_find_image(resolver, id);

	if (!image)
		return;
	if (resolver->latest == image)
		resolver->latest = NULL;
	ct_map__delete(&resolver->images, id);
	ct_image__free(image);
}

static void ct_end_image(struct ct_resolver *resolver, struct ct_image *image, uint64_t ts_ns)
{
	size_t slot = resolver->n_ended % CT_MAX_ENDED;

	if (!image || image->ended)
		return;
	ct_image__end(image);
	resolver->alive--;
	if (image->row != CT_ROW_NONE)
		resolver->events.image_ended(resolver->events.context, image->row, ts_ns);
	if (resolver->n_ended++ >= CT_MAX_ENDED)
		ct_forget_image(resolver, resolver->ended[slot]);
	resolver->ended[slot] = image->id;
}

static int ct_on_fork(struct ct_resolver *resolver, const struct ct_record_task *event,
		      uint64_t ts_ns)
{
	struct ct_image *parent = ct_find_image(resolver, event->other_image), *child;
	pid_t parent_pid = (pid_t)CT_IMAGE_TGID(event->other_image);
	struct ct_heaps *heaps = NULL;

	if (parent) {
		parent->has_forked = true;
		heaps = ct_image__own(parent, resolver->symbols, resolver->types);
		if (heaps)
			ct_heaps__mark_stale(heaps);
		else
			heaps = parent->inherited;
	}
	child = ct_find_image(resolver, event->rec.image);
	if (!child)
		child = ct_add_image(resolver, event->rec.image, parent_pid,
				     parent ? parent->command : (const char *)event->comm, ts_ns);
	if (!child)
		return -ENOMEM;
	if (!child->inherited)
		child->inherited = ct_heaps__get(heaps);
	return 0;
}

static int ct_on_family_event(struct ct_resolver *resolver, const struct ct_record_task *from)
{
	uint64_t ts_ns = resolver->events.time_ns(resolver->events.context, from->rec.jiffies);
	struct ct_record_task event = *from;
	pid_t pid = (pid_t)CT_IMAGE_TGID(event.rec.image), parent_pid = 0;
	struct ct_image *old, *image;
	char *command;

	event.comm[sizeof(event.comm) - 1] = '\0';
	old = ct_find_image(resolver, event.other_image);
	switch (event.rec.type) {
	case CT_REC_FORK:
		return ct_on_fork(resolver, &event, ts_ns);
	case CT_REC_EXIT:
		ct_end_image(resolver, ct_find_image(resolver, event.rec.image), ts_ns);
		return 0;
	case CT_REC_EXEC:
		if (pid == resolver->launcher)
			resolver->launcher = 0; /* from here on it is the target */
		if (old && old->pid == pid) {
			parent_pid = old->parent_pid;
			ct_end_image(resolver, old, ts_ns);
		} else if (event.other_image) {
			parent_pid = (pid_t)CT_IMAGE_TGID(event.other_image);
		}
		break;
	case CT_REC_TASK:
		if (event.other_image)
			parent_pid = (pid_t)CT_IMAGE_TGID(event.other_image);
		if (old)
			old->has_forked = true;
		break;
	default:
		return 0;
	}
	if (ct_find_image(resolver, event.rec.image))
		return 0;
	command = ct_command_of(pid, (const char *)event.comm);
	image = command ? ct_add_image(resolver, event.rec.image, parent_pid, command, ts_ns)
			: NULL;
	free(command);
	if (!image)
		return -ENOMEM;
	/* look at it while it lives: a short program may be gone by its first fault's turn */
	ct_image__own(image, resolver->symbols, resolver->types);
	return 0;
}

/* An image that no event told of: its event found every table full, or is still to come. */
static struct ct_image *ct_image_of(struct ct_resolver *resolver, uint64_t id)
{
	struct ct_image *image = ct_find_image(resolver, id);
	char *command;

	if (image)
		return image;
	command = ct_command_of((pid_t)CT_IMAGE_TGID(id), "?");
	image = command ? ct_add_image(resolver, id, 0, command, 0) : NULL;
	free(command);
	return image;
}

uint32_t ct_resolver__row(struct ct_resolver *resolver, uint64_t image)
{
	struct ct_image *found = ct_image_of(resolver, image);

	return found ? found->row : CT_ROW_NONE;
}

/* The heaps that explain @address in @image; NULL when all that could are gone. */
static struct ct_heaps *ct_heaps_for(struct ct_resolver *resolver, struct ct_image *image,
				     ct_raddr_t address)
{
	struct ct_heaps *own;

	if (image->inherited && !image->has_forked &&
	    ct_maps__find(image->inherited->source.maps, address))
		return image->inherited;
	own = ct_image__own(image, resolver->symbols, resolver->types);
	if (own && (ct_heaps__covers(own, address) || !image->inherited))
		return own;
	if (image->inherited && ct_heaps__covers(image->inherited, address))
		return image->inherited;
	return own ? own : image->inherited;
}

static uint32_t ct_foreign_writer(struct ct_resolver *resolver, uint32_t tid)
{
	char path[64], comm[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/comm", tid);
	f = fopen(path, "re");
	if (f) {
		if (!fgets(comm, sizeof(comm), f))
			comm[0] = '\0';
		fclose(f);
		comm[strcspn(comm, "\n")] = '\0';
	}
	return ct_names__id(resolver->writers, "[another process]", *comm ? comm : "unknown");
}

static uint32_t ct_writer_of(struct ct_resolver *resolver, struct ct_image *image,
			     const struct ct_record *record)
{
	struct ct_heaps *heaps;

	if (record->flags & CT_FLAG_FOREIGN)
		return ct_foreign_writer(resolver, record->tid);
	heaps = ct_heaps_for(resolver, image, record->ip);
	return heaps ? ct_symbols__writer(resolver->symbols, heaps->source.maps, record->ip) : 0;
}

static void ct_explain(struct ct_resolver *resolver, struct ct_image *image,
		       const struct ct_record *record, size_t len, struct ct_sample *sample)
{
	struct ct_heaps *heaps = ct_heaps_for(resolver, image, record->address);
	struct ct_bytes before = { 0 };
	struct ct_place place = { 0 };
	int reader = -1;

	if ((record->flags & CT_FLAG_BYTES) && len >= sizeof(struct ct_record_bytes)) {
		const struct ct_record_bytes *more = (const struct ct_record_bytes *)record;

		before = (struct ct_bytes){ more->bytes_address, more->bytes, CT_BYTES_LEN };
	}
	if (heaps)
		place = ct_heaps__locate(heaps, record->address, &before, &reader);
	sample->cell = (uint8_t)place.cell;
	sample->type = place.type;
	sample->writer = ct_writer_of(resolver, image, record);
	sample->cause = (uint8_t)ct_cause_of(&place, reader,
					     ct_names__name(resolver->writers, sample->writer));
}

_Static_assert((int)CT_FAULT_COPY == (int)CT_KIND_COPY &&
		       (int)CT_FAULT_ZERO_FILL == (int)CT_KIND_ZERO_FILL &&
		       (int)CT_FAULT_COUNT == (int)CT_KIND_COUNT,
	       "enum ct_fault is enum ct_kind as the layers above know it");

int ct_resolver__resolve(struct ct_resolver *resolver, const struct ct_record *record, size_t len,
			 struct ct_sample *sample)
{
	struct ct_last_sample *last = &resolver->undo[record->tid % CT_UNDO_SLOTS];
	struct ct_image *image;

	if (record->type != CT_REC_FAULT && record->type != CT_REC_UNDO)
		return len >= sizeof(struct ct_record_task)
			       ? ct_on_family_event(resolver, (const struct ct_record_task *)record)
			       : 0;
	image = ct_image_of(resolver, record->image);
	if (!image)
		return -ENOMEM;
	if (image->row == CT_ROW_NONE)
		return 0;
	if (record->type == CT_REC_UNDO && last->tid == record->tid &&
	    last->sample.address == record->address && last->sample.process == image->row) {
		*sample = last->sample;
		sample->count = -1;
		return 1;
	}
	*sample = (struct ct_sample){
		.ts_ns = resolver->events.time_ns(resolver->events.context, record->jiffies),
		.address = record->address,
		.process = image->row,
		.count = record->type == CT_REC_UNDO ? -1 : 1,
		.fault = record->kind,
		.page_shift = record->page_shift,
		.unread = record->flags & CT_FLAG_UNREAD,
	};
	if (record->kind != CT_KIND_REUSE && record->kind != CT_KIND_ZERO_FILL)
		ct_explain(resolver, image, record, len, sample);
	last->tid = record->tid;
	last->sample = *sample;
	return 1;
}
