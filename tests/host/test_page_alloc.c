// SPDX-License-Identifier: Apache-2.0
//
// The three allocators: nothing twice, nothing outside, all zero, counts exact, failures harmless.
//
// LINK: hyp/page_alloc.c hyp/lock.c tests/host/fake_arch.c tests/host/fake_tlb.c hyp/stage2.c
// LINK: hyp/pgtable.c hyp/tlbcheck.c arch/arm64/stage2_format.c

#include <arch/cpu.h>
#include <hyp/boot_info.h>
#include <hyp/err.h>
#include <hyp/page_alloc.h>
#include <hyp/test_hooks.h>

#include "check.h"
#include "fake.h"

#define MB (1ull << 20)
#define RAM FAKE_RAM_BASE

static bool is_zero(const void *page, uint64_t bytes)
{
	const uint64_t *p = page;

	for (uint64_t i = 0; i < bytes / 8; i++) {
		if (p[i] != 0) {
			return false;
		}
	}
	return true;
}

// ---- boot_alloc ----

static void boot_machine(void)
{
	fake_reset(1);
	boot_info = (struct boot_info){.fdt = HPA_NONE};
	boot_info.ram[0] = (struct mem_range){hpa(RAM), 64 * MB};
	boot_info.ram[1] = (struct mem_range){hpa(RAM + 256 * MB + 0x800), 16 * MB};
	boot_info.ram_count = 2;
	boot_info.image = (struct mem_range){hpa(RAM + 2 * MB), 3 * MB + 5};
	boot_info.modules = (struct mem_range){hpa(RAM + 32 * MB + 0x123), 4 * MB};
	boot_info.fdt = hpa(RAM + 63 * MB);
	boot_info.fdt_size = 0x3456;
	boot_info.reserved[0] = (struct mem_range){hpa(RAM), 0x1000};
	boot_info.reserved[1] = (struct mem_range){hpa(RAM + 3 * MB), 4 * MB};	/* overlaps image */
	boot_info.reserved[2] = (struct mem_range){hpa(RAM + 100 * MB), 4 * MB};	/* no RAM there */
	boot_info.reserved_count = 3;
}

static bool overlaps(uint64_t a, uint64_t n, struct mem_range r)
{
	return a < r.base.v + r.size && r.base.v < a + n;
}

static void check_boot_range(uint64_t a, uint64_t n)
{
	bool in = false;

	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		in = in || (a >= boot_info.ram[i].base.v &&
			    a + n <= boot_info.ram[i].base.v + boot_info.ram[i].size);
	}
	CHECK(in);
	CHECK(!overlaps(a, n, boot_info.image) && !overlaps(a, n, boot_info.modules));
	CHECK(!overlaps(a, n, (struct mem_range){boot_info.fdt, boot_info.fdt_size}));
	for (unsigned i = 0; i < boot_info.reserved_count; i++) {
		CHECK(!overlaps(a, n, boot_info.reserved[i]));
	}
}

TEST(boot_alloc_stays_in_free_ram)
{
	struct check_rng rng = check_rng_make(0);

	for (unsigned round = 0; round < 20; round++) {
		uint64_t at[256], size[256];
		unsigned n = 0;

		boot_machine();
		CHECK(boot_alloc_total() > 60 * MB && boot_alloc_total() < 73 * MB);
		while (n < 256) {
			uint64_t bytes = 1 + check_below(&rng, 600000);
			uint64_t align = PAGE_SIZE << check_below(&rng, 10);
			uint64_t total = boot_alloc_total();

			if (boot_alloc_largest() < bytes + align) {
				break;
			}
			at[n] = boot_alloc(bytes, align).v;
			size[n] = ALIGN_UP(bytes, PAGE_SIZE);
			CHECK(IS_ALIGNED(at[n], align));
			check_boot_range(at[n], size[n]);
			for (unsigned i = 0; i < n; i++) {
				CHECK(!overlaps(at[n], size[n], (struct mem_range){hpa(at[i]), size[i]}));
			}
			CHECK_EQ(boot_alloc_total(), total - size[n]);
			n++;
		}
		CHECK(n > 100);
	}
}

