// SPDX-License-Identifier: Apache-2.0
//
// hyp/stage2.c over the fake TLB: what was taken away is gone everywhere when the lock is dropped,
// what was granted works at once, leaf and table counts are exact, nothing leaks.
//
// LINK: hyp/stage2.c hyp/pgtable.c hyp/tlbcheck.c hyp/page_alloc.c hyp/lock.c
// LINK: arch/arm64/stage2_format.c arch/x86/vmx/ept_format.c arch/x86/svm/npt_format.c
// LINK: tests/host/fake_arch.c tests/host/fake_tlb.c

#include <arch/cpu.h>
#include <arch/format.h>
#include <arch/tlb.h>
#include <hyp/page_alloc.h>
#include <hyp/sched.h>
#include <hyp/stage2.h>
#include <hyp/test_hooks.h>
#include <pthread.h>
#include <sched.h>

#include "check.h"
#include "fake.h"

#define RWX (PT_R | PT_W | PT_X)
#define RX  (PT_R | PT_X)

static const struct {
	const struct pgtable_format *fmt;
	unsigned ia_bits, root_level;
} machines[] = {
	{&arm64_stage2_format, 40, 2},
	{&arm64_stage2_format, 43, 3},
	{&ept_format, 48, 3},
	{&npt_format, 48, 3},
};

static struct mem_pool pool;
static struct stage2 s2;
static struct tlb_batch batch;

static void start(unsigned machine, uint64_t seed)
{
	fake_reset(seed);
	fake_use_format(machines[machine].fmt, machines[machine].ia_bits,
			machines[machine].root_level);
	page_alloc_add(fake_ram(64), 64);
	pool_init(&pool, fake_ram(4096), 4096);
	CHECK_EQ(pool_reserve(&pool, 2048), 0);
	CHECK_EQ(stage2_init(&s2, &pool, 7, LOCK_STAGE2), 0);
	batch = (struct tlb_batch)TLB_BATCH_INIT;
}

static void finish(void)
{
	stage2_destroy(&s2);
	CHECK_EQ(pool.free, 4096);
	CHECK_EQ(pool.reserved, 2048);
	CHECK_EQ(page_alloc_free_count(), 63);
}

static enum fake_hit touch(unsigned cpu, uint64_t a, unsigned access, hpa_t *at)
{
	*at = HPA_NONE;
	return fake_translate(&s2, cpu, gpa(a), access, at, NULL, NULL);
}

TEST(unmap_is_seen_by_all_cpus)
{
	for (unsigned m = 0; m < ARRAY_SIZE(machines); m++) {
		hpa_t ram, at;

		start(m, check_seed());
		ram = fake_ram_aligned(512, LEVEL_SIZE(1));
		stage2_lock(&s2);
		CHECK_EQ(stage2_map(&s2, gpa(0x40200000), ram, 1, RWX, &batch), 0);
		stage2_flush(&s2, &batch);
		stage2_unlock(&s2);
		for (unsigned cpu = 0; cpu < FAKE_CPUS; cpu++) {
			CHECK_EQ(touch(cpu, 0x40203008, ACCESS_WRITE, &at), FAKE_HIT);
			CHECK_EQ(at.v, ram.v + 0x3008);
		}
		CHECK(fake_tlb.large_fills >= FAKE_CPUS);
		stage2_lock(&s2);
		CHECK_EQ(stage2_unmap(&s2, gpa(0x40203000), 1, &batch), 0);
		stage2_flush(&s2, &batch);
		stage2_unlock(&s2);
		CHECK_EQ(s2.leaves[1], 0);
		CHECK_EQ(s2.leaves[0], 511);
		for (unsigned cpu = 0; cpu < FAKE_CPUS; cpu++) {
			CHECK_EQ(touch(cpu, 0x40203008, ACCESS_READ, &at), FAKE_HOLE);
			CHECK_EQ(touch(cpu, 0x40204008, ACCESS_READ, &at), FAKE_HIT);
		}
		finish();
	}
}

