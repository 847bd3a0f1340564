/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * live.c - the capture from the running kernel: climbs the ladder of hooks, takes processes in,
 * empties the ring.
 *
 * Nothing is pinned: when this process ends, however it ends, the kernel takes programs, links
 * and maps away.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/types.h"
#include "capture/calibrate.h"
#include "capture/capture.h"
#include "capture/object.h"
#include "capture/runtimes.h"
#include "ct_config.h"

#define CT_MAX_LINKS	     32
#define CT_STACKS_RING_BYTES (64ul << 20) /* a stack is as long as twenty faults */

const char *const ct_hook_names[] = { "fexit", "kprobe", "tracepoint", NULL };

/* The ladder where the kernel preempts itself. A program can be preempted there, and until it goes
 * on, the kernel skips it for all others on that CPU: least often that of a kprobe, which runs with
 * preemption off, most often that of a trampoline. */
static const char *const ct_preemptible_ladder[] = { "kprobe", "tracepoint", "fexit", NULL };

/* Programs that some kernels refuse; the table in the README says what is then not seen. */
static const char *const ct_optional[] = { "ct_on_huge_wp_enter", "ct_on_huge_wp_exit",
					   "ct_on_hugetlb_enter", "ct_on_hugetlb_exit" };

/* Programs that do more than others but need more of the kernel: the one, or else the other. */
static const struct {
	const char *better, *plain;
} ct_alternatives[] = { { "ct_on_page_alloc_vma", "ct_on_page_alloc" } };

struct ct_capture {
	const char *hook;
	struct bpf_object *object;
	struct bpf_link *links[CT_MAX_LINKS], *sweep;
	size_t n_links;
	struct ring_buffer *ring;
	volatile struct ct_control *control;
	struct ct_object_bss bss;
	struct ct_runtimes runtimes;
	uint64_t tick_ns, boot_jiffies, boot_ns; /* jiffies boot_jiffies were at boot_ns */
	uint64_t late_seen;
	char refused[1024];
	/* the batch that ct_capture__consume is in */
	ct_record_fn fn;
	void *context;
	int left;
	bool stopped_early;
	int wake; /* epoll, edge-triggered: readable only when the kernel side says so */
};

static bool ct_is_optional(const char *program)
{
	for (size_t i = 0; i < CT_ARRAY_SIZE(ct_optional); i++)
		if (!strcmp(program, ct_optional[i]))
			return true;
	return false;
}

/* Of two alternatives, is @program the one that is not to be used? (@better: try the better.) */
static bool ct_is_left_out(const struct bpf_object *object, const char *program, bool better)
{
	for (size_t i = 0; i < CT_ARRAY_SIZE(ct_alternatives); i++) {
		if (!bpf_object__find_program_by_name(object, ct_alternatives[i].better))
			continue; /* this hook has no choice there */
		if (!strcmp(program, better ? ct_alternatives[i].plain : ct_alternatives[i].better))
			return true;
	}
	return false;
}

/* What a hook needs that can be seen without loading anything: a program takes its time to be
 * refused. NULL: nothing is missing. */
static const char *ct_missing_for(const char *hook)
{
	if (!strcmp(hook, "kprobe") && access("/sys/bus/event_source/devices/kprobe", F_OK) &&
	    access("/sys/kernel/tracing/kprobe_events", F_OK) &&
	    access("/sys/kernel/debug/tracing/kprobe_events", F_OK))
		return "this kernel has no kprobes (CONFIG_KPROBES)";
	return NULL;
}

/* Open, configure and load the object of a hook: with @all that it has, or just what it needs. */
static int ct_load(struct ct_capture *capture, const struct ct_config *config, size_t ring_bytes,
		   bool all)
{
	struct bpf_program *program;
	struct bpf_map *rodata, *ring;

	capture->object = ct_object__open(capture->hook);
	if (!capture->object)
		return -errno;
	rodata = bpf_object__find_map_by_name(capture->object, ".rodata");
	ring = bpf_object__find_map_by_name(capture->object, "ct_ring");
	if (!rodata || !ring || bpf_map__set_initial_value(rodata, config, sizeof(*config)))
		return -EINVAL;
	if (ring_bytes && bpf_map__set_max_entries(ring, (uint32_t)ring_bytes))
		return -errno;
	bpf_object__for_each_program(program, capture->object) {
		const char *name = bpf_program__name(program);

		if ((!all && ct_is_optional(name)) || ct_is_left_out(capture->object, name, all))
			bpf_program__set_autoload(program, false);
	}
	return bpf_object__load(capture->object) ? -errno : 0;
}

