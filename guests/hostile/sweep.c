// SPDX-License-Identifier: Apache-2.0
//
// Memory that is not ours: sweeps, edges, and the devices that every guest has, byte by byte.

#include <tidemark/arm64.h>
#include <tidemark/guest.h>
#include <tidemark/probe.h>
#include <tidemark/tap.h>
#include "hostile.h"

#define PAGE 4096u
#define FOUR_GIB ((uint64_t)1 << 32)
#define UART_DR 0x09000000u

static bool in(const struct tm_range *r, uint64_t gpa)
{
	return r->size != 0 && gpa >= (r->gpa & ~(uint64_t)(PAGE - 1)) && gpa < r->gpa + r->size;
}

static bool is_device(uint64_t gpa)
{
	return in(&tm_boot.gicd, gpa) || in(&tm_boot.gicr, gpa) || in(&tm_boot.gicc, gpa) ||
	       (gpa & ~(uint64_t)(PAGE - 1)) == UART_DR;
}

static bool is_ours(uint64_t gpa)
{
	for (uint32_t i = 0; i < tm_boot.mem_count; i++) {
		if (in(&tm_boot.mem[i], gpa)) {
			return true;
		}
	}
	return false;
}

/* Read and write of a word that is nowhere: an abort each time, never a value. */
static uint32_t touch(struct hostile *h, uint64_t gpa)
{
	struct tm_probe r = tm_probe_read(gpa, 8);
	struct tm_probe w = tm_probe_write(gpa, 8, ~gpa);

	h->ops += 2;
	return (r.kind == TM_PROBE_OK) + (w.kind == TM_PROBE_OK);
}

void attack_memory(struct hostile *h)
{
	uint64_t pages = 0;
	uint64_t got = 0;

	for (uint64_t gpa = 0; gpa < FOUR_GIB; gpa += PAGE * h->stride) {
		uint64_t at = gpa + tm_prng_below(&h->rng, PAGE / 8) * 8;

		if (is_ours(at) || is_device(at)) {
			continue;
		}
		pages++;
		got += touch(h, at);
	}
	tap_ok(got == 0, "memory: %llu pages outside our slots read and written, %llu let us",
	       (unsigned long long)pages, (unsigned long long)got);
}

#define SCTLR_M 1u
#define SCTLR_C 4u

/* Beyond what the library maps, with our MMU off: the gpa itself goes to stage 2. */
static uint32_t touch_raw(struct hostile *h, uint64_t gpa)
{
	uint64_t daif = tm_irq_save();
	uint64_t sctlr = tm_sysreg_read(sctlr_el1);
	uint32_t got;

	tm_sysreg_write(sctlr_el1, sctlr & ~(uint64_t)(SCTLR_M | SCTLR_C));
	tm_isb();
	got = touch(h, gpa);
	tm_sysreg_write(sctlr_el1, sctlr);
	tm_isb();
	tm_irq_restore(daif);
	return got;
}

void attack_edges(struct hostile *h)
{
	uint64_t got = 0;
	uint64_t n = 0;

	for (unsigned bit = 12; bit < 64; bit++) {
		static const int64_t around[] = {-4096, -8, 0, 8, 4096};

		for (unsigned i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
			uint64_t gpa = ((uint64_t)1 << bit) + (uint64_t)around[i];

			if (!is_ours(gpa) && !is_device(gpa)) {
				got += touch(h, gpa) + touch_raw(h, gpa);
				n++;
			}
		}
	}
	tap_ok(got == 0, "edges: %llu addresses at powers of two, %llu let us",
	       (unsigned long long)n, (unsigned long long)got);
	got = 0;
	for (uint32_t i = 0; i < tm_boot.mem_count; i++) {
		got += touch(h, tm_boot.mem[i].gpa - 8);
		got += touch(h, tm_boot.mem[i].gpa + tm_boot.mem[i].size);
	}
	tap_ok(got == 0, "edges: around our own memory");
	n = 0;
	for (uint64_t gpa = 0x0a000000u; gpa < 0x0a000000u + 64 * PAGE; gpa += PAGE) {
		n += tm_probe_call((uint64_t (*)(uint64_t))(uintptr_t)gpa, 0).kind == TM_PROBE_OK;
		h->ops++;
	}
	tap_ok(n == 0, "edges: instructions fetched from nowhere");
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
