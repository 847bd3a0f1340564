/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * runtime.c - finds the interpreter of a process. Every ELF file that is mapped is asked for
 * _PyRuntime (3.7 on) or _PyThreadState_Current (before), which are exported; one that exports
 * nothing has the section .PyRuntime (3.11 on) or a .symtab. What is found must prove itself in
 * memory: the type of types is its own type, and an interpreter's thread says whose it is.
 */
#include <stdio.h>
#include <string.h>

#include "heap/cpython/internal.h"

#define CT_TYPE_FLAGS	 168u
#define CT_TYPE_SUBCLASS (1ull << 31)
#define CT_TYPE_TRIES	 64u
#define CT_GC_TRIES	 8u

/** A search in one file after another. */
struct ct_search {
	const struct ct_heap_source *source;
	struct ct_python *python;
	const char *why; /* of the best that was found, but is not read */
	char *text;
	size_t len;
	bool thorough; /* look at sections and .symtab too */
};

bool ct_python__read(const struct ct_python *python, ct_raddr_t address, void *buf, size_t len)
{
	char *out = buf;

	while (len) {
		size_t at = address % CT_PAGE_SIZE, n = CT_PAGE_SIZE - at;
		const char *page;

		page = python->source.memory ? ct_remote__page(python->source.memory, address)
					     : NULL;
		if (!page)
			return false;
		n = n < len ? n : len;
		memcpy(out, page + at, n);
		out += n;
		address += n;
		len -= n;
	}
	return true;
}

uint64_t ct_python__word(const struct ct_python *python, ct_raddr_t address)
{
	uint64_t word;

	return ct_python__read(python, address, &word, sizeof(word)) ? word : 0;
}

bool ct_py_is_type_type(const struct ct_python *python, ct_raddr_t type)
{
	char name[5];

	return type && !(type & 7) && ct_python__word(python, type + 8) == type &&
	       ct_python__word(python, type + CT_TYPE_FLAGS) & CT_TYPE_SUBCLASS &&
	       ct_python__read(python, ct_python__word(python, type + 24), name, sizeof(name)) &&
	       !memcmp(name, "type", sizeof(name));
}

/** Where a symbol is in the target, if that is in the file's own data; else 0. */
static ct_raddr_t ct_search_address(const struct ct_search *search,
				    const struct ct_py_module *module, uint64_t vaddr)
{
	const struct ct_maps *maps = search->source->maps;
	ct_raddr_t address = vaddr + module->bias;
	const struct ct_mapping *m = ct_maps__find(maps, address);

	/* the tail of .bss can be a mapping that is told from [heap] by its place only */
	if (!m || !m->readable || m->shared ||
	    (m->module != module->mapping->module && m->kind != CT_MAPPING_BSS &&
	     m->kind != CT_MAPPING_ANON && m->kind != CT_MAPPING_HEAP))
		return 0;
	return address;
}

static bool ct_search_refuse(struct ct_search *search, const char *how, uint32_t hexversion)
{
	char version[32];

	ct_py_version_text(hexversion, version, sizeof(version));
	snprintf(search->text, search->len, how, version);
	search->why = search->text;
	return false;
}

/** Version and layout, from the file alone. @runtime: of _PyRuntime, NULL before 3.7. */
static bool ct_search_version(struct ct_search *search, const struct ct_py_module *module,
			      const struct ct_py_symbol *runtime)
{
	struct ct_python *python = search->python;
	struct ct_py_debug_head head = { 0 };
	const struct ct_py_layout *layout;
	struct ct_py_symbol symbol;
	uint64_t version = 0;
	bool has_head;

	if (ct_py_module__exported(module, "Py_Version", &symbol))
		ct_py_module__read(module, symbol.vaddr, &version, sizeof(version));
	has_head = runtime && ct_py_debug_head(module, runtime->vaddr, &head);
	if (!version)
		version =
			has_head ? head.hexversion : ct_py_version_of_file(module, runtime != NULL);
	python->hexversion = (uint32_t)version;
	python->free_threaded = has_head && head.free_threaded;
	ct_py_version_text(python->hexversion, python->version, sizeof(python->version));
	if (!version || version > UINT32_MAX || (has_head && head.hexversion != version)) {
		search->why = "a CPython that does not say clearly which version it is is not read";
		return false;
	}
	if (python->free_threaded)
		return ct_search_refuse(search, "CPython %s free-threaded builds are not read",
					python->hexversion);
	layout = ct_py_layout_of(python->hexversion);
	if (!layout)
		return ct_search_refuse(search, "CPython %s is not known to this version",
					python->hexversion);
	python->layout = *layout;
	if (layout->version >= 0x030d && runtime &&
	    (!has_head || !ct_py_debug_offsets(module, runtime->vaddr, &python->layout)))
		return ct_search_refuse(search, "CPython %s has debug offsets that make no sense",
					python->hexversion);
	return true;
}

