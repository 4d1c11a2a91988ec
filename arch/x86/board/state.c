// SPDX-License-Identifier: Apache-2.0
/*
 * Device state for snapshots: GIC_STATE is the board, APIC_STATE one vCPU's local APIC. What is set
 * has been checked whole before anything changes, and reads back the same; times are relative to
 * the moment of the call. The vCPUs are quiet: the callers see to it.
 */
#include "board_priv.h"

#include <arch/time.h>
#include <arch/vcpu.h>
#include <hyp/string.h>

#define REDIR_KNOWN 0xff0000000001efffull
#define PM_KNOWN_CONTROL 0x1c07u
#define PM_KNOWN_ENABLE 0x0721u

/* A longer one of a later version may only say nothing new (abi.md). */
static int check_length(const void *buf, uint64_t len, size_t known)
{
	const uint8_t *tail = (const uint8_t *)buf + known;
	uint8_t any = 0;

	if (len < known) {
		return -TM_EINVAL;
	}
	for (uint64_t i = 0; i < len - known; i++) {
		any |= tail[i];
	}
	return any ? -TM_E2BIG : 0;
}

/* --- the board --- */

static void pit_get(const struct board_pit *p, struct tm_board_state *s)
{
	for (unsigned i = 0; i < 3; i++) {
		s->pit[i] = p->ch[i];
		s->pit[i].start = pit_elapsed(p, i);
	}
}

int arch_irqchip_state_get(struct vm *vm, void *buf, uint64_t len, uint64_t *used)
{
	struct board *b = &vm->arch.board;
	struct tm_board_state *s = buf;

	*used = sizeof(*s);
	if (len < sizeof(*s)) {
		return -TM_E2BIG;
	}
	memset(s, 0, sizeof(*s));
	spin_lock(&b->lock);
	s->version = 1;
	s->ioapic_id = b->ioapic_id;
	s->ioapic_select = b->ioapic_select;
	s->lines = b->lines;
	memcpy(s->redir, b->redir, sizeof(s->redir));
	memcpy(s->pic, b->pic, sizeof(s->pic));
	pit_get(&b->pit, s);
	s->port61 = b->port61;
	s->cmos_index = b->cmos_index;
	s->pm_enable = b->pm_enable;
	s->pm_control = b->pm_control;
	s->pm_timer = pm_ticks(b);
	spin_unlock(&b->lock);
	return 0;
}

static bool pic_ok(const struct tm_board_pic *p, unsigned n)
{
	uint8_t elcr = n ? 0xde : 0xf8;

	return !(p->base & 7) && p->icw_step <= 3 && !(p->icw4 & ~0x13u) && !(p->elcr & ~elcr) &&
	       p->read_isr <= 1 && p->poll <= 1 && p->auto_eoi == (p->icw4 >> 1 & 1) &&
	       p->rotate <= 1 && p->special_mask <= 1 && p->priority <= 7 && p->init <= 3 &&
	       !p->rsvd && !(n == 0 && (p->lines & 4));
}

static bool pit_ok(const struct tm_board_pit *c, unsigned n, uint8_t port61)
{
	return c->mode <= 5 && c->access >= 1 && c->access <= 3 && c->bcd <= 1 &&
	       c->gate == (n == 2 ? (port61 & 1) : 1) && c->latched <= 7 && c->read_high <= 1 &&
	       c->write_high <= 1 && c->idle <= 1 && !(c->idle && c->start) && !c->rsvd[0] &&
	       !c->rsvd[1];
}

static bool board_ok(const struct tm_board_state *s)
{
	bool ok = s->version == 1 && !(s->ioapic_id & ~0x0f000000u) && s->ioapic_select <= 0xff &&
		  !(s->lines >> BOARD_IOAPIC_PINS) && s->port61 <= 3 && s->cmos_index <= 0x7f &&
		  !(s->pm_enable & ~PM_KNOWN_ENABLE) && !(s->pm_control & ~PM_KNOWN_CONTROL) &&
		  !s->rsvd[0] && !s->rsvd[1];

	for (unsigned i = 0; i < BOARD_IOAPIC_PINS; i++) {
		uint64_t e = s->redir[i];

		/* Remote IRR without level: no end would ever clear it. */
		ok = ok && !(e & ~REDIR_KNOWN) && ((e >> 15 & 1) || !(e >> 14 & 1));
	}
	for (unsigned i = 0; i < 4; i++) {
		ok = ok && !s->rsvd2[i];
	}
	for (unsigned i = 0; i < 2; i++) {
		ok = ok && pic_ok(&s->pic[i], i);
	}
	for (unsigned i = 0; i < 3; i++) {
		ok = ok && pit_ok(&s->pit[i], i, s->port61);
	}
	return ok;
}

static void pit_set(struct board *b, const struct tm_board_state *s)
{
	struct board_pit *p = &b->pit;

	hyptimer_cancel(&p->timer);
	p->next = 0;
	for (unsigned i = 0; i < 3; i++) {
		bool still = s->pit[i].idle || !s->pit[i].gate;

		p->ch[i] = s->pit[i];
		p->ch[i].start = 0;
		p->since[i] = still ? s->pit[i].start : arch_time_now() - s->pit[i].start;
	}
}

