// SPDX-License-Identifier: Apache-2.0
/* The stores of writer.c on arm64: exactly one store instruction each. */
#ifndef GUESTS_DIRTY_STORES_H
#define GUESTS_DIRTY_STORES_H

#include <stdbool.h>
#include <stdint.h>
#include <tidemark/arm64.h>

static inline uint32_t zva_size(void)
{
	uint64_t id = tm_sysreg_read(dczid_el0);

	/* DZP: prohibited; BS: log2 of words */
	return (id & 0x10) != 0 ? 0 : 4u << (id & 0xf);
}

static inline bool has_lse(void)
{
	return (tm_sysreg_read(id_aa64isar0_el1) >> 20 & 0xf) >= 2;
}

static inline void store8(uint64_t at, uint64_t v)
{
	__asm__ volatile("str %0, [%1]" : : "r"(v), "r"(at) : "memory");
}

static inline void store1(uint64_t at, uint64_t v)
{
	__asm__ volatile("strb %w0, [%1]" : : "r"(v), "r"(at) : "memory");
}

static inline void store_pair(uint64_t at, uint64_t v)
{
	__asm__ volatile("stp %0, %1, [%2]" : : "r"(v), "r"(~v), "r"(at) : "memory");
}

static inline void zero_block(uint64_t at)
{
	__asm__ volatile("dc zva, %0" : : "r"(at) : "memory");
}

static inline uint64_t load8(uint64_t at)
{
	uint64_t v;

	__asm__ volatile("ldr %0, [%1]" : "=r"(v) : "r"(at) : "memory");
	return v;
}

static inline void add_exclusive(uint64_t at, uint64_t v)
{
	uint64_t old;
	uint32_t failed;

	__asm__ volatile("1:	ldxr %0, [%2]\n"
			 "	add %0, %0, %3\n"
			 "	stxr %w1, %0, [%2]\n"
			 "	cbnz %w1, 1b"
			 : "=&r"(old), "=&r"(failed) : "r"(at), "r"(v) : "memory");
}

static inline void add_lse(uint64_t at, uint64_t v)
{
	uint64_t old;

	__asm__ volatile(".arch_extension lse\n	ldadd %1, %0, [%2]"
			 : "=r"(old) : "r"(v), "r"(at) : "memory");
}

#endif
