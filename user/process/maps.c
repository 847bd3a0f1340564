/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * maps.c - the text of /proc/PID/maps made a sorted list of mappings.
 *
 * The text is kept in one block and cut in place: paths point into it. Whatever does not parse is
 * left out line by line, so a hostile or half-read text costs only its own lines. The kernel gives
 * the text a page at a time and the process maps memory meanwhile, so two lines may overlap: the
 * later one loses what the earlier one has.
 */
#include "process/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CT_MAPS_TEXT_MAX (512ul << 20) /* bytes; 65,530 mappings of 100 bytes are 6 MiB */

static const char ct_deleted[] = " (deleted)";

/** A number of @base (10 or 16) at *@text, up to @end; false if there is none or it is too big. */
static bool ct_parse_number(const char **text, const char *end, unsigned int base, uint64_t *number)
{
	const char *p = *text;
	uint64_t value = 0;

	for (; p < end; p++) {
		unsigned int digit;

		if (*p >= '0' && *p <= '9')
			digit = (unsigned int)(*p - '0');
		else if (base == 16 && *p >= 'a' && *p <= 'f')
			digit = (unsigned int)(*p - 'a') + 10;
		else
			break;
		if (value > (UINT64_MAX - digit) / base)
			return false;
		value = value * base + digit;
	}
	if (p == *text)
		return false;
	*text = p;
	*number = value;
	return true;
}

static bool ct_parse_char(const char **text, const char *end, char c)
{
	if (*text >= end || **text != c)
		return false;
	(*text)++;
	return true;
}

static bool ct_parse_flags(const char **text, const char *end, struct ct_mapping *m)
{
	static const char *const allowed[] = { "r-", "w-", "x-", "sp" };
	const char *p = *text;

	if (end - p < 4)
		return false;
	for (int i = 0; i < 4; i++)
		if (p[i] != allowed[i][0] && p[i] != allowed[i][1])
			return false;
	m->readable = p[0] == 'r';
	m->writable = p[1] == 'w';
	m->executable = p[2] == 'x';
	m->shared = p[3] == 's';
	*text += 4;
	return true;
}

