// SPDX-License-Identifier: Apache-2.0
/*
 * Model-specific registers, one table: what is not in it, or whose feature is hidden, is #GP and one
 * rate-limited line. Values are checked before they go anywhere. Runs on the vCPU's CPU, no lock
 * held; also for REGS_GET and REGS_SET, on a vCPU that is quiet.
 */
#include <asm/board.h>
#include <asm/guest.h>
#include <asm/policy.h>
#include <hyp/log.h>
#include <hyp/vm.h>

#include "msr.h"

#define FEATURE_ALWAYS FEATURE(WORD_1D, 5)	/* MSR itself */

/* True: done; false: #GP. */
typedef bool msr_fn(struct vcpu *v, uint32_t msr, bool write, uint64_t *val);

/* Kernels try these on every machine and go on without: no line for them. FEATURE_CONTROL, TEST_CTRL,
 * SMI_COUNT, PPIN, PLATFORM_INFO, MISC_FEATURES, PPERF, K7 PMU, INT_PENDING. */
static const uint32_t quiet[] = {0x33, 0x34, 0x3a, 0x4e, 0xce, 0x140, 0x64e, 0xc0010000, 0xc0010055};

#define PASS 1u			/* the guest reaches hardware's own, which checks what is written */
#define STATE 2u		/* a row of tm_regs.msr[] */

struct msr_row {
	uint32_t first, last;
	uint16_t feature;
	uint8_t flags;
	msr_fn *fn;
};

/* ---- small ones ------------------------------------------------------------------------------ */

static bool zero(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	(void)v, (void)msr;
	if (!write) {
		*val = 0;
	}
	return !write || *val == 0;
}

/* Reads as 0; what is written is accepted and means nothing here. */
static bool microcode(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	(void)v;
	if (!write) {
		*val = msr == 0x8b ? 1ull << 32 : 0;
	}
	return msr == 0x8b || !write;
}

static bool misc_enable(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	(void)msr;
	if (cpu_features.vendor == CPU_AMD) {
		return false;
	}
	if (!write) {
		*val = v->arch.misc_enable;
	} else if (*val & ~1ull) {
		return false;
	} else {
		v->arch.misc_enable = *val;
	}
	return true;
}

/* AMD: HWCR (TscFreqSel: the TSC counts at P0), SYSCFG, DE_CFG (LFENCE is serialising). */
static bool amd_fixed(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	uint64_t fixed = msr == 0xc0010015 ? 1ull << 24 : msr == 0xc0011029 ? 2 : 0;

	(void)v;
	if (cpu_features.vendor != CPU_AMD) {
		return false;
	}
	if (!write) {
		*val = fixed;
	}
	return *val == fixed;
}

/* ---- time ------------------------------------------------------------------------------------ */

static bool tsc(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	uint64_t now = __builtin_ia32_rdtsc() + v->arch.tsc_offset, delta;

	if (!write) {
		*val = msr == 0x10 ? now : v->arch.tsc_adjust;
		return true;
	}
	delta = *val - (msr == 0x10 ? now : v->arch.tsc_adjust);
	v->arch.tsc_adjust += delta;
	guest_set_tsc_offset(v, v->arch.tsc_offset + delta);
	lapic_tsc_changed(v);
	return true;
}

static bool apic(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	return lapic_msr(v, msr, write, val);
}

/* ---- memory types: kept, and without effect: stage 2 decides --------------------------------- */

#define MTRR_CAP 0x508u			/* WC, fixed ranges, 8 variable ones */

static bool type_ok(uint8_t t, bool pat)
{
	return t <= 1 || (t >= 4 && t <= 6) || (pat && t == 7);
}

static bool types_ok(uint64_t val, bool pat)
{
	for (unsigned i = 0; i < 8; i++) {
		if (!type_ok((uint8_t)(val >> (8 * i)), pat)) {
			return false;
		}
	}
	return true;
}

static bool pat(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	(void)msr;
	if (!write) {
		*val = smsr_read(v, SMSR_PAT);
	} else if (!types_ok(*val, true)) {
		return false;
	} else {
		smsr_write(v, SMSR_PAT, *val);
	}
	return true;
}

static bool mtrr_cap(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	(void)v, (void)msr;
	*val = MTRR_CAP;
	return !write;
}

static bool mtrr_var(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	uint64_t *p = &v->arch.mtrr_var[index_nospec(msr - 0x200, 16)];
	uint64_t phys = (1ull << cpu_features.phys_bits) - 1;

	if (!write) {
		*val = *p;
		return true;
	}
	if (*val & ~(phys & ~0xfffull) & ~(msr & 1 ? 0x800ull : 0xffull)) {
		return false;
	}
	if (!(msr & 1) && !type_ok((uint8_t)*val, false)) {
		return false;
	}
	*p = *val;
	return true;
}