TEST(table_that_came_off_is_not_walked_any_more)
{
	for (unsigned m = 0; m < ARRAY_SIZE(machines); m++) {
		hpa_t ram, at;

		start(m, check_seed());
		ram = fake_ram_aligned(512, LEVEL_SIZE(1));
		stage2_lock(&s2);
		for (unsigned i = 0; i < 512; i++) {
			CHECK_EQ(stage2_map(&s2, gpa(0x40200000 + i * PAGE_SIZE),
					    hpa_add(ram, i * PAGE_SIZE), 0, RWX, &batch), 0);
		}
		stage2_flush(&s2, &batch);
		stage2_unlock(&s2);
		// Fills walk caches as well as leaf entries.
		for (unsigned i = 0; i < 512; i++) {
			CHECK_EQ(touch(i % FAKE_CPUS, 0x40200000 + i * PAGE_SIZE, ACCESS_READ, &at),
				 FAKE_HIT);
		}
		stage2_lock(&s2);
		stage2_zap(&s2, gpa(0x40200000), 512, &batch);
		stage2_flush(&s2, &batch);
		CHECK_EQ(s2.pt.table_pages, 0);
		CHECK_EQ(pool.free, 4096);
		stage2_unlock(&s2);
		for (unsigned i = 0; i < 512; i++) {
			CHECK_EQ(touch(i % FAKE_CPUS, 0x40200000 + i * PAGE_SIZE, ACCESS_READ, &at),
				 FAKE_HOLE);
		}
		// Largest leaf again.
		stage2_lock(&s2);
		CHECK_EQ(stage2_map(&s2, gpa(0x40200000), ram, 1, RWX, &batch), 0);
		stage2_flush(&s2, &batch);
		stage2_unlock(&s2);
		CHECK_EQ(s2.leaves[1], 1);
		finish();
	}
}

TEST(wrprotect_stops_writes_grant_allows_them)
{
	for (unsigned m = 0; m < ARRAY_SIZE(machines); m++) {
		hpa_t ram, at;

		start(m, check_seed());
		fake_tlb_drop_one_in = 0;
		ram = fake_ram(64);
		stage2_lock(&s2);
		for (unsigned i = 0; i < 64; i++) {
			CHECK_EQ(stage2_map(&s2, gpa(i * PAGE_SIZE), hpa_add(ram, i * PAGE_SIZE), 0,
					    RWX, &batch), 0);
		}
		stage2_unlock(&s2);
		for (unsigned i = 0; i < 64; i++) {
			CHECK_EQ(touch(i % 2, i * PAGE_SIZE, ACCESS_WRITE, &at), FAKE_HIT);
		}
		stage2_lock(&s2);
		CHECK_EQ(stage2_wrprotect_mask(&s2, gpa(0), 0xff00ff00f0f00001ull, &batch), 25);
		CHECK_EQ(stage2_wrprotect_mask(&s2, gpa(0), 0xff00ff00f0f00001ull, &batch), 0);
		CHECK(batch.needed && !batch.all);
		stage2_flush(&s2, &batch);
		stage2_unlock(&s2);
		for (unsigned i = 0; i < 64; i++) {
			bool armed = (0xff00ff00f0f00001ull >> i) & 1;

			for (unsigned cpu = 0; cpu < 2; cpu++) {
				CHECK_EQ(touch(cpu, i * PAGE_SIZE, ACCESS_READ, &at), FAKE_HIT);
				CHECK_EQ(touch(cpu, i * PAGE_SIZE, ACCESS_WRITE, &at),
					 armed ? FAKE_FORBIDDEN : FAKE_HIT);
			}
		}
		// The grant works at once where it was asked for; CPU 1 may still hold read-only.
		fake_set_cpu(0);
		stage2_lock(&s2);
		stage2_make_writable(&s2, gpa(0));
		stage2_unlock(&s2);
		CHECK_EQ(touch(0, 8, ACCESS_WRITE, &at), FAKE_HIT);
		CHECK_EQ(touch(1, 8, ACCESS_WRITE, &at), FAKE_FORBIDDEN);
		stage2_lock(&s2);
		stage2_make_writable(&s2, gpa(65 * PAGE_SIZE));
		CHECK_EQ(stage2_wrprotect(&s2, gpa(0), 1ull << 20, &batch), 40);
		stage2_flush(&s2, &batch);
		stage2_unlock(&s2);
		CHECK_EQ(fake_tlb.flush_local, 1);
		finish();
	}
}