/** The kernel writes a newline in a path as \012, and escapes nothing else. */
static void ct_unescape_newlines(char *path)
{
	char *to = path;

	for (const char *from = path; *from; to++) {
		if (!strncmp(from, "\\012", 4)) {
			*to = '\n';
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

static void ct_parse_path(char *path, struct ct_mapping *m)
{
	size_t len = strlen(path), cut = sizeof(ct_deleted) - 1;
	const char *slash;

	if (len > cut && path[0] == '/' && !strcmp(path + len - cut, ct_deleted)) {
		path[len - cut] = '\0';
		m->deleted = true;
	}
	ct_unescape_newlines(path);
	m->path = path;
	slash = path[0] == '/' ? strrchr(path, '/') : NULL;
	m->object = slash ? slash + 1 : path;
}

static bool ct_has_prefix(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static enum ct_mapping_kind ct_kind_of(const struct ct_mapping *m)
{
	if (m->shared)
		return CT_MAPPING_SHARED;
	if (!m->path[0] || ct_has_prefix(m->path, "[anon:"))
		return CT_MAPPING_ANON;
	if (!strcmp(m->path, "[heap]"))
		return CT_MAPPING_HEAP;
	if (ct_has_prefix(m->path, "[stack"))
		return CT_MAPPING_STACK;
	if (m->path[0] == '[')
		return CT_MAPPING_SPECIAL;
	/* files by name only: the kernel makes their private mappings anonymous memory */
	if (!strcmp(m->path, "/dev/zero") || (m->deleted && !strcmp(m->path, "/anon_hugepage")))
		return CT_MAPPING_ANON;
	return CT_MAPPING_FILE;
}

/** One line, [@line, @end), terminated by a NUL at @end. */
static bool ct_parse_line(char *line, const char *end, struct ct_mapping *m)
{
	uint64_t major_id, minor_id;
	const char *p = line;

	*m = (struct ct_mapping){ 0 };
	if (!ct_parse_number(&p, end, 16, &m->start) || !ct_parse_char(&p, end, '-') ||
	    !ct_parse_number(&p, end, 16, &m->end) || !ct_parse_char(&p, end, ' ') ||
	    !ct_parse_flags(&p, end, m) || !ct_parse_char(&p, end, ' ') ||
	    !ct_parse_number(&p, end, 16, &m->offset) || !ct_parse_char(&p, end, ' ') ||
	    !ct_parse_number(&p, end, 16, &major_id) || !ct_parse_char(&p, end, ':') ||
	    !ct_parse_number(&p, end, 16, &minor_id) || !ct_parse_char(&p, end, ' ') ||
	    !ct_parse_number(&p, end, 10, &m->inode))
		return false;
	if (m->start >= m->end || (p < end && *p != ' ') || major_id > UINT_MAX ||
	    minor_id > UINT_MAX)
		return false;
	m->device = makedev((unsigned int)major_id, (unsigned int)minor_id);
	while (p < end && *p == ' ')
		p++;
	ct_parse_path(line + (p - line), m);
	m->kind = ct_kind_of(m);
	return true;
}

static int ct_compare_start(const void *a, const void *b)
{
	const struct ct_mapping *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/** Sort, and cut overlaps off the later mapping. */
static void ct_maps_order(struct ct_maps *maps)
{
	size_t kept = 0;

	if (!maps->count)
		return;
	qsort(maps->list, maps->count, sizeof(*maps->list), ct_compare_start);
	for (size_t i = 0; i < maps->count; i++) {
		struct ct_mapping *m = &maps->list[i];
		ct_raddr_t floor = kept ? maps->list[kept - 1].end : 0;

		if (m->end <= floor)
			continue;
		if (m->start < floor) {
			m->offset += m->inode ? floor - m->start : 0;
			m->start = floor;
		}
		maps->list[kept++] = *m;
	}
	maps->count = kept;
}

static bool ct_is_same_file(const struct ct_mapping *a, const struct ct_mapping *b)
{
	return a->device == b->device && a->inode == b->inode;
}

/** Index of the first mapping of the file of mapping @i; entered in @seen (index + 1) if new. */
static uint32_t ct_maps_module(const struct ct_maps *maps, struct ct_map *seen, size_t i)
{
	const struct ct_mapping *m = &maps->list[i];
	uint64_t key = m->inode + m->device * 0x9e3779b97f4a7c15ull;

	/* the key is a hash: step over another file that has the same one */
	for (;; key++) {
		uint64_t *first = ct_map__at(seen, key);

		if (!first)
			return (uint32_t)i; /* out of memory: a module of its own */
		if (!*first)
			*first = i + 1;
		if (ct_is_same_file(&maps->list[*first - 1], m))
			return (uint32_t)(*first - 1);
	}
}

/*
 * The loader maps a module's data from the file and the rest of that segment (.bss) as anonymous
 * memory right behind it.
 */
static bool ct_is_bss(const struct ct_mapping *m, const struct ct_mapping *before)
{
	return m->kind == CT_MAPPING_ANON && m->readable && m->writable && !m->inode &&
	       (!m->path[0] || !strcmp(m->path, "[anon:.bss]")) &&
	       before->kind == CT_MAPPING_FILE && before->writable && before->end == m->start;
}

static void ct_maps_join(struct ct_maps *maps)
{
	struct ct_map seen = { 0 };

	for (size_t i = 0; i < maps->count; i++) {
		struct ct_mapping *m = &maps->list[i];

		m->module = m->inode ? ct_maps_module(maps, &seen, i) : (uint32_t)i;
		if (i && ct_is_bss(m, &maps->list[i - 1])) {
			m->kind = CT_MAPPING_BSS;
			m->module = maps->list[i - 1].module;
			m->object = maps->list[i - 1].object;
		}
	}
	ct_map__free(&seen);
}

/** Takes @text (len bytes and room for one more), whatever happens. */
static struct ct_maps *ct_maps_take(char *text, size_t len, pid_t pid)
{
	struct ct_maps *maps = calloc(1, sizeof(*maps));
	size_t lines = 1;

	if (!maps) {
		free(text);
		errno = ENOMEM;
		return NULL;
	}
	*maps = (struct ct_maps){ .pid = pid, .references = 1, .text = text };
	text[len] = '\0';
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	/* a mapping's index is 32 bits wide; no line that parses is shorter than 20 bytes */
	maps->list = calloc(lines, sizeof(*maps->list));
	if (!maps->list) {
		ct_maps__put(maps);
		errno = ENOMEM;
		return NULL;
	}
	for (char *line = text, *end; line < text + len; line = end + 1) {
		end = memchr(line, '\n', (size_t)(text + len - line));
		if (!end)
			end = text + len;
		*end = '\0';
		if (ct_parse_line(line, end, &maps->list[maps->count]))
			maps->count++;
	}
	ct_maps_order(maps);
	ct_maps_join(maps);
	return maps;
}

struct ct_maps *ct_maps__parse(const char *text, size_t len, pid_t pid)
{
	char *copy = len < CT_MAPS_TEXT_MAX ? malloc(len + 1) : NULL;

	if (!copy) {
		errno = ENOMEM;
		return NULL;
	}
	if (len)
		memcpy(copy, text, len);
	return ct_maps_take(copy, len, pid);
}

/** All that @fd gives, in one block with room for a byte more; NULL with errno set. */
static char *ct_read_all(int fd, size_t *len)
{
	size_t capacity = 64ul * 1024;
	char *text = malloc(capacity);

	for (*len = 0; text;) {
		ssize_t n = read(fd, text + *len, capacity - *len - 1);
		char *bigger;

		if (n < 0 && errno == EINTR)
			continue;
		/* memory that is torn down while we read gives ESRCH: as good as its end */
		if (n == 0 || (n < 0 && errno == ESRCH))
			return text;
		if (n < 0)
			break;
		*len += (size_t)n;
		if (capacity - *len > 8192)
			continue;
		capacity *= 2;
		bigger = capacity <= CT_MAPS_TEXT_MAX ? realloc(text, capacity) : NULL;
		if (!bigger) {
			errno = ENOMEM;
			break;
		}
		text = bigger;
	}
	free(text);
	return NULL;
}

struct ct_maps *ct_maps__read(pid_t pid)
{
	char path[64], *text;
	size_t len;
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ENOENT)
			errno = ESRCH;
		return NULL;
	}
	text = ct_read_all(fd, &len);
	err = errno;
	close(fd);
	if (!text) {
		errno = err;
		return NULL;
	}
	return ct_maps_take(text, len, pid);
}

struct ct_maps *ct_maps__get(struct ct_maps *maps)
{
	if (maps)
		maps->references++;
	return maps;
}

void ct_maps__put(struct ct_maps *maps)
{
	if (!maps || --maps->references)
		return;
	ct_map__free(&maps->writers);
	free(maps->list);
	free(maps->text);
	free(maps);
}

const struct ct_mapping *ct_maps__find(const struct ct_maps *maps, ct_raddr_t addr)
{
	const struct ct_mapping *m = maps->list;
	size_t count = maps->count;

	if (!count)
		return NULL;
	/* the first that ends behind @addr; the multiply keeps the compiler from branching, which
	 * would be mispredicted every other time */
	while (count > 1) {
		size_t half = count / 2;

		m += half * (m[half - 1].end <= addr);
		count -= half;
	}
	return m->start <= addr && addr < m->end ? m : NULL;
}
