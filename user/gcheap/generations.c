/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * generations.c - when to collect what: three generations and their thresholds, as CPython 3.6 has
 * them, what is counted about it, and who is told.
 */
#include <string.h>

#include "internal.h"

#define OLDEST (GCHEAP_GENERATIONS - 1)

static void tell(const struct gcheap_event *event)
{
	for (size_t i = 0; i < gcheap_heap.callback_count; i++)
		gcheap_heap.callbacks[i].fn(event, gcheap_heap.callbacks[i].arg);
}

size_t gcheap_ring_len(const union gcheap_head *ring)
{
	size_t len = 0;

	for (const union gcheap_head *head = ring->gc.gc_next; head != ring;
	     head = head->gc.gc_next)
		len++;
	return len;
}

/* What is found unreachable in @young is freed, what survives gets older. */
static void collect_into(int generation, union gcheap_head *young, struct gcheap_event *event)
{
	size_t containers, untracked, survivors;
	union gcheap_head unreachable, *old = young;
	bool called;

	if (generation < OLDEST)
		old = &gcheap_heap.generations[generation + 1].ring;
	gcheap_ring_init(&unreachable);
	containers = gcheap_heap.stats.containers;
	gcheap_deduce_unreachable(young, &unreachable);
	untracked = containers - gcheap_heap.stats.containers;
	survivors = gcheap_heap.stats.walked - untracked;
	if (generation < OLDEST)
		gcheap_ring_splice(old, young);
	called = gcheap_finalise_all(&unreachable, &event->collected);
	survivors -= event->collected;
	if (generation == OLDEST) {
		gcheap_heap.long_lived_pending = 0;
		gcheap_heap.long_lived_total = survivors;
	} else if (generation == OLDEST - 1) {
		gcheap_heap.long_lived_pending += survivors;
	}
	if (!called || gcheap_is_closed(&unreachable)) {
		event->uncollectable = gcheap_clear_all(&unreachable, old);
		event->collected -= event->uncollectable;
		return;
	}
	/* a finaliser gave one of them to somebody: they live on, all */
	for (union gcheap_head *head = unreachable.gc.gc_next; head != &unreachable;
	     head = head->gc.gc_next)
		head->gc.gc_refs = GCHEAP_REACHABLE;
	gcheap_ring_splice(old, &unreachable);
	event->collected = 0;
}

size_t gcheap_collect_generation(int generation)
{
	struct gcheap_event event = { .generation = generation };
	struct gcheap_generation *gen;

	if (generation < 0 || generation > OLDEST || gcheap_heap.collecting || !gcheap_heap.ready)
		return 0;
	gen = &gcheap_heap.generations[generation];
	gcheap_heap.collecting = true;
	tell(&event);
	if (generation < OLDEST)
		gen[1].count++;
	for (int i = 0; i <= generation; i++)
		gcheap_heap.generations[i].count = 0;
	for (int i = 0; i < generation; i++)
		gcheap_ring_splice(&gen->ring, &gcheap_heap.generations[i].ring);
	collect_into(generation, &gen->ring, &event);
	gen->stats.collections++;
	gen->stats.collected += event.collected;
	gen->stats.uncollectable += event.uncollectable;
	event.stop = true;
	tell(&event);
	gcheap_heap.collecting = false;
	return event.collected + event.uncollectable;
}

size_t gcheap_collect(void)
{
	return gcheap_collect_generation(OLDEST);
}

void gcheap_collect_due(void)
{
	if (!gcheap_heap.enabled || gcheap_heap.collecting)
		return;
	for (int i = OLDEST; i >= 0; i--) {
		const struct gcheap_generation *gen = &gcheap_heap.generations[i];

		if (gen->count <= gen->threshold)
			continue;
		/* else the time for all collections would be quadratic in objects */
		if (i == OLDEST &&
		    gcheap_heap.long_lived_pending < gcheap_heap.long_lived_total / 4)
			continue;
		gcheap_collect_generation(i);
		return;
	}
}

void gcheap_enable(void)
{
	gcheap_make_ready();
	gcheap_heap.enabled = true;
}

void gcheap_disable(void)
{
	gcheap_make_ready();
	gcheap_heap.enabled = false;
}

bool gcheap_is_enabled(void)
{
	gcheap_make_ready();
	return gcheap_heap.enabled;
}

void gcheap_set_thresholds(const size_t thresholds[GCHEAP_GENERATIONS])
{
	gcheap_make_ready();
	for (int i = 0; i < GCHEAP_GENERATIONS; i++)
		gcheap_heap.generations[i].threshold = thresholds[i];
}

void gcheap_get_thresholds(size_t thresholds[GCHEAP_GENERATIONS])
{
	gcheap_make_ready();
	for (int i = 0; i < GCHEAP_GENERATIONS; i++)
		thresholds[i] = gcheap_heap.generations[i].threshold;
}

void gcheap_get_counts(size_t counts[GCHEAP_GENERATIONS])
{
	for (int i = 0; i < GCHEAP_GENERATIONS; i++)
		counts[i] = gcheap_heap.generations[i].count;
}

bool gcheap_get_generation_stats(int generation, struct gcheap_generation_stats *stats)
{
	if (generation < 0 || generation > OLDEST)
		return false;
	*stats = gcheap_heap.generations[generation].stats;
	return true;
}

bool gcheap_add_callback(gcheap_callback fn, void *arg)
{
	if (gcheap_heap.callback_count == GCHEAP_CALLBACKS_MAX)
		return false;
	gcheap_heap.callbacks[gcheap_heap.callback_count].fn = fn;
	gcheap_heap.callbacks[gcheap_heap.callback_count++].arg = arg;
	return true;
}

bool gcheap_remove_callback(gcheap_callback fn, void *arg)
{
	for (size_t i = 0; i < gcheap_heap.callback_count; i++) {
		if (gcheap_heap.callbacks[i].fn != fn || gcheap_heap.callbacks[i].arg != arg)
			continue;
		gcheap_heap.callback_count--;
		memmove(&gcheap_heap.callbacks[i], &gcheap_heap.callbacks[i + 1],
			(gcheap_heap.callback_count - i) * sizeof(gcheap_heap.callbacks[0]));
		return true;
	}
	return false;
}

void gcheap_save_all(bool on)
{
	gcheap_heap.save_all = on;
}

void gcheap_on_progress(void (*fn)(void *arg), void *arg)
{
	gcheap_heap.progress = fn;
	gcheap_heap.progress_arg = arg;
}
