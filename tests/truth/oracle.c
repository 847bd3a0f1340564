/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * oracle.c - turns /proc/PID/{maps,pagemap} and taskstats into counts of copies, to judge
 * cowtrace by. Nothing here traces anything.
 *
 * Page frames: a page that was anonymous before and has another frame now was copied. A page of a
 * private file mapping that is anonymous now and was not before was copied from the file. A page
 * can be copied once between two forks of its process, so summing over those intervals is exact.
 *
 * WPCOPY: struct taskstats changes its layout from version to version, even in the middle, so the
 * offset of wpcopy_count comes from the running kernel's BTF.
 */
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/taskstats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PM_PRESENT  (1ULL << 63)
#define PM_FILE	    (1ULL << 61) /* file page or shared anonymous: nothing copied yet */
#define PM_PFN_MASK ((1ULL << 55) - 1)
#define KPF_HUGE    17
#define KPF_KSM	    21
#define MAX_PAGES   (1UL << 24) /* of one mapping: 64 GiB */

enum page_class { PAGE_NONE = 0, PAGE_ZERO, PAGE_FILE, PAGE_ANON, PAGE_KSM, PAGE_HUGETLB };

struct page {
	uint64_t pfn : 56;
	uint64_t class : 8;
};

struct mapping {
	uint64_t start, end;
	bool file;
	struct page *pages;
};

struct oracle_snapshot {
	int refs;
	int n;
	struct mapping *maps;
};

/* ---- page frames ---- */

static uint64_t zero_pfn(void)
{
	static uint64_t pfn;
	volatile char *page;
	uint64_t entry = 0;
	int fd;

	if (pfn)
		return pfn;
	page = mmap(NULL, TRUTH_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return 0;
	(void)page[0];
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		off_t at = (off_t)((uintptr_t)page / TRUTH_PAGE * 8);

		if (pread(fd, &entry, 8, at) == 8 && (entry & PM_PRESENT))
			pfn = entry & PM_PFN_MASK;
		close(fd);
	}
	munmap((void *)page, TRUTH_PAGE);
	return pfn;
}

static enum page_class classify(uint64_t entry, int flags_fd)
{
	uint64_t flags = 0, pfn = entry & PM_PFN_MASK;

	if (!(entry & PM_PRESENT))
		return PAGE_NONE;
	if (entry & PM_FILE)
		return PAGE_FILE;
	if (pfn == zero_pfn())
		return PAGE_ZERO;
	if (flags_fd < 0 || pread(flags_fd, &flags, 8, (off_t)(pfn * 8)) != 8)
		return PAGE_ANON;
	if (flags & (1ULL << KPF_HUGE))
		return PAGE_HUGETLB;
	return flags & (1ULL << KPF_KSM) ? PAGE_KSM : PAGE_ANON;
}

