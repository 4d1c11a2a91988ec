// SPDX-License-Identifier: Apache-2.0
//
// Spin locks: exclusion between threads, first come first served, and the debug checks.
//
// LINK: hyp/lock.c tests/host/fake_arch.c tests/host/fake_tlb.c hyp/stage2.c hyp/pgtable.c
// LINK: hyp/tlbcheck.c hyp/page_alloc.c arch/arm64/stage2_format.c

#include <hyp/lock.h>
#include <hyp/sched.h>
#include <pthread.h>

#include "check.h"
#include "fake.h"

static struct spinlock low, mid, high;

static void fresh(void)
{
	fake_reset(1);
	spin_init(&low, LOCK_VM);
	spin_init(&mid, LOCK_STAGE2);
	spin_init(&high, LOCK_LOG);
}

TEST(ascending_ranks_are_fine_in_any_order_of_release)
{
	fresh();
	for (unsigned i = 0; i < 6; i++) {
		spin_lock(&low);
		spin_lock(&mid);
		spin_lock(&high);
		CHECK_EQ(this_pcpu()->lock_depth, 3);
		spin_assert_held(&mid);
		spin_unlock(i % 2 ? &mid : &low);
		spin_unlock(i % 2 ? &low : &mid);
		spin_unlock(&high);
		CHECK_EQ(this_pcpu()->lock_depth, 0);
	}
}

TEST(a_lower_rank_panics)
{
	fresh();
	spin_lock(&mid);
	CHECK(FAKE_PANICS(spin_lock(&low), "rank 20 taken while holding rank 41"));
	// And still does when a higher one in between has gone.
	fresh();
	spin_lock(&low);
	spin_lock(&high);
	spin_unlock(&low);
	CHECK(FAKE_PANICS(spin_lock(&mid), "rank 41 taken while holding rank 90"));
}

TEST(the_same_rank_panics)
{
	struct spinlock other;

	fresh();
	spin_init(&other, LOCK_STAGE2);
	spin_lock(&mid);
	CHECK(FAKE_PANICS(spin_lock(&other), "rank 41 taken while holding rank 41"));
	CHECK(FAKE_PANICS(spin_lock(&mid), "taken twice"));
}

TEST(unlock_by_another_cpu_panics)
{
	fresh();
	spin_lock(&mid);
	fake_set_cpu(3);
	CHECK(FAKE_PANICS(spin_unlock(&mid), "rank 41 dropped by cpu 3, held by 0"));
	CHECK(FAKE_PANICS(spin_assert_held(&mid), "not held by cpu 3"));
	fake_set_cpu(0);
	spin_unlock(&mid);
	CHECK(FAKE_PANICS(spin_unlock(&mid), "held by -1"));
}

TEST(cpus_have_their_own_ranks)
{
	fresh();
	spin_lock(&high);
	fake_set_cpu(1);
	spin_lock(&low);
	spin_unlock(&low);
	fake_set_cpu(0);
	spin_unlock(&high);
}

#define THREADS 4u
#define TURNS	20000u
static uint64_t counter, inside;

static void *worker(void *arg)
{
	fake_set_cpu((unsigned)(uintptr_t)arg);
	for (unsigned i = 0; i < TURNS; i++) {
		spin_lock(&mid);
		if (inside++ != 0) {
			abort();
		}
		counter++;
		inside--;
		spin_unlock(&mid);
	}
	return NULL;
}

TEST(one_at_a_time)
{
	pthread_t t[THREADS];

	fresh();
	counter = 0;
	for (uintptr_t i = 0; i < THREADS; i++) {
		CHECK_EQ(pthread_create(&t[i], NULL, worker, (void *)(i + 1)), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
	}
	CHECK_EQ(counter, THREADS * TURNS);
	CHECK_EQ(mid.next, mid.owner);
}

TEST(tickets_wrap)
{
	fresh();
	mid.next = mid.owner = 0xfffffffe;
	for (unsigned i = 0; i < 5; i++) {
		spin_lock(&mid);
		spin_unlock(&mid);
	}
	CHECK_EQ(mid.owner, 3);
}

CHECK_MAIN()