int arch_irqchip_state_set(struct vm *vm, const void *buf, uint64_t len)
{
	struct board *b = &vm->arch.board;
	const struct tm_board_state *s = buf;
	int err = check_length(buf, len, sizeof(*s));

	if (err || !board_ok(s)) {
		return err ? err : -TM_EINVAL;
	}
	spin_lock(&b->lock);
	b->ioapic_id = s->ioapic_id;
	b->ioapic_select = s->ioapic_select;
	b->lines = s->lines;
	memcpy(b->redir, s->redir, sizeof(b->redir));
	memcpy(b->pic, s->pic, sizeof(b->pic));
	pit_set(b, s);
	b->port61 = s->port61;
	b->cmos_index = s->cmos_index;
	b->pm_enable = s->pm_enable;
	b->pm_control = s->pm_control;
	b->pm_base = s->pm_timer;
	b->pm_start = arch_time_now();
	b->pic_out = false;
	pic_update(b);
	pit_listen(b);
	spin_unlock(&b->lock);
	return 0;
}

/* --- a local APIC --- */

int arch_vcpu_irqchip_state_get(struct vcpu *v, void *buf, uint64_t len, uint64_t *used)
{
	const struct lapic *l = &v->arch.lapic;
	struct tm_apic_state *s = buf;

	*used = sizeof(*s);
	if (len < sizeof(*s)) {
		return -TM_E2BIG;
	}
	*s = (struct tm_apic_state){
		.version = 1,
		.id = l->id,
		.base = l->base,
		.tpr = l->tpr,
		.ldr = l->ldr,
		.dfr = l->dfr,
		.svr = l->svr,
		.esr = l->esr | READ_ONCE(l->esr_next) << 8,
		.icr_lo = l->icr_lo,
		.icr_hi = l->icr_hi,
		.timer_initial = l->timer_initial,
		.timer_divide = l->timer_divide,
		.timer_left = lapic_timer_left(v),
	};
	memcpy(s->lvt, l->lvt, sizeof(s->lvt));
	for (unsigned i = 0; i < 8; i++) {
		s->isr[i] = l->isr[i];
		s->tmr[i] = READ_ONCE(l->tmr[i]);
		s->irr[i] = READ_ONCE(l->irr[i]);
	}
	return 0;
}

static bool timer_ok(const struct tm_apic_state *s)
{
	struct lapic l = {.timer_initial = s->timer_initial, .timer_divide = s->timer_divide};

	l.lvt[LVT_TIMER] = s->lvt[LVT_TIMER];
	if (s->timer_divide & ~DCR_VALID) {
		return false;
	}
	if (l.lvt[LVT_TIMER] & LVT_TIMER_DEADLINE) {
		return !s->timer_left && !s->timer_initial;
	}
	/* A change of divider rounds up. */
	return !s->timer_left ||
	       (s->timer_initial && s->timer_left <= lapic_timer_period(&l) + 1);
}

static bool apic_ok(const struct vcpu *v, const struct tm_apic_state *s)
{
	uint64_t mode = s->base & (APIC_BASE_EN | APIC_BASE_EXTD);
	bool ok = s->version == 1 && s->id == v->id && mode != APIC_BASE_EXTD &&
		  (s->base & ~mode) == (BOARD_LAPIC_BASE | (v->id ? 0 : APIC_BASE_BSP)) &&
		  s->tpr <= 0xff && !(s->ldr & 0x00ffffff) && !(~s->dfr & 0x0fffffff) &&
		  !(s->svr & ~0x3ffu) && !(s->esr >> 16) && !(s->icr_lo & ~ICR_VALID) &&
		  ((mode & APIC_BASE_EXTD) || !(s->icr_hi & 0x00ffffff)) && timer_ok(s);

	/* Vectors below 16 are never accepted. */
	ok = ok && !((s->isr[0] | s->tmr[0] | s->irr[0]) & 0xffff);
	for (unsigned i = 0; i < LVT_COUNT; i++) {
		ok = ok && !(s->lvt[i] & ~lvt_valid((enum lapic_lvt)i));
	}
	for (unsigned i = 0; i < 4; i++) {
		ok = ok && !s->rsvd[i];
	}
	return ok && s->lvt[LVT_CMCI] == LVT_MASKED;
}

int arch_vcpu_irqchip_state_set(struct vcpu *v, const void *buf, uint64_t len)
{
	struct lapic *l = &v->arch.lapic;
	const struct tm_apic_state *s = buf;
	uint64_t deadline = lapic_tsc_deadline(v);
	int err = check_length(buf, len, sizeof(*s));

	if (err || !apic_ok(v, s)) {
		return err ? err : -TM_EINVAL;
	}
	lapic_timer_stop(l);
	WRITE_ONCE(l->base, s->base);
	WRITE_ONCE(l->tpr, s->tpr);
	WRITE_ONCE(l->ldr, s->ldr);
	WRITE_ONCE(l->dfr, s->dfr);
	WRITE_ONCE(l->svr, s->svr);
	l->esr = s->esr & 0xff;
	WRITE_ONCE(l->esr_next, s->esr >> 8);
	l->icr_lo = s->icr_lo;
	l->icr_hi = s->icr_hi;
	for (unsigned i = 0; i < 8; i++) {
		l->isr[i] = s->isr[i];
		l->isr_words = (l->isr_words & ~(1u << i)) | (uint32_t)(s->isr[i] != 0) << i;
		__atomic_store_n(&l->tmr[i], s->tmr[i], __ATOMIC_RELAXED);
		__atomic_store_n(&l->irr[i], s->irr[i], __ATOMIC_RELEASE);
	}
	__atomic_store_n(&l->irr_words, 0xff, __ATOMIC_SEQ_CST);
	spin_lock(&l->lock);
	for (unsigned i = 0; i < LVT_COUNT; i++) {
		WRITE_ONCE(l->lvt[i], s->lvt[i]);
	}
	l->timer_initial = s->timer_initial;
	l->timer_divide = s->timer_divide;
	/* TIMER_STATE brings it, before or after. */
	l->tsc_deadline = deadline;
	spin_unlock(&l->lock);
	lapic_timer_restore(v, s->timer_left);
	vcpu_irq_kick(v);
	return 0;
}
