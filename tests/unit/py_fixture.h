/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * py_fixture.h - a made-up CPython process: three mappings whose bytes the test sets, read through
 * a ct_remote that is no process. DATA is the interpreter's, HEAP and MORE are anonymous.
 */
#ifndef PY_FIXTURE_H
#define PY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "heap/cpython/cpython.h"

#define DATA	   0x7f0000001000ull
#define HEAP	   0x7f1000000000ull
#define MORE	   0x7f2000000000ull
#define AREA_BYTES (256u * 1024)
#define AREA_PAGES (AREA_BYTES / 4096)
#define TYPE_TYPE  DATA
#define NAMES	   (DATA + 0x8000)

struct fixture_area {
	ct_raddr_t start;
	uint8_t *bytes;
	bool untouched[AREA_PAGES]; /* reading such a page is a mistake */
};

static struct fixture_area areas[3];
static struct ct_py_heap py;
static size_t name_at, type_at;
static unsigned int mistakes;

static inline struct fixture_area *area_of(ct_raddr_t address)
{
	for (size_t i = 0; i < CT_ARRAY_SIZE(areas); i++)
		if (address >= areas[i].start && address < areas[i].start + AREA_BYTES)
			return &areas[i];
	return NULL;
}

static inline ssize_t fixture_read(void *context, ct_raddr_t address, void *buf, size_t len)
{
	struct fixture_area *area = area_of(address);
	size_t room;

	(void)context;
	if (!area)
		return -14;
	room = AREA_BYTES - (size_t)(address - area->start);
	len = len < room ? len : room;
	for (size_t i = 0; i < len; i += 4096)
		mistakes += area->untouched[(address + i - area->start) / 4096];
	memcpy(buf, area->bytes + (address - area->start), len);
	return (ssize_t)len;
}

static inline bool fixture_present(void *context, ct_raddr_t address)
{
	struct fixture_area *area = area_of(address);

	(void)context;
	return area && !area->untouched[(address - area->start) / 4096];
}

static inline void *at(ct_raddr_t address)
{
	struct fixture_area *area = area_of(address);

	assert_non_null(area);
	if (py.python.source.memory) /* what was read of it is old from now on */
		ct_remote__renew(py.python.source.memory);
	memset(py.known, 0, sizeof(py.known));
	return area->bytes + (address - area->start);
}

static inline void set64(ct_raddr_t address, uint64_t value)
{
	memcpy(at(address), &value, sizeof(value));
}

static inline void set32(ct_raddr_t address, uint32_t value)
{
	memcpy(at(address), &value, sizeof(value));
}

/* A string among the interpreter's. */
static inline ct_raddr_t string(const char *text)
{
	ct_raddr_t address = NAMES + name_at;

	memcpy(at(address), text, strlen(text) + 1);
	name_at += strlen(text) + 1;
	return address;
}

static inline void type_init(ct_raddr_t type, ct_raddr_t meta, const char *name, uint64_t basicsize,
			     uint64_t itemsize, uint64_t flags)
{
	set64(type, 7);
	set64(type + 8, meta);
	set64(type + 24, string(name));
	set64(type + 32, basicsize);
	set64(type + 40, itemsize);
	set64(type + 168, flags);
}

/* A static type of the interpreter. */
static inline ct_raddr_t type_new(const char *name, uint64_t basicsize, uint64_t itemsize,
				  uint64_t flags)
{
	ct_raddr_t type = DATA + 0x400 + 512 * type_at++;

	type_init(type, TYPE_TYPE, name, basicsize, itemsize, flags);
	return type;
}

/* The head of a pool of blocks of @size bytes, @carved of them made, all in use. */
static inline void pool_new(ct_raddr_t pool, uint32_t pool_bytes, uint32_t step, uint32_t size,
			    uint32_t carved)
{
	set32(pool, carved);
	set64(pool + 8, 0);
	set64(pool + 16, pool);
	set64(pool + 24, pool);
	set32(pool + 36, size / step - 1);
	set32(pool + 40, 48 + carved * size);
	set32(pool + 44, pool_bytes - size);
}

static inline ct_raddr_t block_of(ct_raddr_t pool, uint32_t size, uint32_t i)
{
	return pool + 48 + (uint64_t)size * i;
}

/* Free block @i: it leads to the one freed before. */
static inline void block_free(ct_raddr_t pool, uint32_t size, uint32_t i)
{
	uint64_t next;
	uint32_t count;

	memcpy(&next, at(pool + 8), 8);
	memcpy(&count, at(pool), 4);
	set64(block_of(pool, size, i), next);
	set64(pool + 8, block_of(pool, size, i));
	set32(pool, count - 1);
}

static inline void fixture_open(uint32_t hexversion)
{
	static const char text[] =
		"7f0000000000-7f0000001000 r-xp 00000000 08:01 77 /usr/lib/libpython3.so\n"
		"7f0000001000-7f0000041000 rw-p 00001000 08:01 77 /usr/lib/libpython3.so\n"
		"7f1000000000-7f1000040000 rw-p 00000000 00:00 0\n"
		"7f2000000000-7f2000040000 rw-p 00000000 00:00 0\n";
	static const ct_raddr_t starts[] = { DATA, HEAP, MORE };
	const struct ct_remote_source remote = { NULL, fixture_read, fixture_present };

	memset(&py, 0, sizeof(py));
	name_at = type_at = 0;
	mistakes = 0;
	for (size_t i = 0; i < CT_ARRAY_SIZE(areas); i++) {
		areas[i] = (struct fixture_area){ starts[i], calloc(1, AREA_BYTES), { false } };
		assert_non_null(areas[i].bytes);
	}
	py.python.source.maps = ct_maps__parse(text, strlen(text), 1);
	py.python.source.memory = ct_remote__open_source(&remote, 1);
	py.python.source.types = ct_names__new();
	py.python.hexversion = hexversion;
	py.python.layout = *ct_py_layout_of(hexversion);
	py.python.type_type = TYPE_TYPE;
	py.python.module = ct_maps__find(py.python.source.maps, DATA - 0x1000);
	type_init(TYPE_TYPE, TYPE_TYPE, "type", 880, 40, CT_PY_TYPE | CT_PY_HAVE_GC);
	set64(TYPE_TYPE + 328, DATA + 8); /* tp_is_gc */
	py.present = ct_py_present__new(py.python.source.memory);
	py.types = ct_py_types__new(&py.python, py.present);
	assert_non_null(py.types);
}

/* When the heap is filled: find the pools. */
static inline void fixture_pools(void)
{
	py.pools = ct_py_pools__new(&py.python, py.present);
	assert_non_null(py.pools);
}

static inline void fixture_close(void)
{
	assert_int_equal(mistakes, 0);
	ct_py_pools__free(py.pools);
	ct_py_types__free(py.types);
	ct_py_present__free(py.present);
	ct_remote__close(py.python.source.memory);
	ct_maps__put(py.python.source.maps);
	ct_names__free(py.python.source.types);
	for (size_t i = 0; i < CT_ARRAY_SIZE(areas); i++)
		free(areas[i].bytes);
}

static inline const char *name_of(uint32_t type)
{
	return ct_names__name(py.python.source.types, type);
}

#endif /* PY_FIXTURE_H */
