/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * checked.c - the checked build: is this pointer an object, alive, of that type? The heap map says
 * so, the same that is there for cowtrace. Freed blocks are kept from use for a while, so that what
 * still refers to them is found out. And allocations can be made to fail.
 */
#include "internal.h"

#ifdef GCHEAP_CHECKED

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETIRED 4096u

static void (*misuse_fn)(const char *message);
static int64_t fail_after = -1;
static size_t allocations;
static void *retired[RETIRED];
static size_t retired_next;
static const struct heapmap_arena *last_arena; /* found; only a hint */

void gcheap_on_misuse(void (*fn)(const char *message))
{
	misuse_fn = fn;
}

void gcheap_fail_after(int64_t count)
{
	fail_after = count;
}

size_t gcheap_allocations(void)
{
	return allocations;
}

bool gcheap_may_allocate(void)
{
	allocations++;
	if (fail_after == 0)
		return false;
	if (fail_after > 0)
		fail_after--;
	return true;
}

void *gcheap_retire(void *block)
{
	void *oldest = retired[retired_next % RETIRED];

	retired[retired_next++ % RETIRED] = block;
	return oldest;
}

void gcheap_forget_retired(void)
{
	memset(retired, 0, sizeof(retired));
}

static bool misuse(const char *call, const char *format, const char *name, const void *op)
{
	char what[160], message[256];

	snprintf(what, sizeof(what), format, name, op);
	snprintf(message, sizeof(message), "gcheap: %s: %s", call, what);
	if (misuse_fn) {
		misuse_fn(message);
		return false;
	}
	fprintf(stderr, "%s\n", message);
	abort();
}

static bool is_in(const struct heapmap_arena *arena, uintptr_t address)
{
	return arena->pool_count && address >= arena->start && address < arena->end;
}

static const struct heapmap_arena *arena_of(uintptr_t address)
{
	const struct heapmap_arena *arenas = (void *)(uintptr_t)heapmap_here.arenas;
	uint32_t count = heapmap_here.arena_count;

	if (last_arena >= arenas && last_arena < arenas + count && is_in(last_arena, address))
		return last_arena;
	for (uint32_t i = 0; i < count; i++) {
		if (is_in(&arenas[i], address))
			return last_arena = &arenas[i];
	}
	return NULL;
}

/* The type of a block, alive or freed: its word is not overwritten until the block is used again.*/
static const char *name_at(const struct heapmap_pool *entry, const struct gcheap_object *op)
{
	const struct gcheap_type *type = (void *)(uintptr_t)entry->type;

	if (entry->flags & HEAPMAP_MIXED)
		type = op->type;
	return type ? type->name : "object";
}

bool gcheap_check(const struct gcheap_object *op, const char *call)
{
	const struct heapmap_arena *arena = arena_of((uintptr_t)op);
	size_t head, offset, index;
	struct heapmap_pool *entry;

	if (!arena)
		return misuse(call, "%s%p is no address of this heap", "", op);
	offset = (uintptr_t)op - arena->start;
	index = offset / arena->pool_bytes;
	offset %= arena->pool_bytes;
	if (index >= arena->pool_count || offset < arena->pool_header_bytes)
		return misuse(call, "%s%p is no object: the heap's own memory", "", op);
	entry = (void *)(uintptr_t)(arena->directory + index * arena->entry_bytes);
	if (!entry->block_bytes)
		return misuse(call, "use after free: %s%p was freed, and all around it", "", op);
	head = (entry->flags & (HEAPMAP_GC | HEAPMAP_APART)) == HEAPMAP_GC
		       ? sizeof(union gcheap_head)
		       : 0;
	offset -= arena->pool_header_bytes;
	index = offset / entry->block_bytes;
	if (index >= entry->carved || entry->flags & HEAPMAP_RAW ||
	    offset % entry->block_bytes != head)
		return misuse(call, "%s%p is no object: free, a buffer or inside of one", "", op);
	if (!(entry->live[index / 64] >> index % 64 & 1))
		return misuse(call,
			      strcmp(call, "gcheap_decref")
				      ? "use after free: the %s at %p was freed"
				      : "double decref: the %s at %p was freed",
			      name_at(entry, op), op);
	if (gcheap_refcount(op) == 0 &&
	    (!strcmp(call, "gcheap_decref") || !strcmp(call, "gcheap_incref")))
		return misuse(call, "the %s at %p is being freed: its refcount is 0",
			      op->type->name, op);
	return true;
}

bool gcheap_is_type(const struct gcheap_object *op, const struct gcheap_type *type,
		    const char *call)
{
	char format[96];

	if (!gcheap_check(op, call))
		return false;
	if (op->type == type)
		return true;
	snprintf(format, sizeof(format), "wrong type: the %%s at %%p is no %s", type->name);
	return misuse(call, format, op->type->name, op);
}

#else

typedef int gcheap_checked_is_another_build;

#endif /* GCHEAP_CHECKED */