static int ct_attach(struct ct_capture *capture, char *why, size_t why_len)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, capture->object) {
		const char *name = bpf_program__name(program);
		struct bpf_link *link;

		if (!bpf_program__autoload(program))
			continue;
		link = bpf_program__attach(program);
		if (!link && ct_is_optional(name)) {
			ct_debug("%s: %s not attached: %s", capture->hook, name, strerror(errno));
			continue;
		}
		if (!link || capture->n_links == CT_MAX_LINKS) {
			int err = link ? -E2BIG : -errno;

			bpf_link__destroy(link);
			snprintf(why, why_len, "%s cannot be attached: %s",
				 bpf_program__section_name(program), strerror(-err));
			return err;
		}
		if (!strcmp(name, "ct_sweep"))
			capture->sweep = link;
		else
			capture->links[capture->n_links++] = link;
	}
	return 0;
}

static void ct_detach(struct ct_capture *capture)
{
	while (capture->n_links)
		bpf_link__destroy(capture->links[--capture->n_links]);
}

static int ct_map_runtimes(struct ct_capture *capture)
{
	struct ct_runtimes *runtimes = &capture->runtimes;
	int err = ct_object__bss(capture->object, &capture->bss);

	if (err)
		return err;
	runtimes->slots =
		ct_object__variable(&capture->bss, "ct_slots", CT_SLOTS * sizeof(*runtimes->slots));
	runtimes->table = ct_object__variable(&capture->bss, "ct_runtimes",
					      CT_MAX_RUNTIMES * sizeof(*runtimes->table));
	return runtimes->slots && runtimes->table ? 0 : -errno;
}

static void ct_unload(struct ct_capture *capture)
{
	ct_detach(capture);
	bpf_link__destroy(capture->sweep);
	capture->sweep = NULL;
	ring_buffer__free(capture->ring);
	capture->ring = NULL;
	if (capture->control)
		munmap((void *)capture->control, sizeof(*capture->control));
	capture->control = NULL;
	if (capture->bss.at)
		munmap(capture->bss.at, capture->bss.len);
	capture->bss.at = NULL;
	memset(&capture->runtimes, 0, sizeof(capture->runtimes));
	bpf_object__close(capture->object);
	capture->object = NULL;
}

static int ct_on_ring(void *context, void *data, size_t len)
{
	struct ct_capture *capture = context;
	const struct ct_record *record = data;
	int ret = len < sizeof(*record) ? 0 : capture->fn(capture->context, record, len);

	if (ret < 0 || --capture->left <= 0) {
		capture->stopped_early = true;
		return -EINTR;
	}
	return 0;
}

/* One rung: load, attach, open the ring. On failure everything is undone, @why says why. */
static int ct_try(struct ct_capture *capture, const char *hook, const struct ct_config *config,
		  size_t ring_bytes, char *why, size_t why_len)
{
	const char *missing = ct_missing_for(hook);
	struct bpf_map *ring;
	int err;

	if (missing) {
		snprintf(why, why_len, "%s", missing);
		return -EOPNOTSUPP;
	}
	capture->hook = hook;
	err = ct_load(capture, config, ring_bytes, true);
	if (err && err != -EPERM) { /* less may do; but not against a refusal on principle */
		ct_unload(capture);
		err = ct_load(capture, config, ring_bytes, false);
	}
	if (err) {
		snprintf(why, why_len, "refused by the kernel: %s", strerror(-err));
		ct_unload(capture);
		return err;
	}
	err = ct_attach(capture, why, why_len);
	if (!err) {
		capture->control = ct_object__control(capture->object, sizeof(*capture->control));
		ring = bpf_object__find_map_by_name(capture->object, "ct_ring");
		capture->ring = ring_buffer__new(bpf_map__fd(ring), ct_on_ring, capture, NULL);
		err = capture->control && capture->ring ? ct_map_runtimes(capture) : -errno;
		if (err)
			snprintf(why, why_len, "its maps cannot be mapped: %s", strerror(-err));
	}
	if (err)
		ct_unload(capture);
	return err;
}

