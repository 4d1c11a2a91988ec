// SPDX-License-Identifier: Apache-2.0
//
// Device memory and memory of nobody by instructions that no driver would use there: every opcode
// with a memory operand, the operand in the middle of a register or across two pages. What the
// hypervisor's decoder does not know stops us, and the program in the manager's place lets us go on
// behind it.

#include <string.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/tap.h>
#include <tidemark/x86.h>
#include "attacks.h"

#define NOBODY 0xd0000000u
#define LAPIC 0xfee00000u
#define IOAPIC 0xfec00000u
#define MSR_APIC_BASE 0x1bu
#define ACCESSES 4000u			/* half of them wait for the manager */

/* One-byte opcodes whose ModRM byte may name memory, with their immediates' length. RSP is never
 * named (ModRM.reg 4 without REX.R), nor FS and GS. */
static const struct {
	uint8_t op, imm;
} one_byte[] = {
	{0x00, 0}, {0x01, 0}, {0x02, 0}, {0x03, 0}, {0x08, 0}, {0x09, 0}, {0x0a, 0}, {0x0b, 0},
	{0x10, 0}, {0x11, 0}, {0x12, 0}, {0x13, 0}, {0x18, 0}, {0x19, 0}, {0x1a, 0}, {0x1b, 0},
	{0x20, 0}, {0x21, 0}, {0x22, 0}, {0x23, 0}, {0x28, 0}, {0x29, 0}, {0x2a, 0}, {0x2b, 0},
	{0x30, 0}, {0x31, 0}, {0x32, 0}, {0x33, 0}, {0x38, 0}, {0x39, 0}, {0x3a, 0}, {0x3b, 0},
	{0x63, 0}, {0x69, 4}, {0x6b, 1}, {0x80, 1}, {0x81, 4}, {0x83, 1}, {0x84, 0}, {0x85, 0},
	{0x86, 0}, {0x87, 0}, {0x88, 0}, {0x89, 0}, {0x8a, 0}, {0x8b, 0}, {0x8c, 0}, {0x8f, 0},
	{0xc0, 1}, {0xc1, 1}, {0xc6, 1}, {0xc7, 4}, {0xd0, 0}, {0xd1, 0}, {0xd2, 0}, {0xd3, 0},
	{0xd8, 0}, {0xd9, 0}, {0xda, 0}, {0xdb, 0}, {0xdc, 0}, {0xdd, 0}, {0xde, 0}, {0xdf, 0},
	{0xf6, 1}, {0xf7, 4}, {0xfe, 0}, {0xff, 0},
};

/* 0f xx: not the groups of 00 and 01, not LSS, LFS, LGS. */
static bool two_byte_ok(uint8_t op)
{
	return op >= 0x10 && op != 0xb2 && op != 0xb4 && op != 0xb5 && (op & 0xf0) != 0x80 &&
	       (op & 0xf0) != 0x30 && !(op >= 0x20 && op <= 0x27) && op != 0xa0 && op != 0xa1 &&
	       op != 0xa2 && op != 0xa8 && op != 0xa9 && op != 0xaa && op != 0x77 &&
	       !(op >= 0xc8 && op <= 0xcf);
}

static uint8_t draw_modrm(struct tm_prng *rng)
{
	static const uint8_t regs[] = {0, 1, 2, 3, 5, 6, 7};

	/* [rdi], [rdi + disp8], [rdi + disp32] */
	return (uint8_t)(tm_prng_below(rng, 3) << 6 |
			 (uint64_t)regs[tm_prng_below(rng, sizeof(regs))] << 3 | 7);
}

