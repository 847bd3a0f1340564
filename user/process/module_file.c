/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * module_file.c - a mapping's path made an open file, in the mount namespace of the process.
 *
 * The file system under /proc/PID/root is the target's to arrange: a symbolic link in it must
 * not lead into ours (openat2 with RESOLVE_IN_ROOT), and what lies at the path may be a fifo or a
 * device, whose mere opening blocks or acts. So a path is opened with O_PATH first, looked at,
 * and only a regular file, the right one, is opened for reading.
 */
#include "process/module_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CT_DEBUG_FOLDER	 "/usr/lib/debug"
#define CT_DEBUG_LEN_MAX (2ll << 30) /* for the checksum all of it is read */

/** How much of a file's identity must be that of the mapping. */
enum ct_identity {
	CT_ID_NONE,   /* any regular file */
	CT_ID_INODE,  /* the inode number: reached by a way that leads to no other file */
	CT_ID_LAYERS, /* the inode number, where stat and maps need not agree on the device */
	CT_ID_FULL,   /* device and inode number */
};

static bool ct_is_file_of(const struct stat *st, const struct ct_mapping *mapping,
			  enum ct_identity need)
{
	if (!S_ISREG(st->st_mode))
		return false;
	if (need == CT_ID_NONE)
		return true;
	if (st->st_ino != mapping->inode)
		return false;
	/* btrfs and overlayfs show devices without a major number, another in maps than in stat */
	return need == CT_ID_INODE || st->st_dev == mapping->device ||
	       (need == CT_ID_LAYERS && (!major(st->st_dev) || !major(mapping->device)));
}

/** Open for reading what an O_PATH descriptor stands for; closes @path_fd. */
static int ct_reopen(int path_fd)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	close(path_fd);
	return fd;
}

/** @path below the folder @root_fd, with no way out of it, as O_PATH. -1 if there is none. */
static int ct_open_below(int root_fd, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

	/* before 5.6, or forbidden by a seccomp filter that does not know it */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = openat(root_fd, path + strspn(path, "/"), O_PATH | O_CLOEXEC | O_NOFOLLOW);
	return fd;
}

/** The root folder of @pid; of ourselves with @pid 0. */
static int ct_open_root(pid_t pid)
{
	char path[64] = "/";

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/** The file of an O_PATH descriptor to read, if it is the right one; closes @path_fd. */
static int ct_open_checked(int path_fd, const struct ct_mapping *mapping, enum ct_identity need)
{
	struct stat st;

	if (path_fd < 0)
		return -1;
	if (!fstat(path_fd, &st) && ct_is_file_of(&st, mapping, need))
		return ct_reopen(path_fd);
	close(path_fd);
	return -1;
}

/** A regular file by path under the root of @pid, opened to read. */
static int ct_open_file(pid_t pid, const char *path, const struct ct_mapping *mapping,
			enum ct_identity need)
{
	int root = ct_open_root(pid), fd;

	if (root < 0)
		return -1;
	fd = ct_open_below(root, path);
	close(root);
	return ct_open_checked(fd, mapping, need);
}

static int ct_open_map_file(pid_t pid, const struct ct_mapping *mapping)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", (int)pid,
		 (unsigned long long)mapping->start, (unsigned long long)mapping->end);
	return ct_open_checked(open(path, O_PATH | O_CLOEXEC), mapping, CT_ID_INODE);
}

int ct_module_file__open(const struct ct_maps *maps, const struct ct_mapping *mapping)
{
	bool has_path = mapping->path[0] == '/' && !mapping->deleted;
	int fd = -1;

	if (!mapping->inode)
		return -1;
	if (has_path)
		fd = ct_open_file(maps->pid, mapping->path, mapping, CT_ID_FULL);
	if (fd < 0 && has_path)
		fd = ct_open_file(0, mapping->path, mapping, CT_ID_FULL);
	if (fd < 0)
		fd = ct_open_map_file(maps->pid, mapping);
	if (fd < 0 && has_path)
		fd = ct_open_file(maps->pid, mapping->path, mapping, CT_ID_LAYERS);
	return fd;
}

/** The checksum of a .gnu_debuglink: CRC-32 as in gzip. */
static bool ct_crc32_is(int fd, uint32_t expected)
{
	uint32_t table[256], crc = UINT32_MAX;
	uint8_t buf[65536];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) || st.st_size > CT_DEBUG_LEN_MAX)
		return false;
	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
	}
	for (off_t at = 0; at < CT_DEBUG_LEN_MAX; at += n) {
		n = pread(fd, buf, sizeof(buf), at);
		if (n <= 0)
			return n == 0 && (crc ^ UINT32_MAX) == expected;
		for (ssize_t i = 0; i < n; i++)
			crc = crc >> 8 ^ table[(crc ^ buf[i]) & 0xff];
	}
	return false;
}

/** Merge the debug file at @path, if it is there and the right one. */
static bool ct_try_debug(pid_t pid, const char *path, struct ct_elf *elf, bool by_id)
{
	int fd = ct_open_file(pid, path, NULL, CT_ID_NONE);
	bool found;

	if (fd < 0)
		return false;
	found = (by_id || ct_crc32_is(fd, elf->debuglink_crc)) && ct_elf__merge(elf, fd, by_id);
	close(fd);
	return found;
}

static bool ct_debug_by_id(pid_t pid, struct ct_elf *elf)
{
	char path[sizeof(CT_DEBUG_FOLDER) + 2ul * CT_BUILD_ID_MAX + 32];
	int len;

	if (elf->build_id_len < 2)
		return false;
	len = snprintf(path, sizeof(path), CT_DEBUG_FOLDER "/.build-id/%02x/", elf->build_id[0]);
	for (size_t i = 1; i < elf->build_id_len; i++)
		len += snprintf(path + len, sizeof(path) - (size_t)len, "%02x", elf->build_id[i]);
	snprintf(path + len, sizeof(path) - (size_t)len, ".debug");
	return ct_try_debug(pid, path, elf, true);
}

static bool ct_debug_by_link(pid_t pid, const struct ct_mapping *mapping, struct ct_elf *elf)
{
	int folder_len = (int)(mapping->object - mapping->path);
	const char *const formats[] = { "%.*s%s", "%.*s.debug/%s", CT_DEBUG_FOLDER "%.*s%s" };

	if (!elf->debuglink[0] || mapping->path[0] != '/')
		return false;
	for (size_t i = 0; i < CT_ARRAY_SIZE(formats); i++) {
		char *path = NULL;
		bool found;

		if (asprintf(&path, formats[i], folder_len, mapping->path, elf->debuglink) < 0)
			return false;
		found = ct_try_debug(pid, path, elf, false);
		free(path);
		if (found)
			return true;
	}
	return false;
}

void ct_module_file__add_debug(const struct ct_maps *maps, const struct ct_mapping *mapping,
			       struct ct_elf *elf)
{
	const pid_t roots[] = { maps->pid, 0 };

	if (elf->complete)
		return;
	for (size_t i = 0; i < CT_ARRAY_SIZE(roots); i++)
		if (ct_debug_by_id(roots[i], elf) || ct_debug_by_link(roots[i], mapping, elf))
			return;
}
