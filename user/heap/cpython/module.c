/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * module.c - an ELF file asked by name, by pread (a file cut short meanwhile would kill a reader
 * that maps it). The file may be hostile: what is read is counted against a limit, and every
 * address is looked up in the segments.
 */
#include "heap/cpython/module.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process/module_file.h"

#define CT_PHDRS_MAX	64u
#define CT_DYNAMIC_MAX	512u
#define CT_SECTIONS_MAX 256u
#define CT_CHAIN_MAX	4096u	    /* symbols of one hash bucket */
#define CT_SYMTAB_MAX	(16u << 20) /* bytes of a symbol table, and of its names */

static bool ct_pread(int file, uint64_t offset, void *buf, size_t len)
{
	return offset <= INT64_MAX && pread(file, buf, len, (off_t)offset) == (ssize_t)len;
}

bool ct_py_module__read(const struct ct_py_module *module, uint64_t vaddr, void *buf, size_t len)
{
	for (unsigned int i = 0; i < module->segment_count; i++) {
		const struct ct_py_segment *s = &module->segments[i];
		uint64_t at = vaddr - s->vaddr;

		if (vaddr >= s->vaddr && at < s->file_len && s->file_len - at >= len)
			return ct_pread(module->file, s->offset + at, buf, len);
	}
	return false;
}

/** The tags that lead to the dynamic symbols. */
static void ct_module_dynamic(struct ct_py_module *module, const Elf64_Phdr *phdr)
{
	Elf64_Dyn list[CT_DYNAMIC_MAX];
	size_t count = phdr->p_filesz / sizeof(*list);

	if (count > CT_DYNAMIC_MAX)
		count = CT_DYNAMIC_MAX;
	if (!ct_pread(module->file, phdr->p_offset, list, count * sizeof(*list)))
		return;
	for (size_t i = 0; i < count && list[i].d_tag != DT_NULL; i++) {
		uint64_t value = list[i].d_un.d_val;

		if (list[i].d_tag == DT_GNU_HASH)
			module->gnu_hash = value;
		else if (list[i].d_tag == DT_SYMTAB)
			module->symbols = value;
		else if (list[i].d_tag == DT_STRTAB)
			module->strings = value;
		else if (list[i].d_tag == DT_STRSZ)
			module->strings_len = value;
	}
}

static bool ct_module_segments(struct ct_py_module *module, const Elf64_Ehdr *head)
{
	Elf64_Phdr phdrs[CT_PHDRS_MAX];
	size_t count = head->e_phnum < CT_PHDRS_MAX ? head->e_phnum : CT_PHDRS_MAX;
	bool based = false;

	if (!count || !ct_pread(module->file, head->e_phoff, phdrs, count * sizeof(*phdrs)))
		return false;
	for (size_t i = 0; i < count; i++) {
		const Elf64_Phdr *p = &phdrs[i];

		if (p->p_type != PT_LOAD || module->segment_count >= CT_PY_SEGMENTS)
			continue;
		module->segments[module->segment_count++] = (struct ct_py_segment){
			.offset = p->p_offset,
			.file_len = p->p_filesz,
			.vaddr = p->p_vaddr,
			.memory_len = p->p_memsz,
			.writable = p->p_flags & PF_W,
		};
		/* the mapping shows the file's first page, so it is this segment's */
		if (!(p->p_offset & CT_PAGE_MASK) && !based) {
			module->bias = module->mapping->start - (p->p_vaddr & CT_PAGE_MASK);
			based = true;
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (phdrs[i].p_type == PT_DYNAMIC)
			ct_module_dynamic(module, &phdrs[i]);
		else if (phdrs[i].p_type == PT_INTERP)
			module->is_program = true;
	}
	return based;
}

bool ct_py_module__open(struct ct_py_module *module, const struct ct_maps *maps,
			const struct ct_mapping *mapping)
{
	Elf64_Ehdr head;

	*module = (struct ct_py_module){ .mapping = mapping };
	module->file = ct_module_file__open(maps, mapping);
	if (module->file < 0 || !ct_pread(module->file, 0, &head, sizeof(head)) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) || head.e_ident[EI_DATA] != ELFDATA2LSB)
		return false;
	if (head.e_ident[EI_CLASS] == ELFCLASS32) {
		module->is_32bit = true;
		return true;
	}
	if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_phentsize != sizeof(Elf64_Phdr) ||
	    (head.e_type != ET_EXEC && head.e_type != ET_DYN))
		return false;
	if (head.e_shentsize == sizeof(Elf64_Shdr) && head.e_shnum <= CT_SECTIONS_MAX) {
		module->sections = head.e_shoff;
		module->section_count = head.e_shnum;
		module->section_names = head.e_shstrndx;
	}
	return ct_module_segments(module, &head);
}

void ct_py_module__close(struct ct_py_module *module)
{
	if (module->file >= 0)
		close(module->file);
	module->file = -1;
}

static uint32_t ct_gnu_hash(const char *name)
{
	uint32_t hash = 5381;

	for (; *name; name++)
		hash = hash * 33 + (unsigned char)*name;
	return hash;
}

/** Is dynamic symbol @index the one called @name, and defined here? */
static bool ct_module_symbol_is(const struct ct_py_module *module, uint32_t index, const char *name,
				struct ct_py_symbol *symbol)
{
	size_t len = strlen(name) + 1;
	Elf64_Sym sym;
	char text[64];

	if (!ct_py_module__read(module, module->symbols + (uint64_t)index * sizeof(sym), &sym,
				sizeof(sym)) ||
	    sym.st_shndx == SHN_UNDEF || len > sizeof(text) || sym.st_name >= module->strings_len ||
	    !ct_py_module__read(module, module->strings + sym.st_name, text, len) ||
	    memcmp(text, name, len))
		return false;
	*symbol = (struct ct_py_symbol){ .vaddr = sym.st_value, .size = sym.st_size };
	return true;
}

