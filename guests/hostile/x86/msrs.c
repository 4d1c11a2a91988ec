// SPDX-License-Identifier: Apache-2.0
//
// Model-specific registers: all numbers that hardware or hypervisors use, read and written. Each
// works or is #GP. What could be read goes back in the instruction after the write, so that even FS
// and GS base, EFER and the like can be tried.

#include <tidemark/guest.h>
#include <tidemark/tap.h>
#include "attacks.h"

#define MSR_X2APIC_ICR 0x830u		/* an IPI to whom it may concern: apic.c */

#define ROUNDS 2u			/* writes to each */

struct msr_try {
	uint32_t msr, rsvd;
	uint64_t val;
	uint64_t old;
	uint64_t done;			/* 1 written, 2 put back */
};
uint64_t msr_read(uint64_t msr);
uint64_t msr_write(uint64_t t);
uint64_t msr_write_back(uint64_t t);

struct outcome {
	uint64_t read, unreadable, written, refused, odd;
};

static void tell(const char *what, uint32_t msr, const struct tm_probe *p, struct outcome *o)
{
	o->odd++;
	if (o->odd <= 8) {
		tap_diag("MSR 0x%x %s: kind %d esr 0x%llx", msr, what, (int)p->kind,
			 (unsigned long long)p->esr);
	}
}

static uint64_t draw_value(struct tm_prng *rng, uint64_t old, unsigned round)
{
	switch (round == 0 ? 0 : 1 + tm_prng_below(rng, 3)) {
	case 0: return tm_prng_next(rng);
	case 1: return old ^ (uint64_t)1 << tm_prng_below(rng, 64);
	case 2: return ~(uint64_t)0;
	default: return 0;
	}
}

static void one_msr(struct hostile *h, uint32_t msr, struct outcome *o)
{
	struct tm_probe p = tm_probe_call(msr_read, msr);
	bool readable = p.kind == TM_PROBE_OK;
	uint64_t old = p.value;

	h->ops++;
	o->read += readable;
	o->unreadable += p.kind == TM_PROBE_GP;
	if (!readable && p.kind != TM_PROBE_GP) {
		tell("read", msr, &p, o);
	}
	if (msr == MSR_X2APIC_ICR) {
		return;
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct msr_try t = {.msr = msr, .old = old, .val = draw_value(&h->rng, old, round)};

		p = tm_probe_call(readable ? msr_write_back : msr_write, (uint64_t)(uintptr_t)&t);
		h->ops++;
		o->written += p.kind == TM_PROBE_OK || t.done != 0;
		o->refused += p.kind == TM_PROBE_GP && t.done == 0;
		if (p.kind != TM_PROBE_OK && p.kind != TM_PROBE_GP) {
			tell("written", msr, &p, o);
		}
	}
}

void attack_msrs(struct hostile *h)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {{0, 0x1fff}, {0x40000000u, 0x400000ffu}, {0xc0000000u, 0xc0001fffu},
		      {0xc0010000u, 0xc0011fffu}};
	struct outcome o = {0};
	uint64_t n = 0;

	for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		for (uint32_t msr = ranges[i].first; msr <= ranges[i].last; msr += h->step) {
			one_msr(h, msr, &o);
			n++;
		}
	}
	settle();
	tap_ok(o.read > 40 / h->step && o.unreadable > 20000 / h->step && o.read + o.unreadable == n,
	       "MSRs: %llu numbers, %llu read, %llu #GP", (unsigned long long)n,
	       (unsigned long long)o.read, (unsigned long long)o.unreadable);
	tap_ok(o.written > 40 / h->step && o.refused > 40000 / h->step && o.odd == 0,
	       "MSRs written: %llu accepted, %llu #GP, %llu odd", (unsigned long long)o.written,
	       (unsigned long long)o.refused, (unsigned long long)o.odd);
	/* What has no register behind it: the number is 32 bits, RCX's upper half is nothing. */
	for (uint64_t i = 0; i < h->budget / 64; i++) {
		struct tm_probe p = tm_probe_call(msr_read, tm_prng_next(&h->rng) | 0x20000000u);

		h->ops++;
		o.odd += p.kind != TM_PROBE_GP;
	}
	tap_ok(o.odd == 0, "MSRs elsewhere: %llu odd", (unsigned long long)o.odd);
}
