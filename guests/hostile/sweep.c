// SPDX-License-Identifier: Apache-2.0
//
// Memory that is not ours: sweeps and edges.

#include <tidemark/guest.h>
#include <tidemark/tap.h>
#include "hostile.h"

#define PAGE 4096u
#define FOUR_GIB ((uint64_t)1 << 32)

static bool in(const struct tm_range *r, uint64_t gpa)
{
	return r->size != 0 && gpa >= (r->gpa & ~(uint64_t)(PAGE - 1)) && gpa < r->gpa + r->size;
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

void attack_memory(struct hostile *h)
{
	uint64_t pages = 0;
	uint64_t got = 0;

	for (uint64_t gpa = 0; gpa < FOUR_GIB; gpa += PAGE * h->stride) {
		uint64_t at = gpa + tm_prng_below(&h->rng, PAGE / 8) * 8;

		if (is_ours(at) || arch_is_device(at)) {
			continue;
		}
		pages++;
		got += arch_touch(h, at);
	}
	tap_ok(got == 0, "memory: %llu pages outside our slots read and written, %llu let us",
	       (unsigned long long)pages, (unsigned long long)got);
}

void attack_edges(struct hostile *h)
{
	uint64_t got = 0;
	uint64_t n = 0;

	for (unsigned bit = 12; bit < 64; bit++) {
		static const int64_t around[] = {-4096, -8, 0, 8, 4096};

		for (unsigned i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
			uint64_t gpa = ((uint64_t)1 << bit) + (uint64_t)around[i];

			if (!is_ours(gpa) && !arch_is_device(gpa)) {
				got += arch_touch(h, gpa) + arch_touch_raw(h, gpa);
				n++;
			}
		}
	}
	tap_ok(got == 0, "edges: %llu addresses at powers of two, %llu let us",
	       (unsigned long long)n, (unsigned long long)got);
	got = 0;
	for (uint32_t i = 0; i < tm_boot.mem_count; i++) {
		got += arch_touch(h, tm_boot.mem[i].gpa - 8);
		got += arch_touch(h, tm_boot.mem[i].gpa + tm_boot.mem[i].size);
	}
	tap_ok(got == 0, "edges: around our own memory");
	n = 0;
	for (uint64_t gpa = 0x0a000000u; gpa < 0x0a000000u + 64 * PAGE; gpa += PAGE) {
		n += arch_fetch(h, gpa);
	}
	tap_ok(n == 0, "edges: instructions fetched from nowhere");
}
