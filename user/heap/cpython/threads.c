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

/** The slot of @thread at fs base + @slot holds a state of that thread (1), none (0), or something
 *  else (-1). @list: all thread states, whose ids are in @ids. */
static int ct_slot_holds(const struct ct_python *python, int64_t slot, const ct_raddr_t *list,
			 const uint64_t *ids, size_t count, uint64_t id)
{
	uint64_t value;

	if (!ct_python__read(python, id + (uint64_t)slot, &value, sizeof(value)))
		return 0;
	for (size_t i = 0; value && i < count; i++) {
		if (list[i] == value)
			return ids[i] == id ? 1 : -1;
	}
	return value ? -1 : 0;
}

/** Is this the slot: every thread has a state of its own there? */
static bool ct_is_slot(const struct ct_python *python, int64_t slot, const ct_raddr_t *list,
		       const uint64_t *ids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (ct_slot_holds(python, slot, list, ids, count, ids[i]) != 1)
			return false;
	}
	return count > 0;
}

bool ct_py_thread_slot(const struct ct_python *python, const ct_raddr_t *interpreters, size_t count,
		       int64_t *slot)
{
	ct_raddr_t list[CT_SLOT_THREADS];
	uint64_t ids[CT_SLOT_THREADS];
	size_t threads = 0, kept = 0;

	for (size_t i = 0; i < count; i++)
		threads += ct_py_threads(python, interpreters[i], list + threads,
					 CT_SLOT_THREADS - threads);
	for (size_t i = 0; i < threads; i++) {
		ids[kept] = ct_python__word(python, list[i] + python->layout.thread_id);
		list[kept] = list[i];
		/* every C library has the thread's control block point to itself; a state that no
		 * thread runs yet, or whose thread is gone, says nothing */
		if (ids[kept] && ct_python__word(python, ids[kept]) == ids[kept])
			kept++;
	}
	for (*slot = CT_KEY_FIRST; *slot < CT_KEY_END; *slot += CT_KEY_BYTES) {
		if (ct_is_slot(python, *slot, list, ids, kept))
			return true;
	}
	for (*slot = -8; *slot >= -CT_TLS_BYTES; *slot -= 8) {
		if (ct_is_slot(python, *slot, list, ids, kept))
			return true;
	}
	return false;
}
