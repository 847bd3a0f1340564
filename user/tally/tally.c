/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * tally.c - samples counted by every axis.
 *
 * Everything is an array indexed by a small number, but for pages and regions (pages.c). What is
 * held grows with types, writers, processes that counted something, and pages; a process that
 * ended without a count gives its row to a later one. Used by one thread.
 *
 * For the totals and for each process: sum(cells) == sum(causes) == unshared - undetailed.
 */
#include "tally/tally.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tally/impl.h"

#define CT_NO_ROW UINT32_MAX
/* An ended row is given away only when no late record (overflow counters) can name it any more. */
#define CT_ROW_REST_NS 10000000000ull

static const uint16_t ct_fault_offsets[CT_FAULT_COUNT] = {
	[CT_FAULT_COPY] = offsetof(struct ct_totals, copy),
	[CT_FAULT_COPY_FILE] = offsetof(struct ct_totals, copy_file),
	[CT_FAULT_COPY_KSM] = offsetof(struct ct_totals, copy_ksm),
	[CT_FAULT_COPY_HUGE] = offsetof(struct ct_totals, copy_huge),
	[CT_FAULT_COPY_HUGETLB] = offsetof(struct ct_totals, copy_hugetlb),
	[CT_FAULT_ZERO_FILL] = offsetof(struct ct_totals, zero_fill),
	[CT_FAULT_REUSE] = offsetof(struct ct_totals, reuse),
};

static bool ct_fault_unshares(unsigned int fault)
{
	return fault >= CT_FAULT_COPY && fault <= CT_FAULT_COPY_HUGETLB;
}

static unsigned int ct_clean_shift(unsigned int shift)
{
	return shift >= 12 && shift <= 40 ? shift : 12;
}

static void ct_totals_add(struct ct_totals *totals, unsigned int fault, unsigned int shift,
			  bool unread, int64_t count)
{
	*(int64_t *)((char *)totals + ct_fault_offsets[fault]) += count;
	if (!ct_fault_unshares(fault))
		return;
	totals->unshared += count;
	totals->unshared_bytes += count * (int64_t)(1ull << shift);
	if (unread && fault == CT_FAULT_COPY_FILE)
		totals->copy_file_unread += count;
}

void ct_tally__with_stacks(struct ct_tally *tally, const struct ct_names *lines,
			   const struct ct_lists *stacks, unsigned int every)
{
	tally->line_names = lines;
	tally->stack_lists = stacks;
	tally->stacks_every = every;
}

struct ct_tally *ct_tally__new(const struct ct_names *types, const struct ct_names *writers)
{
	struct ct_tally *tally = calloc(1, sizeof(*tally));

	if (!tally)
		return NULL;
	tally->type_names = types;
	tally->writer_names = writers;
	tally->queue_head = tally->queue_tail = CT_NO_ROW;
	tally->commands = ct_names__new();
	/* row 0, the unknown, is always there */
	tally->types = calloc(1, sizeof(*tally->types));
	tally->writers = calloc(1, sizeof(*tally->writers));
	tally->n_types = tally->n_writers = 1;
	if (ct_pages__init(&tally->pages) || !tally->commands || !tally->types || !tally->writers) {
		ct_tally__free(tally);
		errno = ENOMEM;
		return NULL;
	}
	return tally;
}

void ct_tally__free(struct ct_tally *tally)
{
	if (!tally)
		return;
	for (uint32_t i = 0; i < tally->n_chunks; i++)
		free(tally->chunks[i]);
	free(tally->chunks);
	free(tally->types);
	free(tally->writers);
	ct_names__free(tally->commands);
	ct_pages__free(&tally->pages);
	ct_map__free(&tally->collections);
	for (int axis = 0; axis < CT_SAMPLED_COUNT; axis++)
		free(tally->sampled[axis].list);
	free(tally);
}

bool ct_process__is_zero(const struct ct_process *row)
{
	static const struct ct_totals zero;

	/* every field is an int64_t: no padding to trip over */
	return !memcmp(&row->totals, &zero, sizeof(zero));
}

static void ct_tally_enqueue(struct ct_tally *tally, uint32_t process)
{
	ct_tally_row(tally, process)->next = CT_NO_ROW;
	if (tally->queue_tail == CT_NO_ROW)
		tally->queue_head = process;
	else
		ct_tally_row(tally, tally->queue_tail)->next = process;
	tally->queue_tail = process;
}

/* The number of a row that ended long before @now_ns and counted nothing, or CT_NO_ROW. */
static uint32_t ct_tally_dequeue(struct ct_tally *tally, uint64_t now_ns)
{
	while (tally->queue_head != CT_NO_ROW) {
		uint32_t process = tally->queue_head;
		const struct ct_process *row = ct_tally_row(tally, process);

		if (now_ns < row->end_ns || now_ns - row->end_ns < CT_ROW_REST_NS)
			break;
		tally->queue_head = row->next;
		if (tally->queue_head == CT_NO_ROW)
			tally->queue_tail = CT_NO_ROW;
		if (ct_process__is_zero(row))
			return process;
	}
	return CT_NO_ROW;
}

