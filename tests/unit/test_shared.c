/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* test_shared.c - shared arrays: their elements, their names, and files that are none. */
#include "shared_fixture.h"

#include <limits.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <wchar.h>

static struct gcheap_shared *make(const char *name, char typecode, size_t length)
{
	struct gcheap_shared *shared;

	assert_int_equal(gcheap_shared_create(&shared, name, typecode, length, 0), 0);
	return shared;
}

/* ---- elements ---- */

struct integer {
	char code;
	size_t size;
	int64_t low;
	uint64_t high;
};

static const struct integer integers[] = {
	{ 'b', sizeof(char), SCHAR_MIN, SCHAR_MAX },
	{ 'B', sizeof(char), 0, UCHAR_MAX },
	{ 'u', sizeof(wchar_t), 0, 0x10ffff },
	{ 'w', 4, 0, 0x10ffff },
	{ 'h', sizeof(short), SHRT_MIN, SHRT_MAX },
	{ 'H', sizeof(short), 0, USHRT_MAX },
	{ 'i', sizeof(int), INT_MIN, INT_MAX },
	{ 'I', sizeof(int), 0, UINT_MAX },
	{ 'l', sizeof(long), LONG_MIN, LONG_MAX },
	{ 'L', sizeof(long), 0, ULONG_MAX },
	{ 'q', sizeof(long long), LLONG_MIN, LLONG_MAX },
	{ 'Q', sizeof(long long), 0, ULLONG_MAX },
};

static void check_integer(const struct integer *type)
{
	struct gcheap_shared *shared = make(NULL, type->code, 3000);
	uint64_t high;
	int64_t low;
	double real;

	assert_int_equal(gcheap_shared_typecode(shared), type->code);
	assert_int_equal(gcheap_shared_itemsize(shared), type->size);
	assert_int_equal(gcheap_shared_length(shared), 3000);
	assert_int_equal((uintptr_t)gcheap_shared_data(shared) % 4096, 0);
	for (size_t i = 0; i < 3000; i += 2) {
		assert_int_equal(gcheap_shared_set_int(shared, i, type->low), 0);
		assert_int_equal(gcheap_shared_set_uint(shared, i + 1, type->high), 0);
	}
	for (size_t i = 0; i < 3000; i += 2) {
		assert_int_equal(gcheap_shared_get_int(shared, i, &low), 0);
		assert_int_equal(gcheap_shared_get_uint(shared, i + 1, &high), 0);
		assert_true(low == type->low && high == type->high);
	}
	if (type->low < 0)
		assert_int_equal(gcheap_shared_get_uint(shared, 0, &high), -ERANGE);
	if (type->low > LLONG_MIN)
		assert_int_equal(gcheap_shared_set_int(shared, 0, type->low - 1), -ERANGE);
	if (type->high < ULLONG_MAX)
		assert_int_equal(gcheap_shared_set_uint(shared, 0, type->high + 1), -ERANGE);
	else
		assert_int_equal(gcheap_shared_get_int(shared, 1, &low), -ERANGE);
	assert_int_equal(gcheap_shared_get_int(shared, 3000, &low), -ENXIO);
	assert_int_equal(gcheap_shared_set_int(shared, SIZE_MAX, 0), -ENXIO);
	assert_int_equal(gcheap_shared_get_float(shared, 0, &real), -EPROTOTYPE);
	assert_int_equal(gcheap_shared_set_float(shared, 0, 1.0), -EPROTOTYPE);
	assert_int_equal(gcheap_shared_add(shared, 1, 1, &low), 0); /* over its end */
	assert_int_equal(gcheap_shared_get_int(shared, 0, &low), 0);
	assert_true(low == type->low);
	gcheap_shared_close(shared);
}

static void test_integers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++)
		check_integer(&integers[i]);
}

