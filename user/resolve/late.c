/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * late.c - faults in memory that was mapped after the mappings were read last: a library's data,
 * written by the linker that has just loaded it. Reading the mappings has its share of the time, so
 * these faults are counted as they are and kept in a ring until the mappings were read again, which
 * then tells what they hit, as a correction. Those of a process that is gone by then stay unknown.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "resolve/impl.h"

#define CT_LATE_MOST   4096u	     /* a power of two */
#define CT_LATE_END_NS 1000000000ull /* at the end, for all processes */

struct ct_late_fault {
	uint64_t ticket; /* 0: empty */
	uint64_t seen_ns;
	struct ct_record_bytes record;
	size_t len; /* of the record, bytes */
	struct ct_sample sample;
};

struct ct_late {
	uint64_t first, next; /* tickets; those in between may be there */
	struct ct_late_fault ring[CT_LATE_MOST];
};

static struct ct_late_fault *ct_late_at(struct ct_late *late, uint64_t ticket)
{
	return &late->ring[ticket % CT_LATE_MOST];
}

void ct_late__free(struct ct_late *late)
{
	free(late);
}

void ct_late__clear(struct ct_resolver *resolver)
{
	struct ct_late *late = resolver->late;

	while (late && late->first < late->next)
		ct_late_at(late, late->first++)->ticket = 0;
}

uint64_t ct_late__add(struct ct_resolver *resolver, const struct ct_image *image,
		      const struct ct_record *record, size_t len, const struct ct_sample *sample)
{
	struct ct_late *late = resolver->late;
	struct ct_late_fault *entry;

	if (!resolver->events.corrected || sample->cell != CT_CELL_UNKNOWN || !image->own ||
	    ct_maps__find(image->own->source.maps, record->address) ||
	    (image->inherited && ct_maps__find(image->inherited->source.maps, record->address)))
		return 0;
	if (!late) {
		late = resolver->late = calloc(1, sizeof(*late));
		if (!late)
			return 0;
		late->first = late->next = 1;
	}
	if (late->next - late->first >= CT_LATE_MOST)
		ct_late_at(late, late->first++)->ticket = 0;
	entry = ct_late_at(late, late->next);
	*entry = (struct ct_late_fault){ .ticket = late->next,
					 .seen_ns = ct_now_ns(),
					 .len = len < sizeof(entry->record) ? sizeof(*record)
									    : sizeof(entry->record),
					 .sample = *sample };
	memcpy(&entry->record, record, entry->len);
	return late->next++;
}

void ct_late__forget(struct ct_resolver *resolver, uint64_t ticket)
{
	struct ct_late_fault *entry;

	if (!ticket || !resolver->late)
		return;
	entry = ct_late_at(resolver->late, ticket);
	if (entry->ticket == ticket)
		entry->ticket = 0;
}

/* The mappings are known now: tell what @entry hit, and let an undo that comes take that back. */
static void ct_late_explain(struct ct_resolver *resolver, struct ct_image *image,
			    const struct ct_late_fault *entry)
{
	const struct ct_record *record = &entry->record.rec;
	struct ct_last_sample *last = ct_last_of(resolver, record->tid);
	struct ct_resolver_bytes bytes = resolver->bytes; /* it was counted there already */
	struct ct_sample old = entry->sample, sample = entry->sample;
	struct ct_heaps *heaps;
	uint64_t ticket = 0;
	int reader;

	heaps = ct_explain(resolver, image, record, entry->len, &sample, &reader);
	resolver->bytes = bytes;
	if (sample.cell == CT_CELL_UNKNOWN && sample.writer == old.writer)
		return;
	old.correction = sample.correction = true;
	old.count = -1;
	resolver->events.corrected(resolver->events.context, &old);
	resolver->events.corrected(resolver->events.context, &sample);
	sample.correction = false;
	if (heaps)
		ticket = ct_pending__add(resolver, heaps, reader, &sample, record->tid);
	if (last->late == entry->ticket) {
		last->sample = sample;
		last->ticket = ticket;
		last->late = 0;
	}
}

void ct_late__work(struct ct_resolver *resolver, bool last)
{
	struct ct_late *late = resolver->late;
	uint64_t end_ns;

	if (!late || late->first == late->next)
		return;
	end_ns = ct_now_ns() + CT_LATE_END_NS;
	for (uint64_t ticket = late->first; ticket < late->next; ticket++) {
		struct ct_late_fault *entry = ct_late_at(late, ticket);
		const uint64_t *at = NULL;
		struct ct_image *image;

		if (entry->ticket == ticket)
			at = ct_map__find(&resolver->images, entry->record.rec.image);
		image = at ? (struct ct_image *)(uintptr_t)*at : NULL;
		if (image && image->own && !image->ended) {
			if (!ct_heaps__read_since(image->own, entry->seen_ns,
						  last && ct_now_ns() < end_ns))
				continue; /* not yet */
			ct_late_explain(resolver, image, entry);
		}
		entry->ticket = 0;
	}
	while (late->first < late->next && !ct_late_at(late, late->first)->ticket)
		late->first++;
}
