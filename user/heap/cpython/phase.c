/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * phase.c - the places that the kernel side reads at the moment of a fault, as addresses in this
 * process: the collectors' flags and counts, the end of the interpreter, the running thread.
 *
 * A collection of generation N sets the counts of generations 0 to N to 0 and adds one to that of
 * N+1 before it looks at an object: so the counts tell the generation while it is collected.
 */
#include <stdio.h>

#include "heap/cpython/internal.h"

#define CT_GENERATIONS_MAX 64u /* bytes from the collector's state to its generations */

/** Offsets of the counts in the three static generations of 2.7 and 3.6: head, then two ints. */
static void ct_phase_static_counts(const struct ct_python *python, struct ct_runtime *runtime)
{
	/* a head of 32 bytes that has an alignment of 16 makes 48 of it; in 2.7 it has one of 8 */
	uint32_t head = python->layout.gc_head, count_at = head + 4;
	uint32_t stride = head == 32 && python->layout.version > 0x0207 ? 48 : head + 8;

	if (!python->generations || !python->collecting)
		return;
	for (int i = 0; i < 2; i++) {
		int64_t offset = (int64_t)(python->generations + (uint32_t)(i + 1) * stride +
					   count_at - python->collecting);

		if (offset != (int32_t)offset)
			return;
		runtime->count_offset[i] = (int32_t)offset;
	}
	if (python->collections) {
		runtime->collections_offset = (int32_t)(python->collections - python->collecting);
		runtime->collections_stride = python->layout.gc_collections_stride;
	}
}

/**
 * The counts of the collector at @gc. Its generations stand where the build's compiler put them
 * (Debian's 3.13 packs them by 4 bytes), but it points to the first one.
 */
static void ct_phase_counts(const struct ct_python *python, ct_raddr_t gc,
			    struct ct_runtime *runtime)
{
	const struct ct_py_layout *layout = &python->layout;
	uint64_t generations;
	int32_t shift;

	if (layout->gc_count1 == CT_PY_NONE || layout->gc_generation0 == CT_PY_NONE)
		return;
	generations = ct_python__word(python, gc + layout->gc_generation0) - gc;
	if (generations > CT_GENERATIONS_MAX)
		return;
	shift = (int32_t)generations - layout->gc_generations - layout->gc_collecting;
	runtime->count_offset[0] = layout->gc_count1 + shift;
	runtime->count_offset[1] = layout->gc_count2 + shift;
	if (layout->gc_collections != CT_PY_NONE) {
		runtime->collections_offset = layout->gc_collections - layout->gc_collecting;
		runtime->collections_stride = layout->gc_collections_stride;
	}
}

/** The collectors: one of the runtime up to 3.8, then one of each interpreter. */
static void ct_phase_collectors(const struct ct_python *python, const ct_raddr_t *interpreters,
				size_t count, struct ct_runtime *runtime)
{
	const struct ct_py_layout *layout = &python->layout;

	if (!python->runtime) {
		runtime->collecting[0] = python->collecting;
		ct_phase_static_counts(python, runtime);
		return;
	}
	if (layout->gc_collecting == CT_PY_NONE)
		return;
	if (layout->runtime_gc != CT_PY_NONE) {
		runtime->collecting[0] =
			python->runtime + layout->runtime_gc + layout->gc_collecting;
	} else {
		for (size_t i = 0; i < count && i < CT_MAX_INTERPRETERS; i++)
			runtime->collecting[i] =
				interpreters[i] + layout->interp_gc + layout->gc_collecting;
	}
	if (runtime->collecting[0])
		ct_phase_counts(python, runtime->collecting[0] - layout->gc_collecting, runtime);
}

static void ct_phase_frames(const struct ct_py_layout *layout, struct ct_runtime *runtime)
{
	runtime->frames = layout->version < 0x030b ? CT_FRAMES_OBJECT : CT_FRAMES_CHUNK;
	runtime->thread_id = layout->thread_id;
	runtime->frame = layout->thread_frame;
	runtime->cframe = layout->thread_cframe == CT_PY_NONE ? -1 : layout->thread_cframe;
	runtime->frame_back = layout->frame_back;
	runtime->frame_code = layout->frame_code;
	runtime->frame_instruction = layout->frame_instruction;
	runtime->code_mask = layout->code_mask;
	if (runtime->frames == CT_FRAMES_CHUNK) {
		runtime->frame_owner = layout->frame_owner;
		runtime->owner_shims = layout->owner_shims;
	}
}

/** Where the state of the running thread is found. False: nowhere. */
static bool ct_phase_thread(const struct ct_python *python, const ct_raddr_t *interpreters,
			    size_t count, struct ct_runtime *runtime)
{
	const struct ct_py_layout *layout = &python->layout;
	int64_t slot;

	if (!python->runtime) {
		runtime->tstate = python->current_thread;
		return runtime->tstate != 0;
	}
	if (layout->runtime_current != CT_PY_NONE) {
		runtime->tstate = python->runtime + layout->runtime_current;
		return true;
	}
	if (!ct_py_thread_slot(python, interpreters, count, &slot))
		return false;
	runtime->tstate = (uint64_t)slot;
	runtime->tstate_tls = 1;
	return true;
}

static void ct_phase_finalising(const struct ct_python *python, struct ct_runtime *runtime)
{
	if (python->runtime && python->layout.runtime_finalising != CT_PY_NONE)
		runtime->finalising = python->runtime + python->layout.runtime_finalising;
	else if (!python->runtime)
		runtime->finalising = python->finalising;
	if (runtime->finalising)
		runtime->finalising_bytes = 8;
	runtime->finalising_zero = runtime->finalising && python->layout.version == 0x0207;
}

void ct_python__phase(const struct ct_python *python, struct ct_interpreter *interpreter)
{
	ct_raddr_t interpreters[CT_PY_INTERPRETERS];
	size_t count = ct_py_interpreters(python, interpreters, CT_PY_INTERPRETERS);

	*interpreter = (struct ct_interpreter){ 0 };
	snprintf(interpreter->version, sizeof(interpreter->version), "%s", python->version);
	snprintf(interpreter->object, sizeof(interpreter->object), "%s", python->object);
	ct_phase_collectors(python, interpreters, count, &interpreter->runtime);
	ct_phase_finalising(python, &interpreter->runtime);
	if (ct_phase_thread(python, interpreters, count, &interpreter->runtime))
		ct_phase_frames(&python->layout, &interpreter->runtime);
	else
		snprintf(interpreter->no_stacks, sizeof(interpreter->no_stacks),
			 "CPython %s: the running thread's state was not found", python->version);
}