static void test_floats(void **state)
{
	const double numbers[] = { 0.0, -0.0, 1.5, -3.25e30, 1.0 / 0.0, -1.0 / 0.0 };
	struct gcheap_shared *small = make(NULL, 'f', 6), *large = make(NULL, 'd', 6);
	double got;
	int64_t number;

	(void)state;
	assert_int_equal(gcheap_shared_itemsize(small), 4);
	assert_int_equal(gcheap_shared_itemsize(large), 8);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(gcheap_shared_set_float(small, i, numbers[i]), 0);
		assert_int_equal(gcheap_shared_set_float(large, i, numbers[i]), 0);
		assert_int_equal(gcheap_shared_get_float(small, i, &got), 0);
		assert_true(got == (double)(float)numbers[i]);
		assert_int_equal(gcheap_shared_get_float(large, i, &got), 0);
		assert_memory_equal(&got, &numbers[i], sizeof(got));
	}
	assert_int_equal(gcheap_shared_set_float(large, 0, 1e300), 0);
	assert_int_equal(gcheap_shared_set_float(small, 0, 1e300), -ERANGE);
	assert_int_equal(gcheap_shared_get_int(large, 0, &number), -EPROTOTYPE);
	assert_int_equal(gcheap_shared_add(large, 0, 1, NULL), -EPROTOTYPE);
	gcheap_shared_close(small);
	gcheap_shared_close(large);
}

/* ---- names and sizes ---- */

static void test_hostile_names(void **state)
{
	static const char *const bad[] = { "",	       "/",    ".",	 "..",	  "../x",  "a/b",
					   "/a",       ".x",   "a b",	 "a\nb",  "a\x01", "a\x7f",
					   "\xc3\xa4", "%s%n", "a;rm x", "$(id)", "a\\b",  "*" };
	struct gcheap_shared *shared = (void *)1;
	char longest[202];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(gcheap_shared_create(&shared, bad[i], 'i', 1, 0), -EINVAL);
		assert_null(shared);
		assert_int_equal(gcheap_shared_attach(&shared, bad[i], 'i', 0), -EINVAL);
		assert_int_equal(gcheap_shared_unlink(bad[i]), -EINVAL);
	}
	memset(longest, 'n', sizeof(longest));
	longest[201] = '\0';
	assert_int_equal(gcheap_shared_create(&shared, longest, 'i', 1, 0), -ENAMETOOLONG);
	longest[200] = '\0';
	shared = make(longest, 'i', 1);
	assert_true(there(longest));
	gcheap_shared_close(shared);
	assert_true(gone_soon(longest));
	assert_int_equal(gcheap_shared_attach(&shared, NULL, 'i', 0), -EINVAL);
	assert_int_equal(gcheap_shared_unlink(NULL), -EINVAL);
}

static void test_bad_sizes(void **state)
{
	struct gcheap_shared *shared;

	(void)state;
	assert_int_equal(gcheap_shared_create(&shared, NULL, 'i', 0, 0), -EINVAL);
	assert_int_equal(gcheap_shared_create(&shared, NULL, 'x', 1, 0), -EINVAL);
	assert_int_equal(gcheap_shared_create(&shared, NULL, '\0', 1, 0), -EINVAL);
	assert_int_equal(gcheap_shared_create(&shared, NULL, (char)0xff, 1, 0), -EINVAL);
	assert_int_equal(gcheap_shared_create(&shared, NULL, 'i', 1, 64), -EINVAL);
	assert_int_equal(gcheap_shared_create(&shared, NULL, 'i', SIZE_MAX, 0), -EOVERFLOW);
	assert_int_equal(gcheap_shared_create(&shared, NULL, 'q', SIZE_MAX / 8, 0), -EOVERFLOW);
	assert_int_equal(gcheap_shared_create(&shared, NULL, 'b', (size_t)1 << 46, 0), -ENOMEM);
	assert_null(shared);
	assert_int_equal(gcheap_shared_create(&shared, own_name("huge"), 'b', (size_t)1 << 46, 0),
			 -ENOSPC);
	assert_false(there(own_name("huge")));
}

