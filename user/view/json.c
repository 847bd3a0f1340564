/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * json.c - a snapshot as JSON, schema "cowtrace/1" (DESIGN: JSON). Rows are made by jansson and
 * written one at a time: a run with millions of pages needs no memory for the text. All on one
 * line, the last: what a traced command printed before it to the same place is easily told apart.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "base/fmt.h"
#include "view/view.h"

/* Names come escaped, so this is valid UTF-8; if not, it is made so rather than lost. */
static json_t *ct_json_string(const char *s)
{
	char safe[1024];
	json_t *json;

	if (!s)
		return json_null();
	json = json_string(s);
	return json ? json : json_string(ct_escape(safe, sizeof(safe), s, SIZE_MAX));
}

static json_t *ct_json_address(ct_raddr_t address)
{
	char hex[24];

	snprintf(hex, sizeof(hex), "0x%" PRIx64, address);
	return json_string(hex);
}

/* An object gets a value, or stays without it and says so. */
static bool ct_json_set(json_t *object, const char *key, json_t *value)
{
	return value && json_object_set_new(object, key, value) == 0;
}

static bool ct_json_set_kinds(json_t *object, const struct ct_totals *totals)
{
	const struct {
		const char *key;
		int64_t value;
	} list[] = {
		{ "unshared", totals->unshared },
		{ "unshared_bytes", totals->unshared_bytes },
		{ "copy", totals->copy },
		{ "copy_file", totals->copy_file },
		{ "copy_ksm", totals->copy_ksm },
		{ "copy_huge", totals->copy_huge },
		{ "copy_hugetlb", totals->copy_hugetlb },
		{ "copy_file_unread", totals->copy_file_unread },
		{ "zero_fill", totals->zero_fill },
		{ "reuse", totals->reuse },
		{ "undetailed", totals->undetailed },
	};
	bool ok = true;

	for (size_t i = 0; i < CT_ARRAY_SIZE(list); i++)
		ok &= ct_json_set(object, list[i].key, json_integer(list[i].value));
	return ok;
}

/* @all: zeroes too, so that a consumer can index. */
static json_t *ct_json_cells(const int64_t *cells, bool all)
{
	json_t *object = json_object();
	bool ok = object;

	for (int i = 0; i < CT_CELL_COUNT && ok; i++)
		if (all || cells[i])
			ok = ct_json_set(object, ct_cell_name(i), json_integer(cells[i]));
	if (ok)
		return object;
	json_decref(object);
	return NULL;
}

static json_t *ct_json_causes(const int64_t *causes, bool all)
{
	json_t *object = json_object();
	bool ok = object;

	for (int i = 0; i < CT_CAUSE_COUNT && ok; i++)
		if (all || causes[i])
			ok = ct_json_set(object, ct_cause_name(i), json_integer(causes[i]));
	if (ok)
		return object;
	json_decref(object);
	return NULL;
}

/* Takes @object, which is incomplete unless @ok: then it is not shown at all. */
static json_t *ct_json_done(json_t *object, bool ok)
{
	if (ok)
		return object;
	json_decref(object);
	return NULL;
}

static json_t *ct_json_type(const struct ct_snapshot *snapshot, size_t i)
{
	const struct ct_type_row *row = &snapshot->types[i];
	json_t *object = json_object();
	bool ok = ct_json_set(object, "type", ct_json_string(row->type)) &&
		  ct_json_set(object, "heap", ct_json_string(row->heap)) &&
		  ct_json_set(object, "unshared", json_integer(row->unshared)) &&
		  ct_json_set(object, "cells", ct_json_cells(row->cells, false));

	return ct_json_done(object, ok);
}

static json_t *ct_json_writer(const struct ct_snapshot *snapshot, size_t i)
{
	const struct ct_writer_row *row = &snapshot->writers[i];
	json_t *object = json_object();
	bool ok = ct_json_set(object, "symbol", ct_json_string(row->symbol)) &&
		  ct_json_set(object, "object", ct_json_string(row->object)) &&
		  ct_json_set(object, "unshared", json_integer(row->unshared));

	return ct_json_done(object, ok);
}

static json_t *ct_json_page(const struct ct_snapshot *snapshot, size_t i)
{
	const struct ct_page_row *row = &snapshot->pages[i];
	json_t *object = json_object();
	bool ok = ct_json_set(object, "address", ct_json_address(row->address)) &&
		  ct_json_set(object, "unshared", json_integer(row->unshared)) &&
		  ct_json_set(object, "processes", json_integer(row->processes));

	return ct_json_done(object, ok);
}

