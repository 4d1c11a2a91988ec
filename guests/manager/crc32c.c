// SPDX-License-Identifier: Apache-2.0
//
// CRC32C by eight tables, eight bytes a step; by the CRC32C instructions where an arm64 CPU has
// them. Owns the tables, which are filled at first use; the manager has one thread.

#include <stdbool.h>
#include <string.h>

#include "crc32c.h"

#define POLY 0x82f63b78u

static uint32_t table[8][256];

static void fill_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++) {
			c = (c & 1) != 0 ? (c >> 1) ^ POLY : c >> 1;
		}
		table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++) {
		for (int t = 1; t < 8; t++) {
			uint32_t c = table[t - 1][i];

			table[t][i] = (c >> 8) ^ table[0][c & 0xff];
		}
	}
}

uint32_t crc32c_table(uint32_t crc, const void *data, size_t length)
{
	const uint8_t *p = data;
	uint32_t c = ~crc;

	if (table[0][1] == 0) {
		fill_table();
	}
	for (; length >= 8; length -= 8, p += 8) {
		uint64_t w;

		memcpy(&w, p, 8);
		w ^= c;
		c = table[7][w & 0xff] ^ table[6][w >> 8 & 0xff] ^ table[5][w >> 16 & 0xff] ^
		    table[4][w >> 24 & 0xff] ^ table[3][w >> 32 & 0xff] ^
		    table[2][w >> 40 & 0xff] ^ table[1][w >> 48 & 0xff] ^ table[0][w >> 56];
	}
	for (; length > 0; length--, p++) {
		c = (c >> 8) ^ table[0][(c ^ *p) & 0xff];
	}
	return ~c;
}

#if defined(__aarch64__)
// ID_AA64ISAR0_EL1.CRC32, bits [19:16]: 1 = the CRC32 instructions (Arm ARM D17.2).
static bool has_crc(void)
{
	uint64_t isar0;

	__asm__("mrs %0, id_aa64isar0_el1" : "=r"(isar0));
	return (isar0 >> 16 & 0xf) != 0;
}

// data 8-byte aligned.
__attribute__((target("crc"))) static uint32_t crc32c_cpu(uint32_t crc, const void *data,
							  size_t length)
{
	const uint64_t *w = data;
	const uint8_t *p;
	uint32_t c = ~crc;

	for (; length >= 8; length -= 8, w++) {
		__asm__("crc32cx %w0, %w0, %1" : "+r"(c) : "r"(*w));
	}
	for (p = (const uint8_t *)w; length > 0; length--, p++) {
		uint32_t b = *p;

		__asm__("crc32cb %w0, %w0, %w1" : "+r"(c) : "r"(b));
	}
	return ~c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t length)
{
#if defined(__aarch64__) && !defined(TM_HOST_TEST)
	static int cpu = -1;

	if (cpu < 0) {
		cpu = has_crc() ? 1 : 0;
	}
	// Unaligned starts stay with the tables, where every load is made of bytes.
	if (cpu == 1 && ((uintptr_t)data & 7) == 0) {
		return crc32c_cpu(crc, data, length);
	}
#endif
	return crc32c_table(crc, data, length);
}
