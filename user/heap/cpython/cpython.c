/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * cpython.c - the reader of CPython's heap, 2.7 to 3.15, without help from the interpreter or from
 * debug symbols:
 *
 *   address -> mapping -> pool -> block -> object -> part of it   (small objects: pymalloc)
 *                      -> chunk of glibc's        -> object       (big ones, PYTHONMALLOC=malloc)
 *                      -> data of a module        -> static object
 *
 * A place's object is what id() says: the start of the PyObject, behind the GC header and what else
 * stands before it. Its offset is the address less that, so for those headers a negative number in
 * 32 bits; its size is that of the block from there on. Of free blocks, buffers and what belongs to
 * the allocator, object and size are those of the block, pool or chunk as a whole.
 */
#include "heap/cpython/cpython.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "heap/cpython/buffers.h"
#include "heap/cpython/internal.h"
#include "heap/cpython/objects.h"
#include "heap/cpython/statics.h"

#define CT_CHUNK_HEAD 16u

static void ct_cpython_close(void *opaque)
{
	struct ct_py_heap *heap = opaque;

	if (!heap)
		return;
	ct_glibc__free(heap->glibc);
	ct_py_lines__free(heap->lines);
	ct_py_pools__free(heap->pools);
	ct_py_types__free(heap->types);
	ct_py_present__free(heap->present);
	free(heap);
}

static void *ct_cpython_attach(const struct ct_heap_source *source, const char **why)
{
	static const char no_memory[] = "out of memory";
	const char *no_glibc = "";
	static char refusal[128]; /* until the next attach */
	char text[96] = "";
	struct ct_py_heap *heap;

	if (!source->memory || !source->maps) {
		*why = "its memory can't be read";
		return NULL;
	}
	heap = calloc(1, sizeof(*heap));
	*why = no_memory;
	if (!heap)
		return NULL;
	if (!ct_python__find(&heap->python, source, why, text, sizeof(text))) {
		if (*why == text) { /* its version in words, and what is wrong with it */
			snprintf(refusal, sizeof(refusal), "%s%s", text,
				 strstr(text, "not read") ? "" : ": it is not read");
			*why = refusal;
		}
		free(heap);
		return NULL;
	}
	heap->present = ct_py_present__new(source->memory);
	heap->types = ct_py_types__new(&heap->python, heap->present);
	if (heap->present && heap->types)
		heap->pools = ct_py_pools__new(&heap->python, heap->present);
	heap->lines = ct_py_lines__new();
	if (!heap->pools || !heap->lines) {
		*why = no_memory;
		ct_cpython_close(heap);
		return NULL;
	}
	heap->glibc = ct_glibc__new(source, &no_glibc);
	if (!heap->glibc)
		ct_debug("pid %d: python without glibc's heap: %s", source->maps->pid, no_glibc);
	return heap;
}

static void ct_cpython_renew(void *opaque, const struct ct_heap_source *source)
{
	struct ct_py_heap *heap = opaque;
	ct_raddr_t module = heap->python.module ? heap->python.module->start : 0;
	const char *why = "";

	heap->python.source = *source;
	heap->python.module = module ? ct_maps__find(source->maps, module) : NULL;
	heap->last = NULL;
	heap->states_read = false;
	memset(heap->seen, 0, sizeof(heap->seen));
	memset(heap->known, 0, sizeof(heap->known));
	ct_py_present__renew(heap->present);
	ct_py_types__renew(heap->types);
	ct_py_pools__renew(heap->pools);
	ct_py_lines__renew(heap->lines);
	if (heap->glibc)
		ct_glibc__renew(heap->glibc, source);
	else
		heap->glibc = ct_glibc__new(source, &why);
}

/** @address lies in @pool: in its head, in the rest behind the last block, or in a block. */
static void ct_pool_locate(struct ct_py_heap *heap, const struct ct_py_pool *pool,
			   ct_raddr_t address, const struct ct_bytes *before,
			   struct ct_place *place)
{
	uint32_t offset = (uint32_t)(address - pool->base), index;
	struct ct_py_block block = { .bytes = pool->block_bytes };

	if (offset < CT_POOL_HEAD) {
		ct_py_place__set(place, CT_CELL_ALLOCATOR, address, pool->base, pool->pool_bytes);
		return;
	}
	index = (offset - CT_POOL_HEAD) / pool->block_bytes;
	block.start = pool->base + CT_POOL_HEAD + (uint64_t)index * pool->block_bytes;
	if (block.start + block.bytes > pool->base + pool->pool_bytes)
		ct_py_place__set(place, CT_CELL_ALLOCATOR, address, pool->base, pool->pool_bytes);
	else if (!pool->used || ct_py_pool_is_free(pool, index))
		ct_py_place__set(place, CT_CELL_FREE, address, block.start, block.bytes);
	else
		ct_py_object__locate(heap, &block, address, before, place);
}

