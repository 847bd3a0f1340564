/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* internal.h - what runtime.c asks of its helpers (version.c, debug_offsets.c, threads.c). */
#ifndef CT_HEAP_CPYTHON_INTERNAL_H
#define CT_HEAP_CPYTHON_INTERNAL_H

#include "heap/cpython/module.h"
#include "heap/cpython/python.h"

#define CT_PY_INTERPRETERS 64u	 /* looked at in one process */
#define CT_PY_THREADS	   4096u /* looked at in one interpreter */
#define CT_PY_NAME	   264u /* bytes of a name read, with its NUL: ct_names cuts it, and shows that */

/** ct_py_version_text - PY_VERSION_HEX in words: "3.11.2", "3.13.0rc3". */
void ct_py_version_text(uint32_t hexversion, char *text, size_t len);
/**
 * ct_py_version_of_file - PY_VERSION_HEX of a file that does not export it (before 3.11): its
 * version stands among its constant strings, and must agree with the tag of its .pyc files. 0:
 * none, or more than one that could be meant. @has_runtime: the file has _PyRuntime (3.7 on).
 */
uint32_t ct_py_version_of_file(const struct ct_py_module *module, bool has_runtime);

/** What _Py_DebugOffsets starts with in every version that has it (3.13 on). */
struct ct_py_debug_head {
	uint64_t hexversion, free_threaded;
};
/** ct_py_debug_head - the head of _Py_DebugOffsets at _PyRuntime. False: there is none. */
bool ct_py_debug_head(const struct ct_py_module *module, uint64_t runtime_vaddr,
		      struct ct_py_debug_head *head);
/**
 * ct_py_debug_offsets - let _Py_DebugOffsets correct @layout, all of it or nothing. False: what it
 * says makes no sense, or is a build whose objects are not as everywhere else.
 */
bool ct_py_debug_offsets(const struct ct_py_module *module, uint64_t runtime_vaddr,
			 struct ct_py_layout *layout);

/** ct_py_interpreters - addresses of the interpreters, the main one first if known. Return: how
 *  many; the first thread of each, if it has one, says that it belongs to it. */
size_t ct_py_interpreters(const struct ct_python *python, ct_raddr_t *list, size_t max);
/** ct_py_threads - addresses of the thread states of @interpreter, as ct_py_interpreters. */
size_t ct_py_threads(const struct ct_python *python, ct_raddr_t interpreter, ct_raddr_t *list,
		     size_t max);
/** ct_py_first_frame - the innermost frame of @thread; 0 if it runs no Python. */
ct_raddr_t ct_py_first_frame(const struct ct_python *python, ct_raddr_t thread);

/**
 * ct_py_thread_slot - how far from fs base every thread keeps a pointer to its own state: in a
 * pthread key (3.7 to 3.14) or in a thread-local variable (3.15). False: nowhere.
 */
bool ct_py_thread_slot(const struct ct_python *python, const ct_raddr_t *interpreters, size_t count,
		       int64_t *slot);

/**
 * ct_py_string - the str at @string (2.7: its bytes) as UTF-8, in @len bytes at most CT_PY_NAME,
 * cut at a NUL and never inside a character. Lone surrogates stay as they are: ct_names escapes
 * them. False: it is none.
 */
bool ct_py_string(const struct ct_python *python, ct_raddr_t string, char *buf, size_t len);

/** ct_py_is_type_type - is the word at @type the type of types? */
bool ct_py_is_type_type(const struct ct_python *python, ct_raddr_t type);

#endif /* CT_HEAP_CPYTHON_INTERNAL_H */
