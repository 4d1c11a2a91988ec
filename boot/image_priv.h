// SPDX-License-Identifier: Apache-2.0
/* Between image_load.c and image_x86.c: reading a hostile image, and building the plan. */
#ifndef TIDEMARK_BOOT_IMAGE_PRIV_H
#define TIDEMARK_BOOT_IMAGE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "image_load.h"

/* The file, and the memory that is offered. */
struct image_job {
	const void *image;
	uint64_t size;
	uint64_t mem_base;
	uint64_t mem_size;
};

/* Little-endian, of 1 to 8 bytes; the caller has checked the range. */
static inline uint64_t image_get(const void *image, uint64_t at, unsigned bytes)
{
	const uint8_t *p = (const uint8_t *)image + at;
	uint64_t v = 0;

	for (unsigned i = bytes; i-- > 0;) {
		v = v << 8 | p[i];
	}
	return v;
}

/* [base, base + size) lies in [low, low + len). */
static inline bool image_inside(uint64_t base, uint64_t size, uint64_t low, uint64_t len)
{
	return base >= low && base - low <= len && size <= len - (base - low);
}

/* One more segment: IMAGE_ESEGMENT, _ERANGE, _EOVERLAP, _EMANY; an empty one is left out. */
int image_add_segment(const struct image_job *j, struct image_plan *plan,
		      const struct image_segment *s);

/* image_x86.c. The first two return false when the file is not of that kind. */
bool image_plan_bzimage(const struct image_job *j, struct image_plan *plan, int *error);
bool image_plan_multiboot(const struct image_job *j, struct image_plan *plan, int *error);

#endif
