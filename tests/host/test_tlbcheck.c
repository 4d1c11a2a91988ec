// SPDX-License-Identifier: Apache-2.0
//
// The TLB and break-before-make checker: each violation is detected, nothing legal is.
//
// LINK: hyp/stage2.c hyp/pgtable.c hyp/tlbcheck.c hyp/page_alloc.c hyp/lock.c
// LINK: arch/arm64/stage2_format.c arch/x86/vmx/ept_format.c
// LINK: tests/host/fake_arch.c tests/host/fake_tlb.c

#include <arch/format.h>
#include <hyp/page_alloc.h>
#include <hyp/stage2.h>
#include <hyp/tlbcheck.h>

#include "check.h"
#include "fake.h"

#define RWX (PT_R | PT_W | PT_X)
#define ARM (&arm64_stage2_format)
#define EPT (&ept_format)

static struct tlbcheck c;

static uint64_t leaf(const struct pgtable_format *fmt, uint64_t a, unsigned level, unsigned attrs)
{
	return fmt->make_leaf(hpa(a), level, attrs);
}

static void fresh(void)
{
	fake_reset(1);
	memset(&c, 0, sizeof(c));
}

TEST(live_table_by_block_and_back)
{
	uint64_t table = ARM->make_table(hpa(0x1000));
	uint64_t block = leaf(ARM, 0x200000, 1, RWX);

	fresh();
	CHECK(FAKE_PANICS(tlbcheck_store(&c, ARM, 0, 1, table, block), "tlbcheck"));
	CHECK(FAKE_PANICS(tlbcheck_store(&c, ARM, 0, 1, block, table), "block<->table"));
	// Without break-before-make it is only owed.
	table = EPT->make_table(hpa(0x1000));
	block = leaf(EPT, 0x200000, 1, RWX);
	tlbcheck_store(&c, EPT, 0, 1, block, table);
	CHECK_EQ(c.count, 1);
	CHECK(FAKE_PANICS(tlbcheck_idle(&c, "here"), "here with 1 invalidations owed"));
}

TEST(live_address_and_type_change)
{
	fresh();
	CHECK(FAKE_PANICS(tlbcheck_store(&c, ARM, 0, 0, leaf(ARM, 0x1000, 0, RWX),
					 leaf(ARM, 0x2000, 0, RWX)), "address change"));
	CHECK(FAKE_PANICS(tlbcheck_store(&c, ARM, 0, 1, ARM->make_table(hpa(0x1000)),
					 ARM->make_table(hpa(0x2000))), "address change"));
	CHECK(FAKE_PANICS(tlbcheck_store(&c, ARM, 0, 0, leaf(ARM, 0x1000, 0, RWX),
					 leaf(ARM, 0x1000, 0, RWX | PT_DEVICE)), "memory type"));
	CHECK_EQ(c.count, 0);
	tlbcheck_store(&c, EPT, 0, 0, leaf(EPT, 0x1000, 0, RWX), leaf(EPT, 0x2000, 0, RWX));
	CHECK_EQ(c.count, 1);
}

TEST(make_before_the_flush)
{
	fresh();
	tlbcheck_store(&c, ARM, 0x200000, 1, leaf(ARM, 0, 1, RWX), 0);
	CHECK(FAKE_PANICS(tlbcheck_store(&c, ARM, 0x200000, 1, 0, ARM->make_table(hpa(0x1000))),
			  "made before the flush"));
	CHECK(FAKE_PANICS(tlbcheck_store(&c, ARM, 0x201000, 0, 0, leaf(ARM, 0x1000, 0, RWX)),
			  "made before the flush"));
	// Beside it, and after the flush, it is fine.
	tlbcheck_store(&c, ARM, 0x400000, 1, 0, leaf(ARM, 0x200000, 1, RWX));
	tlbcheck_flushed(&c, 0x200000, 0x400000, false);
	tlbcheck_store(&c, ARM, 0x200000, 1, 0, ARM->make_table(hpa(0x1000)));
	tlbcheck_idle(&c, "end");
}

