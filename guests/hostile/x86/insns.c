// SPDX-License-Identifier: Apache-2.0
//
// Instructions that a guest has no business with, from a table that is written once: changing code
// for each probe would cost an emulator more than the probe. Operands are random; what could only
// end us (HLT, SWAPGS alone, a descriptor table from nowhere) is for ends.c.

#include <string.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/tap.h>
#include <tidemark/x86.h>
#include "attacks.h"

#define TEMPLATE 14

struct shape {
	uint8_t len;
	uint8_t b[TEMPLATE];
};

/* RAX, RCX, RDX are random, RDI and RSI point somewhere, R12 is where a jump may end. */
static const struct shape shapes[] = {
	/* undefined, and what 64-bit mode took away */
	{2, {0x0f, 0x0b}}, {3, {0x0f, 0xb9, 0xc0}}, {3, {0x0f, 0xff, 0xc0}}, {2, {0x0f, 0x04}},
	{2, {0x0f, 0x0a}}, {2, {0x0f, 0x0c}}, {2, {0x0f, 0x24}}, {2, {0x0f, 0x26}},
	{2, {0x0f, 0x36}}, {1, {0x06}}, {1, {0x07}}, {1, {0x0e}}, {1, {0x16}}, {1, {0x1f}},
	{1, {0x27}}, {1, {0x2f}}, {1, {0x37}}, {1, {0x3f}}, {1, {0x60}}, {1, {0x61}},
	{2, {0x82, 0xc0}}, {1, {0x9a}}, {1, {0xce}}, {2, {0xd4, 0x0a}}, {2, {0xd5, 0x0a}},
	{1, {0xd6}}, {1, {0xea}}, {2, {0xf0, 0x90}}, {3, {0xf0, 0x01, 0xc0}},
	{3, {0x8e, 0xc8, 0x90}}, {3, {0x8e, 0xf0, 0x90}}, {2, {0x8c, 0xf8}},
	/* VMX: VMLAUNCH, VMRESUME, VMXOFF, VMFUNC, VMREAD, VMWRITE, VMPTRLD, VMPTRST, VMCLEAR, VMXON,
	 * INVEPT, INVVPID */
	{3, {0x0f, 0x01, 0xc2}}, {3, {0x0f, 0x01, 0xc3}}, {3, {0x0f, 0x01, 0xc4}},
	{3, {0x0f, 0x01, 0xd4}}, {3, {0x0f, 0x78, 0xc1}}, {3, {0x0f, 0x79, 0xc1}},
	{3, {0x0f, 0xc7, 0x37}}, {3, {0x0f, 0xc7, 0x3f}}, {4, {0x66, 0x0f, 0xc7, 0x37}},
	{4, {0xf3, 0x0f, 0xc7, 0x37}}, {5, {0x66, 0x0f, 0x38, 0x80, 0x07}},
	{5, {0x66, 0x0f, 0x38, 0x81, 0x07}},
	/* both calls with numbers that nobody has: OR EAX, 0x70000000 first */
	{8, {0x0d, 0, 0, 0, 0x70, 0x0f, 0x01, 0xc1}}, {8, {0x0d, 0, 0, 0, 0x70, 0x0f, 0x01, 0xd9}},
	/* SVM: VMRUN, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, INVLPGA */
	{3, {0x0f, 0x01, 0xd8}}, {3, {0x0f, 0x01, 0xda}}, {3, {0x0f, 0x01, 0xdb}},
	{3, {0x0f, 0x01, 0xdc}}, {3, {0x0f, 0x01, 0xdd}}, {3, {0x0f, 0x01, 0xde}},
	{3, {0x0f, 0x01, 0xdf}},
	/* MONITOR, MWAIT, CLAC, STAC, ENCLS, XGETBV, XSETBV, XEND, XTEST, ENCLU, SWAPGS twice, RDTSCP,
	 * MONITORX, MWAITX, CLZERO, RDPRU */
	{3, {0x0f, 0x01, 0xc8}}, {3, {0x0f, 0x01, 0xc9}}, {3, {0x0f, 0x01, 0xca}},
	{6, {0x0f, 0x01, 0xcb, 0x0f, 0x01, 0xca}}, {3, {0x0f, 0x01, 0xcf}}, {3, {0x0f, 0x01, 0xd0}},
	{3, {0x0f, 0x01, 0xd1}}, {3, {0x0f, 0x01, 0xd5}}, {3, {0x0f, 0x01, 0xd6}},
	{3, {0x0f, 0x01, 0xd7}}, {6, {0x0f, 0x01, 0xf8, 0x0f, 0x01, 0xf8}}, {3, {0x0f, 0x01, 0xf9}},
	{3, {0x0f, 0x01, 0xfa}}, {3, {0x0f, 0x01, 0xfb}}, {3, {0x0f, 0x01, 0xfc}},
	{3, {0x0f, 0x01, 0xfd}},
	/* INVD, WBINVD, WBNOINVD, CLTS, LMSW, SMSW, INVLPG, INVPCID, SGDT, SIDT */
	{2, {0x0f, 0x08}}, {2, {0x0f, 0x09}}, {3, {0xf3, 0x0f, 0x09}}, {2, {0x0f, 0x06}},
	{3, {0x0f, 0x01, 0xf0}}, {3, {0x0f, 0x01, 0xe0}}, {3, {0x0f, 0x01, 0x3f}},
	{5, {0x66, 0x0f, 0x38, 0x82, 0x07}}, {3, {0x0f, 0x01, 0x07}}, {3, {0x0f, 0x01, 0x0f}},
	/* RDPMC, RDMSR, RSM, SYSRET, SYSEXIT, SYSCALL, SYSENTER, GETSEC */
	{2, {0x0f, 0x33}}, {2, {0x0f, 0x32}}, {2, {0x0f, 0xaa}}, {2, {0x0f, 0x07}},
	{2, {0x0f, 0x35}}, {2, {0x0f, 0x05}}, {2, {0x0f, 0x34}}, {2, {0x0f, 0x37}},
	/* LLDT, LTR, VERR, VERW, LAR, LSL, MOV to DS, ES, SS, all with AX */
	{3, {0x0f, 0x00, 0xd0}}, {3, {0x0f, 0x00, 0xd8}}, {3, {0x0f, 0x00, 0xe0}},
	{3, {0x0f, 0x00, 0xe8}}, {3, {0x0f, 0x02, 0xc8}}, {3, {0x0f, 0x03, 0xc8}},
	{2, {0x8e, 0xd8}}, {2, {0x8e, 0xc0}}, {2, {0x8e, 0xd0}},
	/* LLDT, LTR from memory */
	{3, {0x0f, 0x00, 0x17}}, {3, {0x0f, 0x00, 0x1f}},
	/* MOV to and from control registers that are none, with RAX */
	{3, {0x0f, 0x22, 0xc8}}, {3, {0x0f, 0x22, 0xe8}}, {3, {0x0f, 0x22, 0xf0}},
	{3, {0x0f, 0x22, 0xf8}}, {4, {0x44, 0x0f, 0x22, 0xc8}}, {4, {0x44, 0x0f, 0x22, 0xf8}},
	{3, {0x0f, 0x20, 0xc8}}, {3, {0x0f, 0x20, 0xf8}},
	/* CPUID, RDTSC, RDRAND, RDSEED, PAUSE, UMONITOR, TPAUSE, RDFSBASE, ENQCMD, XBEGIN, IN */
	{2, {0x0f, 0xa2}}, {2, {0x0f, 0x31}}, {3, {0x0f, 0xc7, 0xf0}}, {3, {0x0f, 0xc7, 0xf8}},
	{2, {0xf3, 0x90}}, {4, {0xf3, 0x0f, 0xae, 0xf0}}, {4, {0x66, 0x0f, 0xae, 0xf0}},
	{4, {0xf3, 0x0f, 0xae, 0xc0}}, {5, {0xf2, 0x0f, 0x38, 0xf8, 0x07}},
	{6, {0xc7, 0xf8, 0, 0, 0, 0}}, {1, {0xec}}, {1, {0xed}},
	/* XSAVE, XRSTOR, FXSAVE, FXRSTOR, LDMXCSR, VEX and EVEX forms, FWAIT */
	{3, {0x0f, 0xae, 0x27}}, {3, {0x0f, 0xae, 0x2f}}, {3, {0x0f, 0xae, 0x07}},
	{3, {0x0f, 0xae, 0x0f}}, {3, {0x0f, 0xae, 0x17}}, {4, {0xc5, 0xf8, 0x28, 0x07}},
	{5, {0xc4, 0xe1, 0x78, 0x28, 0x07}}, {6, {0x62, 0xf1, 0x7c, 0x48, 0x28, 0x07}}, {1, {0x9b}},
	/* CMPXCHG8B, CMPXCHG16B, POPF, far jumps and calls through memory, LSS */
	{4, {0xf0, 0x0f, 0xc7, 0x0f}}, {5, {0xf0, 0x48, 0x0f, 0xc7, 0x0f}}, {2, {0x51, 0x9d}},
	{2, {0xff, 0x2f}}, {3, {0x48, 0xff, 0x2f}}, {2, {0xff, 0x1f}}, {2, {0xff, 0xff}},
	{2, {0xff, 0xef}},
	/* LRET: CS = RDX, RIP = R12. IRET: SS = RAX, RFLAGS = RCX, CS = RDX, RIP = R12. */
	{5, {0x52, 0x41, 0x54, 0x48, 0xcb}},
	{14, {0x4c, 0x8d, 0x1c, 0x24, 0x50, 0x41, 0x53, 0x51, 0x52, 0x41, 0x54, 0x48, 0xcf, 0xc3}},
	{14, {0x4c, 0x8d, 0x1c, 0x24, 0x50, 0x41, 0x53, 0x51, 0x52, 0x41, 0x54, 0x48, 0xcf, 0xc3}},
	/* INT3, INT1 */
	{1, {0xcc}}, {1, {0xf1}},
};