static int ct_prepare(struct ct_config *config, const struct ct_capture_options *options, char *why,
		      size_t why_len)
{
	int err = ct_calibrate(&config->layout, why, why_len);

	config->follow = options->follow;
	config->stacks = options->stacks;
	config->self_tgid = (uint32_t)getpid();
	return err;
}

static void ct_start_clock(struct ct_capture *capture)
{
	struct timespec tick;

	/* the resolution of the coarse clock is the timer tick, to which jiffies count */
	clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
	capture->tick_ns = (uint64_t)tick.tv_nsec;
	capture->control->sweep = CT_SWEEP_NONE;
	if (ct_object__run_iter(capture->sweep))
		return;
	capture->boot_jiffies = capture->control->jiffies;
	capture->boot_ns = ct_now_ns();
}

/* Does the kernel preempt itself? Unknown (no debugfs) counts as no: ct_capture__missed tells. */
static bool ct_kernel_is_preemptible(void)
{
	FILE *f = fopen("/sys/kernel/debug/sched/preempt", "re");
	char modes[128] = "";

	if (f && !fgets(modes, sizeof(modes), f))
		modes[0] = '\0';
	if (f)
		fclose(f);
	return strstr(modes, "(full)") || strstr(modes, "(lazy)");
}

const char *const *ct_capture__ladder(void)
{
	return ct_kernel_is_preemptible() ? ct_preemptible_ladder : ct_hook_names;
}

uint64_t ct_capture__missed(const struct ct_capture *capture)
{
	struct bpf_program *program;
	uint64_t missed = 0, frees = 0;

	bpf_object__for_each_program(program, capture->object) {
		struct bpf_prog_info info = { 0 };
		uint32_t len = sizeof(info);

		if (!bpf_program__autoload(program) ||
		    bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &len))
			continue;
		if (!strcmp(bpf_program__name(program), "ct_on_page_free"))
			frees += info.recursion_misses;
		else
			missed += info.recursion_misses;
	}
	/* Pages are freed in interrupts, too, also while the program runs for a task: if that is
	 * the only one to have been skipped, nobody was preempted, and those were none of a task's.
	 */
	return missed ? missed + frees : 0;
}

/* The ring is readable whenever there is a record in it, that is always. */
static int ct_open_wake(const struct bpf_map *ring)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int wake = epoll_create1(EPOLL_CLOEXEC);

	if (wake >= 0 && epoll_ctl(wake, EPOLL_CTL_ADD, bpf_map__fd(ring), &event)) {
		close(wake);
		wake = -1;
	}
	return wake;
}

struct ct_capture *ct_capture__open_live(const struct ct_capture_options *options)
{
	struct ct_capture *capture = calloc(1, sizeof(*capture));
	struct ct_config config = { 0 };
	const char *const *ladder;
	size_t ring_bytes = options->ring_bytes;
	char why[256] = "";
	int err;

	if (!capture)
		return NULL;
	err = ct_prepare(&config, options, why, sizeof(why));
	if (err) {
		ct_error("cannot trace on this kernel: %s ('cowtrace doctor' tells more)", why);
		goto fail;
	}
	if (!ring_bytes && options->stacks)
		ring_bytes = CT_STACKS_RING_BYTES;
	err = -EINVAL;
	ladder = ct_capture__ladder();
	for (size_t i = 0; ladder[i]; i++) {
		size_t used = strlen(capture->refused);

		if (options->hook && strcmp(options->hook, ladder[i]))
			continue;
		err = ct_try(capture, ladder[i], &config, ring_bytes, why, sizeof(why));
		if (!err)
			break;
		snprintf(capture->refused + used, sizeof(capture->refused) - used, "%s%s: %s",
			 used ? "; " : "", ladder[i], why);
	}
	if (err) {
		ct_error("no hook works here: %s ('cowtrace doctor' tells more)", capture->refused);
		goto fail;
	}
	ct_start_clock(capture);
	capture->wake = ct_open_wake(bpf_object__find_map_by_name(capture->object, "ct_ring"));
	return capture;
fail:
	free(capture);
	errno = -err;
	return NULL;
}

