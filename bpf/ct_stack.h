/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ct_stack.h - who was calling: the Python frames of the current thread, and where there are none
 * its native ones. Taken of each ct_config.stacks-th fault, just before that is reported (or, by
 * the tracepoint hook, when it begins).
 *
 * All that is followed here is the target's: a chain that leads nowhere ends in a failed read, one
 * without an end is cut at CT_STACK_FRAMES steps.
 */
#ifndef CT_STACK_H
#define CT_STACK_H

#include "ct_interpreter.h"

#define CT_NATIVE_FRAMES 32
#define CT_UNREADABLE	 1ull /* no frame is there */
#define CT_STACK_HEAD	 (sizeof(struct ct_record_stack) - CT_STACK_FRAMES * sizeof(struct ct_frame))

/* Programs that can interrupt one another on a CPU; of itself the kernel runs each once at a time.
 */
enum ct_scratch_user { CT_SCRATCH_FAULT, CT_SCRATCH_FILE, CT_SCRATCH_HUGE, CT_SCRATCH_USERS };

struct ct_scratch {
	struct ct_record_stack stack;
	__u64 native[CT_NATIVE_FRAMES];
	__u64 frame[CT_FRAME_LEN / 8];
	struct ct_view view;
	__u32 faults; /* since the last stack */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CT_SCRATCH_USERS);
	__type(key, __u32);
	__type(value, struct ct_scratch);
} ct_scratches SEC(".maps");

/* What stands at @address; 0 where nothing can be read. */
static __always_inline __u64 ct_pointer_at(struct ct_view *view, __u64 address)
{
	__u64 word = 0;

	ct_read_word(view, address, &word);
	return word;
}

/* The innermost frame of the current thread; 0: it runs no Python, or that can't be known. */
static __always_inline __u64 ct_python_frame(const struct ct_runtime *runtime, struct ct_view *view)
{
	struct task_struct *current = ct_current();
	__u64 fsbase = BPF_CORE_READ(current, thread.fsbase), at, tstate;

	tstate = ct_pointer_at(view, runtime->tstate + (runtime->tstate_tls ? fsbase : 0));
	/* the state of the thread that runs Python, which may be another */
	if (!tstate || !fsbase || ct_pointer_at(view, tstate + runtime->thread_id) != fsbase)
		return 0;
	at = ct_pointer_at(view, tstate + runtime->frame);
	if (runtime->cframe < 0 || !at)
		return at;
	return ct_pointer_at(view, at + (__u32)runtime->cframe);
}

/* What stands @offset bytes into the frame that was read, and the rest of that word above it. */
static __always_inline __u64 ct_frame_field(const struct ct_scratch *scratch, __u32 offset)
{
	return scratch->frame[offset / 8 & (CT_FRAME_LEN / 8 - 1)] >> offset % 8 * 8;
}

struct ct_frame_words {
	__u64 code, back, instruction, owner;
};

/* The frame at @at: of one user access where words cannot be read without. */
static __always_inline bool ct_read_frame(struct ct_scratch *scratch, struct ct_view *view,
					  const struct ct_runtime_entry *entry, __u64 at,
					  struct ct_frame_words *words)
{
	const struct ct_runtime *runtime = &entry->runtime;

	if (CT_HAS_RDONLY_CAST)
		return ct_read_word(view, at + runtime->frame_code, &words->code) &&
		       ct_read_word(view, at + runtime->frame_back, &words->back) &&
		       ct_read_word(view, at + runtime->frame_instruction, &words->instruction) &&
		       ct_read_word(view, at + runtime->frame_owner, &words->owner);
	if (bpf_probe_read_user(scratch->frame, entry->frame_len & (CT_FRAME_LEN - 1),
				(const void *)at))
		return false;
	words->code = ct_frame_field(scratch, runtime->frame_code);
	words->back = ct_frame_field(scratch, runtime->frame_back);
	words->instruction = ct_frame_field(scratch, runtime->frame_instruction);
	words->owner = ct_frame_field(scratch, runtime->frame_owner);
	return true;
}

/*
 * Put the frame at @at into the stack of @user. Return: the next one, 0 if there is none, 1 if it
 * can't be read. A function of its own to the verifier, which so looks into it once and not once a
 * step.
 */
