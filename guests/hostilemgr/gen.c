// SPDX-License-Identifier: Apache-2.0
//
// Edge values, and what a victim is made of.

#include <string.h>
#include <tidemark/guest.h>
#include "attack.h"

static const struct vmm_slot_spec slots[VICTIM_SLOTS] = {
	{0, TM_SLOT_LOG_DIRTY, 0x40000000u, 64 * PAGE, VMM_DONATED},
	{1, TM_SLOT_LOG_DIRTY, 0x40400000u, 517 * PAGE, VMM_DONATED},
	{2, 0, 0x40a01000u, 33 * PAGE, VMM_ANONYMOUS},
	{3, TM_SLOT_READONLY, 0x41000000u, 3 * PAGE, VMM_DONATED},
};
/* Where each begins in the backing region; 2 MiB for the one with a large leaf. */
static const uint64_t backing_offset[VICTIM_SLOTS] = {0, 0x200000, 0, 0x600000};

const struct vmm_slot_spec *victim_slot(uint32_t i)
{
	return &slots[i];
}

void victim_backing(struct attack *a, uint32_t i, struct tm_slot_desc *d)
{
	memset(d, 0, sizeof(*d));
	d->slot = slots[i].id;
	d->flags = slots[i].flags;
	d->gpa = slots[i].gpa;
	d->size = slots[i].size;
	if (slots[i].backing == VMM_DONATED) {
		d->backing = TM_GPA(a->backing) + backing_offset[i];
	}
}

uint64_t edge_value(struct tm_prng *rng)
{
	static const uint64_t fixed[] = {
		0, 1, 2, 3, 63, 64, 65, 511, 512, 513, 4095, 4096, 4097, 0xffff, 0x10000,
		0x7fffffff, 0x80000000u, 0xffffffffu, 0x100000000u, 0x7fffffffffffffffu,
		0x8000000000000000u, ~(uint64_t)0, ~(uint64_t)0 - 1, ~(uint64_t)4095,
	};
	const uint64_t n = sizeof(fixed) / sizeof(fixed[0]);

	switch (tm_prng_below(rng, 4)) {
	case 0: return tm_prng_next(rng);
	case 1: return (uint64_t)1 << tm_prng_below(rng, 64);
	default: return fixed[tm_prng_below(rng, n)];
	}
}

/* Never plain memory of this program but the scratch region. */
uint64_t edge_pointer(struct attack *a)
{
	uint64_t own = TM_GPA(a->scratch);

	switch (tm_prng_below(&a->rng, 8)) {
	case 0: return own + 1;
	case 1: return own + SCRATCH_SIZE - 8;
	case 2: return 0;
	case 3: return DEVICE_GPA;
	case 4: return a->window + tm_prng_below(&a->rng, WINDOW_SIZE);
	case 5: return ~(uint64_t)0 - 7;
	case 6: return (uint64_t)1 << (40 + tm_prng_below(&a->rng, 24));
	default: return tm_prng_next(&a->rng) | (uint64_t)1 << 50;
	}
}

void edge_word(struct attack *a, void *p, uint64_t size)
{
	uint64_t at = tm_prng_below(&a->rng, size / 4) * 4;
	uint64_t v = edge_value(&a->rng);

	memcpy((uint8_t *)p + at, &v, size - at < 8 || (at & 4) != 0 ? 4 : 8);
}

static bool apart(const struct tm_range *r, uint64_t base, uint64_t size)
{
	return r->size == 0 || base >= r->gpa + r->size || base + size <= r->gpa;
}

bool harmless_range(const struct attack *a, uint64_t base, uint64_t size)
{
	const struct tm_range scratch = {TM_GPA(a->scratch), SCRATCH_SIZE};
	const struct tm_range dtb = {TM_GPA(tm_boot.dtb), tm_boot.dtb_size};
	/* Whatever wraps or is enormous is refused for that alone. */
	bool sane = base + size >= base && size <= (uint64_t)1 << 40;

	return !sane || (apart(&scratch, base, size) && apart(&dtb, base, size) &&
			 apart(&tm_boot.image, base, size) && apart(&tm_boot.initrd, base, size));
}