int ct_capture__probe(const char *hook, char *why, size_t why_len)
{
	struct ct_capture capture = { 0 };
	struct ct_config config = { 0 };
	const struct ct_capture_options options = { .follow = true };
	int err = ct_prepare(&config, &options, why, why_len);

	if (err)
		return err;
	err = ct_try(&capture, hook, &config, 4096, why, why_len);
	if (!err)
		ct_unload(&capture);
	return err;
}

void ct_capture__close(struct ct_capture *capture)
{
	if (!capture)
		return;
	ct_unload(capture);
	if (capture->wake >= 0)
		close(capture->wake);
	free(capture);
}

int ct_capture__adopt(struct ct_capture *capture, pid_t pid)
{
	uint64_t before;
	int err;

	capture->control->adopt_tgid = (uint32_t)pid;
	capture->control->sweep = CT_SWEEP_ADOPT;
	/* A child made just before its parent was taken in is found by the next pass; whoever is
	 * made after it is followed. So this ends as soon as a pass finds nobody new. */
	do {
		before = capture->control->adopted;
		err = ct_object__run_iter(capture->sweep);
	} while (!err && capture->control->adopted != before);
	capture->control->sweep = CT_SWEEP_NONE;
	if (err)
		return err;
	return capture->control->adopted ? (int)capture->control->adopted : -ESRCH;
}

/* A map of the object by name; -1 if it has none. */
static int ct_map_fd(const struct ct_capture *capture, const char *name)
{
	return bpf_object__find_map_fd_by_name(capture->object, name);
}

/* The numbers that tasks without a slot have. */
static void ct_spilled_numbers(void *context, bool *used)
{
	struct ct_capture *capture = context;
	int fd = ct_map_fd(capture, "ct_spill");
	uint64_t task, *last = NULL;
	struct ct_slot slot;

	while (capture->control->spilled && !bpf_map_get_next_key(fd, last, &task)) {
		last = &task;
		if (!bpf_map_lookup_elem(fd, &task, &slot))
			used[(slot.who >> CT_TID_BITS) % CT_MAX_RUNTIMES] = true;
	}
}

int ct_capture__set_runtime(struct ct_capture *capture, uint64_t image, uint32_t tid,
			    const struct ct_runtime *runtime)
{
	int number = 0, err = 0;

	if (runtime)
		number = ct_runtimes__number(&capture->runtimes, runtime, ct_spilled_numbers,
					     capture);
	if (number < 0)
		return number;
	ct_runtimes__give(&capture->runtimes, image, tid, (uint32_t)number);
	if (capture->control->spilled) {
		capture->control->runtime_image = image;
		capture->control->runtime_tid = tid;
		capture->control->runtime = (uint32_t)number;
		capture->control->sweep = CT_SWEEP_RUNTIME;
		err = ct_object__run_iter(capture->sweep);
		capture->control->sweep = CT_SWEEP_NONE;
	}
	return err;
}

/* Family events that found the ring full. One writer each, so taking them out races with nobody. */
static void ct_consume_late(struct ct_capture *capture)
{
	int fd = ct_map_fd(capture, "ct_late");
	struct ct_record_task record;
	uint64_t key[2];

	capture->late_seen = capture->control->late;
	while (bpf_map_get_next_key(fd, NULL, key) == 0) {
		if (bpf_map_lookup_elem(fd, key, &record) || bpf_map_delete_elem(fd, key))
			return;
		capture->fn(capture->context, &record.rec, sizeof(record));
	}
}

