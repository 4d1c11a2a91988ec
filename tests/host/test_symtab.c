// SPDX-License-Identifier: Apache-2.0
// LINK: hyp/symtab.c
//
// Lookup in a symbol table made by hand, with nested pairs, and in one gone bad. That the real
// generator and this reader agree is shown by every emulated row that reads a backtrace.

#include <hyp/symtab.h>

#include "check.h"

extern const uint32_t hyp_symtab_count;
extern const uint16_t hyp_symtab_deltas[];
extern const uint8_t hyp_symtab_pairs[][2];
extern const uint8_t hyp_symtab_names[];

// 0x80 = "ab", 0x81 = 0x80 0x80 = "abab", 0x82 = 0x82 0x82 (bad: never ends).
const uint32_t hyp_symtab_count = 4;
const uint16_t hyp_symtab_deltas[] = {2, 0x10, 0, 0xffff};
const uint8_t hyp_symtab_pairs[128][2] = {{'a', 'b'}, {0x80, 0x80}, {0x82, 0x82}};
const uint8_t hyp_symtab_names[] = {'x', 0x81, 'y', 0, 0x80, 0, 'q', 0, 'b', 0x82, 0};

static const char *look(uint64_t offset, size_t len, uint64_t *start)
{
	static char buf[64];

	memset(buf, 'Z', sizeof(buf));
	*start = UINT64_MAX;
	return symtab_lookup(offset, buf, len, start) ? buf : NULL;
}

TEST(before_the_first)
{
	uint64_t start;

	CHECK(look(7, 64, &start) == NULL);
	CHECK(start == UINT64_MAX);
	CHECK(look(8, 0, &start) == NULL);
}

TEST(names_and_starts)
{
	uint64_t start;

	CHECK(strcmp(look(8, 64, &start), "xababy") == 0);
	CHECK_EQ(start, 8);
	CHECK(strcmp(look(0x47, 64, &start), "xababy") == 0);
	// Two names at one address: the last one stands.
	CHECK(strcmp(look(0x48, 64, &start), "q") == 0);
	CHECK_EQ(start, 0x48);
	CHECK(strcmp(look(0x48 + 0x3fffb, 64, &start), "q") == 0);
}

TEST(cut_to_fit)
{
	uint64_t start;

	CHECK(strcmp(look(8, 4, &start), "xab") == 0);
	CHECK(strcmp(look(8, 1, &start), "") == 0);
}

TEST(bad_table_ends)
{
	uint64_t start;
	const char *name = look(UINT64_MAX, 64, &start);

	CHECK(name != NULL && name[0] == 'b' && strlen(name) < 64);
}

CHECK_MAIN()
