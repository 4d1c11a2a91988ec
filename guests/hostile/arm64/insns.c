// SPDX-License-Identifier: Apache-2.0
//
// Instructions that a guest has no business with, from a table that is written once: changing code
// for each probe would cost an emulator more than the probe.

#include <stdlib.h>
#include <string.h>
#include <tidemark/arm64.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/probe.h>
#include <tidemark/tap.h>
#include "attacks.h"

#define TABLE 16384u
#define INSN_RET 0xd65f03c0u

struct stub {
	uint32_t insn;
	uint32_t ret;
};
static struct stub table[TABLE] __attribute__((aligned(64)));
static uint64_t scratch[1024] __attribute__((aligned(4096)));

static struct tm_probe run(struct hostile *h, const struct stub *s, uint64_t x0)
{
	h->ops++;
	return tm_probe_call((uint64_t (*)(uint64_t))(uintptr_t)s, x0);
}

/* An instruction out of the classes that trap, are undefined, or need a higher level. */
static uint32_t draw_insn(struct tm_prng *rng)
{
	uint32_t imm = (uint32_t)tm_prng_below(rng, 0x10000);

	switch (tm_prng_below(rng, 10)) {
	case 0: return imm;					/* udf #imm */
	case 1: return 0xd4000002u | (imm | 1u) << 5;		/* hvc #imm, not 0 */
	case 2: return 0xd4000003u | imm << 5;			/* smc #imm */
	case 3: return 0xd4000001u | imm << 5;			/* svc #imm */
	case 4: return 0xd4200000u | imm << 5;			/* brk #imm */
	case 5: return 0xd4a00001u | imm << 5 | (imm & 3);	/* dcps1..3 and the hole below */
	case 6: return 0xd4400000u | imm << 5;			/* hlt #imm */
	case 7: return 0x04000000u | (imm << 5 & 0x00ffffe0u);	/* SVE space */
	case 8: return 0xd6bf03e0u;				/* drps */
	default: return (imm & 0x1ffu) << 16 | 1u << 15 | (imm & 0xffu); /* reserved */
	}
}

/* What would leave the program or belongs to calls.c. */
static bool harmless(uint32_t insn)
{
	return insn != 0xd45e0000u;	/* semihosting of the emulator: hlt #0xf000 */
}

static void fill_table(struct hostile *h)
{
	for (uint32_t i = 0; i < TABLE; i++) {
		do {
			table[i].insn = draw_insn(&h->rng);
		} while (!harmless(table[i].insn));
		table[i].ret = INSN_RET;
	}
	tm_cache_sync_code(table, sizeof(table));
}

void attack_instructions(struct hostile *h)
{
	uint64_t kinds[TM_PROBE_OTHER + 1] = {0};
	uint64_t daif = tm_irq_save();

	fill_table(h);
	for (uint64_t i = 0; i < h->budget; i++) {
		const struct stub *s = &table[tm_prng_below(&h->rng, TABLE)];
		/* x0 is the function of an SMC or HVC: one that nobody has. */
		struct tm_probe p = run(h, s, 0xc6ff0000u | tm_prng_below(&h->rng, 0x10000));

		kinds[p.kind]++;
	}
	tm_irq_restore(daif);
	tap_ok(kinds[TM_PROBE_UNDEF] > 0 && kinds[TM_PROBE_ABORT] == 0 &&
	       kinds[TM_PROBE_SERROR] == 0,
	       "instructions: %llu run, %llu undefined, %llu returned, %llu other",
	       (unsigned long long)h->budget, (unsigned long long)kinds[TM_PROBE_UNDEF],
	       (unsigned long long)kinds[TM_PROBE_OK], (unsigned long long)kinds[TM_PROBE_OTHER]);
}

/* --- system registers ------------------------------------------------------------------------- */

#define ENC(op0, op1, crn, crm, op2)                                                               \
	((uint32_t)(op0) << 19 | (uint32_t)(op1) << 16 | (uint32_t)(crn) << 12 |                   \
	 (uint32_t)(crm) << 8 | (uint32_t)(op2) << 5)
#define INSN_MSR 0xd5000000u
#define INSN_MRS 0xd5200000u

/*
 * Registers that this program lives on: read, never written with nonsense. The virtual timer's are
 * not among them, though QEMU before 8.1.4 has a trap there that needs no hypervisor: at EL2, a
 * second after reset, CNTVOFF_EL2 = CNTPCT, CNTV_CVAL = ~0, CNTV_CTL = 1, and its main thread never
 * comes back. Ours keeps guests out of it, see vtimer_load() and timers.c.
 */
static bool vital(uint32_t enc)
{
	static const uint32_t list[] = {
		ENC(3, 0, 1, 0, 0),	/* SCTLR_EL1 */
		ENC(3, 0, 1, 0, 2),	/* CPACR_EL1 */
		ENC(3, 0, 2, 0, 0), ENC(3, 0, 2, 0, 1), ENC(3, 0, 2, 0, 2),	/* TTBR0/1, TCR */
		ENC(3, 0, 10, 2, 0),	/* MAIR_EL1 */
		ENC(3, 0, 12, 0, 0),	/* VBAR_EL1 */
		ENC(3, 0, 13, 0, 4),	/* TPIDR_EL1 */
		ENC(2, 0, 0, 2, 2),	/* MDSCR_EL1: single step of ourselves */
		ENC(3, 0, 1, 0, 5), ENC(3, 0, 1, 0, 6),	/* RGSR, GCR */
		/* DAIF, SPSel, CurrentEL */
		ENC(3, 3, 4, 2, 1), ENC(3, 0, 4, 2, 0), ENC(3, 0, 4, 2, 2),
	};

	for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		if (list[i] == enc) {
			return true;
		}
	}
	/* ELR, SPSR, SP_EL0; pointer authentication keys */
	return (enc & ENC(3, 7, 15, 0, 0)) == ENC(3, 0, 4, 0, 0) ||
	       (enc & ENC(3, 7, 15, 12, 0)) == ENC(3, 0, 2, 0, 0);
}

