/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * test_py_corpus.c - the cpython reader on the saved heaps of tests/fuzz/corpus/heap, one or more
 * of each version: the answers that the interpreter itself gave when they were saved, and none that
 * harms when their memory is spoilt at random.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../fuzz/image.h"

#define CORPUS	   "tests/fuzz/corpus/heap"
#define SPOILT	   40u
#define IMAGES_MAX 64u

static char paths[IMAGES_MAX][512];
static size_t path_count;

static uint64_t seed = 88172645463325252ull;

static uint64_t random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int find_images(void **state)
{
	struct dirent *entry;
	DIR *folder = opendir(CORPUS);

	(void)state;
	if (!folder)
		return -1;
	while ((entry = readdir(folder)) && path_count < IMAGES_MAX)
		if (strstr(entry->d_name, ".image"))
			snprintf(paths[path_count++], sizeof(paths[0]), CORPUS "/%s",
				 entry->d_name);
	closedir(folder);
	qsort(paths, path_count, sizeof(paths[0]), compare_paths);
	return 0;
}

struct attached {
	struct ct_heap_source source;
	void *heap;
};

static void attach(struct attached *attached, struct image *image)
{
	const char *why = "";

	attached->source = (struct ct_heap_source){
		.types = ct_names__new(),
		.lines = ct_names__new(),
	};
	assert_true(image_source(image, &attached->source));
	attached->heap = ct_reader_cpython.attach(&attached->source, &why);
}

static void detach(struct attached *attached)
{
	if (attached->heap)
		ct_reader_cpython.close(attached->heap);
	image_source_close(&attached->source);
	ct_names__free(attached->source.types);
	ct_names__free(attached->source.lines);
}

static void check_answers(struct image *image, const char *path)
{
	struct ct_interpreter interpreter = { 0 };
	struct attached attached;

	attach(&attached, image);
	if (!attached.heap)
		fail_msg("%s: no interpreter found", path);
	/* the file is named after the version that the interpreter says it is */
	assert_true(ct_reader_cpython.interpreter(attached.heap, &interpreter));
	if (strncmp(strrchr(path, '/') + 1, interpreter.version, strlen(interpreter.version)) != 0)
		fail_msg("%s: taken for %s", path, interpreter.version);
	assert_true(image->answer_count > 50);
	for (size_t i = 0; i < image->answer_count; i++) {
		const struct image_answer *answer = &image->answers[i];
		struct ct_place place = { 0 };
		const char *type;

		assert_true(ct_reader_cpython.locate(attached.heap, answer->address, NULL, &place));
		type = ct_names__name(attached.source.types, place.type);
		if (place.object != answer->object || strcmp(type, answer->type) != 0)
			fail_msg("%s: at %#lx a %s at %#lx, not a %s at %#lx", path,
				 (unsigned long)answer->address, type, (unsigned long)place.object,
				 answer->type, (unsigned long)answer->object);
	}
	detach(&attached);
}

static void test_answers(void **state)
{
	(void)state;
	assert_true(path_count >= 10);
	for (size_t i = 0; i < path_count; i++) {
		struct image image;

		assert_true(image_load(&image, paths[i]));
		check_answers(&image, paths[i]);
		image_free(&image);
	}
}

static void ask_all(const struct attached *attached, const struct image *image)
{
	struct ct_owner_query queries[16] = { 0 };
	size_t count = 0;

	for (size_t i = 0; i < image->answer_count; i++) {
		struct ct_place place = { 0 };

		if (!ct_reader_cpython.locate(attached->heap, image->answers[i].address, NULL,
					      &place))
			continue;
		assert_true(place.cell < CT_CELL_COUNT);
		assert_true(place.type <= ct_names__count(attached->source.types));
		if (place.owner_unknown && count < CT_ARRAY_SIZE(queries))
			queries[count++].address = place.object;
	}
	if (ct_reader_cpython.owners)
		ct_reader_cpython.owners(attached->heap, queries, count, 1000000);
}

/* A few words of the pages are something else: a pointer to elsewhere, a wild number, one bit. */
static void spoil(struct image *image)
{
	for (unsigned int i = 0; i < 30; i++) {
		struct image_page *page = &image->pages[random_number() % image->page_count];
		const struct image_page *other = &image->pages[random_number() % image->page_count];
		size_t at = random_number() % (CT_PAGE_SIZE / 8) * 8;
		uint64_t word;

		memcpy(&word, page->bytes + at, sizeof(word));
		if (!word && i % 2)
			continue;
		if (i % 3 == 0)
			word = other->address + random_number() % CT_PAGE_SIZE / 8 * 8;
		else if (i % 3 == 1)
			word = random_number() >> random_number() % 64;
		else
			word ^= 1ull << random_number() % 64;
		memcpy(page->bytes + at, &word, sizeof(word));
	}
}

static void test_spoilt(void **state)
{
	(void)state;
	for (size_t i = 0; i < path_count; i++) {
		struct image image;
		struct image_page *whole;
		size_t bytes;

		assert_true(image_load(&image, paths[i]));
		bytes = image.page_count * sizeof(*whole);
		whole = malloc(bytes);
		assert_non_null(whole);
		memcpy(whole, image.pages, bytes);
		for (unsigned int n = 0; n < SPOILT; n++) {
			struct attached attached;

			if (n % 2)
				spoil(&image);
			attach(&attached, &image);
			/* the heap changes after the reader has found its way, too */
			spoil(&image);
			if (attached.heap) {
				ask_all(&attached, &image);
				ct_remote__renew(attached.source.memory);
				ct_reader_cpython.renew(attached.heap, &attached.source);
				spoil(&image);
				ask_all(&attached, &image);
			}
			detach(&attached);
			memcpy(image.pages, whole, bytes);
		}
		free(whole);
		image_free(&image);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_spoilt),
	};

	return cmocka_run_group_tests_name("py_corpus", tests, find_images, NULL);
}
