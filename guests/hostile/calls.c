// SPDX-License-Identifier: Apache-2.0
//
// Hypercalls with the rights of a guest: numbers and arguments at random, the calls that are ours
// among them. A management call must look like an unknown one, and nothing but results may change.

#include <string.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/tap.h>
#include "hostile.h"

static uint64_t scratch[2048] __attribute__((aligned(4096)));

static bool for_guests(uint32_t fn)
{
	return fn <= TM_HC_FEATURES || (fn >= TM_HC_CONSOLE_WRITE && fn <= TM_HC_PVTIME_SET);
}

uint64_t draw_arg(struct tm_prng *rng)
{
	uint64_t own = TM_GPA(scratch);

	switch (tm_prng_below(rng, 12)) {
	case 0: return 0;
	case 1: return tm_prng_below(rng, 4);
	case 2: return ~(uint64_t)0;
	case 3: return own + tm_prng_below(rng, 64) * 8;
	case 4: return own + sizeof(scratch) - 8;
	case 5: return own + 1;
	case 6: return tm_boot.mem[0].gpa + tm_boot.mem[0].size - tm_prng_below(rng, 16);
	case 7: return (uint64_t)1 << tm_prng_below(rng, 64);
	case 8: return ((uint64_t)1 << tm_prng_below(rng, 64)) - 1;
	case 9: return tm_prng_next(rng);
	case 10: return tm_prng_below(rng, 0x10000);
	default: return 0x08000000u + tm_prng_below(rng, 0x2000000) * 8;
	}
}

static uint32_t draw_number(struct tm_prng *rng)
{
	static const uint8_t groups[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x7e, 0xff};
	uint32_t fn = (uint32_t)groups[tm_prng_below(rng, sizeof(groups))] << 8;

	if (tm_prng_below(rng, 8) == 0) {
		return (uint32_t)tm_prng_below(rng, 0x10000);
	}
	return fn | (uint32_t)tm_prng_below(rng, 12);
}

/* CONSOLE_WRITE of our own memory would only fill the log, PVTIME and READ would write into the
 * program: these keep to the scratch pages and to what is refused. */
static void tame(struct tm_prng *rng, uint32_t fn, uint64_t x[18])
{
	uint64_t at = TM_GPA(scratch) + tm_prng_below(rng, 64) * 64;

	if (fn == TM_HC_CONSOLE_WRITE && x[1] >= tm_boot.mem[0].gpa &&
	    x[1] < tm_boot.mem[0].gpa + tm_boot.mem[0].size) {
		x[2] = 0;
	} else if (fn == TM_HC_PVTIME_SET && x[1] != ~(uint64_t)0) {
		x[1] = tm_prng_below(rng, 2) == 0 ? at : x[1] | 1;
	} else if (fn == TM_HC_CONSOLE_READ) {
		x[1] = tm_prng_below(rng, 2) == 0 ? at : x[1] | (uint64_t)1 << 45;
	}
}

struct outcome {
	uint64_t calls, known, refused, status[2], spoiled, leaked;
};

static void one_call(struct hostile *h, struct outcome *o)
{
	uint32_t fn = draw_number(&h->rng);
	uint64_t in[18];
	uint64_t x[18];
	bool ours;

	for (unsigned i = 1; i < 18; i++) {
		x[i] = draw_arg(&h->rng);
	}
	tame(&h->rng, fn, x);
	ours = arch_call_number(&h->rng, fn, &x[0]);
	memcpy(in, x, sizeof(in));
	arch_raw_call(&h->rng, x);
	h->ops++;
	o->calls++;
	o->spoiled += memcmp(&x[4], &in[4], 14 * sizeof(x[0])) != 0;
	if (ours && for_guests(fn)) {
		o->known++;
		o->status[(int64_t)x[0] < 0]++;
	} else if (fn < 0xff00) {
		o->refused++;
		/* -1 in half a register for arm64's 32-bit form */
		o->leaked += (int32_t)x[0] != -1;
	}
}

void attack_calls(struct hostile *h)
{
	struct outcome o = {0};

	for (uint64_t i = 0; i < h->budget; i++) {
		if (tm_prng_below(&h->rng, 8) != 0 || !arch_other_call(h)) {
			one_call(h, &o);
		}
	}
	(void)tm_pvtime_set(NULL);
	tap_ok(o.leaked == 0, "calls: %llu not ours, %llu not answered as unknown",
	       (unsigned long long)o.refused, (unsigned long long)o.leaked);
	tap_ok(o.spoiled == 0, "calls: %llu made, %llu changed more than their results",
	       (unsigned long long)o.calls, (unsigned long long)o.spoiled);
	tap_ok(o.status[0] > 0 && o.status[1] > 0, "calls: ours: %llu done, %llu refused",
	       (unsigned long long)o.status[0], (unsigned long long)o.status[1]);
}