/** Does @block hold the state of an interpreter or of a thread? */
static bool ct_is_state(struct ct_py_heap *heap, const struct ct_py_block *block)
{
	ct_raddr_t interpreters[CT_PY_INTERPRETERS];
	size_t count, at = 0;

	if (!heap->states_read) {
		heap->states_read = true;
		count = ct_py_interpreters(&heap->python, interpreters, CT_PY_INTERPRETERS);
		for (size_t i = 0; i < count && at < CT_PY_STATES; i++) {
			heap->states[at++] = interpreters[i];
			at += ct_py_threads(&heap->python, interpreters[i], heap->states + at,
					    CT_PY_STATES - at);
		}
		heap->state_count = at;
	}
	for (size_t i = 0; i < heap->state_count; i++)
		if (heap->states[i] >= block->start &&
		    heap->states[i] < block->start + block->bytes)
			return true;
	return false;
}

/** As ct_pool_locate, for a chunk of glibc's. */
static bool ct_chunk_locate(struct ct_py_heap *heap, ct_raddr_t address,
			    const struct ct_bytes *before, struct ct_place *place)
{
	struct ct_py_block block;
	struct ct_chunk chunk;

	if (!heap->glibc || !ct_glibc__chunk(heap->glibc, address, &chunk))
		return false;
	block = (struct ct_py_block){ .start = chunk.user, .bytes = chunk.size };
	if (chunk.in_header)
		ct_py_place__set(place, CT_CELL_ALLOCATOR, address, chunk.user - CT_CHUNK_HEAD,
				 chunk.size + CT_CHUNK_HEAD);
	else if (!chunk.in_use)
		ct_py_place__set(place, CT_CELL_FREE, address, chunk.user, chunk.size);
	else
		ct_py_object__locate(heap, &block, address, before, place);
	if (place->owner_unknown && ct_is_state(heap, &block)) {
		*place = (struct ct_place){ .cell = CT_CELL_DATA, .interpreter = true };
		place->type = ct_py_types__state_id(heap->types);
	}
	return true;
}

static bool ct_cpython_locate(void *opaque, ct_raddr_t address, const struct ct_bytes *before,
			      struct ct_place *place)
{
	struct ct_py_heap *heap = opaque;
	const struct ct_mapping *m = heap->last;
	const struct ct_py_pool *pool;

	if (!m || address < m->start || address >= m->end)
		m = heap->last = ct_maps__find(heap->python.source.maps, address);
	if (!m || !m->writable || m->shared)
		return false;
	*place = (struct ct_place){ .cell = CT_CELL_UNKNOWN };
	if (m->kind != CT_MAPPING_ANON && m->kind != CT_MAPPING_HEAP && m->kind != CT_MAPPING_BSS &&
	    m->kind != CT_MAPPING_FILE)
		return false;
	if (m->kind == CT_MAPPING_HEAP && ct_chunk_locate(heap, address, before, place))
		return true;
	/* an arena, or a mapping of malloc's, may lie right behind a library's .bss, and then
	 * counts as a part of that */
	pool = m->kind == CT_MAPPING_FILE ? NULL : ct_py_pools__find(heap->pools, m, address);
	if (pool) {
		ct_pool_locate(heap, pool, address, before, place);
		return true;
	}
	if ((m->kind == CT_MAPPING_FILE || m->kind == CT_MAPPING_BSS) &&
	    ct_py_static__locate(heap, m, address, before, place))
		return true;
	return (m->kind == CT_MAPPING_ANON || m->kind == CT_MAPPING_BSS) &&
	       ct_chunk_locate(heap, address, before, place);
}

static size_t ct_cpython_owners(void *opaque, struct ct_owner_query *queries, size_t count,
				uint64_t budget_ns)
{
	return ct_py_buffers__owners(opaque, queries, count, budget_ns);
}

static bool ct_cpython_interpreter(void *opaque, struct ct_interpreter *interpreter)
{
	struct ct_py_heap *heap = opaque;

	ct_python__phase(&heap->python, interpreter);
	return true;
}

static bool ct_cpython_source_line(void *opaque, const struct ct_frame *frame,
				   struct ct_source_line *line)
{
	struct ct_py_heap *heap = opaque;

	return ct_py_lines__find(heap->lines, &heap->python, frame, line);
}

const struct ct_reader ct_reader_cpython = {
	.name = "cpython",
	.attach = ct_cpython_attach,
	.locate = ct_cpython_locate,
	.renew = ct_cpython_renew,
	.close = ct_cpython_close,
	.owners = ct_cpython_owners,
	.interpreter = ct_cpython_interpreter,
	.source_line = ct_cpython_source_line,
};
