/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * pending.c - buffers whose owner is not known at once: only a pass over the whole heap tells it.
 * Their samples are counted as they are and kept in a ring; for all of one process a pass is made
 * now and then: when a child of it has ended, before its memory is looked at anew, and at the end.
 * What is found is told as a correction. When the ring is full, the oldest stay as they were
 * counted, and so do those that a whole pass did not find.
 *
 * Passes get a tenth of the time, of which a little may be saved up, so that the ring of records is
 * still emptied while they run.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "resolve/impl.h"

#define CT_PENDING_MOST	    65536u	 /* a power of two */
#define CT_PENDING_SHARE    10		 /* a tenth of the time */
#define CT_PENDING_LEAST_NS 50000000ull	 /* with less a pass is not begun */
#define CT_PENDING_PASS_NS  400000000ull /* and with more it is not either */
#define CT_PENDING_SAVED_NS 600000000ull
#define CT_PENDING_END_NS   2000000000ull
#define CT_PENDING_WAIT_NS  200000000ull /* so that a pass answers for many */
#define CT_PENDING_TRIES    8		 /* passes that ran out of time */

struct ct_pending_sample {
	uint64_t ticket; /* 0: empty */
	struct ct_heaps *heaps;
	int reader;
	unsigned int tries;
	uint32_t tid;
	struct ct_sample sample;
};

struct ct_pending {
	uint64_t first, next;	  /* tickets; those in between may be there */
	uint64_t ended_ns;	  /* of the last pass */
	uint64_t saved_ns, at_ns; /* time that may be spent, as of when */
	struct ct_pending_sample ring[CT_PENDING_MOST];
};

static struct ct_pending_sample *ct_pending_at(struct ct_pending *pending, uint64_t ticket)
{
	return &pending->ring[ticket % CT_PENDING_MOST];
}

static void ct_pending_clear(struct ct_pending_sample *entry)
{
	ct_heaps__put(entry->heaps);
	entry->heaps = NULL;
	entry->ticket = 0;
}

void ct_pending__clear(struct ct_resolver *resolver)
{
	struct ct_pending *pending = resolver->pending;

	while (pending && pending->first < pending->next)
		ct_pending_clear(ct_pending_at(pending, pending->first++));
}

void ct_pending__free(struct ct_pending *pending)
{
	if (!pending)
		return;
	for (size_t i = 0; i < CT_PENDING_MOST; i++)
		ct_pending_clear(&pending->ring[i]);
	free(pending);
}

uint64_t ct_pending__add(struct ct_resolver *resolver, struct ct_heaps *heaps, int reader,
			 const struct ct_sample *sample, uint32_t tid)
{
	struct ct_pending *pending = resolver->pending;
	struct ct_pending_sample *entry;

	if (!resolver->events.corrected)
		return 0;
	if (!pending) {
		pending = resolver->pending = calloc(1, sizeof(*pending));
		if (!pending)
			return 0;
		pending->first = pending->next = 1;
		pending->ended_ns = pending->at_ns = ct_now_ns();
		pending->saved_ns = CT_PENDING_SAVED_NS;
	}
	if (pending->next - pending->first >= CT_PENDING_MOST) {
		ct_pending_clear(ct_pending_at(pending, pending->first));
		pending->first++;
	}
	entry = ct_pending_at(pending, pending->next);
	*entry = (struct ct_pending_sample){ .ticket = pending->next,
					     .heaps = ct_heaps__get(heaps),
					     .reader = reader,
					     .tid = tid,
					     .sample = *sample };
	return pending->next++;
}

void ct_pending__forget(struct ct_resolver *resolver, uint64_t ticket)
{
	struct ct_pending_sample *entry;

	if (!ticket || !resolver->pending)
		return;
	entry = ct_pending_at(resolver->pending, ticket);
	if (entry->ticket == ticket)
		ct_pending_clear(entry);
}

/* More is known of @entry: tell so, and let an undo that comes take the new one back. */
static void ct_pending_correct(struct ct_resolver *resolver, const struct ct_pending_sample *entry,
			       const struct ct_owner_query *answer)
{
	struct ct_last_sample *last = ct_last_of(resolver, entry->tid);
	struct ct_sample sample = entry->sample;

	sample.correction = true;
	sample.count = -1;
	resolver->events.corrected(resolver->events.context, &sample);
	sample.count = 1;
	sample.type = answer->type;
	sample.owner = answer->object;
	resolver->events.corrected(resolver->events.context, &sample);
	if (last->ticket == entry->ticket) {
		last->sample = sample;
		last->sample.correction = false;
	}
}

/* Where @entry points is still the buffer that it was, as far as can be seen. */
static bool ct_pending_holds(const struct ct_pending_sample *entry)
{
	static const struct ct_bytes none;
	struct ct_place place;
	int reader;

	place = ct_heaps__locate(entry->heaps, entry->sample.address, &none, &reader);
	return reader == entry->reader && place.owner_unknown && place.cell == entry->sample.cell &&
	       place.object == entry->sample.object && place.size == entry->sample.size;
}

/* The queries of one process, each buffer once. Return: how many; 0 when out of memory, too. */
static size_t ct_pending_gather(struct ct_pending *pending, struct ct_heaps *heaps, int reader,
				struct ct_owner_query *queries, struct ct_map *index)
{
	size_t count = 0;