/* Vector registers and matrices that are switched off in CPACR_EL1 are our own doing. */
static bool own_trap(const struct tm_probe *p)
{
	unsigned ec = (unsigned)(p->esr >> 26) & 0x3f;

	return ec == 0x07 || ec == 0x19 || ec == 0x1d;	/* FP, SVE, SME */
}

static void sysreg_pass(struct hostile *h, bool write, uint64_t *ok, uint64_t *undef, uint64_t *odd)
{
	for (uint32_t i = 0; i < 2 * 16384; i++) {
		uint32_t enc = (2u << 19) | i << 5;
		struct stub *s = &table[i & (TABLE - 1)];
		struct tm_probe p;

		if ((i & (TABLE - 1)) == 0) {
			/* The next 16,384 encodings, synchronised at once. */
			for (uint32_t j = 0; j < TABLE; j++) {
				table[j].insn = (write ? INSN_MSR : INSN_MRS) | (2u << 19) |
						(i + j) << 5;
				table[j].ret = INSN_RET;
			}
			tm_cache_sync_code(table, sizeof(table));
		}
		if (write && vital(enc)) {
			continue;
		}
		p = run(h, s, write ? tm_prng_next(&h->rng) : 0);
		switch (own_trap(&p) ? TM_PROBE_UNDEF : p.kind) {
		case TM_PROBE_OK: ++*ok; break;
		case TM_PROBE_UNDEF: ++*undef; break;
		default:
			++*odd;
			tap_diag("S%u_%u_C%u_C%u_%u: kind %d esr 0x%llx", 2 + (i >> 14),
				 i >> 11 & 7, i >> 7 & 15, i >> 3 & 15, i & 7, (int)p.kind,
				 (unsigned long long)p.esr);
			break;
		}
	}
}

void attack_sysregs(struct hostile *h)
{
	uint64_t daif = tm_irq_save();
	uint64_t ok = 0;
	uint64_t undef = 0;
	uint64_t odd = 0;

	sysreg_pass(h, false, &ok, &undef, &odd);
	tap_ok(ok > 100 && undef > 10000 && odd == 0,
	       "system registers: 32768 encodings of op0 2 and 3: %llu read, %llu undefined",
	       (unsigned long long)ok, (unsigned long long)undef);
	ok = undef = odd = 0;
	sysreg_pass(h, true, &ok, &undef, &odd);
	/* What may have been switched on must not run when we go on. */
	tm_sysreg_write(cntv_ctl_el0, 0);
	tm_sysreg_write(cntp_ctl_el0, 0);
	tap_ok(ok > 40 && undef > 10000 && odd == 0,
	       "system registers written: %llu written, %llu undefined",
	       (unsigned long long)ok, (unsigned long long)undef);
	tm_irq_restore(daif | 0xc0);
	memset(scratch, 0, sizeof(scratch));
}

/* --- SGIs ------------------------------------------------------------------------------------- */

static void sgi_random(struct hostile *h)
{
	uint64_t v = tm_prng_next(&h->rng);

	if (tm_boot.gic_version == 3) {
		/* ICC_SGI1R_EL1, ICC_ASGI1R_EL1, ICC_SGI0R_EL1 with any target list and affinity */
		switch (v & 3) {
		case 0: tm_sysreg_write(s3_0_c12_c11_6, v); break;
		case 1: tm_sysreg_write(s3_0_c12_c11_7, v); break;
		default: tm_sysreg_write(s3_0_c12_c11_5, v); break;
		}
	} else if (tm_boot.gic_version == 2) {
		(void)tm_probe_write(tm_boot.gicd.gpa + 0xf00, 4, v & 0xffffffffu);
	}
	h->ops++;
}

void attack_sgis(struct hostile *h)
{
	uint64_t daif = tm_irq_save();
	uint64_t before = h->ops;

	for (uint64_t i = 0; i < h->budget; i++) {
		if (tm_prng_below(&h->rng, 4) != 0) {
			sgi_random(h);
		} else {
			tm_sgi_send((uint32_t)tm_prng_below(&h->rng, tm_boot.cpu_count),
				    (uint32_t)tm_prng_below(&h->rng, 16));
			h->ops++;
		}
		/* Now and then they are taken, acknowledged or left active. */
		if (tm_prng_below(&h->rng, 16) == 0) {
			uint32_t iar = tm_irq_ack();

			if (tm_prng_below(&h->rng, 4) != 0) {
				tm_irq_eoi(iar);
			}
		}
	}
	for (unsigned i = 0; i < 64; i++) {
		uint32_t iar = tm_irq_ack();

		if (iar == TM_IRQ_NONE) {
			break;
		}
		tm_irq_eoi(iar);
	}
	tm_irq_restore(daif | 0xc0);
	tap_ok(true, "SGIs: %llu sent", (unsigned long long)(h->ops - before));
}
