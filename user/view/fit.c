/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * fit.c - strings and numbers fitted into terminal columns. UTF-8 is decoded here and not by the
 * locale, so that a plain file comes out the same wherever it is written; only the width of a
 * character is the locale's (one column where that does not know it).
 */
#include "view/fit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "base/fmt.h"

/* One character of @s: its bytes and columns. What is malformed or acts on a terminal is '?'. */
static size_t ct_fit_next(const char *s, bool utf8, char piece[5], unsigned int *columns)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t len = u[0] < 0x80 ? 1 : u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : u[0] >= 0xc2 ? 2 : 0;
	uint32_t c = len > 1 ? u[0] & (0x7fu >> len) : u[0];
	int width = 1;

	for (size_t i = 1; i < len; i++) {
		if ((u[i] & 0xc0) != 0x80) {
			len = 0;
			break;
		}
		c = c << 6 | (u[i] & 0x3f);
	}
	if (len && c >= 0x20 && c != 0x7f && (c < 0x80 || (utf8 && c >= 0xa0 && c <= 0x10ffff))) {
		memcpy(piece, s, len);
		piece[len] = '\0';
		if (c >= 0x80)
			width = wcwidth((wchar_t)c);
	} else {
		strcpy(piece, "?");
		len = len ? len : 1;
	}
	*columns = width >= 0 ? (unsigned int)width : 1;
	return len;
}

unsigned int ct_fit_width(const char *s, bool utf8)
{
	unsigned int width = 0, columns;
	char piece[5];

	while (*s) {
		s += ct_fit_next(s, utf8, piece, &columns);
		width += columns;
	}
	return width;
}

struct ct_out {
	char *buf;
	size_t len, at;
};

static void ct_out_put(struct ct_out *out, const char *piece)
{
	size_t n = strlen(piece);

	if (out->at + n >= out->len)
		return;
	memcpy(out->buf + out->at, piece, n + 1);
	out->at += n;
}

static void ct_out_pad(struct ct_out *out, unsigned int columns)
{
	while (columns--)
		ct_out_put(out, " ");
}

char *ct_fit(char *buf, size_t len, const char *s, unsigned int columns, enum ct_align align,
	     bool utf8)
{
	unsigned int width = ct_fit_width(s, utf8), used = 0, next, dots = 0;
	const char *ellipsis = utf8 ? "…" : "..";
	struct ct_out out = { buf, len, 0 };
	char piece[5];

	if (!len)
		return buf;
	buf[0] = '\0';
	if (width > columns) {
		dots = utf8 ? 1 : 2;
		dots = dots < columns ? dots : 0;
	} else if (align == CT_ALIGN_RIGHT) {
		ct_out_pad(&out, columns - width);
	}
	while (*s) {
		s += ct_fit_next(s, utf8, piece, &next);
		if (used + next > columns - dots && width > columns)
			break;
		ct_out_put(&out, piece);
		used += next;
	}
	if (width > columns) {
		if (dots)
			ct_out_put(&out, ellipsis);
		used += dots;
		if (align == CT_ALIGN_NONE)
			return buf;
		ct_out_pad(&out, columns - used); /* a wide character that did not fit */
	} else if (align == CT_ALIGN_LEFT) {
		ct_out_pad(&out, columns - width);
	}
	return buf;
}

char *ct_fit_bar(char *buf, size_t len, double fraction, unsigned int columns, bool utf8)
{
	static const char *const eighths[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
	struct ct_out out = { buf, len, 0 };
	unsigned int parts;

	buf[0] = '\0';
	if (!(fraction > 0))
		return buf;
	parts = (unsigned int)lround((fraction < 1 ? fraction : 1) * columns * 8);
	if (!utf8) {
		parts = (parts + 4) / 8;
		for (unsigned int i = 0; i < parts; i++)
			ct_out_put(&out, "#");
		return buf;
	}
	parts = parts ? parts : 1; /* a little is not nothing */
	for (unsigned int i = 0; i < parts / 8; i++)
		ct_out_put(&out, "█");
	ct_out_put(&out, eighths[parts % 8]);
	return buf;
}

char *ct_fit_spark(char *buf, size_t len, const double *values, size_t count, bool utf8)
{
	static const char *const fine[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char *const plain[] = { " ", "_", ".", ".", "-", "-", "=", "=", "#" };
	struct ct_out out = { buf, len, 0 };
	double most = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < count; i++)
		most = values[i] > most ? values[i] : most;
	for (size_t i = 0; i < count; i++) {
		int level = 0;

		if (values[i] > 0 && most > 0)
			level = 1 + (int)(values[i] / most * 7.0 + 0.5);
		ct_out_put(&out, utf8 ? fine[level] : plain[level]);
	}
	return buf;
}

const char *ct_fit_shade(int level, bool utf8)
{
	static const char *const fine[] = { " ", "░", "▒", "▓", "█" };
	static const char *const plain[] = { " ", ".", ":", "*", "#" };

	level = level < 0 ? 0 : level > 4 ? 4 : level;
	return utf8 ? fine[level] : plain[level];
}

char *ct_fit_count(char *buf, size_t len, int64_t count)
{
	size_t sign = count < 0 && len > 1;

	if (sign)
		buf[0] = '-';
	ct_fmt_count(buf + sign, len - sign, count < 0 ? -(uint64_t)count : (uint64_t)count);
	return buf;
}

char *ct_fit_bytes(char *buf, size_t len, int64_t bytes)
{
	size_t sign = bytes < 0 && len > 1;

	if (sign)
		buf[0] = '-';
	ct_fmt_bytes(buf + sign, len - sign, bytes < 0 ? -(uint64_t)bytes : (uint64_t)bytes);
	return buf;
}

char *ct_fit_rate(char *buf, size_t len, double per_second)
{
	char number[40];

	if (!isfinite(per_second) || fabs(per_second) > 1e18)
		snprintf(buf, len, "-");
	else if (fabs(per_second) < 9.95 && per_second != 0)
		snprintf(buf, len, "%.1f/s", per_second);
	else
		snprintf(buf, len, "%s/s",
			 ct_fit_count(number, sizeof(number), llround(per_second)));
	return buf;
}

char *ct_fit_share(char *buf, size_t len, int64_t part, int64_t whole)
{
	double percent = whole > 0 ? 100.0 * (double)part / (double)whole : 0;

	if (whole <= 0)
		snprintf(buf, len, "-");
	else if (percent > 0 && percent < 0.1)
		snprintf(buf, len, "<0.1 %%");
	else if (percent > 99.9 && part < whole)
		snprintf(buf, len, "99.9 %%");
	else
		snprintf(buf, len, percent >= 99.95 ? "%.0f %%" : "%.1f %%", percent);
	return buf;
}

char *ct_fit_duration(char *buf, size_t len, uint64_t duration_ns)
{
	uint64_t seconds = (duration_ns + 500000000) / 1000000000;

	if (duration_ns < 59950000000ull)
		snprintf(buf, len, "%.1f s", (double)duration_ns / 1e9);
	else if (seconds < 3600)
		snprintf(buf, len, "%d min %02d s", (int)(seconds / 60), (int)(seconds % 60));
	else
		snprintf(buf, len, "%llu h %02d min", (unsigned long long)(seconds / 3600),
			 (int)(seconds / 60 % 60));
	return buf;
}
