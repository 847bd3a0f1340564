/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * lines.c - frames in words, with a cache of code objects by address. After a renewal an address
 * may hold another code object: each is read again once, and what was found by it stays only if
 * nothing has changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/cpython/internal.h"
#include "heap/cpython/linetable.h"

#define CT_TABLE_MAX	   (1u << 20)  /* bytes of one line table */
#define CT_CODES_MAX	   65536u      /* code objects kept; then all are dropped */
#define CT_TABLES_MAX	   (32u << 20) /* bytes of line tables kept, as well */
#define CT_LINES_MAX	   (1u << 20)  /* lines kept; then all are dropped */
#define CT_TYPE_NAME	   24u
#define CT_INSTRUCTION_MAX (1 << 28)

/** What is kept of a code object. */
struct ct_py_code {
	char file[CT_PY_NAME], function[CT_PY_NAME];
	uint8_t *table;
	uint32_t table_len;
	int32_t first_line;
};

struct ct_py_entry {
	struct ct_py_code code;
	uint64_t epoch;		   /* compared with the target's memory in this one */
	uint32_t function, module; /* ids */
	uint32_t number;	   /* in keys of lines */
};

struct ct_py_lines {
	uint64_t epoch;
	ct_raddr_t code_type; /* 0: not seen yet */
	uint64_t type_epoch;  /* in which code_type was checked */
	struct ct_map codes;  /* address -> index of entry + 1 */
	struct ct_map lines;  /* number << 32 | offset of instruction -> id */
	struct ct_py_entry *entries;
	size_t count, capacity, tables_bytes;
	uint32_t numbers; /* given so far */
};

struct ct_py_lines *ct_py_lines__new(void)
{
	struct ct_py_lines *lines = calloc(1, sizeof(*lines));

	if (lines)
		lines->epoch = 1;
	return lines;
}

static void ct_lines_drop(struct ct_py_lines *lines)
{
	for (size_t i = 0; i < lines->count; i++)
		free(lines->entries[i].code.table);
	ct_map__free(&lines->codes);
	ct_map__free(&lines->lines);
	lines->count = lines->tables_bytes = 0;
}

void ct_py_lines__free(struct ct_py_lines *lines)
{
	if (!lines)
		return;
	ct_lines_drop(lines);
	free(lines->entries);
	free(lines);
}

void ct_py_lines__renew(struct ct_py_lines *lines)
{
	lines->epoch++;
}

/** Is @address a code object? Only its type can tell. */
static bool ct_lines_is_code(struct ct_py_lines *lines, const struct ct_python *python,
			     ct_raddr_t address)
{
	ct_raddr_t type = address & 7 ? 0 : ct_python__word(python, address + 8);
	char name[5];

	if (!type)
		return false;
	if (type == lines->code_type && lines->type_epoch == lines->epoch)
		return true;
	if (ct_python__word(python, type + 8) != python->type_type ||
	    !ct_python__read(python, ct_python__word(python, type + CT_TYPE_NAME), name,
			     sizeof(name)) ||
	    memcmp(name, "code", sizeof(name)))
		return false;
	lines->code_type = type;
	lines->type_epoch = lines->epoch;
	return true;
}

/** Read the line table, which is bytes. An unreasonable one is left out: then no line is known. */
static bool ct_code_read_table(const struct ct_python *python, ct_raddr_t address,
			       struct ct_py_code *code)
{
	ct_raddr_t table = ct_python__word(python, address + python->layout.code_lines);
	int64_t length;

	if (!table || !ct_python__read(python, table + 16, &length, sizeof(length)))
		return false;
	if (length <= 0 || length > CT_TABLE_MAX)
		return true;
	code->table = malloc((size_t)length);
	if (!code->table || !ct_python__read(python, table + python->layout.bytes_data, code->table,
					     (size_t)length))
		return false;
	code->table_len = (uint32_t)length;
	return true;
}

/** Read the code object at @address. Its table is the caller's to free, even of a failure. */
static bool ct_code_read(struct ct_py_lines *lines, const struct ct_python *python,
			 ct_raddr_t address, struct ct_py_code *code)
{
	const struct ct_py_layout *layout = &python->layout;
	uint16_t name_at =
		layout->code_qualname == CT_PY_NONE ? layout->code_name : layout->code_qualname;
	ct_raddr_t file, name;

	memset(code, 0, sizeof(*code));
	if (!ct_lines_is_code(lines, python, address) ||
	    !ct_python__read(python, address + layout->code_first_line, &code->first_line,
			     sizeof(code->first_line)))
		return false;
	file = ct_python__word(python, address + layout->code_filename);
	name = ct_python__word(python, address + name_at);
	return file && name && ct_py_string(python, file, code->file, sizeof(code->file)) &&
	       ct_py_string(python, name, code->function, sizeof(code->function)) &&
	       ct_code_read_table(python, address, code);
}

