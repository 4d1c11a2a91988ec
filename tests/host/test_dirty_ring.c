// SPDX-License-Identifier: Apache-2.0
//
// The ring by itself: against a model, with a hostile manager, and with two threads.
//
// LINK: hyp/dirty_ring.c

#include <hyp/dirty_ring.h>
#include <pthread.h>

#include "check.h"

#define MAX_SIZE 65536u

static struct tm_ring_entry entries[MAX_SIZE];
static struct dirty_ring ring;

static void start(uint32_t size)
{
	memset(entries, 0, sizeof(entries));
	dirty_ring_init(&ring, entries, size, 0);
}

static void harvest(uint64_t i)
{
	struct tm_ring_entry *e = &entries[i & (ring.size - 1)];

	__atomic_store_n(&e->flags, e->flags | TM_RING_RESET, __ATOMIC_RELEASE);
}

TEST(limits)
{
	start(256);
	CHECK_EQ(ring.soft_limit, 192);
	dirty_ring_init(&ring, entries, 1024, 512);
	CHECK_EQ(ring.soft_limit, 1024 - 64 - 512);
	start(256);
	for (unsigned i = 0; i < 256; i++) {
		CHECK_EQ(dirty_ring_soft_full(&ring), i >= 192);
		CHECK_EQ(dirty_ring_push(&ring, 3, i, 0), 0);
		CHECK_EQ(dirty_ring_used(&ring), i + 1);
	}
	// hard-full overwrites nothing.
	CHECK_EQ(dirty_ring_push(&ring, 9, 9, 0), -TM_ENOSPC);
	for (unsigned i = 0; i < 256; i++) {
		CHECK_EQ(entries[i].flags, TM_RING_DIRTY);
		CHECK_EQ(entries[i].slot, 3);
		CHECK_EQ(entries[i].offset, i);
	}
}

// C-042, C-061: partial harvest; a gap stops reset.
TEST(harvest_in_order)
{
	struct tm_ring_entry e;

	start(256);
	for (unsigned i = 0; i < 10; i++) {
		CHECK_EQ(dirty_ring_push(&ring, 1, i, 0), 0);
	}
	CHECK(!dirty_ring_reset_one(&ring, &e));
	harvest(1);
	CHECK(!dirty_ring_reset_one(&ring, &e));
	harvest(0);
	CHECK(dirty_ring_reset_one(&ring, &e));
	CHECK_EQ(e.offset, 0);
	CHECK(dirty_ring_reset_one(&ring, &e));
	CHECK_EQ(e.offset, 1);
	CHECK(!dirty_ring_reset_one(&ring, &e));
	CHECK_EQ(entries[0].flags, 0);
	CHECK_EQ(dirty_ring_used(&ring), 8);
}

// C-063: which flag values count as harvested.
TEST(flag_values)
{
	static const struct {
		uint32_t flags;
		bool harvested;
	} rows[] = {{0xfffffffe, true}, {4, false}, {2, true}, {3, true}, {1, false}, {0, false},
		    {0xfffffffd, false}, {0x10000, false}, {0x10002, true}};
	struct tm_ring_entry e;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		start(256);
		CHECK_EQ(dirty_ring_push(&ring, 1, 5, 0), 0);
		entries[0].flags = rows[i].flags;
		CHECK_EQ(dirty_ring_reset_one(&ring, &e), rows[i].harvested);
	}
}

// C-060: RESET on entries that were never published, the whole ring.
TEST(never_published)
{
	struct tm_ring_entry e;

	start(256);
	for (unsigned i = 0; i < 256; i++) {
		entries[i].flags = TM_RING_RESET;
	}
	CHECK(!dirty_ring_reset_one(&ring, &e));
	CHECK_EQ(dirty_ring_used(&ring), 0);
	CHECK_EQ(dirty_ring_push(&ring, 1, 1, 0), 0);
	CHECK_EQ(entries[0].flags, TM_RING_DIRTY);
	CHECK(!dirty_ring_reset_one(&ring, &e));
}

TEST(generation_in_the_high_half)
{
	start(256);
	CHECK_EQ(dirty_ring_push(&ring, 1, 1, 0xabcd0000), 0);
	CHECK_EQ(entries[0].flags, 0xabcd0001);
}

