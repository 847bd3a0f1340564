/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * heap.c - libFuzzer target: the cpython and generic readers on the saved heaps of corpus/heap. An
 * input says which heap, and what of its memory is changed, before the readers attach or after, in
 * records of 16 bytes; so the fuzzer has to find which word matters, not how a heap is made.
 *
 *   byte 0: the image; byte 1: not used; then records { u16 page, u16 word, u8 how, u8 when, u16,
 *   u64 value }
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "image.h"

#define IMAGES_MAX  64u
#define CHANGES_MAX 256u
#define PASSES	    3u

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct change {
	uint16_t page, word;
	uint8_t how, when;
	uint16_t unused;
	uint64_t value;
};

struct undo {
	uint8_t *at;
	uint64_t word;
};

static struct image images[IMAGES_MAX];
static size_t image_count;
static struct undo undos[CHANGES_MAX];
static size_t undo_count;

static void free_images(void)
{
	for (size_t i = 0; i < image_count; i++)
		image_free(&images[i]);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *path = getenv("CT_FUZZ_IMAGES");
	struct dirent *entry;
	char file[512];
	DIR *folder;

	(void)argc;
	(void)argv;
	path = path ? path : "tests/fuzz/corpus/heap";
	folder = opendir(path);
	atexit(free_images);
	while (folder && (entry = readdir(folder)) && image_count < IMAGES_MAX) {
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		if (!strstr(entry->d_name, ".image") || !image_load(&images[image_count], file))
			continue;
		images[image_count].dropped = calloc(images[image_count].page_count + 1, 1);
		image_count++;
	}
	if (folder)
		closedir(folder);
	if (!image_count) {
		fprintf(stderr, "no images in %s\n", path);
		exit(1);
	}
	ct_log_hold(); /* what is said of a heap that is refused */
	return 0;
}

static void apply(struct image *image, const struct change *change)
{
	size_t page = change->page % image->page_count;
	uint8_t *at = image->pages[page].bytes + change->word % (CT_PAGE_SIZE / 8) * 8;
	const struct image_page *other = &image->pages[change->value % image->page_count];
	uint64_t word, offset = change->value >> 32 & (CT_PAGE_SIZE - 1) & ~7ull;

	memcpy(&word, at, sizeof(word));
	undos[undo_count++] = (struct undo){ at, word };
	switch (change->how % 6) {
	case 0:
		word = change->value;
		break;
	case 1:
		word = other->address + offset;
		break;
	case 2:
		word ^= change->value;
		break;
	case 3:
		memcpy(&word, other->bytes + offset, sizeof(word));
		break;
	case 4:
		word += (uint64_t)(int64_t)(int8_t)change->value;
		break;
	default:
		image->dropped[page] = true;
		break;
	}
	memcpy(at, &word, sizeof(word));
}

static void restore(struct image *image)
{
	while (undo_count) {
		undo_count--;
		memcpy(undos[undo_count].at, &undos[undo_count].word, 8);
	}
	memset(image->dropped, 0, image->page_count);
}

/** Ask @reader for every address that the image has an answer for, and what follows from that. */
static void ask(const struct ct_reader *reader, void *heap, const struct image *image,
		const struct ct_names *types)
{
	struct ct_owner_query queries[8] = { 0 };
	size_t count = 0;

	for (size_t i = 0; i < image->answer_count; i++) {
		struct ct_place place = { 0 };
		struct ct_source_line line;
		const struct ct_frame frame = { image->answers[i].object,
						image->answers[i].object + 200 };

		if (reader->source_line)
			reader->source_line(heap, &frame, &line);
		if (!reader->locate(heap, image->answers[i].address, NULL, &place))
			continue;
		if (place.cell >= CT_CELL_COUNT || place.type > ct_names__count(types))
			abort();
		if (place.owner_unknown && count < CT_ARRAY_SIZE(queries))
			queries[count++].address = place.object;
	}
	if (reader->owners && count)
		reader->owners(heap, queries, count, 100000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct ct_reader *readers[] = { &ct_reader_cpython, &ct_reader_generic };
	struct image *image = &images[len ? data[0] % image_count : 0];
	struct ct_heap_source source = { .types = ct_names__new(), .lines = ct_names__new() };
	void *heaps[CT_ARRAY_SIZE(readers)] = { NULL };
	struct ct_interpreter interpreter;
	const char *why = "";

	if (!source.types || !source.lines || !image_source(image, &source))
		abort();
	for (unsigned int pass = 0; pass < PASSES; pass++) {
		for (size_t at = 2; at + 16 <= len && undo_count < CHANGES_MAX; at += 16) {
			struct change change;

			memcpy(&change, data + at, sizeof(change));
			if (change.when % PASSES == pass)
				apply(image, &change);
		}
		if (pass)
			ct_remote__renew(source.memory);
		for (size_t i = 0; i < CT_ARRAY_SIZE(readers); i++) {
			if (!pass)
				heaps[i] = readers[i]->attach(&source, &why);
			else if (heaps[i] && pass > 1)
				readers[i]->renew(heaps[i], &source);
			if (!heaps[i])
				continue;
			if (readers[i]->interpreter)
				readers[i]->interpreter(heaps[i], &interpreter);
			ask(readers[i], heaps[i], image, source.types);
		}
	}
	for (size_t i = 0; i < CT_ARRAY_SIZE(readers); i++)
		if (heaps[i])
			readers[i]->close(heaps[i]);
	restore(image);
	image_source_close(&source);
	ct_names__free(source.types);
	ct_names__free(source.lines);
	return 0;
}
