/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* elf_file.h - what the symboliser keeps of an object file: segments, sections, symbols. */
#ifndef CT_PROCESS_ELF_FILE_H
#define CT_PROCESS_ELF_FILE_H

#include "process/elf_table.h"

#define CT_BUILD_ID_MAX 64

/** A PT_LOAD segment. */
struct ct_elf_segment {
	uint64_t offset, file_len, vaddr, memory_len; /* bytes */
	bool writable, executable;
};

struct ct_elf {
	struct ct_elf_segment *segments;
	size_t segment_count;
	struct ct_elf_section *sections; /* loaded ones, by address */
	size_t section_count;
	struct ct_elf_table code, data;
	bool complete; /* a .symtab was read: every function is listed */
	uint8_t build_id[CT_BUILD_ID_MAX];
	size_t build_id_len; /* 0: none */
	char debuglink[256]; /* file name of .gnu_debuglink, "" if none */
	uint32_t debuglink_crc;
};

/** ct_elf__read - the ELF file at @fd, never mapped (a file cut short meanwhile would kill us).
 *  NULL if it is not a sound executable or library. @fd stays the caller's. */
struct ct_elf *ct_elf__read(int fd);
/** ct_elf__read_image - the same from memory, which is only read. */
struct ct_elf *ct_elf__read_image(const void *image, size_t len);
/** ct_elf__merge - add the symbols of the separate debug file at @fd. @check_id: only if it has
 *  the build id of @elf. Return: whether it had a .symtab. */
bool ct_elf__merge(struct ct_elf *elf, int fd, bool check_id);
/** ct_elf__finish - no more symbols will come: make them findable. */
void ct_elf__finish(struct ct_elf *elf);
void ct_elf__free(struct ct_elf *elf);
/**
 * ct_elf__segment_of - the segment that a mapping of file offset @offset with these permissions
 * shows, or NULL. Where two segments share a page of the file, the permissions decide.
 */
const struct ct_elf_segment *ct_elf__segment_of(const struct ct_elf *elf, uint64_t offset,
						bool writable, bool executable);

#endif /* CT_PROCESS_ELF_FILE_H */
