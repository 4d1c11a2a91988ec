// SPDX-License-Identifier: Apache-2.0
/*
 * The local APIC of a vCPU: priorities, acceptance and end of interrupt, its life; lapic_regs.c has
 * the registers. Intel SDM volume 3, chapter 11. Who may touch what, without a lock: asm/lapic.h.
 * A bit of irr is set before its bit of irr_words, and irr_words is cleared before irr is looked at
 * once more, so a vector is never forgotten.
 */
#include "board_priv.h"

#include <hyp/sched.h>
#include <hyp/string.h>

static bool enabled(const struct lapic *l)
{
	return READ_ONCE(l->base) & APIC_BASE_EN;
}

bool lapic_is_x2apic(const struct vcpu *v)
{
	return READ_ONCE(v->arch.lapic.base) & APIC_BASE_EXTD;
}

uint32_t lapic_ldr(const struct lapic *l)
{
	if (READ_ONCE(l->base) & APIC_BASE_EXTD) {
		return (l->id >> 4) << 16 | 1u << (l->id & 15);
	}
	return READ_ONCE(l->ldr);
}

/* --- pending and in service --- */

/* The vector in service that is served first, or -1. */
static int in_service(const struct lapic *l)
{
	uint32_t words = READ_ONCE(l->isr_words), w;
	unsigned i;

	if (!words) {
		return -1;
	}
	i = 31u - (unsigned)__builtin_clz(words);
	w = READ_ONCE(l->isr[i & 7]);
	/* 0: we ask for a vCPU that was put away here and runs elsewhere already. */
	return likely(w != 0) ? (int)(i * 32 + 31) - __builtin_clz(w) : -1;
}

unsigned lapic_ppr(const struct lapic *l)
{
	int vector = in_service(l);
	unsigned class = vector < 0 ? 0 : (unsigned)vector & 0xf0;

	return (l->tpr & 0xf0) >= class ? l->tpr : class;
}

bool lapic_post(struct vcpu *v, unsigned vector, bool level)
{
	struct lapic *l = &v->arch.lapic;
	uint32_t bit = 1u << (vector % 32), word = (vector / 32) & 7, old;

	if (level) {
		__atomic_fetch_or(&l->tmr[word], bit, __ATOMIC_RELAXED);
	} else if (READ_ONCE(l->tmr[word]) & bit) {
		__atomic_fetch_and(&l->tmr[word], ~bit, __ATOMIC_RELAXED);
	}
	old = __atomic_fetch_or(&l->irr[word], bit, __ATOMIC_RELEASE);
	__atomic_fetch_or(&l->irr_words, 1u << word, __ATOMIC_SEQ_CST);
	/* The one that is current here looks before its next entry. */
	if (!(old & bit) && v != vcpu_current()) {
		vcpu_irq_kick(v);
	}
	return !(old & bit);
}

static int irr_highest(struct lapic *l)
{
	for (uint32_t words; (words = __atomic_load_n(&l->irr_words, __ATOMIC_ACQUIRE)) != 0;) {
		unsigned i = 31u - (unsigned)__builtin_clz(words);
		uint32_t w = __atomic_load_n(&l->irr[i & 7], __ATOMIC_ACQUIRE);

		if (w) {
			return (int)(i * 32 + 31) - __builtin_clz(w);
		}
		/* Bounded: each turn clears a word, and only another CPU sets one again. */
		__atomic_fetch_and(&l->irr_words, ~(1u << i), __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&l->irr[i & 7], __ATOMIC_SEQ_CST)) {
			__atomic_fetch_or(&l->irr_words, 1u << i, __ATOMIC_RELAXED);
		}
	}
	return -1;
}

static int deliverable(struct lapic *l)
{
	int vector;

	if (likely(!__atomic_load_n(&l->irr_words, __ATOMIC_ACQUIRE)) || !enabled(l)) {
		return -1;
	}
	vector = irr_highest(l);
	return vector >= 0 && ((unsigned)vector & 0xf0) > (lapic_ppr(l) & 0xf0) ? vector : -1;
}

bool lapic_takes_extint(const struct vcpu *v)
{
	const struct lapic *l = &v->arch.lapic;
	uint32_t lint0 = READ_ONCE(l->lvt[LVT_LINT0]);

	/* Without its local APIC the first CPU's pin is the INTR of old. */
	if (!enabled(l)) {
		return l->id == 0;
	}
	return !(lint0 & LVT_MASKED) && (lint0 >> 8 & 7) == APIC_EXTINT;
}

