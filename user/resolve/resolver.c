/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* resolver.c - the family of images followed, and records made samples. */
#include "resolve/resolver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "resolve/impl.h"

struct ct_resolver *ct_resolver__new(const struct ct_resolver_names *names,
				     const struct ct_resolver_events *events, pid_t launcher)
{
	struct ct_resolver *resolver = calloc(1, sizeof(*resolver));

	if (!resolver)
		return NULL;
	resolver->names = *names;
	resolver->events = *events;
	resolver->launcher = launcher;
	resolver->symbols = ct_symbols__new(names->writers);
	if (!resolver->symbols) {
		free(resolver);
		return NULL;
	}
	resolver->source = (struct ct_heap_source){ .symbols = resolver->symbols,
						    .types = names->types,
						    .lines = names->lines };
	return resolver;
}

void ct_resolver__free(struct ct_resolver *resolver)
{
	uint64_t id, image;
	size_t cursor = 0;

	if (!resolver)
		return;
	ct_late__free(resolver->late);
	ct_pending__free(resolver->pending);
	ct_stacks__free(resolver->stacks);
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
	if (image->own)
		ct_pending__work(resolver, image->own, false);
	if (image->inherited) /* while the parent is there: it may be the next to go */
		ct_pending__work(resolver, image->inherited, false);
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
		heaps = ct_image__own(parent, &resolver->source);
		if (heaps) {
			ct_pending__work(resolver, heaps, false);
			ct_heaps__mark_stale(heaps);
			ct_runtimes__tell(resolver, parent, 0);
		} else {
			heaps = parent->inherited;
		}
	}
	child = ct_find_image(resolver, event->rec.image);
	if (!child)
		child = ct_add_image(resolver, event->rec.image, parent_pid,
				     parent ? parent->command : (const char *)event->comm, ts_ns);
	if (!child)
		return -ENOMEM;
	if (!child->inherited)
		child->inherited = ct_heaps__get(heaps);
	ct_runtimes__tell(resolver, child, event->rec.tid);
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
			if (old->has_runtime && resolver->events.runtime_found)
				resolver->events.runtime_found(resolver->events.context,
							       event.rec.image, 0, NULL);
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
	ct_image__own(image, &resolver->source);
	if (event.rec.type == CT_REC_TASK && old && ct_image__forked_from(image, old))
		image->inherited = ct_heaps__get(ct_image__own(old, &resolver->source));
	ct_runtimes__tell(resolver, image, 0);
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

_Static_assert((int)CT_FAULT_COPY == (int)CT_KIND_COPY &&
		       (int)CT_FAULT_ZERO_FILL == (int)CT_KIND_ZERO_FILL &&
		       (int)CT_FAULT_COUNT == (int)CT_KIND_COUNT,
	       "enum ct_fault is enum ct_kind as the layers above know it");

/* What a fault is, but for its count; remembered, for it may be taken back. */
static void ct_resolve_fault(struct ct_resolver *resolver, struct ct_image *image,
			     const struct ct_record *record, size_t len, struct ct_sample *sample)
{
	struct ct_last_sample *last = ct_last_of(resolver, record->tid);
	struct ct_heaps *heaps = NULL;
	int reader;

	*sample = (struct ct_sample){
		.ts_ns = resolver->events.time_ns(resolver->events.context, record->jiffies),
		.address = record->address,
		.process = image->row,
		.count = record->type == CT_REC_UNDO ? -1 : 1,
		.fault = record->kind,
		.page_shift = record->page_shift,
		.unread = record->flags & CT_FLAG_UNREAD,
		.pid = (uint32_t)image->pid,
		.tid = record->tid,
	};
	if (record->kind != CT_KIND_REUSE && record->kind != CT_KIND_ZERO_FILL) {
		heaps = ct_explain(resolver, image, record, len, sample, &reader);
		sample->collection = ct_image__collection(image, record->phase);
		sample->generation = (uint8_t)CT_PHASE_GENERATION(record->phase);
	}
	if (resolver->stacks)
		ct_stacks__take(resolver, image, record, sample);
	last->tid = record->tid;
	last->sample = *sample;
	last->ticket = last->late = 0;
	if (heaps && record->type == CT_REC_FAULT)
		last->ticket = ct_pending__add(resolver, heaps, reader, sample, record->tid);
	else if (record->type == CT_REC_FAULT && sample->fault != CT_FAULT_REUSE &&
		 sample->fault != CT_FAULT_ZERO_FILL)
		last->late = ct_late__add(resolver, image, record, len, sample);
}

int ct_resolver__resolve(struct ct_resolver *resolver, const struct ct_record *record, size_t len,
			 struct ct_sample *sample)
{
	struct ct_last_sample *last = ct_last_of(resolver, record->tid);
	struct ct_image *image;

	if (record->type == CT_REC_STACK) {
		ct_stacks__keep(resolver, (const struct ct_record_stack *)record, len);
		return 0;
	}
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
		ct_pending__forget(resolver, last->ticket);
		ct_late__forget(resolver, last->late);
		last->ticket = last->late = 0;
		*sample = last->sample;
		sample->count = -1;
		return 1;
	}
	ct_resolve_fault(resolver, image, record, len, sample);
	return 1;
}

void ct_resolver__work(struct ct_resolver *resolver, bool last)
{
	ct_runtimes__look(resolver);
	ct_late__work(resolver, last);
	ct_pending__work(resolver, NULL, last);
}

void ct_resolver__reset(struct ct_resolver *resolver)
{
	ct_pending__clear(resolver);
	ct_late__clear(resolver);
	memset(resolver->undo, 0, sizeof(resolver->undo));
	memset(&resolver->bytes, 0, sizeof(resolver->bytes));
}

void ct_resolver__bytes(const struct ct_resolver *resolver, struct ct_resolver_bytes *bytes)
{
	*bytes = resolver->bytes;
}
