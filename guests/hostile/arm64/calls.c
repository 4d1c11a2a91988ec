// SPDX-License-Identifier: Apache-2.0
//
// How arm64 calls: HVC and SMC with all registers that SMCCC names, and PSCI.

#include <string.h>
#include <tidemark/guest.h>
#include "attacks.h"

/* x0..x17 in and out, by one instruction. */
#define RAW_CALL(insn, base)                                                                       \
	__asm__ volatile("ldp x0, x1, [x19]\n ldp x2, x3, [x19, #16]\n"                            \
			 "ldp x4, x5, [x19, #32]\n ldp x6, x7, [x19, #48]\n"                       \
			 "ldp x8, x9, [x19, #64]\n ldp x10, x11, [x19, #80]\n"                     \
			 "ldp x12, x13, [x19, #96]\n ldp x14, x15, [x19, #112]\n"                  \
			 "ldp x16, x17, [x19, #128]\n" insn "\n"                                   \
			 "stp x0, x1, [x19]\n stp x2, x3, [x19, #16]\n"                            \
			 "stp x4, x5, [x19, #32]\n stp x6, x7, [x19, #48]\n"                       \
			 "stp x8, x9, [x19, #64]\n stp x10, x11, [x19, #80]\n"                     \
			 "stp x12, x13, [x19, #96]\n stp x14, x15, [x19, #112]\n"                  \
			 "stp x16, x17, [x19, #128]\n"                                             \
			 : : "r"(base)                                                             \
			 : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10",      \
			   "x11", "x12", "x13", "x14", "x15", "x16", "x17", "memory")

void arch_raw_call(struct tm_prng *rng, uint64_t x[18])
{
	register uint64_t base __asm__("x19") = (uint64_t)(uintptr_t)x;

	if (tm_prng_below(rng, 8) == 0) {
		RAW_CALL("smc #0", base);
	} else {
		RAW_CALL("hvc #0", base);
	}
}

bool arch_call_number(struct tm_prng *rng, uint32_t fn, uint64_t *reg)
{
	/* the 32-bit form: unknown but for 0xffxx */
	bool ours = tm_prng_below(rng, 16) != 0;

	*reg = (ours ? 0xc6000000u : 0x86000000u) | fn | (tm_prng_below(rng, 8) == 0 ? 0x10000u : 0);
	*reg |= tm_prng_below(rng, 8) == 0 ? tm_prng_next(rng) << 32 : 0;
	return ours;
}

/* PSCI and the rest of SMCCC, but for what would end us. */
bool arch_other_call(struct hostile *h)
{
	static const uint32_t owner[] = {0x80000000u, 0xc0000000u, 0x84000000u, 0xc4000000u,
					 0x82000000u, 0xc5000000u, 0x00000000u, 0xbf000000u};
	uint32_t id = owner[tm_prng_below(&h->rng, 8)] | (uint32_t)tm_prng_below(&h->rng, 0x20);
	uint64_t x[18];

	/* SYSTEM_OFF, SYSTEM_RESET(2), CPU_OFF, CPU_SUSPEND, SYSTEM_SUSPEND, CPU_DEFAULT_SUSPEND */
	switch (id & 0xffff) {
	case 1: case 2: case 8: case 9: case 0xc: case 0xe: case 0x12:
		if ((id & 0x3f000000u) == 0x04000000u) {
			return true;
		}
		break;
	default: break;
	}
	for (unsigned i = 1; i < 18; i++) {
		x[i] = draw_arg(&h->rng);
	}
	/* CPU_ON: of CPUs that are not there. */
	if ((id & 0xffff) == 3) {
		x[1] |= 0x80;
	}
	x[0] = id;
	arch_raw_call(&h->rng, x);
	h->ops++;
	return true;
}

