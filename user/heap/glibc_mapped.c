/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * glibc_mapped.c - see glibc_mapped.h. Sixteen bytes are read of each page that the target has
 * touched, once: after that an address costs a binary search. A chunk is read again each time it is
 * the answer, and forgotten when it has changed.
 */
#include "heap/glibc_mapped.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#include "heap/glibc_index.h"

#define CT_SPANS_MAX	  4096u
#define CT_SEARCH_PAGES	  65536u /* before an address, at most: 256 MiB */
#define CT_SEARCH_BATCH	  512u
#define CT_SEARCH_REST	  20u		 /* searching takes at most a twentieth of the time */
#define CT_SEARCH_FREE_NS 20000000u	 /* what searches may cost without a rest */
#define CT_MAPPED_MIN	  (128ull << 10) /* what malloc maps at the least, untuned */

/** CPU time of this thread: what a search costs us, however busy the machine is. */
static uint64_t ct_cpu_ns(void)
{
	return ct_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/** The bytes of the mapping whose chunk has this head; 0: no such head. Its size is the mapping's,
 * in 2.43 (seen in Debian's 2.43-1) less the 16 bytes of a head. */
static uint64_t ct_mapped_total(const struct ct_chunk_head *head)
{
	uint64_t size = head->size & ~(uint64_t)CT_CHUNK_FLAGS;

	if (head->prev_size || (head->size & CT_CHUNK_FLAGS) != CT_CHUNK_MMAPPED || !size)
		return 0;
	if (size % CT_PAGE_SIZE == CT_PAGE_SIZE - CT_CHUNK_HEAD)
		size += CT_CHUNK_HEAD;
	return size % CT_PAGE_SIZE ? 0 : size;
}

/** The bytes of the chunk at @at (a page's start that the target has touched); 0: none. */
static uint64_t ct_mapped_size(struct ct_remote *memory, const struct ct_mapped_run *run,
			       ct_raddr_t at)
{
	struct ct_chunk_head head;
	uint64_t size;

	if (at < run->start || at >= run->end ||
	    ct_remote__read(memory, at, &head, sizeof(head)) != sizeof(head))
		return 0;
	size = ct_mapped_total(&head);
	return size <= run->end - at ? size : 0;
}

/** Is there a chunk at @at, a page that the target may not have touched? */
static bool ct_is_mapped(struct ct_remote *memory, const struct ct_mapped_run *run, ct_raddr_t at)
{
	uint8_t present;

	return at < run->end && ct_remote__present(memory, at, 1, &present) && present &&
	       ct_mapped_size(memory, run, at);
}

/** Index of the first span that ends behind @address. */
static size_t ct_span_at(const struct ct_mapped *mapped, ct_raddr_t address)
{
	size_t low = 0, high = mapped->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (mapped->spans[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/** Enter @span, over whatever was known of its addresses. */
static void ct_span_enter(struct ct_mapped *mapped, const struct ct_mapped_span *span)
{
	size_t from = ct_span_at(mapped, span->start), to = from;

	if (!mapped->spans)
		mapped->spans = calloc(CT_SPANS_MAX, sizeof(*mapped->spans));
	if (!mapped->spans)
		return;
	while (to < mapped->count && mapped->spans[to].start < span->end)
		to++;
	if (to == from && mapped->count == CT_SPANS_MAX)
		from = to = mapped->count = 0; /* full: begin anew */
	memmove(mapped->spans + from + 1, mapped->spans + to,
		(mapped->count - to) * sizeof(*mapped->spans));
	mapped->count = mapped->count + 1 - (to - from);
	mapped->spans[from] = *span;
}

/** Look for the chunk around @address page by page, not before @floor. */
static struct ct_mapped_span ct_mapped_search(struct ct_remote *memory,
					      const struct ct_mapped_run *run, ct_raddr_t floor,
					      ct_raddr_t address)
{
	struct ct_mapped_span span = { .end = (address & CT_PAGE_MASK) + CT_PAGE_SIZE };
	uint8_t present[CT_SEARCH_BATCH];
	size_t batch;

	for (span.start = span.end; span.start > floor; span.start -= batch * CT_PAGE_SIZE) {
		batch = (size_t)((span.start - floor) / CT_PAGE_SIZE);
		if (batch > CT_SEARCH_BATCH)
			batch = CT_SEARCH_BATCH;
		if (!ct_remote__present(memory, span.start - batch * CT_PAGE_SIZE, batch, present))
			break;
		for (size_t i = 1; i <= batch; i++) {
			ct_raddr_t at = span.start - i * CT_PAGE_SIZE;
			uint64_t size = present[batch - i] ? ct_mapped_size(memory, run, at) : 0;

			if (!size)
				continue;
			span.is_chunk = size >= CT_MAPPED_MIN && address - at < size;
			if (!span.is_chunk) { /* it ends before the address */
				span.start =
					size < address - at ? at + size : span.end - CT_PAGE_SIZE;
				return span;
			}
			span.start = at;
			span.end = at + size;
			span.unproven = at != run->start && span.end != run->end &&
					!ct_is_mapped(memory, run, span.end);
			return span;
		}
	}
	return span;
}

static bool ct_mapped_fill(const struct ct_mapped_span *span, ct_raddr_t address,
			   struct ct_chunk *chunk)
{
	if (!span->is_chunk || address - span->start >= span->end - span->start)
		return false;
	*chunk = (struct ct_chunk){
		.user = span->start + CT_CHUNK_HEAD,
		.size = span->end - span->start - CT_CHUNK_HEAD,
		.in_use = true,
		.in_header = address < span->start + CT_CHUNK_HEAD,
		.unproven = span->unproven,
	};
	return true;
}

/** Is what was found still so? */
static bool ct_span_holds(const struct ct_mapped *mapped, const struct ct_mapped_span *span,
			  struct ct_remote *memory)
{
	struct ct_chunk_head head;

	if (!span->is_chunk)
		return span->epoch == mapped->epoch;
	return ct_chunk_head_read(memory, span->start, &head) &&
	       ct_mapped_total(&head) == span->end - span->start;
}

bool ct_mapped__find(struct ct_mapped *mapped, struct ct_remote *memory,
		     const struct ct_mapped_run *run, ct_raddr_t address, struct ct_chunk *chunk)
{
	size_t i = ct_span_at(mapped, address);
	struct ct_mapped_span span;
	ct_raddr_t floor = run->start;
	uint64_t now;

	if (i < mapped->count && mapped->spans[i].start <= address &&
	    ct_span_holds(mapped, &mapped->spans[i], memory))
		return ct_mapped_fill(&mapped->spans[i], address, chunk);
	now = ct_now_ns();
	if (!mapped->since_ns)
		mapped->since_ns = now;
	if (mapped->cost_ns > CT_SEARCH_FREE_NS + (now - mapped->since_ns) / CT_SEARCH_REST)
		return false;
	if (address - floor > CT_SEARCH_PAGES * CT_PAGE_SIZE)
		floor = (address & CT_PAGE_MASK) - CT_SEARCH_PAGES * CT_PAGE_SIZE;
	/* what begins in or before a span that ends before the address does not reach up to it */
	if (i && mapped->spans[i - 1].end > floor &&
	    ct_span_holds(mapped, &mapped->spans[i - 1], memory))
		floor = mapped->spans[i - 1].end;
	now = ct_cpu_ns();
	span = ct_mapped_search(memory, run, floor, address);
	span.epoch = mapped->epoch;
	ct_span_enter(mapped, &span);
	mapped->cost_ns += ct_cpu_ns() - now;
	return ct_mapped_fill(&span, address, chunk);
}

void ct_mapped__renew(struct ct_mapped *mapped)
{
	mapped->epoch++;
}

void ct_mapped__free(struct ct_mapped *mapped)
{
	free(mapped->spans);
	*mapped = (struct ct_mapped){ 0 };
}