TEST(full_mask_wraps_nothing)
{
	hpa_t ram;

	start(0, 1);
	ram = fake_ram(66);
	stage2_lock(&s2);
	for (unsigned i = 0; i < 66; i++) {
		CHECK_EQ(stage2_map(&s2, gpa(i * PAGE_SIZE), hpa_add(ram, i * PAGE_SIZE), 0, RWX,
				    &batch), 0);
	}
	CHECK_EQ(stage2_wrprotect_mask(&s2, gpa(PAGE_SIZE), ~0ull, &batch), 64);
	CHECK(stage2_lookup(&s2, gpa(0)).attrs & PT_W);
	CHECK(stage2_lookup(&s2, gpa(65 * PAGE_SIZE)).attrs & PT_W);
	CHECK_EQ(stage2_wrprotect_mask(&s2, gpa(PAGE_SIZE), 0, &batch), 0);
	stage2_flush(&s2, &batch);
	stage2_unlock(&s2);
	finish();
}

TEST(split_keeps_translation_and_rights)
{
	for (unsigned m = 0; m < ARRAY_SIZE(machines); m++) {
		hpa_t ram, at;

		start(m, check_seed());
		ram = fake_ram_aligned(LEVEL_PAGES(2), LEVEL_SIZE(2));
		stage2_lock(&s2);
		CHECK_EQ(stage2_map(&s2, gpa(LEVEL_SIZE(2)), ram, 2, RX, &batch), 0);
		stage2_unlock(&s2);
		CHECK_EQ(touch(0, LEVEL_SIZE(2) + 5, ACCESS_READ, &at), FAKE_HIT);
		stage2_lock(&s2);
		CHECK_EQ(stage2_split(&s2, gpa(LEVEL_SIZE(2) + 0x12345000), &batch), 0);
		CHECK_EQ(stage2_split(&s2, gpa(LEVEL_SIZE(2) + 0x12345000), &batch), 0);
		stage2_flush(&s2, &batch);
		stage2_unlock(&s2);
		CHECK_EQ(s2.leaves[2], 0);
		CHECK_EQ(s2.leaves[1], 511);
		CHECK_EQ(s2.leaves[0], 512);
		for (uint64_t a = 0; a < LEVEL_SIZE(2); a += 0x345000) {
			CHECK_EQ(touch(1, LEVEL_SIZE(2) + a, ACCESS_EXEC, &at), FAKE_HIT);
			CHECK_EQ(at.v, ram.v + a);
			CHECK_EQ(touch(1, LEVEL_SIZE(2) + a, ACCESS_WRITE, &at), FAKE_FORBIDDEN);
		}
		finish();
	}
}

TEST(tables_needed_is_enough_and_not_silly)
{
	static const struct {
		uint64_t a, pages;
	} ranges[] = {{0, 1}, {0x1ff000, 2}, {0x3ffff000, 2}, {0x12345000, 5000}, {0, 1 << 18},
		      {0x7ffff000, 0x40002}};

	for (unsigned m = 0; m < ARRAY_SIZE(machines); m++) {
		for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++) {
			uint64_t need;
			hpa_t page;

			start(m, 1);
			page = fake_ram(1);
			need = stage2_tables_needed(gpa(ranges[i].a), ranges[i].pages);
			stage2_lock(&s2);
			for (uint64_t p = 0; p < ranges[i].pages; p += 512) {
				CHECK_EQ(stage2_map(&s2, gpa(ranges[i].a + p * PAGE_SIZE), page, 0, RX,
						    &batch), 0);
			}
			CHECK_EQ(stage2_map(&s2, gpa(ranges[i].a + (ranges[i].pages - 1) * PAGE_SIZE),
					    page, 0, RX, &batch), 0);
			stage2_unlock(&s2);
			CHECK_EQ(s2.pt.table_pages, need);
			finish();
		}
	}
	CHECK_EQ(stage2_tables_needed(gpa(0), 0), 0);
}