/** The type of types where this file does not export it: the type of any object's type. */
static ct_raddr_t ct_search_type_by_frames(const struct ct_python *python)
{
	ct_raddr_t threads[8], interpreter, frame, type;
	size_t count;

	if (!ct_py_interpreters(python, &interpreter, 1))
		return 0;
	count = ct_py_threads(python, interpreter, threads, CT_ARRAY_SIZE(threads));
	for (size_t i = 0; i < count; i++) {
		frame = ct_py_first_frame(python, threads[i]);
		for (unsigned int n = 0; frame && n < CT_TYPE_TRIES; n++) {
			type = ct_python__word(python, frame + python->layout.frame_code) &
			       ~(uint64_t)python->layout.code_mask;
			type = ct_python__word(python, ct_python__word(python, type + 8) + 8);
			if (ct_py_is_type_type(python, type))
				return type;
			frame = ct_python__word(python, frame + python->layout.frame_back);
		}
	}
	return 0;
}

/**
 * The type of types: this file's, or, where a program without PIE refers to it, the copy that the
 * linker made in that program.
 */
static ct_raddr_t ct_search_type(struct ct_search *search, const struct ct_py_module *module)
{
	const struct ct_maps *maps = search->source->maps;
	struct ct_py_symbol symbol;
	ct_raddr_t address;

	if (!ct_py_module__exported(module, "PyType_Type", &symbol))
		return ct_search_type_by_frames(search->python);
	address = ct_search_address(search, module, symbol.vaddr);
	if (!address || ct_py_is_type_type(search->python, address))
		return address;
	for (size_t i = 0; i < maps->count; i++) {
		struct ct_py_module other;
		ct_raddr_t copy = 0;

		if (maps->list[i].kind != CT_MAPPING_FILE || maps->list[i].offset ||
		    maps->list[i].module != i)
			continue;
		if (ct_py_module__open(&other, maps, &maps->list[i]) && !other.is_32bit &&
		    ct_py_module__exported(&other, "PyType_Type", &symbol))
			copy = ct_search_address(search, &other, symbol.vaddr);
		ct_py_module__close(&other);
		if (ct_py_is_type_type(search->python, copy))
			return copy;
	}
	return 0;
}

/** What 2.7 and 3.6 keep in variables of their own. */
static void ct_search_statics(struct ct_search *search, const struct ct_py_module *module)
{
	struct ct_python *python = search->python;
	bool is_27 = python->layout.version == 0x0207;
	struct ct_py_wanted wanted[] = {
		{ .name = "interp_head", .source = "pystate.c" },
		{ .name = "collecting", .source = "gcmodule.c" },
		{ .name = "generations", .source = "gcmodule.c" },
		{ .name = "generation_stats", .source = "gcmodule.c" }, /* 3.6 */
		{ .name = "initialized", .source = "pythonrun.c" },	/* 2.7 */
		{ .name = "_Py_Finalizing" },				/* 3.6 */
	};
	ct_raddr_t found[CT_ARRAY_SIZE(wanted)];
	struct ct_py_symbol symbol;

	ct_py_module__symtab(module, wanted, CT_ARRAY_SIZE(wanted));
	if (!wanted[5].found)
		wanted[5].found = ct_py_module__exported(module, wanted[5].name, &wanted[5].symbol);
	for (size_t i = 0; i < CT_ARRAY_SIZE(wanted); i++)
		found[i] = wanted[i].found
				   ? ct_search_address(search, module, wanted[i].symbol.vaddr)
				   : 0;
	python->interp_head = found[0];
	python->collecting = found[1];
	python->generations = found[2];
	python->collections = found[3];
	python->finalising = is_27 ? found[4] : found[5];
	/* the pointer to the first one is exported */
	if (!python->generations && ct_py_module__exported(module, "_PyGC_generation0", &symbol))
		python->generations =
			ct_python__word(python, ct_search_address(search, module, symbol.vaddr));
}

/** Are three lists, @stride bytes apart, the collector's generations? */
static bool ct_are_generations(const struct ct_python *python, ct_raddr_t first, uint32_t stride)
{
	for (unsigned int i = 0; i < 3; i++) {
		ct_raddr_t head = first + i * stride, next = ct_python__word(python, head);

		if (!next || ct_python__word(python, next + 8) != head)
			return false;
	}
	return true;
}

/**
 * Up to 3.7 a GC head has 24 bytes or, with bpo-27987, which distributors took back to older
 * versions, 32. The heads of the generations stand a head and 8 bytes apart.
 */
static void ct_search_gc_head(struct ct_python *python)
{
	static const uint16_t heads[] = { 32, 24 };
	ct_raddr_t first = python->generations;

	if (python->layout.version > 0x0307 || python->layout.version < 0x0306)
		return;
	if (python->runtime && python->layout.runtime_gc != CT_PY_NONE)
		first = python->runtime + python->layout.runtime_gc + 32;
	/* a list that is just being changed fails: look again */
	for (unsigned int try = 0; first && try < CT_GC_TRIES; try++) {
		for (size_t i = 0; i < CT_ARRAY_SIZE(heads); i++) {
			uint32_t stride = heads[i] == 32 ? 48 : 32;

			if (ct_are_generations(python, first, stride)) {
				python->layout.gc_head = heads[i];
				return;
			}
		}
		ct_remote__renew(python->source.memory);
	}
}

