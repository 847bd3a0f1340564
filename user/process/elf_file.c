/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * elf_file.c - an ELF file made tables of segments and symbols, through libelf.
 *
 * The file may be hostile. libelf checks that headers and section data lie inside the file; here
 * strings are checked to end inside their table, symbols to lie inside a loaded section of the
 * right sort, and everything is counted against a limit. After reading, neither the file nor libelf
 * is needed any more.
 */
#include "process/elf_file.h"

#include <elfutils/libdwelf.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CT_SEGMENTS_MAX	   1024
#define CT_SECTIONS_MAX	   65536
#define CT_FILE_LEN_MAX	   (16ll << 30)
#define CT_SECTION_LEN_MAX (2ull << 30)

static bool ct_elf_read_segments(struct ct_elf *out, Elf *elf)
{
	size_t count = 0;

	if (elf_getphdrnum(elf, &count) || !count)
		return false;
	if (count > CT_SEGMENTS_MAX)
		count = CT_SEGMENTS_MAX;
	out->segments = calloc(count, sizeof(*out->segments));
	if (!out->segments)
		return false;
	for (size_t i = 0; i < count; i++) {
		GElf_Phdr header;

		if (!gelf_getphdr(elf, (int)i, &header) || header.p_type != PT_LOAD)
			continue;
		out->segments[out->segment_count++] = (struct ct_elf_segment){
			.offset = header.p_offset,
			.file_len = header.p_filesz,
			.vaddr = header.p_vaddr,
			.memory_len = header.p_memsz,
			.writable = header.p_flags & PF_W,
			.executable = header.p_flags & PF_X,
		};
	}
	return out->segment_count > 0;
}

static int ct_compare_sections(const void *a, const void *b)
{
	const struct ct_elf_section *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static bool ct_elf_read_sections(struct ct_elf *out, Elf *elf)
{
	size_t count = 0;
	Elf_Scn *scn = NULL;

	if (elf_getshdrnum(elf, &count))
		count = 0;
	if (count > CT_SECTIONS_MAX)
		count = CT_SECTIONS_MAX;
	out->sections = calloc(count + 1, sizeof(*out->sections));
	if (!out->sections)
		return false;
	while (out->section_count < count && (scn = elf_nextscn(elf, scn))) {
		GElf_Shdr header;

		if (!gelf_getshdr(scn, &header) || !(header.sh_flags & SHF_ALLOC) ||
		    !header.sh_addr || header.sh_size > UINT64_MAX - header.sh_addr)
			continue;
		/* .tbss has an address but takes no room: the next section has the same one */
		if (header.sh_flags & SHF_TLS && header.sh_type == SHT_NOBITS)
			continue;
		out->sections[out->section_count++] = (struct ct_elf_section){
			.addr = header.sh_addr,
			.end = header.sh_addr + header.sh_size,
			.executable = header.sh_flags & SHF_EXECINSTR,
		};
	}
	qsort(out->sections, out->section_count, sizeof(*out->sections), ct_compare_sections);
	return true;
}

static void ct_elf_read_links(struct ct_elf *out, Elf *elf)
{
	const void *id = NULL;
	ssize_t len = dwelf_elf_gnu_build_id(elf, &id);
	GElf_Word crc = 0;
	const char *link = dwelf_elf_gnu_debuglink(elf, &crc);

	if (len > 0 && len <= CT_BUILD_ID_MAX) {
		memcpy(out->build_id, id, (size_t)len);
		out->build_id_len = (size_t)len;
	}
	/* a name with a slash would lead out of the folders that are to be searched */
	if (link && link[0] && strlen(link) < sizeof(out->debuglink) && !strchr(link, '/')) {
		strcpy(out->debuglink, link);
		out->debuglink_crc = crc;
	}
}

/**
 * Which of two symbols at one address is the better name: more is better. An exported name wins,
 * so that the same is printed with a debug file as without.
 */
static uint32_t ct_rank(unsigned char bind, unsigned char type, bool is_exported)
{
	uint32_t rank = bind == STB_WEAK ? 0 : bind == STB_LOCAL ? 2 : 4;

	return rank + (type != STT_NOTYPE) + (is_exported ? 8 : 0);
}

static void ct_elf_add_symbol(struct ct_elf *out, const GElf_Sym *sym, const char *name, size_t len,
			      bool is_exported)
{
	unsigned char type = GELF_ST_TYPE(sym->st_info);
	const struct ct_elf_section *section;
	uint64_t size = sym->st_size;
	const char *version;
	bool is_code;

	if (sym->st_shndx == SHN_UNDEF || sym->st_shndx == SHN_ABS || sym->st_shndx == SHN_COMMON)
		return;
	if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_OBJECT && type != STT_NOTYPE)
		return;
	/* "$x" and the like mark stretches of code and data on arm64; ".L" is the compiler's */
	if (!len || name[0] == '$' || (len > 1 && name[0] == '.' && name[1] == 'L'))
		return;
	section = ct_elf_section_at(out->sections, out->section_count, sym->st_value);
	if (!section)
		return;
	is_code = section->executable;
	/* data in code is data; a function in data is what no sound file has; so are data labels */
	if (is_code ? type == STT_OBJECT : type != STT_OBJECT)
		return;
	if (size > section->end - sym->st_value)
		size = section->end - sym->st_value;
	if (!is_code && !size)
		return;
	version = memchr(name, '@', len);
	if (version && version != name)
		len = (size_t)(version - name);
	ct_elf_table__add(is_code ? &out->code : &out->data, sym->st_value, size, name, len,
			  ct_rank(GELF_ST_BIND(sym->st_info), type, is_exported));
}