TEST(boot_alloc_takes_all_and_says_no)
{
	boot_machine();
	while (boot_alloc_largest() > 0) {
		uint64_t n = boot_alloc_largest();

		check_boot_range(boot_alloc(n, PAGE_SIZE).v, n);
	}
	CHECK_EQ(boot_alloc_total(), 0);
	CHECK(FAKE_PANICS((void)boot_alloc(1, PAGE_SIZE), "no free memory"));
	boot_machine();
	CHECK(FAKE_PANICS((void)boot_alloc(65 * MB, PAGE_SIZE), "no free memory"));
	CHECK(FAKE_PANICS((void)boot_alloc(~0ull - 0x10000, PAGE_SIZE), "no free memory"));
	boot_info.ram_count = 0;
	page_alloc_reset();
	CHECK(FAKE_PANICS((void)boot_alloc(1, PAGE_SIZE), "no free memory"));
}

// ---- page_alloc ----

TEST(pages_are_distinct_zero_and_counted)
{
	void *page[100];
	struct check_rng rng = check_rng_make(1);
	unsigned n = 0;

	fake_reset(1);
	page_alloc_add(fake_ram(65), 65);
	page_alloc_add(fake_ram(30), 30);
	CHECK_EQ(page_alloc_free_count(), 64 + 29);
	for (unsigned i = 0; i < 20000; i++) {
		if (check_below(&rng, 2) || n == 0) {
			void *p = page_alloc();

			CHECK_EQ(p == NULL, n == 93);
			if (p != NULL) {
				CHECK(is_zero(p, PAGE_SIZE));
				memset(p, 0xa5, PAGE_SIZE);
				for (unsigned k = 0; k < n; k++) {
					CHECK(page[k] != p);
				}
				page[n++] = p;
			}
		} else {
			unsigned k = (unsigned)check_below(&rng, n);

			page_free(page[k]);
			page[k] = page[--n];
		}
		CHECK_EQ(page_alloc_free_count(), 93 - n);
	}
}

TEST(contiguous_pages)
{
	struct check_rng rng = check_rng_make(2);
	struct {
		char *p;
		uint64_t n;
	} got[64];
	unsigned count = 0;
	uint64_t used = 0;
	unsigned refused = 0;

	fake_reset(1);
	page_alloc_add(fake_ram(1025), 1025);
	for (unsigned i = 0; i < 5000; i++) {
		if (count < 64 && check_below(&rng, 2)) {
			uint64_t n = 1 + check_below(&rng, 64);
			char *p = page_alloc_contig(n);

			if (p == NULL) {
				refused++;
				continue;
			}
			CHECK(is_zero(p, n * PAGE_SIZE));
			memset(p, 0x5a, n * PAGE_SIZE);
			if ((n & (n - 1)) == 0) {
				CHECK(IS_ALIGNED(virt_to_phys(p).v, n * PAGE_SIZE));
			}
			for (unsigned k = 0; k < count; k++) {
				CHECK(p + n * PAGE_SIZE <= got[k].p ||
				      got[k].p + got[k].n * PAGE_SIZE <= p);
			}
			got[count].p = p;
			got[count++].n = n;
			used += n;
		} else if (count > 0) {
			unsigned k = (unsigned)check_below(&rng, count);

			page_free_contig(got[k].p, got[k].n);
			used -= got[k].n;
			got[k] = got[--count];
		}
		CHECK_EQ(page_alloc_free_count(), 1024 - used);
	}
	CHECK(refused > 10);
	CHECK(page_alloc_contig(0) == NULL);
	CHECK(page_alloc_contig(5000) == NULL);
}

TEST(freeing_twice_or_elsewhere_panics)
{
	void *p;

	fake_reset(1);
	page_alloc_add(fake_ram(16), 16);
	p = page_alloc();
	page_free(p);
	CHECK(FAKE_PANICS(page_free(p), "freed twice"));
	fake_reset(1);
	page_alloc_add(fake_ram(16), 16);
	CHECK(FAKE_PANICS(page_free(phys_to_virt(fake_ram(1))), "not the hypervisor's"));
}

TEST(injected_failures)
{
	fake_reset(1);
	page_alloc_add(fake_ram(16), 16);
	fake_inject(INJECT_PAGE, 2);
	CHECK(page_alloc() != NULL);
	CHECK(page_alloc() == NULL);
	CHECK(page_alloc() != NULL);
	CHECK_EQ(page_alloc_free_count(), 13);
}

// ---- mem_pool ----

TEST(pool_setup_touches_no_page)
{
	struct mem_pool p;
	hpa_t base;

	fake_reset(1);
	// 512 MiB of address space that does not exist until touched.
	base = fake_ram(1 << 17);
	pool_init(&p, base, 1 << 17);
	CHECK_EQ(p.free, 1 << 17);
	CHECK_EQ(pool_alloc(&p, false).v, base.v);
	CHECK_EQ(p.free, (1 << 17) - 1);
}