static bool mtrr_fixed(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	/* 0x250, 0x258, 0x259, 0x268..0x26f */
	uint32_t i = msr == 0x250 ? 0 : msr < 0x260 ? msr - 0x258 + 1 : msr - 0x268 + 3;
	uint64_t *p = &v->arch.mtrr_fixed[index_nospec(i, 11)];

	if (!write) {
		*val = *p;
	} else if (!types_ok(*val, false)) {
		return false;
	} else {
		*p = *val;
	}
	return true;
}

static bool mtrr_def(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	(void)msr;
	if (!write) {
		*val = v->arch.mtrr_def;
	} else if ((*val & ~0xcffull) || !type_ok((uint8_t)*val, false)) {
		return false;
	} else {
		v->arch.mtrr_def = *val;
	}
	return true;
}

/* ---- modes and system calls ------------------------------------------------------------------ */

static bool efer(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	uint64_t old = virt->read(v, XREG_EFER);

	(void)msr;
	if (!write) {
		*val = old;
		return true;
	}
	if (!efer_ok(*val)) {
		return false;
	}
	if (((*val ^ old) & EFER_LME) && (virt->read(v, XREG_CR0) & CR0_PG)) {
		return false;
	}
	virt->write(v, XREG_EFER, (*val & ~(uint64_t)EFER_LMA) | (old & EFER_LMA));
	if ((*val ^ old) & EFER_NXE) {
		guest_flush(v);
	}
	return true;
}

static bool segment_base(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	enum x86_reg r = XREG_SEG(msr == MSR_FS_BASE ? TM_SEG_FS : TM_SEG_GS, SEG_BASE);

	if (!write) {
		*val = virt->read(v, r);
	} else if (!is_canonical(*val)) {
		return false;
	} else {
		virt->write(v, r, *val);
	}
	return true;
}

static int smsr_of(uint32_t msr)
{
	switch (msr) {
	case MSR_STAR:
		return SMSR_STAR;
	case MSR_LSTAR:
		return SMSR_LSTAR;
	case MSR_CSTAR:
		return SMSR_CSTAR;
	case MSR_SFMASK:
		return SMSR_SFMASK;
	case MSR_KERNEL_GS_BASE:
		return SMSR_KERNEL_GS_BASE;
	case MSR_TSC_AUX:
		return SMSR_TSC_AUX;
	case MSR_SYSENTER_CS:
		return SMSR_SYSENTER_CS;
	case MSR_SYSENTER_ESP:
		return SMSR_SYSENTER_ESP;
	case MSR_SYSENTER_EIP:
		return SMSR_SYSENTER_EIP;
	default:
		return -1;
	}
}

static bool switched(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	int i = smsr_of(msr);
	bool address = msr == MSR_LSTAR || msr == MSR_CSTAR || msr == MSR_KERNEL_GS_BASE ||
		       msr == MSR_SYSENTER_ESP || msr == MSR_SYSENTER_EIP;

	if (i < 0) {
		return false;
	}
	if (!write) {
		*val = smsr_read(v, (enum switched_msr)i);
		return true;
	}
	if ((address && !is_canonical(*val)) ||
	    ((msr == MSR_TSC_AUX || msr == MSR_SFMASK || msr == MSR_SYSENTER_CS) && *val >> 32)) {
		return false;
	}
	smsr_write(v, (enum switched_msr)i, *val);
	return true;
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct msr_row rows[] = {
	{0x10, 0x10, FEATURE_ALWAYS, 0, tsc},
	{0x17, 0x17, FEATURE_ALWAYS, 0, microcode},		/* platform id */
	{MSR_APIC_BASE, MSR_APIC_BASE, FEATURE_ALWAYS, 0, apic},
	{0x3b, 0x3b, FEATURE_TSC_ADJUST, STATE, tsc},
	{0x8b, 0x8b, FEATURE_ALWAYS, 0, microcode},
	{0xfe, 0xfe, FEATURE_MTRR, 0, mtrr_cap},
	{MSR_SYSENTER_CS, MSR_SYSENTER_EIP, FEATURE_SEP, PASS | STATE, switched},
	{0x179, 0x17a, FEATURE_MCA, 0, zero},			/* MCG_CAP: no banks; MCG_STATUS */
	{MSR_MISC_ENABLE, MSR_MISC_ENABLE, FEATURE_ALWAYS, STATE, misc_enable},
	{0x1d9, 0x1d9, FEATURE_ALWAYS, 0, zero},		/* DEBUGCTL */
	{0x200, 0x20f, FEATURE_MTRR, STATE, mtrr_var},
	{0x250, 0x250, FEATURE_MTRR, STATE, mtrr_fixed},
	{0x258, 0x259, FEATURE_MTRR, STATE, mtrr_fixed},
	{0x268, 0x26f, FEATURE_MTRR, STATE, mtrr_fixed},
	{MSR_PAT, MSR_PAT, FEATURE_PAT, STATE, pat},
	{0x2ff, 0x2ff, FEATURE_MTRR, STATE, mtrr_def},
	{MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, FEATURE_ALWAYS, 0, apic},
	{MSR_X2APIC, MSR_X2APIC + 0xff, FEATURE_ALWAYS, 0, apic},
	{MSR_EFER, MSR_EFER, FEATURE_LM, 0, efer},
	{MSR_STAR, MSR_SFMASK, FEATURE_SYSCALL, PASS | STATE, switched},
	{MSR_FS_BASE, MSR_GS_BASE, FEATURE_LM, PASS, segment_base},
	{MSR_KERNEL_GS_BASE, MSR_KERNEL_GS_BASE, FEATURE_LM, PASS | STATE, switched},
	{MSR_TSC_AUX, MSR_TSC_AUX, FEATURE_RDTSCP, PASS | STATE, switched},
	{0xc0010010, 0xc0010010, FEATURE_ALWAYS, 0, amd_fixed},
	{0xc0010015, 0xc0010015, FEATURE_ALWAYS, 0, amd_fixed},
	{0xc0011029, 0xc0011029, FEATURE_ALWAYS, 0, amd_fixed},
};

static const struct msr_row *find(uint32_t msr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		if (msr >= rows[i].first && msr <= rows[i].last) {
			return policy_has(rows[i].feature) ? &rows[i] : NULL;
		}
	}
	return NULL;
}

