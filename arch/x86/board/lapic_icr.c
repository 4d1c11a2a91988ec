// SPDX-License-Identifier: Apache-2.0
/*
 * Who gets an interrupt message, and what happens there: for the ICR, the I/O APIC and the
 * doorbell. Intel SDM volume 3, 11.6 (destinations), 11.6.1 (ICR), 11.12.10 (x2APIC logical ids).
 * Reads other vCPUs' routing registers as they stand; no lock of its own.
 *
 * Modes may be mixed inside a VM. A sender in x2APIC mode writes 32-bit destinations, everybody else
 * 8-bit ones: to a receiver in x2APIC mode these name cluster 0; a receiver in xAPIC mode is never
 * meant by a wide logical destination above 0xff.
 */
#include "board_priv.h"

#include <hyp/sched.h>

static bool is_broadcast(const struct apic_msg *m)
{
	return m->dest == (m->wide ? 0xffffffffu : 0xffu);
}

static bool matches_logical(const struct lapic *l, const struct apic_msg *m)
{
	uint32_t ldr = lapic_ldr(l);

	if (READ_ONCE(l->base) & APIC_BASE_EXTD) {
		if (m->wide && is_broadcast(m)) {
			return true;
		}
		return m->dest >> 16 == ldr >> 16 && (m->dest & ldr & 0xffff);
	}
	if (m->wide && m->dest > 0xff) {
		return is_broadcast(m);
	}
	ldr >>= 24;
	/* Flat: a bit each. Cluster: number and four bits; 15 is all of them. */
	if (READ_ONCE(l->dfr) >> 28 == 15) {
		return ldr & m->dest;
	}
	return (m->dest >> 4 == ldr >> 4 || m->dest >> 4 == 15) && (m->dest & ldr & 15);
}

static bool matches(const struct vcpu *v, const struct vcpu *from, const struct apic_msg *m)
{
	const struct lapic *l = &v->arch.lapic;

	if (!(READ_ONCE(l->base) & APIC_BASE_EN)) {
		return false;
	}
	switch (m->shorthand) {
	case APIC_SELF:
		return v == from;
	case APIC_ALL:
		return true;
	case APIC_OTHERS:
		return v != from;
	default:
		break;
	}
	if (m->logical) {
		return matches_logical(l, m);
	}
	return is_broadcast(m) || l->id == m->dest;
}

/* Two that are pending are all that there can be: one delivered, one latched. */
static void send_nmi(struct vcpu *v)
{
	uint8_t n = __atomic_load_n(&v->arch.nmi_pending, __ATOMIC_RELAXED);

	while (n < 2 && !__atomic_compare_exchange_n(&v->arch.nmi_pending, &n, (uint8_t)(n + 1),
						     false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
	}
	if (v != vcpu_current()) {
		vcpu_irq_kick(v);
	}
}

static void send_fixed(struct vcpu *v, const struct apic_msg *m, struct apic_sent *sent)
{
	if (!(READ_ONCE(v->arch.lapic.svr) & SVR_ENABLE)) {
		return;
	}
	if (m->vector < APIC_VECTOR_MIN) {
		lapic_error(v, ESR_RECV_VECTOR);
		return;
	}
	sent->accepted++;
	sent->fresh += lapic_post(v, m->vector, m->level);
}

static void send_one(struct vcpu *v, const struct apic_msg *m, struct apic_sent *sent)
{
	switch (m->mode) {
	case APIC_FIXED:
		send_fixed(v, m, sent);
		break;
	case APIC_NMI:
		sent->accepted++;
		sent->fresh++;
		send_nmi(v);
		break;
	case APIC_INIT:
		sent->accepted++;
		vcpu_init_signal(v);
		break;
	case APIC_SIPI:
		sent->accepted++;
		vcpu_sipi(v, m->vector);
		break;
	default:
		break;		/* SMI and ExtINT: nobody is there for them */
	}
}

/* Whoever does the least urgent work; among equals the first. */
static struct vcpu *better(struct vcpu *best, struct vcpu *v)
{
	if (!(READ_ONCE(v->arch.lapic.svr) & SVR_ENABLE)) {
		return best;
	}
	return best && (READ_ONCE(best->arch.lapic.tpr) & 0xf0) <=
		       (READ_ONCE(v->arch.lapic.tpr) & 0xf0) ? best : v;
}

struct apic_sent apic_send(struct vm *vm, struct vcpu *from, const struct apic_msg *m)
{
	struct apic_sent sent = {0, 0};
	struct vcpu *best = NULL;

	/* The common case names one. */
	if (m->shorthand == APIC_DEST && !m->logical && !is_broadcast(m) && m->mode != APIC_LOWEST) {
		struct vcpu *v = board_vcpu(vm, m->dest);

		if (v && matches(v, from, m)) {
			send_one(v, m, &sent);
		}
		return sent;
	}
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = board_vcpu(vm, i);

		if (!v || !matches(v, from, m)) {
			continue;
		}
		if (m->mode == APIC_LOWEST) {
			best = better(best, v);
		} else {
			send_one(v, m, &sent);
		}
	}
	if (best) {
		send_fixed(best, m, &sent);
	}
	return sent;
}

void lapic_icr_write(struct vcpu *v)
{
	const struct lapic *l = &v->arch.lapic;
	bool wide = lapic_is_x2apic(v);
	struct apic_msg m = {
		.dest = wide ? l->icr_hi : l->icr_hi >> 24,
		.vector = (uint8_t)l->icr_lo,
		.mode = l->icr_lo >> 8 & 7,
		.shorthand = l->icr_lo >> 18 & 3,
		.logical = l->icr_lo >> 11 & 1,
		.wide = wide,
	};
	bool assert_level = l->icr_lo >> 14 & 1;

	/* Level de-assert of an INIT: only for APICs of long ago. */
	if (m.mode == APIC_RESERVED || (m.mode == APIC_INIT && !assert_level)) {
		return;
	}
	if ((m.mode == APIC_FIXED || m.mode == APIC_LOWEST) && m.vector < APIC_VECTOR_MIN) {
		lapic_error(v, ESR_SEND_VECTOR);
		return;
	}
	/* SDM volume 3, table 11-3: to oneself only fixed ones go. */
	if ((m.shorthand == APIC_SELF || m.shorthand == APIC_ALL) && m.mode != APIC_FIXED) {
		return;
	}
	(void)apic_send(v->vm, v, &m);
}
