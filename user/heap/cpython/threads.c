/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* threads.c - the interpreters of a process and their threads, walked with every link checked. */
#include "heap/cpython/internal.h"

#define CT_SLOT_THREADS 32u
/* glibc: struct pthread starts at fs base; the values of the first 32 keys are in it */
#define CT_KEY_FIRST 0x318
#define CT_KEY_BYTES 16
#define CT_KEY_END   (CT_KEY_FIRST + 32 * CT_KEY_BYTES)
#define CT_TLS_BYTES 4096 /* of thread-local variables below fs base that are looked at */

ct_raddr_t ct_py_first_frame(const struct ct_python *python, ct_raddr_t thread)
{
	const struct ct_py_layout *layout = &python->layout;
	ct_raddr_t frame = ct_python__word(python, thread + layout->thread_frame);

	if (frame && layout->thread_cframe != CT_PY_NONE)
		frame = ct_python__word(python, frame + layout->thread_cframe);
	return frame;
}

size_t ct_py_threads(const struct ct_python *python, ct_raddr_t interpreter, ct_raddr_t *list,
		     size_t max)
{
	const struct ct_py_layout *layout = &python->layout;
	ct_raddr_t thread = ct_python__word(python, interpreter + layout->interp_threads);
	size_t count = 0;

	while (thread && count < max) {
		if (ct_python__word(python, thread + layout->thread_interp) != interpreter)
			break;
		list[count++] = thread;
		thread = ct_python__word(python, thread + layout->thread_next);
	}
	return count;
}

/** The head of the list of interpreters, 0 if it can't be known. */
static ct_raddr_t ct_interpreter_head(const struct ct_python *python)
{
	ct_raddr_t thread;

	if (python->runtime)
		return ct_python__word(python,
				       python->runtime + python->layout.runtime_interp_head);
	if (python->interp_head)
		return ct_python__word(python, python->interp_head);
	/* stripped 2.7 and 3.6: the running thread's, if one is running */
	thread = python->current_thread ? ct_python__word(python, python->current_thread) : 0;
	return thread ? ct_python__word(python, thread + python->layout.thread_interp) : 0;
}

/** Is this an interpreter? One that nobody runs just now may have no thread. */
static bool ct_is_interpreter(const struct ct_python *python, ct_raddr_t interpreter)
{
	ct_raddr_t thread;

	return ct_python__read(python, interpreter + python->layout.interp_threads, &thread,
			       sizeof(thread)) &&
	       (!thread || ct_py_threads(python, interpreter, &thread, 1));
}

size_t ct_py_interpreters(const struct ct_python *python, ct_raddr_t *list, size_t max)
{
	ct_raddr_t interpreter = ct_interpreter_head(python), main = 0;
	unsigned int seen = 0;
	size_t count = 0;

	if (python->runtime)
		main = ct_python__word(python,
				       python->runtime + python->layout.runtime_interp_main);
	for (; interpreter && seen < CT_PY_INTERPRETERS && count < max; seen++) {
		if (ct_is_interpreter(python, interpreter)) {
			list[count++] = interpreter;
			/* new ones are put in front: the main one comes last */
			if (interpreter == main) {
				list[count - 1] = list[0];
				list[0] = main;
			}
		}
		interpreter = ct_python__word(python, interpreter + python->layout.interp_next);
	}
	return count;
}

/** A thread whose slots are looked at. */
struct ct_slot_thread {
	ct_raddr_t state;
	uint64_t fs_base;
	int64_t lowest; /* slots below are on a page that it never touched */
};

/** What @slot of the thread with @fs_base holds: a state of that thread (1), nothing that can be
 *  read (0), or something else (-1). */
static int ct_slot_holds(const struct ct_python *python, int64_t slot,
			 const struct ct_slot_thread *thread, const struct ct_slot_thread *list,
			 size_t count)
{
	uint64_t value;

	if (slot < thread->lowest ||
	    !ct_python__read(python, thread->fs_base + (uint64_t)slot, &value, sizeof(value)))
		return 0;
	for (size_t i = 0; value && i < count; i++) {
		if (list[i].state == value)
			return list[i].fs_base == thread->fs_base ? 1 : -1;
	}
	return value ? -1 : 0;
}

/** Is this the slot: every thread has a state of its own there? (It may have several, of several
 *  interpreters.) */
static bool ct_is_slot(const struct ct_python *python, int64_t slot,
		       const struct ct_slot_thread *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (ct_slot_holds(python, slot, &list[i], list, count) != 1)
			return false;
	}
	return count > 0;
}

/** Fill @thread for @state. False: no thread runs it yet, or the one that did is gone. */
static bool ct_slot_thread(const struct ct_python *python, ct_raddr_t state,
			   struct ct_slot_thread *thread)
{
	ct_raddr_t fs_base = ct_python__word(python, state + python->layout.thread_id);
	uint8_t present = 1;

	/* every C library has a thread's control block point to itself */
	if (!fs_base || ct_python__word(python, fs_base) != fs_base)
		return false;
	*thread = (struct ct_slot_thread){
		.state = state,
		.fs_base = fs_base,
		.lowest = -CT_TLS_BYTES,
	};
	/* to read a page that it never touched would map it there */
	if (ct_remote__present(python->source.memory, fs_base - CT_TLS_BYTES, 1, &present) &&
	    !present)
		thread->lowest = -(int64_t)(fs_base % CT_PAGE_SIZE);
	return true;
}

bool ct_py_thread_slot(const struct ct_python *python, const ct_raddr_t *interpreters, size_t count,
		       int64_t *slot)
{
	struct ct_slot_thread list[CT_SLOT_THREADS];
	ct_raddr_t states[CT_SLOT_THREADS];
	size_t found = 0, kept = 0;

	for (size_t i = 0; i < count; i++)
		found += ct_py_threads(python, interpreters[i], states + found,
				       CT_SLOT_THREADS - found);
	for (size_t i = 0; i < found; i++)
		kept += ct_slot_thread(python, states[i], &list[kept]);
	for (*slot = CT_KEY_FIRST; *slot < CT_KEY_END; *slot += CT_KEY_BYTES) {
		if (ct_is_slot(python, *slot, list, kept))
			return true;
	}
	for (*slot = -8; *slot >= -CT_TLS_BYTES; *slot -= 8) {
		if (ct_is_slot(python, *slot, list, kept))
			return true;
	}
	return false;
}