static Elf_Data *ct_elf_section_data(Elf_Scn *scn, GElf_Shdr *header)
{
	if (!scn || !gelf_getshdr(scn, header) || header->sh_type == SHT_NOBITS ||
	    header->sh_flags & SHF_COMPRESSED || header->sh_size > CT_SECTION_LEN_MAX)
		return NULL;
	return elf_getdata(scn, NULL);
}

/** Take the symbols of one symbol table section. Return: whether it had any. */
static bool ct_elf_read_table(struct ct_elf *out, Elf *elf, Elf_Scn *scn)
{
	GElf_Shdr header, names_header;
	Elf_Data *data = ct_elf_section_data(scn, &header), *names;
	size_t count;

	names = data ? ct_elf_section_data(elf_getscn(elf, header.sh_link), &names_header) : NULL;
	if (!names || !names->d_buf || !data->d_buf || names_header.sh_type != SHT_STRTAB)
		return false;
	count = data->d_size / gelf_fsize(elf, ELF_T_SYM, 1, EV_CURRENT);
	for (size_t i = 1; i < count && i <= INT32_MAX; i++) {
		const char *name;
		GElf_Sym sym;
		size_t room, len;

		if (!gelf_getsym(data, (int)i, &sym) || sym.st_name >= names->d_size)
			continue;
		name = (const char *)names->d_buf + sym.st_name;
		room = names->d_size - sym.st_name;
		len = strnlen(name, room);
		if (len < room)
			ct_elf_add_symbol(out, &sym, name, len, header.sh_type == SHT_DYNSYM);
	}
	return count > 1;
}

static void ct_elf_read_symbols(struct ct_elf *out, Elf *elf)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr header;

	while ((scn = elf_nextscn(elf, scn))) {
		if (!gelf_getshdr(scn, &header))
			continue;
		if (header.sh_type == SHT_SYMTAB)
			out->complete |= ct_elf_read_table(out, elf, scn);
		else if (header.sh_type == SHT_DYNSYM)
			ct_elf_read_table(out, elf, scn);
	}
}

