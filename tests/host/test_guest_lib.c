// SPDX-License-Identifier: Apache-2.0
//
// The pure parts of guests/lib: arena against a flat model, cpio against hostile archives, texts.
//
// LINK: guests/lib/arena.c guests/lib/cpio.c guests/lib/strerror.c

#include <abi/errno.h>
#include <tidemark/arena.h>
#include <tidemark/call.h>
#include <tidemark/cpio.h>
#include "check.h"

/* --- arena ------------------------------------------------------------------------------------ */

#define UNITS 512u
#define UNIT 0x1000ull
#define BASE 0x40000000ull

static bool model[UNITS];	/* free */

static void check_arena(const struct tm_arena *a)
{
	uint64_t bytes = 0;
	unsigned at = 0;

	for (uint32_t i = 0; i < a->count; i++) {
		uint64_t first = (a->free[i].gpa - BASE) / UNIT;
		uint64_t n = a->free[i].size / UNIT;

		CHECK(first + n <= UNITS && n > 0);
		for (; at < first; at++) {
			CHECK(!model[at]);
		}
		for (; at < first + n; at++) {
			CHECK(model[at]);
		}
		bytes += a->free[i].size;
		CHECK(i == 0 || a->free[i - 1].gpa + a->free[i - 1].size < a->free[i].gpa);
	}
	for (; at < UNITS; at++) {
		CHECK(!model[at]);
	}
	CHECK_EQ(a->free_bytes, bytes);
}

static bool model_range(uint64_t first, uint64_t n, bool value, bool set)
{
	for (uint64_t i = first; i < first + n; i++) {
		if (set) {
			model[i] = value;
		} else if (model[i] != value) {
			return false;
		}
	}
	return true;
}

/* Could an aligned run of n be taken? */
static bool model_fits(uint64_t n, uint64_t align)
{
	for (uint64_t i = 0; i + n <= UNITS; i++) {
		if ((BASE / UNIT + i) % align == 0 && model_range(i, n, true, false)) {
			return true;
		}
	}
	return false;
}

TEST(arena_matches_a_flat_model)
{
	struct check_rng rng = check_rng_make(11);
	static struct tm_arena a;

	tm_arena_init(&a);
	memset(model, 0, sizeof(model));
	CHECK_EQ(tm_arena_add(&a, BASE, UNITS * UNIT), 0);
	model_range(0, UNITS, true, true);
	for (unsigned step = 0; step < 20000; step++) {
		uint64_t n = 1 + check_below(&rng, 24);
		uint64_t first = check_below(&rng, UNITS - n);
		uint64_t align = 1ull << check_below(&rng, 5);
		uint64_t got = 0;
		int r;

		switch (check_below(&rng, 3)) {
		case 0:
			r = tm_arena_alloc(&a, n * UNIT, align * UNIT, &got);
			CHECK_EQ(r, model_fits(n, align) ? 0 : -TM_ENOMEM);
			if (r == 0) {
				CHECK(got % (align * UNIT) == 0);
				CHECK(model_range((got - BASE) / UNIT, n, true, false));
				model_range((got - BASE) / UNIT, n, false, true);
			}
			break;
		case 1:
			r = tm_arena_add(&a, BASE + first * UNIT, n * UNIT);
			CHECK_EQ(r, model_range(first, n, false, false) ? 0 : -TM_EINVAL);
			if (r == 0) {
				model_range(first, n, true, true);
			}
			break;
		default:
			if (check_below(&rng, 4) == 0) {
				CHECK_EQ(tm_arena_carve(&a, BASE + first * UNIT, n * UNIT), 0);
				model_range(first, n, false, true);
			}
			break;
		}
		check_arena(&a);
	}
}

TEST(arena_edges)
{
	static struct tm_arena a;
	uint64_t got;

	tm_arena_init(&a);
	CHECK_EQ(tm_arena_add(&a, 0x1000, 0), -TM_EINVAL);
	CHECK_EQ(tm_arena_add(&a, ~0ull - 0xfff, 0x2000), -TM_EINVAL);
	CHECK_EQ(tm_arena_alloc(&a, 0x1000, 0x1000, &got), -TM_ENOMEM);
	CHECK_EQ(tm_arena_add(&a, 0xfffffffffffff000ull - 0x1000, 0x1000), 0);
	/* aligning up would wrap */
	CHECK_EQ(tm_arena_alloc(&a, 0x1000, 1ull << 63, &got), -TM_ENOMEM);
	CHECK_EQ(tm_arena_alloc(&a, 0x1000, 3, &got), -TM_EINVAL);
	CHECK_EQ(tm_arena_alloc(&a, 0, 0x1000, &got), -TM_EINVAL);
	CHECK_EQ(tm_arena_largest(&a), 0x1000);
}

