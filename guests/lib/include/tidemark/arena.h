// SPDX-License-Identifier: Apache-2.0
/*
 * Address ranges that can be taken and given back: contiguous pages of the manager's own RAM, and
 * the window range. Knows only numbers; never touches the memory. First fit, sorted, merged.
 */
#ifndef TIDEMARK_ARENA_H
#define TIDEMARK_ARENA_H

#include <stdint.h>
#include <abi/vm.h>

#define TM_ARENA_RANGES 512

struct tm_arena {
	struct tm_range free[TM_ARENA_RANGES];
	uint32_t count;
	uint64_t free_bytes;
};

void tm_arena_init(struct tm_arena *a);
/* Adds, or gives back. -TM_EINVAL: empty, wraps, or overlaps what is free; -TM_ENOSPC: too many
 * pieces. Nothing changed on error. */
int tm_arena_add(struct tm_arena *a, uint64_t base, uint64_t size);
/* Takes a part of a free range out; parts that are not free are ignored (boot-time carving). */
int tm_arena_carve(struct tm_arena *a, uint64_t base, uint64_t size);
/* align is a power of two. -TM_ENOMEM when there is none. */
int tm_arena_alloc(struct tm_arena *a, uint64_t size, uint64_t align, uint64_t *base);
uint64_t tm_arena_largest(const struct tm_arena *a);

#endif