__noinline __u64 ct_walk_frame(__u32 user, __u32 number, __u64 at)
{
	const struct ct_runtime_entry *entry = &ct_runtimes[number & (CT_MAX_RUNTIMES - 1)];
	struct ct_scratch *scratch = bpf_map_lookup_elem(&ct_scratches, &user);
	struct ct_frame_words words = {};
	struct ct_frame *out;

	if (!scratch || !ct_read_frame(scratch, &scratch->view, entry, at, &words))
		return CT_UNREADABLE;
	words.code &= ~(__u64)entry->runtime.code_mask;
	if (!words.code || (__u8)words.owner >= entry->first_shim)
		return words.back;
	out = &scratch->stack.frames[scratch->stack.n_frames++ & (CT_STACK_FRAMES - 1)];
	out->code = words.code;
	out->instruction = words.instruction;
	if (entry->runtime.frames == CT_FRAMES_OBJECT) /* an int */
		out->instruction = (__u64)(__s64)(__s32)words.instruction;
	return words.back;
}

/* The frames from the innermost on; a chain longer than this is cut. */
static __always_inline __u32 ct_walk_python(__u32 user, __u32 number, __u64 frame)
{
	for (int step = 0; step < CT_STACK_FRAMES && frame && frame != CT_UNREADABLE; step++)
		frame = ct_walk_frame(user, number, frame);
	return frame != 0;
}

/* At least the instruction that wrote. The kernel's walk can run into a page that is not there: a
 * fault of the kernel's own, which comes through our programs; from within one of those for such
 * faults it would be skipped, and counted as missed. */
static __always_inline void ct_walk_native(void *ctx, struct ct_scratch *scratch,
					   const struct ct_slot *slot)
{
	long len = 0;

	if (!(slot->flags & CT_FLAG_KERNEL))
		len = bpf_get_stack(ctx, scratch->native, sizeof(scratch->native),
				    BPF_F_USER_STACK);
	if (len <= 0) {
		scratch->stack.frames[0].code = 0;
		scratch->stack.frames[0].instruction = slot->ip;
		scratch->stack.n_frames = 1;
		return;
	}
	for (__u32 i = 0; i < CT_NATIVE_FRAMES; i++) {
		scratch->stack.frames[i].code = 0;
		scratch->stack.frames[i].instruction = scratch->native[i];
	}
	scratch->stack.cut = len == sizeof(scratch->native);
	scratch->stack.n_frames = (__u32)len / sizeof(__u64);
}

static __always_inline void ct_send_stack(struct ct_scratch *scratch, const struct ct_slot *slot)
{
	__u32 n = scratch->stack.n_frames;

	if (!n)
		return;
	if (n > CT_STACK_FRAMES)
		n = CT_STACK_FRAMES;
	ct_fill(&scratch->stack.rec, slot, CT_REC_STACK, 0);
	if (bpf_ringbuf_output(&ct_ring, &scratch->stack,
			       CT_STACK_HEAD + n * sizeof(struct ct_frame), BPF_RB_NO_WAKEUP))
		__sync_fetch_and_add(&ct_control.stacks_dropped, 1);
}

/* Count the fault in @slot, of the current task; if it is its turn, report who was calling. */
static __noinline int ct_take_stack(void *ctx, const struct ct_slot *slot, __u32 user)
{
	struct ct_scratch *scratch = bpf_map_lookup_elem(&ct_scratches, &user);
	const struct ct_runtime_entry *entry = ct_entry_of(slot);
	__u64 frame;

	if (!scratch || ++scratch->faults < ct_config.stacks)
		return 0;
	scratch->faults = 0;
	scratch->stack.n_frames = 0;
	scratch->stack.cut = 0;
	if (entry->frame_len) { /* number 0 has none */
		scratch->view = ct_view_current();
		frame = ct_python_frame(&entry->runtime, &scratch->view);
		if (frame)
			scratch->stack.cut = ct_walk_python(user, slot->who >> CT_TID_BITS, frame);
	}
	if (!scratch->stack.n_frames)
		ct_walk_native(ctx, scratch, slot);
	ct_send_stack(scratch, slot);
	return 0;
}

/* To be called once for each fault of the current task on its own memory. */
static __always_inline void ct_stack(void *ctx, const struct ct_slot *slot,
				     enum ct_scratch_user user)
{
	if (ct_config.stacks)
		ct_take_stack(ctx, slot, user);
}

#endif /* CT_STACK_H */
