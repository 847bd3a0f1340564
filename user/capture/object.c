/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * object.c - the only file that includes the generated skeletons, and of them it takes just the
 * ELF bytes: all hooks have the same maps and are driven by the same code.
 */
#include "capture/object.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/types.h"

/* struct members of the skeletons that these are used with are declared here */
#include <linux/types.h>

#include "ct_abi.h"
#include "ct_config.h"
#include "ct_slot.h"

#include "calibrate.skel.h"
#include "fexit.skel.h"
#include "kprobe.skel.h"
#include "tracepoint.skel.h"

static const struct {
	const char *name;
	const void *(*bytes)(size_t *len);
} ct_objects[] = {
	{ "calibrate", calibrate__elf_bytes },
	{ "fexit", fexit__elf_bytes },
	{ "kprobe", kprobe__elf_bytes },
	{ "tracepoint", tracepoint__elf_bytes },
};

static int ct_libbpf_print(enum libbpf_print_level level, const char *fmt, va_list args)
{
	static char text[64 * 1024]; /* a verifier log: what it ends in is what matters */
	size_t len;

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(text, sizeof(text), fmt, args);
	len = strlen(text);
	while (len && text[len - 1] == '\n')
		text[--len] = '\0';
	ct_debug("%s", len > 1800 ? text + len - 1800 : text);
	return 0;
}

struct bpf_object *ct_object__open(const char *name)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = name);

	libbpf_set_print(ct_libbpf_print);
	for (size_t i = 0; i < CT_ARRAY_SIZE(ct_objects); i++) {
		const void *bytes;
		size_t len;

		if (strcmp(ct_objects[i].name, name))
			continue;
		bytes = ct_objects[i].bytes(&len);
		return bpf_object__open_mem(bytes, len, &opts);
	}
	errno = ENOENT;
	return NULL;
}

volatile void *ct_object__control(struct bpf_object *object, size_t len)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, ".data.control");
	void *at;

	if (!map || bpf_map__value_size(map) < len) {
		errno = EINVAL;
		return NULL;
	}
	at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	return at == MAP_FAILED ? NULL : at;
}

int ct_object__bss(struct bpf_object *object, struct ct_object_bss *bss)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, ".bss");

	bss->object = object;
	bss->len = map ? bpf_map__value_size(map) : 0;
	bss->at =
		map ? mmap(NULL, bss->len, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0)
		    : MAP_FAILED;
	if (bss->at != MAP_FAILED)
		return 0;
	bss->at = NULL;
	return map ? -errno : -EINVAL;
}

void *ct_object__variable(const struct ct_object_bss *bss, const char *name, size_t len)
{
	const struct btf *btf = bpf_object__btf(bss->object);
	int id = btf ? btf__find_by_name_kind(btf, ".bss", BTF_KIND_DATASEC) : -ENOENT;
	const struct btf_type *section = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;

	for (uint16_t i = 0; section && i < btf_vlen(section); i++) {
		const struct btf_var_secinfo *info = btf_var_secinfos(section) + i;
		const struct btf_type *variable = btf__type_by_id(btf, info->type);

		if (strcmp(btf__name_by_offset(btf, variable->name_off), name))
			continue;
		if (info->size != len || info->offset + len > bss->len)
			break;
		return (char *)bss->at + info->offset;
	}
	errno = EINVAL;
	return NULL;
}

int ct_object__run_iter(const struct bpf_link *link)
{
	int fd = bpf_iter_create(bpf_link__fd(link));
	char drain[64];
	ssize_t n;

	if (fd < 0)
		return -errno;
	do {
		n = read(fd, drain, sizeof(drain));
	} while (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)));
	n = n < 0 ? -errno : 0;
	close(fd);
	return (int)n;
}
