/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * dump.c - save what the cpython reader needs of a process to answer for some addresses:
 *
 *   dump PID FILE < "ADDRESS OBJECT TYPE" lines, hexadecimal
 *
 * The reader runs on the process; each page of memory and each piece of a file that it looks at
 * goes into the image, less what changes no answer. What the lines say is saved as the
 * truth about those addresses, whatever the reader answers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/map.h"
#include "image.h"

#define BLANK_BYTES 256u

static struct ct_map pages; /* looked at: addresses */
static struct ct_remote *target;
static gzFile out;

ssize_t __real_pread(int fd, void *buf, size_t len, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t offset);

static void put(uint32_t kind, const void *head, size_t head_len, const void *data, size_t len)
{
	uint32_t part[2] = { kind, (uint32_t)(head_len + len) };

	gzwrite(out, part, sizeof(part));
	gzwrite(out, head, (unsigned int)head_len);
	gzwrite(out, data, (unsigned int)len);
}

/** All of the reader's reads come by here; those of files are saved. */
ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t offset)
{
	ssize_t n = __real_pread(fd, buf, len, offset);
	struct stat st;

	if (out && n > 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size) {
		uint64_t head[2] = { st.st_ino, (uint64_t)offset };

		put(IMAGE_PIECE, head, sizeof(head), buf, (size_t)n);
	}
	return n;
}

static ssize_t record_read(void *context, ct_raddr_t addr, void *buf, size_t len)
{
	(void)context;
	for (ct_raddr_t page = addr & CT_PAGE_MASK; page < addr + len; page += CT_PAGE_SIZE)
		ct_map__at(&pages, page);
	return ct_remote__read(target, addr, buf, len);
}

static bool record_present(void *context, ct_raddr_t addr)
{
	uint8_t present = 0;

	(void)context;
	return ct_remote__present(target, addr, 1, &present) && present;
}

static void save_pages(void)
{
	uint8_t bytes[CT_PAGE_SIZE];
	uint64_t address, value;
	size_t cursor = 0;

	while (ct_map__next(&pages, &cursor, &address, &value))
		if (ct_remote__read(target, address, bytes, sizeof(bytes)) == sizeof(bytes))
			put(IMAGE_PAGE, &address, 8, bytes, sizeof(bytes));
}

static void save_maps(pid_t pid)
{
	static char text[1 << 20];
	char path[64];
	size_t len;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	file = fopen(path, "re");
	len = file ? fread(text, 1, sizeof(text), file) : 0;
	if (file)
		fclose(file);
	put(IMAGE_MAPS, NULL, 0, text, len);
}

/** Ask for what the lines name. Return: how many the reader had another answer for. */
static size_t ask(void *heap, struct ct_names *types)
{
	unsigned long address, object;
	char line[256], type[IMAGE_TYPE_BYTES];
	size_t wrong = 0;

	while (fgets(line, sizeof(line), stdin) &&
	       sscanf(line, "%lx %lx %63s", &address, &object, type) == 3) {
		uint64_t head[2] = { address, object };
		struct ct_place place = { 0 };

		if (!ct_reader_cpython.locate(heap, address, NULL, &place) ||
		    place.object != object ||
		    strcmp(ct_names__name(types, place.type), type) != 0) {
			fprintf(stderr, "%#lx: %s of %s at %#lx, not of %s at %#lx\n", address,
				ct_cell_name(place.cell), ct_names__name(types, place.type),
				(unsigned long)place.object, type, object);
			wrong++;
		}
		put(IMAGE_ANSWER, head, sizeof(head), type, strlen(type));
	}
	return wrong;
}

/** How many answers the reader gets right in @image; 0 without the reader. */
static size_t right_answers(struct image *image)
{
	struct ct_heap_source source = { .types = ct_names__new(), .lines = ct_names__new() };
	void *heap = NULL;
	size_t right = 0;
	const char *why;

	if (image_source(image, &source))
		heap = ct_reader_cpython.attach(&source, &why);
	for (size_t i = 0; heap && i < image->answer_count; i++) {
		const struct image_answer *answer = &image->answers[i];
		struct ct_place place = { 0 };

		right += ct_reader_cpython.locate(heap, answer->address, NULL, &place) &&
			 place.object == answer->object &&
			 !strcmp(ct_names__name(source.types, place.type), answer->type);
	}
	if (heap)
		ct_reader_cpython.close(heap);
	image_source_close(&source);
	ct_names__free(source.types);
	ct_names__free(source.lines);
	return right;
}

