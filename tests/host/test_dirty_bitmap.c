// SPDX-License-Identifier: Apache-2.0
//
// The sparse bitmap against a flat one: every operation, odd sizes, failing leaves, two threads.
//
// LINK: hyp/dirty_bitmap.c hyp/page_alloc.c hyp/lock.c hyp/test_hooks.c
// LINK: tests/host/fake_arch.c tests/host/fake_tlb.c hyp/stage2.c hyp/pgtable.c hyp/tlbcheck.c
// LINK: arch/arm64/stage2_format.c hyp/owner.c

#include <hyp/dirty_bitmap.h>
#include <hyp/test_hooks.h>
#include <pthread.h>

#include "check.h"
#include "fake.h"

#define MAX_PAGES 300000u
#define POOL_PAGES 4096u

static struct mem_pool pool;
static struct dirty_bitmap map;
static uint8_t model[MAX_PAGES];

// test_hooks.c asks the boot line; there is none.
bool boot_option(const char *key, char *buf, size_t len);
bool boot_option(const char *key, char *buf, size_t len)
{
	(void)key, (void)buf, (void)len;
	return false;
}

static void start(uint64_t npages)
{
	fake_reset(check_seed());
	pool_init(&pool, fake_ram(POOL_PAGES), POOL_PAGES);
	memset(model, 0, sizeof(model));
	CHECK_EQ(dirty_bitmap_init(&map, &pool, npages), 0);
}

static void finish(void)
{
	dirty_bitmap_destroy(&map);
	CHECK_EQ(pool.free, POOL_PAGES);
	CHECK_EQ(pool.reserved, 0);
}

static uint64_t model_word(uint64_t w, uint64_t npages)
{
	uint64_t bits = 0;

	for (uint64_t i = 0; i < 64 && w * 64 + i < npages; i++) {
		bits |= (uint64_t)model[w * 64 + i] << i;
	}
	return bits;
}

static void compare(uint64_t npages)
{
	uint64_t words = (npages + 63) / 64, next = 0;
	bool any = false;

	for (uint64_t w = 0; w < words; w++) {
		uint64_t want = model_word(w, npages);

		CHECK_EQ(dirty_bitmap_word(&map, w), want);
		if (want) {
			any = true;
			CHECK_EQ(dirty_bitmap_next(&map, next), w);
			next = w + 1;
		}
	}
	CHECK_EQ(dirty_bitmap_next(&map, next), ~0ull);
	CHECK_EQ(dirty_bitmap_any(&map), any);
}

TEST(sizes)
{
	static const uint64_t sizes[] = {1, 63, 64, 65, 4095, 4096, 4097, 262144, 262145, 300000};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t n = sizes[i];

		start(n);
		compare(n);
		CHECK(dirty_bitmap_set(&map, n - 1));
		CHECK(!dirty_bitmap_set(&map, n - 1));
		CHECK(!dirty_bitmap_set(&map, n));	// outside: ignored
		CHECK(!dirty_bitmap_set(&map, ~0ull));
		model[n - 1] = 1;
		compare(n);
		dirty_bitmap_set_range(&map, 0, ~0ull);
		memset(model, 1, n);
		compare(n);
		finish();
	}
}

TEST(random_against_model)
{
	static const uint64_t sizes[] = {1000, 5000, 70000, 300000};
	struct check_rng rng = check_rng_make(2);

	for (unsigned s = 0; s < 4; s++) {
		uint64_t n = sizes[s];

		start(n);
		for (unsigned step = 0; step < 40000; step++) {
			uint64_t page = check_below(&rng, n), w = page / 64, mask, want;

			switch (check_below(&rng, 8)) {
			case 0: {
				uint64_t len = check_below(&rng, 700);

				dirty_bitmap_set_range(&map, page, len);
				memset(&model[page], 1, len > n - page ? n - page : len);
				break;
			}
			case 1:
			case 2:
				mask = check_below(&rng, 2) ? ~0ull : check_rand(&rng);
				want = model_word(w, n) & mask;
				CHECK_EQ(dirty_bitmap_clear_word(&map, w, mask), want);
				for (unsigned i = 0; i < 64 && w * 64 + i < n; i++) {
					model[w * 64 + i] &= !(mask >> i & 1);
				}
				break;
			default:
				CHECK_EQ(dirty_bitmap_set(&map, page), !model[page]);
				model[page] = 1;
			}
			if (step % 4000 == 0) {
				compare(n);
			}
		}
		compare(n);
		// Collect everything as GET_SPARSE does.
		for (uint64_t w = dirty_bitmap_next(&map, 0); w != ~0ull;
		     w = dirty_bitmap_next(&map, w + 1)) {
			CHECK_EQ(dirty_bitmap_clear_word(&map, w, ~0ull), model_word(w, n));
		}
		CHECK(!dirty_bitmap_any(&map));
		finish();
	}
}