TEST(zap_takes_whole_leaves_and_needs_no_memory)
{
	hpa_t ram, at;

	start(0, 1);
	ram = fake_ram_aligned(1024, LEVEL_SIZE(1));
	stage2_lock(&s2);
	CHECK_EQ(stage2_map(&s2, gpa(0), ram, 1, RWX, &batch), 0);
	CHECK_EQ(stage2_map(&s2, gpa(LEVEL_SIZE(1)), hpa_add(ram, LEVEL_SIZE(1)), 1, RWX, &batch), 0);
	stage2_unlock(&s2);
	CHECK_EQ(touch(3, 0x1000, ACCESS_WRITE, &at), FAKE_HIT);
	stage2_lock(&s2);
	fake_inject(INJECT_TABLE, 1);
	stage2_zap(&s2, gpa(0x1ff000), 2, &batch);
	stage2_flush(&s2, &batch);
	stage2_unlock(&s2);
	fake_inject(INJECT_TABLE, 0);
	CHECK_EQ(s2.leaves[1], 0);
	CHECK_EQ(touch(3, 0x1000, ACCESS_READ, &at), FAKE_HOLE);
	finish();
}

TEST(the_missing_flush_shows)
{
	// The mutant, and the reason for the fake TLB: without the flush a write still goes through.
	hpa_t at;

	start(0, 1);
	fake_tlb_drop_one_in = 0;
	stage2_lock(&s2);
	CHECK_EQ(stage2_map(&s2, gpa(0), fake_ram(1), 0, RWX, &batch), 0);
	stage2_unlock(&s2);
	CHECK_EQ(touch(1, 0, ACCESS_WRITE, &at), FAKE_HIT);
	mutant_active = MUTANT_NO_TLB_FLUSH;
	stage2_lock(&s2);
	CHECK_EQ(stage2_wrprotect(&s2, gpa(0), 1, &batch), 1);
	stage2_flush(&s2, &batch);
	stage2_unlock(&s2);
	mutant_active = MUTANT_NONE;
	CHECK_EQ(touch(1, 0, ACCESS_WRITE, &at), FAKE_HIT);
	CHECK_EQ(touch(2, 0, ACCESS_WRITE, &at), FAKE_FORBIDDEN);
	finish();
}

TEST(nothing_survives_in_the_vmid)
{
	hpa_t at;

	start(0, 1);
	fake_tlb_drop_one_in = 0;
	stage2_lock(&s2);
	CHECK_EQ(stage2_map(&s2, gpa(0), fake_ram(1), 0, RWX, &batch), 0);
	stage2_unlock(&s2);
	CHECK_EQ(touch(5, 0, ACCESS_READ, &at), FAKE_HIT);
	stage2_destroy(&s2);
	// The next VM with this VMID.
	CHECK_EQ(stage2_init(&s2, &pool, 7, LOCK_STAGE2), 0);
	CHECK_EQ(touch(5, 0, ACCESS_READ, &at), FAKE_HOLE);
	finish();
}

TEST(empty_batch_does_nothing)
{
	start(0, 1);
	stage2_lock(&s2);
	stage2_flush(&s2, &batch);
	CHECK_EQ(stage2_unmap(&s2, gpa(0), 1ull << 28, &batch), 0);
	CHECK_EQ(stage2_wrprotect(&s2, gpa(0), 1ull << 28, &batch), 0);
	stage2_zap(&s2, gpa(0), 0, &batch);
	stage2_flush(&s2, &batch);
	stage2_unlock(&s2);
	CHECK_EQ(fake_tlb.flush_all + fake_tlb.flush_range + fake_tlb.flush_local, 0);
	CHECK_EQ(this_pcpu()->tlb_flushes, 0);
	finish();
}

TEST(no_root_page_is_enomem)
{
	fake_reset(1);
	pool_init(&pool, fake_ram(1), 1);
	CHECK_EQ(stage2_init(&s2, &pool, 1, LOCK_STAGE2), -TM_ENOMEM);
}

// ---- real threads: guests store while the manager arms --------------------------------------------

#define RACE_PAGES   32u
#define RACE_CPUS    3u
#define RACE_ROUNDS  150u

static hpa_t race_ram;
static bool race_stop;
static uint64_t race_stores[RACE_CPUS];

static void race_store(void *ctx, hpa_t at)
{
	__atomic_fetch_add((uint64_t *)phys_to_virt(at), *(uint64_t *)ctx, __ATOMIC_SEQ_CST);
}

