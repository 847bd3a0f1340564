/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * gcheap_find.c - the modules of a process made a list of heap map descriptors.
 *
 * Of each module the program headers are read, which strip leaves alone. A note "heapmap" in them
 * says how far away the descriptor is; a module without it is searched for the magic in the file's
 * part of its writable segments. What is read is the module's file, not the target's memory:
 * reading a page of data that the target never touched would map it there, and its first write
 * would be another kind of fault than without us. Only where the file is out of reach are headers
 * and notes read from memory.
 */
#include "heap/gcheap_find.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process/module_file.h"

#define CT_PHDRS_MAX  64u
#define CT_NOTES_MAX  (16u << 10) /* bytes of one note segment */
#define CT_SCAN_MAX   (16u << 20) /* bytes of writable data searched in one module */
#define CT_SCAN_CHUNK (64u << 10)
#define CT_SCAN_ALIGN 8u

/** A module while it is looked at. */
struct ct_module {
	const struct ct_heap_source *source;
	size_t first; /* index of its first mapping */
	int file;     /* -1: out of reach */
	uint64_t scan_left;
	Elf64_Phdr phdrs[CT_PHDRS_MAX];
	unsigned int phdr_count;
	ct_raddr_t *found;
	size_t count;
};

static const struct ct_mapping *ct_module_mapping(const struct ct_module *module, size_t i)
{
	const struct ct_maps *maps = module->source->maps;

	if (i >= maps->count || maps->list[i].module != maps->list[module->first].module ||
	    maps->list[i].kind != CT_MAPPING_FILE)
		return NULL;
	return &maps->list[i];
}

