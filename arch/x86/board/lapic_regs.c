// SPDX-License-Identifier: Apache-2.0
/*
 * The local APIC's registers: the xAPIC page (Intel SDM volume 3, 11.4.1) and the x2APIC MSRs (11.12).
 * Only the vCPU that has them comes here, on its CPU.
 */
#include "board_priv.h"

#define REG_ID 0x02u		/* offset / 16 = x2APIC MSR - 0x800 */
#define REG_VERSION 0x03u
#define REG_TPR 0x08u
#define REG_APR 0x09u
#define REG_PPR 0x0au
#define REG_EOI 0x0bu
#define REG_LDR 0x0du
#define REG_DFR 0x0eu
#define REG_SVR 0x0fu
#define REG_ISR 0x10u
#define REG_TMR 0x18u
#define REG_IRR 0x20u
#define REG_ESR 0x28u
#define REG_ICR_LO 0x30u
#define REG_ICR_HI 0x31u
#define REG_LVT_TIMER 0x32u
#define REG_LVT_ERROR 0x37u
#define REG_INITIAL 0x38u
#define REG_COUNT 0x39u
#define REG_DIVIDE 0x3eu
#define REG_SELF 0x3fu

#define MSR_APIC_BASE 0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC 0x800u
#define VERSION 0x50014u	/* six LVT entries, no suppression of EOI broadcasts */
#define SVR_VALID 0x3ffu

uint32_t lvt_valid(enum lapic_lvt i)
{
	static const uint32_t valid[LVT_COUNT] = {
		[LVT_CMCI] = LVT_MASKED,	/* there is none */
		[LVT_TIMER] = 0x700ff,
		[LVT_THERMAL] = 0x107ff,
		[LVT_PMC] = 0x107ff,
		[LVT_LINT0] = 0x1a7ff,
		[LVT_LINT1] = 0x1a7ff,
		[LVT_ERROR] = 0x100ff,
	};

	return valid[i];
}

/* --- the same by MMIO and MSR --- */

static int lvt_of(unsigned reg)
{
	if (reg < REG_LVT_TIMER || reg > REG_LVT_ERROR) {
		return -1;
	}
	return (int)(reg - REG_LVT_TIMER) + LVT_TIMER;
}

static bool read_more(struct vcpu *v, unsigned reg, uint32_t *val)
{
	struct lapic *l = &v->arch.lapic;

	switch (reg) {
	case REG_SVR:
		*val = l->svr;
		return true;
	case REG_ESR:
		*val = l->esr;
		return true;
	case REG_ICR_LO:
		*val = l->icr_lo;
		return true;
	case REG_INITIAL:
		*val = l->timer_initial;
		return true;
	case REG_COUNT:
		*val = lapic_timer_count(v);
		return true;
	case REG_DIVIDE:
		*val = l->timer_divide;
		return true;
	default:
		return false;
	}
}

/* False: no such register. Those that differ between the modes are not here. */
static bool reg_read(struct vcpu *v, unsigned reg, uint32_t *val)
{
	struct lapic *l = &v->arch.lapic;
	int lvt = lvt_of(reg);

	if (lvt >= 0) {
		*val = l->lvt[index_nospec((unsigned)lvt, LVT_COUNT)];
		return true;
	}
	if (reg >= REG_ISR && reg < REG_IRR + 8) {
		const uint32_t *map = reg < REG_TMR ? l->isr : reg < REG_IRR ? l->tmr : l->irr;

		*val = READ_ONCE(map[reg & 7]);
		return true;
	}
	switch (reg) {
	case REG_VERSION:
		*val = VERSION;
		return true;
	case REG_TPR:
		*val = l->tpr;
		return true;
	case REG_PPR:
		*val = lapic_ppr(l);
		return true;
	case REG_LDR:
		*val = lapic_ldr(l);
		return true;
	default:
		return read_more(v, reg, val);
	}
}