/** Copy the image without the pages that are dropped. */
static bool save_trimmed(const struct image *image, const char *from, const char *to)
{
	static uint8_t data[4 << 20];
	gzFile in = gzopen(from, "rb");
	uint32_t head[2];
	bool good = in != NULL;

	out = gzopen(to, "wb9");
	good = good && out && gzread(in, data, 8) == 8 && gzwrite(out, data, 8) == 8;
	while (good && gzread(in, head, sizeof(head)) == sizeof(head)) {
		const struct image_page *page;
		uint64_t address;

		good = head[1] <= sizeof(data) && gzread(in, data, head[1]) == (int)head[1];
		memcpy(&address, data, sizeof(address));
		page = image_page(image, address);
		if (good && head[0] != IMAGE_PAGE)
			put(head[0], NULL, 0, data, head[1]);
		else if (good && page)
			put(IMAGE_PAGE, NULL, 0, page, sizeof(*page));
	}
	gzclose(in);
	good = good && gzclose(out) == Z_OK;
	out = NULL;
	return good && !rename(to, from);
}

/** Make zero what of @page changes no answer. */
static void blank(struct image *image, struct image_page *page, size_t right)
{
	uint8_t saved[BLANK_BYTES];

	for (size_t at = 0; at < CT_PAGE_SIZE; at += BLANK_BYTES) {
		memcpy(saved, page->bytes + at, BLANK_BYTES);
		memset(page->bytes + at, 0, BLANK_BYTES);
		if (right_answers(image) != right)
			memcpy(page->bytes + at, saved, BLANK_BYTES);
	}
}

/** Leave out every page, and blank every part of one, without which all answers are the same. */
static bool trim(const char *path)
{
	struct image image;
	char trimmed[512];
	size_t right, kept = 0;
	bool good;

	snprintf(trimmed, sizeof(trimmed), "%s.new", path);
	if (!image_load(&image, path))
		return false;
	image.dropped = calloc(image.page_count + 1, sizeof(*image.dropped));
	right = image.dropped ? right_answers(&image) : 0;
	for (size_t i = 0; right && i < image.page_count; i++) {
		image.dropped[i] = true;
		if (right_answers(&image) != right)
			image.dropped[i] = false;
		if (!image.dropped[i])
			blank(&image, &image.pages[i], right);
		kept += !image.dropped[i];
	}
	printf("%zu of %zu answers from the image, %zu of %zu pages\n", right, image.answer_count,
	       kept, image.page_count);
	good = right && right == image.answer_count && save_trimmed(&image, path, trimmed);
	image_free(&image);
	return good;
}

int main(int argc, char **argv)
{
	const struct ct_remote_source memory = { .read = record_read, .present = record_present };
	struct ct_heap_source source = { .types = ct_names__new(), .lines = ct_names__new() };
	const char *why = "";
	size_t wrong;
	void *heap;
	pid_t pid;

	if (argc != 3)
		return 2;
	pid = atoi(argv[1]);
	target = ct_remote__open(pid);
	source.maps = ct_maps__read(pid);
	source.memory = ct_remote__open_source(&memory, pid);
	out = gzopen(argv[2], "wb9");
	if (!target || !source.maps || !source.memory || !out) {
		fprintf(stderr, "dump: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	gzwrite(out, IMAGE_MAGIC, 8);
	save_maps(pid);
	heap = ct_reader_cpython.attach(&source, &why);
	if (!heap) {
		fprintf(stderr, "dump: %s\n", why);
		return 1;
	}
	wrong = ask(heap, source.types);
	save_pages();
	gzclose(out);
	out = NULL;
	ct_reader_cpython.close(heap);
	return wrong || !trim(argv[2]) ? 3 : 0;
}
