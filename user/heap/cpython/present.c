/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* present.c - what the kernel says of the target's pages, 64 at a time, in a small cache. */
#include "heap/cpython/present.h"

#include <stdlib.h>

#define CT_PRESENT_SLOTS 2048u

struct ct_present_slot {
	uint64_t group; /* address / (64 pages) */
	uint64_t bits;
	uint64_t epoch;
};

struct ct_py_present {
	struct ct_remote *memory;
	uint64_t epoch;
	struct ct_present_slot slots[CT_PRESENT_SLOTS];
};

struct ct_py_present *ct_py_present__new(struct ct_remote *memory)
{
	struct ct_py_present *present = calloc(1, sizeof(*present));

	if (!present)
		return NULL;
	present->memory = memory;
	present->epoch = 1;
	return present;
}

void ct_py_present__free(struct ct_py_present *present)
{
	free(present);
}

void ct_py_present__renew(struct ct_py_present *present)
{
	present->epoch++;
}

static uint64_t ct_present_read(const struct ct_py_present *present, uint64_t group)
{
	ct_raddr_t address = group * CT_PAGE_SIZE * CT_PRESENT_GROUP;
	uint8_t pages[CT_PRESENT_GROUP];
	uint64_t bits = 0;

	if (!ct_remote__present(present->memory, address, CT_PRESENT_GROUP, pages))
		return 0;
	for (unsigned int i = 0; i < CT_PRESENT_GROUP; i++)
		bits |= (uint64_t)(pages[i] != 0) << i;
	return bits;
}

uint64_t ct_py_present__group(struct ct_py_present *present, ct_raddr_t address)
{
	uint64_t group = address / (CT_PAGE_SIZE * CT_PRESENT_GROUP);
	struct ct_present_slot *slot =
		&present->slots[(group * 0x9e3779b97f4a7c15ull >> 40) % CT_PRESENT_SLOTS];

	if (slot->group != group || slot->epoch != present->epoch) {
		slot->bits = ct_present_read(present, group);
		slot->group = group;
		slot->epoch = present->epoch;
	}
	return slot->bits;
}

bool ct_py_present__has(struct ct_py_present *present, ct_raddr_t address)
{
	return ct_py_present__group(present, address) >>
		       (address / CT_PAGE_SIZE % CT_PRESENT_GROUP) &
	       1;
}