TEST(what_is_owed_and_what_is_not)
{
	static const struct {
		unsigned from, to;
		bool owed;
	} rows[] = {
		{RWX, RWX, false},
		{PT_R, RWX, false},
		{PT_R | PT_X, RWX, false},
		{RWX, PT_R | PT_X, true},
		{RWX, PT_R | PT_W, true},
		{RWX, PT_W | PT_X, true},
		{RWX, RWX | PT_SW0, false},
		{PT_R | PT_W, PT_R | PT_W | PT_CLEANABLE, true},
		{PT_R | PT_W, PT_R | PT_W | PT_CLEANABLE | PT_DIRTY, false},
		{PT_R | PT_W | PT_CLEANABLE | PT_DIRTY, PT_R | PT_W | PT_CLEANABLE, true},
		{PT_R | PT_W | PT_CLEANABLE, PT_R | PT_W | PT_CLEANABLE | PT_DIRTY, false},
		{PT_R | PT_W | PT_CLEANABLE, PT_R, true},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		fresh();
		tlbcheck_store(&c, ARM, 0x5000, 0, leaf(ARM, 0x1000, 0, rows[i].from),
			       leaf(ARM, 0x1000, 0, rows[i].to));
		CHECK_EQ(c.count, rows[i].owed ? 1 : 0);
	}
	fresh();
	tlbcheck_store(&c, ARM, 0, 0, 0, leaf(ARM, 0x1000, 0, RWX));
	tlbcheck_store(&c, ARM, 0, 0, 0, 0);
	CHECK_EQ(c.count, 0);
	CHECK_EQ(c.comparisons, 2);
}

static void owe_page(uint64_t page)
{
	tlbcheck_store(&c, ARM, page * PAGE_SIZE, 0, leaf(ARM, 0x1000, 0, RWX), 0);
}

TEST(flushes_pay_exactly_what_they_cover)
{
	fresh();
	for (uint64_t p = 10; p < 20; p++) {
		owe_page(p);
	}
	CHECK_EQ(c.count, 1);
	tlbcheck_flushed(&c, 0, 10 * PAGE_SIZE, false);
	CHECK_EQ(c.count, 1);
	tlbcheck_flushed(&c, 14 * PAGE_SIZE, 16 * PAGE_SIZE, false);
	CHECK_EQ(c.count, 2);
	tlbcheck_flushed(&c, 9 * PAGE_SIZE, 12 * PAGE_SIZE, false);
	tlbcheck_flushed(&c, 18 * PAGE_SIZE, 30 * PAGE_SIZE, false);
	CHECK_EQ(c.count, 2);
	CHECK(FAKE_PANICS(tlbcheck_idle(&c, "x"), "x with 2"));
	tlbcheck_flushed(&c, 12 * PAGE_SIZE, 14 * PAGE_SIZE, false);
	tlbcheck_flushed(&c, 16 * PAGE_SIZE, 18 * PAGE_SIZE, false);
	tlbcheck_idle(&c, "paid");
	owe_page(3);
	owe_page(1000);
	tlbcheck_flushed(&c, 0, 0, true);
	tlbcheck_idle(&c, "all paid");
}

TEST(more_ranges_than_slots)
{
	fresh();
	for (uint64_t p = 0; p < 100; p++) {
		owe_page(p * 1000);
	}
	CHECK_EQ(c.count, TLBCHECK_SLOTS);
	// What lies between merged ranges is not held against a make.
	for (uint64_t p = 8; p < 99; p++) {
		tlbcheck_store(&c, ARM, (p * 1000 + 500) * PAGE_SIZE, 0, 0, leaf(ARM, 0x1000, 0, RWX));
	}
	// But the debt stays until all is flushed.
	tlbcheck_flushed(&c, 0, 98 * 1000 * PAGE_SIZE, false);
	CHECK(FAKE_PANICS(tlbcheck_idle(&c, "late"), "late"));
	tlbcheck_flushed(&c, 0, 100 * 1000 * PAGE_SIZE, false);
	tlbcheck_idle(&c, "paid");
}

// A random mix against one bit a page.
TEST(random_debts_against_bits)
{
	struct check_rng rng = check_rng_make(0);

	for (unsigned round = 0; round < 400; round++) {
		bool owed[64] = {false};

		fresh();
		for (unsigned step = 0; step < 12; step++) {
			uint64_t a = check_below(&rng, 64);
			uint64_t n = 1 + check_below(&rng, 64 - a);
			bool any = false;

			if (check_below(&rng, 2)) {
				owe_page(a);
				owed[a] = true;
			} else {
				tlbcheck_flushed(&c, a * PAGE_SIZE, (a + n) * PAGE_SIZE, false);
				memset(&owed[a], 0, n * sizeof(owed[0]));
			}
			for (unsigned i = 0; i < 64; i++) {
				any = any || owed[i];
			}
			// It may think more is owed than is, only after merging; never less.
			CHECK(!any || c.count != 0);
			if (!any && c.count != 0) {
				CHECK(c.owed[0].merged);
			}
		}
	}
}