/* INT nn but for vectors with an error code, which the library's stubs expect. */
static uint8_t draw_vector(struct tm_prng *rng)
{
	uint8_t v = (uint8_t)tm_prng_next(rng);
	bool error = v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21 || v == 29 || v == 30;

	return error ? (uint8_t)(v + 64) : v;
}

static void draw_insn(struct tm_prng *rng, uint8_t *p)
{
	uint64_t kind = tm_prng_below(rng, 16);
	unsigned n;

	if (kind == 0) {		/* INT nn */
		p[0] = 0xcd;
		p[1] = draw_vector(rng);
	} else if (kind == 1) {		/* prefixes up to and beyond what is permitted */
		n = (unsigned)tm_prng_below(rng, 16);
		memset(p, tm_prng_below(rng, 2) != 0 ? 0x66 : 0x2e, n);
		p[n] = 0x0f;
		p[n + 1] = 0xa2;
	} else if (kind <= 3) {		/* three-byte maps with an operand at RDI */
		n = tm_prng_below(rng, 2) != 0 ? 1 : 0;
		p[0] = 0x66;
		p[n] = 0x0f;
		p[n + 1] = tm_prng_below(rng, 2) != 0 ? 0x38 : 0x3a;
		p[n + 2] = (uint8_t)tm_prng_next(rng);
		if (p[n + 2] == 0x0c) {
			p[n + 2] = 0;	/* 0F 38 0C without VEX is the end of QEMU 7.2 */
		}
		p[n + 3] = (uint8_t)(0x07 | tm_prng_below(rng, 4) << 3);
		p[n + 4] = 0x01;	/* an immediate of some, an ADD of nothing else */
		p[n + 5] = 0xc0;
	} else {
		const struct shape *s = &shapes[tm_prng_below(rng, sizeof(shapes) / sizeof(shapes[0]))];

		memcpy(p, s->b, s->len);
	}
}

