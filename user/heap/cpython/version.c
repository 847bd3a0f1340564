/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * version.c - the version of a CPython that does not export it: before 3.11 only a constant string
 * says it ("3.8.18"), among those of whatever was linked in. Py_GetVersion, which is exported,
 * refers to it. Where its code does not show that, the string must be the only one that fits the
 * tag of the build's .pyc files ("cpython-38"), which 2.7 does not have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/cpython/internal.h"

#define CT_CHUNK     (256u << 10)
#define CT_SCAN_MAX  (64ull << 20) /* bytes of constant data looked through */
#define CT_STRING    32u	   /* longest version or tag, with the NULs around it */
#define CT_CANDIDATE 16u
#define CT_CODE_MAX  256u /* bytes of Py_GetVersion looked at */

#define CT_RELEASE_FINAL 0xfu

struct ct_candidates {
	uint32_t versions[CT_CANDIDATE];
	size_t count;
	uint32_t tags; /* bit N: "cpython-3N" is there */
	bool too_many;
};

void ct_py_version_text(uint32_t hexversion, char *text, size_t len)
{
	static const char *const levels[16] = { [0xa] = "a", [0xb] = "b", [0xc] = "rc" };
	const char *level = levels[hexversion >> 4 & 0xf];
	int n = snprintf(text, len, "%u.%u.%u", hexversion >> 24, hexversion >> 16 & 0xff,
			 hexversion >> 8 & 0xff);

	if (level && n > 0 && (size_t)n < len)
		snprintf(text + n, len - (size_t)n, "%s%u", level, hexversion & 0xf);
}

/** A number of at most two digits at *@text; false if there is none or it is longer. */
static bool ct_parse_small(const char **text, uint32_t *number)
{
	const char *p = *text;

	for (*number = 0; *p >= '0' && *p <= '9' && p - *text < 3; p++)
		*number = *number * 10 + (uint32_t)(*p - '0');
	if (p == *text || p - *text > 2)
		return false;
	*text = p;
	return true;
}

/** The version that @text is, all of it: "3.8.18", "3.9.0rc1", "3.10.4+"; else 0. */
static uint32_t ct_parse_version(const char *text)
{
	uint32_t major, minor, micro, level = CT_RELEASE_FINAL, serial = 0;

	if (!ct_parse_small(&text, &major) || *text++ != '.' || !ct_parse_small(&text, &minor) ||
	    *text++ != '.' || !ct_parse_small(&text, &micro))
		return 0;
	if (*text == 'a' || *text == 'b' || (*text == 'r' && text[1] == 'c')) {
		level = *text == 'r' ? 0xcu : (uint32_t)(*text - 'a') + 0xau;
		text += *text == 'r' ? 2 : 1;
		if (!ct_parse_small(&text, &serial))
			return 0;
	}
	if (*text == '+') /* built from a checkout after the release */
		text++;
	return *text ? 0 : major << 24 | minor << 16 | micro << 8 | level << 4 | (serial & 0xf);
}

static void ct_candidates_add(struct ct_candidates *c, uint32_t version)
{
	for (size_t i = 0; i < c->count; i++) {
		if (c->versions[i] == version)
			return;
	}
	if (c->count < CT_CANDIDATE)
		c->versions[c->count++] = version;
	else
		c->too_many = true;
}

/** Look at the string at @text, of which a NUL is among the next CT_STRING bytes. */
static void ct_candidates_look(struct ct_candidates *c, const char *text)
{
	static const char tag[] = "cpython-3";
	uint32_t version, minor;

	if (!strncmp(text, tag, sizeof(tag) - 1)) {
		const char *p = text + sizeof(tag) - 1;

		if (ct_parse_small(&p, &minor) && !*p && minor < 32)
			c->tags |= 1u << minor;
		return;
	}
	version = ct_parse_version(text);
	if (version)
		ct_candidates_add(c, version);
}