// C-087 by count: an empty 1 TiB slot answers at once and costs nodes only.
TEST(empty_terabyte)
{
	uint64_t npages = 1ull << 28;

	fake_reset(1);
	pool_init(&pool, fake_ram(40000), 40000);
	CHECK(dirty_bitmap_pages_needed(npages) < npages / 32768 + 300);
	CHECK_EQ(dirty_bitmap_init(&map, &pool, npages), 0);
	CHECK(!dirty_bitmap_any(&map));
	CHECK_EQ(dirty_bitmap_next(&map, 0), ~0ull);
	CHECK(dirty_bitmap_set(&map, npages - 1));
	CHECK(dirty_bitmap_set(&map, npages / 2));
	CHECK_EQ(dirty_bitmap_next(&map, 0), npages / 128);
	CHECK_EQ(dirty_bitmap_next(&map, npages / 128 + 1), npages / 64 - 1);
	CHECK_EQ(map.leaves, 2);
	dirty_bitmap_destroy(&map);
	CHECK_EQ(pool.free, 40000);
}

TEST(init_without_memory)
{
	fake_reset(1);
	pool_init(&pool, fake_ram(4), 4);
	CHECK_EQ(dirty_bitmap_init(&map, &pool, 1u << 20), -TM_ENOMEM);
	CHECK_EQ(pool.free, 4);
	CHECK_EQ(pool.reserved, 0);
	// Every single allocation of init fails in turn.
	pool_init(&pool, fake_ram(POOL_PAGES), POOL_PAGES);
	for (unsigned nth = 1; nth < 8; nth++) {
		int err;

		(void)inject_configure(INJECT_POOL, nth);
		err = dirty_bitmap_init(&map, &pool, 1u << 20);
		(void)inject_configure(INJECT_POOL, 0);
		if (err == 0) {
			dirty_bitmap_destroy(&map);
		}
		CHECK_EQ(pool.free, POOL_PAGES);
		CHECK_EQ(pool.reserved, 0);
	}
}

// C-086, R-12, L14: a leaf that cannot be allocated is reported whole, and counted.
TEST(failing_leaf)
{
	start(10000);
	CHECK_EQ(inject_configure(INJECT_BITMAP_LEAF, 1), 0);
	CHECK(dirty_bitmap_set(&map, 5000));
	CHECK_EQ(map.fallbacks, 1);
	CHECK_EQ(map.leaves, 0);
	memset(&model[4096], 1, 4096);
	compare(10000);
	CHECK(!dirty_bitmap_set(&map, 5001));
	// Memory is back: clearing a part keeps the rest.
	CHECK_EQ(dirty_bitmap_clear_word(&map, 5000 / 64, ~0ull), ~0ull);
	memset(&model[5000 / 64 * 64], 0, 64);
	compare(10000);
	CHECK_EQ(map.fallbacks, 1);
	// Still none: reported again, never lost.
	CHECK_EQ(inject_configure(INJECT_BITMAP_LEAF, 1), 0);
	CHECK(dirty_bitmap_set(&map, 9999));
	CHECK_EQ(inject_configure(INJECT_BITMAP_LEAF, 1), 0);
	CHECK_EQ(dirty_bitmap_clear_word(&map, 8192 / 64, ~0ull), ~0ull);
	CHECK_EQ(dirty_bitmap_word(&map, 8192 / 64), ~0ull);
	CHECK_EQ(dirty_bitmap_word(&map, 9999 / 64), (1ull << 16) - 1);
	finish();
}