int ct_capture__wake_fd(const struct ct_capture *capture)
{
	return capture->wake;
}

int ct_capture__consume(struct ct_capture *capture, ct_record_fn fn, void *context, int limit)
{
	struct epoll_event woken;
	int n;

	capture->fn = fn;
	capture->context = context;
	capture->left = limit;
	capture->stopped_early = false;
	epoll_wait(capture->wake, &woken, 1, 0); /* heard */
	if (capture->control->late != capture->late_seen)
		ct_consume_late(capture);
	n = ring_buffer__consume(capture->ring);
	if (n < 0 && !capture->stopped_early)
		return n;
	return limit - capture->left;
}

void ct_capture__stop(struct ct_capture *capture)
{
	capture->control->sweep = CT_SWEEP_SETTLE;
	if (ct_object__run_iter(capture->sweep))
		ct_debug("the last pending faults could not be decided");
	capture->control->sweep = CT_SWEEP_NONE;
	ct_detach(capture);
}

const char *ct_capture__hook(const struct ct_capture *capture)
{
	return capture->hook;
}

const char *ct_capture__refused(const struct ct_capture *capture)
{
	return capture->refused;
}

uint64_t ct_capture__time_ns(const struct ct_capture *capture, uint32_t jiffies)
{
	/* the low bits: right for 24 days to either side at 1000 a second */
	int64_t ticks = (int32_t)(jiffies - (uint32_t)capture->boot_jiffies);

	return capture->boot_ns + (uint64_t)(ticks * (int64_t)capture->tick_ns);
}

uint64_t ct_capture__stacks_dropped(const struct ct_capture *capture)
{
	return capture->control->stacks_dropped;
}

uint64_t ct_capture__untraced(const struct ct_capture *capture)
{
	return capture->control->untraced;
}

static void ct_drain_addresses(struct ct_capture *capture, ct_overflow_fn fn, void *context)
{
	int fd = ct_map_fd(capture, "ct_overflow");
	struct ct_overflow_key key;
	int64_t count;

	while (bpf_map_get_next_key(fd, NULL, &key) == 0) {
		if (bpf_map_lookup_elem(fd, &key, &count) || bpf_map_delete_elem(fd, &key))
			return;
		if (count)
			fn(context, key.image, key.address, key.kind, key.flags & CT_FLAG_UNREAD,
			   count);
	}
}

static void ct_drain_kinds(const struct ct_kind_counts *counts, uint64_t image, ct_overflow_fn fn,
			   void *context)
{
	int64_t unread = counts->copy_file_unread;

	for (int kind = 1; kind < CT_KIND_COUNT; kind++) {
		int64_t n = counts->by_kind[kind] - (kind == CT_KIND_COPY_FILE ? unread : 0);

		if (n)
			fn(context, image, 0, kind, false, n);
	}
	if (unread)
		fn(context, image, 0, CT_KIND_COPY_FILE, true, unread);
}

static void ct_drain_images(struct ct_capture *capture, ct_overflow_fn fn, void *context)
{
	int fd = ct_map_fd(capture, "ct_image_counts");
	struct ct_kind_counts counts;
	uint64_t image;

	while (bpf_map_get_next_key(fd, NULL, &image) == 0) {
		if (bpf_map_lookup_elem(fd, &image, &counts) || bpf_map_delete_elem(fd, &image))
			return;
		ct_drain_kinds(&counts, image, fn, context);
	}
	memcpy(&counts, (const void *)&capture->control->lost, sizeof(counts));
	memset((void *)&capture->control->lost, 0, sizeof(counts));
	ct_drain_kinds(&counts, 0, fn, context);
}

void ct_capture__drain_overflow(struct ct_capture *capture, ct_overflow_fn fn, void *context)
{
	if (!capture->control->overflowed)
		return;
	ct_drain_addresses(capture, fn, context);
	ct_drain_images(capture, fn, context);
}

uint64_t ct_capture__overflowed(const struct ct_capture *capture)
{
	return capture->control->overflowed;
}
