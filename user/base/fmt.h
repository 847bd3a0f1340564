/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* fmt.h - numbers and foreign strings made fit for a person's eyes. */
#ifndef CT_BASE_FMT_H
#define CT_BASE_FMT_H

#include "base/types.h"

/** ct_fmt_bytes - "812 B", "1.5 MB" (powers of 1024) into @buf. Return: @buf. */
char *ct_fmt_bytes(char *buf, size_t len, uint64_t bytes);
/** ct_fmt_count - "1,234,567" into @buf. Return: @buf. */
char *ct_fmt_count(char *buf, size_t len, uint64_t count);
/**
 * ct_escape - copy a string of the target so that no terminal or page can be fooled by it:
 * control characters and invalid UTF-8 become \xNN, a backslash is doubled; cut with "..." at
 * @len bytes, never inside a character.
 * @src need not be terminated: at most @src_len bytes are read, up to the first NUL.
 * Return: @buf, always terminated and always valid UTF-8.
 */
char *ct_escape(char *buf, size_t len, const char *src, size_t src_len);

#endif /* CT_BASE_FMT_H */
