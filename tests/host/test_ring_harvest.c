// SPDX-License-Identifier: Apache-2.0
//
// guests/lib/ring.c: against a producer that behaves as say, by single steps and
// with two threads (TSan too).
//
// LINK: guests/lib/ring.c

#include <pthread.h>
#include <tidemark/ring.h>
#include "check.h"

#define COUNT 256u

static struct tm_ring_entry entries[COUNT];

struct producer {
	uint32_t dirty;		/* free-running */
	uint32_t reset;
};

static bool push(struct producer *p, uint32_t slot, uint64_t offset)
{
	struct tm_ring_entry *e = &entries[p->dirty % COUNT];

	if (p->dirty - p->reset == COUNT) {
		return false;
	}
	e->slot = slot;
	e->offset = offset;
	__atomic_store_n(&e->flags, TM_RING_DIRTY, __ATOMIC_RELEASE);
	p->dirty++;
	return true;
}

static uint32_t reset(struct producer *p)
{
	uint32_t n = 0;

	while (p->reset != p->dirty) {
		struct tm_ring_entry *e = &entries[p->reset % COUNT];

		if ((__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & TM_RING_RESET) == 0) {
			break;
		}
		__atomic_store_n(&e->flags, 0, __ATOMIC_RELEASE);
		p->reset++;
		n++;
	}
	return n;
}

struct seen {
	uint64_t next;
	bool wrong;
	uint64_t stop_at;
};

static int see(void *arg, uint32_t slot, uint64_t offset)
{
	struct seen *s = arg;

	s->wrong |= offset != s->next || slot != (uint32_t)(s->next % 7);
	s->next++;
	return s->next == s->stop_at;
}

TEST(order_partial_and_wrap)
{
	struct producer p = {0, 0};
	struct seen s = {0, false, 0};
	struct tm_ring r;
	uint64_t n = 0;

	memset(entries, 0, sizeof(entries));
	tm_ring_init(&r, entries, COUNT, 0);
	CHECK_EQ(tm_ring_harvest(&r, see, &s, COUNT), 0);
	for (unsigned round = 0; round < 50; round++) {
		while (push(&p, (uint32_t)(n % 7), n)) {
			n++;
		}
		CHECK_EQ(tm_ring_pending(&r, COUNT), COUNT);
		CHECK_EQ(tm_ring_harvest(&r, see, &s, 100), 100);
		CHECK_EQ(tm_ring_pending(&r, 50), 50);
		CHECK_EQ(reset(&p), 100);
		CHECK_EQ(tm_ring_harvest(&r, see, &s, COUNT), COUNT - 100);
		CHECK_EQ(tm_ring_harvest(&r, see, &s, COUNT), 0);
		CHECK_EQ(reset(&p), COUNT - 100);
	}
	CHECK(!s.wrong);
	CHECK_EQ(r.harvested, n);
}

TEST(callback_stops)
{
	struct producer p = {0, 0};
	struct seen s = {0, false, 3};
	struct tm_ring r;

	memset(entries, 0, sizeof(entries));
	tm_ring_init(&r, entries, COUNT, 0);
	for (uint64_t n = 0; n < 10; n++) {
		push(&p, (uint32_t)(n % 7), n);
	}
	CHECK_EQ(tm_ring_harvest(&r, see, &s, COUNT), 3);
	CHECK_EQ(reset(&p), 3);
	CHECK_EQ(tm_ring_pending(&r, COUNT), 7);
}

TEST(attach_after_a_dead_manager)
{
	struct producer p = {0, 0};
	struct tm_ring old;
	struct tm_ring r;
	struct tm_ring_entry out[COUNT];

	memset(entries, 0, sizeof(entries));
	tm_ring_init(&old, entries, COUNT, 0);
	for (uint64_t n = 0; n < COUNT; n++) {
		push(&p, 1, n);
	}
	/* it harvested 40, reset 10 of them, and died */
	CHECK_EQ(tm_ring_harvest_array(&old, out, 10), 10);
	CHECK_EQ(reset(&p), 10);
	CHECK_EQ(tm_ring_harvest_array(&old, out, 30), 30);
	tm_ring_init(&r, entries, COUNT, p.reset);
	CHECK_EQ(tm_ring_pending(&r, COUNT), COUNT - 40);
	CHECK_EQ(tm_ring_harvest_array(&r, out, COUNT), COUNT - 40);
	CHECK_EQ(out[0].offset, 40);
	CHECK_EQ(reset(&p), COUNT - 10);
}

TEST(all_harvested_ends)
{
	struct tm_ring r;
	struct tm_ring_entry out[1];

	for (unsigned i = 0; i < COUNT; i++) {
		entries[i].flags = TM_RING_RESET | TM_RING_DIRTY;
	}
	tm_ring_init(&r, entries, COUNT, 5);
	CHECK_EQ(tm_ring_harvest_array(&r, out, 1), 0);
	CHECK_EQ(tm_ring_pending(&r, COUNT), 0);
}

TEST(generation_bits_survive)
{
	struct tm_ring r;
	struct tm_ring_entry out[1];

	memset(entries, 0, sizeof(entries));
	entries[0].flags = 0xabcd0000 | TM_RING_DIRTY;
	tm_ring_init(&r, entries, COUNT, 0);
	CHECK_EQ(tm_ring_harvest_array(&r, out, 1), 1);
	CHECK_EQ(out[0].flags, 0xabcd0001);
	CHECK_EQ(entries[0].flags, 0xabcd0003);
}

#define TOTAL 200000u

static struct producer shared;

static void *produce(void *arg)
{
	uint64_t n = 0;

	(void)arg;
	while (n < TOTAL) {
		if (push(&shared, (uint32_t)(n % 7), n)) {
			n++;
		} else {
			reset(&shared);
		}
	}
	return NULL;
}

TEST(two_threads)
{
	struct seen s = {0, false, 0};
	struct tm_ring r;
	pthread_t t;

	memset(entries, 0, sizeof(entries));
	memset(&shared, 0, sizeof(shared));
	tm_ring_init(&r, entries, COUNT, 0);
	CHECK_EQ(pthread_create(&t, NULL, produce, NULL), 0);
	while (s.next < TOTAL) {
		tm_ring_harvest(&r, see, &s, 64);
	}
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK(!s.wrong);
}

CHECK_MAIN()