// A guest: counts up its words; on a fault takes the lock and grants, as fault.c would.
static void *race_guest(void *arg)
{
	unsigned cpu = (unsigned)(uintptr_t)arg;
	struct check_rng rng = check_rng_make(cpu);
	uint64_t one = 1;

	fake_set_cpu(cpu);
	while (!__atomic_load_n(&race_stop, __ATOMIC_ACQUIRE)) {
		uint64_t page = check_below(&rng, RACE_PAGES);
		gpa_t a = gpa(page * PAGE_SIZE + cpu * 8);
		hpa_t at;

		if (fake_translate(&s2, cpu, a, ACCESS_WRITE, &at, race_store, &one) == FAKE_HIT) {
			__atomic_fetch_add(&race_stores[cpu - 1], 1, __ATOMIC_RELAXED);
		} else if (check_below(&rng, 4) == 0) {
			stage2_lock(&s2);
			stage2_make_writable(&s2, a);
			stage2_unlock(&s2);
		}
	}
	return NULL;
}

static uint64_t race_sum(unsigned page)
{
	uint64_t *words = phys_to_virt(hpa_add(race_ram, page * PAGE_SIZE));
	uint64_t sum = 0;

	for (unsigned i = 0; i <= RACE_CPUS; i++) {
		sum += __atomic_load_n(&words[i], __ATOMIC_SEQ_CST);
	}
	return sum;
}

// Every page's content stands still from the flush until somebody is granted again.
static unsigned race_rounds(bool mutate)
{
	pthread_t guests[RACE_CPUS];
	unsigned lost = 0;

	start(0, check_seed());
	race_ram = fake_ram(RACE_PAGES);
	memset(race_stores, 0, sizeof(race_stores));
	race_stop = false;
	stage2_lock(&s2);
	for (unsigned i = 0; i < RACE_PAGES; i++) {
		CHECK_EQ(stage2_map(&s2, gpa(i * PAGE_SIZE), hpa_add(race_ram, i * PAGE_SIZE), 0, RWX,
				    &batch), 0);
	}
	stage2_unlock(&s2);
	for (uintptr_t i = 0; i < RACE_CPUS; i++) {
		CHECK_EQ(pthread_create(&guests[i], NULL, race_guest, (void *)(i + 1)), 0);
	}
	// All of them are under way before it counts.
	for (unsigned i = 0; i < RACE_CPUS; i++) {
		while (__atomic_load_n(&race_stores[i], __ATOMIC_RELAXED) < 10) {
			sched_yield();
		}
	}
	for (unsigned round = 0; round < RACE_ROUNDS; round++) {
		uint64_t before[RACE_PAGES];

		stage2_lock(&s2);
		mutant_active = mutate ? MUTANT_NO_TLB_FLUSH : MUTANT_NONE;
		stage2_wrprotect(&s2, gpa(0), RACE_PAGES, &batch);
		stage2_flush(&s2, &batch);
		mutant_active = MUTANT_NONE;
		for (unsigned i = 0; i < RACE_PAGES; i++) {
			before[i] = race_sum(i);
		}
		// Nobody gets a grant while the lock is held: nothing may change.
		for (unsigned k = 0; k < 20; k++) {
			sched_yield();
		}
		for (unsigned i = 0; i < RACE_PAGES; i++) {
			lost += race_sum(i) != before[i];
		}
		stage2_unlock(&s2);
		for (unsigned k = 0; k < 20; k++) {
			sched_yield();
		}
	}
	__atomic_store_n(&race_stop, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < RACE_CPUS; i++) {
		pthread_join(guests[i], NULL);
	}
	finish();
	return lost;
}

TEST(no_store_lands_after_the_flush)
{
	CHECK_EQ(race_rounds(false), 0);
}

TEST(without_the_flush_stores_do_land)
{
	CHECK(race_rounds(true) > 0);
}

// Everything at random against a flat model, with several CPUs' TLBs in between.
#define MODEL_PAGES 2048u
struct model_page {
	uint64_t hpa;		// 0: hole
	unsigned attrs;
};
static struct model_page model[MODEL_PAGES];

