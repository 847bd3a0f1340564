/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * runtimes.c - interpreters that come up are told of: to the kernel side, which reads them at each
 * fault, and to those who print. A forked child has its parent's at the same addresses; one that a
 * child makes or loads itself is found in its own memory.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fmt.h"
#include "base/log.h"
#include "resolve/impl.h"

#define CT_LOOK_NS	10000000ull
#define CT_LOOK_MOST_NS 20000000ull /* without a break */
#define CT_LOOK_REST	8

/* For the user's eyes, each reason once in a run, however many processes it is true of. */
static void ct_warn_refusal(struct ct_resolver *resolver, const char *refusal)
{
	char text[4 * CT_REFUSAL_LEN];

	for (size_t i = 0; i < resolver->n_refusals; i++)
		if (!strcmp(resolver->refusals[i], refusal))
			return;
	if (resolver->n_refusals == CT_REFUSALS)
		return;
	snprintf(resolver->refusals[resolver->n_refusals++], CT_REFUSAL_LEN, "%s", refusal);
	ct_warn("%s; such faults are counted as generic",
		ct_escape(text, sizeof(text), refusal, CT_REFUSAL_LEN));
}

/* One that no reader knows how to read: that is said, too. */
static void ct_tell_refusal(struct ct_resolver *resolver, struct ct_image *image)
{
	const struct ct_heaps *heaps = image->own;
	struct ct_interpreter refused = { 0 };

	if (!heaps || !heaps->refusal[0] || heaps->interpreter_reader >= 0 || image->told_refusal ||
	    image->inherited)
		return;
	image->told_refusal = true;
	ct_warn_refusal(resolver, heaps->refusal);
	if (!resolver->events.interpreter_found)
		return;
	snprintf(refused.no_stacks, sizeof(refused.no_stacks), "%s", heaps->refusal);
	resolver->events.interpreter_found(resolver->events.context, image->row, image->pid,
					   ct_readers[heaps->refusal_reader]->name, &refused);
}

void ct_runtimes__tell(struct ct_resolver *resolver, struct ct_image *image, uint32_t tid)
{
	static const struct ct_runtime none;
	bool own = image->own && image->own->interpreter_reader >= 0;
	const struct ct_heaps *heaps = own ? image->own : image->inherited;
	const struct ct_resolver_events *events = &resolver->events;

	if (image->ended || image->row == CT_ROW_NONE)
		return;
	ct_tell_refusal(resolver, image);
	if (!heaps || heaps->interpreter_reader < 0)
		return;
	/* what the parent's became after the fork is not the child's */
	if (!own ? image->has_runtime : image->serial == heaps->interpreter_serial)
		return;
	if (own) {
		image->serial = heaps->interpreter_serial;
		if (!image->inherited && events->interpreter_found)
			events->interpreter_found(events->context, image->row, image->pid,
						  ct_readers[heaps->interpreter_reader]->name,
						  &heaps->interpreter);
	}
	if (!memcmp(&image->runtime, &heaps->interpreter.runtime, sizeof(image->runtime)) ||
	    !memcmp(&none, &heaps->interpreter.runtime, sizeof(none)))
		return;
	memcpy(&image->runtime, &heaps->interpreter.runtime, sizeof(image->runtime));
	image->has_runtime = true;
	if (events->runtime_found)
		events->runtime_found(events->context, image->id, tid, &image->runtime);
}

/* In turns: however many processes there are, no more than a ninth of the time goes into this,
 * and the ring of records does not wait for long. */
void ct_runtimes__look(struct ct_resolver *resolver)
{
	uint64_t begin_ns = ct_now_ns(), now_ns = begin_ns, id, value;

	if (begin_ns < resolver->look_ns)
		return;
	while (now_ns - begin_ns < CT_LOOK_MOST_NS) {
		struct ct_image *image;

		if (!ct_map__next(&resolver->images, &resolver->look_cursor, &id, &value)) {
			resolver->look_cursor = 0;
			break;
		}
		image = (struct ct_image *)(uintptr_t)value;
		if (image->ended)
			continue;
		if (image->own && ct_heaps__look_again(image->own, now_ns))
			now_ns = ct_now_ns();
		ct_runtimes__tell(resolver, image, 0);
	}
	now_ns = ct_now_ns();
	resolver->look_ns = now_ns + CT_LOOK_NS + CT_LOOK_REST * (now_ns - begin_ns);
}
