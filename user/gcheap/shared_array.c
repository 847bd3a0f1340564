/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * shared_array.c - elements as C integers and floats. All are a power of 2 in size and aligned to
 * it, so each access is one load or store that needs no lock.
 */
#include <errno.h>
#include <string.h>
#include <wchar.h>

#include "shared_internal.h"

enum kind { SIGNED, UNSIGNED, FLOATING };

struct element {
	char code;
	unsigned char size, align;
	enum kind kind;
};

#define ELEMENT(code, type, kind)                        \
	{                                                \
		code, sizeof(type), _Alignof(type), kind \
	}

static const struct element elements[] = {
	ELEMENT('b', signed char, SIGNED), ELEMENT('B', unsigned char, UNSIGNED),
	ELEMENT('u', wchar_t, UNSIGNED),   ELEMENT('w', uint32_t, UNSIGNED),
	ELEMENT('h', short, SIGNED),	   ELEMENT('H', unsigned short, UNSIGNED),
	ELEMENT('i', int, SIGNED),	   ELEMENT('I', unsigned, UNSIGNED),
	ELEMENT('l', long, SIGNED),	   ELEMENT('L', unsigned long, UNSIGNED),
	ELEMENT('q', long long, SIGNED),   ELEMENT('Q', unsigned long long, UNSIGNED),
	ELEMENT('f', float, FLOATING),	   ELEMENT('d', double, FLOATING),
};

#define UNICODE_MAX 0x10ffff

_Static_assert(sizeof(wchar_t) == 4, "'u' is a 4-byte character");
_Static_assert(sizeof(long long) == 8 && sizeof(float) == 4 && sizeof(double) == 8,
	       "the sizes of Python's array");

static const struct element *find(char code)
{
	for (size_t i = 0; i < sizeof(elements) / sizeof(elements[0]); i++) {
		if (elements[i].code == code)
			return &elements[i];
	}
	return NULL;
}

size_t gcheap_shared_itemsize_of(char typecode)
{
	const struct element *element = find(typecode);

	/* an access must be atomic, so naturally aligned, and no page boundary may cut it */
	return element && SHARED_DATA_OFFSET % element->align == 0 ? element->size : 0;
}

/* Find the type for an access as @floating or not. */
static int begin(const struct gcheap_shared *shared, size_t index, bool floating, bool writing,
		 const struct element **element)
{
	*element = find(shared->typecode);
	if (!*element || ((*element)->kind == FLOATING) != floating)
		return -EPROTOTYPE;
	if (index >= shared->length)
		return -ENXIO;
	return writing && shared->read_only ? -EROFS : 0;
}

static uint64_t load(const struct gcheap_shared *shared, size_t index)
{
	const char *at = shared->data + index * shared->itemsize;

	switch (shared->itemsize) {
	case 1:
		return __atomic_load_n((const uint8_t *)at, __ATOMIC_ACQUIRE);
	case 2:
		return __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE);
	case 4:
		return __atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_ACQUIRE);
	default:
		return __atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_ACQUIRE);
	}
}

static void store(struct gcheap_shared *shared, size_t index, uint64_t bits)
{
	char *at = shared->data + index * shared->itemsize;

	switch (shared->itemsize) {
	case 1:
		__atomic_store_n((uint8_t *)at, (uint8_t)bits, __ATOMIC_RELEASE);
		break;
	case 2:
		__atomic_store_n((uint16_t *)(void *)at, (uint16_t)bits, __ATOMIC_RELEASE);
		break;
	case 4:
		__atomic_store_n((uint32_t *)(void *)at, (uint32_t)bits, __ATOMIC_RELEASE);
		break;
	default:
		__atomic_store_n((uint64_t *)(void *)at, bits, __ATOMIC_RELEASE);
	}
}

static int64_t extend(uint64_t bits, size_t size)
{
	unsigned shift = 64 - 8 * (unsigned)size;

	return (int64_t)(bits << shift) >> shift;
}

