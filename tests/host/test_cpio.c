// SPDX-License-Identifier: Apache-2.0
//
// boot/cpio.c: lookup, padding, damage, and random bytes in buffers of exactly their size.
//
// LINK: boot/cpio.c

#include <string.h>

#include "boot/cpio.h"
#include "check.h"

static uint8_t archive[8192];
static size_t used;

static void add_mode(const char *name, const void *data, size_t size, unsigned mode)
{
	used += (size_t)snprintf((char *)archive + used, sizeof(archive) - used,
				 "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, mode,
				 0, 0, 1, 0, (unsigned)size, 0, 0, 0, 0, (unsigned)strlen(name) + 1, 0);
	memcpy(archive + used, name, strlen(name) + 1);
	used = (used + strlen(name) + 1 + 3) & ~3ul;
	memcpy(archive + used, data, size);
	used = (used + size + 3) & ~3ul;
}

static void build(void)
{
	memset(archive, 0, sizeof(archive));
	used = 0;
	add_mode("dir", "", 0, 040755);
	add_mode("one", "1", 1, 0100644);
	add_mode("empty", "", 0, 0100644);
	add_mode("sub/two", "22222", 5, 0100644);
	add_mode("TRAILER!!!", "", 0, 0);
}

TEST(finds_what_is_there)
{
	const void *data;
	uint64_t size, bad;

	build();
	CHECK_EQ(cpio_find(archive, used, "one", &data, &size, &bad), CPIO_FOUND);
	EXPECT(size == 1 && memcmp(data, "1", 1) == 0);
	CHECK_EQ(cpio_find(archive, used, "sub/two", &data, &size, &bad), CPIO_FOUND);
	EXPECT(size == 5 && memcmp(data, "22222", 5) == 0);
	CHECK_EQ(cpio_find(archive, used, "empty", &data, &size, &bad), CPIO_FOUND);
	CHECK_EQ(size, 0);
	CHECK_EQ(cpio_find(archive, used, "on", &data, &size, &bad), CPIO_ABSENT);
	CHECK_EQ(cpio_find(archive, used, "dir", &data, &size, &bad), CPIO_ABSENT);
	CHECK_EQ(cpio_find(archive, used, "TRAILER!!!", &data, &size, &bad), CPIO_ABSENT);
	CHECK_EQ(cpio_find(archive, 0, "one", &data, &size, &bad), CPIO_BAD);
}

TEST(each_truncation_and_each_flip_stays_inside)
{
	const void *data;
	uint64_t size, bad;

	build();
	for (size_t cut = 0; cut < used; cut++) {
		uint8_t *copy = malloc(cut + 1);

		memcpy(copy, archive, cut);
		if (cpio_find(copy, cut, "absent", &data, &size, &bad) != CPIO_BAD) {
			// The padding behind the trailer may be missing.
			EXPECT(cut + 4 > used);
		}
		free(copy);
	}
	for (size_t i = 0; i < used; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			uint8_t *copy = malloc(used);

			memcpy(copy, archive, used);
			copy[i] ^= (uint8_t)(1u << bit);
			if (cpio_find(copy, used, "sub/two", &data, &size, &bad) == CPIO_FOUND) {
				EXPECT((const uint8_t *)data + size <= copy + used);
			}
			free(copy);
		}
	}
}

TEST(random_headers)
{
	struct check_rng rng = check_rng_make(7);
	const void *data;
	uint64_t size, bad;

	for (unsigned round = 0; round < 20000; round++) {
		size_t n = check_below(&rng, 400);
		uint8_t *copy = malloc(n + 1);

		for (size_t i = 0; i < n; i++) {
			copy[i] = (uint8_t)"0123456789abcdefF\0x"[check_below(&rng, 19)];
		}
		if (n >= 6) {
			memcpy(copy, "070701", 6);
		}
		if (cpio_find(copy, n, "x", &data, &size, &bad) == CPIO_FOUND) {
			EXPECT((const uint8_t *)data + size <= copy + n);
		}
		free(copy);
	}
}

CHECK_MAIN()
