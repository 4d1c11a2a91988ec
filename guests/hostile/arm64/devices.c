// SPDX-License-Identifier: Apache-2.0
//
// What sweeps mean on arm64: an abort for every word of nobody's. The devices that every guest has,
// byte by byte.

#include <tidemark/arm64.h>
#include <tidemark/guest.h>
#include <tidemark/probe.h>
#include <tidemark/tap.h>
#include "attacks.h"

#define PAGE 4096u
#define UART_DR 0x09000000u

static bool in(const struct tm_range *r, uint64_t gpa)
{
	return r->size != 0 && gpa >= (r->gpa & ~(uint64_t)(PAGE - 1)) && gpa < r->gpa + r->size;
}

bool arch_is_device(uint64_t gpa)
{
	return in(&tm_boot.gicd, gpa) || in(&tm_boot.gicr, gpa) || in(&tm_boot.gicc, gpa) ||
	       (gpa & ~(uint64_t)(PAGE - 1)) == UART_DR;
}

uint32_t arch_touch(struct hostile *h, uint64_t gpa)
{
	struct tm_probe r = tm_probe_read(gpa, 8);
	struct tm_probe w = tm_probe_write(gpa, 8, ~gpa);

	h->ops += 2;
	return (r.kind == TM_PROBE_OK) + (w.kind == TM_PROBE_OK);
}

bool arch_fetch(struct hostile *h, uint64_t gpa)
{
	h->ops++;
	return tm_probe_call((uint64_t (*)(uint64_t))(uintptr_t)gpa, 0).kind == TM_PROBE_OK;
}

#define SCTLR_M 1u
#define SCTLR_C 4u

/* With our MMU off: the gpa itself goes to stage 2. */
uint32_t arch_touch_raw(struct hostile *h, uint64_t gpa)
{
	uint64_t daif = tm_irq_save();
	uint64_t sctlr = tm_sysreg_read(sctlr_el1);
	uint32_t got;

	tm_sysreg_write(sctlr_el1, sctlr & ~(uint64_t)(SCTLR_M | SCTLR_C));
	tm_isb();
	got = arch_touch(h, gpa);
	tm_sysreg_write(sctlr_el1, sctlr);
	tm_isb();
	tm_irq_restore(daif);
	return got;
}

/* No interrupts of ours survive this; the program polls from here on. */
static void fuzz_range(struct hostile *h, const struct tm_range *r, uint64_t ops)
{
	for (uint64_t i = 0; i < ops && r->size != 0; i++) {
		unsigned size = 1u << tm_prng_below(&h->rng, 4);
		uint64_t at = r->gpa + tm_prng_below(&h->rng, r->size);

		if (tm_prng_below(&h->rng, 8) != 0) {
			at &= ~(uint64_t)(size - 1);
		}
		if ((at & ~(uint64_t)7) == UART_DR) {
			continue;	/* printing is not what is tested here */
		}
		h->ops++;
		if (tm_prng_below(&h->rng, 2) == 0) {
			(void)tm_probe_read(at, size);
		} else {
			(void)tm_probe_write(at, size, tm_prng_next(&h->rng));
		}
	}
}

void attack_devices(struct hostile *h)
{
	const struct tm_range uart = {UART_DR, PAGE};
	uint64_t daif = tm_irq_save();
	uint64_t before = h->ops;

	fuzz_range(h, &tm_boot.gicd, h->budget / 4);
	fuzz_range(h, &tm_boot.gicr, h->budget / 4);
	fuzz_range(h, &tm_boot.gicc, h->budget / 8);
	fuzz_range(h, &uart, h->budget / 8);
	tm_irq_restore(daif | 0xc0);
	tap_ok(true, "devices: %llu random accesses", (unsigned long long)(h->ops - before));
}
