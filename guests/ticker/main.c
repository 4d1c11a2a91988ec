// SPDX-License-Identifier: Apache-2.0
//
// A guest whose state can be checked from outside: each tick it fills some pages with content that
// only their number and version decide, re-checks others against the table of versions, and prints
// a number one higher than before. A page that a snapshot lost shows as "tick: BAD", a lost timer
// or register as a gap or a stall. Needs nobody's help.
// Bootargs: pages=<working set>, writes=<pages a tick>, period_us=<between ticks>.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <tidemark/arch.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/prng.h>

#define PAGE 4096u

static uint64_t *pages;
static uint32_t *version;
static uint64_t page_count;

static uint64_t word(uint64_t page, uint32_t v, uint64_t i)
{
	return tm_mix64(page << 32 ^ v) + i * 0x9e3779b97f4a7c15u;
}

// Version 0 is a page of zeros, never written.
static void fill(uint64_t page)
{
	uint64_t *p = pages + page * (PAGE / 8);
	uint32_t v = ++version[page];

	for (uint64_t i = 0; i < PAGE / 8; i++) {
		p[i] = word(page, v, i);
	}
}

static int check(uint64_t page)
{
	const uint64_t *p = pages + page * (PAGE / 8);

	for (uint64_t i = 0; i < PAGE / 8; i++) {
		if (p[i] != (version[page] != 0 ? word(page, version[page], i) : 0)) {
			printf("tick: BAD page %lu word %lu\n", (unsigned long)page,
			       (unsigned long)i);
			return 1;
		}
	}
	return 0;
}

int main(void)
{
	uint64_t writes = tm_bootarg_u64("writes", 16);
	uint64_t period = tm_us_to_ticks(tm_bootarg_u64("period_us", 20000));
	struct tm_prng rng;
	uint64_t next;
	int bad = 0;

	page_count = tm_bootarg_u64("pages", 1024);
	pages = malloc((page_count + 1) * PAGE);
	version = calloc(page_count, sizeof(*version));
	if (pages == NULL || version == NULL || !tm_irq_init()) {
		printf("ticker: no memory for %lu pages, or no interrupt controller\n",
		       (unsigned long)page_count);
		return 1;
	}
	pages = (uint64_t *)(((uintptr_t)pages + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
	for (uint64_t i = 0; i < page_count * (PAGE / 8); i++) {
		pages[i] = 0;
	}
	tm_irq_unmask();
	tm_prng_seed(&rng, 1);
	next = tm_timer_now();
	for (unsigned long n = 1; bad == 0; n++) {
		for (uint64_t w = 0; w < writes; w++) {
			fill(tm_prng_below(&rng, page_count));
			bad += check(tm_prng_below(&rng, page_count));
		}
		printf("tick %lu\n", n);
		// Time that passed while the VM was paused is not made up for.
		next = tm_timer_now() + period;
		while (tm_timer_now() < next) {
			tm_sleep_us(tm_ticks_to_us(next - tm_timer_now()) + 1);
		}
	}
	return 1;
}
