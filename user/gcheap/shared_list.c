/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * shared_list.c - a fixed number of slots of mixed values.
 *
 * Behind the head: an entry for each slot, then each one's bytes. A writer, who has the list's
 * lock, makes the entry's sequence odd, changes the slot, and makes it even again; a reader, who
 * has no lock, writes nothing and copies until it saw the same even sequence before and after.
 * Bytes are read and written in atomic words, so that this is no race by C's rules either. A
 * process that cannot believe the others checks what it copied against the entry's place, which it
 * validated when it attached.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "shared_internal.h"

#define SLOT_BYTES 8	 /* of the smallest slot, and what sizes are rounded to */
#define READ_TRIES 10000 /* then its writer is dead, or stopped: after 0.6 s or so */
#define READ_SPINS 100	 /* of these before the processor is given up */

struct slot {
	uint64_t place; /* from the head; never changes */
	uint32_t room;	/* never changes */
	uint32_t sequence;
	uint32_t type;
	uint32_t used;
};

static struct slot *slot_of(const struct gcheap_shared *list, size_t index)
{
	return (struct slot *)(void *)list->data + index;
}

static size_t round_up(size_t bytes)
{
	return bytes <= SLOT_BYTES ? SLOT_BYTES
				   : (bytes + SLOT_BYTES - 1) / SLOT_BYTES * SLOT_BYTES;
}

static bool is_text(uint32_t type)
{
	return type == GCHEAP_SHARED_STRING || type == GCHEAP_SHARED_BYTES;
}

/* Where the bytes of a slot are by arithmetic: what the file says must be the same. */
bool gcheap_shared_list_sane(const struct gcheap_shared *list)
{
	uint64_t place;

	if (list->itemsize != sizeof(struct slot))
		return false;
	place = SHARED_DATA_OFFSET + (uint64_t)list->length * sizeof(struct slot);
	for (size_t i = 0; i < list->length; i++) {
		const struct slot *slot = slot_of(list, i);

		if (slot->place != place || !slot->room || slot->room % SLOT_BYTES ||
		    slot->room > list->bytes - place)
			return false;
		place += slot->room;
	}
	return place == list->bytes;
}

/* The bytes of a slot, or NULL when it no longer says what it said at attach. */
static uint64_t *words_of(const struct gcheap_shared *list, const struct slot *slot, size_t *room)
{
	uint64_t place = __atomic_load_n(&slot->place, __ATOMIC_RELAXED);

	*room = __atomic_load_n(&slot->room, __ATOMIC_RELAXED);
	if (place < SHARED_DATA_OFFSET || place % SLOT_BYTES || place > list->bytes ||
	    *room > list->bytes - place || *room < SLOT_BYTES)
		return NULL;
	return (uint64_t *)(void *)((char *)list->head + place);
}

static void put_words(uint64_t *to, const void *from, size_t len)
{
	for (size_t done = 0; done < len; done += sizeof(uint64_t), to++) {
		size_t part = len - done < sizeof(uint64_t) ? len - done : sizeof(uint64_t);
		uint64_t word = 0;

		memcpy(&word, (const char *)from + done, part);
		__atomic_store_n(to, word, __ATOMIC_RELAXED);
	}
}

static void take_words(void *to, const uint64_t *from, size_t len)
{
	for (size_t done = 0; done < len; done += sizeof(uint64_t), from++) {
		size_t part = len - done < sizeof(uint64_t) ? len - done : sizeof(uint64_t);
		uint64_t word = __atomic_load_n(from, __ATOMIC_RELAXED);

		memcpy((char *)to + done, &word, part);
	}
}

