/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* fmt.c - numbers and foreign strings made fit for a person's eyes. */
#include "base/fmt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

char *ct_fmt_bytes(char *buf, size_t len, uint64_t bytes)
{
	static const char units[] = "KMGTPE";
	double value = (double)bytes;
	int unit = -1;

	while (value >= 1023.95 && unit < 5) {
		value /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(buf, len, "%" PRIu64 " B", bytes);
	else
		snprintf(buf, len, value < 99.95 ? "%.1f %cB" : "%.0f %cB", value, units[unit]);
	return buf;
}

char *ct_fmt_count(char *buf, size_t len, uint64_t count)
{
	char digits[24];
	size_t n = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, count), out = 0;

	for (size_t i = 0; i < n && out + 2 < len; i++) {
		if (i && (n - i) % 3 == 0)
			buf[out++] = ',';
		buf[out++] = digits[i];
	}
	if (len)
		buf[out < len ? out : len - 1] = '\0';
	return buf;
}

/* Length of the valid UTF-8 sequence at @s (at most @n bytes), 0 if there is none. */
static size_t ct_utf8_len(const unsigned char *s, size_t n)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
	uint32_t c;

	if (!len || len > n || s[0] > 0xf4)
		return 0;
	if (len == 1)
		return 1;
	c = s[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	/* C1 controls act on some terminals; bidi overrides turn the rest of a line around */
	if ((c >= 0x80 && c < 0xa0) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
		return 0;
	return len;
}

char *ct_escape(char *buf, size_t len, const char *src, size_t src_len)
{
	const unsigned char *s = (const unsigned char *)src;
	size_t out = 0, in = 0, end = strnlen(src, src_len);

	if (!len)
		return buf;
	while (in < end) {
		size_t n = ct_utf8_len(s + in, end - in), need;
		char piece[8];

		if (n && s[in] >= 0x20 && s[in] != 0x7f && s[in] != '\\') {
			memcpy(piece, s + in, n);
			need = n;
		} else {
			need = (size_t)snprintf(piece, sizeof(piece),
						s[in] == '\\' ? "\\\\" : "\\x%02x", s[in]);
			n = 1;
		}
		if (out + need + (in + n < end ? 4 : 1) > len) {
			size_t dots = len > 3 ? 3 : len - 1;

			if (out + dots >= len)
				out = len - 1 - dots;
			memcpy(buf + out, "...", dots);
			out += dots;
			break;
		}
		memcpy(buf + out, piece, need);
		out += need;
		in += n;
	}
	buf[out] = '\0';
	return buf;
}
