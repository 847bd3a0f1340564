/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* image.c - see image.h. */
#include "image.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <zlib.h>

#define PART_MAX (4u << 20)

/** Room for one more in a list that doubles. */
static void *grown(void *list, size_t count, size_t size)
{
	if (count & (count - 1))
		return list;
	list = realloc(list, (count ? count * 2 : 1) * size);
	if (!list)
		abort();
	return list;
}

static bool take_piece(struct image *image, const uint8_t *data, size_t len)
{
	struct image_piece *piece;

	if (len < 16)
		return false;
	image->pieces = grown(image->pieces, image->piece_count, sizeof(*piece));
	piece = &image->pieces[image->piece_count++];
	memcpy(&piece->inode, data, 8);
	memcpy(&piece->offset, data + 8, 8);
	piece->len = len - 16;
	piece->bytes = malloc(piece->len + 1);
	if (!piece->bytes)
		abort();
	memcpy(piece->bytes, data + 16, piece->len);
	return true;
}

static bool take_part(struct image *image, uint32_t kind, const uint8_t *data, size_t len)
{
	struct image_answer *answer;

	switch (kind) {
	case IMAGE_MAPS:
		free(image->maps);
		image->maps = strndup((const char *)data, len);
		image->maps_len = image->maps ? strlen(image->maps) : 0;
		return image->maps;
	case IMAGE_PAGE:
		if (len != sizeof(struct image_page))
			return false;
		image->pages = grown(image->pages, image->page_count, sizeof(*image->pages));
		memcpy(&image->pages[image->page_count++], data, len);
		return true;
	case IMAGE_PIECE:
		return take_piece(image, data, len);
	case IMAGE_ANSWER:
		if (len < 16 || len - 16 >= IMAGE_TYPE_BYTES)
			return false;
		image->answers = grown(image->answers, image->answer_count, sizeof(*answer));
		answer = &image->answers[image->answer_count++];
		memset(answer, 0, sizeof(*answer));
		memcpy(answer, data, 16);
		memcpy(answer->type, data + 16, len - 16);
		return true;
	default:
		return false;
	}
}

static bool read_parts(struct image *image, gzFile file)
{
	uint8_t *data = malloc(PART_MAX);
	uint32_t head[2];
	char magic[8];
	bool sound = data && gzread(file, magic, 8) == 8 && !memcmp(magic, IMAGE_MAGIC, 8);

	while (sound && gzread(file, head, sizeof(head)) == sizeof(head))
		sound = head[1] <= PART_MAX && gzread(file, data, head[1]) == (int)head[1] &&
			take_part(image, head[0], data, head[1]);
	free(data);
	return sound && image->maps;
}

static int compare_pages(const void *a, const void *b)
{
	const struct image_page *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

/** The file of @inode, made in the folder from its pieces; its name and identity into @text. */
static bool make_file(const struct image *image, uint64_t inode, const char *object, char *text,
		      size_t len)
{
	bool made = true;
	char path[256];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", image->folder, object);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	for (size_t i = 0; i < image->piece_count; i++) {
		const struct image_piece *p = &image->pieces[i];

		if (p->inode == inode && pwrite(fd, p->bytes, p->len, (off_t)p->offset) < 0)
			made = false;
	}
	if (fstat(fd, &st))
		made = false;
	close(fd);
	snprintf(text, len, "%02x:%02x %lu %s", major(st.st_dev), minor(st.st_dev),
		 (unsigned long)st.st_ino, path);
	return made;
}

/** Is there a piece of this file? */
static bool has_file(const struct image *image, uint64_t inode)
{
	for (size_t i = 0; i < image->piece_count; i++)
		if (image->pieces[i].inode == inode)
			return true;
	return false;
}

/** Make the files, and let the maps name them. */
static bool make_files(struct image *image)
{
	struct ct_maps *maps = ct_maps__parse(image->maps, image->maps_len, 1);
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	bool made = maps && out;

	for (size_t i = 0; made && i < maps->count; i++) {
		const struct ct_mapping *m = &maps->list[i];
		char file[512];

		snprintf(file, sizeof(file), "%02x:%02x %lu %s", major(m->device), minor(m->device),
			 (unsigned long)m->inode, m->path);
		if (m->inode && has_file(image, m->inode))
			made = make_file(image, m->inode, m->object, file, sizeof(file));
		fprintf(out, "%lx-%lx %c%c%c%c %08lx %s\n", (unsigned long)m->start,
			(unsigned long)m->end, m->readable ? 'r' : '-', m->writable ? 'w' : '-',
			m->executable ? 'x' : '-', m->shared ? 's' : 'p', (unsigned long)m->offset,
			file);
	}
	if (out)
		fclose(out);
	ct_maps__put(maps);
	free(image->maps);
	image->maps = text;
	image->maps_len = len;
	return made;
}

bool image_load(struct image *image, const char *path)
{
	gzFile file = gzopen(path, "rb");
	bool sound;

	*image = (struct image){ 0 };
	sound = file && read_parts(image, file);
	if (file)
		gzclose(file);
	if (sound) {
		qsort(image->pages, image->page_count, sizeof(*image->pages), compare_pages);
		const char *parent = getenv("TMPDIR");

		snprintf(image->folder, sizeof(image->folder), "%s/cowtrace-image-XXXXXX",
			 parent && strlen(parent) < 32 ? parent : "/tmp");
		sound = mkdtemp(image->folder) && make_files(image);
	}
	if (!sound) {
		fprintf(stderr, "%s: no image\n", path);
		image_free(image);
	}
	return sound;
}

void image_free(struct image *image)
{
	struct ct_maps *maps = image->maps ? ct_maps__parse(image->maps, image->maps_len, 1) : NULL;
	size_t len = strlen(image->folder);

	for (size_t i = 0; maps && len && i < maps->count; i++)
		if (!strncmp(maps->list[i].path, image->folder, len))
			unlink(maps->list[i].path);
	if (len)
		rmdir(image->folder);
	ct_maps__put(maps);
	for (size_t i = 0; i < image->piece_count; i++)
		free(image->pieces[i].bytes);
	free(image->pieces);
	free(image->answers);
	free(image->pages);
	free(image->dropped);
	free(image->maps);
	*image = (struct image){ 0 };
}

struct image_page *image_page(const struct image *image, ct_raddr_t address)
{
	struct image_page key = { .address = address & CT_PAGE_MASK }, *page = NULL;

	if (image->page_count)
		page = bsearch(&key, image->pages, image->page_count, sizeof(key), compare_pages);
	return page && image->dropped && image->dropped[page - image->pages] ? NULL : page;
}

static ssize_t image_read(void *context, ct_raddr_t addr, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		const struct image_page *page = image_page(context, addr + done);
		size_t at = (addr + done) % CT_PAGE_SIZE, n = CT_PAGE_SIZE - at;

		if (!page)
			return done ? (ssize_t)done : -14;
		n = n < len - done ? n : len - done;
		memcpy((char *)buf + done, page->bytes + at, n);
		done += n;
	}
	return (ssize_t)done;
}

static bool image_present(void *context, ct_raddr_t addr)
{
	return image_page(context, addr) != NULL;
}

bool image_source(struct image *image, struct ct_heap_source *source)
{
	const struct ct_remote_source memory = {
		.context = image,
		.read = image_read,
		.present = image_present,
	};

	source->maps = ct_maps__parse(image->maps, image->maps_len, getpid());
	source->memory = ct_remote__open_source(&memory, getpid());
	return source->maps && source->memory;
}

void image_source_close(struct ct_heap_source *source)
{
	ct_remote__close(source->memory);
	ct_maps__put(source->maps);
}
