// SPDX-License-Identifier: Apache-2.0
/*
 * The local APIC's timer: one-shot, periodic, TSC deadline (SDM volume 3, 11.5.4). l->lock guards
 * timer_*, tsc_deadline and the LVT entry's writes; interrupts are posted after it was dropped.
 *
 * A periodic timer fires once and is armed again when its vector is taken, with the ticks between
 * left out: however short the period, one pending tick is all that a vCPU that does not run costs.
 */
#include "board_priv.h"

#include <arch/time.h>

#define NEVER (~0ull)

static unsigned divider(const struct lapic *l)
{
	unsigned code = (l->timer_divide & 3) | (l->timer_divide >> 1 & 4);

	return 1u << ((code + 1) & 7);
}

static uint32_t mode_of(const struct lapic *l)
{
	return l->lvt[LVT_TIMER] & LVT_TIMER_MODE;
}

uint64_t lapic_timer_period(const struct lapic *l)
{
	uint64_t period = (uint64_t)l->timer_initial * divider(l);

	return mode_of(l) == LVT_TIMER_PERIODIC ? MAX(period, arch_time_freq() / TIMER_MIN_HZ) :
						  period;
}

/* A periodic timer whose tick is over goes on from there, without the ticks that were missed. */
static uint64_t next_due(const struct lapic *l, uint64_t now)
{
	uint64_t due = l->timer_due;

	if (due && now >= due && mode_of(l) == LVT_TIMER_PERIODIC) {
		uint64_t period = lapic_timer_period(l);

		due += ((now - due) / period + 1) * period;
	}
	return due;
}

/* Lock held. What is due: returns its vector, else arms and returns -1. */
static int step(struct lapic *l)
{
	uint64_t now = arch_time_now();
	uint32_t lvt = l->lvt[LVT_TIMER];

	if (!l->timer_due) {
		hyptimer_cancel(&l->timer);
		return -1;
	}
	if (now < l->timer_due) {
		if (l->timer_due == NEVER) {
			hyptimer_cancel(&l->timer);
		} else {
			hyptimer_arm(&l->timer, l->timer_due);
		}
		return -1;
	}
	if (mode_of(l) == LVT_TIMER_PERIODIC) {
		l->timer_due = next_due(l, now);
	} else {
		l->timer_due = 0;
		l->tsc_deadline = 0;
	}
	return lvt & LVT_MASKED ? -1 : (int)(lvt & 0xff);
}

static void fire(struct vcpu *v, int vector)
{
	if (vector >= (int)APIC_VECTOR_MIN) {
		(void)lapic_post(v, (unsigned)vector, false);
	} else if (vector >= 0) {
		lapic_error(v, ESR_RECV_VECTOR);
	}
}

void lapic_timer_fired(struct hyptimer *t)
{
	struct vcpu *v = container_of(t, struct vcpu, arch.lapic.timer);
	int vector;

	spin_lock(&v->arch.lapic.lock);
	vector = step(&v->arch.lapic);
	spin_unlock(&v->arch.lapic.lock);
	fire(v, vector);
}

void lapic_timer_taken(struct vcpu *v)
{
	lapic_timer_fired(&v->arch.lapic.timer);
}

/* --- registers --- */

uint32_t lapic_timer_count(struct vcpu *v)
{
	struct lapic *l = &v->arch.lapic;
	uint64_t now, due, left;

	spin_lock(&l->lock);
	now = arch_time_now();
	due = mode_of(l) == LVT_TIMER_DEADLINE ? 0 : next_due(l, now);
	left = due > now ? (due - now + divider(l) - 1) / divider(l) : 0;
	/* A period that we made longer counts from no more than it was told. */
	left = MIN(left, l->timer_initial);
	spin_unlock(&l->lock);
	return (uint32_t)left;
}

static void load_count(struct lapic *l)
{
	l->timer_due = l->timer_initial ? arch_time_now() + lapic_timer_period(l) : 0;
}

void lapic_timer_set_initial(struct vcpu *v, uint32_t val)
{
	struct lapic *l = &v->arch.lapic;
	int vector = -1;

	spin_lock(&l->lock);
	/* With deadlines the register is dead. */
	if (mode_of(l) != LVT_TIMER_DEADLINE) {
		l->timer_initial = val;
		load_count(l);
		vector = step(l);
	}
	spin_unlock(&l->lock);
	fire(v, vector);
}