/** Bytes of the module at a file offset: how many of @len were read. */
static size_t ct_module_read(const struct ct_module *module, uint64_t offset, void *buf, size_t len)
{
	const struct ct_mapping *m;
	ssize_t n;

	if (offset > INT64_MAX)
		return 0;
	if (module->file >= 0) {
		n = pread(module->file, buf, len, (off_t)offset);
		return n > 0 ? (size_t)n : 0;
	}
	for (size_t i = module->first; (m = ct_module_mapping(module, i)); i++) {
		if (offset < m->offset || offset - m->offset >= m->end - m->start)
			continue;
		if (len > m->end - m->start - (offset - m->offset))
			len = m->end - m->start - (offset - m->offset);
		n = ct_remote__read(module->source->memory, m->start + (offset - m->offset), buf,
				    len);
		return n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static bool ct_module_headers(struct ct_module *module)
{
	Elf64_Ehdr head;
	size_t bytes;

	if (ct_module_read(module, 0, &head, sizeof(head)) != sizeof(head))
		return false;
	if (memcmp(head.e_ident, ELFMAG, SELFMAG) || head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    head.e_ident[EI_DATA] != ELFDATA2LSB || head.e_phentsize != sizeof(Elf64_Phdr))
		return false;
	module->phdr_count = head.e_phnum < CT_PHDRS_MAX ? head.e_phnum : CT_PHDRS_MAX;
	bytes = module->phdr_count * sizeof(Elf64_Phdr);
	return bytes && ct_module_read(module, head.e_phoff, module->phdrs, bytes) == bytes;
}

/**
 * What the loader added to the file's addresses, all segments alike: the first mapping is the
 * segment with the headers. (Other mappings can't be told apart by offset: two segments may share a
 * page of the file.)
 */
static bool ct_module_bias(const struct ct_module *module, uint64_t *bias)
{
	for (unsigned int i = 0; i < module->phdr_count; i++) {
		const Elf64_Phdr *load = &module->phdrs[i];

		if (load->p_type != PT_LOAD || load->p_offset & CT_PAGE_MASK)
			continue;
		*bias = module->source->maps->list[module->first].start -
			(load->p_vaddr & CT_PAGE_MASK);
		return true;
	}
	return false;
}

static void ct_module_candidate(struct ct_module *module, uint64_t vaddr)
{
	static const uint8_t magic[16] = HEAPMAP_MAGIC;
	ct_raddr_t address;
	uint8_t bytes[16];
	uint64_t bias;

	if (module->count >= CT_GCHEAP_MAX || !ct_module_bias(module, &bias))
		return;
	address = vaddr + bias;
	if (ct_remote__read(module->source->memory, address, bytes, sizeof(bytes)) !=
		    sizeof(bytes) ||
	    memcmp(bytes, magic, sizeof(magic)))
		return;
	for (size_t i = 0; i < module->count; i++) {
		if (module->found[i] == address)
			return;
	}
	module->found[module->count++] = address;
}

/** Walk the notes of one segment. Return: whether the heap map's was among them. */
static bool ct_module_notes(struct ct_module *module, const Elf64_Phdr *segment)
{
	uint64_t align = segment->p_align == 8 ? 8 : 4;
	_Alignas(8) static const char wanted[8] = HEAPMAP_NOTE_NAME;
	char *notes = malloc(CT_NOTES_MAX);
	size_t len, at = 0;
	bool seen = false;

	if (!notes)
		return false;
	len = segment->p_filesz < CT_NOTES_MAX ? segment->p_filesz : CT_NOTES_MAX;
	len = ct_module_read(module, segment->p_offset, notes, len);
	while (len - at >= sizeof(Elf64_Nhdr)) {
		uint64_t desc, next;
		Elf64_Nhdr head;
		int64_t distance;

		memcpy(&head, notes + at, sizeof(head));
		desc = (at + sizeof(head) + head.n_namesz + align - 1) & ~(align - 1);
		next = (desc + head.n_descsz + align - 1) & ~(align - 1);
		if (next > len)
			break;
		if (head.n_namesz == sizeof(wanted) && head.n_type == HEAPMAP_NOTE_TYPE &&
		    head.n_descsz == sizeof(distance) &&
		    !memcmp(notes + at + sizeof(head), wanted, sizeof(wanted))) {
			memcpy(&distance, notes + desc, sizeof(distance));
			ct_module_candidate(module, segment->p_vaddr + desc + (uint64_t)distance);
			seen = true;
		}
		at = next;
	}
	free(notes);
	return seen;
}

/** Search the file's part of a writable segment for the magic. */
static void ct_module_scan(struct ct_module *module, const Elf64_Phdr *load)
{
	static const uint8_t magic[16] = HEAPMAP_MAGIC;
	uint64_t pad = -load->p_vaddr & (CT_SCAN_ALIGN - 1), at = pad;
	uint8_t *chunk = malloc(CT_SCAN_CHUNK);

	while (chunk && at < load->p_filesz && module->scan_left) {
		uint64_t want = load->p_filesz - at;
		size_t n;

		want = want < CT_SCAN_CHUNK ? want : CT_SCAN_CHUNK;
		n = ct_module_read(module, load->p_offset + at, chunk, (size_t)want);
		if (n < sizeof(magic))
			break;
		for (size_t i = 0; i + sizeof(magic) <= n; i += CT_SCAN_ALIGN) {
			if (chunk[i] == magic[0] && !memcmp(chunk + i, magic, sizeof(magic)))
				ct_module_candidate(module, load->p_vaddr + at + i);
		}
		module->scan_left -= module->scan_left < n ? module->scan_left : n;
		if (n < CT_SCAN_CHUNK)
			break;
		at += n - sizeof(magic); /* a magic may lie across two chunks */
	}
	free(chunk);
}

static void ct_module_search(struct ct_module *module)
{
	bool seen = false;

	if (!ct_module_headers(module))
		return;
	for (unsigned int i = 0; i < module->phdr_count; i++) {
		if (module->phdrs[i].p_type == PT_NOTE)
			seen |= ct_module_notes(module, &module->phdrs[i]);
	}
	if (seen || module->file < 0)
		return;
	for (unsigned int i = 0; i < module->phdr_count; i++) {
		if (module->phdrs[i].p_type == PT_LOAD && module->phdrs[i].p_flags & PF_W)
			ct_module_scan(module, &module->phdrs[i]);
	}
}

size_t ct_gcheap_find(const struct ct_heap_source *source, ct_raddr_t found[CT_GCHEAP_MAX])
{
	struct ct_module module = { .source = source, .found = found };

	for (size_t i = 0; i < source->maps->count && module.count < CT_GCHEAP_MAX; i++) {
		const struct ct_mapping *m = &source->maps->list[i];

		/* a module's first mapping holds its headers */
		if (m->kind != CT_MAPPING_FILE || m->module != i || m->offset || !m->readable)
			continue;
		module.first = i;
		module.scan_left = CT_SCAN_MAX;
		module.file = ct_module_file__open(source->maps, m);
		ct_module_search(&module);
		if (module.file >= 0)
			close(module.file);
	}
	return module.count;
}