static void svr_write(struct vcpu *v, uint32_t val)
{
	struct lapic *l = &v->arch.lapic;

	WRITE_ONCE(l->svr, val & SVR_VALID);
	if (!(val & SVR_ENABLE)) {
		for (unsigned i = 0; i < LVT_COUNT; i++) {
			if (i != LVT_TIMER) {
				WRITE_ONCE(l->lvt[i], l->lvt[i] | LVT_MASKED);
			}
		}
		lapic_timer_set_lvt(v, l->lvt[LVT_TIMER] | LVT_MASKED);
	}
}

static void lvt_write(struct vcpu *v, unsigned i, uint32_t val)
{
	struct lapic *l = &v->arch.lapic;

	val &= lvt_valid(i);
	if (!(l->svr & SVR_ENABLE)) {
		val |= LVT_MASKED;
	}
	if (i == LVT_TIMER) {
		lapic_timer_set_lvt(v, val);
	} else {
		WRITE_ONCE(l->lvt[i], val);
	}
}

static bool reg_write(struct vcpu *v, unsigned reg, uint32_t val)
{
	struct lapic *l = &v->arch.lapic;
	int lvt = lvt_of(reg);

	if (lvt >= 0) {
		lvt_write(v, (unsigned)index_nospec((unsigned)lvt, LVT_COUNT), val);
		return true;
	}
	switch (reg) {
	case REG_TPR:
		WRITE_ONCE(l->tpr, val & 0xff);
		return true;
	case REG_EOI:
		lapic_eoi(v);
		return true;
	case REG_SVR:
		svr_write(v, val);
		return true;
	case REG_ESR:
		l->esr = __atomic_exchange_n(&l->esr_next, 0, __ATOMIC_RELAXED);
		return true;
	case REG_ICR_LO:
		l->icr_lo = val & ICR_VALID;
		lapic_icr_write(v);
		return true;
	case REG_INITIAL:
		lapic_timer_set_initial(v, val);
		return true;
	case REG_DIVIDE:
		lapic_timer_set_divide(v, val & DCR_VALID);
		return true;
	default:
		return false;
	}
}

/* --- xAPIC: the page --- */

static void xapic_read(struct vcpu *v, struct mmio_access *a)
{
	struct lapic *l = &v->arch.lapic;
	unsigned reg = (unsigned)(a->offset >> 4) & 0xff;
	uint32_t val = 0;

	switch (reg) {
	case REG_ID:
		val = l->id << 24;
		break;
	case REG_DFR:
		val = l->dfr;
		break;
	case REG_ICR_HI:
		val = l->icr_hi;
		break;
	case REG_EOI:
	case REG_APR:
		break;
	default:
		if (!reg_read(v, reg, &val)) {
			lapic_error(v, ESR_REGISTER);
		}
	}
	/* Only the first four bytes of each 16 are a register. */
	a->data = (a->offset & 12) ? 0 : (uint64_t)val >> (8 * (a->offset & 3));
}

static void xapic_write(struct vcpu *v, const struct mmio_access *a)
{
	struct lapic *l = &v->arch.lapic;
	unsigned reg = (unsigned)(a->offset >> 4) & 0xff;
	uint32_t val = (uint32_t)a->data;

	/* What is no whole register has no defined effect (SDM volume 3, 11.4.1). */
	if ((a->offset & 15) || a->len < 4) {
		return;
	}
	switch (reg) {
	case REG_ID:
	case REG_VERSION:
		break;
	case REG_LDR:
		WRITE_ONCE(l->ldr, val & 0xff000000u);
		break;
	case REG_DFR:
		WRITE_ONCE(l->dfr, val | 0x0fffffffu);
		break;
	case REG_ICR_HI:
		l->icr_hi = val & 0xff000000u;
		break;
	default:
		if (!reg_write(v, reg, val)) {
			lapic_error(v, ESR_REGISTER);
		}
	}
}

/* The page belongs to the APIC of whoever accesses it. */
void lapic_mmio(struct vcpu *v, void *dev, struct mmio_access *a)
{
	uint64_t base = v->arch.lapic.base;

	(void)dev;
	if ((base & (APIC_BASE_EN | APIC_BASE_EXTD)) != APIC_BASE_EN) {
		a->data = a->write ? a->data : ~0ull;
		return;
	}
	if (a->write) {
		xapic_write(v, a);
	} else {
		xapic_read(v, a);
	}
}