static void fill_table(struct hostile *h)
{
	memset(stub_table, INSN_RET, sizeof(stub_table));
	for (uint32_t i = 0; i < STUBS; i++) {
		draw_insn(&h->rng, stub_table[i]);
	}
	memset(stub_table[0], INSN_RET, STUB);
	tm_cache_sync_code(stub_table, sizeof(stub_table));
}

static uint64_t draw_selector(struct tm_prng *rng)
{
	static const uint16_t known[] = {0x10, 0x18, 0, 8, 3, 0x13, 0x1b, 0x14, 0xffff, 0x20};

	return tm_prng_below(rng, 3) != 0 ? known[tm_prng_below(rng, sizeof(known) / sizeof(known[0]))] :
					    tm_prng_below(rng, 0x10000);
}

static uint64_t draw_value(struct tm_prng *rng)
{
	switch (tm_prng_below(rng, 4)) {
	case 0: return draw_selector(rng);
	case 1: return tm_prng_next(rng);
	case 2: return tm_prng_below(rng, 0x10000);
	default: return 0xc0000000u + tm_prng_below(rng, 0x12000);
	}
}

/* Not memory of nobody: what the decoder does not know there is mmio.c's. */
static uint64_t draw_operand(struct tm_prng *rng)
{
	uint64_t p = draw_pointer(rng);

	return p < (uint64_t)1 << 39 && p >= 0xd0000000u ? TM_GPA(scratch) : p;
}