	for (uint64_t ticket = pending->first; ticket < pending->next; ticket++) {
		struct ct_pending_sample *entry = ct_pending_at(pending, ticket);
		uint64_t *at;

		if (entry->ticket != ticket || entry->heaps != heaps || entry->reader != reader)
			continue;
		if (!ct_pending_holds(entry)) {
			ct_pending_clear(entry);
			continue;
		}
		at = ct_map__at(index, entry->sample.object);
		if (!at)
			break;
		if (!*at) {
			queries[count++] =
				(struct ct_owner_query){ .address = entry->sample.object };
			*at = count;
		}
	}
	return count;
}

/* The oldest that waits for @heaps (NULL: for any); NULL: none does. */
static struct ct_pending_sample *ct_pending_next(struct ct_pending *pending,
						 const struct ct_heaps *heaps)
{
	while (pending->first < pending->next && !ct_pending_at(pending, pending->first)->ticket)
		pending->first++;
	for (uint64_t ticket = pending->first; ticket < pending->next; ticket++) {
		struct ct_pending_sample *entry = ct_pending_at(pending, ticket);

		if (entry->ticket == ticket && (!heaps || entry->heaps == heaps))
			return entry;
	}
	return NULL;
}

/* Memory that is gone has no owners. */
static bool ct_pending_is_gone(const struct ct_pending_sample *entry)
{
	char byte;

	return !entry->heaps->source.memory ||
	       !ct_remote__read(entry->heaps->source.memory, entry->sample.object, &byte, 1);
}

/* One pass over @heaps, for all that wait for it. Unless it ran out of time they wait no longer,
 * found or not. */
static void ct_pending_pass(struct ct_resolver *resolver, struct ct_heaps *heaps, int reader,
			    uint64_t budget_ns)
{
	struct ct_pending *pending = resolver->pending;
	uint64_t begin_ns = ct_now_ns();
	struct ct_owner_query *queries;
	struct ct_map index = { 0 };
	size_t count;
	bool whole;

	whole = ct_pending_is_gone(ct_pending_next(pending, heaps));
	ct_heaps__get(heaps); /* clearing the last entry of it must not close it under us */
	queries = whole ? NULL : calloc(pending->next - pending->first + 1, sizeof(*queries));
	count = queries ? ct_pending_gather(pending, heaps, reader, queries, &index) : 0;
	if (count)
		ct_readers[reader]->owners(heaps->heap[reader], queries, count, budget_ns);
	whole = whole || ct_now_ns() - begin_ns < budget_ns;
	for (uint64_t ticket = pending->first; ticket < pending->next; ticket++) {
		struct ct_pending_sample *entry = ct_pending_at(pending, ticket);
		const uint64_t *at;

		if (entry->ticket != ticket || entry->heaps != heaps || entry->reader != reader)
			continue;
		at = ct_map__find(&index, entry->sample.object);
		if (at && *at && queries[*at - 1].type)
			ct_pending_correct(resolver, entry, &queries[*at - 1]);
		else if (!whole && ++entry->tries < CT_PENDING_TRIES)
			continue;
		ct_pending_clear(entry);
	}
	free(queries);
	ct_map__free(&index);
	ct_heaps__put(heaps);
}

/* How long a pass may take now; 0: not yet. */
static uint64_t ct_pending_budget(struct ct_pending *pending, uint64_t now_ns, bool any)
{
	pending->saved_ns += (now_ns - pending->at_ns) / CT_PENDING_SHARE;
	if (pending->saved_ns > CT_PENDING_SAVED_NS)
		pending->saved_ns = CT_PENDING_SAVED_NS;
	pending->at_ns = now_ns;
	if (pending->saved_ns < CT_PENDING_LEAST_NS ||
	    (any && now_ns - pending->ended_ns < CT_PENDING_WAIT_NS))
		return 0;
	return pending->saved_ns < CT_PENDING_PASS_NS ? pending->saved_ns : CT_PENDING_PASS_NS;
}

/* The end: each process gets a pass, as long as there is time. */
static void ct_pending_finish(struct ct_resolver *resolver)
{
	struct ct_pending *pending = resolver->pending;
	uint64_t end_ns = ct_now_ns() + CT_PENDING_END_NS, now_ns;
	struct ct_pending_sample *entry;

	while ((entry = ct_pending_next(pending, NULL))) {
		now_ns = ct_now_ns();
		if (now_ns >= end_ns)
			break;
		entry->tries = CT_PENDING_TRIES; /* so that each round ends with one less */
		ct_pending_pass(resolver, entry->heaps, entry->reader, end_ns - now_ns);
	}
}

void ct_pending__work(struct ct_resolver *resolver, struct ct_heaps *heaps, bool last)
{
	struct ct_pending *pending = resolver->pending;
	uint64_t now_ns, budget_ns, took_ns;
	struct ct_pending_sample *entry;

	if (!pending || pending->first == pending->next)
		return;
	if (last) {
		ct_pending_finish(resolver);
		return;
	}
	now_ns = ct_now_ns();
	budget_ns = ct_pending_budget(pending, now_ns, !heaps);
	entry = budget_ns ? ct_pending_next(pending, heaps) : NULL;
	if (!entry)
		return;
	ct_pending_pass(resolver, entry->heaps, entry->reader, budget_ns);
	pending->ended_ns = ct_now_ns();
	took_ns = pending->ended_ns - now_ns;
	pending->saved_ns -= took_ns < pending->saved_ns ? took_ns : pending->saved_ns;
}
