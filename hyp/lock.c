// SPDX-License-Identifier: Apache-2.0
/*
 * Ticket locks: first come, first served. Debug builds keep what each CPU holds and panic on a rank
 * that is not above all held ones, on a second take and on an unlock by somebody else.
 */
#include <arch/cpu.h>
#include <hyp/boot_info.h>
#include <hyp/err.h>
#include <hyp/lock.h>
#include <hyp/sched.h>

#if DEBUG

#define HELD_MAX 16u

/* By CPU number; each CPU touches its own row only. pcpu->lock_depth counts the row. */
static uint16_t held[BOOT_MAX_CPUS][HELD_MAX];

static void check_lock(const struct spinlock *l)
{
	struct pcpu *c = this_pcpu();

	if (c == NULL) {
		return;
	}
	if (l->cpu_plus1 == c->id + 1) {
		panic("lock: rank %u taken twice by cpu %u", l->rank, c->id);
	}
	for (uint64_t i = 0; i < c->lock_depth; i++) {
		if (held[c->id][i] >= l->rank) {
			panic("lock: rank %u taken while holding rank %u", l->rank, held[c->id][i]);
		}
	}
	if (c->lock_depth == HELD_MAX) {
		panic("lock: cpu %u holds %u locks", c->id, HELD_MAX);
	}
}

static void note_locked(struct spinlock *l)
{
	struct pcpu *c = this_pcpu();

	if (c != NULL) {
		WRITE_ONCE(l->cpu_plus1, (uint16_t)(c->id + 1));
		held[c->id][c->lock_depth++] = l->rank;
	}
}

static void note_unlock(struct spinlock *l)
{
	struct pcpu *c = this_pcpu();
	uint64_t i = 0;

	if (c == NULL) {
		return;
	}
	if (l->cpu_plus1 != c->id + 1) {
		panic("lock: rank %u dropped by cpu %u, held by %d", l->rank, c->id,
		      (int)l->cpu_plus1 - 1);
	}
	WRITE_ONCE(l->cpu_plus1, 0);
	/* Ranks in a row ascend, so each stands there once; locks may go in any order. */
	while (held[c->id][i] != l->rank) {
		i++;
	}
	for (c->lock_depth--; i < c->lock_depth; i++) {
		held[c->id][i] = held[c->id][i + 1];
	}
}

#else

static inline void check_lock(const struct spinlock *l)
{
	(void)l;
}

static inline void note_locked(struct spinlock *l)
{
	(void)l;
}

static inline void note_unlock(struct spinlock *l)
{
	(void)l;
}

#endif

void spin_init(struct spinlock *l, enum lock_rank rank)
{
	*l = (struct spinlock)SPINLOCK_INIT((uint16_t)rank);
}

void spin_lock(struct spinlock *l)
{
	uint32_t ticket;

	check_lock(l);
	ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != ticket) {
		arch_cpu_wait_event();
	}
	note_locked(l);
}

void spin_unlock(struct spinlock *l)
{
	uint32_t next = l->owner + 1;

	note_unlock(l);
	__atomic_store_n(&l->owner, next, __ATOMIC_RELEASE);
	/* Store, then look for waiters: against the waiter's "ticket, then look at owner". */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&l->next, __ATOMIC_RELAXED) != next) {
		arch_cpu_wake_waiters();
	}
}

#if DEBUG
void spin_assert_held(const struct spinlock *l)
{
	struct pcpu *c = this_pcpu();

	if (c != NULL && READ_ONCE(l->cpu_plus1) != c->id + 1) {
		panic("lock: rank %u is not held by cpu %u", l->rank, c->id);
	}
}
#endif
