/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * explain.c - a fault explained.
 *
 * Which memory explains it? The page that was copied is one that the image had when it was forked,
 * so its parent's heap explains it: the parent still has the bytes as they were, while the child is
 * just changing them and may be gone when we look. What the image mapped since, and what it shares
 * with children of its own, its own heap explains.
 */
#include <stdio.h>
#include <string.h>

#include "resolve/cause.h"
#include "resolve/impl.h"

/* Carried bytes are compared with those read later: always at first, then in one of so many. */
#define CT_COMPARE_ALL	65536
#define CT_COMPARE_EACH 16

struct ct_heaps *ct_heaps_for(struct ct_resolver *resolver, struct ct_image *image,
			      ct_raddr_t address)
{
	struct ct_heaps *own;

	if (image->inherited && !image->has_forked &&
	    ct_maps__find(image->inherited->source.maps, address))
		return image->inherited;
	own = ct_image__own(image, &resolver->source);
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
	return ct_names__id(resolver->names.writers, "[another process]", *comm ? comm : "unknown");
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

/* The bytes that were carried are the truth: would reading them later have said the same? Only
 * asked of pages shared by fork, which the process that is read has touched. */
static void ct_compare(struct ct_resolver *resolver, struct ct_heaps *heaps,
		       const struct ct_record *record, const struct ct_bytes *before,
		       const struct ct_place *place)
{
	static const struct ct_bytes none;
	struct ct_resolver_bytes *count = &resolver->bytes;
	size_t at = before->address & ~CT_PAGE_MASK;
	struct ct_place without;
	const uint8_t *page;
	int reader;

	if (count->carried++ >= CT_COMPARE_ALL && count->carried % CT_COMPARE_EACH)
		return;
	if (record->kind != CT_KIND_COPY || !heaps->source.memory ||
	    at + before->len > CT_PAGE_SIZE)
		return;
	page = ct_remote__page(heaps->source.memory, before->address);
	if (!page)
		return;
	count->compared++;
	if (!memcmp(page + at, before->data, before->len))
		return;
	count->differ++;
	without = ct_heaps__locate(heaps, record->address, &none, &reader);
	count->place_differ += without.cell != place->cell || without.object != place->object ||
			       without.type != place->type;
}

struct ct_heaps *ct_explain(struct ct_resolver *resolver, struct ct_image *image,
			    const struct ct_record *record, size_t len, struct ct_sample *sample,
			    int *reader)
{
	struct ct_heaps *heaps = ct_heaps_for(resolver, image, record->address);
	struct ct_bytes before = { 0 };
	struct ct_place place = { 0 };

	*reader = -1;
	if ((record->flags & CT_FLAG_BYTES) && len >= sizeof(struct ct_record_bytes)) {
		const struct ct_record_bytes *more = (const struct ct_record_bytes *)record;

		before = (struct ct_bytes){ more->bytes_address, more->bytes, CT_BYTES_LEN };
	}
	if (heaps)
		place = ct_heaps__locate(heaps, record->address, &before, reader);
	if (heaps && before.len)
		ct_compare(resolver, heaps, record, &before, &place);
	sample->cell = (uint8_t)place.cell;
	sample->type = place.type;
	sample->object = place.object;
	sample->offset = place.offset;
	sample->size = place.size;
	sample->heap = *reader < 0 ? NULL : ct_readers[*reader]->name;
	sample->writer = ct_writer_of(resolver, image, record);
	sample->cause = (uint8_t)ct_cause_of(
		&place, *reader, ct_names__name(resolver->names.writers, sample->writer),
		record->phase);
	return heaps && *reader >= 0 && place.owner_unknown && ct_readers[*reader]->owners ? heaps
											   : NULL;
}
