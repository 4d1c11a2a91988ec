// SPDX-License-Identifier: Apache-2.0
//
// The five page-table formats against bit patterns taken from the manuals by hand, and every
// combination of attributes there and back.
//
// LINK: arch/arm64/stage2_format.c arch/arm64/s1_format.c arch/x86/s1_format.c
// LINK: arch/x86/vmx/ept_format.c arch/x86/svm/npt_format.c

#include <arch/format.h>

#include "check.h"

static const struct pgtable_format *const formats[] = {
	&arm64_stage2_format, &arm64_s1_format, &ept_format, &npt_format, &x86_s1_format,
};

// Arm ARM DDI 0487 D8.3; Intel SDM vol. 3 table 29-x and 4-x; AMD APM vol. 2 figures 5-x.
static const struct {
	const struct pgtable_format *fmt;
	uint64_t addr;
	unsigned level, attrs;
	uint64_t pte;
} leaves[] = {
	// page: [1:0] 11, MemAttr 1111 [5:2], S2AP 11 [7:6], SH 11 [9:8], AF [10]
	{&arm64_stage2_format, 0x80001000, 0, PT_R | PT_W | PT_X, 0x00000000800017ff},
	{&arm64_stage2_format, 0x80001000, 0, PT_R | PT_X, 0x000000008000177f},
	{&arm64_stage2_format, 0x80001000, 0, PT_R, 0x004000008000177f},
	{&arm64_stage2_format, 0x80200000, 1, PT_R | PT_W | PT_X, 0x00000000802007fd},
	{&arm64_stage2_format, 0xc0000000, 2, PT_R | PT_W, 0x00400000c00007fd},
	// Device-nGnRE 0001
	{&arm64_stage2_format, 0x09000000, 0, PT_R | PT_W | PT_DEVICE, 0x00400000090007c7},
	// DBM [51]: writable-clean has S2AP[1] = 0, dirty 1
	{&arm64_stage2_format, 0x1000, 0, PT_R | PT_W | PT_X | PT_CLEANABLE, 0x000800000000177f},
	{&arm64_stage2_format, 0x1000, 0, PT_R | PT_W | PT_X | PT_CLEANABLE | PT_DIRTY,
	 0x00080000000017ff},
	{&arm64_stage2_format, 0xfffffffff000, 0, PT_R | PT_X | PT_SW0 | PT_SW1,
	 0x0180fffffffff77f},
	// AP[1] [6] RES1, AP[2] [7] read-only, AttrIndx [4:2], XN [54]
	{&arm64_s1_format, 0x40000000, 1, PT_R | PT_X, 0x00000000400007c1},
	{&arm64_s1_format, 0x40000000, 0, PT_R, 0x00400000400007c3},
	{&arm64_s1_format, 0x40000000, 0, PT_R | PT_W, 0x0040000040000743},
	{&arm64_s1_format, 0x40000000, 0, PT_R | PT_W | PT_X, 0x0040000040000743},
	{&arm64_s1_format, 0x09000000, 0, PT_R | PT_W | PT_DEVICE, 0x0040000009000747},
	{&arm64_s1_format, 0x09000000, 0, PT_R | PT_X | PT_DEVICE, 0x00400000090007c7},
	// R W X [2:0], WB 6 [5:3], IPAT [6], large [7], A [8], D [9]
	{&ept_format, 0x80001000, 0, PT_R | PT_W | PT_X, 0x0000000080001377},
	{&ept_format, 0x80001000, 0, PT_R | PT_X, 0x0000000080001175},
	{&ept_format, 0x80001000, 0, PT_X, 0x0000000080001174},
	{&ept_format, 0x80001000, 0, PT_W, 0x0000000080001373},
	{&ept_format, 0x80200000, 1, PT_R | PT_W, 0x00000000802003f3},
	{&ept_format, 0xfee00000, 0, PT_R | PT_W | PT_DEVICE, 0x00000000fee00303},
	{&ept_format, 0x1000, 0, PT_R | PT_W | PT_CLEANABLE, 0x0040000000001173},
	{&ept_format, 0x1000, 0, PT_R | PT_W | PT_CLEANABLE | PT_DIRTY, 0x0040000000001373},
	{&ept_format, 0xffffffffff000, 0, PT_R | PT_SW0 | PT_SW1, 0x003ffffffffff171},
	// P RW US PWT PCD A D PS, NX [63]
	{&npt_format, 0x80001000, 0, PT_R | PT_W | PT_X, 0x0000000080001067},
	{&npt_format, 0x80001000, 0, PT_R, 0x8000000080001025},
	{&npt_format, 0x80200000, 1, PT_R | PT_X, 0x00000000802000a5},
	{&npt_format, 0xc0000000, 2, PT_R | PT_W | PT_X, 0x00000000c00000e7},
	{&npt_format, 0xfee00000, 0, PT_R | PT_W | PT_DEVICE, 0x80000000fee0007f},
	{&npt_format, 0x1000, 0, PT_R | PT_W | PT_CLEANABLE, 0x8040000000001027},
	{&x86_s1_format, 0x80001000, 0, PT_R | PT_X, 0x0000000080001021},
	{&x86_s1_format, 0x80001000, 0, PT_R | PT_W, 0x8000000080001063},
	{&x86_s1_format, 0x80001000, 0, PT_R | PT_W | PT_X, 0x8000000080001063},
	{&x86_s1_format, 0x80200000, 1, PT_R | PT_X | PT_USER, 0x00000000802000a5},
	{&x86_s1_format, 0xfee00000, 0, PT_R | PT_W | PT_DEVICE, 0x80000000fee0007b},
};