/* What of @item goes into the slot's bytes. Return: its length, or -EINVAL. */
static int64_t item_bytes(const struct gcheap_shared_item *item, uint64_t *word, const void **from)
{
	*from = word;
	*word = 0;
	switch (item->type) {
	case GCHEAP_SHARED_NONE:
		return 0;
	case GCHEAP_SHARED_BOOL:
		*word = item->truth;
		return sizeof(*word);
	case GCHEAP_SHARED_INT:
		memcpy(word, &item->number, sizeof(*word));
		return sizeof(*word);
	case GCHEAP_SHARED_FLOAT:
		memcpy(word, &item->real, sizeof(*word));
		return sizeof(*word);
	case GCHEAP_SHARED_STRING:
	case GCHEAP_SHARED_BYTES:
		*from = item->text;
		if ((!item->text && item->len) || item->len > UINT32_MAX - SLOT_BYTES)
			return -EINVAL;
		return (int64_t)item->len;
	}
	return -EINVAL;
}

static void write_slot(struct slot *slot, uint64_t *words, uint32_t type, const void *from,
		       size_t len)
{
	uint32_t sequence = __atomic_load_n(&slot->sequence, __ATOMIC_RELAXED) | 1;

	/* it is odd already where the writer before us died halfway */
	__atomic_store_n(&slot->sequence, sequence, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(&slot->type, type, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->used, (uint32_t)len, __ATOMIC_RELAXED);
	put_words(words, from, len);
	__atomic_store_n(&slot->sequence, sequence + 1, __ATOMIC_RELEASE);
}

int gcheap_shared_list_set(struct gcheap_shared *list, size_t index,
			   const struct gcheap_shared_item *item)
{
	const void *from;
	uint64_t word, *words;
	int64_t len = item_bytes(item, &word, &from);
	size_t room;
	int locked;

	if (list->typecode != SHARED_LIST)
		return -EPROTOTYPE;
	if (index >= list->length)
		return -ENXIO;
	if (len < 0)
		return (int)len;
	words = words_of(list, slot_of(list, index), &room);
	if (!words)
		return -EBADMSG;
	if ((size_t)len > room)
		return -ENOBUFS;
	locked = gcheap_shared_lock(list, -1);
	if (locked < 0 && locked != -EDEADLK)
		return locked;
	write_slot(slot_of(list, index), words, item->type, from, (size_t)len);
	return locked == -EDEADLK ? 0 : gcheap_shared_unlock(list);
}

/* Make an @item of a slot's @type and bytes. */
static int make_item(uint32_t type, size_t used, uint64_t word, void *text,
		     struct gcheap_shared_item *item)
{
	item->type = (enum gcheap_shared_type)type;
	switch (type) {
	case GCHEAP_SHARED_NONE:
		item->number = 0;
		return 0;
	case GCHEAP_SHARED_BOOL:
		item->truth = word != 0;
		return 0;
	case GCHEAP_SHARED_INT:
		memcpy(&item->number, &word, sizeof(word));
		return 0;
	case GCHEAP_SHARED_FLOAT:
		memcpy(&item->real, &word, sizeof(word));
		return 0;
	case GCHEAP_SHARED_STRING:
	case GCHEAP_SHARED_BYTES:
		item->text = text;
		item->len = used;
		return 0;
	default:
		return -EBADMSG;
	}
}

/* One try. Return: -EAGAIN when a writer came between. */
static int read_slot(const struct gcheap_shared *list, const struct slot *slot,
		     struct gcheap_shared_item *item, void *text, size_t size)
{
	uint32_t sequence = __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE), type, used;
	uint64_t word = 0, *words;
	size_t room;
	bool fits;

	if (sequence & 1)
		return -EAGAIN;
	words = words_of(list, slot, &room);
	type = __atomic_load_n(&slot->type, __ATOMIC_RELAXED);
	used = __atomic_load_n(&slot->used, __ATOMIC_RELAXED);
	fits = used <= size || !is_text(type);
	if (words && used <= room && is_text(type) && fits)
		take_words(text, words, used);
	else if (words && !is_text(type))
		take_words(&word, words, sizeof(word));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&slot->sequence, __ATOMIC_RELAXED) != sequence)
		return -EAGAIN;
	if (!words || used > room)
		return -EBADMSG;
	return make_item(type, used, word, fits ? text : NULL, item) ?: (fits ? 0 : -ENOBUFS);
}

