/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* log.c - messages to standard error; held back while a full-screen view owns the terminal. */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int ct_verbose;
static bool ct_held;
static char ct_held_text[64 * 1024];
static size_t ct_held_len;

void ct_log_set_verbose(int level)
{
	ct_verbose = level;
}

static void ct_log_line(const char *prefix, const char *fmt, va_list args)
{
	char line[2048];
	int n;

	n = vsnprintf(line, sizeof(line), fmt, args);
	if (n < 0)
		return;
	if (!ct_held) {
		fprintf(stderr, "cowtrace: %s%s\n", prefix, line);
		return;
	}
	n = snprintf(ct_held_text + ct_held_len, sizeof(ct_held_text) - ct_held_len,
		     "cowtrace: %s%s\n", prefix, line);
	if (n > 0 && ct_held_len + (size_t)n < sizeof(ct_held_text))
		ct_held_len += (size_t)n;
	else
		ct_held_text[ct_held_len] = '\0';
}

void ct_error(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	ct_log_line("", fmt, args);
	va_end(args);
}

void ct_warn(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	ct_log_line("warning: ", fmt, args);
	va_end(args);
}

void ct_debug(const char *fmt, ...)
{
	va_list args;

	if (!ct_verbose)
		return;
	va_start(args, fmt);
	ct_log_line("debug: ", fmt, args);
	va_end(args);
}

void ct_log_hold(void)
{
	ct_held = true;
}

void ct_log_release(void)
{
	ct_held = false;
	fputs(ct_held_text, stderr);
	ct_held_len = 0;
	ct_held_text[0] = '\0';
}