/* Kernels from 6.9 or so to 6.15 say KSM of every anonymous page (stable_page_flags). */
static bool flags_call_all_ksm(int flags_fd)
{
	static int verdict = -1;
	uint64_t entry = 0, flags = 0;
	char *page;
	int fd;

	if (verdict >= 0)
		return verdict;
	page = mmap(NULL, TRUTH_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (page != MAP_FAILED && fd >= 0) {
		*(volatile char *)page = 1;
		if (pread(fd, &entry, 8, (off_t)((uintptr_t)page / TRUTH_PAGE * 8)) == 8 &&
		    pread(flags_fd, &flags, 8, (off_t)((entry & PM_PFN_MASK) * 8)) == 8)
			verdict = flags >> KPF_KSM & 1;
	}
	if (fd >= 0)
		close(fd);
	if (page != MAP_FAILED)
		munmap(page, TRUTH_PAGE);
	return verdict == 1;
}

static int by_pfn(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Where flags call all pages KSM: it is one if the frame is there twice in the mapping. */
static int keep_true_ksm(struct mapping *map, size_t n)
{
	uint64_t *pfns = calloc(n, sizeof(*pfns)), *found;

	if (!pfns)
		return -1;
	for (size_t i = 0; i < n; i++)
		pfns[i] = map->pages[i].pfn;
	qsort(pfns, n, sizeof(*pfns), by_pfn);
	for (size_t i = 0; i < n; i++) {
		uint64_t pfn = map->pages[i].pfn;

		if (map->pages[i].class != PAGE_KSM)
			continue;
		found = bsearch(&pfn, pfns, n, sizeof(*pfns), by_pfn);
		if (!(found > pfns && found[-1] == pfn) &&
		    !(found < pfns + n - 1 && found[1] == pfn))
			map->pages[i].class = PAGE_ANON;
	}
	free(pfns);
	return 0;
}

static int read_pages(struct mapping *map, int pagemap_fd, int flags_fd)
{
	uint64_t entries[512];
	size_t n = (map->end - map->start) / TRUTH_PAGE;

	if (n > MAX_PAGES) {
		errno = EFBIG;
		return -1;
	}
	map->pages = calloc(n, sizeof(*map->pages));
	if (!map->pages)
		return -1;
	for (size_t i = 0; i < n; i += 512) {
		size_t want = n - i < 512 ? n - i : 512;
		off_t at = (off_t)((map->start / TRUTH_PAGE + i) * 8);

		if (pread(pagemap_fd, entries, want * 8, at) != (ssize_t)(want * 8))
			return -1;
		for (size_t k = 0; k < want; k++) {
			enum page_class class = classify(entries[k], flags_fd);

			map->pages[i + k].class = class;
			map->pages[i + k].pfn = class == PAGE_NONE ? 0 : entries[k] & PM_PFN_MASK;
		}
	}
	return flags_fd >= 0 && flags_call_all_ksm(flags_fd) ? keep_true_ksm(map, n) : 0;
}

/* One line of maps; only private memory of the process itself is of interest. */
static int add_mapping(struct oracle_snapshot *s, const char *line, int pagemap_fd, int flags_fd)
{
	unsigned long start, end, inode;
	char perms[5], name[8] = "";
	struct mapping *grown;

	if (sscanf(line, "%lx-%lx %4s %*x %*x:%*x %lu %7s", &start, &end, perms, &inode, name) < 4)
		return 0;
	if (perms[3] != 'p' || !strncmp(name, "[v", 2)) /* [vdso] [vvar] [vsyscall] */
		return 0;
	grown = realloc(s->maps, (size_t)(s->n + 1) * sizeof(*grown));
	if (!grown)
		return -1;
	s->maps = grown;
	s->maps[s->n] = (struct mapping){ .start = start, .end = end, .file = inode != 0 };
	return read_pages(&s->maps[s->n++], pagemap_fd, flags_fd);
}

struct oracle_snapshot *oracle_snapshot__none(void)
{
	struct oracle_snapshot *s = calloc(1, sizeof(*s));

	if (s)
		s->refs = 1;
	return s;
}

struct oracle_snapshot *oracle_snapshot__take(pid_t pid, bool page_flags)
{
	struct oracle_snapshot *s = oracle_snapshot__none();
	char path[64], line[512];
	int pagemap_fd, flags_fd = -1, err = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	if (page_flags)
		flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (!s || pagemap_fd < 0 || !maps || (page_flags && flags_fd < 0) || !zero_pfn())
		err = errno ? errno : EPERM;
	while (!err && fgets(line, sizeof(line), maps))
		if (add_mapping(s, line, pagemap_fd, flags_fd))
			err = errno ? errno : EIO;
	if (maps)
		fclose(maps);
	if (pagemap_fd >= 0)
		close(pagemap_fd);
	if (flags_fd >= 0)
		close(flags_fd);
	if (err) {
		oracle_snapshot__put(s);
		errno = err;
		return NULL;
	}
	return s;
}

struct oracle_snapshot *oracle_snapshot__get(struct oracle_snapshot *snapshot)
{
	if (snapshot)
		snapshot->refs++;
	return snapshot;
}

void oracle_snapshot__put(struct oracle_snapshot *snapshot)
{
	if (!snapshot || --snapshot->refs)
		return;
	for (int i = 0; i < snapshot->n; i++)
		free(snapshot->maps[i].pages);
	free(snapshot->maps);
	free(snapshot);
}

long oracle_snapshot__ksm_pages(const struct oracle_snapshot *snapshot)
{
	long n = 0;

	for (int m = 0; m < snapshot->n; m++) {
		const struct mapping *map = &snapshot->maps[m];

		for (size_t i = 0; i < (map->end - map->start) / TRUTH_PAGE; i++)
			n += map->pages[i].class == PAGE_KSM;
	}
	return n;
}

/* Both lists ascend, so *hint only moves forward. */
static struct page page_at(const struct oracle_snapshot *s, uint64_t address, int *hint)
{
	while (*hint < s->n && s->maps[*hint].end <= address)
		++*hint;
	if (*hint == s->n || s->maps[*hint].start > address)
		return (struct page){ 0 };
	return s->maps[*hint].pages[(address - s->maps[*hint].start) / TRUTH_PAGE];
}

static void count_change(struct oracle_counts *counts, int64_t *hugetlb_4k, enum page_class before)
{
	switch (before) {
	case PAGE_ANON:
		counts->copy++;
		break;
	case PAGE_KSM:
		counts->copy_ksm++;
		break;
	case PAGE_HUGETLB:
		++*hugetlb_4k;
		break;
	case PAGE_ZERO:
		counts->zero_fill++;
		break;
	case PAGE_NONE:
	case PAGE_FILE:
		counts->copy_file++;
		break;
	}
}

static bool was_copied(const struct mapping *map, struct page was, struct page is)
{
	if (is.class == PAGE_HUGETLB) /* has a file even where it is anonymous */
		return was.class == PAGE_HUGETLB && was.pfn != is.pfn;
	if (is.class != PAGE_ANON)
		return false; /* gone, or untouched, or merged */
	if (was.class == PAGE_NONE || was.class == PAGE_FILE)
		return map->file; /* first touch of anonymous memory copies nothing */
	return was.pfn != is.pfn;
}

static int64_t hugetlb_4k_pages(void)
{
	unsigned long kib = 2048;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Hugepagesize: %lu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return (int64_t)(kib / 4);
}

void oracle_compare(const struct oracle_snapshot *before, const struct oracle_snapshot *after,
		    struct oracle_counts *counts, struct oracle_range *ranges, int n_ranges)
{
	int64_t hugetlb_4k = 0;
	int hint = 0;

	for (int m = 0; m < after->n; m++) {
		const struct mapping *map = &after->maps[m];

		for (uint64_t a = map->start; a < map->end; a += TRUTH_PAGE) {
			struct page was = page_at(before, a, &hint);
			struct page is = map->pages[(a - map->start) / TRUTH_PAGE];

			if (!was_copied(map, was, is))
				continue;
			count_change(counts, &hugetlb_4k, was.class);
			for (int r = 0; r < n_ranges && was.class != PAGE_ZERO; r++)
				if (a >= ranges[r].start && a < ranges[r].end)
					ranges[r].changed++;
		}
	}
	if (hugetlb_4k)
		counts->copy_hugetlb += hugetlb_4k / hugetlb_4k_pages();
}

/* ---- WPCOPY ---- */

struct btf_head { /* linux/btf.h: struct btf_header */
	uint16_t magic;
	uint8_t version, flags;
	uint32_t hdr_len, type_off, type_len, str_off, str_len;
};

struct btf_item { /* linux/btf.h: struct btf_type */
	uint32_t name, info, size;
};

/* Bytes that follow a struct btf_item, by kind (linux/btf.h BTF_KIND_*); -1: unknown kind. */
static int btf_extra(uint32_t info)
{
	static const signed char fixed[20] = { [1] = 4, [3] = 12, [14] = 4, [17] = 4 };
	static const signed char each[20] = {
		[4] = 12, [5] = 12, [6] = 8, [13] = 8, [15] = 12, [19] = 12
	};
	uint32_t kind = (info >> 24) & 31, members = info & 0xffff;

	return kind < 20 ? fixed[kind] + each[kind] * (int)members : -1;
}

/* Byte offset of @member in struct @name of a BTF blob, or -1. */
static long btf_offset(const char *btf, size_t len, const char *name, const char *member)
{
	const struct btf_head *head = (const void *)btf;
	const char *p, *end, *strings;

	if (len < sizeof(*head) || head->magic != 0xeb9f ||
	    (size_t)head->hdr_len + head->str_off + head->str_len > len ||
	    (size_t)head->hdr_len + head->type_off + head->type_len > len)
		return -1;
	strings = btf + head->hdr_len + head->str_off;
	p = btf + head->hdr_len + head->type_off;
	end = p + head->type_len;
	while (p + sizeof(struct btf_item) <= end) {
		const struct btf_item *t = (const void *)p;
		const uint32_t *m = (const void *)(t + 1); /* name, type, offset in bits */
		int extra = btf_extra(t->info);

		if (extra < 0)
			return -1;
		if (((t->info >> 24) & 31) == 4 && !strcmp(strings + t->name, name))
			for (uint32_t i = 0; i < (t->info & 0xffff); i++, m += 3)
				if (!strcmp(strings + m[0], member))
					return (long)((t->info >> 31 ? m[2] & 0xffffff : m[2]) / 8);
		p += sizeof(*t) + (size_t)extra;
	}
	return -1;
}

/* A file of /sys has no true size to mmap: read it whole. */
static char *read_whole(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t room = 32u << 20;
	char *text = fd < 0 ? NULL : malloc(room);
	ssize_t n;

	*len = 0;
	while (text && *len < room && (n = read(fd, text + *len, room - *len)) > 0)
		*len += (size_t)n;
	if (fd >= 0)
		close(fd);
	return text;
}

/* A copy during which the kernel's clock stood still is not counted, and the clock does stand
 * still where the kernel has given up the TSC (as it may under emulation). */
static bool clock_is_coarse(void)
{
	static const char path[] = "/sys/devices/system/clocksource/clocksource0/"
				   "current_clocksource";
	char name[32] = "";
	FILE *f = fopen(path, "re");

	if (f && !fgets(name, sizeof(name), f))
		name[0] = 0;
	if (f)
		fclose(f);
	name[strcspn(name, "\n")] = 0;
	return !strcmp(name, "hpet") || !strcmp(name, "acpi_pm") || !strcmp(name, "jiffies");
}

static long wpcopy_offset(void)
{
	static long offset = -2;
	size_t len;
	char *btf;

	if (offset != -2)
		return offset;
	btf = read_whole("/sys/kernel/btf/vmlinux", &len);
	offset = -1;
	if (btf && !clock_is_coarse())
		offset = btf_offset(btf, len, "taskstats", "wpcopy_count");
	free(btf);
	return offset;
}

struct genl_message {
	struct nlmsghdr nl;
	struct genlmsghdr genl;
	char attrs[4096];
};

static struct nlattr *find_attr(char *attrs, size_t len, uint16_t type)
{
	while (len >= NLA_HDRLEN) {
		struct nlattr *a = (void *)attrs;
		size_t step = NLA_ALIGN(a->nla_len);

		if (a->nla_len < NLA_HDRLEN || a->nla_len > len)
			return NULL;
		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
		if (step >= len)
			return NULL;
		attrs += step;
		len -= step;
	}
	return NULL;
}

/* Ask once; the answer replaces @msg. Return: bytes of attributes, or -1 with errno. */
static ssize_t genl_ask(int fd, struct genl_message *msg, uint16_t family, uint8_t cmd,
			uint16_t attr_type, const void *value, uint16_t value_len)
{
	struct nlattr *attr = (void *)msg->attrs;
	ssize_t n;

	memset(msg, 0, sizeof(*msg));
	attr->nla_type = attr_type;
	attr->nla_len = (uint16_t)(NLA_HDRLEN + value_len);
	memcpy(msg->attrs + NLA_HDRLEN, value, value_len);
	msg->genl.cmd = cmd;
	msg->genl.version = 1;
	msg->nl.nlmsg_type = family;
	msg->nl.nlmsg_flags = NLM_F_REQUEST;
	msg->nl.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + GENL_HDRLEN + NLA_ALIGN(attr->nla_len));
	if (send(fd, msg, msg->nl.nlmsg_len, 0) < 0)
		return -1;
	n = recv(fd, msg, sizeof(*msg), 0);
	if (n < (ssize_t)(NLMSG_HDRLEN + GENL_HDRLEN) || msg->nl.nlmsg_type == NLMSG_ERROR) {
		struct nlmsgerr *e = (void *)((char *)msg + NLMSG_HDRLEN);

		errno = n >= (ssize_t)(NLMSG_HDRLEN + sizeof(e->error)) ? -e->error : EPROTO;
		return -1;
	}
	return n - (ssize_t)(NLMSG_HDRLEN + GENL_HDRLEN);
}

static int taskstats_socket(uint16_t *family)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	struct genl_message msg;
	struct nlattr *id;
	ssize_t n;

	if (fd < 0)
		return -1;
	n = genl_ask(fd, &msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME,
		     TASKSTATS_GENL_NAME, sizeof(TASKSTATS_GENL_NAME));
	id = n > 0 ? find_attr(msg.attrs, (size_t)n, CTRL_ATTR_FAMILY_ID) : NULL;
	if (!id) {
		close(fd);
		errno = EOPNOTSUPP;
		return -1;
	}
	memcpy(family, (char *)id + NLA_HDRLEN, sizeof(*family));
	return fd;
}

