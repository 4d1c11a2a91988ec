// SPDX-License-Identifier: Apache-2.0
//
// arm64: the start block is the device tree and nothing else (boot/guest_start.h). Pure.

#include <boot/guest_start.h>

const struct guest_board *guest_start_board(void)
{
	return &guest_board_arm64;
}

uint64_t guest_start_size(void)
{
	return GUEST_FDT_SIZE;
}

uint64_t guest_start_place(struct guest_fdt_range ram, uint64_t low, uint64_t high)
{
	uint64_t end = ram.base + ram.size;

	if (ram.size < GUEST_FDT_SIZE) {
		return ~(uint64_t)0;
	}
	if (low >= ram.base + GUEST_FDT_SIZE) {
		return ram.base;
	}
	end = (end - GUEST_FDT_SIZE) & ~(uint64_t)0xfff;
	return high <= end ? end : ~(uint64_t)0;
}

int guest_start_build(void *buf, uint64_t at, const struct guest_fdt *g,
		      const struct image_plan *plan, const void *image, uint64_t *arg)
{
	(void)plan, (void)image;
	*arg = at;
	return guest_fdt_build(buf, GUEST_FDT_SIZE, g) < 0 ? -1 : 0;
}