static void test_names_live_as_long_as_users(void **state)
{
	struct gcheap_shared *one, *two, *three;
	char name[64];
	int64_t value;

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("life"));
	one = make(name, 'l', 10);
	assert_int_equal(gcheap_shared_create(&two, name, 'l', 10, 0), -EEXIST);
	assert_int_equal(gcheap_shared_set_int(one, 9, 77), 0);
	assert_int_equal(gcheap_shared_attach(&two, name, 0, 0), 0);
	assert_int_equal(gcheap_shared_typecode(two), 'l');
	gcheap_shared_close(one);
	sleep_ms(50);
	assert_true(there(name)); /* two has it still */
	assert_int_equal(gcheap_shared_get_int(two, 9, &value), 0);
	assert_int_equal(value, 77);
	assert_int_equal(gcheap_shared_unlink(name), 0);
	assert_int_equal(gcheap_shared_unlink(name), -ENOENT);
	assert_int_equal(gcheap_shared_attach(&three, name, 'l', 0), -ENOENT);
	three = make(name, 'i', 5); /* another one of that name */
	gcheap_shared_close(two);
	sleep_ms(50); /* two's guard has looked by now, and must have left it alone */
	assert_true(there(name));
	gcheap_shared_close(three);
	assert_true(gone_soon(name));
}

static void test_descriptor(void **state)
{
	struct gcheap_shared *one = make(NULL, 'H', 100), *two;
	int64_t value;

	(void)state;
	assert_int_equal(gcheap_shared_set_int(one, 50, 5), 0);
	assert_int_equal(gcheap_shared_attach_fd(&two, gcheap_shared_fd(one), 'h', 0), -EPROTOTYPE);
	assert_int_equal(gcheap_shared_attach_fd(&two, -1, 'H', 0), -EBADF);
	assert_int_equal(gcheap_shared_attach_fd(&two, 1 << 20, 'H', 0), -EBADF);
	assert_int_equal(gcheap_shared_attach_fd(&two, gcheap_shared_fd(one), 'H', 0), 0);
	/* sealed: nobody can cut it under us */
	assert_int_equal(ftruncate(gcheap_shared_fd(one), 10), -1);
	gcheap_shared_close(one);
	assert_int_equal(gcheap_shared_get_int(two, 50, &value), 0);
	assert_int_equal(value, 5);
	gcheap_shared_close(two);
}

/* ---- files that are no arrays ---- */

static void put_file(const char *name, const void *bytes, size_t len)
{
	int fd = open(file_of(name), O_CREAT | O_TRUNC | O_RDWR, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

static void expect_attach(const char *name, int error)
{
	struct gcheap_shared *shared;

	assert_int_equal(gcheap_shared_attach(&shared, name, 0, 0), error);
	assert_null(shared);
	assert_int_equal(gcheap_shared_attach(&shared, name, 0, GCHEAP_SHARED_READ_ONLY), error);
}

static void test_foreign_files(void **state)
{
	char name[64], noise[8192];

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("foreign"));
	put_file(name, "", 0);
	expect_attach(name, -ENODATA);
	put_file(name, "hello", 5);
	expect_attach(name, -EBADMSG);
	assert_int_equal(gcheap_shared_unlink(name), -EBADMSG); /* not ours to remove */
	memset(noise, 0xff, sizeof(noise));
	put_file(name, noise, sizeof(noise));
	expect_attach(name, -EBADMSG);
	gcheap_shared_sweep();
	assert_true(there(name));
	unlink(file_of(name));
	assert_int_equal(mkfifo(file_of(name), 0600), 0);
	expect_attach(name, -EBADMSG); /* and does not wait for a writer */
	unlink(file_of(name));
	assert_int_equal(symlink("/etc/passwd", file_of(name)), 0);
	expect_attach(name, -EBADMSG);
	unlink(file_of(name));
	assert_int_equal(mkdir(file_of(name), 0700), 0);
	assert_int_not_equal(gcheap_shared_unlink(name), 0);
	rmdir(file_of(name));
}

static void test_wrong_type(void **state)
{
	struct gcheap_shared *shared, *other;
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("type"));
	shared = make(name, 'i', 8);
	assert_int_equal(gcheap_shared_attach(&other, name, 'I', 0), -EPROTOTYPE);
	assert_int_equal(gcheap_shared_attach(&other, name, 'd', 0), -EPROTOTYPE);
	assert_int_equal(gcheap_shared_attach(&other, name, 'z', 0), -EINVAL);
	assert_int_equal(gcheap_shared_list_attach(&other, name, 0), -EPROTOTYPE);
	assert_int_equal(gcheap_shared_list_set(shared, 0, &(struct gcheap_shared_item){ 0 }),
			 -EPROTOTYPE);
	assert_int_equal(gcheap_shared_attach(&other, name, 'i', 0), 0);
	gcheap_shared_close(other);
	gcheap_shared_close(shared);
	assert_true(gone_soon(name));
}