static uint32_t ct_tally_append(struct ct_tally *tally)
{
	struct ct_process *chunk, **chunks;

	if (tally->n_processes == tally->n_chunks * CT_CHUNK_ROWS) {
		if (tally->n_processes >= CT_NO_ROW - CT_CHUNK_ROWS)
			return CT_NO_ROW;
		chunks = realloc(tally->chunks, (tally->n_chunks + 1ul) * sizeof(*chunks));
		if (!chunks)
			return CT_NO_ROW;
		tally->chunks = chunks;
		chunk = calloc(CT_CHUNK_ROWS, sizeof(*chunk));
		if (!chunk)
			return CT_NO_ROW;
		tally->chunks[tally->n_chunks++] = chunk;
	}
	return tally->n_processes++;
}

uint32_t ct_tally__process(struct ct_tally *tally, uint32_t pid, uint32_t parent_pid,
			   const char *command, uint64_t start_ns)
{
	uint32_t process = ct_tally_dequeue(tally, start_ns);

	if (process == CT_NO_ROW)
		process = ct_tally_append(tally);
	if (process == CT_NO_ROW)
		return CT_NO_ROW;
	*ct_tally_row(tally, process) = (struct ct_process){
		.pid = pid,
		.parent = parent_pid,
		.command = ct_names__id(tally->commands, "", command ? command : ""),
		.next = CT_NO_ROW,
		.start_ns = start_ns,
	};
	return process;
}

void ct_tally__set_command(struct ct_tally *tally, uint32_t process, const char *command)
{
	uint32_t id;

	if (process >= tally->n_processes || !command)
		return;
	id = ct_names__id(tally->commands, "", command);
	if (id)
		ct_tally_row(tally, process)->command = id;
}

void ct_tally__set_ended(struct ct_tally *tally, uint32_t process, uint64_t end_ns)
{
	struct ct_process *row;

	if (process >= tally->n_processes)
		return;
	row = ct_tally_row(tally, process);
	if (row->ended)
		return;
	row->ended = true;
	row->end_ns = end_ns;
	ct_tally_enqueue(tally, process);
}

/* Makes @list, an array of @size bytes an element, long enough for @id, of which @limit is the
 * highest that was given; new elements are zero. */
static bool ct_tally_reach(void **list, uint32_t *count, size_t size, uint32_t id, uint32_t limit)
{
	uint32_t want;
	char *bigger;

	if (id < *count)
		return true;
	if (id > limit) /* never given: not a name of this table */
		return false;
	want = *count > limit / 2 ? limit + 1 : *count * 2;
	want = want > id ? want : id + 1;
	bigger = realloc(*list, want * size);
	if (!bigger)
		return false;
	memset(bigger + *count * size, 0, (want - *count) * size);
	*list = bigger;
	*count = want;
	return true;
}

static void ct_tally_add_detail(struct ct_tally *tally, const struct ct_sample *sample)
{
	unsigned int cell = sample->cell < CT_CELL_COUNT ? sample->cell : CT_CELL_UNKNOWN;
	unsigned int cause = sample->cause < CT_CAUSE_COUNT ? sample->cause : CT_CAUSE_UNKNOWN;
	uint32_t type = sample->type, writer = sample->writer;

	/* out of memory or a wild id: counted as unknown, so that the sums still hold */
	if (type >= tally->n_types &&
	    !ct_tally_reach((void **)&tally->types, &tally->n_types, sizeof(*tally->types), type,
			    ct_names__count(tally->type_names)))
		type = 0;
	if (writer >= tally->n_writers &&
	    !ct_tally_reach((void **)&tally->writers, &tally->n_writers, sizeof(*tally->writers),
			    writer, ct_names__count(tally->writer_names)))
		writer = 0;
	tally->cells[cell] += sample->count;
	tally->causes[cause] += sample->count;
	tally->types[type].unshared += sample->count;
	tally->types[type].cells[cell] += sample->count;
	tally->writers[writer] += sample->count;
	if (sample->process < tally->n_processes) {
		ct_tally_row(tally, sample->process)->cells[cell] += sample->count;
		ct_tally_row(tally, sample->process)->causes[cause] += sample->count;
	}
}

/* One of those whose stack was taken. A wild id, or no memory: the sample is of the unknown. */
static void ct_tally_add_sampled(struct ct_tally *tally, const struct ct_sample *sample)
{
	const uint32_t ids[CT_SAMPLED_COUNT] = { sample->line, sample->function, sample->module,
						 sample->stack };

	if (!tally->stacks_every)
		return;
	tally->samples += sample->count;
	for (int axis = 0; axis < CT_SAMPLED_COUNT; axis++) {
		struct ct_sampled_count *count = &tally->sampled[axis];
		uint32_t id = ids[axis], limit = axis == CT_BY_STACK
							 ? ct_lists__count(tally->stack_lists)
							 : ct_names__count(tally->line_names);

		if (id >= count->count && !ct_tally_reach((void **)&count->list, &count->count,
							  sizeof(*count->list), id, limit))
			id = 0;
		if (id < count->count || ct_tally_reach((void **)&count->list, &count->count,
							sizeof(*count->list), 0, limit))
			count->list[id] += sample->count;
	}
}