int64_t oracle_wpcopy(pid_t pid, bool group)
{
	static int fd = -1;
	static uint16_t family;
	uint32_t id = (uint32_t)pid;
	struct genl_message msg;
	struct nlattr *aggr, *stats = NULL;
	long offset = wpcopy_offset();
	uint64_t count;
	ssize_t n;

	errno = EOPNOTSUPP;
	if (offset < 0 || (fd < 0 && (fd = taskstats_socket(&family)) < 0))
		return -1;
	n = genl_ask(fd, &msg, family, TASKSTATS_CMD_GET,
		     group ? TASKSTATS_CMD_ATTR_TGID : TASKSTATS_CMD_ATTR_PID, &id, sizeof(id));
	if (n < 0)
		return -1;
	aggr = find_attr(msg.attrs, (size_t)n,
			 group ? TASKSTATS_TYPE_AGGR_TGID : TASKSTATS_TYPE_AGGR_PID);
	if (aggr)
		stats = find_attr((char *)aggr + NLA_HDRLEN, aggr->nla_len - NLA_HDRLEN,
				  TASKSTATS_TYPE_STATS);
	if (!stats || stats->nla_len < NLA_HDRLEN + offset + (long)sizeof(count)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	memcpy(&count, (char *)stats + NLA_HDRLEN + offset, sizeof(count));
	return (int64_t)count;
}
