/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * faults.c - each fault as a line of JSON. Keys without a value are left out: what is not there is
 * not known. A fault that is taken back (count -1) is the same line again, but for its time.
 */
#include "cli/faults.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct ct_faults {
	FILE *out;
	const char *name;
	uint64_t start_ns;
	int err; /* of the first line that could not be written */
};

static const char *const ct_fault_names[CT_FAULT_COUNT] = {
	"unknown",   "copy",	     "copy_file", "copy_ksm",
	"copy_huge", "copy_hugetlb", "zero_fill", "reuse",
};

struct ct_faults *ct_faults__open(const char *name)
{
	struct ct_faults *faults = calloc(1, sizeof(*faults));

	if (!faults)
		return NULL;
	faults->name = strcmp(name, "-") ? name : "standard output";
	faults->out = strcmp(name, "-") ? fopen(name, "we") : stdout;
	if (faults->out)
		return faults;
	ct_error("cannot write %s: %s", name, strerror(errno));
	free(faults);
	return NULL;
}

void ct_faults__start(struct ct_faults *faults, uint64_t start_ns)
{
	faults->start_ns = start_ns;
}

static void ct_faults_failed(struct ct_faults *faults, int err)
{
	if (faults->err)
		return;
	faults->err = err ? err : -EIO;
	if (faults->err != -EPIPE) /* closed by its reader, who has had enough */
		ct_warn("cannot write the faults to %s: %s; the file ends here, counting goes on",
			faults->name, strerror(-faults->err));
}

/* Takes @line. */
static void ct_faults_write(struct ct_faults *faults, json_t *line)
{
	errno = 0;
	if (!line)
		ct_faults_failed(faults, -ENOMEM);
	else if (json_dumpf(line, faults->out, JSON_COMPACT | JSON_REAL_PRECISION(12)) ||
		 fputc('\n', faults->out) == EOF)
		ct_faults_failed(faults, -errno);
	json_decref(line);
}

static bool ct_set(json_t *line, const char *key, json_t *value)
{
	return value && !json_object_set_new(line, key, value);
}

static bool ct_set_address(json_t *line, const char *key, ct_raddr_t address)
{
	char hex[24];

	snprintf(hex, sizeof(hex), "0x%" PRIx64, address);
	return ct_set(line, key, json_string(hex));
}

static bool ct_set_name(json_t *line, const char *key, const struct ct_names *names, uint32_t id)
{
	return !id || ct_set(line, key, json_string(ct_names__name(names, id)));
}

/* What is known of the memory that was written. */
static bool ct_set_place(json_t *line, const struct ct_sample *s,
			 const struct ct_resolver_names *names)
{
	bool ok = ct_set(line, "cell", json_string(ct_cell_name(s->cell))) &&
		  ct_set(line, "cause", json_string(ct_cause_name(s->cause))) &&
		  ct_set_name(line, "type", names->types, s->type) &&
		  ct_set_name(line, "symbol", names->writers, s->writer);

	if (ok && s->heap)
		ok = ct_set(line, "heap", json_string(s->heap));
	if (ok && s->object)
		ok = ct_set_address(line, "object", s->object) &&
		     ct_set(line, "offset", json_integer(s->offset)) &&
		     ct_set(line, "size", json_integer(s->size));
	if (ok && s->owner)
		ok = ct_set_address(line, "owner", s->owner);
	if (ok && s->collection)
		ok = ct_set(line, "generation", json_integer(s->generation)) &&
		     ct_set(line, "collection", json_integer(s->collection));
	return ok;
}

/* "line" is a number, of "file"; the names table has "12 handle" of the file. */
static bool ct_set_line(json_t *line, const struct ct_sample *s, const struct ct_names *lines)
{
	unsigned long number = s->line ? strtoul(ct_names__name(lines, s->line), NULL, 10) : 0;

	return (!number || ct_set(line, "line", json_integer((json_int_t)number))) &&
	       ct_set_name(line, "file", lines, s->module) &&
	       ct_set_name(line, "function", lines, s->function) &&
	       ct_set(line, "sampled", json_true());
}

void ct_faults__put(struct ct_faults *faults, const struct ct_sample *s,
		    const struct ct_resolver_names *names)
{
	bool unshares = s->fault != CT_FAULT_ZERO_FILL && s->fault != CT_FAULT_REUSE, ok;
	double t_s = ((double)s->ts_ns - (double)faults->start_ns) / 1e9;
	json_t *line;

	if (faults->err)
		return;
	line = json_object();
	ok = line && ct_set(line, "t_s", json_real(t_s)) &&
	     ct_set(line, "pid", json_integer(s->pid)) &&
	     ct_set(line, "tid", json_integer(s->tid)) &&
	     ct_set_address(line, "address", s->address) &&
	     ct_set(line, "kind",
		    json_string(ct_fault_names[s->fault < CT_FAULT_COUNT ? s->fault : 0])) &&
	     ct_set(line, "count", json_integer(s->count));
	if (ok && s->page_shift != 12)
		ok = ct_set(line, "bytes", json_integer((json_int_t)1 << s->page_shift));
	if (ok && unshares)
		ok = ct_set_place(line, s, names);
	if (ok && s->sampled)
		ok = ct_set_line(line, s, names->lines);
	if (ok && s->correction)
		ok = ct_set(line, "correction", json_true());
	if (!ok) {
		json_decref(line);
		line = NULL;
	}
	ct_faults_write(faults, line);
}

void ct_faults__put_undetailed(struct ct_faults *faults, uint32_t pid, enum ct_fault kind,
			       ct_raddr_t address, int64_t count)
{
	json_t *line;
	bool ok;

	if (faults->err)
		return;
	line = json_object();
	ok = line && ct_set(line, "pid", json_integer(pid)) &&
	     ct_set(line, "kind", json_string(ct_fault_names[kind < CT_FAULT_COUNT ? kind : 0])) &&
	     ct_set(line, "count", json_integer(count)) &&
	     ct_set(line, "undetailed", json_true()) &&
	     (!address || ct_set_address(line, "address", address));
	if (!ok) {
		json_decref(line);
		line = NULL;
	}
	ct_faults_write(faults, line);
}

void ct_faults__flush(struct ct_faults *faults)
{
	errno = 0;
	if (!faults->err && fflush(faults->out))
		ct_faults_failed(faults, -errno);
}

int ct_faults__close(struct ct_faults *faults)
{
	int err;

	if (!faults)
		return 0;
	errno = 0;
	if (fflush(faults->out) || (faults->out != stdout && fclose(faults->out)))
		ct_faults_failed(faults, -errno);
	err = faults->err == -EPIPE ? 0 : faults->err; /* its reader had enough */
	free(faults);
	return err;
}