static json_t *ct_json_process(const struct ct_snapshot *snapshot, size_t i)
{
	const struct ct_process_row *row = &snapshot->processes[i];
	json_t *object = json_object();
	bool ok = ct_json_set(object, "pid", json_integer(row->pid)) &&
		  ct_json_set(object, "parent", json_integer(row->parent)) &&
		  ct_json_set(object, "command", ct_json_string(row->command)) &&
		  ct_json_set(object, "ended", json_boolean(row->ended)) &&
		  ct_json_set_kinds(object, &row->totals) &&
		  ct_json_set(object, "cells", ct_json_cells(row->cells, false)) &&
		  ct_json_set(object, "causes", ct_json_causes(row->causes, false));

	return ct_json_done(object, ok);
}

static json_t *ct_json_region(const struct ct_snapshot *snapshot, size_t i)
{
	json_t *object = json_object();
	bool ok = ct_json_set(object, "address", ct_json_address(snapshot->regions[i].address)) &&
		  ct_json_set(object, "unshared", json_integer(snapshot->regions[i].unshared));

	return ct_json_done(object, ok);
}

static json_t *ct_json_line_row(const struct ct_line_row *row, enum ct_axis axis)
{
	json_t *object = json_object();
	bool ok = object;

	if (axis == CT_AXIS_LINE)
		ok = ct_json_set(object, "file", ct_json_string(row->file)) &&
		     ct_json_set(object, "line", row->line ? json_integer(row->line) : json_null());
	if (axis != CT_AXIS_MODULE)
		ok = ok && ct_json_set(object, "function", ct_json_string(row->function));
	if (axis != CT_AXIS_LINE)
		ok = ok && ct_json_set(object, "module",
				       ct_json_string(row->file[0] ? row->file : "unknown"));
	ok = ok && ct_json_set(object, "unshared", json_integer(row->unshared)) &&
	     ct_json_set(object, "samples", json_integer(row->samples));
	return ct_json_done(object, ok);
}

static json_t *ct_json_line(const struct ct_snapshot *snapshot, size_t i)
{
	return ct_json_line_row(&snapshot->lines[i], CT_AXIS_LINE);
}

static json_t *ct_json_function(const struct ct_snapshot *snapshot, size_t i)
{
	return ct_json_line_row(&snapshot->functions[i], CT_AXIS_FUNCTION);
}

static json_t *ct_json_module(const struct ct_snapshot *snapshot, size_t i)
{
	return ct_json_line_row(&snapshot->modules[i], CT_AXIS_MODULE);
}

static json_t *ct_json_stack(const struct ct_snapshot *snapshot, size_t i)
{
	const struct ct_stack_row *row = &snapshot->stacks[i];
	json_t *object = json_object(), *frames = json_array();
	char text[1024];
	bool ok = frames;

	for (size_t k = 0; k < row->n_frames && ok; k++)
		ok = !json_array_append_new(
			frames, ct_json_string(ct_snapshot__frame(snapshot, row->frames[k], text,
								  sizeof(text))));
	if (!ok) {
		json_decref(frames);
		return ct_json_done(object, false);
	}
	ok = ct_json_set(object, "frames", frames) &&
	     ct_json_set(object, "unshared", json_integer(row->unshared)) &&
	     ct_json_set(object, "samples", json_integer(row->samples));
	return ct_json_done(object, ok);
}

static json_t *ct_json_collection(const struct ct_snapshot *snapshot, size_t i)
{
	const struct ct_collection_row *row = &snapshot->collections[i];
	json_t *object = json_object();
	bool ok = ct_json_set(object, "pid", json_integer(row->pid)) &&
		  ct_json_set(object, "generation", json_integer(row->generation)) &&
		  ct_json_set(object, "ordinal", json_integer(row->ordinal)) &&
		  ct_json_set(object, "unshared", json_integer(row->unshared));

	return ct_json_done(object, ok);
}

static json_t *ct_json_interpreter(const struct ct_snapshot *snapshot, size_t i)
{
	const struct ct_interpreter_row *row = &snapshot->run.interpreters[i];
	json_t *object = json_object();
	bool ok = ct_json_set(object, "pid", json_integer(row->pid)) &&
		  ct_json_set(object, "name", ct_json_string(row->name)) &&
		  ct_json_set(object, "version", ct_json_string(row->version)) &&
		  ct_json_set(object, "object", ct_json_string(row->object)) &&
		  ct_json_set(object, "stacks", json_boolean(!row->why[0])) &&
		  ct_json_set(object, "why", ct_json_string(row->why));

	return ct_json_done(object, ok);
}

static json_t *ct_json_bytes(const struct ct_run_info *run)
{
	json_t *object = json_object();
	bool ok = ct_json_set(object, "carried", json_integer((json_int_t)run->carried)) &&
		  ct_json_set(object, "compared", json_integer((json_int_t)run->compared)) &&
		  ct_json_set(object, "differ", json_integer((json_int_t)run->differ)) &&
		  ct_json_set(object, "place_differ", json_integer((json_int_t)run->place_differ));

	return ct_json_done(object, ok);
}

