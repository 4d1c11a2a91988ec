// SPDX-License-Identifier: Apache-2.0
/*
 * What guests see of the CPU: the one table of CPUID features. Everything else follows from it: an
 * MSR row names the feature that it belongs to (msr.c), the permitted bits of CR4, EFER and XCR0 are
 * computed from it. A bit that stands nowhere here is hidden. Filled at boot, constant afterwards.
 */
#include <abi/x86.h>
#include <abi/hypercall.h>
#include <arch/time.h>
#include <asm/board.h>
#include <asm/guest.h>
#include <asm/policy.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#define BIT(n) (1u << (n))

/*
 * Shown = (host & pass) | force. Hidden on purpose: VMX, SVM, SMX, MONITOR, RDRAND and RDSEED (a
 * snapshot would share them), PMU, thermal and speed-step, DS, PT, CET, SGX, MPX, HLE and RTM, PKU,
 * PCID, LA57, AVX-512, speculation controls, AMX, XSAVES.
 */
static const struct {
	uint32_t pass, force;
} table[FEATURE_WORDS] = {
	[WORD_1C] = {
		BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) |
		BIT(25) | BIT(26) | BIT(28) | BIT(29),
		BIT(21) | BIT(24) | BIT(31),	/* x2APIC, TSC deadline, hypervisor: ours */
	},
	[WORD_1D] = {
		0x1ffu | BIT(11) | BIT(13) | BIT(15) | BIT(17) | BIT(19) | BIT(23) | BIT(24) | BIT(25) |
		BIT(26),
		BIT(9) | BIT(12) | BIT(14) | BIT(16),	/* APIC, MTRR, MCA without banks, PAT */
	},
	[WORD_7B] = {
		BIT(0) | BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(13) | BIT(18 + 1) |
		BIT(20) | BIT(23) | BIT(24) | BIT(29),
		BIT(1),				/* TSC_ADJUST */
	},
	[WORD_7C] = {BIT(2) | BIT(8) | BIT(9) | BIT(10) | BIT(22), 0},
	[WORD_7D] = {BIT(4), 0},
	[WORD_D1A] = {BIT(0) | BIT(1) | BIT(2), 0},
	[WORD_81C] = {BIT(0) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(11) | BIT(16) | BIT(21), 0},
	[WORD_81D] = {
		0x1ffu | BIT(11) | BIT(13) | BIT(15) | BIT(17) | BIT(20) | BIT(22) | BIT(23) | BIT(24) |
		BIT(26) | BIT(27) | BIT(29),
		0,
	},
};

/* Features that are there only with another one: AVX state without XSAVE, say. */
static const struct {
	uint16_t feature, needs;
} depends[] = {
	{FEATURE(WORD_1C, 28), FEATURE_XSAVE},		/* AVX */
	{FEATURE(WORD_1C, 12), FEATURE_AVX}, {FEATURE(WORD_1C, 29), FEATURE_AVX},
	{FEATURE(WORD_7B, 5), FEATURE_AVX}, {FEATURE(WORD_7C, 9), FEATURE_AVX},
	{FEATURE(WORD_7C, 10), FEATURE_AVX}, {FEATURE(WORD_81C, 11), FEATURE_AVX},
	{FEATURE(WORD_81C, 16), FEATURE_AVX}, {FEATURE(WORD_7C, 22), FEATURE_RDTSCP},
	{FEATURE(WORD_D1A, 0), FEATURE_XSAVE}, {FEATURE(WORD_D1A, 1), FEATURE_XSAVE},
	{FEATURE(WORD_D1A, 2), FEATURE_XSAVE},
};

static uint32_t shown[FEATURE_WORDS];

bool policy_has(uint16_t feature)
{
	return shown[feature >> 5] & BIT(feature & 31);
}

static void host_words(uint32_t *w)
{
	w[WORD_1C] = cpu_features.leaf1_ecx;
	w[WORD_1D] = cpu_features.leaf1_edx;
	w[WORD_7B] = cpu_features.leaf7_ebx;
	w[WORD_7C] = cpu_features.leaf7_ecx;
	w[WORD_7D] = cpu_features.leaf7_edx;
	w[WORD_D1A] = cpu_features.xsave ? cpuid(0xd, 1).eax : 0;
	w[WORD_81C] = cpu_features.ext1_ecx;
	w[WORD_81D] = cpu_features.ext1_edx;
}