bool ct_py_module__exported(const struct ct_py_module *module, const char *name,
			    struct ct_py_symbol *symbol)
{
	struct {
		uint32_t buckets, first, bloom_words, bloom_shift;
	} head;
	uint32_t hash = ct_gnu_hash(name), index, chain;
	uint64_t at = module->gnu_hash, bloom;

	if (!at || !module->symbols || !ct_py_module__read(module, at, &head, sizeof(head)) ||
	    !head.buckets || !head.bloom_words || head.bloom_shift > 31)
		return false;
	at += sizeof(head);
	if (!ct_py_module__read(module, at + (uint64_t)(hash / 64 % head.bloom_words) * 8, &bloom,
				sizeof(bloom)) ||
	    !(bloom >> hash % 64 & bloom >> (hash >> head.bloom_shift) % 64 & 1))
		return false;
	at += (uint64_t)head.bloom_words * 8;
	if (!ct_py_module__read(module, at + (uint64_t)(hash % head.buckets) * 4, &index,
				sizeof(index)) ||
	    index < head.first)
		return false;
	at += (uint64_t)head.buckets * 4;
	for (unsigned int i = 0; i < CT_CHAIN_MAX; i++, index++) {
		if (!ct_py_module__read(module, at + (uint64_t)(index - head.first) * 4, &chain,
					sizeof(chain)))
			return false;
		if ((chain | 1) == (hash | 1) && ct_module_symbol_is(module, index, name, symbol))
			return true;
		if (chain & 1)
			return false;
	}
	return false;
}

/** Section header @index. */
static bool ct_module_header(const struct ct_py_module *module, uint64_t index, Elf64_Shdr *header)
{
	return index < module->section_count &&
	       ct_pread(module->file, module->sections + index * sizeof(*header), header,
			sizeof(*header));
}

bool ct_py_module__section(const struct ct_py_module *module, const char *name,
			   struct ct_py_symbol *symbol)
{
	size_t len = strlen(name) + 1;
	Elf64_Shdr names, header;
	char text[32];

	if (len > sizeof(text) || !ct_module_header(module, module->section_names, &names))
		return false;
	for (uint64_t i = 1; ct_module_header(module, i, &header); i++) {
		if (!(header.sh_flags & SHF_ALLOC) || header.sh_name >= names.sh_size ||
		    !ct_pread(module->file, names.sh_offset + header.sh_name, text, len) ||
		    memcmp(text, name, len))
			continue;
		*symbol = (struct ct_py_symbol){ .vaddr = header.sh_addr, .size = header.sh_size };
		return true;
	}
	return false;
}

/** The bytes of section @index and a NUL behind them; NULL if too big. Free with free. */
static char *ct_module_contents(const struct ct_py_module *module, const Elf64_Shdr *header)
{
	char *data;

	if (header->sh_type == SHT_NOBITS || header->sh_size > CT_SYMTAB_MAX)
		return NULL;
	data = malloc(header->sh_size + 1);
	if (data && ct_pread(module->file, header->sh_offset, data, header->sh_size)) {
		data[header->sh_size] = '\0';
		return data;
	}
	free(data);
	return NULL;
}

static size_t ct_module_match(const Elf64_Sym *sym, const char *name, const char *source,
			      struct ct_py_wanted *wanted, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct ct_py_wanted *w = &wanted[i];

		if (w->found || strcmp(w->name, name) || sym->st_shndx == SHN_UNDEF ||
		    (w->source &&
		     (ELF64_ST_BIND(sym->st_info) != STB_LOCAL || strcmp(w->source, source) != 0)))
			continue;
		w->found = true;
		w->symbol = (struct ct_py_symbol){ .vaddr = sym->st_value, .size = sym->st_size };
		return 1;
	}
	return 0;
}

/** The last part of what a STT_FILE symbol says: "Python/pystate.c" is "pystate.c". */
static const char *ct_last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static size_t ct_module_symtab_scan(const struct ct_py_module *module, const Elf64_Shdr *header,
				    struct ct_py_wanted *wanted, size_t count)
{
	const char *source = "";
	size_t found = 0;
	Elf64_Shdr names_header;
	char *names = NULL, *data;

	data = ct_module_contents(module, header);
	if (data && ct_module_header(module, header->sh_link, &names_header))
		names = ct_module_contents(module, &names_header);
	for (size_t at = 0; names && found < count && header->sh_size - at >= sizeof(Elf64_Sym);
	     at += sizeof(Elf64_Sym)) {
		Elf64_Sym sym;

		memcpy(&sym, data + at, sizeof(sym));
		if (sym.st_name >= names_header.sh_size)
			continue;
		if (ELF64_ST_TYPE(sym.st_info) == STT_FILE)
			source = ct_last_part(names + sym.st_name);
		else if (ELF64_ST_TYPE(sym.st_info) == STT_OBJECT)
			found += ct_module_match(&sym, names + sym.st_name, source, wanted, count);
	}
	free(names);
	free(data);
	return found;
}

size_t ct_py_module__symtab(const struct ct_py_module *module, struct ct_py_wanted *wanted,
			    size_t count)
{
	Elf64_Shdr header;

	for (uint64_t i = 1; ct_module_header(module, i, &header); i++) {
		if (header.sh_type == SHT_SYMTAB && header.sh_entsize == sizeof(Elf64_Sym))
			return ct_module_symtab_scan(module, &header, wanted, count);
	}
	return 0;
}
