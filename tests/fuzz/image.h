/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * image.h - a trimmed copy of a process, to run heap readers on where there is no such process: the
 * text of its maps, some pages of its memory, some pieces of the ELF files behind it, and what is
 * known to be at some addresses.
 *
 * The file is zlib's gzip format. In it: the 8 bytes "CTIMAGE1", then parts of { u32 kind, u32 len,
 * len bytes }, little endian:
 *   1 maps     the text of /proc/PID/maps
 *   2 page     u64 address, 4096 bytes
 *   3 piece    u64 inode (as in maps), u64 offset, bytes of the file
 *   4 answer   u64 address, u64 object, the name of the object's type
 */
#ifndef CT_TEST_FUZZ_IMAGE_H
#define CT_TEST_FUZZ_IMAGE_H

#include <stdbool.h>
#include <stdio.h>

#include "heap/reader.h"

enum image_kind { IMAGE_MAPS = 1, IMAGE_PAGE, IMAGE_PIECE, IMAGE_ANSWER };

#define IMAGE_MAGIC	 "CTIMAGE1"
#define IMAGE_TYPE_BYTES 64

struct image_page {
	ct_raddr_t address;
	uint8_t bytes[CT_PAGE_SIZE];
};

struct image_answer {
	ct_raddr_t address, object;
	char type[IMAGE_TYPE_BYTES];
};

struct image_piece {
	uint64_t inode, offset;
	size_t len;
	uint8_t *bytes;
};

struct image {
	char *maps;
	size_t maps_len;
	struct image_page *pages; /* by address */
	size_t page_count;
	bool *dropped; /* pages that are taken for absent, by index; NULL: none */
	struct image_answer *answers;
	size_t answer_count;
	struct image_piece *pieces;
	size_t piece_count;
	char folder[64]; /* where the files stand while the image is open; "" none */
};

/** image_load - read @path, and make its ELF files (with holes) in a temporary folder, which the
 *  maps then name. False, with a line on stderr, if it can't be. */
bool image_load(struct image *image, const char *path);
void image_free(struct image *image);
/** image_source - a heap source of it: maps and memory are new, the names the caller's. */
bool image_source(struct image *image, struct ct_heap_source *source);
void image_source_close(struct ct_heap_source *source);
/** image_page - the page of @address; NULL: not in it. */
struct image_page *image_page(const struct image *image, ct_raddr_t address);

#endif /* CT_TEST_FUZZ_IMAGE_H */