static void ct_search_places(struct ct_search *search, const struct ct_py_module *module,
			     const struct ct_py_symbol *runtime, const struct ct_py_symbol *current)
{
	struct ct_python *python = search->python;
	struct ct_py_symbol section;

	python->module = module->mapping;
	snprintf(python->object, sizeof(python->object), "%s", module->mapping->object);
	if (!runtime) {
		python->current_thread = ct_search_address(search, module, current->vaddr);
		ct_search_statics(search, module);
		return;
	}
	python->runtime = ct_search_address(search, module, runtime->vaddr);
	python->runtime_end = python->runtime + runtime->size;
	if (ct_py_module__section(module, ".PyRuntime", &section) &&
	    section.vaddr <= runtime->vaddr && section.size <= UINT32_MAX)
		python->runtime_end = section.vaddr + section.size + module->bias;
}

/** Is an interpreter running here, with structures as the layout has them? */
static bool ct_search_proves(struct ct_search *search)
{
	struct ct_python *python = search->python;
	ct_raddr_t interpreters[CT_PY_INTERPRETERS], thread;

	if (!python->type_type || !ct_py_is_type_type(python, python->type_type)) {
		search->why = "its CPython has not started yet";
		return false;
	}
	/* without a list to walk there is nothing more to be seen */
	if (!python->runtime && !python->interp_head)
		return true;
	if (ct_py_interpreters(python, interpreters, CT_PY_INTERPRETERS) &&
	    ct_py_threads(python, interpreters[0], &thread, 1))
		return true;
	search->why = "its CPython is not running, or not built as its version is";
	return false;
}

/** Is there a runtime in this file? One of @runtime and @current is found. */
static bool ct_search_runtime(const struct ct_search *search, const struct ct_py_module *module,
			      struct ct_py_symbol *runtime, struct ct_py_symbol *current,
			      bool *has_runtime)
{
	struct ct_py_wanted wanted[] = { { .name = "_PyRuntime" },
					 { .name = "_PyThreadState_Current" } };

	*has_runtime = true;
	if (ct_py_module__exported(module, "_PyRuntime", runtime))
		return true;
	if (search->thorough && ct_py_module__section(module, ".PyRuntime", runtime))
		return true;
	*has_runtime = false;
	if (ct_py_module__exported(module, "_PyThreadState_Current", current))
		return true;
	/* a library that exports nothing can't serve extension modules */
	if (!search->thorough || !module->is_program ||
	    !ct_py_module__symtab(module, wanted, CT_ARRAY_SIZE(wanted)))
		return false;
	*has_runtime = wanted[0].found;
	*runtime = wanted[0].symbol;
	*current = wanted[1].symbol;
	return true;
}

/** Look for a running interpreter in one file. */
static bool ct_search_module(struct ct_search *search, const struct ct_py_module *module)
{
	struct ct_python *python = search->python;
	struct ct_py_symbol runtime, current;
	bool has_runtime;

	if (!ct_search_runtime(search, module, &runtime, &current, &has_runtime))
		return false;
	*python = (struct ct_python){ .source = *search->source };
	if (!ct_search_version(search, module, has_runtime ? &runtime : NULL))
		return false;
	ct_search_places(search, module, has_runtime ? &runtime : NULL, &current);
	python->type_type = ct_search_type(search, module);
	if (!ct_search_proves(search))
		return false;
	ct_search_gc_head(python);
	return true;
}

/** Other Pythons, which are told by the name of their file only. */
static const char *ct_search_other(const struct ct_py_module *module)
{
	const char *object = module->mapping->object;

	if (module->is_32bit && strstr(object, "python"))
		return "32-bit interpreters are not read";
	if (!strncmp(object, "libpypy", 7) || !strncmp(object, "pypy", 4))
		return "PyPy's heap is not read";
	return NULL;
}

static bool ct_search_all(struct ct_search *search)
{
	const struct ct_maps *maps = search->source->maps;
	bool found = false;

	for (size_t i = 0; i < maps->count && !found; i++) {
		const struct ct_mapping *m = &maps->list[i];
		struct ct_py_module module;

		/* a file's first bytes are its headers */
		if (m->kind != CT_MAPPING_FILE || m->offset || !m->readable)
			continue;
		if (ct_py_module__open(&module, maps, m)) {
			const char *other = ct_search_other(&module);

			if (other && !search->why)
				search->why = other;
			found = !module.is_32bit && ct_search_module(search, &module);
		}
		ct_py_module__close(&module);
	}
	return found;
}

bool ct_python__find(struct ct_python *python, const struct ct_heap_source *source,
		     const char **why, char *text, size_t len)
{
	struct ct_search search = {
		.source = source,
		.python = python,
		.text = text,
		.len = len,
	};

	*python = (struct ct_python){ .source = *source };
	if (!source->memory) {
		*why = "the process is gone";
		return false;
	}
	if (ct_search_all(&search))
		return true;
	search.thorough = true;
	if (!search.why && ct_search_all(&search))
		return true;
	*why = search.why ? search.why : "no CPython in it";
	return false;
}