// C-045: ten times around the largest ring.
TEST(wrap)
{
	struct tm_ring_entry e;
	uint64_t next = 0, done = 0;

	start(MAX_SIZE);
	while (done < 10ull * MAX_SIZE) {
		for (unsigned i = 0; i < 40000; i++) {
			CHECK_EQ(dirty_ring_push(&ring, (uint32_t)(next % 7), next, 0), 0);
			harvest(next++);
		}
		while (dirty_ring_reset_one(&ring, &e)) {
			CHECK_EQ(e.slot, done % 7);
			CHECK_EQ(e.offset, done);
			done++;
		}
		CHECK_EQ(done, next);
	}
}

// C-050, C-065: random rounds against counters, with random bytes over what is published.
TEST(random_rounds)
{
	struct check_rng rng = check_rng_make(1);
	struct tm_ring_entry e;
	uint64_t pushed = 0, freed = 0;

	start(1024);
	for (unsigned round = 0; round < 20000; round++) {
		uint64_t n = check_below(&rng, 300), want = 0, got = 0;

		while (n-- > 0 && dirty_ring_push(&ring, 1, pushed, 0) == 0) {
			pushed++;
		}
		CHECK(pushed - freed <= 1024);
		if (check_below(&rng, 4) == 0) {
			// Hostile bytes anywhere: only published entries may go.
			for (unsigned k = 0; k < 64; k++) {
				((uint64_t *)entries)[check_below(&rng, 2048)] = check_rand(&rng);
			}
			while (dirty_ring_reset_one(&ring, &e)) {
				freed++;
			}
			CHECK(freed <= pushed);
			continue;
		}
		want = check_below(&rng, pushed - freed + 1);
		for (uint64_t i = 0; i < pushed - freed; i++) {
			entries[(freed + i) & 1023].flags = i < want ? 3 : 1;
		}
		while (dirty_ring_reset_one(&ring, &e)) {
			got++;
		}
		CHECK_EQ(got, want);
		freed += got;
		CHECK_EQ(dirty_ring_used(&ring), pushed - freed);
	}
}

// ---- threads: producer, harvester, resetter (C-053 by model, R-19) ----

#define THREAD_ENTRIES 300000ull

static uint64_t bad;

static uint32_t slot_of(uint64_t i) { return (uint32_t)(i * 2654435761u >> 8 & 0xffff); }

static void *producer(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < THREAD_ENTRIES;) {
		if (dirty_ring_push(&ring, slot_of(i), i ^ 0x5555, 0) == 0) {
			i++;
		} else {
			sched_yield();
		}
	}
	return NULL;
}

static void *resetter(void *arg)
{
	struct tm_ring_entry e;

	(void)arg;
	for (uint64_t i = 0; i < THREAD_ENTRIES;) {
		if (dirty_ring_reset_one(&ring, &e)) {
			if (e.slot != slot_of(i) || e.offset != (i ^ 0x5555)) {
				__atomic_fetch_add(&bad, 1, __ATOMIC_RELAXED);
			}
			i++;
		} else {
			sched_yield();
		}
	}
	return NULL;
}

// As a manager does it: acquire the flags, read, release the harvest.
static void harvester(void)
{
	for (uint64_t i = 0; i < THREAD_ENTRIES;) {
		struct tm_ring_entry *e = &entries[i & (ring.size - 1)];
		uint32_t flags = __atomic_load_n(&e->flags, __ATOMIC_ACQUIRE);

		if ((flags & 3) != TM_RING_DIRTY) {
			sched_yield();
			continue;
		}
		if (__atomic_load_n(&e->slot, __ATOMIC_RELAXED) != slot_of(i) ||
		    __atomic_load_n(&e->offset, __ATOMIC_RELAXED) != (i ^ 0x5555)) {
			__atomic_fetch_add(&bad, 1, __ATOMIC_RELAXED);
		}
		__atomic_store_n(&e->flags, flags | TM_RING_RESET, __ATOMIC_RELEASE);
		i++;
	}
}

TEST(three_threads)
{
	pthread_t a, b;

	start(256);
	bad = 0;
	CHECK_EQ(pthread_create(&a, NULL, producer, NULL), 0);
	CHECK_EQ(pthread_create(&b, NULL, resetter, NULL), 0);
	harvester();
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	CHECK_EQ(bad, 0);
	CHECK_EQ(ring.dirty_index, THREAD_ENTRIES);
	CHECK_EQ(ring.reset_index, THREAD_ENTRIES);
}

CHECK_MAIN()