static struct ct_elf *ct_elf_make(Elf *elf)
{
	struct ct_elf *out = calloc(1, sizeof(*out));
	GElf_Ehdr header;

	if (out && elf && elf_kind(elf) == ELF_K_ELF && gelf_getehdr(elf, &header) &&
	    (header.e_type == ET_EXEC || header.e_type == ET_DYN) &&
	    ct_elf_read_segments(out, elf) && ct_elf_read_sections(out, elf)) {
		ct_elf_read_links(out, elf);
		ct_elf_read_symbols(out, elf);
		return out;
	}
	ct_elf__free(out);
	return NULL;
}

static Elf *ct_elf_begin(int fd)
{
	struct stat st;

	if (elf_version(EV_CURRENT) == EV_NONE || fstat(fd, &st) || !S_ISREG(st.st_mode) ||
	    st.st_size > CT_FILE_LEN_MAX)
		return NULL;
	return elf_begin(fd, ELF_C_READ, NULL);
}

struct ct_elf *ct_elf__read(int fd)
{
	Elf *elf = ct_elf_begin(fd);
	struct ct_elf *out = ct_elf_make(elf);

	elf_end(elf);
	return out;
}

struct ct_elf *ct_elf__read_image(const void *image, size_t len)
{
	struct ct_elf *out = NULL;
	char *copy = malloc(len);

	/* libelf wants memory that it may write to */
	if (copy && elf_version(EV_CURRENT) != EV_NONE) {
		Elf *elf = elf_memory(memcpy(copy, image, len), len);

		out = ct_elf_make(elf);
		elf_end(elf);
	}
	free(copy);
	return out;
}

bool ct_elf__merge(struct ct_elf *elf, int fd, bool check_id)
{
	Elf *debug = ct_elf_begin(fd);
	bool had_symbols = elf->complete;
	const void *id = NULL;
	ssize_t len;

	if (!debug)
		return false;
	if (elf_kind(debug) == ELF_K_ELF) {
		len = dwelf_elf_gnu_build_id(debug, &id);
		if (!check_id || (len > 0 && (size_t)len == elf->build_id_len &&
				  !memcmp(id, elf->build_id, elf->build_id_len)))
			ct_elf_read_symbols(elf, debug);
	}
	elf_end(debug);
	return elf->complete && !had_symbols;
}

void ct_elf__finish(struct ct_elf *elf)
{
	ct_elf_table__finish(&elf->code, elf->sections, elf->section_count, elf->complete);
	ct_elf_table__finish(&elf->data, elf->sections, elf->section_count, elf->complete);
	free(elf->sections);
	elf->sections = NULL;
	elf->section_count = 0;
}

void ct_elf__free(struct ct_elf *elf)
{
	if (!elf)
		return;
	free(elf->segments);
	free(elf->sections);
	ct_elf_table__free(&elf->code);
	ct_elf_table__free(&elf->data);
	free(elf);
}

const struct ct_elf_segment *ct_elf__segment_of(const struct ct_elf *elf, uint64_t offset,
						bool writable, bool executable)
{
	const struct ct_elf_segment *best = NULL;
	int best_score = -1;

	for (size_t i = 0; i < elf->segment_count; i++) {
		const struct ct_elf_segment *s = &elf->segments[i];
		uint64_t first = s->offset & CT_PAGE_MASK;
		int score;

		/* mapped are whole pages: a little before the segment, and behind it */
		if (!s->file_len || offset < first ||
		    offset - first >=
			    ((s->offset - first + s->file_len + CT_PAGE_SIZE - 1) & CT_PAGE_MASK))
			continue;
		score = (s->writable || !writable) * 8 + (s->executable || !executable) * 4 +
			(offset >= s->offset && offset - s->offset < s->file_len) * 2 +
			(s->writable == writable && s->executable == executable);
		if (score > best_score) {
			best = s;
			best_score = score;
		}
	}
	return best;
}