TEST(leaves_match_the_manuals)
{
	for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++) {
		const struct pgtable_format *fmt = leaves[i].fmt;
		uint64_t pte = fmt->make_leaf(hpa(leaves[i].addr), leaves[i].level, leaves[i].attrs);

		if (pte != leaves[i].pte) {
			fprintf(stderr, "%s, row %u\n", fmt->name, i);
		}
		CHECK_EQ(pte, leaves[i].pte);
		CHECK_EQ(fmt->kind(pte, leaves[i].level), PTE_LEAF);
		CHECK_EQ(fmt->addr(pte, leaves[i].level).v, leaves[i].addr);
	}
}

TEST(tables_and_holes)
{
	static const uint64_t tables[] = {0x80001003, 0x80001003, 0x80001007, 0x80001027, 0x80001027};

	for (unsigned f = 0; f < ARRAY_SIZE(formats); f++) {
		uint64_t pte = formats[f]->make_table(hpa(0x80001000));

		CHECK_EQ(pte, tables[f]);
		for (unsigned level = 0; level <= 3; level++) {
			CHECK_EQ(formats[f]->kind(0, level), PTE_HOLE);
			// What the walker leaves in a table page on its way out: a page address.
			CHECK_EQ(formats[f]->kind(0x80001000, level), PTE_HOLE);
			if (level != 0) {
				CHECK_EQ(formats[f]->kind(pte, level), PTE_TABLE);
				CHECK_EQ(formats[f]->addr(pte, level).v, 0x80001000);
			}
		}
		CHECK_EQ(formats[f]->leaf_levels, 7);
	}
	// 0b01 at the last level is reserved.
	CHECK_EQ(arm64_stage2_format.kind(0x80001001, 0), PTE_HOLE);
	CHECK_EQ(arm64_s1_format.kind(0x80001001, 0), PTE_HOLE);
	CHECK(arm64_stage2_format.bbm && arm64_s1_format.bbm);
	CHECK(!ept_format.bbm && !npt_format.bbm && !x86_s1_format.bbm);
}

// What a format makes of attributes that it cannot express.
static unsigned expressed(const struct pgtable_format *fmt, unsigned attrs)
{
	bool stage1 = fmt == &arm64_s1_format || fmt == &x86_s1_format;
	bool x86_pages = fmt == &npt_format || fmt == &x86_s1_format;

	if (fmt == &arm64_s1_format || x86_pages || (fmt == &ept_format && (attrs & PT_W))) {
		attrs |= PT_R;
	}
	if (stage1 && (attrs & (PT_W | PT_DEVICE))) {
		attrs &= ~(unsigned)PT_X;
	}
	if (fmt != &x86_s1_format) {
		attrs &= ~(unsigned)PT_USER;
	}
	if (stage1 || !(attrs & PT_W)) {
		attrs &= ~(unsigned)PT_CLEANABLE;
	}
	if (!(attrs & PT_CLEANABLE)) {
		attrs &= ~(unsigned)PT_DIRTY;
	}
	return attrs;
}

