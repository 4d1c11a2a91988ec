// SPDX-License-Identifier: Apache-2.0
/* Ports and device registers. A register's address is virtual: what mmu_map_device() returned. */
#ifndef ASM_IO_H
#define ASM_IO_H

#include <stdint.h>

static inline uint8_t port_in8(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %w1, %b0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint16_t port_in16(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %w1, %w0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint32_t port_in32(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %w1, %k0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline void port_out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %b0, %w1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void port_out16(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %w0, %w1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void port_out32(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %k0, %w1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint32_t io_read32(uint64_t a)
{
	return *(const volatile uint32_t *)a;
}

static inline void io_write32(uint64_t a, uint32_t v)
{
	*(volatile uint32_t *)a = v;
}

#endif
