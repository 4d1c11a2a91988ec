// SPDX-License-Identifier: Apache-2.0
/*
 * The stores of writer.c on x86: exactly one store instruction each, always through RDI, so that who
 * steps over one knows its length (oracle/x86/skip.c has the same list).
 */
#ifndef GUESTS_DIRTY_STORES_H
#define GUESTS_DIRTY_STORES_H

#include <stdbool.h>
#include <stdint.h>

/* DIRTY_ZVA: zeros by a repeated string store. */
static inline uint32_t zva_size(void)
{
	return 64;
}

/* DIRTY_LSE: XADD. */
static inline bool has_lse(void)
{
	return true;
}

static inline void store8(uint64_t at, uint64_t v)
{
	__asm__ volatile("movq %0, (%1)" : : "S"(v), "D"(at) : "memory");
}

static inline void store1(uint64_t at, uint64_t v)
{
	__asm__ volatile("movb %%sil, (%1)" : : "S"(v), "D"(at) : "memory");
}

/* DIRTY_STP: 16 bytes at once. Nothing else in a guest program uses these registers. */
static inline void store_pair(uint64_t at, uint64_t v)
{
	__asm__ volatile("movq %0, %%xmm0\n\t"
			 "movq %2, %%xmm1\n\t"
			 "punpcklqdq %%xmm1, %%xmm0\n\t"
			 "movups %%xmm0, (%1)"
			 : : "S"(v), "D"(at), "r"(~v) : "memory");
}

static inline void zero_block(uint64_t at)
{
	uint64_t n = 64 / 8;

	__asm__ volatile("rep stosq" : "+D"(at), "+c"(n) : "a"((uint64_t)0) : "memory");
}

static inline uint64_t load8(uint64_t at)
{
	uint64_t v;

	__asm__ volatile("movq (%1), %0" : "=r"(v) : "D"(at) : "memory");
	return v;
}

/* DIRTY_ATOMIC: load, add, compare and exchange. */
static inline void add_exclusive(uint64_t at, uint64_t v)
{
	uint64_t old;
	uint64_t sum;

	__asm__ volatile("1:	movq (%2), %0\n"
			 "	leaq (%0,%3), %1\n"
			 "	lock cmpxchgq %1, (%2)\n"
			 "	jne 1b"
			 : "=&a"(old), "=&S"(sum) : "D"(at), "r"(v) : "memory", "cc");
}

static inline void add_lse(uint64_t at, uint64_t v)
{
	__asm__ volatile("lock xaddq %0, (%1)" : "+S"(v) : "D"(at) : "memory", "cc");
}

#endif
