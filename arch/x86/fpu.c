// SPDX-License-Identifier: Apache-2.0
/*
 * Guests' x87, SSE and AVX state. The hypervisor has no such code, so the registers are the loaded
 * guest's until it is put. Runs on the CPU that has the vCPU; no lock. XSAVE in the standard form
 * (SDM volume 1, 13), or FXSAVE where there is none.
 */
#include <asm/guest.h>
#include <hyp/string.h>
#include <hyp/vcpu.h>

#define MXCSR_RESET 0x1f80u
#define FCW_RESET 0x37fu
#define MXCSR_MASK_DEFAULT 0xffbfu

static uint64_t xcr0_mask;		/* 0: no XSAVE */
static uint32_t mxcsr_mask;

uint64_t fpu_mask(void)
{
	return xcr0_mask;
}

uint32_t fpu_mxcsr_mask(void)
{
	return mxcsr_mask;
}

static void xsetbv(uint64_t val)
{
	__asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)val), "d"((uint32_t)(val >> 32)));
}

static void find_mxcsr_mask(void)
{
	static uint8_t area[512] __attribute__((aligned(16)));
	uint32_t mask;

	__asm__ volatile("fxsave64 %0" : "=m"(area));
	memcpy(&mask, area + XSAVE_MXCSR_MASK, sizeof(mask));
	mxcsr_mask = mask ? mask : MXCSR_MASK_DEFAULT;
}

void fpu_cpu_init(void)
{
	uint64_t cr0 = read_cr(0), cr4 = read_cr(4) | CR4_OSFXSR | CR4_OSXMMEXCPT;

	write_cr(0, (cr0 & ~(uint64_t)(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
	if (cpu_features.xsave) {
		cr4 |= CR4_OSXSAVE;
	}
	write_cr(4, cr4);
	if (cpu_features.xsave) {
		/* Only what we can save may ever be switched on, whatever more the CPU has. */
		xcr0_mask = cpuid(0xd, 0).eax & (XCR0_X87 | XCR0_SSE | XCR0_AVX);
		xsetbv(xcr0_mask);
	}
	if (!mxcsr_mask) {
		find_mxcsr_mask();	/* the boot CPU, alone */
	}
}

void fpu_reset(struct vcpu *v)
{
	uint16_t fcw = FCW_RESET;
	uint32_t mxcsr = MXCSR_RESET;

	memset(v->arch.xsave, 0, PAGE_SIZE);
	memcpy(v->arch.xsave, &fcw, sizeof(fcw));
	memcpy(v->arch.xsave + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
	/* XSTATE_BV stays 0: initial values. MXCSR is loaded all the same (SDM volume 1, 13.8.1). */
	v->arch.xcr0 = xcr0_mask ? XCR0_X87 : 0;
}

void fpu_load(struct vcpu *v)
{
	uint8_t *area = v->arch.xsave;

	if (xcr0_mask) {
		xsetbv(xcr0_mask);
		__asm__ volatile("xrstor64 %0"
				 :
				 : "m"(*(uint8_t (*)[PAGE_SIZE])area), "a"((uint32_t)xcr0_mask), "d"(0));
		xsetbv(v->arch.xcr0);
	} else {
		__asm__ volatile("fxrstor64 %0" : : "m"(*(uint8_t (*)[512])area));
	}
}

/* For QEMU's TCG, which lets SVM guests set XCR0 without an exit. */
void fpu_sync_xcr0(struct vcpu *v)
{
	uint32_t lo, hi;

	if (xcr0_mask && v->arch.loaded) {
		__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
		v->arch.xcr0 = lo & xcr0_mask;
	}
}

void fpu_put(struct vcpu *v)
{
	uint8_t *area = v->arch.xsave;

	fpu_sync_xcr0(v);
	if (xcr0_mask) {
		/* A component that the guest has switched off keeps its content. */
		xsetbv(xcr0_mask);
		__asm__ volatile("xsave64 %0"
				 : "+m"(*(uint8_t (*)[PAGE_SIZE])area)
				 : "a"((uint32_t)xcr0_mask), "d"(0));
	} else {
		__asm__ volatile("fxsave64 %0" : "=m"(*(uint8_t (*)[512])area));
	}
}

void fpu_set_xcr0(struct vcpu *v, uint64_t val)
{
	v->arch.xcr0 = val;
	if (v->arch.loaded) {
		xsetbv(val);
	}
}