static void test_truncated(void **state)
{
	static const size_t lengths[] = { 0, 4, 8, 40, 100, 4095, 4096, 4097, 40000 };
	struct gcheap_shared *shared, *other;
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("cut"));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		shared = make(name, 'q', 10000);
		assert_int_equal(gcheap_shared_check(shared), 0);
		assert_int_equal(truncate(file_of(name), (off_t)lengths[i]), 0);
		expect_attach(name, -ENODATA);
		assert_int_equal(gcheap_shared_check(shared), -ENODATA);
		gcheap_shared_close(shared); /* with a cut file under it */
		assert_true(gone_soon(name));
	}
	shared = make(name, 'q', 100);
	assert_int_equal(truncate(file_of(name), 100000), 0);
	assert_int_equal(gcheap_shared_attach(&other, name, 'q', 0), -EBADMSG); /* or longer */
	gcheap_shared_close(shared);
	assert_true(gone_soon(name));
}

/* Every byte of the head changed in turn: attach fails or gives an array within its file. */
static void test_damaged_head(void **state)
{
	struct gcheap_shared *shared, *other;
	size_t refused = 0, bytes;
	char name[64];
	uint64_t sum = 0;

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("damaged"));
	shared = make(name, 'h', 500);
	for (size_t i = 0; i < 64 * 3; i++) {
		unsigned char *byte =
			(unsigned char *)gcheap_shared_mapping(shared, &bytes) + i / 3;
		const unsigned char was = *byte, masks[] = { 0x01, 0x80, 0xff };

		*byte ^= masks[i % 3];
		if (gcheap_shared_attach(&other, name, 0, GCHEAP_SHARED_READ_ONLY)) {
			refused++;
		} else {
			size_t len = gcheap_shared_length(other) * gcheap_shared_itemsize(other);

			for (size_t k = 0; k < len; k++)
				sum += ((unsigned char *)gcheap_shared_data(other))[k];
			gcheap_shared_close(other);
		}
		*byte = was;
	}
	assert_int_equal(sum, 0);
	assert_int_equal(refused, 48 * 3); /* all but the 16 bytes that mean nothing */
	gcheap_shared_close(shared);
	assert_true(gone_soon(name));
}

/* ---- a full /dev/shm, in a mount namespace of our own ---- */

static int fill_small(void *arg)
{
	struct gcheap_shared *shared;
	DIR *folder;
	int entries = 0, error;

	(void)arg;
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=64k"))
		return 77;
	error = gcheap_shared_create(&shared, "full", 'q', 100000, 0);
	if (error != -ENOSPC || shared)
		return 1;
	folder = opendir("/dev/shm");
	while (folder && readdir(folder))
		entries++;
	if (entries != 2) /* . and .. */
		return 2;
	closedir(folder);
	if (gcheap_shared_create(&shared, "fits", 'q', 1000, GCHEAP_SHARED_NO_GUARD))
		return 3;
	memset(gcheap_shared_data(shared), 1, 8000);
	gcheap_shared_close(shared);
	return gcheap_shared_sweep() == 1 && access("/dev/shm/gcheap.fits", F_OK) ? 0 : 4;
}