TEST(arena_full_of_pieces)
{
	static struct tm_arena a;

	tm_arena_init(&a);
	for (uint64_t i = 0; i < TM_ARENA_RANGES; i++) {
		CHECK_EQ(tm_arena_add(&a, 0x10000 + i * 0x2000, 0x1000), 0);
	}
	CHECK_EQ(tm_arena_add(&a, 0x1000, 0x1000), -TM_ENOSPC);
	/* joining needs no new piece */
	CHECK_EQ(tm_arena_add(&a, 0x11000, 0x1000), 0);
	CHECK_EQ(a.count, TM_ARENA_RANGES - 1);
}

/* --- cpio ------------------------------------------------------------------------------------- */

static char archive[4096];
static uint64_t archive_size;

static void add_file(const char *name, const char *data, uint64_t size)
{
	uint64_t name_size = strlen(name) + 1;
	char header[112];

	(void)snprintf(header, sizeof(header),
		       "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		       1u, 0100644u, 0u, 0u, 1u, 0u, (unsigned)size, 0u, 0u, 0u, 0u,
		       (unsigned)name_size, 0u);
	memcpy(archive + archive_size, header, 110);
	memcpy(archive + archive_size + 110, name, name_size);
	archive_size = (archive_size + 110 + name_size + 3) & ~3ull;
	memcpy(archive + archive_size, data, size);
	archive_size = (archive_size + size + 3) & ~3ull;
}

static void make_archive(void)
{
	memset(archive, 0, sizeof(archive));
	archive_size = 0;
	add_file("./one", "first", 5);
	add_file("dir/two", "", 0);
	add_file("three", "abcdefgh", 8);
	add_file("TRAILER!!!", "", 0);
}

/* In a block of the exact size, for ASan. */
static int find_in(uint64_t size, const char *name, struct tm_cpio_file *f)
{
	static void *copy;

	free(copy);
	copy = malloc(size != 0 ? size : 1);
	CHECK(copy != NULL);
	memcpy(copy, archive, size);
	return tm_cpio_find(copy, size, name, f);
}

TEST(cpio_finds_files)
{
	struct tm_cpio_file f;

	make_archive();
	CHECK_EQ(find_in(archive_size, "one", &f), 0);
	CHECK_EQ(f.size, 5);
	CHECK(memcmp(f.data, "first", 5) == 0);
	CHECK_EQ(find_in(archive_size, "/dir/two", &f), 0);
	CHECK_EQ(f.size, 0);
	CHECK_EQ(find_in(archive_size, "three", &f), 0);
	CHECK(memcmp(f.data, "abcdefgh", 8) == 0);
	CHECK_EQ(find_in(archive_size, "four", &f), -TM_ENOENT);
	CHECK_EQ(find_in(0, "one", &f), -TM_ENOENT);
}

TEST(cpio_truncated_anywhere)
{
	struct tm_cpio_file f;

	make_archive();
	for (uint64_t size = 1; size < archive_size; size++) {
		int r = find_in(size, "four", &f);

		CHECK(r == -TM_EINVAL || r == -TM_ENOENT);
	}
}

TEST(cpio_damage)
{
	struct check_rng rng = check_rng_make(3);
	struct tm_cpio_file f;
	static const char digits[] = "0123456789abcdefF-x";

	for (unsigned round = 0; round < 20000; round++) {
		make_archive();
		for (uint64_t n = 1 + check_below(&rng, 3); n > 0; n--) {
			uint64_t at = check_below(&rng, archive_size);

			archive[at] = check_below(&rng, 3) != 0 ?
				      digits[check_below(&rng, sizeof(digits) - 1)] :
				      (char)check_rand(&rng);
		}
		if (find_in(archive_size, "three", &f) == 0) {
			volatile char sum = 0;

			for (uint64_t i = 0; i < f.size; i++) {
				sum = (char)(sum + ((const char *)f.data)[i]);
			}
		}
	}
}

/* --- texts ------------------------------------------------------------------------------------ */

TEST(error_texts)
{
	CHECK(strcmp(tm_strerror_name(-TM_ENOSPC), "ENOSPC") == 0);
	CHECK(strcmp(tm_strerror(-TM_EPERM), "unknown call or not permitted") == 0);
	CHECK(strcmp(tm_strerror_name(0), "OK") == 0);
	CHECK(strcmp(tm_strerror_name(-9999), "?") == 0);
	CHECK(strcmp(tm_strerror_name(INT64_MIN + 1), "?") == 0);
}

CHECK_MAIN()
