// SPDX-License-Identifier: Apache-2.0
/*
 * Trapped system registers, one table: what is not in it is UNDEFINED in the guest and gives one
 * rate-limited line. Runs on the trapping vCPU's CPU, no lock held.
 */
#include <asm/guest.h>
#include <hyp/log.h>
#include <hyp/vm.h>

#include "vgic/vgic.h"

/* ISS of EC 0x18 (Arm ARM D17.2.37): the register id as in TM_SYSREG, plus Rt and direction. */
#define ISS_READ 1u
#define ISS_RT(iss) (((iss) >> 5) & 31u)
#define ISS_SYSREG 0x3ffc1eu

#define ANY_CRM TM_SYSREG(0, 0, 0, 15, 0)
#define ANY_OP2 TM_SYSREG(0, 0, 0, 0, 7)

enum trap_result {
	TRAP_DONE,	/* value read or written: skip the instruction */
	TRAP_RETRY,	/* it will not trap any more */
	TRAP_UNDEF,
};

struct trap {
	uint32_t id;
	uint32_t ignore;	/* id bits that do not matter */
	enum trap_result (*fn)(struct vcpu *v, uint32_t id, bool write, unsigned reg);
};

static enum trap_result zero(struct vcpu *v, uint32_t id, bool write, unsigned reg)
{
	(void)id;
	if (!write) {
		reg_set(&v->arch, reg, 0);
	}
	return TRAP_DONE;
}

static enum trap_result id_register(struct vcpu *v, uint32_t id, bool write, unsigned reg)
{
	uint64_t val;

	if (write || !idreg_read(v, id, &val)) {
		return TRAP_UNDEF;
	}
	reg_set(&v->arch, reg, val);
	return TRAP_DONE;
}

static enum trap_result ptimer(struct vcpu *v, uint32_t id, bool write, unsigned reg)
{
	return ptimer_sysreg(v, id, write, reg) ? TRAP_DONE : TRAP_UNDEF;
}

static enum trap_result sgi0r(struct vcpu *v, uint32_t id, bool write, unsigned reg)
{
	(void)id;
	if (!write || v->vm->arch.gic_version != 3) {
		return TRAP_UNDEF;
	}
	vgic_v3_sgi(v, reg_get(&v->arch, reg), true);
	return TRAP_DONE;
}

/* SRE, DFB and DIB are always 1. */
static enum trap_result icc_sre(struct vcpu *v, uint32_t id, bool write, unsigned reg)
{
	(void)id;
	if (v->vm->arch.gic_version != 3) {
		return TRAP_UNDEF;
	}
	if (!write) {
		reg_set(&v->arch, reg, 7);
	}
	return TRAP_DONE;
}

/* First touch: from now on the guest's breakpoint registers are switched with it. */
static enum trap_result breakpoint(struct vcpu *v, uint32_t id, bool write, unsigned reg)
{
	(void)id, (void)write, (void)reg;
	if (v->arch.debug_live) {
		return TRAP_UNDEF;	/* not implemented by this CPU */
	}
	debug_switch_in(v);
	return TRAP_RETRY;
}

/* OSLSR: the lock is there (OSLM = 0b10) and open. */
static enum trap_result oslsr(struct vcpu *v, uint32_t id, bool write, unsigned reg)
{
	(void)id;
	if (write) {
		return TRAP_UNDEF;
	}
	reg_set(&v->arch, reg, 8);
	return TRAP_DONE;
}

/* Hidden on purpose and not worth a line in the log: features that a guest may probe. */
static enum trap_result hidden(struct vcpu *v, uint32_t id, bool write, unsigned reg)
{
	(void)v, (void)id, (void)write, (void)reg;
	return TRAP_UNDEF;
}