/* --- MSRs --- */

static bool x2apic_read(struct vcpu *v, unsigned reg, uint64_t *val)
{
	struct lapic *l = &v->arch.lapic;
	uint32_t low = 0;
	bool ok = true;

	if (reg == REG_ID) {
		low = l->id;
	} else if (reg == REG_ICR_LO) {
		*val = (uint64_t)l->icr_hi << 32 | l->icr_lo;
		return true;
	} else {
		ok = reg_read(v, reg, &low);
	}
	*val = low;
	return ok;
}

/* Bits that a write in x2APIC mode may have; the others are #GP. */
static uint64_t x2apic_valid(unsigned reg)
{
	int lvt = lvt_of(reg);

	if (lvt >= 0) {
		return lvt_valid((enum lapic_lvt)lvt);
	}
	switch (reg) {
	case REG_TPR:
	case REG_SELF:
		return 0xff;
	case REG_SVR:
		return SVR_VALID;
	case REG_ICR_LO:
		return 0xffffffff00000000ull | ICR_VALID;
	case REG_INITIAL:
		return 0xffffffff;
	case REG_DIVIDE:
		return DCR_VALID;
	default:
		return 0;		/* EOI and ESR take 0 only */
	}
}

static bool x2apic_write(struct vcpu *v, unsigned reg, uint64_t val)
{
	struct lapic *l = &v->arch.lapic;

	if (val & ~x2apic_valid(reg)) {
		return false;
	}
	if (reg == REG_SELF) {
		if (val < APIC_VECTOR_MIN) {
			lapic_error(v, ESR_SEND_VECTOR);
		} else if (l->svr & SVR_ENABLE) {
			(void)lapic_post(v, (unsigned)val, false);
		}
		return true;
	}
	if (reg == REG_ICR_LO) {
		l->icr_hi = (uint32_t)(val >> 32);
	}
	return reg_write(v, reg, (uint32_t)val);
}

static bool base_write(struct vcpu *v, uint64_t val)
{
	struct lapic *l = &v->arch.lapic;
	uint64_t old = l->base & (APIC_BASE_EN | APIC_BASE_EXTD);
	uint64_t mode = val & (APIC_BASE_EN | APIC_BASE_EXTD);

	/* The page does not move; nothing is defined but these bits. */
	if ((val & ~(APIC_BASE_EN | APIC_BASE_EXTD | APIC_BASE_BSP)) != BOARD_LAPIC_BASE) {
		return false;
	}
	/* SDM volume 3, 11.12.5: into x2APIC mode from xAPIC mode only, out of it to disabled only. */
	if (mode == APIC_BASE_EXTD || (mode == (APIC_BASE_EN | APIC_BASE_EXTD) && !old) ||
	    (mode == APIC_BASE_EN && (old & APIC_BASE_EXTD))) {
		return false;
	}
	if (!mode && old) {
		lapic_reset(v, true);
	} else if (mode != old) {
		l->icr_hi = 0;
	}
	WRITE_ONCE(l->base, BOARD_LAPIC_BASE | mode | (l->base & APIC_BASE_BSP));
	return true;
}

bool lapic_msr(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	unsigned reg = msr - MSR_X2APIC;

	if (msr == MSR_APIC_BASE) {
		*val = write ? *val : v->arch.lapic.base;
		return !write || base_write(v, *val);
	}
	if (msr == MSR_TSC_DEADLINE) {
		if (write) {
			lapic_deadline_write(v, *val);
		} else {
			*val = lapic_deadline_read(v);
		}
		return true;
	}
	if (reg > 0xff || !lapic_is_x2apic(v)) {
		return false;
	}
	return write ? x2apic_write(v, reg, *val) : x2apic_read(v, reg, val);
}

uint64_t lapic_cr8(const struct vcpu *v)
{
	return v->arch.lapic.tpr >> 4;
}

void lapic_set_cr8(struct vcpu *v, uint64_t val)
{
	WRITE_ONCE(v->arch.lapic.tpr, (uint32_t)(val & 15) << 4);
}