int gcheap_shared_list_get(const struct gcheap_shared *list, size_t index,
			   struct gcheap_shared_item *item, void *text, size_t size)
{
	const struct timespec pause = { .tv_nsec = 10000 };
	int error = -EAGAIN;

	if (list->typecode != SHARED_LIST)
		return -EPROTOTYPE;
	if (index >= list->length)
		return -ENXIO;
	for (int i = 0; i < READ_TRIES && error == -EAGAIN; i++) {
		error = read_slot(list, slot_of(list, index), item, text, size);
		if (error == -EAGAIN && i > READ_SPINS)
			nanosleep(&pause, NULL);
	}
	return error == -EAGAIN ? -EOWNERDEAD : error;
}

size_t gcheap_shared_list_room(const struct gcheap_shared *list, size_t index)
{
	size_t room;

	if (list->typecode != SHARED_LIST || index >= list->length)
		return 0;
	return words_of(list, slot_of(list, index), &room) ? room : 0;
}

/* The bytes of all slots. Return: 0, or -EINVAL for an item that is none. */
static int measure(const struct gcheap_shared_item *items, size_t count, size_t *bytes)
{
	const void *from;
	uint64_t word;

	if (!items || !count)
		return -EINVAL;
	if (count > ((size_t)PTRDIFF_MAX - SHARED_DATA_OFFSET) / sizeof(struct slot))
		return -EOVERFLOW;
	*bytes = count * sizeof(struct slot);
	for (size_t i = 0; i < count; i++) {
		int64_t len = item_bytes(&items[i], &word, &from);

		if (len < 0)
			return (int)len;
		*bytes += round_up((size_t)len);
		if (*bytes > (size_t)PTRDIFF_MAX - SHARED_DATA_OFFSET)
			return -EOVERFLOW;
	}
	return 0;
}

int gcheap_shared_list_create(struct gcheap_shared **out, const char *name,
			      const struct gcheap_shared_item *items, size_t count, unsigned flags)
{
	struct gcheap_shared_shape shape = {
		.length = count,
		.itemsize = sizeof(struct slot),
		.typecode = SHARED_LIST,
	};
	char path[SHARED_PATH_MAX];
	int error = name ? gcheap_shared_path(name, path) : 0;
	uint64_t place, word;

	*out = NULL;
	if (!error && (flags & ~GCHEAP_SHARED_NO_GUARD))
		error = -EINVAL;
	if (!error)
		error = measure(items, count, &shape.data_bytes);
	if (!error)
		error = gcheap_shared_make(out, name, &shape);
	if (error)
		return error;
	place = SHARED_DATA_OFFSET + count * sizeof(struct slot);
	for (size_t i = 0; i < count; i++) {
		struct slot *slot = slot_of(*out, i);
		const void *from;
		size_t len = (size_t)item_bytes(&items[i], &word, &from);

		slot->place = place;
		slot->room = (uint32_t)round_up(len);
		write_slot(slot, (uint64_t *)(void *)((char *)(*out)->head + place), items[i].type,
			   from, len);
		place += slot->room;
	}
	return name ? gcheap_shared_publish(out, name, flags) : 0;
}

int gcheap_shared_list_attach(struct gcheap_shared **out, const char *name, unsigned flags)
{
	*out = NULL;
	return name ? gcheap_shared_open(out, name, -1, SHARED_LIST, flags) : -EINVAL;
}

int gcheap_shared_list_attach_fd(struct gcheap_shared **out, int fd, unsigned flags)
{
	*out = NULL;
	return gcheap_shared_open(out, NULL, fd, SHARED_LIST, flags);
}