TEST(every_combination_there_and_back)
{
	for (unsigned f = 0; f < ARRAY_SIZE(formats); f++) {
		const struct pgtable_format *fmt = formats[f];

		for (unsigned attrs = 0; attrs < 512; attrs++) {
			for (unsigned level = 0; level <= 2; level++) {
				hpa_t a = hpa(0x0000123456789000ull & ~(LEVEL_SIZE(level) - 1));
				uint64_t pte = fmt->make_leaf(a, level, attrs);

				if (fmt == &ept_format && !(attrs & (PT_R | PT_W | PT_X))) {
					CHECK_EQ(fmt->kind(pte, level), PTE_HOLE);
					continue;
				}
				CHECK_EQ(fmt->kind(pte, level), PTE_LEAF);
				CHECK_EQ(fmt->addr(pte, level).v, a.v);
				CHECK_EQ(fmt->attrs(pte, level), expressed(fmt, attrs));
				// Setting what is there changes nothing; setting others is as making.
				CHECK_EQ(fmt->set_attrs(pte, level, fmt->attrs(pte, level)), pte);
				CHECK_EQ(fmt->set_attrs(pte, level, attrs ^ 0x1ff),
					 fmt->make_leaf(a, level, attrs ^ 0x1ff));
			}
		}
	}
}

TEST(writable_is_never_executable_in_the_hypervisors_map)
{
	CHECK(arm64_s1_format.w_xor_x && x86_s1_format.w_xor_x);
	CHECK(!arm64_stage2_format.w_xor_x && !ept_format.w_xor_x && !npt_format.w_xor_x);
	for (unsigned attrs = 0; attrs < 512; attrs++) {
		for (unsigned level = 0; level <= 2; level++) {
			uint64_t arm = arm64_s1_format.make_leaf(hpa(0), level, attrs);
			uint64_t x86 = x86_s1_format.make_leaf(hpa(0), level, attrs);

			CHECK((arm >> 54 & 1) || (arm >> 7 & 1));
			CHECK((x86 >> 63 & 1) || !(x86 >> 1 & 1));
		}
	}
}

TEST(shortcuts_equal_the_functions)
{
	for (unsigned f = 0; f < ARRAY_SIZE(formats); f++) {
		const struct pgtable_format *fmt = formats[f];
		uint64_t table = fmt->make_table(hpa(0x0000fffffffff000ull));

		CHECK((table & fmt->table_mask) == fmt->table_bits);
		CHECK_EQ(table & fmt->table_addr, 0x0000fffffffff000ull);
		CHECK((0x80001000 & fmt->table_mask) != fmt->table_bits);
		CHECK((0 & fmt->table_mask) != fmt->table_bits);
		CHECK((fmt->grant_bits != 0) == (fmt->revoke_bits != 0));
		CHECK((fmt->grant_bits != 0) == !fmt->w_xor_x);
		for (unsigned attrs = 0; attrs < 512; attrs++) {
			for (unsigned level = 0; level <= 2; level++) {
				uint64_t pte = fmt->make_leaf(hpa(0x40000000), level, attrs);
				unsigned is = fmt->attrs(pte, level);

				if (fmt->kind(pte, level) != PTE_LEAF) {
					continue;
				}
				CHECK(level == 0 || (pte & fmt->table_mask) != fmt->table_bits);
				if (fmt->grant_bits == 0) {
					continue;
				}
				CHECK_EQ(pte | fmt->grant_bits,
					 fmt->set_attrs(pte, level, is | PT_W | PT_DIRTY));
				CHECK_EQ(pte & ~fmt->revoke_bits,
					 fmt->set_attrs(pte, level, is & ~(unsigned)PT_W));
			}
		}
	}
}

TEST(any_64_bits_have_a_kind)
{
	struct check_rng rng = check_rng_make(0);

	for (unsigned i = 0; i < 100000; i++) {
		const struct pgtable_format *fmt = formats[i % ARRAY_SIZE(formats)];
		unsigned level = (unsigned)check_below(&rng, 4);
		uint64_t pte = check_rand(&rng);
		enum pte_kind kind = fmt->kind(pte, level);

		CHECK(kind == PTE_HOLE || kind == PTE_LEAF || (kind == PTE_TABLE && level > 0));
		CHECK(IS_ALIGNED(fmt->addr(pte, level).v, PAGE_SIZE));
		CHECK(fmt->addr(pte, level).v < 1ull << 52);
		CHECK(fmt->attrs(pte, level) < 512);
	}
}

CHECK_MAIN()