static void ct_candidates_scan(struct ct_candidates *c, const struct ct_py_module *module,
			       const struct ct_py_segment *segment, char *chunk, uint64_t *left)
{
	uint64_t at = 0;

	while (at < segment->file_len && *left) {
		uint64_t n = segment->file_len - at;

		n = n < CT_CHUNK ? n : CT_CHUNK;
		if (!ct_py_module__read(module, segment->vaddr + at, chunk, n))
			return;
		*left -= *left < n ? *left : n;
		for (size_t i = 0; i + CT_STRING <= n; i++) {
			const char *zero = memchr(chunk + i, '\0', n - CT_STRING - i + 1);

			if (!zero)
				break;
			i = (size_t)(zero - chunk);
			if ((zero[1] == 'c' || zero[1] == '2' || zero[1] == '3') &&
			    memchr(zero + 1, '\0', CT_STRING - 1))
				ct_candidates_look(c, zero + 1);
		}
		if (n < CT_CHUNK)
			return;
		at += n - CT_STRING; /* a string may lie across two chunks */
	}
}

/** Can a file of this sort be of @version, going by the tags it has? */
static bool ct_version_fits(uint32_t version, uint32_t tags, bool has_runtime)
{
	uint32_t major = version >> 24, minor = version >> 16 & 0xff;

	if (major == 2)
		return !has_runtime && minor == 7 && !tags;
	return major == 3 && minor < 32 && tags == 1u << minor && (minor >= 7) == has_runtime;
}

/** The version that the constant string at @vaddr is, else 0. */
static uint32_t ct_version_at(const struct ct_py_module *module, uint64_t vaddr)
{
	char text[CT_STRING];

	for (unsigned int i = 0; i < module->segment_count; i++) {
		const struct ct_py_segment *s = &module->segments[i];

		if (s->writable && vaddr >= s->vaddr && vaddr - s->vaddr < s->memory_len)
			return 0;
	}
	if (!ct_py_module__read(module, vaddr, text, sizeof(text)) ||
	    !memchr(text, '\0', sizeof(text)))
		return 0;
	return ct_parse_version(text);
}

/**
 * The version among the addresses that Py_GetVersion loads (x86-64): "lea ADDRESS(%rip), REGISTER",
 * or "mov $ADDRESS, REGISTER" in programs that are not relocated. An address in the middle of
 * other code shows no version.
 */
static uint32_t ct_version_by_code(const struct ct_py_module *module)
{
	struct ct_py_symbol symbol;
	uint8_t code[CT_CODE_MAX];
	uint32_t found = 0;
	size_t len;

	if (!ct_py_module__exported(module, "Py_GetVersion", &symbol))
		return 0;
	len = symbol.size < sizeof(code) ? symbol.size : sizeof(code);
	if (!ct_py_module__read(module, symbol.vaddr, code, len))
		return 0;
	for (size_t i = 0; i + 7 <= len; i++) {
		uint32_t version = 0, operand;

		if ((code[i] & 0xfb) == 0x48 && code[i + 1] == 0x8d && (code[i + 2] & 0xc7) == 5) {
			memcpy(&operand, code + i + 3, sizeof(operand));
			version = ct_version_at(
				module, symbol.vaddr + i + 7 + (uint64_t)(int64_t)(int32_t)operand);
		} else if ((code[i] & 0xf8) == 0xb8) {
			memcpy(&operand, code + i + 1, sizeof(operand));
			version = ct_version_at(module, operand);
		}
		if (version && found && version != found)
			return 0;
		found = version ? version : found;
	}
	return found;
}

uint32_t ct_py_version_of_file(const struct ct_py_module *module, bool has_runtime)
{
	uint32_t version = ct_version_by_code(module);
	struct ct_candidates c = { 0 };
	uint64_t left = CT_SCAN_MAX;
	char *chunk;

	if (version)
		return version;
	chunk = malloc(CT_CHUNK);
	for (unsigned int i = 0; chunk && i < module->segment_count; i++) {
		if (!module->segments[i].writable)
			ct_candidates_scan(&c, module, &module->segments[i], chunk, &left);
	}
	free(chunk);
	for (size_t i = 0; i < c.count; i++) {
		if (!ct_version_fits(c.versions[i], c.tags, has_runtime))
			continue;
		if (version)
			return 0;
		version = c.versions[i];
	}
	return c.too_many ? 0 : version;
}