void policy_init(void)
{
	uint32_t host[FEATURE_WORDS];

	host_words(host);
	for (unsigned i = 0; i < FEATURE_WORDS; i++) {
		shown[i] = (host[i] & table[i].pass) | table[i].force;
	}
	if (!(fpu_mask() & XCR0_AVX)) {
		shown[WORD_1C] &= ~BIT(28);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(depends); i++) {
		if (!policy_has(depends[i].needs)) {
			shown[depends[i].feature >> 5] &= ~BIT(depends[i].feature & 31);
		}
	}
}

/* ---- what follows from it -------------------------------------------------------------------- */

uint64_t policy_cr4_allowed(void)
{
	static const struct {
		uint32_t bit;
		uint16_t feature;
	} rows[] = {
		{CR4_VME | CR4_PVI, FEATURE(WORD_1D, 1)}, {CR4_DE, FEATURE(WORD_1D, 2)},
		{CR4_UMIP, FEATURE(WORD_7C, 2)}, {CR4_FSGSBASE, FEATURE(WORD_7B, 0)},
		{CR4_OSXSAVE, FEATURE_XSAVE}, {CR4_SMEP, FEATURE(WORD_7B, 7)},
		{CR4_SMAP, FEATURE(WORD_7B, 20)},
	};
	uint64_t bits = CR4_TSD | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR |
			CR4_OSXMMEXCPT;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		bits |= policy_has(rows[i].feature) ? rows[i].bit : 0;
	}
	return bits;
}

uint64_t policy_xcr0_allowed(void)
{
	return policy_has(FEATURE_XSAVE) ? fpu_mask() : 0;
}

uint64_t policy_efer_allowed(void)
{
	return EFER_SCE | EFER_LME | (policy_has(FEATURE(WORD_81D, 20)) ? EFER_NXE : 0u);
}

/* ---- CPUID ----------------------------------------------------------------------------------- */

/* vCPU numbers are APIC ids; bits that hold them all. */
static uint32_t id_bits(const struct vm *vm)
{
	uint32_t n = 0;

	while ((1u << n) < vm->vcpus_max) {
		n++;
	}
	return n;
}

static uint32_t tsc_khz(void)
{
	return (uint32_t)(arch_time_freq() / 1000);
}

static uint32_t xsave_size(uint64_t xcr0)
{
	return xcr0 & XCR0_AVX ? XSAVE_END : XSAVE_AVX;
}

static void leaf_1(struct vcpu *v, struct cpuid_regs *r)
{
	bool osxsave = virt->read(v, XREG_CR4) & CR4_OSXSAVE;
	uint32_t n = 1u << id_bits(v->vm);

	/* the host's stepping and cache line size; our numbers */
	r->ebx = (r->ebx & 0xff00) | n << 16 | (uint32_t)v->id << 24;
	r->ecx = shown[WORD_1C] | (osxsave ? BIT(27) : 0);
	r->edx = shown[WORD_1D] | (n > 1 ? BIT(28) : 0);
}

/* Deterministic cache parameters: each vCPU has its own caches. */
static void leaf_4(struct vcpu *v, struct cpuid_regs *r)
{
	if (r->eax & 0x1f) {
		r->eax = (r->eax & 0x3fff) | ((1u << id_bits(v->vm)) - 1) << 26;
	}
}

static void leaf_7(uint32_t sub, struct cpuid_regs *r)
{
	*r = (struct cpuid_regs){0};
	if (sub == 0) {
		r->ebx = shown[WORD_7B];
		r->ecx = shown[WORD_7C];
		r->edx = shown[WORD_7D];
	}
}

static void leaf_b(struct vcpu *v, uint32_t sub, struct cpuid_regs *r)
{
	uint32_t bits = id_bits(v->vm);

	*r = (struct cpuid_regs){.ecx = sub & 0xff, .edx = v->id};
	if (sub == 0) {			/* one thread a core */
		r->ebx = 1;
		r->ecx |= 1u << 8;
	} else if (sub == 1) {
		r->eax = bits;
		r->ebx = 1u << bits;
		r->ecx |= 2u << 8;
	}
}

static void leaf_d(struct vcpu *v, uint32_t sub, struct cpuid_regs *r)
{
	uint64_t allowed = policy_xcr0_allowed();

	*r = (struct cpuid_regs){0};
	if (sub == 0) {
		r->eax = (uint32_t)allowed;
		r->ebx = allowed ? xsave_size(v->arch.xcr0) : 0;
		r->ecx = allowed ? xsave_size(allowed) : 0;
	} else if (sub == 1) {
		r->eax = shown[WORD_D1A];
		r->ebx = r->eax & 2 ? xsave_size(v->arch.xcr0) : 0;
	} else if (sub == 2 && (allowed & XCR0_AVX)) {
		r->eax = XSAVE_END - XSAVE_AVX;
		r->ebx = XSAVE_AVX;
	}
}

