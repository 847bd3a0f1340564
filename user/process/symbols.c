/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * symbols.c - an address in a process made the name of a function or of a static object.
 *
 * A module's symbols are read once and shared by all processes that map the same file. The cache
 * keeps the file open, because (device, inode) names it for only as long as it exists: a deleted
 * library's inode number is soon given to another file. Open files are few, so the cache holds a
 * bounded number of modules and drops the one unused for longest. Not thread-safe.
 */
#include "process/symbols.h"

#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <unistd.h>

#include "process/elf_file.h"
#include "process/module_file.h"

#define CT_MODULES_MAX	1024u
#define CT_WRITERS_MAX	(1u << 20) /* instructions remembered for one process */
#define CT_KERNEL_START (1ull << 63)
#define CT_VDSO_LEN_MAX (1u << 20)

struct ct_module {
	uint64_t device, inode;
	uint64_t used;	    /* tick of the last use */
	int fd;		    /* keeps the inode number from being given away */
	struct ct_elf *elf; /* NULL: not a sound ELF file */
};

struct ct_symbols {
	struct ct_names *writers;
	uint32_t kernel; /* the writer id of every kernel address */
	struct ct_module *modules;
	size_t module_count, module_limit;
	uint64_t tick;
	struct ct_elf *vdso; /* our own, which the kernel gives to everybody */
	uint64_t vdso_len;   /* 0: not looked for yet */
};

struct ct_symbols *ct_symbols__new(struct ct_names *writers)
{
	struct ct_symbols *symbols = calloc(1, sizeof(*symbols));
	struct rlimit files = { 0 };

	if (!symbols)
		return NULL;
	symbols->writers = writers;
	symbols->kernel = ct_names__id(writers, "[kernel]", "[kernel]");
	getrlimit(RLIMIT_NOFILE, &files);
	symbols->module_limit =
		files.rlim_cur / 2 < CT_MODULES_MAX ? (size_t)files.rlim_cur / 2 : CT_MODULES_MAX;
	symbols->modules = calloc(symbols->module_limit + 1, sizeof(*symbols->modules));
	if (!symbols->modules) {
		free(symbols);
		return NULL;
	}
	return symbols;
}

static void ct_module_release(struct ct_module *module)
{
	ct_elf__free(module->elf);
	close(module->fd);
}

void ct_symbols__free(struct ct_symbols *symbols)
{
	if (!symbols)
		return;
	for (size_t i = 0; i < symbols->module_count; i++)
		ct_module_release(&symbols->modules[i]);
	free(symbols->modules);
	ct_elf__free(symbols->vdso);
	free(symbols);
}

/** A free place in the cache, made by dropping the module unused for longest if need be. */
static struct ct_module *ct_symbols_place(struct ct_symbols *symbols)
{
	struct ct_module *oldest = symbols->modules;

	if (symbols->module_count < symbols->module_limit)
		return &symbols->modules[symbols->module_count++];
	for (size_t i = 1; i < symbols->module_count; i++)
		if (symbols->modules[i].used < oldest->used)
			oldest = &symbols->modules[i];
	ct_module_release(oldest);
	return oldest;
}

/** The file behind @mapping, read; NULL if it can't be opened or is no ELF file. */
static const struct ct_elf *ct_symbols_elf(struct ct_symbols *symbols, const struct ct_maps *maps,
					   const struct ct_mapping *mapping)
{
	struct ct_module made = { .device = mapping->device, .inode = mapping->inode };
	struct ct_module *place;

	for (size_t i = 0; i < symbols->module_count; i++) {
		struct ct_module *known = &symbols->modules[i];

		if (known->inode == mapping->inode && known->device == mapping->device) {
			known->used = ++symbols->tick;
			return known->elf;
		}
	}
	made.fd = symbols->module_limit ? ct_module_file__open(maps, mapping) : -1;
	if (made.fd < 0)
		return NULL;
	made.elf = ct_elf__read(made.fd);
	if (made.elf) {
		ct_module_file__add_debug(maps, mapping, made.elf);
		ct_elf__finish(made.elf);
	}
	made.used = ++symbols->tick;
	place = ct_symbols_place(symbols);
	*place = made;
	return place->elf;
}

/** Length of our own vdso: as far as its headers say that it goes. */
static uint64_t ct_vdso_len(const void *image)
{
#if __SIZEOF_POINTER__ == 8
	const Elf64_Ehdr *header = image;
	const Elf64_Phdr *segments = (const void *)((const char *)image + header->e_phoff);
	uint64_t len = header->e_shoff + (uint64_t)header->e_shnum * header->e_shentsize;

	for (int i = 0; i < header->e_phnum; i++)
		if (segments[i].p_type == PT_LOAD &&
		    segments[i].p_offset + segments[i].p_filesz > len)
			len = segments[i].p_offset + segments[i].p_filesz;
	return len;
#else
	(void)image;
	return 0;
#endif
}