static bool ct_code_is_same(const struct ct_py_code *a, const struct ct_py_code *b)
{
	return a->first_line == b->first_line && a->table_len == b->table_len &&
	       !strcmp(a->file, b->file) && !strcmp(a->function, b->function) &&
	       (!a->table_len || !memcmp(a->table, b->table, a->table_len));
}

/** Take @code into @entry, new or changed: lines found before are of another. */
static void ct_entry_take(struct ct_py_lines *lines, const struct ct_python *python,
			  struct ct_py_entry *entry, const struct ct_py_code *code)
{
	struct ct_names *names = python->source.lines;

	lines->tables_bytes += code->table_len;
	lines->tables_bytes -= entry->code.table_len;
	free(entry->code.table);
	entry->code = *code;
	entry->number = ++lines->numbers;
	entry->function = ct_names__id(names, code->file, code->function);
	entry->module = ct_names__id(names, "", code->file);
}

/** An entry of its own for a new code object; NULL: out of memory. */
static struct ct_py_entry *ct_lines_add(struct ct_py_lines *lines, ct_raddr_t address)
{
	struct ct_py_entry *bigger;
	uint64_t *slot;
	size_t capacity;

	if (lines->count >= CT_CODES_MAX || lines->tables_bytes > CT_TABLES_MAX)
		ct_lines_drop(lines);
	if (lines->count == lines->capacity) {
		capacity = lines->capacity ? lines->capacity * 2 : 64;
		bigger = realloc(lines->entries, capacity * sizeof(*bigger));
		if (!bigger)
			return NULL;
		lines->entries = bigger;
		lines->capacity = capacity;
	}
	slot = ct_map__at(&lines->codes, address);
	if (!slot)
		return NULL;
	lines->entries[lines->count] = (struct ct_py_entry){ 0 };
	*slot = ++lines->count;
	return &lines->entries[lines->count - 1];
}

/** The entry of the code object at @address, as it is in this epoch. NULL: it is none. */
static struct ct_py_entry *ct_lines_entry(struct ct_py_lines *lines, const struct ct_python *python,
					  ct_raddr_t address)
{
	uint64_t *slot = ct_map__find(&lines->codes, address);
	struct ct_py_entry *entry = slot ? &lines->entries[*slot - 1] : NULL;
	struct ct_py_code code;

	if (entry && entry->epoch == lines->epoch)
		return entry;
	if (!ct_code_read(lines, python, address, &code)) {
		free(code.table);
		return NULL;
	}
	if (entry && ct_code_is_same(&entry->code, &code)) {
		free(code.table);
		entry->epoch = lines->epoch;
		return entry;
	}
	if (!entry)
		entry = ct_lines_add(lines, address);
	if (!entry) {
		free(code.table);
		return NULL;
	}
	ct_entry_take(lines, python, entry, &code);
	entry->epoch = lines->epoch;
	return entry;
}

/** How far into the code an instruction is, in bytes; -1 before the first one. */
static int64_t ct_instruction_offset(const struct ct_py_layout *layout, ct_raddr_t code,
				     uint64_t instruction)
{
	int64_t offset;

	if (layout->instruction_unit)
		offset = (int64_t)(int32_t)instruction * layout->instruction_unit;
	else
		offset = (int64_t)(instruction - (code + layout->code_bytes));
	return offset < 0 ? -1 : offset;
}

bool ct_py_lines__find(struct ct_py_lines *lines, const struct ct_python *python,
		       const struct ct_frame *frame, struct ct_source_line *line)
{
	const struct ct_py_layout *layout = &python->layout;
	ct_raddr_t code = frame->code & ~(uint64_t)layout->code_mask;
	struct ct_py_entry *entry = code ? ct_lines_entry(lines, python, code) : NULL;
	char text[16 + CT_PY_NAME];
	uint64_t *slot;
	int64_t offset;

	if (!entry)
		return false;
	if (ct_map__count(&lines->lines) >= CT_LINES_MAX)
		ct_map__free(&lines->lines);
	offset = ct_instruction_offset(layout, code, frame->instruction);
	if (offset > CT_INSTRUCTION_MAX)
		offset = CT_INSTRUCTION_MAX;
	slot = ct_map__at(&lines->lines, (uint64_t)entry->number << 32 | (uint32_t)(offset + 1));
	if (!slot)
		return false;
	if (!*slot) {
		snprintf(text, sizeof(text), "%u %s",
			 ct_py_linetable_find(layout->linetable, entry->code.table,
					      entry->code.table_len, entry->code.first_line,
					      offset),
			 entry->code.function);
		*slot = ct_names__id(python->source.lines, entry->code.file, text);
	}
	*line = (struct ct_source_line){
		.line = (uint32_t)*slot,
		.function = entry->function,
		.module = entry->module,
	};
	return true;
}
