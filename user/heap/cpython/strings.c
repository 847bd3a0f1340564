/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * strings.c - str of 3.x (PEP 393: one, two or four bytes a character) and of 2.7 (bytes) as
 * UTF-8.
 */
#include <string.h>

#include "heap/cpython/internal.h"

#define CT_LENGTH_OFFSET 16u /* of every str; of bytes it is ob_size */
#define CT_LENGTH_MAX	 (1ll << 32)
#define CT_STATE_KIND(s) ((s) >> 2 & 7u) /* bytes a character */
#define CT_STATE_COMPACT (1u << 5)
#define CT_STATE_ASCII	 (1u << 6)
#define CT_ESCAPED_FIRST                                                         \
	0xdc80u /* a byte of a file name that was no UTF-8: U+DC80 + byte - 0x80 \
		 */
#define CT_ESCAPED_LAST 0xdcffu

/** Bytes of @c in UTF-8 at @out, which has room for 4. An escaped byte is that byte again. */
static size_t ct_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c >= CT_ESCAPED_FIRST && c <= CT_ESCAPED_LAST) {
		out[0] = (char)(c & 0xff);
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | (c >> 18 & 7));
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/** @count characters of @kind bytes at @raw, cut where @buf of @len bytes ends. */
static void ct_string_convert(char *buf, size_t len, const uint8_t *raw, size_t count,
			      unsigned int kind)
{
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		uint32_t c = 0;
		char utf8[4];
		size_t n;

		memcpy(&c, raw + i * kind, kind);
		n = ct_utf8(utf8, c);
		if (!c || at + n >= len)
			break;
		memcpy(buf + at, utf8, n);
		at += n;
	}
	buf[at] = '\0';
}

static bool ct_string_read_27(const struct ct_python *python, ct_raddr_t string, int64_t length,
			      char *buf, size_t len)
{
	size_t n = (uint64_t)length < len - 1 ? (size_t)length : len - 1;

	buf[n] = '\0';
	return ct_python__read(python, string + python->layout.bytes_data, buf, n);
}

bool ct_py_string(const struct ct_python *python, ct_raddr_t string, char *buf, size_t len)
{
	const struct ct_py_layout *layout = &python->layout;
	uint8_t raw[CT_PY_NAME * 4];
	unsigned int kind;
	ct_raddr_t data;
	uint32_t state;
	int64_t length;
	size_t count;

	buf[0] = '\0';
	if (!ct_python__read(python, string + CT_LENGTH_OFFSET, &length, sizeof(length)) ||
	    length < 0 || length > CT_LENGTH_MAX)
		return false;
	if (layout->str_state == CT_PY_NONE)
		return ct_string_read_27(python, string, length, buf, len);
	if (!ct_python__read(python, string + layout->str_state, &state, sizeof(state)))
		return false;
	kind = CT_STATE_KIND(state);
	if (kind != 1 && kind != 2 && kind != 4)
		return false;
	data = string +
	       (state & CT_STATE_ASCII ? layout->str_ascii_data : layout->str_compact_data);
	if (!(state & CT_STATE_COMPACT))
		data = ct_python__word(python, string + layout->str_compact_data);
	len = len < CT_PY_NAME ? len : CT_PY_NAME;
	count = (uint64_t)length < len ? (size_t)length : len;
	if (!ct_python__read(python, data, raw, count * kind))
		return false;
	ct_string_convert(buf, len, raw, count, kind);
	return true;
}