static const struct trap traps[] = {
	{TM_SYSREG(3, 0, 12, 11, 5), 0, hidden},	/* ICC_SGI1R_EL1: read, or with GICv2 */
	{TM_SYSREG(3, 3, 14, 2, 0), ANY_OP2, ptimer},	/* CNTP_{TVAL,CTL,CVAL}_EL0 */
	{TM_SYSREG(3, 0, 0, 0, 0), ANY_CRM | ANY_OP2, id_register},
	{TM_SYSREG(3, 0, 12, 11, 7), 0, sgi0r},		/* ICC_SGI0R_EL1 */
	{TM_SYSREG(3, 0, 12, 11, 6), 0, sgi0r},		/* ICC_ASGI1R_EL1 */
	{TM_SYSREG(3, 0, 12, 12, 5), 0, icc_sre},	/* ICC_SRE_EL1 */
	{TM_SYSREG(3, 0, 1, 0, 1), 0, zero},		/* ACTLR_EL1 */
	{TM_SYSREG(2, 0, 1, 0, 4), 0, zero},		/* OSLAR_EL1 */
	{TM_SYSREG(2, 0, 1, 1, 4), 0, oslsr},		/* OSLSR_EL1 */
	{TM_SYSREG(2, 0, 1, 3, 4), 0, zero},		/* OSDLR_EL1 */
	{TM_SYSREG(2, 0, 1, 4, 4), 0, zero},		/* DBGPRCR_EL1 */
	{TM_SYSREG(2, 0, 1, 0, 0), 0, zero},		/* MDRAR_EL1 */
	{TM_SYSREG(2, 0, 0, 0, 4), ANY_CRM, breakpoint}, /* DBGBVR<n>_EL1 */
	{TM_SYSREG(2, 0, 0, 0, 5), ANY_CRM, breakpoint}, /* DBGBCR<n>_EL1 */
	{TM_SYSREG(2, 0, 0, 0, 6), ANY_CRM, breakpoint}, /* DBGWVR<n>_EL1 */
	{TM_SYSREG(2, 0, 0, 0, 7), ANY_CRM, breakpoint}, /* DBGWCR<n>_EL1 */
	{TM_SYSREG(2, 0, 0, 2, 2), 0, breakpoint},	/* MDSCR_EL1 */
	{TM_SYSREG(2, 0, 0, 2, 0), 0, zero},		/* MDCCINT_EL1 */
	{TM_SYSREG(2, 0, 0, 0, 2), 0, zero},		/* OSDTRRX_EL1 */
	{TM_SYSREG(2, 0, 0, 3, 2), 0, zero},		/* OSDTRTX_EL1 */
	{TM_SYSREG(2, 0, 0, 6, 2), 0, zero},		/* OSECCR_EL1 */
	{TM_SYSREG(2, 3, 0, 1, 0), 0, zero},		/* MDCCSR_EL0 */
	{TM_SYSREG(2, 3, 0, 4, 0), 0, zero},		/* DBGDTR_EL0 */
	{TM_SYSREG(2, 3, 0, 5, 0), 0, zero},		/* DBGDTRRX/TX_EL0 */
	{TM_SYSREG(2, 0, 7, 8, 6), 0, zero},		/* DBGCLAIMSET_EL1 */
	{TM_SYSREG(2, 0, 7, 9, 6), 0, zero},		/* DBGCLAIMCLR_EL1 */
	{TM_SYSREG(2, 0, 7, 14, 6), 0, zero},		/* DBGAUTHSTATUS_EL1 */
	{TM_SYSREG(3, 3, 9, 12, 0), ANY_OP2, hidden},	/* PMU */
	{TM_SYSREG(3, 3, 9, 13, 0), ANY_OP2, hidden},
	{TM_SYSREG(3, 3, 9, 14, 0), ANY_OP2, hidden},
	{TM_SYSREG(3, 0, 9, 14, 0), ANY_OP2, hidden},
};

static __attribute__((noinline, cold)) enum trap_result unknown(struct vcpu *v, uint32_t id,
								 bool write)
{
	log_warn_limited("vm %s vcpu %u: system register S%u_%u_C%u_C%u_%u %s at 0x%llx: undefined",
			 v->vm->name, v->id, (id >> 20) & 3, (id >> 14) & 7, (id >> 10) & 15,
			 (id >> 1) & 15, (id >> 17) & 7, write ? "written" : "read",
			 (unsigned long long)v->arch.pc);
	return TRAP_UNDEF;
}

static enum trap_result lookup(struct vcpu *v, uint32_t id, bool write, unsigned reg)
{
	for (unsigned i = 0; i < ARRAY_SIZE(traps); i++) {
		if (((traps[i].id ^ id) & ~traps[i].ignore) == 0) {
			return traps[i].fn(v, id, write, reg);
		}
	}
	return unknown(v, id, write);
}

bool sysreg_trap(struct vcpu *v, uint64_t esr)
{
	uint32_t iss = (uint32_t)esr & 0x1ffffffu;

	/* The one that matters for speed: every inter-processor interrupt. */
	if ((iss & (ISS_SYSREG | ISS_READ)) == TM_SYSREG(3, 0, 12, 11, 5) &&
	    v->vm->arch.gic_version == 3) {
		vgic_v3_sgi(v, reg_get(&v->arch, ISS_RT(iss)), false);
		guest_skip(v);
		return true;
	}
	switch (lookup(v, iss & ISS_SYSREG, !(iss & ISS_READ), ISS_RT(iss))) {
	case TRAP_DONE:
		guest_skip(v);
		return true;
	case TRAP_RETRY:
		return true;
	default:
		return false;
	}
}
