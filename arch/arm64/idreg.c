// SPDX-License-Identifier: Apache-2.0
/*
 * ID registers as guests see them (HCR_EL2.TID3): the CPU's own values with the fields taken out
 * that we do not virtualise. What is hidden here is also trapped or disabled by vcpu.c's HCR, CPTR
 * and MDCR. AArch32 is not offered, so its ID registers read as zero. Pure but for the MRS.
 */
#include <arch/tlb.h>
#include <asm/guest.h>
#include <hyp/vm.h>

#define FIELD(shift) (0xfull << (shift))

/* ID_AA64PFR0: EL0 and EL1 in AArch64 only; no EL2, EL3, RAS, SVE, Secure EL2, MPAM, AMU, RME. */
static uint64_t pfr0(const struct vcpu *v, uint64_t val)
{
	uint64_t csv2 = (val >> 56) & 15;

	val &= FIELD(16) | FIELD(20) | FIELD(48) | FIELD(60);
	val |= 0x11;
	val |= v->vm->arch.gic_version == 3 ? 1ull << 24 : 0;
	/* CSV2_2 would bring SCXTNUM, which is not switched. */
	return val | MIN(csv2, 1ull) << 56;
}

/* ID_AA64DFR0: breakpoints stay; no PMU, trace, SPE, TRBE, BRBE, and no OS Double Lock. */
static uint64_t dfr0(uint64_t val)
{
	uint64_t version = MIN(val & 15, 8ull);

	return version | (val & (FIELD(12) | FIELD(20) | FIELD(28))) | FIELD(36);
}

/* ID_AA64MMFR0: no stage-2 granules, FGT, ECV; a physical address is what stage 2 can hold. */
static uint64_t mmfr0(uint64_t val)
{
	static const uint8_t bits[] = {32, 36, 40, 42, 44, 48, 52};
	uint64_t range = 0;

	while (range + 1 < ARRAY_SIZE(bits) && bits[range + 1] <= arch_stage2_ia_bits()) {
		range++;
	}
	range = MIN(range, val & 15);
	return (val & (FIELD(4) | FIELD(8) | FIELD(12) | FIELD(16) | FIELD(20) | FIELD(24) |
		       FIELD(28) | FIELD(44))) | range;
}

#define ISAR0_HIDE FIELD(24)						/* TME */
/* PAuth (APA, API, GPA, GPI), XS and LS64, which need bits of HCRX. */
#define ISAR1_HIDE (FIELD(4) | FIELD(8) | FIELD(24) | FIELD(28) | FIELD(56) | FIELD(60))
/* RPRES, BC. Not: WFxT, PAuth (GPA3, APA3, PAC_frac), MOPS. */
#define ISAR2_SHOW (FIELD(4) | FIELD(20))
/* HAFDBS, HPDS, PAN, ETS, AFP, nTLBPA. Not: VMID, VH, LOR, XNX, TWED, HCX, CMOW. */
#define MMFR1_SHOW (FIELD(0) | FIELD(12) | FIELD(20) | FIELD(36) | FIELD(44) | FIELD(48))
/* Not: IESB (RAS), NV, FWB, EVT. */
#define MMFR2_HIDE (FIELD(12) | FIELD(24) | FIELD(40) | FIELD(56))
#define PFR1_SHOW (FIELD(0) | FIELD(4))					/* BTI, SSBS */

/* Registers of the trapped space that have no value here are reserved and read as zero. */
bool idreg_read(const struct vcpu *v, uint32_t id, uint64_t *val)
{
	if ((id & TM_SYSREG(3, 7, 15, 0, 0)) != TM_SYSREG(3, 0, 0, 0, 0)) {
		return false;
	}
	switch (id) {
	case TM_SYSREG(3, 0, 0, 4, 0):
		*val = pfr0(v, SYS_READ(id_aa64pfr0_el1));
		return true;
	case TM_SYSREG(3, 0, 0, 4, 1):
		*val = SYS_READ(id_aa64pfr1_el1) & PFR1_SHOW;
		return true;
	case TM_SYSREG(3, 0, 0, 5, 0):
		*val = dfr0(SYS_READ(id_aa64dfr0_el1));
		return true;
	case TM_SYSREG(3, 0, 0, 6, 0):
		*val = SYS_READ(id_aa64isar0_el1) & ~ISAR0_HIDE;
		return true;
	case TM_SYSREG(3, 0, 0, 6, 1):
		*val = SYS_READ(id_aa64isar1_el1) & ~ISAR1_HIDE;
		return true;
	case TM_SYSREG(3, 0, 0, 6, 2):
		/* By number: the assembler may not know ID_AA64ISAR2_EL1. */
		*val = SYS_READ(s3_0_c0_c6_2) & ISAR2_SHOW;
		return true;
	case TM_SYSREG(3, 0, 0, 7, 0):
		*val = mmfr0(SYS_READ(id_aa64mmfr0_el1));
		return true;
	case TM_SYSREG(3, 0, 0, 7, 1):
		*val = SYS_READ(id_aa64mmfr1_el1) & MMFR1_SHOW;
		return true;
	case TM_SYSREG(3, 0, 0, 7, 2):
		*val = SYS_READ(s3_0_c0_c7_2) & ~MMFR2_HIDE;
		return true;
	default:
		*val = 0;
		return true;
	}
}
