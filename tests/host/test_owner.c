// SPDX-License-Identifier: Apache-2.0
//
// The owner table against one word a page: transitions are all or nothing, wherever the range
// falls on chunks, RAM ranges and holes.
//
// LINK: hyp/owner.c hyp/page_alloc.c hyp/lock.c tests/host/fake_arch.c tests/host/fake_tlb.c
// LINK: hyp/stage2.c hyp/pgtable.c hyp/tlbcheck.c arch/arm64/stage2_format.c

#include <hyp/boot_info.h>
#include <hyp/err.h>
#include <hyp/owner.h>
#include <hyp/page_alloc.h>

#include "check.h"
#include "fake.h"

#define MB  (1ull << 20)
#define RAM FAKE_RAM_BASE

// Three ranges: odd edges, one that adjoins another, one behind a hole.
static void machine(void)
{
	fake_reset(1);
	boot_info = (struct boot_info){.fdt = HPA_NONE, .ram_count = 3, .reserved_count = 1};
	boot_info.ram[0] = (struct mem_range){hpa(RAM + 0x5000), 7 * MB};
	boot_info.ram[1] = (struct mem_range){hpa(RAM + 0x5000 + 7 * MB), 3 * MB};
	boot_info.ram[2] = (struct mem_range){hpa(RAM + 16 * MB), 8 * MB};
	boot_info.reserved[0] = (struct mem_range){hpa(RAM + 17 * MB + 0x10), 2 * PAGE_SIZE};
	owner_init();
}

static struct owner hyp(void) { return owner_of(OWNER_HYP, 0); }

static bool same(struct owner a, struct owner b)
{
	return a.kind == b.kind && a.vm == b.vm;
}

TEST(after_boot)
{
	machine();
	CHECK(same(owner_get(hpa(RAM)), owner_of(OWNER_NONE, 0)));
	CHECK(same(owner_get(hpa(RAM + 0x5000)), hyp()));
	CHECK(same(owner_get(hpa(RAM + 0x4000)), owner_of(OWNER_NONE, 0)));
	CHECK(same(owner_get(hpa(RAM + 12 * MB)), owner_of(OWNER_NONE, 0)));
	CHECK(same(owner_get(hpa(RAM + 17 * MB)), owner_of(OWNER_NONE, 0)));
	CHECK(same(owner_get(hpa(RAM + 17 * MB + 2 * PAGE_SIZE)), owner_of(OWNER_NONE, 0)));
	CHECK(same(owner_get(hpa(RAM + 17 * MB + 3 * PAGE_SIZE)), hyp()));
	CHECK(same(owner_get(hpa(RAM + 24 * MB)), owner_of(OWNER_NONE, 0)));
	CHECK(same(owner_get(hpa(~0xfffull)), owner_of(OWNER_NONE, 0)));
	CHECK(same(owner_get(hpa(0)), owner_of(OWNER_NONE, 0)));
}

TEST(kinds_and_handles_there_and_back)
{
	struct owner from = hyp();

	machine();
	for (unsigned kind = OWNER_HYP; kind <= OWNER_VM_POOL; kind++) {
		for (unsigned vm = 0; vm < 512; vm += 73) {
			uint16_t handle = kind >= OWNER_VM_SHARED ? (uint16_t)vm : 0;
			struct owner to = owner_of((enum owner_kind)kind, handle);

			CHECK_EQ(owner_change(hpa(RAM + 20 * MB), 3, from, to), 0);
			CHECK(same(owner_get(hpa(RAM + 20 * MB + PAGE_SIZE)), to));
			from = to;
		}
	}
	// Same kind, another VM: not the same owner.
	CHECK_EQ(owner_change(hpa(RAM + 20 * MB), 3, owner_of(OWNER_VM_POOL, 1), hyp()), -TM_EACCES);
}