int gcheap_shared_get_int(const struct gcheap_shared *shared, size_t index, int64_t *value)
{
	const struct element *element;
	int error = begin(shared, index, false, false, &element);
	uint64_t bits;

	if (error)
		return error;
	bits = load(shared, index);
	if (element->kind == UNSIGNED && bits > INT64_MAX)
		return -ERANGE;
	*value = element->kind == UNSIGNED ? (int64_t)bits : extend(bits, element->size);
	return 0;
}

int gcheap_shared_get_uint(const struct gcheap_shared *shared, size_t index, uint64_t *value)
{
	const struct element *element;
	int error = begin(shared, index, false, false, &element);
	uint64_t bits;

	if (error)
		return error;
	bits = load(shared, index);
	if (element->kind == SIGNED && extend(bits, element->size) < 0)
		return -ERANGE;
	*value = bits;
	return 0;
}

int gcheap_shared_set_int(struct gcheap_shared *shared, size_t index, int64_t value)
{
	const struct element *element;
	int error = begin(shared, index, false, true, &element);

	if (error)
		return error;
	if (element->kind == UNSIGNED)
		return value < 0 ? -ERANGE : gcheap_shared_set_uint(shared, index, (uint64_t)value);
	if (extend((uint64_t)value, element->size) != value)
		return -ERANGE;
	store(shared, index, (uint64_t)value);
	return 0;
}

int gcheap_shared_set_uint(struct gcheap_shared *shared, size_t index, uint64_t value)
{
	const struct element *element;
	int error = begin(shared, index, false, true, &element);
	uint64_t most;

	if (error)
		return error;
	most = UINT64_MAX >> (64 - 8 * element->size);
	if (element->kind == SIGNED)
		most >>= 1;
	if (element->code == 'u' || element->code == 'w')
		most = UNICODE_MAX;
	if (value > most)
		return -ERANGE;
	store(shared, index, value);
	return 0;
}

int gcheap_shared_get_float(const struct gcheap_shared *shared, size_t index, double *value)
{
	const struct element *element;
	int error = begin(shared, index, true, false, &element);
	uint64_t bits;

	if (error)
		return error;
	bits = load(shared, index);
	if (element->size == sizeof(float)) {
		uint32_t half = (uint32_t)bits;
		float number;

		memcpy(&number, &half, sizeof(number));
		*value = (double)number;
	} else {
		memcpy(value, &bits, sizeof(*value));
	}
	return 0;
}

int gcheap_shared_set_float(struct gcheap_shared *shared, size_t index, double value)
{
	const struct element *element;
	int error = begin(shared, index, true, true, &element);
	uint64_t bits = 0;

	if (error)
		return error;
	if (element->size == sizeof(float)) {
		float number = (float)value;
		uint32_t half;

		if (__builtin_isinf(number) && !__builtin_isinf(value))
			return -ERANGE;
		memcpy(&half, &number, sizeof(half));
		bits = half;
	} else {
		memcpy(&bits, &value, sizeof(bits));
	}
	store(shared, index, bits);
	return 0;
}

int gcheap_shared_add(struct gcheap_shared *shared, size_t index, int64_t delta, int64_t *before)
{
	const struct element *element;
	int error = begin(shared, index, false, true, &element);
	uint64_t was;
	char *at;

	if (error)
		return error;
	at = shared->data + index * shared->itemsize;
	switch (element->size) {
	case 1:
		was = __atomic_fetch_add((uint8_t *)at, (uint8_t)delta, __ATOMIC_ACQ_REL);
		break;
	case 2:
		was = __atomic_fetch_add((uint16_t *)(void *)at, (uint16_t)delta, __ATOMIC_ACQ_REL);
		break;
	case 4:
		was = __atomic_fetch_add((uint32_t *)(void *)at, (uint32_t)delta, __ATOMIC_ACQ_REL);
		break;
	default:
		was = __atomic_fetch_add((uint64_t *)(void *)at, (uint64_t)delta, __ATOMIC_ACQ_REL);
	}
	if (before)
		*before = element->kind == UNSIGNED ? (int64_t)was : extend(was, element->size);
	return 0;
}