static void test_no_space(void **state)
{
	int status = end_of(run_child(fill_small, NULL));

	(void)state;
	if (status == 77) {
		print_message("no right to mount a small tmpfs\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* ---- reading writes nothing ---- */

static uint64_t read_all(const struct gcheap_shared *shared)
{
	uint64_t sum = 0, value = 0;

	for (size_t i = 0; i < gcheap_shared_length(shared); i++) {
		if (gcheap_shared_get_uint(shared, i, &value))
			return 0;
		sum += value;
	}
	return sum;
}

static void test_read_only(void **state)
{
	struct gcheap_shared *shared, *reader;
	char name[64];
	size_t bytes;
	void *all;

	(void)state;
	snprintf(name, sizeof(name), "%s", own_name("read"));
	shared = make(name, 'i', 100000);
	for (size_t i = 0; i < 100000; i++)
		gcheap_shared_set_int(shared, i, 3);
	assert_int_equal(gcheap_shared_attach(&reader, name, 'i', GCHEAP_SHARED_READ_ONLY), 0);
	assert_int_equal(read_all(reader), 300000); /* a write would be a SIGSEGV */
	assert_int_equal(gcheap_shared_recovered(reader), 0);
	assert_int_equal(gcheap_shared_check(reader), 0);
	assert_int_equal(gcheap_shared_set_int(reader, 0, 1), -EROFS);
	assert_int_equal(gcheap_shared_add(reader, 0, 1, NULL), -EROFS);
	assert_int_equal(gcheap_shared_lock(reader, -1), -EROFS);
	assert_int_equal(gcheap_shared_unlock(reader), -EROFS);
	gcheap_shared_close(reader);
	/* and who might write writes nothing either */
	all = gcheap_shared_mapping(shared, &bytes);
	assert_int_equal(mprotect(all, bytes, PROT_READ), 0);
	assert_int_equal(read_all(shared), 300000);
	assert_int_equal(mprotect(all, bytes, PROT_READ | PROT_WRITE), 0);
	gcheap_shared_close(shared);
	assert_true(gone_soon(name));
}

/** Bit @bit of pagemap summed over the pages of [@at, @at + @bytes). Return: -1 for no pagemap. */
static long count_bit(const void *at, size_t bytes, int bit)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	long count = 0;

	for (uintptr_t page = (uintptr_t)at / 4096; page * 4096 < (uintptr_t)at + bytes; page++) {
		uint64_t entry;

		if (fd < 0 || pread(fd, &entry, sizeof(entry), (off_t)page * 8) != sizeof(entry))
			return -1;
		count += (entry >> bit) & 1;
	}
	close(fd);
	return count;
}

static bool clear_soft_dirty(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY);
	bool done = fd >= 0 && write(fd, "4", 1) == 1;

	close(fd);
	return done;
}

struct soft {
	struct gcheap_shared *shared;
	uint64_t sum;
};

/* In a forked child: pages written since the clear, by the kernel's soft-dirty bits. */
static int read_softly(void *arg)
{
	struct soft *soft = arg;
	size_t bytes;
	char *all = gcheap_shared_mapping(soft->shared, &bytes);

	if (!clear_soft_dirty())
		return 77;
	if (read_all(soft->shared) != soft->sum)
		return 1;
	if (count_bit(all, bytes, 55))
		return 2; /* reading wrote */
	if (count_bit(all, bytes, 63) != count_bit(all, bytes, 61))
		return 3; /* each page that is there is shared, none an anonymous copy */
	gcheap_shared_set_int(soft->shared, 0, 4);
	return count_bit(all, bytes, 55) == 1 ? 0 : 77; /* does the counter count? */
}

static void test_read_is_clean(void **state)
{
	struct soft soft = { .shared = make(NULL, 'i', 100000), .sum = 100000 };
	int status;

	(void)state;
	for (size_t i = 0; i < 100000; i++)
		gcheap_shared_set_int(soft.shared, i, 1);
	status = end_of(run_child(read_softly, &soft));
	gcheap_shared_close(soft.shared);
	if (status == 77) {
		print_message("this kernel has no soft-dirty bits\n");
		skip();
	}
	assert_int_equal(status, 0);
}

static void test_messages(void **state)
{
	(void)state;
	assert_string_equal(gcheap_shared_message(0), "no error");
	assert_non_null(strstr(gcheap_shared_message(-EPROTOTYPE), "another type"));
	assert_non_null(strstr(gcheap_shared_message(-ENODATA), "shorter"));
	assert_non_null(strstr(gcheap_shared_message(-ENOSPC), "full"));
	assert_non_null(strstr(gcheap_shared_message(GCHEAP_SHARED_RECOVERED), "died"));
	assert_non_null(gcheap_shared_message(INT_MIN));
	assert_non_null(gcheap_shared_message(-EIO));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_integers),
		cmocka_unit_test(test_floats),
		cmocka_unit_test(test_hostile_names),
		cmocka_unit_test(test_bad_sizes),
		cmocka_unit_test(test_names_live_as_long_as_users),
		cmocka_unit_test(test_descriptor),
		cmocka_unit_test(test_foreign_files),
		cmocka_unit_test(test_wrong_type),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_damaged_head),
		cmocka_unit_test(test_no_space),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_read_is_clean),
		cmocka_unit_test(test_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
