/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * glibc_reader.c - the reader for what no runtime has claimed in a heap of glibc's: chunk headers,
 * free chunks, and chunks in use, of which nothing more is known than that they are somebody's.
 */
#include <stdlib.h>

#include "heap/glibc.h"

struct ct_glibc_heap {
	struct ct_glibc *glibc;
	uint32_t type; /* of a chunk in use */
};

static void *ct_glibc_attach(const struct ct_heap_source *source, const char **why)
{
	struct ct_glibc_heap *heap = calloc(1, sizeof(*heap));

	if (!heap) {
		*why = "out of memory";
		return NULL;
	}
	heap->glibc = ct_glibc__new(source, why);
	if (!heap->glibc) {
		free(heap);
		return NULL;
	}
	heap->type = ct_names__id(source->types, ct_reader_glibc.name, "[malloc]");
	return heap;
}

static bool ct_glibc_locate(void *handle, ct_raddr_t address, const struct ct_bytes *before,
			    struct ct_place *place)
{
	struct ct_glibc_heap *heap = handle;
	struct ct_chunk chunk;

	(void)before;
	if (!ct_glibc__chunk(heap->glibc, address, &chunk) || chunk.unproven)
		return false;
	*place = (struct ct_place){ .cell = CT_CELL_ALLOCATOR };
	if (chunk.in_header)
		return true;
	place->cell = chunk.in_use ? CT_CELL_DATA : CT_CELL_FREE;
	place->type = chunk.in_use ? heap->type : 0;
	place->object = chunk.user;
	place->offset =
		address - chunk.user < UINT32_MAX ? (uint32_t)(address - chunk.user) : UINT32_MAX;
	place->size = chunk.size < UINT32_MAX ? (uint32_t)chunk.size : UINT32_MAX;
	return true;
}

static void ct_glibc_renew(void *handle, const struct ct_heap_source *source)
{
	struct ct_glibc_heap *heap = handle;

	ct_glibc__renew(heap->glibc, source);
}

static void ct_glibc_close(void *handle)
{
	struct ct_glibc_heap *heap = handle;

	if (!heap)
		return;
	ct_glibc__free(heap->glibc);
	free(heap);
}

const struct ct_reader ct_reader_glibc = {
	.name = "glibc",
	.attach = ct_glibc_attach,
	.locate = ct_glibc_locate,
	.renew = ct_glibc_renew,
	.close = ct_glibc_close,
};
