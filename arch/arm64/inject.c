// SPDX-License-Identifier: Apache-2.0
/*
 * Exceptions that a guest takes at EL1 because of us: UNDEF and synchronous external aborts. Does
 * what the CPU does on an exception entry (Arm ARM, AArch64.TakeException). The vCPU is loaded on
 * this CPU, so EL1 registers are in hardware.
 */
#include <arch/vcpu.h>
#include <asm/guest.h>
#include <hyp/vcpu.h>

#define SCTLR_SPAN (1ull << 23)
#define SCTLR_DSSBS (1ull << 44)
#define SPSR_NZCV 0xf0000000ull
#define SPSR_DIT (1ull << 24)
#define SPSR_PAN (1ull << 22)
#define SPSR_SSBS (1ull << 12)
#define SPSR_AARCH32 0x10u
#define DFSC_EXTERNAL 0x10u
#define ISS_WNR 0x40u

static uint64_t vector_offset(uint64_t pstate)
{
	if (pstate & SPSR_AARCH32) {
		return 0x600;
	}
	switch (pstate & 0xf) {
	case PSTATE_EL0:
		return 0x400;
	case PSTATE_EL1T:
		return 0x000;
	default:
		return 0x200;
	}
}

void exception_enter(struct vcpu *v, uint64_t esr)
{
	struct arch_vcpu *a = &v->arch;
	uint64_t old = a->pstate, sctlr = SYS_READ(sctlr_el1);
	uint64_t pstate = (old & (SPSR_NZCV | SPSR_DIT | SPSR_PAN)) | PSTATE_DAIF | PSTATE_EL1H;

	if (old & SPSR_AARCH32) {
		pstate &= ~(SPSR_DIT | SPSR_PAN);
	}
	/* Without FEAT_PAN, SPAN is RES1 and this does nothing. */
	if (!(sctlr & SCTLR_SPAN)) {
		pstate |= SPSR_PAN;
	}
	if (sctlr & SCTLR_DSSBS) {
		pstate |= SPSR_SSBS;
	}
	SYS_WRITE(esr_el1, esr);
	SYS_WRITE(elr_el1, a->pc);
	SYS_WRITE(spsr_el1, old);
	a->pc = SYS_READ(vbar_el1) + vector_offset(old);
	a->pstate = pstate;
}

void inject_undef(struct vcpu *v)
{
	exception_enter(v, ((uint64_t)EC_UNKNOWN << 26) | ESR_IL);
}

void inject_abort(struct vcpu *v, bool is_write, bool is_exec, uint64_t gva)
{
	bool from_el1 = (v->arch.pstate & 0x1f) == PSTATE_EL1T ||
			(v->arch.pstate & 0x1f) == PSTATE_EL1H;
	unsigned ec = is_exec ? EC_IABT_LOW : EC_DABT_LOW;

	SYS_WRITE(far_el1, gva);
	exception_enter(v, ((uint64_t)(ec + (from_el1 ? 1u : 0u)) << 26) | ESR_IL | DFSC_EXTERNAL |
			   (is_write && !is_exec ? ISS_WNR : 0));
}

void arch_vcpu_inject_abort(struct vcpu *v, bool is_write, bool is_exec, uint64_t gva)
{
	inject_abort(v, is_write, is_exec, gva);
}
