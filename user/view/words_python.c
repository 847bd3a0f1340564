/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* words_python.c - what is said of interpreters: which they are, collections, their end. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "view/fit.h"
#include "view/words.h"

#define CT_INTERPRETERS_SAID 3
#define CT_COLLECTIONS_SAID  3

static void ct_add(char *buf, size_t len, const char *fmt, ...) CT_PRINTF(3, 4);

static void ct_add(char *buf, size_t len, const char *fmt, ...)
{
	size_t at = strlen(buf);
	va_list args;

	va_start(args, fmt);
	vsnprintf(buf + at, len - at, fmt, args);
	va_end(args);
}

static bool ct_same_interpreter(const struct ct_interpreter_row *a,
				const struct ct_interpreter_row *b)
{
	return !strcmp(a->name, b->name) && !strcmp(a->version, b->version) &&
	       !strcmp(a->object, b->object);
}

/* How many there are like the one at @i; 0: one before it is. */
static size_t ct_alike(const struct ct_run_info *run, size_t i)
{
	size_t alike = 0;

	for (size_t k = 0; k < run->n_interpreters; k++) {
		if (!ct_same_interpreter(&run->interpreters[k], &run->interpreters[i]))
			continue;
		if (k < i)
			return 0;
		alike++;
	}
	return alike;
}

char *ct_words__interpreters(const struct ct_run_info *run, bool utf8, char *buf, size_t len)
{
	size_t said = 0, more = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < run->n_interpreters; i++) {
		const struct ct_interpreter_row *row = &run->interpreters[i];
		size_t alike = row->object[0] ? ct_alike(run, i) : 0;

		more += alike && said == CT_INTERPRETERS_SAID;
		if (!alike || said == CT_INTERPRETERS_SAID)
			continue;
		if (said++)
			ct_add(buf, len, "%s", utf8 ? " · " : " | ");
		ct_add(buf, len, "%s%s%s in %s",
		       strcmp(row->name, "cpython") ? row->name : "CPython",
		       row->version[0] ? " " : "", row->version, row->object);
		if (alike > 1)
			ct_add(buf, len, " (%zu processes)", alike);
	}
	if (more)
		ct_add(buf, len, ", and %zu more", more);
	return buf;
}

/* The first row of either kind in a sentence, and how many are like it. */
static char *ct_first_without(const struct ct_run_info *run, bool refused, const char *words,
			      char *buf, size_t len)
{
	size_t without = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < run->n_interpreters; i++) {
		const struct ct_interpreter_row *row = &run->interpreters[i];

		if (row->why[0] && (row->object[0] == '\0') == refused && !without++)
			snprintf(buf, len, "%s of pid %" PRIu32 ": %s", words, row->pid, row->why);
	}
	if (without > 1)
		ct_add(buf, len, " (and of %zu more)", without - 1);
	return buf;
}

char *ct_words__no_stacks(const struct ct_run_info *run, char *buf, size_t len)
{
	return ct_first_without(run, false, "No Python lines", buf, len);
}

char *ct_words__refused(const struct ct_run_info *run, char *buf, size_t len)
{
	return ct_first_without(run, true, "No objects", buf, len);
}

static char *ct_ordinal(char *buf, size_t len, uint32_t n)
{
	static const char *const words[] = { "", "first", "second", "third" };
	unsigned int tens = n % 100 / 10, ones = n % 10;

	if (n < CT_ARRAY_SIZE(words))
		snprintf(buf, len, "%s", words[n]);
	else
		snprintf(buf, len, "%" PRIu32 "%s", n,
			 tens == 1   ? "th"
			 : ones == 1 ? "st"
			 : ones == 2 ? "nd"
			 : ones == 3 ? "rd"
				     : "th");
	return buf;
}

/* "41.0 MB", or pages where they were not all of one size. */
static char *ct_size_of(const struct ct_totals *totals, int64_t unshared, char *buf, size_t len)
{
	char number[40];

	if (totals->unshared > 0 && !totals->copy_huge && !totals->copy_hugetlb)
		return ct_fit_bytes(buf, len,
				    unshared * (totals->unshared_bytes / totals->unshared));
	snprintf(buf, len, "%s pages", ct_fit_count(number, sizeof(number), unshared));
	return buf;
}

char *ct_words__collections(const struct ct_snapshot *snapshot, bool utf8, char *buf, size_t len)
{
	size_t said = snapshot->n_collections < CT_COLLECTIONS_SAID ? snapshot->n_collections
								    : CT_COLLECTIONS_SAID;
	char ordinal[24], size[40];

	buf[0] = '\0';
	for (size_t i = 0; i < said; i++) {
		const struct ct_collection_row *row = &snapshot->collections[i];

		if (i)
			ct_add(buf, len, "%s", utf8 ? " · " : " | ");
		ct_ordinal(ordinal, sizeof(ordinal), row->ordinal);
		if (row->generation == 2)
			ct_add(buf, len, "%s full collection", ordinal);
		else
			ct_add(buf, len, "%s collection of generation %u", ordinal,
			       row->generation);
		ct_add(buf, len, " in pid %" PRIu32 ": %s", row->pid,
		       ct_size_of(&snapshot->totals, row->unshared, size, sizeof(size)));
	}
	if (snapshot->all_collections > said)
		ct_add(buf, len, "%s%s more", utf8 ? " · " : " | ",
		       ct_fit_count(size, sizeof(size),
				    (int64_t)(snapshot->all_collections - said)));
	return buf;
}

char *ct_words__exit(const struct ct_snapshot *snapshot, char *buf, size_t len)
{
	int64_t unshared = snapshot->causes[CT_CAUSE_EXIT];
	char size[40], share[24], number[40];
	size_t processes = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < snapshot->n_processes; i++)
		processes += snapshot->processes[i].causes[CT_CAUSE_EXIT] > 0;
	if (unshared <= 0 || !processes)
		return buf;
	snprintf(buf, len,
		 "%s interpreter%s that ended normally unshared %s while ending, %s of all; "
		 "os._exit would not have.",
		 ct_fit_count(number, sizeof(number), (int64_t)processes),
		 processes == 1 ? "" : "s",
		 ct_size_of(&snapshot->totals, unshared, size, sizeof(size)),
		 ct_fit_share(share, sizeof(share), unshared, snapshot->totals.unshared));
	return buf;
}