TEST(bad_ranges)
{
	machine();
	CHECK_EQ(owner_change(hpa(RAM + 20 * MB + 1), 1, hyp(), hyp()), -TM_EACCES);
	CHECK_EQ(owner_change(hpa(RAM + 20 * MB), ~0ull, hyp(), hyp()), -TM_EACCES);
	CHECK_EQ(owner_change(hpa(RAM + 20 * MB), ~0ull - (RAM >> 12) - 5120 + 1, hyp(), hyp()),
		 -TM_EACCES);
	CHECK_EQ(owner_change(hpa(~0xfffull), 2, hyp(), hyp()), -TM_EACCES);
	CHECK_EQ(owner_change(hpa(RAM), 1, owner_of(OWNER_NONE, 0), hyp()), -TM_EACCES);
	CHECK_EQ(owner_change(hpa(RAM + 23 * MB), 257, hyp(), hyp()), -TM_EACCES);
	CHECK_EQ(owner_change(hpa(RAM + 23 * MB), 0, hyp(), hyp()), 0);
	CHECK(!owner_range_is(hpa(RAM + 23 * MB + 8), 1, hyp()));
	// Over the seam of adjoining ranges, and of chunks.
	CHECK(owner_range_is(hpa(RAM + 0x5000), 10 * MB / PAGE_SIZE, hyp()));
	CHECK(!owner_range_is(hpa(RAM + 0x5000), 10 * MB / PAGE_SIZE + 1, hyp()));
}

static struct owner model[24 * MB / PAGE_SIZE];

TEST(random_against_one_word_a_page)
{
	static const struct owner owners[] = {
		{OWNER_HYP, 0}, {OWNER_MANAGER, 0}, {OWNER_VM_SHARED, 3}, {OWNER_VM_SHARED, 511},
		{OWNER_VM_POOL, 3},
	};
	struct check_rng rng = check_rng_make(0);
	uint64_t pages = ARRAY_SIZE(model);
	unsigned changed = 0, refused = 0;

	machine();
	for (uint64_t i = 0; i < pages; i++) {
		model[i] = owner_get(hpa(RAM + i * PAGE_SIZE));
	}
	for (unsigned step = 0; step < 6000; step++) {
		uint64_t first = check_below(&rng, pages);
		uint64_t n = 1 + check_below(&rng, 1ull << check_below(&rng, 12));
		struct owner to = owners[check_below(&rng, ARRAY_SIZE(owners))];
		struct owner from = model[first];
		bool all = true;

		if (check_below(&rng, 2)) {
			first &= ~511ull;
			from = model[first];
			n = 512 * (1 + check_below(&rng, 3));
		}
		// Often just as far as the owner goes.
		if (check_below(&rng, 2)) {
			for (n = 0; first + n < pages && same(model[first + n], from); n++) {
				continue;
			}
		}
		for (uint64_t i = first; i < first + n; i++) {
			all = all && i < pages && same(model[i], from);
		}
		// Not RAM: nobody's, and stays so.
		for (uint64_t i = first; all && i < first + n; i++) {
			uint64_t a = i * PAGE_SIZE;

			all = (a >= 0x5000 && a < 0x5000 + 10 * MB) || a >= 16 * MB;
		}
		CHECK_EQ(owner_range_is(hpa(RAM + first * PAGE_SIZE), n, from), all);
		if (from.kind == OWNER_NONE) {
			continue;
		}
		CHECK_EQ(owner_change(hpa(RAM + first * PAGE_SIZE), n, from, to),
			 all ? 0 : -TM_EACCES);
		for (uint64_t i = first; all && i < first + n; i++) {
			model[i] = to;
		}
		changed += all;
		refused += !all;
		for (unsigned i = 0; i < 40; i++) {
			uint64_t p = check_below(&rng, pages);

			CHECK(same(owner_get(hpa(RAM + p * PAGE_SIZE)), model[p]));
		}
		if (step % 200 == 0) {
			for (uint64_t p = 0; p < pages; p++) {
				CHECK(same(owner_get(hpa(RAM + p * PAGE_SIZE)), model[p]));
			}
		}
	}
	CHECK(changed > 500 && refused > 500);
}

CHECK_MAIN()
