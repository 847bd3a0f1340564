/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_shared_list.c - lists of mixed values: slots, sizes, readers beside writers. */
#include "shared_fixture.h"

#include <sys/mman.h>

#define TEXT(kind, value, bytes)                                              \
	{                                                                     \
		.type = GCHEAP_SHARED_##kind, .text = (value), .len = (bytes) \
	}

static const struct gcheap_shared_item mixed[] = {
	{ .type = GCHEAP_SHARED_INT, .number = INT64_MIN },
	{ .type = GCHEAP_SHARED_FLOAT, .real = -2.5e-300 },
	{ .type = GCHEAP_SHARED_BOOL, .truth = true },
	{ .type = GCHEAP_SHARED_BOOL, .truth = false },
	{ .type = GCHEAP_SHARED_NONE },
	TEXT(STRING, "a string of 21 bytes.", 21),
	TEXT(BYTES, "\0\xff\0", 3),
	TEXT(STRING, "", 0),
	TEXT(STRING, "exactly8", 8),
};

#define COUNT (sizeof(mixed) / sizeof(mixed[0]))

static void check_item(const struct gcheap_shared_item *got, const struct gcheap_shared_item *want)
{
	assert_int_equal(got->type, want->type);
	if (want->type == GCHEAP_SHARED_STRING || want->type == GCHEAP_SHARED_BYTES) {
		assert_int_equal(got->len, want->len);
		assert_memory_equal(got->text, want->text, want->len);
	} else if (want->type == GCHEAP_SHARED_BOOL) {
		assert_int_equal(got->truth, want->truth);
	} else if (want->type != GCHEAP_SHARED_NONE) {
		assert_true(got->number == want->number);
	}
}

static void check_all(const struct gcheap_shared *list)
{
	struct gcheap_shared_item item;
	char text[64];

	assert_int_equal(gcheap_shared_length(list), COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(gcheap_shared_list_get(list, i, &item, text, sizeof(text)), 0);
		check_item(&item, &mixed[i]);
	}
}

static void test_mixed(void **state)
{
	static const size_t rooms[COUNT] = { 8, 8, 8, 8, 8, 24, 8, 8, 8 };
	struct gcheap_shared *list, *reader;
	struct gcheap_shared_item item;
	char name[64];
	size_t bytes;
	int64_t number;

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("mixed"));
	assert_int_equal(gcheap_shared_list_create(&list, name, mixed, COUNT, 0), 0);
	check_all(list);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(gcheap_shared_list_room(list, i), rooms[i]);
	assert_int_equal(gcheap_shared_list_room(list, COUNT), 0);
	assert_int_equal(gcheap_shared_list_get(list, COUNT, &item, NULL, 0), -ENXIO);
	assert_int_equal(gcheap_shared_list_get(list, 5, &item, NULL, 0), -ENOBUFS);
	assert_int_equal(item.len, 21);
	assert_int_equal(gcheap_shared_get_int(list, 0, &number), -EPROTOTYPE);
	assert_int_equal(gcheap_shared_attach(&reader, name, 0, 0), -EPROTOTYPE);
	assert_int_equal(gcheap_shared_list_attach(&reader, name, GCHEAP_SHARED_READ_ONLY), 0);
	check_all(reader);
	assert_int_equal(gcheap_shared_list_set(reader, 0, &mixed[1]), -EROFS);
	gcheap_shared_close(reader);
	assert_int_equal(mprotect(gcheap_shared_mapping(list, &bytes), 4096, PROT_READ), 0);
	check_all(list); /* writes nothing to its head */
	assert_int_equal(
		mprotect(gcheap_shared_mapping(list, &bytes), 4096, PROT_READ | PROT_WRITE), 0);
	gcheap_shared_close(list);
	assert_true(gone_soon(name));
}

static void test_set(void **state)
{
	const struct gcheap_shared_item long_text = TEXT(STRING, "25 bytes are one too many", 25),
					fits = TEXT(BYTES, "24 bytes are just enough", 24),
					wrong = { .type = (enum gcheap_shared_type)9 },
					null = TEXT(STRING, NULL, 4);
	struct gcheap_shared *list;
	struct gcheap_shared_item item;
	char text[64];

	(void)state;
	assert_int_equal(gcheap_shared_list_create(&list, NULL, mixed, COUNT, 0), 0);
	assert_int_equal(gcheap_shared_list_set(list, 5, &long_text), -ENOBUFS);
	assert_int_equal(gcheap_shared_list_set(list, 5, &wrong), -EINVAL);
	assert_int_equal(gcheap_shared_list_set(list, 5, &null), -EINVAL);
	assert_int_equal(gcheap_shared_list_set(list, COUNT, &fits), -ENXIO);
	check_all(list); /* none of that changed a thing */
	assert_int_equal(gcheap_shared_list_set(list, 5, &fits), 0);
	assert_int_equal(gcheap_shared_list_get(list, 5, &item, text, sizeof(text)), 0);
	check_item(&item, &fits);
	for (size_t to = 0; to < COUNT; to++) { /* every kind into every slot, locked and not */
		for (size_t from = 0; from < COUNT; from++) {
			size_t len = from >= 5 ? mixed[from].len : 8;
			bool locked = (to + from) % 2;
			int error = len > gcheap_shared_list_room(list, to) ? -ENOBUFS : 0;

			if (locked)
				assert_int_equal(gcheap_shared_lock(list, -1), 0);
			assert_int_equal(gcheap_shared_list_set(list, to, &mixed[from]), error);
			if (locked)
				assert_int_equal(gcheap_shared_unlock(list), 0);
			assert_int_equal(gcheap_shared_list_get(list, to, &item, text, 64), 0);
			if (!error)
				check_item(&item, &mixed[from]);
		}
	}
	gcheap_shared_close(list);
}