/* A count under way goes on at the new rate. */
void lapic_timer_set_divide(struct vcpu *v, uint32_t val)
{
	struct lapic *l = &v->arch.lapic;
	int vector = -1;

	spin_lock(&l->lock);
	if (mode_of(l) == LVT_TIMER_DEADLINE || !l->timer_due) {
		l->timer_divide = val;
	} else {
		uint64_t now = arch_time_now(), due = next_due(l, now);
		uint64_t left = due > now ? (due - now) / divider(l) : 0;

		l->timer_divide = val;
		l->timer_due = now + MIN(left, l->timer_initial) * divider(l) + 1;
		vector = step(l);
	}
	spin_unlock(&l->lock);
	fire(v, vector);
}

void lapic_timer_set_lvt(struct vcpu *v, uint32_t val)
{
	struct lapic *l = &v->arch.lapic;
	int vector, expired;

	spin_lock(&l->lock);
	/* What came due before this write belongs to the entry as it was. */
	expired = l->timer_due && arch_time_now() >= l->timer_due ? step(l) : -1;
	if ((l->lvt[LVT_TIMER] ^ val) & LVT_TIMER_DEADLINE) {
		l->timer_due = 0;
		l->timer_initial = 0;
		l->tsc_deadline = 0;
	}
	l->lvt[LVT_TIMER] = val;
	vector = step(l);
	spin_unlock(&l->lock);
	fire(v, expired);
	fire(v, vector);
}

void lapic_timer_stop(struct lapic *l)
{
	spin_lock(&l->lock);
	l->timer_due = 0;
	l->tsc_deadline = 0;
	l->timer_initial = 0;
	l->timer_divide = 0;
	l->lvt[LVT_TIMER] = LVT_MASKED;
	hyptimer_cancel(&l->timer);
	spin_unlock(&l->lock);
}

/* --- TSC deadline --- */

/* Lock held: the timer as the deadline says; nothing in the other modes. */
static int follow_deadline(struct vcpu *v)
{
	struct lapic *l = &v->arch.lapic;
	uint64_t now = arch_time_now(), tsc = now + v->arch.tsc_offset;

	if (mode_of(l) != LVT_TIMER_DEADLINE) {
		return -1;
	}
	if (!l->tsc_deadline) {
		l->timer_due = 0;
	} else if (l->tsc_deadline <= tsc) {
		l->timer_due = MAX(now, 1);
	} else {
		uint64_t left = l->tsc_deadline - tsc;

		l->timer_due = left > NEVER - now ? NEVER : now + left;
	}
	return step(l);
}

uint64_t lapic_deadline_read(struct vcpu *v)
{
	struct lapic *l = &v->arch.lapic;
	uint64_t val = 0;

	spin_lock(&l->lock);
	/* One that has passed reads as 0 although the soft timer may be late. */
	if (mode_of(l) == LVT_TIMER_DEADLINE && l->timer_due > arch_time_now()) {
		val = l->tsc_deadline;
	}
	spin_unlock(&l->lock);
	return val;
}

void lapic_deadline_write(struct vcpu *v, uint64_t val)
{
	struct lapic *l = &v->arch.lapic;
	int vector = -1;

	spin_lock(&l->lock);
	if (mode_of(l) == LVT_TIMER_DEADLINE) {
		l->tsc_deadline = val;
		vector = follow_deadline(v);
	}
	spin_unlock(&l->lock);
	fire(v, vector);
}

void lapic_tsc_changed(struct vcpu *v)
{
	struct lapic *l = &v->arch.lapic;
	int vector;

	spin_lock(&l->lock);
	vector = follow_deadline(v);
	spin_unlock(&l->lock);
	fire(v, vector);
}

uint64_t lapic_tsc_deadline(struct vcpu *v)
{
	return READ_ONCE(v->arch.lapic.tsc_deadline);
}

void lapic_tsc_deadline_set(struct vcpu *v, uint64_t val)
{
	struct lapic *l = &v->arch.lapic;
	int vector;

	spin_lock(&l->lock);
	l->tsc_deadline = val;
	vector = follow_deadline(v);
	spin_unlock(&l->lock);
	fire(v, vector);
}

/* --- state --- */

uint64_t lapic_timer_left(struct vcpu *v)
{
	struct lapic *l = &v->arch.lapic;
	uint64_t now, due;

	spin_lock(&l->lock);
	now = arch_time_now();
	due = mode_of(l) == LVT_TIMER_DEADLINE ? 0 : next_due(l, now);
	spin_unlock(&l->lock);
	/* Due, but not yet fired: at once. */
	return !due ? 0 : due > now ? due - now : 1;
}

void lapic_timer_restore(struct vcpu *v, uint64_t left)
{
	struct lapic *l = &v->arch.lapic;
	int vector;

	spin_lock(&l->lock);
	if (mode_of(l) == LVT_TIMER_DEADLINE) {
		vector = follow_deadline(v);
	} else {
		l->timer_due = left ? arch_time_now() + left : 0;
		vector = step(l);
	}
	spin_unlock(&l->lock);
	fire(v, vector);
}