static void ct_tally_add_collection(struct ct_tally *tally, const struct ct_sample *sample)
{
	uint64_t key = ct_collection_key(sample->process, sample->generation, sample->collection);
	uint64_t *count = ct_map__find(&tally->collections, key);

	if (!count && ct_map__count(&tally->collections) < CT_COLLECTIONS_MOST)
		count = ct_map__at(&tally->collections, key);
	if (count)
		*count += (uint64_t)(int64_t)sample->count;
}

static int ct_tally_add_page(struct ct_tally *tally, ct_raddr_t address, unsigned int shift,
			     uint32_t process, int64_t count)
{
	if (process >= tally->n_processes)
		process = CT_PAGE_NO_OWNER;
	return ct_pages__add(&tally->pages, address & ~((1ull << shift) - 1), process, count);
}

int ct_tally__add(struct ct_tally *tally, const struct ct_sample *sample)
{
	unsigned int shift = ct_clean_shift(sample->page_shift);
	bool known = sample->process < tally->n_processes;
	int err;

	if (sample->fault == CT_FAULT_UNKNOWN || sample->fault >= CT_FAULT_COUNT)
		return -EINVAL;
	ct_totals_add(&tally->totals, sample->fault, shift, sample->unread, sample->count);
	if (known)
		ct_totals_add(&ct_tally_row(tally, sample->process)->totals, sample->fault, shift,
			      sample->unread, sample->count);
	if (!ct_fault_unshares(sample->fault))
		return known ? 0 : -ENOMEM;
	ct_tally_add_detail(tally, sample);
	if (sample->sampled)
		ct_tally_add_sampled(tally, sample);
	if (sample->collection && known)
		ct_tally_add_collection(tally, sample);
	err = ct_tally_add_page(tally, sample->address, shift, sample->process, sample->count);
	return known ? err : -ENOMEM;
}

int ct_tally__add_undetailed(struct ct_tally *tally, uint32_t process, enum ct_fault fault,
			     bool unread, ct_raddr_t address, uint8_t page_shift, int64_t count)
{
	unsigned int shift = ct_clean_shift(page_shift);
	struct ct_totals *own = NULL;
	int err = 0;

	if (fault == CT_FAULT_UNKNOWN || (unsigned int)fault >= CT_FAULT_COUNT)
		return -EINVAL;
	if (process < tally->n_processes)
		own = &ct_tally_row(tally, process)->totals;
	ct_totals_add(&tally->totals, fault, shift, unread, count);
	if (own)
		ct_totals_add(own, fault, shift, unread, count);
	if (ct_fault_unshares(fault)) {
		tally->totals.undetailed += count;
		if (own)
			own->undetailed += count;
		if (address)
			err = ct_tally_add_page(tally, address, shift, process, count);
	}
	return own ? err : -ENOMEM;
}

void ct_tally__reset(struct ct_tally *tally)
{
	memset(&tally->totals, 0, sizeof(tally->totals));
	memset(tally->cells, 0, sizeof(tally->cells));
	memset(tally->causes, 0, sizeof(tally->causes));
	memset(tally->types, 0, tally->n_types * sizeof(*tally->types));
	memset(tally->writers, 0, tally->n_writers * sizeof(*tally->writers));
	ct_pages__clear(&tally->pages);
	ct_map__free(&tally->collections);
	tally->samples = 0;
	for (int axis = 0; axis < CT_SAMPLED_COUNT; axis++)
		if (tally->sampled[axis].count)
			memset(tally->sampled[axis].list, 0,
			       tally->sampled[axis].count * sizeof(*tally->sampled[axis].list));
	tally->queue_head = tally->queue_tail = CT_NO_ROW;
	for (uint32_t i = 0; i < tally->n_processes; i++) {
		struct ct_process *row = ct_tally_row(tally, i);

		memset(&row->totals, 0, sizeof(row->totals));
		memset(row->cells, 0, sizeof(row->cells));
		memset(row->causes, 0, sizeof(row->causes));
		if (row->ended)
			ct_tally_enqueue(tally, i);
	}
}

size_t ct_tally__memory(const struct ct_tally *tally)
{
	size_t sampled = tally->collections.capacity * sizeof(*tally->collections.slots);

	for (int axis = 0; axis < CT_SAMPLED_COUNT; axis++)
		sampled += tally->sampled[axis].count * sizeof(*tally->sampled[axis].list);
	return sampled + sizeof(*tally) + tally->n_types * sizeof(*tally->types) +
	       tally->n_writers * sizeof(*tally->writers) +
	       tally->n_chunks *
		       (sizeof(*tally->chunks) + CT_CHUNK_ROWS * sizeof(**tally->chunks)) +
	       ct_pages__memory(&tally->pages);
}
