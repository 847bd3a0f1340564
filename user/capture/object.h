/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* object.h - the BPF objects that are built into the program, by name. */
#ifndef CT_CAPTURE_OBJECT_H
#define CT_CAPTURE_OBJECT_H

#include <bpf/libbpf.h>
#include <stddef.h>

/**
 * ct_object__open - open (not load) the object called @name: "calibrate", or a hook's name.
 * NULL with errno set: ENOENT for a name there is none of. Close with bpf_object__close.
 */
struct bpf_object *ct_object__open(const char *name);

/**
 * ct_object__control - map the object's .data.control, of @len bytes, to be shared with the
 * running programs. NULL with errno set. Unmap with munmap.
 */
volatile void *ct_object__control(struct bpf_object *object, size_t len);

/** struct ct_object_bss - .bss, shared with the running programs. */
struct ct_object_bss {
	struct bpf_object *object;
	void *at;
	size_t len;
};

/** ct_object__bss - map .bss. Return: 0 or -errno. Unmap at with munmap. */
int ct_object__bss(struct bpf_object *object, struct ct_object_bss *bss);
/** ct_object__variable - the variable @name, of @len bytes, in @bss. NULL with errno set. */
void *ct_object__variable(const struct ct_object_bss *bss, const char *name, size_t len);

/** ct_object__run_iter - let the iterator behind @link run once over all tasks. 0 or -errno. */
int ct_object__run_iter(const struct bpf_link *link);

#endif /* CT_CAPTURE_OBJECT_H */