/* Every entry of every vCPU asks: the answer that there is nothing must cost nothing. */
static __attribute__((noinline)) int look(struct vcpu *v)
{
	struct board *b = &v->vm->arch.board;
	int vector = -1;

	if (unlikely(READ_ONCE(b->pic_out)) && lapic_takes_extint(v)) {
		spin_lock(&b->lock);
		vector = pic_peek(b);
		spin_unlock(&b->lock);
	}
	return vector >= 0 ? vector : deliverable(&v->arch.lapic);
}

int board_irq_pending(struct vcpu *v)
{
	if (likely(!(READ_ONCE(v->vm->arch.board.pic_out) |
		     __atomic_load_n(&v->arch.lapic.irr_words, __ATOMIC_ACQUIRE)))) {
		return -1;
	}
	return look(v);
}

int board_irq_accept(struct vcpu *v)
{
	struct board *b = &v->vm->arch.board;
	struct lapic *l = &v->arch.lapic;
	int vector = -1;

	if (unlikely(READ_ONCE(b->pic_out)) && lapic_takes_extint(v)) {
		spin_lock(&b->lock);
		vector = pic_accept(b);
		spin_unlock(&b->lock);
		if (vector >= 0) {
			return vector;
		}
	}
	vector = deliverable(l);
	if (vector >= 0) {
		unsigned word = (unsigned)vector / 32 & 7;
		uint32_t bit = 1u << (vector & 31);

		__atomic_fetch_and(&l->irr[word], ~bit, __ATOMIC_SEQ_CST);
		l->isr[word] |= bit;
		l->isr_words |= 1u << word;
		if ((l->lvt[LVT_TIMER] & (0xff | LVT_TIMER_PERIODIC)) ==
		    ((unsigned)vector | LVT_TIMER_PERIODIC)) {
			lapic_timer_taken(v);
		}
	}
	return vector;
}

void lapic_eoi(struct vcpu *v)
{
	struct lapic *l = &v->arch.lapic;
	int vector = in_service(l);
	unsigned word = (unsigned)vector / 32 & 7;
	uint32_t bit = 1u << (vector & 31);

	if (vector < 0) {
		return;
	}
	l->isr[word] &= ~bit;
	if (!l->isr[word]) {
		l->isr_words &= ~(1u << word);
	}
	if (READ_ONCE(l->tmr[word]) & bit) {
		ioapic_eoi(v->vm, (unsigned)vector);
	}
}

void lapic_error(struct vcpu *v, uint32_t esr)
{
	struct lapic *l = &v->arch.lapic;
	uint32_t lvt = READ_ONCE(l->lvt[LVT_ERROR]);

	/* Only the first since ESR was written: a hostile error vector adds nothing. */
	if (!(__atomic_fetch_or(&l->esr_next, esr, __ATOMIC_RELAXED) & esr) &&
	    !(lvt & LVT_MASKED) && (lvt & 0xff) >= APIC_VECTOR_MIN) {
		(void)lapic_post(v, lvt & 0xff, false);
	}
}

/* --- life --- */

void lapic_reset(struct vcpu *v, bool init)
{
	struct lapic *l = &v->arch.lapic;

	lapic_timer_stop(l);
	if (!init) {
		WRITE_ONCE(l->base, BOARD_LAPIC_BASE | APIC_BASE_EN | (v->id ? 0 : APIC_BASE_BSP));
	}
	WRITE_ONCE(l->tpr, 0);
	WRITE_ONCE(l->ldr, 0);
	WRITE_ONCE(l->dfr, ~0u);
	WRITE_ONCE(l->svr, 0xff);
	l->esr = l->esr_next = 0;
	l->icr_lo = l->icr_hi = 0;
	for (unsigned i = 0; i < LVT_COUNT; i++) {
		WRITE_ONCE(l->lvt[i], LVT_MASKED);
	}
	/* As firmware leaves the first CPU: the 8259s' interrupts come through. */
	if (!init && v->id == 0) {
		WRITE_ONCE(l->lvt[LVT_LINT0], (uint32_t)APIC_EXTINT << 8);
	}
	for (unsigned i = 0; i < 8; i++) {
		__atomic_store_n(&l->irr[i], 0, __ATOMIC_RELAXED);
		__atomic_store_n(&l->tmr[i], 0, __ATOMIC_RELAXED);
		l->isr[i] = 0;
	}
	l->isr_words = 0;
}

void lapic_vcpu_init(struct vcpu *v)
{
	struct lapic *l = &v->arch.lapic;

	memset(l, 0, sizeof(*l));
	spin_init(&l->lock, LOCK_VTIMER);
	l->id = v->id;
	l->timer.fn = lapic_timer_fired;
	lapic_reset(v, false);
}

void lapic_vcpu_gone(struct vcpu *v)
{
	lapic_timer_stop(&v->arch.lapic);
	hyptimer_cancel_wait(&v->arch.lapic.timer);
}
