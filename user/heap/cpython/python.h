/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * python.h - the interpreter found in a process (private to user/heap/cpython). Who fills what:
 *   runtime.c   finds it, its version and its layout          -> struct ct_python
 *   phase.c     what the kernel side reads at fault time      -> struct ct_runtime
 *   lines.c     code object and instruction                   -> file, line, function
 *   types.c     is this word a type, and which                -> struct ct_py_type
 *   pools.c     pymalloc's pools, known by their consistency  -> struct ct_py_pool
 *   objects.c   which object is in this block, and which part -> struct ct_place
 *   buffers.c   whose buffer is this block
 *   statics.c   objects in the data of libraries
 *   cpython.c   the reader, which asks these in turn
 */
#ifndef CT_HEAP_CPYTHON_PYTHON_H
#define CT_HEAP_CPYTHON_PYTHON_H

#include "heap/cpython/layout.h"
#include "heap/reader.h"

/** The interpreter of a process. Addresses are the target's; 0: not found. */
struct ct_python {
	struct ct_heap_source source;
	uint32_t hexversion;	    /* PY_VERSION_HEX as the file has it */
	char version[32];	    /* "3.11.2", "3.15.2" */
	bool free_threaded;	    /* no GIL: objects, heap and GC are others; nothing is read */
	struct ct_py_layout layout; /* a copy: _Py_DebugOffsets may have corrected it */
	const struct ct_mapping
		*module;      /* first mapping of the file that holds it, in source.maps */
	char object[64];      /* that file's last part */
	ct_raddr_t type_type; /* &PyType_Type */
	ct_raddr_t runtime, runtime_end; /* &_PyRuntime (3.7 on); the .PyRuntime section's end */
	ct_raddr_t current_thread;	 /* &_PyThreadState_Current (2.7, 3.6) */
	ct_raddr_t generations;		 /* static generations[3] (2.7, 3.6) */
	ct_raddr_t collecting;		 /* static int collecting (2.7, 3.6; .symtab only) */
	ct_raddr_t collections;		 /* static generation_stats[3] (3.6; .symtab only) */
	ct_raddr_t finalising;		 /* 2.7: static initialized; 3.6: _Py_Finalizing */
	ct_raddr_t interp_head;		 /* static interp_head (2.7, 3.6; .symtab only) */
};

/**
 * ct_python__find - look for an interpreter in every module of the process: by its exported
 * symbols, by the .PyRuntime section, by .symtab. Reads files, and of the target's memory only
 * pages that every interpreter has touched. Return: whether there is one that is known; if not,
 * @why is a static string, or one in @text (of @len bytes) that names the version.
 */
bool ct_python__find(struct ct_python *python, const struct ct_heap_source *source,
		     const char **why, char *text, size_t len);

/** ct_python__read - @len bytes at @address, all or nothing, through the page cache. */
bool ct_python__read(const struct ct_python *python, ct_raddr_t address, void *buf, size_t len);
/** ct_python__word - the 8 bytes at @address; 0 if they can't be read. */
uint64_t ct_python__word(const struct ct_python *python, ct_raddr_t address);

/** ct_python__phase - fill @interpreter: version, the places the kernel side reads (those that
 *  are not known stay 0), and why there is no Python stack, if there is none. */
void ct_python__phase(const struct ct_python *python, struct ct_interpreter *interpreter);

struct ct_py_lines;
/** ct_py_lines__new - a cache of code objects, by address. NULL: out of memory. */
struct ct_py_lines *ct_py_lines__new(void);
void ct_py_lines__free(struct ct_py_lines *lines);
/** ct_py_lines__renew - the memory has moved on: what is cached is compared before it is used. */
void ct_py_lines__renew(struct ct_py_lines *lines);
/** ct_py_lines__find - @frame in words. False: its code object can't be read, or is none. */
bool ct_py_lines__find(struct ct_py_lines *lines, const struct ct_python *python,
		       const struct ct_frame *frame, struct ct_source_line *line);

#endif /* CT_HEAP_CPYTHON_PYTHON_H */