/** Our own vdso, if it is the one of @mapping too: same size, and not that of a 32-bit process. */
static const struct ct_elf *ct_symbols_vdso(struct ct_symbols *symbols,
					    const struct ct_mapping *mapping)
{
	const void *image = (const void *)getauxval(AT_SYSINFO_EHDR);

	if (!image || mapping->end <= UINT32_MAX)
		return NULL;
	if (!symbols->vdso_len) {
		symbols->vdso_len = ct_vdso_len(image);
		if (symbols->vdso_len && symbols->vdso_len <= CT_VDSO_LEN_MAX)
			symbols->vdso = ct_elf__read_image(image, symbols->vdso_len);
		if (symbols->vdso)
			ct_elf__finish(symbols->vdso);
	}
	if (((symbols->vdso_len + CT_PAGE_SIZE - 1) & CT_PAGE_MASK) !=
	    mapping->end - mapping->start)
		return NULL;
	return symbols->vdso;
}

/** The object's own address of @addr. False if no segment of the file is mapped there. */
static bool ct_to_vaddr(const struct ct_elf *elf, const struct ct_mapping *mapping, ct_raddr_t addr,
			uint64_t *vaddr)
{
	uint64_t offset = mapping->offset + (addr - mapping->start);
	const struct ct_elf_segment *segment =
		ct_elf__segment_of(elf, offset, mapping->writable, mapping->executable);

	if (!segment)
		return false;
	*vaddr = offset - segment->offset + segment->vaddr;
	return true;
}

static bool ct_is_vdso(const struct ct_mapping *mapping)
{
	return mapping->kind == CT_MAPPING_SPECIAL && !strcmp(mapping->path, "[vdso]");
}

static uint32_t ct_symbols_name(struct ct_symbols *symbols, struct ct_maps *maps, ct_raddr_t ip)
{
	const struct ct_mapping *mapping = ct_maps__find(maps, ip);
	const struct ct_elf *elf;
	const char *object, *name;
	uint64_t vaddr;
	char text[320];

	if (!mapping)
		return ct_names__id(symbols->writers, "", "[unmapped]");
	object = mapping->object[0] ? mapping->object : "[anon]";
	if (ct_is_vdso(mapping))
		elf = ct_symbols_vdso(symbols, mapping);
	else if (mapping->kind == CT_MAPPING_SPECIAL)
		return ct_names__id(symbols->writers, object, object);
	else if (mapping->kind != CT_MAPPING_FILE && mapping->kind != CT_MAPPING_SHARED)
		return ct_names__id(symbols->writers, object, "[anonymous code]");
	else
		elf = ct_symbols_elf(symbols, maps, mapping);
	if (elf && ct_to_vaddr(elf, mapping, ip, &vaddr)) {
		name = ct_elf_table__find(&elf->code, vaddr);
		if (name)
			return ct_names__id(symbols->writers, object, name);
		snprintf(text, sizeof(text), "%.255s+0x%llx", object, (unsigned long long)vaddr);
	} else {
		vaddr = mapping->offset + (ip - mapping->start);
		snprintf(text, sizeof(text), "%.255s@0x%llx", object, (unsigned long long)vaddr);
	}
	return ct_names__id(symbols->writers, object, text);
}

uint32_t ct_symbols__writer(struct ct_symbols *symbols, struct ct_maps *maps, ct_raddr_t ip)
{
	uint64_t *known;
	uint32_t id;

	if (ip >= CT_KERNEL_START)
		return symbols->kernel;
	known = ct_map__find(&maps->writers, ip);
	if (known)
		return (uint32_t)*known;
	id = ct_symbols_name(symbols, maps, ip);
	if (ct_map__count(&maps->writers) < CT_WRITERS_MAX) {
		known = ct_map__at(&maps->writers, ip);
		if (known)
			*known = id;
	}
	return id;
}

bool ct_symbols__data(struct ct_symbols *symbols, struct ct_maps *maps, ct_raddr_t addr, char *name,
		      size_t len)
{
	const struct ct_mapping *mapping = ct_maps__find(maps, addr), *file = mapping;
	const char *found = NULL;
	const struct ct_elf *elf;
	uint64_t vaddr;

	if (len)
		name[0] = '\0';
	if (!mapping || !len)
		return false;
	/* the loader puts .bss right behind the last bytes from the file, in the same segment */
	if (mapping->kind == CT_MAPPING_BSS && mapping > maps->list)
		file = mapping - 1;
	if (!file->inode)
		return false;
	elf = ct_symbols_elf(symbols, maps, file);
	if (elf && file != mapping) {
		if (ct_to_vaddr(elf, file, file->end - 1, &vaddr))
			found = ct_elf_table__find(&elf->data, vaddr + 1 + (addr - file->end));
	} else if (elf && ct_to_vaddr(elf, mapping, addr, &vaddr)) {
		found = ct_elf_table__find(&elf->data, vaddr);
	}
	if (found)
		snprintf(name, len, "%s", found);
	return found;
}
