/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * elf_table.c - symbols sorted by address and found by binary search.
 *
 * Ranges may nest and overlap (aliases, hand-written assembly, hostile files). Each symbol links to
 * the nearest one before it that ends later, so the symbols around an address are a chain of
 * links from the last one that starts at or before it: the first on it that reaches far enough is
 * the innermost.
 */
#include "process/elf_table.h"

#include <stdlib.h>
#include <string.h>

#define CT_SYMBOLS_MAX (4u << 20)
#define CT_SYMBOL_LEN  511
#define CT_NEST_MAX    64 /* links followed; real files nest two or three deep */

static bool ct_elf_table_reserve(struct ct_elf_table *table, size_t name_len)
{
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? table->capacity * 2 : 256;
		void *list = realloc(table->list, capacity * sizeof(*table->list));

		if (!list)
			return false;
		table->list = list;
		table->capacity = capacity;
	}
	if (table->names_len + name_len + 1 > table->names_capacity) {
		size_t capacity = table->names_capacity ? table->names_capacity * 2 : 8192;
		char *names = realloc(table->names, capacity);

		if (!names)
			return false;
		table->names = names;
		table->names_capacity = capacity;
	}
	return true;
}

bool ct_elf_table__add(struct ct_elf_table *table, uint64_t value, uint64_t size, const char *name,
		       size_t name_len, uint32_t rank)
{
	if (name_len > CT_SYMBOL_LEN)
		name_len = CT_SYMBOL_LEN;
	if (table->count >= CT_SYMBOLS_MAX || !ct_elf_table_reserve(table, name_len))
		return false;
	table->list[table->count++] = (struct ct_elf_symbol){
		.value = value,
		.end = size > UINT64_MAX - value ? UINT64_MAX : value + size,
		.name = (uint32_t)table->names_len,
		.aux = rank,
	};
	memcpy(table->names + table->names_len, name, name_len);
	table->names_len += name_len;
	table->names[table->names_len++] = '\0';
	return true;
}

static size_t ct_leading_underscores(const char *name)
{
	return strspn(name, "_");
}

/** By address; at the same address sized ones first, and of equals the best name last. */
static int ct_compare_symbols(const void *a, const void *b, void *names)
{
	const struct ct_elf_symbol *x = a, *y = b;
	const char *x_name = (const char *)names + x->name, *y_name = (const char *)names + y->name;
	size_t x_len, y_len;

	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	if ((x->end == x->value) != (y->end == y->value))
		return x->end == x->value ? 1 : -1;
	if (x->aux != y->aux)
		return x->aux < y->aux ? -1 : 1;
	/* aliases: "malloc" says more than "__libc_malloc" */
	x_len = ct_leading_underscores(x_name);
	y_len = ct_leading_underscores(y_name);
	if (x_len != y_len)
		return x_len > y_len ? -1 : 1;
	x_len = strlen(x_name);
	y_len = strlen(y_name);
	if (x_len != y_len)
		return x_len > y_len ? -1 : 1;
	return strcmp(y_name, x_name);
}

const struct ct_elf_section *ct_elf_section_at(const struct ct_elf_section *sections, size_t count,
					       uint64_t addr)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (sections[middle].addr <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low && addr < sections[low - 1].end ? &sections[low - 1] : NULL;
}

/** Where the symbol @i without a size ends: at the next address with a symbol, or its section. */
static uint64_t ct_extent(const struct ct_elf_table *table, size_t next,
			  const struct ct_elf_section *section, uint64_t value)
{
	uint64_t end = section ? section->end : value;

	if (next < table->count && table->list[next].value < end)
		end = table->list[next].value;
	return end;
}

/** Size what has none, drop what lies inside a sized symbol (a label in a function) or repeats. */
static void ct_elf_table_settle(struct ct_elf_table *table, const struct ct_elf_section *sections,
				size_t section_count, bool complete)
{
	uint64_t covered = 0; /* end of the sized symbols so far */
	size_t kept = 0, next = 0;

	for (size_t i = 0; i < table->count; i++) {
		struct ct_elf_symbol symbol = table->list[i];

		if (next <= i)
			next = i + 1;
		while (next < table->count && table->list[next].value == symbol.value)
			next++;
		if (symbol.end > symbol.value)
			covered = symbol.end > covered ? symbol.end : covered;
		else if (complete && symbol.value >= covered)
			symbol.end =
				ct_extent(table, next,
					  ct_elf_section_at(sections, section_count, symbol.value),
					  symbol.value);
		if (symbol.end == symbol.value)
			continue;
		if (kept && table->list[kept - 1].value == symbol.value &&
		    table->list[kept - 1].end == symbol.end)
			kept--;
		table->list[kept++] = symbol;
	}
	table->count = kept;
}

void ct_elf_table__finish(struct ct_elf_table *table, const struct ct_elf_section *sections,
			  size_t section_count, bool complete)
{
	struct ct_elf_symbol *shrunk;

	if (!table->count)
		return;
	qsort_r(table->list, table->count, sizeof(*table->list), ct_compare_symbols, table->names);
	ct_elf_table_settle(table, sections, section_count, complete);
	for (size_t i = 0; i < table->count; i++) {
		uint32_t outer = (uint32_t)i; /* index + 1 of the symbol before */

		while (outer && table->list[outer - 1].end <= table->list[i].end)
			outer = table->list[outer - 1].aux;
		table->list[i].aux = outer;
	}
	shrunk = table->count ? realloc(table->list, table->count * sizeof(*shrunk)) : NULL;
	if (shrunk) {
		table->list = shrunk;
		table->capacity = table->count;
	}
}

const char *ct_elf_table__find(const struct ct_elf_table *table, uint64_t vaddr)
{
	size_t low = 0, high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table->list[middle].value <= vaddr)
			low = middle + 1;
		else
			high = middle;
	}
	for (int step = 0; low && step < CT_NEST_MAX; step++) {
		const struct ct_elf_symbol *symbol = &table->list[low - 1];

		if (vaddr < symbol->end)
			return table->names + symbol->name;
		low = symbol->aux;
	}
	return NULL;
}

void ct_elf_table__free(struct ct_elf_table *table)
{
	free(table->list);
	free(table->names);
	*table = (struct ct_elf_table){ 0 };
}
