// SPDX-License-Identifier: Apache-2.0
/* x86-64 access for guests at CPL 0: MSRs, ports, CPUID, barriers, interrupt flag, vectors. */
#ifndef TIDEMARK_X86_H
#define TIDEMARK_X86_H

#include <stddef.h>
#include <stdint.h>
#include <abi/tidemark.h>

#define tm_isb() __asm__ volatile("" : : : "memory")
#define tm_dsb() __asm__ volatile("mfence" : : : "memory")
#define tm_dmb() __asm__ volatile("mfence" : : : "memory")
#define tm_cpu_relax() __asm__ volatile("pause" : : : "memory")

static inline void tm_irq_unmask(void)
{
	__asm__ volatile("sti" : : : "memory");
}

static inline void tm_irq_mask(void)
{
	__asm__ volatile("cli" : : : "memory");
}

/* tm_irq_save masks and returns what tm_irq_restore puts back. */
static inline uint64_t tm_irq_save(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	return flags;
}

static inline void tm_irq_restore(uint64_t flags)
{
	if ((flags & 0x200) != 0) {
		tm_irq_unmask();
	}
}

/* Waits for an interrupt. With interrupts masked it is taken all the same, here and nowhere else:
 * none is lost between a look at what one waits for and the wait. */
static inline void tm_wfi(void)
{
	uint64_t flags = tm_irq_save();

	__asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
	tm_irq_restore(flags);
}

static inline uint64_t tm_rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return (uint64_t)hi << 32 | lo;
}

static inline void tm_wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr"
			 : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

static inline uint8_t tm_in8(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint16_t tm_in16(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint32_t tm_in32(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline void tm_out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void tm_out16(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void tm_out32(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint32_t tm_mmio_read32(uint64_t at)
{
	uint32_t v;

	__asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(at) : "memory");
	return v;
}

static inline void tm_mmio_write32(uint64_t at, uint32_t v)
{
	__asm__ volatile("movl %0, (%1)" : : "r"(v), "r"(at) : "memory");
}

/* What tm_boot.mpidr holds for this CPU: its local APIC id. */
static inline uint64_t tm_cpu_id(void)
{
#if defined(__x86_64__)
	uint32_t r[4];

	tm_cpuid(1, 0, r);
	return r[1] >> 24;
#else
	return 0;
#endif
}

static inline uint64_t *tm_regs_pc(struct tm_regs *regs)
{
	return &regs->rip;
}

/* Caches are coherent, for instructions too. */
static inline void tm_cache_clean(const void *p, size_t size)
{
	(void)p, (void)size;
}

static inline void tm_cache_clean_inval(const void *p, size_t size)
{
	(void)p, (void)size;
}

static inline void tm_cache_sync_code(const void *p, size_t size)
{
	(void)p, (void)size;
}

/* Interrupt numbers of irq.h: 0..15 the vectors below for tm_sgi_send(), TM_IRQ_VTIMER the local
 * APIC's timer, from 32 on vectors as they are. */
#define TM_VECTOR_SGI 0xe0u
#define TM_VECTOR_TIMER 0xf0u
#define TM_VECTOR_SPURIOUS 0xffu

/* I/O APIC input to vector, on a CPU by index. */
void tm_ioapic_route(uint32_t gsi, uint32_t vector, uint32_t cpu, int level_triggered);
void tm_ioapic_mask(uint32_t gsi);

#endif