static void draw_insn(struct tm_prng *rng, uint8_t *p)
{
	static const uint8_t prefix[] = {0x66, 0xf2, 0xf3, 0xf0, 0x48, 0x2e};
	unsigned n = 0;
	unsigned imm = 1;
	uint8_t modrm = draw_modrm(rng);

	if (tm_prng_below(rng, 2) == 0) {
		p[n++] = prefix[tm_prng_below(rng, sizeof(prefix))];
	}
	if (tm_prng_below(rng, 8) == 0) {	/* string instructions, RCX times */
		p[n++] = (uint8_t)(0xa4 + tm_prng_below(rng, 4));
		return;
	}
	if (tm_prng_below(rng, 2) == 0) {
		uint8_t op;

		do {
			op = (uint8_t)tm_prng_next(rng);
		} while (!two_byte_ok(op));
		p[n++] = 0x0f;
		p[n++] = op;
	} else {
		unsigned i = (unsigned)tm_prng_below(rng, sizeof(one_byte) / sizeof(one_byte[0]));

		p[n++] = one_byte[i].op;
		imm = one_byte[i].imm;
		if (one_byte[i].op == 0xff) {
			modrm &= 0xcf;	/* INC and DEC: no jump, no PUSH that our RET would take */
		}
	}
	p[n++] = modrm;
	if (modrm >> 6 == 1) {
		p[n++] = (uint8_t)tm_prng_below(rng, 8);
	} else if (modrm >> 6 == 2) {
		memset(&p[n], 0, 4);
		n += 4;
	}
	memset(&p[n], 0x01, imm);
}

static void fill_table(struct hostile *h)
{
	memset(stub_table, INSN_RET, sizeof(stub_table));
	for (uint32_t i = 0; i < STUBS; i++) {
		draw_insn(&h->rng, stub_table[i]);
	}
	tm_cache_sync_code(stub_table, sizeof(stub_table));
}

/* Not the registers that send IPIs or route pins. */
static uint64_t draw_target(struct tm_prng *rng, bool lapic)
{
	static const uint16_t offset[] = {0x20, 0x30, 0x80, 0x90, 0xa0, 0xb0, 0xd0, 0xe0, 0x100, 0x170,
					  0x180, 0x200, 0x270, 0x280, 0x390, 0x3f0, 0x400, 0x800, 0xff0};
	uint64_t in = tm_prng_below(rng, 4) == 0 ? tm_prng_below(rng, 16) : 0;

	switch (tm_prng_below(rng, 4)) {
	case 0: return NOBODY + 4096 - tm_prng_below(rng, 16);
	case 1: return NOBODY + tm_prng_below(rng, 1u << 20);
	case 2: return IOAPIC + 0x40 + tm_prng_below(rng, 0xfc0);
	default:
		return lapic ? LAPIC + offset[tm_prng_below(rng, sizeof(offset) / sizeof(offset[0]))] + in :
			       IOAPIC + 0x40 + in;
	}
}

static void odd_accesses(struct hostile *h, bool lapic, uint64_t n, uint64_t kinds[])
{
	for (uint64_t i = 0; i < n; i++) {
		struct run r;

		for (unsigned j = 0; j < 16; j++) {
			r.reg[j] = tm_prng_next(&h->rng);
		}
		r.reg[RCX] = tm_prng_below(&h->rng, 8);
		r.reg[RDI] = draw_target(&h->rng, lapic);
		r.reg[RSI] = tm_prng_below(&h->rng, 2) != 0 ? draw_target(&h->rng, lapic) :
							     TM_GPA(scratch) + 512;
		r.reg[R12] = (uint64_t)(uintptr_t)run_landing;
		r.reg[R13] = RUN_SKIP_MAGIC;
		kinds[run_stub(h, &r, (uint32_t)tm_prng_below(&h->rng, STUBS)).kind]++;
	}
}

void attack_mmio(struct hostile *h)
{
	uint64_t kinds[TM_PROBE_GP + 1] = {0};
	uint64_t base = tm_rdmsr(MSR_APIC_BASE);
	uint64_t n = h->budget / 8 < ACCESSES ? h->budget / 8 : ACCESSES;

	fill_table(h);
	odd_accesses(h, false, n / 2, kinds);
	tm_wrmsr(MSR_APIC_BASE, base & ~(uint64_t)0xc00);
	tm_wrmsr(MSR_APIC_BASE, (base & ~(uint64_t)0xc00) | 0x800);
	odd_accesses(h, true, n / 2, kinds);
	settle();
	tap_ok(kinds[TM_PROBE_OK] > 0,
	       "odd accesses: %llu, %llu done or skipped, %llu undefined, %llu #GP, %llu other",
	       (unsigned long long)n, (unsigned long long)kinds[TM_PROBE_OK],
	       (unsigned long long)kinds[TM_PROBE_UNDEF], (unsigned long long)kinds[TM_PROBE_GP],
	       (unsigned long long)(kinds[TM_PROBE_ABORT] + kinds[TM_PROBE_FETCH] +
				    kinds[TM_PROBE_OTHER]));
}
