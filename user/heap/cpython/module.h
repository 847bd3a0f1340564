/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * module.h - an ELF file of the process, asked for symbols by name (private to
 * user/heap/cpython). process/elf_file.h answers by address and reads every symbol for it; here
 * the file's own hash table is followed, some reads a name, so that a process with hundreds of
 * libraries is searched in milliseconds.
 */
#ifndef CT_HEAP_CPYTHON_MODULE_H
#define CT_HEAP_CPYTHON_MODULE_H

#include <stdbool.h>

#include "process/maps.h"

#define CT_PY_SEGMENTS 16u

/** Where a symbol or section lies, in the file's own addresses. */
struct ct_py_symbol {
	uint64_t vaddr, size; /* size 0: not said */
};

/** A part of the file that is loaded. */
struct ct_py_segment {
	uint64_t offset, file_len, vaddr, memory_len; /* bytes */
	bool writable;
};

/** One loading of an ELF file. The descriptor is its own. */
struct ct_py_module {
	int file;
	bool is_32bit;	 /* nothing else is known of it */
	bool is_program; /* it names its dynamic loader: no library */
	const struct ct_mapping *mapping;
	uint64_t bias; /* the target's address less the file's */
	struct ct_py_segment segments[CT_PY_SEGMENTS];
	unsigned int segment_count;
	/* the dynamic symbols, as addresses in the file; 0: not there */
	uint64_t gnu_hash, symbols, strings, strings_len;
	uint64_t sections, section_count, section_names; /* offset in the file; index */
};

/**
 * ct_py_module__open - the ELF file at @mapping, whose first bytes it shows. False: none, out of
 * reach or unsound. A 32-bit one only has is_32bit. Close with ct_py_module__close in any case.
 */
bool ct_py_module__open(struct ct_py_module *module, const struct ct_maps *maps,
			const struct ct_mapping *mapping);
void ct_py_module__close(struct ct_py_module *module);
/** ct_py_module__read - @len bytes as the file has them at its address @vaddr, all or nothing. */
bool ct_py_module__read(const struct ct_py_module *module, uint64_t vaddr, void *buf, size_t len);
/** ct_py_module__exported - the dynamic symbol @name that this file defines. */
bool ct_py_module__exported(const struct ct_py_module *module, const char *name,
			    struct ct_py_symbol *symbol);
/** ct_py_module__section - the loaded section @name. False: none, or no section headers. */
bool ct_py_module__section(const struct ct_py_module *module, const char *name,
			   struct ct_py_symbol *symbol);

/** A name asked of .symtab. */
struct ct_py_wanted {
	const char *name;
	const char *source; /* a local symbol of this source file ("gcmodule.c"); NULL: of any */
	struct ct_py_symbol symbol;
	bool found;
};

/** ct_py_module__symtab - fill in @wanted from .symtab, in one pass. Return: how many are found. */
size_t ct_py_module__symtab(const struct ct_py_module *module, struct ct_py_wanted *wanted,
			    size_t count);

#endif /* CT_HEAP_CPYTHON_MODULE_H */