TEST(overflow_set_runs_out)
{
	fake_reset(1);
	pool_init(&pool, fake_ram(64), 64);
	memset(model, 0, sizeof(model));
	CHECK_EQ(dirty_bitmap_init_overflow(&map, &pool, 200000), 0);
	for (uint64_t page = 0; page < 200000; page += 4096) {
		CHECK(dirty_bitmap_set(&map, page));
	}
	CHECK(map.fallbacks > 0);
	for (uint64_t page = 0; page < 200000; page += 4096) {
		CHECK(dirty_bitmap_word(&map, page / 64) & 1);
	}
	dirty_bitmap_destroy(&map);
	CHECK_EQ(pool.free, 64);
}

TEST(initially_set)
{
	static const uint64_t sizes[] = {1, 100, 4096, 12345, 262144, 300000};

	for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		uint64_t n = sizes[s];

		start(n);
		dirty_bitmap_set_all(&map);
		memset(model, 1, n);
		CHECK_EQ(map.leaves, 0);
		compare(n);
		for (uint64_t w = 0; w < (n + 63) / 64; w += 3) {
			CHECK_EQ(dirty_bitmap_clear_word(&map, w, ~0ull), model_word(w, n));
			memset(&model[w * 64], 0, w * 64 + 64 > n ? n - w * 64 : 64);
		}
		compare(n);
		finish();
	}
}

// ---- threads: setters race with a collector; every set is collected ----

#define SETS 200000u
#define THREAD_PAGES 20000u

static uint64_t set_seq[THREAD_PAGES], seen_seq[THREAD_PAGES];
static bool setters_done;

static void *setter(void *arg)
{
	struct check_rng rng = check_rng_make((uint64_t)(uintptr_t)arg);

	fake_set_cpu((unsigned)(uintptr_t)arg);
	for (unsigned i = 0; i < SETS; i++) {
		uint64_t page = check_below(&rng, THREAD_PAGES / 2) * 2 +
				((uintptr_t)arg & 1);

		__atomic_fetch_add(&set_seq[page], 1, __ATOMIC_RELEASE);
		(void)dirty_bitmap_set(&map, page);
	}
	return NULL;
}

static void collect_once(void)
{
	for (uint64_t w = dirty_bitmap_next(&map, 0); w != ~0ull;
	     w = dirty_bitmap_next(&map, w + 1)) {
		uint64_t bits = dirty_bitmap_clear_word(&map, w, ~0ull);

		for (; bits; bits &= bits - 1) {
			uint64_t page = w * 64 + (unsigned)__builtin_ctzll(bits);

			seen_seq[page] = __atomic_load_n(&set_seq[page], __ATOMIC_ACQUIRE);
		}
	}
}

static void *collector(void *arg)
{
	(void)arg;
	fake_set_cpu(5);
	while (!__atomic_load_n(&setters_done, __ATOMIC_ACQUIRE)) {
		collect_once();
	}
	return NULL;
}

TEST(threads)
{
	pthread_t t[3];

	start(THREAD_PAGES);
	memset(set_seq, 0, sizeof(set_seq));
	memset(seen_seq, 0, sizeof(seen_seq));
	setters_done = false;
	pthread_create(&t[0], NULL, setter, (void *)1);
	pthread_create(&t[1], NULL, setter, (void *)2);
	pthread_create(&t[2], NULL, collector, NULL);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	__atomic_store_n(&setters_done, true, __ATOMIC_RELEASE);
	pthread_join(t[2], NULL);
	collect_once();
	for (unsigned page = 0; page < THREAD_PAGES; page++) {
		CHECK_EQ(seen_seq[page], set_seq[page]);
	}
	CHECK(!dirty_bitmap_any(&map));
	finish();
}

CHECK_MAIN()