/* What interpreters unshared while they ended. */
static json_t *ct_json_exit(const struct ct_snapshot *snapshot)
{
	json_t *object = json_object();
	json_int_t processes = 0;
	bool ok;

	for (size_t i = 0; i < snapshot->n_processes; i++)
		processes += snapshot->processes[i].causes[CT_CAUSE_EXIT] > 0;
	ok = ct_json_set(object, "processes", json_integer(processes)) &&
	     ct_json_set(object, "unshared", json_integer(snapshot->causes[CT_CAUSE_EXIT]));
	return ct_json_done(object, ok);
}

/* Writes `"key": value` and takes the value. 0, -ENOMEM or -EIO (the stream knows better). */
static int ct_json_put(FILE *out, const char *key, json_t *value, const char *before)
{
	int err = 0;

	if (!value)
		return -ENOMEM;
	fputs(before, out);
	if (key)
		fprintf(out, "\"%s\": ", key);
	if (json_dumpf(value, out, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12)))
		err = ferror(out) ? -EIO : -ENOMEM;
	json_decref(value);
	return err;
}

static int ct_json_list(FILE *out, const char *key, const struct ct_snapshot *snapshot,
			size_t count, json_t *(*make)(const struct ct_snapshot *, size_t))
{
	int err = 0;

	fprintf(out, ", \"%s\": [", key);
	for (size_t i = 0; i < count && !err; i++)
		err = ct_json_put(out, NULL, make(snapshot, i), i ? ", " : "");
	fputs("]", out);
	return err;
}

static json_t *ct_json_target(const struct ct_run_info *run)
{
	json_t *object = json_object();
	bool ok = ct_json_set(object, "pid", json_integer(run->pid)) &&
		  ct_json_set(object, "command", ct_json_string(run->command));

	return ct_json_done(object, ok);
}

static json_t *ct_json_totals(const struct ct_totals *totals)
{
	json_t *object = json_object();

	return ct_json_done(object, object && ct_json_set_kinds(object, totals));
}

/* What only runs of an interpreter have. */
static int ct_json_python(FILE *out, const struct ct_snapshot *s)
{
	const struct ct_run_info *run = &s->run;
	const char *next = ", ";

	return ct_json_list(out, "interpreters", s, run->n_interpreters, ct_json_interpreter) ?:
	       ct_json_put(out, "exit", ct_json_exit(s), next) ?:
	       ct_json_put(out, "all_collections", json_integer((json_int_t)s->all_collections),
			   next) ?:
	       ct_json_list(out, "collections", s, s->n_collections, ct_json_collection) ?:
	       ct_json_put(out, "bytes", run->has_bytes ? ct_json_bytes(run) : json_null(), next) ?:
	       ct_json_put(out, "stacks_every", json_integer(s->stacks_every), next) ?:
	       ct_json_put(out, "samples", json_integer(s->samples), next) ?:
	       ct_json_list(out, "lines", s, s->n_lines, ct_json_line) ?:
	       ct_json_list(out, "functions", s, s->n_functions, ct_json_function) ?:
	       ct_json_list(out, "modules", s, s->n_modules, ct_json_module) ?:
	       ct_json_list(out, "stacks", s, s->n_stacks, ct_json_stack);
}

static int ct_json_body(FILE *out, const struct ct_snapshot *s)
{
	const struct ct_run_info *run = &s->run;
	const char *next = ", ";

	return ct_json_put(out, "schema", json_string("cowtrace/1"), "{") ?:
	       ct_json_put(out, "hook", ct_json_string(run->hook), next) ?:
	       ct_json_put(out, "kernel", ct_json_string(run->kernel), next) ?:
	       ct_json_put(out, "target", ct_json_target(run), next) ?:
	       ct_json_put(out, "duration_s", json_real((double)run->duration_ns / 1e9), next) ?:
	       ct_json_put(out, "finished", json_boolean(run->finished), next) ?:
	       ct_json_put(out, "missed", json_integer((json_int_t)run->missed), next) ?:
	       ct_json_put(out, "totals", ct_json_totals(&s->totals), next) ?:
	       ct_json_put(out, "cells", ct_json_cells(s->cells, true), next) ?:
	       ct_json_put(out, "causes", ct_json_causes(s->causes, true), next) ?:
	       ct_json_list(out, "types", s, s->n_types, ct_json_type) ?:
	       ct_json_list(out, "writers", s, s->n_writers, ct_json_writer) ?:
	       ct_json_put(out, "all_pages", json_integer((json_int_t)s->all_pages), next) ?:
	       ct_json_list(out, "pages", s, s->n_pages, ct_json_page) ?:
	       ct_json_list(out, "processes", s, s->n_processes, ct_json_process) ?:
	       ct_json_list(out, "regions", s, s->n_regions, ct_json_region) ?:
	       ct_json_python(out, s);
}

int ct_view_json__write(FILE *out, const struct ct_snapshot *snapshot)
{
	int err = ct_json_body(out, snapshot);

	fputs("}\n", out);
	errno = 0;
	if (fflush(out) || ferror(out))
		return errno ? -errno : -EIO;
	return err;
}
