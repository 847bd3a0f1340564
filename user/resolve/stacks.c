/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * stacks.c - a stack comes in a record of its own, before its fault: it is kept until that comes,
 * and its frames are put in words then.
 *
 * The line of a fault is that of the innermost Python frame. Where there is none, the function is
 * the native one that wrote, and there is no line. A fault of which a stack was taken that leads
 * nowhere still counts as a sample: its line is unknown.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolve/impl.h"

#define CT_STACK_SLOTS 1024 /* threads whose stack waits for its fault, at most */

struct ct_stacks {
	struct ct_record_stack slots[CT_STACK_SLOTS]; /* rec.type 0: empty */
};

#define CT_CALL_BYTES 8 /* no call is longer */

/* Does @code, the bytes before an address, end in a call? */
static bool ct_ends_in_call(const uint8_t code[CT_CALL_BYTES])
{
#ifdef __aarch64__
	uint32_t instruction;

	memcpy(&instruction, code + 4, sizeof(instruction));
	return (instruction & 0xfc000000) == 0x94000000 || /* bl */
	       (instruction & 0xfffffc1f) == 0xd63f0000;   /* blr */
#else
	const uint8_t *end = code + CT_CALL_BYTES;

	if (end[-5] == 0xe8) /* call rel32 */
		return true;
	for (int len = 2; len <= 7; len++) /* call r/m64: ff /2, with its operands behind */
		if (end[-len] == 0xff && (end[1 - len] & 0x38) == 0x10)
			return true;
	return false;
#endif
}

void ct_stacks__free(struct ct_stacks *stacks)
{
	free(stacks);
}

void ct_stacks__keep(struct ct_resolver *resolver, const struct ct_record_stack *stack, size_t len)
{
	size_t head = offsetof(struct ct_record_stack, frames), n;
	struct ct_record_stack *slot;

	if (len < head)
		return;
	if (!resolver->stacks)
		resolver->stacks = calloc(1, sizeof(*resolver->stacks));
	if (!resolver->stacks)
		return;
	slot = &resolver->stacks->slots[stack->rec.tid % CT_STACK_SLOTS];
	n = (len - head) / sizeof(struct ct_frame);
	n = n < stack->n_frames ? n : stack->n_frames;
	n = n < CT_STACK_FRAMES ? n : CT_STACK_FRAMES;
	memcpy(slot, stack, head + n * sizeof(struct ct_frame));
	slot->n_frames = (uint32_t)n;
}

/* A Python frame. Which memory holds the code object is as with a fault; but what a child compiled
 * itself may stand where its parent has nothing of the kind: then its own is asked. */
static bool ct_python_frame(struct ct_resolver *resolver, struct ct_image *image,
			    const struct ct_frame *frame, struct ct_source_line *line)
{
	struct ct_heaps *heaps = ct_heaps_for(resolver, image, frame->code);

	if (heaps && ct_heaps__source_line(heaps, frame, line))
		return true;
	if (!heaps || heaps == image->own)
		return false;
	heaps = ct_image__own(image, &resolver->source);
	return heaps && ct_heaps__source_line(heaps, frame, line);
}

/* Is there a call right before @ip? The kernel finds native callers by the frame pointer, and where
 * code was built without one it finds whatever stands there instead. Only code that the process ran
 * is looked at. */
static bool ct_is_called_from(struct ct_heaps *heaps, ct_raddr_t ip)
{
	const struct ct_mapping *mapping = ct_maps__find(heaps->source.maps, ip - 1);
	uint8_t code[CT_CALL_BYTES], present = 0;
	const uint8_t *page;
	size_t at = (ip - CT_CALL_BYTES) & ~CT_PAGE_MASK;

	if (!mapping || !mapping->executable || mapping->kind == CT_MAPPING_SPECIAL ||
	    ip - CT_CALL_BYTES < mapping->start || !heaps->source.memory ||
	    at + CT_CALL_BYTES > CT_PAGE_SIZE) /* over the edge of a page: rare, and not known */
		return false;
	if (!ct_remote__present(heaps->source.memory, ip - 1, 1, &present) || !present)
		return false;
	page = ct_remote__page(heaps->source.memory, ip - 1);
	if (!page)
		return false;
	memcpy(code, page + at, sizeof(code));
	return ct_ends_in_call(code);
}

/* The native caller at @ip: the id of (object file, symbol) in lines; 0: it is none. */
static uint32_t ct_native_frame(struct ct_resolver *resolver, struct ct_image *image, ct_raddr_t ip,
				bool innermost)
{
	const struct ct_names *writers = resolver->names.writers;
	struct ct_heaps *heaps = ct_heaps_for(resolver, image, ip);
	uint32_t writer = 0;

	if (heaps && (innermost || ct_is_called_from(heaps, ip)))
		writer = ct_symbols__writer(resolver->symbols, heaps->source.maps,
					    innermost ? ip : ip - 1);
	return writer ? ct_names__id(resolver->names.lines, ct_names__scope(writers, writer),
				     ct_names__name(writers, writer))
		      : 0;
}

/* No Python frame: the function that wrote stands for the line. */
static void ct_native_sample(struct ct_resolver *resolver, struct ct_sample *sample)
{
	const char *object = ct_names__scope(resolver->names.writers, sample->writer);
	const char *symbol = ct_names__name(resolver->names.writers, sample->writer);
	struct ct_names *lines = resolver->names.lines;
	char name[300];

	if (!sample->writer)
		return;
	snprintf(name, sizeof(name), "0 %s", symbol);
	sample->line = ct_names__id(lines, object, name);
	sample->function = ct_names__id(lines, object, symbol);
	sample->module = ct_names__id(lines, "", object);
}

static void ct_stack_in_words(struct ct_resolver *resolver, struct ct_image *image,
			      const struct ct_record_stack *stack, struct ct_sample *sample)
{
	uint32_t ids[CT_STACK_FRAMES], *outermost = ids + CT_STACK_FRAMES;
	bool python = false;
	size_t n = 0;

	for (size_t i = 0; i < stack->n_frames; i++) {
		const struct ct_frame *frame = &stack->frames[i];
		struct ct_source_line line = { 0 };
		uint32_t id;

		if (frame->code) {
			if (!ct_python_frame(resolver, image, frame, &line))
				line = (struct ct_source_line){ 0 };
			if (!python) {
				sample->line = line.line;
				sample->function = line.function;
				sample->module = line.module;
			}
			python = true;
			id = line.line;
		} else {
			id = ct_native_frame(resolver, image, frame->instruction, !n);
			if (!id && n)
				break; /* from here on it is not known who called */
			id |= CT_FRAME_NATIVE;
		}
		n++;
		*--outermost = id; /* the list begins with the last frame, which is this one */
	}
	if (!python && n)
		ct_native_sample(resolver, sample);
	sample->stack = ct_lists__id(resolver->names.stacks, outermost, n);
}

void ct_stacks__take(struct ct_resolver *resolver, struct ct_image *image,
		     const struct ct_record *record, struct ct_sample *sample)
{
	struct ct_record_stack *stack = &resolver->stacks->slots[record->tid % CT_STACK_SLOTS];

	if (!stack->rec.type || stack->rec.tid != record->tid)
		return;
	stack->rec.type = CT_REC_NONE; /* it was of this thread's next fault, or of none */
	if (stack->rec.address != record->address)
		return;
	sample->sampled = true;
	ct_stack_in_words(resolver, image, stack, sample);
}