/* Crystal = TSC, as calibrated: what the machine's own leaf says may be wrong. */
static void leaf_15(struct cpuid_regs *r)
{
	uint64_t hz = arch_time_freq();
	uint32_t ratio = 1;

	while (hz / ratio > UINT32_MAX) {
		ratio *= 2;
	}
	*r = (struct cpuid_regs){.eax = 1, .ebx = ratio, .ecx = (uint32_t)(hz / ratio)};
}

static void leaf_ext(struct vcpu *v, uint32_t leaf, struct cpuid_regs *r)
{
	switch (leaf) {
	case 0x80000000:
		r->eax = MIN(r->eax, 0x80000008u);
		break;
	case 0x80000001:
		r->ebx = 0;
		r->ecx = shown[WORD_81C];
		r->edx = shown[WORD_81D];
		break;
	case 0x80000002:
	case 0x80000003:
	case 0x80000004:
	case 0x80000005:
	case 0x80000006:
		break;
	case 0x80000007:
		*r = (struct cpuid_regs){.edx = BIT(8)};	/* invariant TSC */
		break;
	case 0x80000008:
		*r = (struct cpuid_regs){.eax = MIN(cpu_features.phys_bits, 48u) | 48u << 8};
		if (cpu_features.vendor == CPU_AMD) {
			r->ecx = (v->vm->vcpus_max - 1u) | id_bits(v->vm) << 12;
		}
		break;
	default:
		*r = (struct cpuid_regs){0};
		break;
	}
}

static void leaf_ours(struct vcpu *v, uint32_t leaf, struct cpuid_regs *r)
{
	*r = (struct cpuid_regs){0};
	switch (leaf) {
	case TM_CPUID_BASE:
		*r = (struct cpuid_regs){TM_CPUID_TIMING, TM_CPUID_EBX, TM_CPUID_ECX, TM_CPUID_EDX};
		break;
	case TM_CPUID_CALL:
		r->eax = TM_VERSION_MAJOR << 16 | TM_VERSION_MINOR;
		r->ecx = virt == &svm_ops ? TM_CPUID_CALL_VMMCALL : 0;
		r->edx = v->vm->is_manager ? TM_CPUID_CALL_MANAGER : 0;
		break;
	case TM_CPUID_TIMING:
		r->eax = r->ebx = tsc_khz();
		break;
	default:
		break;
	}
}

static void leaf_basic(struct vcpu *v, uint32_t leaf, uint32_t sub, struct cpuid_regs *r)
{
	switch (leaf) {
	case 0:
		r->eax = cpu_features.vendor == CPU_AMD ? 0xd : 0x16;
		break;
	case 1:
		leaf_1(v, r);
		break;
	case 2:
		break;
	case 4:
		leaf_4(v, r);
		break;
	case 6:
		*r = (struct cpuid_regs){.eax = BIT(2)};	/* our APIC timer never stops */
		break;
	case 7:
		leaf_7(sub, r);
		break;
	case 0xb:
		leaf_b(v, sub, r);
		break;
	case 0xd:
		leaf_d(v, sub, r);
		break;
	case 0x15:
		leaf_15(r);
		break;
	case 0x16:
		*r = (struct cpuid_regs){tsc_khz() / 1000, tsc_khz() / 1000, 100, 0};
		break;
	default:
		*r = (struct cpuid_regs){0};
		break;
	}
}

void policy_cpuid(struct vcpu *v, uint32_t leaf, uint32_t sub, struct cpuid_regs *out)
{
	struct cpuid_leaf host = cpuid(leaf, sub);

	*out = (struct cpuid_regs){host.eax, host.ebx, host.ecx, host.edx};
	if (leaf >> 28 == 4) {
		leaf_ours(v, leaf, out);
	} else if (leaf >> 31) {
		leaf_ext(v, leaf, out);
	} else if (leaf > (cpu_features.vendor == CPU_AMD ? 0xdu : 0x16u)) {
		*out = (struct cpuid_regs){0};
	} else {
		leaf_basic(v, leaf, sub, out);
	}
}
