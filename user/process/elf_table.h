/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* elf_table.h - the symbols of one object file as address ranges, asked by address. */
#ifndef CT_PROCESS_ELF_TABLE_H
#define CT_PROCESS_ELF_TABLE_H

#include <stdbool.h>

#include "base/types.h"

/** A section that the loader maps. */
struct ct_elf_section {
	uint64_t addr, end;
	bool executable;
};

/** One symbol: [value, end). */
struct ct_elf_symbol {
	uint64_t value, end; /* end == value: size unknown, until ct_elf_table__finish */
	uint32_t name;	     /* offset in the table's names */
	uint32_t aux;	     /* before finish: rank; after: the symbol around it, + 1; 0 none */
};

/** Add symbols in any order, finish once, then find. Zeroed memory is an empty table. */
struct ct_elf_table {
	struct ct_elf_symbol *list;
	size_t count, capacity;
	char *names;
	size_t names_len, names_capacity;
};

/** ct_elf_table__add - @name_len bytes are copied, cut at 511. @rank: of two symbols of the same
 *  address the higher wins. Return: false when out of memory or full (4 M symbols). */
bool ct_elf_table__add(struct ct_elf_table *table, uint64_t value, uint64_t size, const char *name,
		       size_t name_len, uint32_t rank);
/**
 * ct_elf_table__finish - sort, and give an extent to symbols without a size: up to the next symbol
 * of the same section (@sections are sorted by address), but only if @complete, that is if the file
 * lists all its functions: otherwise the space behind one may belong to others, and they go.
 */
void ct_elf_table__finish(struct ct_elf_table *table, const struct ct_elf_section *sections,
			  size_t section_count, bool complete);
/** ct_elf_table__find - the innermost symbol around @vaddr, or NULL. The name lives with the table.
 */
const char *ct_elf_table__find(const struct ct_elf_table *table, uint64_t vaddr);
void ct_elf_table__free(struct ct_elf_table *table);
/** ct_elf_section_at - the section of a sorted list that holds @addr, or NULL. */
const struct ct_elf_section *ct_elf_section_at(const struct ct_elf_section *sections, size_t count,
					       uint64_t addr);

#endif /* CT_PROCESS_ELF_TABLE_H */