TEST(pool_reservations_hold)
{
	struct mem_pool p;

	fake_reset(1);
	pool_init(&p, fake_ram(10), 10);
	CHECK_EQ(pool_reserve(&p, 11), -TM_ENOMEM);
	CHECK_EQ(pool_reserve(&p, ~0ull), -TM_ENOMEM);
	CHECK_EQ(pool_reserve(&p, 0), 0);
	CHECK_EQ(pool_reserve(&p, 6), 0);
	CHECK_EQ(pool_reserve(&p, 5), -TM_ENOMEM);
	CHECK_EQ(p.reserved, 6);
	// Four are free for all; the reserved six stay.
	for (unsigned i = 0; i < 4; i++) {
		CHECK(!hpa_is_none(pool_alloc(&p, false)));
	}
	CHECK(hpa_is_none(pool_alloc(&p, false)));
	for (unsigned i = 0; i < 6; i++) {
		CHECK(!hpa_is_none(pool_alloc(&p, true)));
	}
	CHECK(hpa_is_none(pool_alloc(&p, true)));
	CHECK_EQ(p.free, 0);
	CHECK_EQ(p.reserved, 0);
}

TEST(pool_random_against_a_model)
{
	struct check_rng rng = check_rng_make(3);

	for (unsigned round = 0; round < 20; round++) {
		struct {
			hpa_t page;
			bool reserve;
		} got[200];
		uint64_t reserved = 0;
		unsigned n = 0;
		struct mem_pool p;
		hpa_t base;

		fake_reset(1);
		base = fake_ram(200);
		pool_init(&p, base, 200);
		for (unsigned i = 0; i < 2000; i++) {
			bool reserve = check_below(&rng, 2);
			uint64_t k = check_below(&rng, 20);

			switch (check_below(&rng, 5)) {
			case 0:
				if (pool_reserve(&p, k) == 0) {
					reserved += k;
					CHECK(200 - n >= reserved);
				} else {
					CHECK(200 - n < reserved + k);
				}
				break;
			case 1:
				k = MIN(k, reserved);
				pool_unreserve(&p, k);
				reserved -= k;
				break;
			case 2:
			case 3: {
				hpa_t page = pool_alloc(&p, reserve);
				bool want = reserve ? reserved > 0 : 200 - n > reserved;

				CHECK_EQ(!hpa_is_none(page), want);
				if (want) {
					CHECK(page.v >= base.v && page.v < base.v + 200 * PAGE_SIZE);
					CHECK(is_zero(phys_to_virt(page), PAGE_SIZE));
					memset(phys_to_virt(page), 0x77, PAGE_SIZE);
					reserved -= reserve;
					for (unsigned j = 0; j < n; j++) {
						CHECK(got[j].page.v != page.v);
					}
					got[n].page = page;
					got[n++].reserve = reserve;
				}
				break;
			}
			default:
				if (n > 0) {
					unsigned j = (unsigned)check_below(&rng, n);

					pool_free(&p, got[j].page, got[j].reserve);
					reserved += got[j].reserve;
					got[j] = got[--n];
				}
				break;
			}
			CHECK_EQ(p.free, 200 - n);
			CHECK_EQ(p.reserved, reserved);
		}
	}
}

TEST(pool_out_of_the_hypervisors)
{
	struct mem_pool p;
	hpa_t a;

	fake_reset(1);
	page_alloc_add(fake_ram(9), 9);
	pool_init_hyp(&p);
	CHECK_EQ(pool_reserve(&p, 9), -TM_ENOMEM);
	CHECK_EQ(pool_reserve(&p, 8), 0);
	pool_unreserve(&p, 8);
	a = pool_alloc(&p, true);
	CHECK(!hpa_is_none(a));
	CHECK_EQ(page_alloc_free_count(), 7);
	pool_free(&p, a, true);
	CHECK_EQ(page_alloc_free_count(), 8);
	CHECK_EQ(p.reserved, 0);
}

TEST(pool_injection_spares_the_reservation)
{
	struct mem_pool p;

	fake_reset(1);
	pool_init(&p, fake_ram(10), 10);
	CHECK_EQ(pool_reserve(&p, 5), 0);
	fake_inject(INJECT_POOL, 1);
	CHECK(!hpa_is_none(pool_alloc(&p, true)));
	CHECK(hpa_is_none(pool_alloc(&p, false)));
	CHECK(!hpa_is_none(pool_alloc(&p, false)));
	fake_inject(INJECT_POOL, 1);
	CHECK_EQ(pool_reserve(&p, 1), -TM_ENOMEM);
	CHECK_EQ(p.reserved, 4);
}

CHECK_MAIN()
