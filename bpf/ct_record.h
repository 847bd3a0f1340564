/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ct_record.h - how a fault leaves the kernel: as a record in the ring; where that is full, as a
 * count by (image, address, kind); where that is full, as a count by image; where that is full, as
 * a count. So a total is exact whatever happens, and what lost its detail is known to have.
 */
#ifndef CT_RECORD_H
#define CT_RECORD_H

#include "ct_slot.h"

#define CT_MAX_IMAGES 16384 /* alive at a time; maps are preallocated: none grows in a fault */
#define CT_MAX_LATE   4096

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20); /* --ring changes it before loading */
} ct_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct ct_overflow_key);
	__type(value, __s64);
} ct_overflow SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CT_MAX_LATE);
	__type(key, __u64); /* image */
	__type(value, struct ct_kind_counts);
} ct_image_counts SEC(".maps");

/* Family events that did not fit the ring, by image: user space must learn of every image. */
struct ct_late_key {
	__u64 image;
	__u64 type;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CT_MAX_LATE);
	__type(key, struct ct_late_key);
	__type(value, struct ct_record_task);
} ct_late SEC(".maps");

static __always_inline void ct_count_kind(struct ct_kind_counts *counts, __u32 kind, __u32 flags,
					  __s64 n)
{
	if (kind < CT_KIND_COUNT)
		__sync_fetch_and_add(&counts->by_kind[kind], n);
	if (kind == CT_KIND_COPY_FILE && (flags & CT_FLAG_UNREAD))
		__sync_fetch_and_add(&counts->copy_file_unread, n);
}

/* Not inlined: the slow path must not weigh on the fast one's registers. */
static __noinline int ct_count_overflow(__u64 image, __u64 address, __u32 kind_flags, int n)
{
	struct ct_overflow_key key = {
		.image = image,
		.address = address,
		.kind = kind_flags & 0xff,
		.flags = (kind_flags >> 8) & CT_FLAG_UNREAD,
	};
	struct ct_kind_counts none = {}, *counts;
	__s64 zero = 0, *count;

	__sync_fetch_and_add(&ct_control.overflowed, 1);
	bpf_map_update_elem(&ct_overflow, &key, &zero, BPF_NOEXIST);
	count = bpf_map_lookup_elem(&ct_overflow, &key);
	if (count) {
		__sync_fetch_and_add(count, n);
		return 0;
	}
	bpf_map_update_elem(&ct_image_counts, &image, &none, BPF_NOEXIST);
	counts = bpf_map_lookup_elem(&ct_image_counts, &image);
	ct_count_kind(counts ? counts : &ct_control.lost, key.kind, key.flags, n);
	return 0;
}

static __always_inline void ct_fill(struct ct_record *rec, const struct ct_slot *slot, __u8 type,
				    __u32 phase)
{
	rec->address = slot->address;
	rec->ip = slot->ip;
	rec->jiffies = (__u32)bpf_jiffies64(); /* inlined; reading the clock costs 60 ns */
	rec->phase = phase;
	rec->image = slot->image;
	rec->tid = slot->who & CT_TID_MASK;
	rec->type = type;
	rec->kind = slot->kind;
	rec->flags = slot->flags;
	rec->page_shift = slot->shift;
}

/* Report the fault in @slot (CT_REC_FAULT), or take it back (CT_REC_UNDO). */
static __always_inline void ct_emit(const struct ct_slot *slot, __u8 type, __u32 phase)
{
	struct ct_record *rec = bpf_ringbuf_reserve(&ct_ring, sizeof(*rec), 0);

	if (!rec) {
		ct_count_overflow(slot->image, slot->address, slot->kind | slot->flags << 8,
				  type == CT_REC_UNDO ? -1 : 1);
		return;
	}
	ct_fill(rec, slot, type, phase);
	bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);
}

/*
 * The same with the bytes around the address. Only for hooks that run after the copy and before
 * the write: elsewhere the read itself makes the kernel take the fault again.
 */
static __always_inline void ct_emit_with_bytes(const struct ct_slot *slot, __u32 phase)
{
	__u64 page = slot->address & ~4095ull, start = (slot->address & ~7ull) - 16;
	struct ct_record_bytes *rec;

	if (start < page)
		start = page;
	if (start > page + 4096 - CT_BYTES_LEN)
		start = page + 4096 - CT_BYTES_LEN;
	rec = bpf_ringbuf_reserve(&ct_ring, sizeof(*rec), 0);
	if (!rec) {
		ct_count_overflow(slot->image, slot->address, slot->kind | slot->flags << 8, 1);
		return;
	}
	ct_fill(&rec->rec, slot, CT_REC_FAULT, phase);
	rec->bytes_address = start;
	if (bpf_probe_read_user(rec->bytes, CT_BYTES_LEN, (const void *)start) == 0)
		rec->rec.flags |= CT_FLAG_BYTES;
	bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);
}

/* User space is woken (@wake: BPF_RB_FORCE_WAKEUP) when a program ends or begins: the memory that
 * explains what was written may soon be gone. */
static __always_inline void ct_emit_task(__u8 type, __u64 image, __u64 other, __u32 tid,
					 const struct task_struct *task, __u64 wake)
{
	struct ct_record_task rec = {
		.rec = { .jiffies = (__u32)bpf_jiffies64(),
			 .image = image,
			 .tid = tid,
			 .type = type },
		.other_image = other,
	};
	struct ct_late_key late = { .image = image, .type = type };

	bpf_core_read(rec.comm, sizeof(rec.comm), &task->comm);
	if (bpf_ringbuf_output(&ct_ring, &rec, sizeof(rec), wake)) {
		bpf_map_update_elem(&ct_late, &late, &rec, BPF_ANY);
		__sync_fetch_and_add(&ct_control.late, 1);
	}
}

#endif /* CT_RECORD_H */
