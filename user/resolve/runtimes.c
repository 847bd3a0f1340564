/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * runtimes.c - interpreters that come up are told of: to the kernel side, which reads them at each
 * fault, and to those who print. A forked child has its parent's at the same addresses; one that a
 * child makes or loads itself is found in its own memory.
 */
#include <string.h>

#include "resolve/impl.h"

#define CT_LOOK_NS	10000000ull
#define CT_LOOK_EACH_NS 1000ull /* and longer the more images there are */

void ct_runtimes__tell(struct ct_resolver *resolver, struct ct_image *image, uint32_t tid)
{
	static const struct ct_runtime none;
	bool own = image->own && image->own->interpreter_reader >= 0;
	const struct ct_heaps *heaps = own ? image->own : image->inherited;
	const struct ct_resolver_events *events = &resolver->events;

	if (!heaps || heaps->interpreter_reader < 0 || image->ended || image->row == CT_ROW_NONE)
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

void ct_runtimes__look(struct ct_resolver *resolver)
{
	uint64_t now_ns = ct_monotonic_ns(), id, value;
	size_t cursor = 0;

	if (now_ns - resolver->looked_ns <
	    CT_LOOK_NS + CT_LOOK_EACH_NS * ct_map__count(&resolver->images))
		return;
	resolver->looked_ns = now_ns;
	while (ct_map__next(&resolver->images, &cursor, &id, &value)) {
		struct ct_image *image = (struct ct_image *)(uintptr_t)value;

		if (image->ended)
			continue;
		if (image->own)
			ct_heaps__look_again(image->own, now_ns);
		ct_runtimes__tell(resolver, image, 0);
	}
}
