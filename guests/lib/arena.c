// SPDX-License-Identifier: Apache-2.0
//
// Free ranges, sorted by address, never touching one another. Pure numbers, tested on the host.

#include <string.h>
#include <stdbool.h>
#include <abi/errno.h>
#include <tidemark/arena.h>

void tm_arena_init(struct tm_arena *a)
{
	memset(a, 0, sizeof(*a));
}

static void remove_at(struct tm_arena *a, uint32_t i)
{
	a->count--;
	memmove(&a->free[i], &a->free[i + 1], (a->count - i) * sizeof(a->free[0]));
}

static int insert_at(struct tm_arena *a, uint32_t i, uint64_t base, uint64_t size)
{
	if (a->count == TM_ARENA_RANGES) {
		return -TM_ENOSPC;
	}
	memmove(&a->free[i + 1], &a->free[i], (a->count - i) * sizeof(a->free[0]));
	a->free[i] = (struct tm_range){base, size};
	a->count++;
	return 0;
}

int tm_arena_add(struct tm_arena *a, uint64_t base, uint64_t size)
{
	uint32_t i = 0;
	bool joins_low;
	bool joins_high;

	if (size == 0 || base + size < base) {
		return -TM_EINVAL;
	}
	while (i < a->count && a->free[i].gpa < base) {
		i++;
	}
	if ((i > 0 && a->free[i - 1].gpa + a->free[i - 1].size > base) ||
	    (i < a->count && base + size > a->free[i].gpa)) {
		return -TM_EINVAL;
	}
	joins_low = i > 0 && a->free[i - 1].gpa + a->free[i - 1].size == base;
	joins_high = i < a->count && base + size == a->free[i].gpa;
	if (joins_low) {
		a->free[i - 1].size += size;
		if (joins_high) {
			a->free[i - 1].size += a->free[i].size;
			remove_at(a, i);
		}
	} else if (joins_high) {
		a->free[i].gpa = base;
		a->free[i].size += size;
	} else {
		int status = insert_at(a, i, base, size);

		if (status != 0) {
			return status;
		}
	}
	a->free_bytes += size;
	return 0;
}

/* Takes [base, base + size), which lies inside free range i, out of it. */
static int take(struct tm_arena *a, uint32_t i, uint64_t base, uint64_t size)
{
	struct tm_range *r = &a->free[i];
	uint64_t head = base - r->gpa;
	uint64_t tail = r->size - head - size;

	if (head != 0 && tail != 0) {
		int status = insert_at(a, i + 1, base + size, tail);

		if (status != 0) {
			return status;
		}
		a->free[i].size = head;
	} else if (head != 0) {
		r->size = head;
	} else if (tail != 0) {
		r->gpa = base + size;
		r->size = tail;
	} else {
		remove_at(a, i);
	}
	a->free_bytes -= size;
	return 0;
}

int tm_arena_carve(struct tm_arena *a, uint64_t base, uint64_t size)
{
	uint64_t end = base + size;

	if (end < base) {
		return -TM_EINVAL;
	}
	for (uint32_t i = 0; i < a->count;) {
		uint64_t low = a->free[i].gpa > base ? a->free[i].gpa : base;
		uint64_t high = a->free[i].gpa + a->free[i].size;
		uint32_t before = a->count;

		high = high < end ? high : end;
		if (low < high) {
			int status = take(a, i, low, high - low);

			if (status != 0) {
				return status;
			}
			if (a->count < before) {
				continue;
			}
		}
		i++;
	}
	return 0;
}

int tm_arena_alloc(struct tm_arena *a, uint64_t size, uint64_t align, uint64_t *base)
{
	if (size == 0 || align == 0 || (align & (align - 1)) != 0) {
		return -TM_EINVAL;
	}
	for (uint32_t i = 0; i < a->count; i++) {
		uint64_t start = (a->free[i].gpa + align - 1) & ~(align - 1);
		uint64_t skip = start - a->free[i].gpa;

		if (start < a->free[i].gpa || skip > a->free[i].size ||
		    a->free[i].size - skip < size) {
			continue;
		}
		if (take(a, i, start, size) == 0) {
			*base = start;
			return 0;
		}
	}
	return -TM_ENOMEM;
}

uint64_t tm_arena_largest(const struct tm_arena *a)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < a->count; i++) {
		most = a->free[i].size > most ? a->free[i].size : most;
	}
	return most;
}
