/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * linetable.c - the four line tables of CPython (its lnotab_notes.txt, locations.md). All give
 * lengths of code and changes of the line in turn, so all are read from the start.
 */
#include "heap/cpython/linetable.h"

#define CT_CODE_UNIT   2
#define CT_LINES_NONE  (-128)
#define CT_ENTRY_FIRST 0x80u /* set in the first byte of an entry of a location table only */

/** enum ct_location - the kinds of entries in a location table that tell how lines change. */
enum ct_location {
	CT_LOCATION_ONE_LINE = 10, /* 10, 11, 12: 0, 1, 2 lines on */
	CT_LOCATION_NO_COLUMN = 13,
	CT_LOCATION_LONG = 14,
	CT_LOCATION_NONE = 15,
};

static uint32_t ct_line(int64_t line)
{
	return line > 0 && line <= INT32_MAX ? (uint32_t)line : 0;
}

/** Up to 3.9: (length before the change, change of the line). */
static uint32_t ct_lnotab_find(const uint8_t *table, size_t len, int64_t line, int64_t offset,
			       bool is_signed)
{
	int64_t at = 0;

	for (size_t i = 0; i + 1 < len; i += 2) {
		at += table[i];
		if (at > offset)
			break;
		line += is_signed ? (int8_t)table[i + 1] : table[i + 1];
	}
	return ct_line(line);
}

/** 3.10: (length, change of the line for it), the line lives on through stretches without one. */
static uint32_t ct_lines_find(const uint8_t *table, size_t len, int64_t line, int64_t offset)
{
	int64_t end = 0;

	for (size_t i = 0; i + 1 < len; i += 2) {
		int8_t change = (int8_t)table[i + 1];

		end += table[i];
		if (change != CT_LINES_NONE)
			line += change;
		if (offset < end)
			return change == CT_LINES_NONE ? 0 : ct_line(line);
	}
	return 0;
}

/** A signed number in groups of six bits, the lowest first; the lowest bit of all is the sign. */
static int64_t ct_signed_varint(const uint8_t *table, size_t len, size_t at)
{
	uint64_t value = 0;

	for (unsigned int shift = 0; at < len && shift < 36; at++, shift += 6) {
		value |= (uint64_t)(table[at] & 0x3f) << shift;
		if (!(table[at] & 0x40))
			break;
	}
	return value & 1 ? -(int64_t)(value >> 1) : (int64_t)(value >> 1);
}

static int64_t ct_location_change(const uint8_t *table, size_t len, size_t at, unsigned int kind)
{
	if (kind == CT_LOCATION_LONG || kind == CT_LOCATION_NO_COLUMN)
		return ct_signed_varint(table, len, at + 1);
	if (kind >= CT_LOCATION_ONE_LINE && kind < CT_LOCATION_NO_COLUMN)
		return kind - CT_LOCATION_ONE_LINE;
	return 0;
}

/** 3.11 on: entries of kind and length (in code units, less one), then lines and columns. */
static uint32_t ct_locations_find(const uint8_t *table, size_t len, int64_t line, int64_t offset)
{
	int64_t end = 0;
	size_t at = 0;

	while (at < len) {
		unsigned int kind = table[at] >> 3 & 0xf;

		line += ct_location_change(table, len, at, kind);
		end += ((table[at] & 7) + 1) * CT_CODE_UNIT;
		if (offset < end)
			return kind == CT_LOCATION_NONE ? 0 : ct_line(line);
		do
			at++;
		while (at < len && !(table[at] & CT_ENTRY_FIRST));
	}
	return 0;
}

uint32_t ct_py_linetable_find(enum ct_py_linetable kind, const uint8_t *table, size_t len,
			      int32_t first, int64_t offset)
{
	if (offset < 0)
		return ct_line(first);
	switch (kind) {
	case CT_PY_LNOTAB_UNSIGNED:
	case CT_PY_LNOTAB:
		return ct_lnotab_find(table, len, first, offset, kind == CT_PY_LNOTAB);
	case CT_PY_LINES:
		return ct_lines_find(table, len, first, offset);
	case CT_PY_LOCATIONS:
		return ct_locations_find(table, len, first, offset);
	}
	return 0;
}