bool policy_msr_passthrough(uint32_t msr, bool write)
{
	const struct msr_row *r = find(msr);

	(void)write;
	return r && (r->flags & PASS);
}

static bool is_quiet(uint32_t msr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(quiet); i++) {
		if (quiet[i] == msr) {
			return true;
		}
	}
	return false;
}

static bool access(struct vcpu *v, uint32_t msr, bool write, uint64_t *val)
{
	const struct msr_row *r;

	/* Every timer and every interrupt comes here. */
	if (likely(msr - MSR_X2APIC < 0x100 || msr == MSR_TSC_DEADLINE)) {
		return lapic_msr(v, msr, write, val);
	}
	r = find(msr);
	if (!r && !is_quiet(msr)) {
		log_warn_limited("vm %s vcpu %u: MSR 0x%x %s at 0x%llx: #GP", v->vm->name, v->id, msr,
				 write ? "written" : "read",
				 (unsigned long long)virt->read(v, XREG_RIP));
	}
	return r && r->fn(v, msr, write, val);
}

void exit_rdmsr(struct vcpu *v, unsigned len)
{
	uint64_t val = 0;

	if (!access(v, (uint32_t)v->arch.gpr[GPR_RCX], false, &val)) {
		inject_gp(v);
		return;
	}
	v->arch.gpr[GPR_RAX] = (uint32_t)val;
	v->arch.gpr[GPR_RDX] = val >> 32;
	guest_skip(v, len);
}

void exit_wrmsr(struct vcpu *v, unsigned len)
{
	uint64_t val = (uint32_t)v->arch.gpr[GPR_RAX] | v->arch.gpr[GPR_RDX] << 32;

	if (access(v, (uint32_t)v->arch.gpr[GPR_RCX], true, &val)) {
		guest_skip(v, len);
	} else {
		inject_gp(v);
	}
}

/* ---- state ----------------------------------------------------------------------------------- */

static bool is_state(uint32_t msr)
{
	const struct msr_row *r = find(msr);

	return r && (r->flags & STATE);
}

unsigned msr_state_get(struct vcpu *v, struct tm_msr *out, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		for (uint32_t msr = rows[i].first; (rows[i].flags & STATE) && msr <= rows[i].last; msr++) {
			uint64_t val = 0;

			/* What is 0 everywhere at reset goes without saying. */
			if (is_state(msr) && rows[i].fn(v, msr, false, &val) && val && n < max) {
				out[n++] = (struct tm_msr){.msr = msr, .val = val};
			}
		}
	}
	return n;
}

void msr_state_clear(struct vcpu *v)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		for (uint32_t msr = rows[i].first; (rows[i].flags & STATE) && msr <= rows[i].last; msr++) {
			uint64_t val = 0;

			if (is_state(msr) && msr != 0x3b) {
				(void)rows[i].fn(v, msr, true, &val);
			}
		}
	}
	v->arch.tsc_adjust = 0;
}

bool msr_state_ok(struct vcpu *v, uint32_t msr, uint64_t val)
{
	uint64_t old = 0;

	if (!is_state(msr) || msr == 0x3b) {
		return msr == 0x3b;
	}
	/* Tried and put back, so that every check stands in one place. */
	if (!find(msr)->fn(v, msr, false, &old) || !find(msr)->fn(v, msr, true, &val)) {
		return false;
	}
	return find(msr)->fn(v, msr, true, &old);
}

void msr_state_set(struct vcpu *v, uint32_t msr, uint64_t val)
{
	if (msr == 0x3b) {
		v->arch.tsc_adjust = val;	/* the TSC itself is in TIMER_STATE */
	} else {
		(void)find(msr)->fn(v, msr, true, &val);
	}
}
