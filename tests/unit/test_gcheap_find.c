/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_gcheap_find.c - finding heap map descriptors in made-up modules, honest ones and broken
 * ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gcheap/heapmap.h"
#include "heap/reader.h"

static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

#define FAKE_NOTE	0x300u
#define FAKE_DESCRIPTOR 0x1400u
#define FAKE_BYTES	0x3000u

struct fake_note {
	Elf64_Nhdr head;
	char name[8];
	int64_t distance;
} __attribute__((packed));

static const struct heapmap_descriptor fake_descriptor = {
	.magic = HEAPMAP_MAGIC,
	.version = HEAPMAP_VERSION,
	.size = sizeof(fake_descriptor),
	.name = "fake",
};

/* A module without section headers, its one segment mapped flat; with a note or without. */
static void fake_module(uint8_t *file, bool note_too)
{
	Elf64_Ehdr head = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_DYN,
		.e_phoff = sizeof(head),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = note_too ? 2 : 1,
	};
	Elf64_Phdr phdrs[2] = {
		{ .p_type = PT_LOAD,
		  .p_flags = PF_R | PF_W,
		  .p_filesz = FAKE_BYTES,
		  .p_memsz = FAKE_BYTES,
		  .p_align = 4096 },
		{ .p_type = PT_NOTE,
		  .p_offset = FAKE_NOTE,
		  .p_vaddr = FAKE_NOTE,
		  .p_filesz = sizeof(struct fake_note),
		  .p_align = 4 },
	};
	struct fake_note note_bytes = {
		.head = { .n_namesz = 8, .n_descsz = 8, .n_type = HEAPMAP_NOTE_TYPE },
		.name = HEAPMAP_NOTE_NAME,
		.distance = (int64_t)FAKE_DESCRIPTOR -
			    (int64_t)(FAKE_NOTE + offsetof(struct fake_note, distance)),
	};

	memset(file, 0, FAKE_BYTES);
	memcpy(file, &head, sizeof(head));
	memcpy(file + sizeof(head), phdrs, sizeof(phdrs));
	if (note_too)
		memcpy(file + FAKE_NOTE, &note_bytes, sizeof(note_bytes));
	memcpy(file + FAKE_DESCRIPTOR, &fake_descriptor, sizeof(fake_descriptor));
}

struct fake {
	int fd;
	void *mapping;
	char path[64];
	struct ct_heap_source source;
};

/* Map an empty file, as a loader would, and make a reading of maps in which it is alone. */
static void open_fake(struct fake *fake)
{
	char line[256];
	struct ct_maps *maps;
	const struct ct_mapping *m;

	snprintf(fake->path, sizeof(fake->path), "/tmp/ct-gcheap-XXXXXX");
	fake->fd = mkstemp(fake->path);
	assert_true(fake->fd >= 0);
	assert_int_equal(ftruncate(fake->fd, FAKE_BYTES), 0);
	fake->mapping = mmap(NULL, FAKE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fake->fd, 0);
	assert_true(fake->mapping != MAP_FAILED);
	maps = ct_maps__read(getpid());
	assert_non_null(maps);
	m = ct_maps__find(maps, (uintptr_t)fake->mapping);
	assert_non_null(m);
	snprintf(line, sizeof(line), "%lx-%lx rw-p 00000000 00:00 %lu %s\n",
		 (unsigned long)m->start, (unsigned long)m->end, (unsigned long)m->inode,
		 fake->path);
	ct_maps__put(maps);
	fake->source = (struct ct_heap_source){
		.maps = ct_maps__parse(line, strlen(line), getpid()),
		.memory = ct_remote__open(getpid()),
		.types = ct_names__new(),
	};
	assert_int_equal(fake->source.maps->count, 1);
}

static bool attaches(struct fake *fake, const uint8_t *file)
{
	const char *why = NULL;
	void *heap;

	assert_int_equal(pwrite(fake->fd, file, FAKE_BYTES, 0), FAKE_BYTES);
	heap = ct_reader_gcheap.attach(&fake->source, &why);
	assert_true(heap || why);
	ct_reader_gcheap.close(heap);
	return heap;
}

static void test_lying_modules(void **state)
{
	uint8_t file[FAKE_BYTES];
	struct fake fake;
	size_t hits = 0;

	(void)state;
	open_fake(&fake);
	fake_module(file, true);
	assert_true(attaches(&fake, file));
	file[FAKE_DESCRIPTOR + offsetof(struct heapmap_descriptor, version)] = 99;
	assert_false(attaches(&fake, file));
	memset(file + FAKE_DESCRIPTOR, 0, 16);
	assert_false(attaches(&fake, file));
	fake_module(file, false);
	assert_true(attaches(&fake, file)); /* by its magic */
	for (int round = 0; round < 20000; round++) {
		fake_module(file, round % 2);
		for (int flips = 1 + (int)(next_random() % 4); flips > 0; flips--) {
			size_t at = next_random() % 5 ? next_random() % 0xb0
						      : FAKE_NOTE + next_random() % 28;

			file[at] ^= (uint8_t)(1u << next_random() % 8);
		}
		hits += attaches(&fake, file);
	}
	assert_true(hits > 0 && hits < 20000);
	unlink(fake.path);
	close(fake.fd);
	munmap(fake.mapping, FAKE_BYTES);
	ct_names__free(fake.source.types);
	ct_remote__close(fake.source.memory);
	ct_maps__put(fake.source.maps);
}

/* A process without a heap map says so. */
static void test_no_map(void **state)
{
	static const char line[] = "1000-2000 r-xp 00000000 00:00 1 /no/such/file\n";
	struct ct_heap_source source = {
		.maps = ct_maps__parse(line, sizeof(line) - 1, getpid()),
		.memory = ct_remote__open(getpid()),
	};
	const char *why = NULL;

	(void)state;
	assert_null(ct_reader_gcheap.attach(&source, &why));
	assert_string_equal(why, "no heap map");
	ct_remote__close(source.memory);
	source.memory = NULL;
	assert_null(ct_reader_gcheap.attach(&source, &why));
	assert_string_equal(why, "its memory can't be read");
	ct_maps__put(source.maps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lying_modules),
		cmocka_unit_test(test_no_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