static void model_check(struct check_rng *rng, uint64_t base)
{
	for (unsigned i = 0; i < 400; i++) {
		unsigned page = (unsigned)check_below(rng, MODEL_PAGES);
		unsigned access = 1u << check_below(rng, 3);
		unsigned need = access == ACCESS_WRITE ? PT_W : access == ACCESS_EXEC ? PT_X : PT_R;
		hpa_t at;
		enum fake_hit hit = touch((unsigned)check_below(rng, FAKE_CPUS),
					  base + page * PAGE_SIZE + 16, access, &at);

		if (model[page].hpa == 0) {
			CHECK_EQ(hit, FAKE_HOLE);
		} else if (!(model[page].attrs & need)) {
			CHECK_EQ(hit, FAKE_FORBIDDEN);
		} else if (hit == FAKE_FORBIDDEN) {
			// Only a stale entry from before a grant may say so; asking anew must not.
			arch_tlb_flush_range(&s2, gpa(base + page * PAGE_SIZE), 1);
			hit = touch(0, base + page * PAGE_SIZE + 16, access, &at);
			CHECK_EQ(hit, FAKE_HIT);
		}
		if (hit == FAKE_HIT) {
			CHECK_EQ(at.v, model[page].hpa + 16);
		}
	}
}

static void random_step(struct check_rng *rng, uint64_t base, hpa_t ram)
{
	unsigned level = check_below(rng, 3) == 0 ? 1 : 0;
	unsigned page = (unsigned)check_below(rng, MODEL_PAGES) & ~(unsigned)(LEVEL_PAGES(level) - 1);
	unsigned n = (unsigned)check_below(rng, MODEL_PAGES - page) + 1;
	uint64_t a = base + page * PAGE_SIZE;
	struct pt_leaf leaf;
	hpa_t to;

	switch (check_below(rng, 5)) {
	case 0:
	case 1:
		to = hpa_add(ram, check_below(rng, 4) * LEVEL_SIZE(1) +
				   (level == 0 ? check_below(rng, 512) * PAGE_SIZE : 0));
		CHECK_EQ(stage2_map(&s2, gpa(a), to, level, RWX, &batch), 0);
		for (unsigned i = 0; i < LEVEL_PAGES(level); i++) {
			model[page + i] = (struct model_page){to.v + i * PAGE_SIZE, RWX};
		}
		break;
	case 2:
		CHECK_EQ(stage2_unmap(&s2, gpa(a), n, &batch), 0);
		memset(&model[page], 0, n * sizeof(model[0]));
		break;
	case 3:
		stage2_wrprotect(&s2, gpa(a), n, &batch);
		for (unsigned i = 0; i < MODEL_PAGES; i++) {
			leaf = stage2_lookup(&s2, gpa(base + i * PAGE_SIZE));
			if (leaf.kind == PTE_LEAF && leaf.start < a + n * PAGE_SIZE &&
			    a < leaf.start + LEVEL_SIZE(leaf.level)) {
				model[i].attrs &= ~(unsigned)PT_W;
			}
		}
		break;
	default:
		leaf = stage2_lookup(&s2, gpa(a));
		stage2_make_writable(&s2, gpa(a));
		if (leaf.kind == PTE_LEAF && leaf.level == 0) {
			model[page].attrs |= PT_W;
		}
		break;
	}
}

TEST(random_against_flat_model_through_tlbs)
{
	for (unsigned m = 0; m < ARRAY_SIZE(machines); m++) {
		struct check_rng rng = check_rng_make(m);
		uint64_t base = 0x40000000;
		uint64_t hits = 0, dropped = 0, large = 0, cached = 0;

		for (unsigned restart = 0; restart < 25; restart++) {
			hpa_t ram;

			start(m, check_rand(&rng));
			ram = fake_ram_aligned(4 * 512 + 512, LEVEL_SIZE(1));
			memset(model, 0, sizeof(model));
			for (unsigned step = 0; step < 20; step++) {
				unsigned ops = 1 + (unsigned)check_below(&rng, 3);

				fake_set_cpu((unsigned)check_below(&rng, FAKE_CPUS));
				stage2_lock(&s2);
				while (ops-- > 0) {
					random_step(&rng, base, ram);
					stage2_flush(&s2, &batch);
				}
				stage2_unlock(&s2);
				fake_set_cpu(0);
				model_check(&rng, base);
			}
			hits += fake_tlb.hits;
			dropped += fake_tlb.dropped;
			large += fake_tlb.large_fills;
			cached += fake_tlb.cached_walks;
			finish();
		}
		CHECK(hits > 1000 && dropped > 50 && large > 100 && cached > 100);
	}
}

CHECK_MAIN()
