/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * generic.c - the reader of last resort: names an address by the mapping that it lies in (stack,
 * data of which library, file, heap of the allocator). It reads no memory of the target.
 *
 * The answer is the same for all of a mapping, so it is made once, at the first address asked, and
 * kept by the mapping's index; after that an address costs a binary search.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/reader.h"

/** What is said of a mapping; cell CT_CELL_UNKNOWN: not made yet. */
struct ct_generic_answer {
	uint32_t type;
	uint8_t cell;	/* enum ct_cell */
	bool is_module; /* at the index of a file's first mapping: some of the file is code */
};

struct ct_generic {
	struct ct_heap_source source;
	struct ct_generic_answer *answers; /* one for each of @count mappings */
	size_t count;
};

static bool ct_starts_with(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

/** Stacks of threads that say so by name: glibc (2.40 on, by a tunable) and bionic. */
static bool ct_is_thread_stack(const struct ct_mapping *m)
{
	return ct_starts_with(m->path, "[anon: glibc: pthread stack") ||
	       ct_starts_with(m->path, "[anon: glibc: pthread user stack") ||
	       ct_starts_with(m->path, "[anon:stack_and_tls");
}

/** Whether the loader made the mapping read-only after relocation: the front part of the data. */
static bool ct_is_relro(const struct ct_maps *maps, size_t i)
{
	const struct ct_mapping *m = &maps->list[i], *next = m + 1;

	return i + 1 < maps->count && next->start == m->end && next->module == m->module &&
	       next->writable && next->offset == m->offset + (m->end - m->start);
}

/** The part of an ELF file that a private mapping shows; @cell is set to what memory that is. */
static const char *ct_module_part(const struct ct_maps *maps, size_t i, enum ct_cell *cell)
{
	const struct ct_mapping *m = &maps->list[i];

	*cell = CT_CELL_DATA;
	if (m->kind == CT_MAPPING_BSS)
		return ".bss";
	if (m->writable)
		return ".data";
	if (!m->executable && ct_is_relro(maps, i))
		return ".relro";
	/* not meant to be written: a breakpoint, or a relocation in code */
	*cell = CT_CELL_FILE;
	return m->executable ? ".text" : ".rodata";
}

/** Mapping @i in a word: its cell, and its type into @type. */
static enum ct_cell ct_generic_describe(const struct ct_generic *heap, size_t i, char *type,
					size_t len)
{
	const struct ct_maps *maps = heap->source.maps;
	const struct ct_mapping *m = &maps->list[i];
	enum ct_cell cell = CT_CELL_DATA;
	const char *part;

	switch (m->kind) {
	case CT_MAPPING_STACK:
		snprintf(type, len, "[stack]");
		return CT_CELL_STACK;
	case CT_MAPPING_FILE:
	case CT_MAPPING_BSS:
		if (m->kind == CT_MAPPING_FILE && !heap->answers[m->module].is_module) {
			snprintf(type, len, "%s", m->object);
			return CT_CELL_FILE;
		}
		part = ct_module_part(maps, i, &cell);
		snprintf(type, len, "%.200s %s", m->object, part);
		return cell;
	case CT_MAPPING_SHARED:
		snprintf(type, len, "%s", m->object[0] ? m->object : "[shared]");
		return CT_CELL_FILE;
	case CT_MAPPING_UNKNOWN:
	case CT_MAPPING_ANON:
	case CT_MAPPING_HEAP:
	case CT_MAPPING_SPECIAL:
		break;
	}
	if (ct_is_thread_stack(m)) {
		snprintf(type, len, "[thread stack]");
		return CT_CELL_STACK;
	}
	if (m->inode) /* anonymous by nature, a file by name: /dev/zero, /anon_hugepage */
		snprintf(type, len, "[%s]", m->object);
	else
		snprintf(type, len, "%s", m->path[0] ? m->path : "[anon]");
	return CT_CELL_DATA;
}

static bool ct_generic_locate(void *opaque, ct_raddr_t address, const struct ct_bytes *before,
			      struct ct_place *place)
{
	struct ct_generic *heap = opaque;
	const struct ct_mapping *m = ct_maps__find(heap->source.maps, address);
	struct ct_generic_answer *answer;
	size_t i = m ? (size_t)(m - heap->source.maps->list) : SIZE_MAX;
	char type[256];

	(void)before;
	*place = (struct ct_place){ .cell = CT_CELL_UNKNOWN };
	if (i >= heap->count)
		return true;
	answer = &heap->answers[i];
	if (answer->cell == CT_CELL_UNKNOWN) {
		enum ct_cell cell = ct_generic_describe(heap, i, type, sizeof(type));

		answer->type = ct_names__id(heap->source.types, ct_reader_generic.name, type);
		answer->cell = (uint8_t)cell;
	}
	place->cell = answer->cell;
	place->type = answer->type;
	return true;
}

static void ct_generic_renew(void *opaque, const struct ct_heap_source *source)
{
	struct ct_generic *heap = opaque;
	const struct ct_maps *maps = source->maps;

	/* the process forked again, its mappings are as before */
	if (heap->answers && maps == heap->source.maps)
		return;
	free(heap->answers);
	ct_maps__get(source->maps); /* so that no other reading can have the same address */
	ct_maps__put(heap->source.maps);
	heap->source = *source;
	heap->count = 0;
	heap->answers = calloc(maps->count + 1, sizeof(*heap->answers));
	if (!heap->answers)
		return; /* every address is unknown until the next renew */
	heap->count = maps->count;
	for (size_t i = 0; i < maps->count; i++)
		if (maps->list[i].inode && maps->list[i].executable)
			heap->answers[maps->list[i].module].is_module = true;
}

static void ct_generic_close(void *opaque)
{
	struct ct_generic *heap = opaque;

	if (!heap)
		return;
	ct_maps__put(heap->source.maps);
	free(heap->answers);
	free(heap);
}

static void *ct_generic_attach(const struct ct_heap_source *source, const char **why)
{
	struct ct_generic *heap = calloc(1, sizeof(*heap));

	if (heap)
		ct_generic_renew(heap, source);
	if (!heap || !heap->answers) {
		ct_generic_close(heap);
		*why = "out of memory";
		return NULL;
	}
	return heap;
}

const struct ct_reader ct_reader_generic = {
	.name = "generic",
	.attach = ct_generic_attach,
	.locate = ct_generic_locate,
	.renew = ct_generic_renew,
	.close = ct_generic_close,
};