void attack_instructions(struct hostile *h)
{
	uint64_t kinds[TM_PROBE_GP + 1] = {0};
	const uint64_t ret = (uint64_t)(uintptr_t)stub_table[0];
	uint64_t cr0;

	__asm__ volatile("movq %%cr0, %0" : "=r"(cr0));
	fill_table(h);
	for (uint64_t i = 0; i < h->budget; i++) {
		struct run r;

		r.reg[RAX] = draw_value(&h->rng);
		r.reg[RCX] = draw_value(&h->rng);
		r.reg[RDX] = draw_selector(&h->rng);
		r.reg[RBX] = tm_prng_next(&h->rng);
		r.reg[RBP] = r.reg[RBX];
		r.reg[RDI] = draw_operand(&h->rng);
		r.reg[RSI] = draw_operand(&h->rng);
		for (unsigned j = R8; j <= R15; j++) {
			r.reg[j] = r.reg[RBX];
		}
		r.reg[R12] = tm_prng_below(&h->rng, 4) != 0 ? ret : (uint64_t)1 << 50;
		/* The far pointer, where RDI finds it. */
		scratch[0] = (ret & 0xffffffffu) | draw_selector(&h->rng) << 32;
		scratch[1] = draw_selector(&h->rng);
		if (tm_prng_below(&h->rng, 4) == 0) {
			r.reg[RDI] = TM_GPA(scratch);
		}
		kinds[run_stub(h, &r, 1 + (uint32_t)tm_prng_below(&h->rng, STUBS - 1)).kind]++;
		if (i % 1024 == 0) {
			__asm__ volatile("movq %0, %%cr0" : : "r"(cr0) : "memory");
		}
	}
	__asm__ volatile("movq %0, %%cr0" : : "r"(cr0) : "memory");
	settle();
	tap_ok(kinds[TM_PROBE_UNDEF] > 0 && kinds[TM_PROBE_GP] > 0,
	       "instructions: %llu run, %llu undefined, %llu #GP, %llu returned, %llu other",
	       (unsigned long long)h->budget, (unsigned long long)kinds[TM_PROBE_UNDEF],
	       (unsigned long long)kinds[TM_PROBE_GP], (unsigned long long)kinds[TM_PROBE_OK],
	       (unsigned long long)(kinds[TM_PROBE_OTHER] + kinds[TM_PROBE_ABORT] +
				    kinds[TM_PROBE_FETCH] + kinds[TM_PROBE_SERROR]));
}
