// SPDX-License-Identifier: Apache-2.0
/*
 * Soft timers: a sorted list per physical CPU and one hardware deadline, the earlier of the list's
 * head and the end of the running time slice. The list is guarded by its CPU's timer lock, because
 * a vCPU that moves cancels its timer from another CPU. Callbacks run without the lock; one that
 * has already been taken off the list may still run after a cancel elsewhere, so it may only wake
 * or pend, never assume that the timer was wanted.
 */
#include <arch/cpu.h>
#include <arch/time.h>
#include <hyp/boot_info.h>
#include <hyp/hyptimer.h>
#include <hyp/lock.h>
#include <hyp/sched.h>

static struct timer_list {
	struct spinlock lock;
	struct hyptimer *head;
	uint64_t first;			/* its deadline, ~0 without one; read without the lock */
	struct hyptimer *running;	/* whose callback is under way on this CPU */
} lists[BOOT_MAX_CPUS] = {
	[0 ... BOOT_MAX_CPUS - 1] = {.lock = SPINLOCK_INIT(LOCK_TIMER), .first = ~0ull},
};

void hyptimer_program(void)
{
	struct pcpu *c = this_pcpu();
	/* Not through the head: another CPU may cancel it and free what it stands in. */
	uint64_t deadline = __atomic_load_n(&lists[c->id].first, __ATOMIC_RELAXED);

	/* A slice that is over is a reason to look now; its deadline, in the past, would keep a
	 * level-sensitive timer asserted and the interrupt loop with it. */
	if (c->slice_end && arch_time_now() >= c->slice_end) {
		__atomic_store_n(&c->resched, 1, __ATOMIC_RELAXED);
	} else if (c->slice_end && c->slice_end < deadline) {
		deadline = c->slice_end;
	}
	arch_timer_program(deadline);
}

static void note_first(struct timer_list *l)
{
	__atomic_store_n(&l->first, l->head ? l->head->deadline : ~0ull, __ATOMIC_RELAXED);
}

static void unlink_timer(struct timer_list *l, struct hyptimer *t)
{
	for (struct hyptimer **p = &l->head; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			break;
		}
	}
	note_first(l);
	__atomic_store_n(&t->armed, false, __ATOMIC_RELEASE);
}

void hyptimer_cancel(struct hyptimer *t)
{
	while (__atomic_load_n(&t->armed, __ATOMIC_ACQUIRE)) {
		uint16_t cpu = __atomic_load_n(&t->cpu, __ATOMIC_RELAXED);
		struct timer_list *l = &lists[cpu];

		spin_lock(&l->lock);
		if (t->armed && t->cpu == cpu) {
			unlink_timer(l, t);
		}
		spin_unlock(&l->lock);
	}
}

void hyptimer_cancel_wait(struct hyptimer *t)
{
	hyptimer_cancel(t);
	/* Off every list, so no new call starts; wait for one that had. */
	for (unsigned i = 0; i < pcpu_count; i++) {
		while (__atomic_load_n(&lists[i].running, __ATOMIC_ACQUIRE) == t) {
			arch_cpu_relax();
		}
	}
}

void hyptimer_arm(struct hyptimer *t, uint64_t deadline)
{
	struct pcpu *c = this_pcpu();
	struct timer_list *l = &lists[c->id];
	struct hyptimer **p;

	/* Two CPUs that arm the same timer would put it into two lists. */
	while (__atomic_exchange_n(&t->arming, true, __ATOMIC_ACQUIRE)) {
		arch_cpu_relax();
	}
	hyptimer_cancel(t);
	spin_lock(&l->lock);
	t->deadline = deadline;
	t->cpu = (uint16_t)c->id;
	for (p = &l->head; *p && (*p)->deadline <= deadline; p = &(*p)->next) {
	}
	t->next = *p;
	*p = t;
	note_first(l);
	__atomic_store_n(&t->armed, true, __ATOMIC_RELEASE);
	spin_unlock(&l->lock);
	__atomic_store_n(&t->arming, false, __ATOMIC_RELEASE);
	hyptimer_program();
}

void hyptimer_run(void)
{
	struct timer_list *l = &lists[this_pcpu()->id];
	uint64_t now = arch_time_now();

	/* Bounded: only what was due at entry, so a callback that re-arms cannot hold us. */
	for (;;) {
		struct hyptimer *t;

		spin_lock(&l->lock);
		t = l->head;
		if (!t || t->deadline > now) {
			spin_unlock(&l->lock);
			break;
		}
		/* Before it stops being armed: who finds it disarmed finds it running. */
		__atomic_store_n(&l->running, t, __ATOMIC_RELAXED);
		unlink_timer(l, t);
		spin_unlock(&l->lock);
		t->fn(t);
		__atomic_store_n(&l->running, NULL, __ATOMIC_RELEASE);
	}
	hyptimer_program();
}