static void test_bad_lists(void **state)
{
	struct gcheap_shared_item wrong = { .type = (enum gcheap_shared_type)77 };
	struct gcheap_shared *list;

	(void)state;
	assert_int_equal(gcheap_shared_list_create(&list, NULL, mixed, 0, 0), -EINVAL);
	assert_int_equal(gcheap_shared_list_create(&list, NULL, NULL, 3, 0), -EINVAL);
	assert_int_equal(gcheap_shared_list_create(&list, NULL, &wrong, 1, 0), -EINVAL);
	assert_int_equal(gcheap_shared_list_create(&list, "a/b", mixed, 1, 0), -EINVAL);
	assert_int_equal(gcheap_shared_list_create(&list, NULL, mixed, SIZE_MAX, 0), -EOVERFLOW);
	assert_int_equal(gcheap_shared_list_create(&list, NULL, mixed, 1, 99), -EINVAL);
	assert_null(list);
	assert_int_equal(gcheap_shared_list_attach(&list, NULL, 0), -EINVAL);
	assert_int_equal(gcheap_shared_list_attach(&list, own_name("nothing"), 0), -ENOENT);
}

/* Every byte of the slots changed in turn, before an attach and after one. */
static void test_lying_slots(void **state)
{
	struct gcheap_shared *list, *early, *late;
	struct gcheap_shared_item item;
	size_t bytes, refused = 0;
	char text[4096];

	(void)state;
	assert_int_equal(gcheap_shared_list_create(&list, NULL, mixed, 6, 0), 0);
	assert_int_equal(gcheap_shared_list_attach_fd(&early, gcheap_shared_fd(list),
						      GCHEAP_SHARED_READ_ONLY),
			 0);
	for (size_t i = 0; i < 6 * 24; i++) {
		unsigned char *byte =
			(unsigned char *)gcheap_shared_mapping(list, &bytes) + 4096 + i;
		unsigned char was = *byte;

		if (i % 24 == 12)
			continue; /* an odd sequence is a writer at work: see below */
		*byte ^= 0xfe;
		for (size_t k = 0; k < 6; k++)
			gcheap_shared_list_get(early, k, &item, text, sizeof(text));
		if (gcheap_shared_list_attach_fd(&late, gcheap_shared_fd(list), 0) == 0)
			gcheap_shared_close(late);
		else
			refused++;
		*byte = was;
	}
	assert_int_equal(refused, 6 * 12); /* place and room */
	gcheap_shared_close(early);
	gcheap_shared_close(list);
}

/* A writer that died between its two marks. */
static void test_torn_slot(void **state)
{
	struct gcheap_shared *list;
	struct gcheap_shared_item item;
	uint32_t *sequence;

	(void)state;
	assert_int_equal(gcheap_shared_list_create(&list, NULL, mixed, 2, 0), 0);
	sequence = (uint32_t *)gcheap_shared_data(list) + 3;
	assert_int_equal(*sequence % 2, 0);
	++*sequence;
	assert_int_equal(gcheap_shared_list_get(list, 0, &item, NULL, 0), -EOWNERDEAD);
	assert_int_equal(gcheap_shared_list_get(list, 1, &item, NULL, 0), 0);
	assert_int_equal(gcheap_shared_list_set(list, 0, &mixed[1]), 0);
	assert_int_equal(gcheap_shared_list_get(list, 0, &item, NULL, 0), 0);
	check_item(&item, &mixed[1]);
	gcheap_shared_close(list);
}

#define WIDE 512

static int write_wide(void *arg)
{
	char text[WIDE];
	struct gcheap_shared_item item = TEXT(BYTES, text, WIDE);

	for (int i = 0; i < 20000; i++) {
		memset(text, 'a' + i % 26, sizeof(text));
		item.len = (size_t)(WIDE - i % 100);
		if (gcheap_shared_list_set(arg, 0, &item))
			return 1;
	}
	return 0;
}

/* What is read is one writer's value, whole. */
static int read_wide(void *arg)
{
	struct gcheap_shared_item item;
	char text[WIDE];

	for (int i = 0; i < 20000; i++) {
		if (gcheap_shared_list_get(arg, 0, &item, text, sizeof(text)))
			return 1;
		for (size_t k = 1; k < item.len; k++) {
			if (text[k] != text[0])
				return 2;
		}
	}
	return 0;
}

static void test_readers_beside_writers(void **state)
{
	static const char start[WIDE];
	struct gcheap_shared_item item = TEXT(BYTES, start, WIDE);
	struct gcheap_shared *list;
	pid_t pids[8];

	(void)state;
	assert_int_equal(gcheap_shared_list_create(&list, NULL, &item, 1, 0), 0);
	for (int i = 0; i < 8; i++)
		pids[i] = run_child(i < 3 ? write_wide : read_wide, list);
	for (int i = 0; i < 8; i++)
		assert_int_equal(end_of(pids[i]), 0);
	gcheap_shared_close(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mixed),	  cmocka_unit_test(test_set),
		cmocka_unit_test(test_bad_lists), cmocka_unit_test(test_lying_slots),
		cmocka_unit_test(test_torn_slot), cmocka_unit_test(test_readers_beside_writers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