// ---- through stage2.c: what a careless caller would do ----

static struct mem_pool pool;
static struct stage2 s2;
static struct tlb_batch b;

static void machine(void)
{
	fake_reset(1);
	page_alloc_add(fake_ram(16), 16);
	pool_init(&pool, fake_ram(64), 64);
	CHECK_EQ(pool_reserve(&pool, 32), 0);
	CHECK_EQ(stage2_init(&s2, &pool, 1, LOCK_STAGE2), 0);
	b = (struct tlb_batch)TLB_BATCH_INIT;
	stage2_lock(&s2);
}

TEST(unlock_with_a_flush_owed)
{
	machine();
	CHECK_EQ(stage2_map(&s2, gpa(0), fake_ram(1), 0, RWX, &b), 0);
	CHECK_EQ(stage2_wrprotect(&s2, gpa(0), 1, &b), 1);
	CHECK(FAKE_PANICS(stage2_unlock(&s2), "tlbcheck: stage-2 lock dropped"));
}

TEST(flush_of_the_wrong_range)
{
	machine();
	CHECK_EQ(stage2_map(&s2, gpa(0), fake_ram(1), 0, RWX, &b), 0);
	CHECK_EQ(stage2_wrprotect(&s2, gpa(0), 1, &b), 1);
	b.start = 0x1000;
	b.end = 0x2000;
	stage2_flush(&s2, &b);
	CHECK(FAKE_PANICS(stage2_unlock(&s2), "tlbcheck"));
}

TEST(table_page_freed_before_the_flush)
{
	machine();
	CHECK_EQ(stage2_map(&s2, gpa(0), fake_ram(1), 0, RWX, &b), 0);
	CHECK_EQ(stage2_unmap(&s2, gpa(0), 1, &b), 0);
	CHECK(FAKE_PANICS(pgtable_batch_free(&s2.pt, &b), "tlbcheck: table page freed"));
}

TEST(remap_in_one_lock_hold_needs_a_flush_between)
{
	machine();
	CHECK_EQ(stage2_map(&s2, gpa(0), fake_ram(1), 0, RWX, &b), 0);
	CHECK_EQ(stage2_map(&s2, gpa(0x1000), fake_ram(1), 0, RWX, &b), 0);
	CHECK_EQ(stage2_unmap(&s2, gpa(0), 1, &b), 0);
	CHECK(FAKE_PANICS((void)!stage2_map(&s2, gpa(0), fake_ram(1), 0, RWX, &b),
			  "made before the flush"));
	machine();
	CHECK_EQ(stage2_map(&s2, gpa(0), fake_ram(1), 0, RWX, &b), 0);
	CHECK_EQ(stage2_map(&s2, gpa(0x1000), fake_ram(1), 0, RWX, &b), 0);
	CHECK_EQ(stage2_unmap(&s2, gpa(0), 1, &b), 0);
	stage2_flush(&s2, &b);
	CHECK_EQ(stage2_map(&s2, gpa(0), fake_ram(1), 0, RWX, &b), 0);
	stage2_unlock(&s2);
}

TEST(a_store_behind_the_walkers_back)
{
	// What the walker itself can do is legal, so write the entry by hand and report it.
	uint64_t *entry;
	struct pt_leaf l;

	machine();
	CHECK_EQ(stage2_map(&s2, gpa(0), fake_ram_aligned(512, LEVEL_SIZE(1)), 1, RWX, &b), 0);
	entry = pgtable_ptr(s2.pt.fmt->addr(s2.pt.root_ptr[0], 2));
	l = stage2_lookup(&s2, gpa(0));
	CHECK_EQ(*entry, l.pte);
	CHECK(FAKE_PANICS(s2.pt.mm->observe(&s2.pt, 0, 1, l.pte, s2.pt.fmt->make_table(fake_ram(1))),
			  "live block<->table change"));
}

TEST(operations_need_the_lock)
{
	machine();
	stage2_unlock(&s2);
	CHECK(FAKE_PANICS((void)!stage2_map(&s2, gpa(0), fake_ram(1), 0, RWX, &b), "not held"));
	CHECK(FAKE_PANICS(stage2_flush(&s2, &b), "not held"));
	CHECK(FAKE_PANICS((void)stage2_lookup(&s2, gpa(0)), "not held"));
}

CHECK_MAIN()
