/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* words.c - a snapshot's head, kinds and meaning, made one line each. */
#include "view/words.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "view/fit.h"

static void ct_append(char *buf, size_t len, const char *fmt, ...) CT_PRINTF(3, 4);

static void ct_append(char *buf, size_t len, const char *fmt, ...)
{
	size_t at = strlen(buf);
	va_list args;

	va_start(args, fmt);
	vsnprintf(buf + at, len - at, fmt, args);
	va_end(args);
}

size_t ct_words__others(const struct ct_snapshot *snapshot)
{
	struct ct_map pids = { 0 };
	size_t others;

	for (size_t i = 0; i < snapshot->n_processes; i++)
		if (snapshot->processes[i].pid != snapshot->run.pid &&
		    !ct_map__at(&pids, snapshot->processes[i].pid)) {
			ct_map__free(&pids);
			return snapshot->n_processes - 1; /* out of memory: images, not pids */
		}
	others = ct_map__count(&pids);
	ct_map__free(&pids);
	return others;
}

/* What follows the command in the head line; @terse: values without their words. */
static void ct_words_facts(const struct ct_run_info *run, size_t others, int64_t undetailed,
			   bool utf8, bool terse, char *buf, size_t len)
{
	const char *dot = utf8 ? " · " : " | ";
	char number[40];

	buf[0] = '\0';
	ct_append(buf, len, "[%" PRIu32 "]", run->pid);
	if (others) {
		ct_fit_count(number, sizeof(number), (int64_t)others);
		ct_append(buf, len, " +%s%s%s%s", terse ? "" : " ", number, terse ? "" : " process",
			  terse || others == 1 ? "" : "es");
	}
	ct_append(buf, len, "%s%s%s", dot, terse ? "" : "hook ", run->hook ? run->hook : "unknown");
	ct_append(buf, len, "%s%s%s", dot, terse ? "" : "kernel ",
		  run->kernel ? run->kernel : "unknown");
	ct_append(buf, len, "%s%s", dot, ct_fit_duration(number, sizeof(number), run->duration_ns));
	ct_append(buf, len, "%sundetailed %s", dot,
		  ct_fit_count(number, sizeof(number), undetailed));
}

/* A command without the folder of its program. */
static const char *ct_without_folder(const char *command)
{
	size_t word = strcspn(command, " "), slash = word;

	while (slash && command[slash - 1] != '/')
		slash--;
	return slash < word ? command + slash : command;
}

char *ct_words__headline(const struct ct_run_info *run, size_t others, int64_t undetailed,
			 bool utf8, unsigned int columns, bool terse, char *buf, size_t len)
{
	static const char head[] = "cowtrace: ";
	unsigned int room = CT_COLUMNS_MAX, least = 8, taken;
	char facts[CT_LINE_BYTES], command[CT_LINE_BYTES];

	ct_words_facts(run, others, undetailed, utf8, false, facts, sizeof(facts));
	taken = (unsigned int)sizeof(head) - 1 + ct_fit_width(facts, utf8);
	if (terse && taken + least > columns) {
		ct_words_facts(run, others, undetailed, utf8, true, facts, sizeof(facts));
		taken = (unsigned int)sizeof(head) - 1 + ct_fit_width(facts, utf8);
	}
	if (columns)
		room = columns > taken + least ? columns - taken : least;
	ct_fit(command, sizeof(command),
	       run->command && run->command[0] ? ct_without_folder(run->command) : "unknown", room,
	       CT_ALIGN_NONE, utf8);
	snprintf(buf, len, "%s%s%s", head, command, facts);
	return buf;
}

char *ct_words__kinds(const struct ct_totals *totals, bool utf8, char *buf, size_t len)
{
	const struct {
		const char *name;
		int64_t count;
	} kinds[] = {
		{ "copy", totals->copy },
		{ "copy_file", totals->copy_file },
		{ "copy_ksm", totals->copy_ksm },
		{ "copy_huge", totals->copy_huge },
		{ "copy_hugetlb", totals->copy_hugetlb },
		{ "zero_fill", totals->zero_fill },
		{ "reuse", totals->reuse },
	};
	const char *dot = utf8 ? " · " : " | ";
	char number[40];

	buf[0] = '\0';
	for (size_t i = 0; i < CT_ARRAY_SIZE(kinds); i++) {
		if (!kinds[i].count)
			continue;
		ct_append(buf, len, "%s%s %s", buf[0] ? dot : "", kinds[i].name,
			  ct_fit_count(number, sizeof(number), kinds[i].count));
		if (kinds[i].count == totals->copy_file && totals->copy_file_unread &&
		    !strcmp(kinds[i].name, "copy_file"))
			ct_append(buf, len, " (%s unread)",
				  ct_fit_count(number, sizeof(number), totals->copy_file_unread));
	}
	if (!buf[0])
		snprintf(buf, len, "no copy-on-write fault so far");
	return buf;
}

/* What each cause is called in a sentence: "... unshared 71 % of". */
static const char *ct_cause_phrase(enum ct_cause cause)
{
	static const char *const phrases[CT_CAUSE_COUNT] = {
		[CT_CAUSE_UNKNOWN] = "Writes of unknown cause",
		[CT_CAUSE_REFCOUNT] = "Refcount writes",
		[CT_CAUSE_GC] = "The garbage collector",
		[CT_CAUSE_GC_LINK] = "Linking and unlinking of objects for the collector (gc_link)",
		[CT_CAUSE_ALLOCATION] = "Allocation of new objects",
		[CT_CAUSE_MUTATION] = "Mutation of data",
		[CT_CAUSE_EXIT] = "The interpreter's exit",
		[CT_CAUSE_RUNTIME] = "The runtime (loader, libc, interpreter state)",
	};

	return phrases[cause];
}

static int ct_top_cause(const struct ct_snapshot *snapshot, int but)
{
	int best = -1;

	for (int i = 0; i < CT_CAUSE_COUNT; i++)
		if (i != but && snapshot->causes[i] > 0 &&
		    (best < 0 || snapshot->causes[i] > snapshot->causes[best]))
			best = i;
	return best;
}

char *ct_words__reading(const struct ct_snapshot *snapshot, char *buf, size_t len)
{
	const struct ct_totals *totals = &snapshot->totals;
	char share[24], whole[64], number[40];
	int top = ct_top_cause(snapshot, -1), next;

	if (totals->unshared <= 0) {
		snprintf(buf, len, "No page was unshared.");
		return buf;
	}
	if (totals->copy_huge ||
	    totals->copy_hugetlb) /* pages differ, a share of bytes is not known */
		snprintf(whole, sizeof(whole), "%s pages",
			 ct_fit_count(number, sizeof(number), totals->unshared));
	else
		ct_fit_bytes(whole, sizeof(whole), totals->unshared_bytes);
	if (top < 0) {
		snprintf(buf, len, "All of %s was counted without detail: why is unknown.", whole);
		return buf;
	}
	ct_fit_share(share, sizeof(share), snapshot->causes[top], totals->unshared);
	snprintf(buf, len, "%s unshared %s of %s", ct_cause_phrase(top), share, whole);
	next = ct_top_cause(snapshot, top);
	if (next >= 0)
		ct_append(buf, len, "; %s %s", next ? ct_cause_name(next) : "unknown causes",
			  ct_fit_share(share, sizeof(share), snapshot->causes[next],
				       totals->unshared));
	if (totals->undetailed > 0)
		ct_append(buf, len, "; %s has no detail",
			  ct_fit_share(share, sizeof(share), totals->undetailed, totals->unshared));
	ct_append(buf, len, ".");
	return buf;
}
