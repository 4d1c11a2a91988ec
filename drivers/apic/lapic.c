// SPDX-License-Identifier: Apache-2.0
/*
 * Local APIC (Intel SDM volume 3, chapter 11). Registers are named by their MMIO offset; in x2APIC
 * mode the MSR is 0x800 + offset / 16.
 */
#include <asm/io.h>
#include <asm/msr.h>
#include <hyp/types.h>

#include "apic.h"

#define APIC_ID 0x20u
#define APIC_TPR 0x80u
#define APIC_EOI 0xb0u
#define APIC_SVR 0xf0u
#define APIC_ESR 0x280u
#define APIC_LVT_CMCI 0x2f0u
#define APIC_ICR 0x300u
#define APIC_ICR_HIGH 0x310u
#define APIC_LVT_TIMER 0x320u
#define APIC_LVT_ERROR 0x370u
#define APIC_TIMER_INITIAL 0x380u
#define APIC_TIMER_CURRENT 0x390u
#define APIC_TIMER_DIVIDE 0x3e0u

#define APIC_BASE_ENABLE (1u << 11)
#define APIC_BASE_X2APIC (1u << 10)
#define SVR_ENABLE (1u << 8)
#define LVT_MASKED (1u << 16)
#define TIMER_DEADLINE (2u << 17)
#define DIVIDE_BY_1 0xbu
#define ICR_INIT (5u << 8)
#define ICR_STARTUP (6u << 8)
#define ICR_PENDING (1u << 12)
#define ICR_ASSERT (1u << 14)
/* Turns of a wait for the previous message, which takes microseconds. */
#define SEND_WAIT 1000000u

static bool x2apic, there;
static uint64_t regs;

static uint32_t reg_read(unsigned reg)
{
	return x2apic ? (uint32_t)rdmsr(MSR_X2APIC + reg / 16) : io_read32(regs + reg);
}

static void reg_write(unsigned reg, uint32_t val)
{
	if (x2apic) {
		wrmsr(MSR_X2APIC + reg / 16, val);
	} else {
		io_write32(regs + reg, val);
	}
}

void host_apic_init(bool want_x2apic, uint64_t at)
{
	x2apic = want_x2apic;
	regs = at;
	there = true;
}

bool host_apic_is_x2apic(void)
{
	return x2apic;
}

void host_apic_init_cpu(unsigned spurious_vector)
{
	uint64_t base = rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE;

	wrmsr(MSR_APIC_BASE, base);
	if (x2apic) {
		/* From off there is no direct way (11.12.5). */
		wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
	}
	reg_write(APIC_SVR, SVR_ENABLE | spurious_vector);
	reg_write(APIC_TPR, 0);
	for (unsigned reg = APIC_LVT_TIMER; reg <= APIC_LVT_ERROR; reg += 0x10) {
		/* The two inputs of the mainboard and the rest alike; a vector below 16 is an error. */
		reg_write(reg, LVT_MASKED | spurious_vector);
	}
	reg_write(APIC_ESR, 0);
	/* Whatever firmware left in service; one for each of 240 vectors is enough. */
	for (unsigned i = 0; i < 8; i++) {
		reg_write(APIC_EOI, 0);
	}
}

uint32_t host_apic_id(void)
{
	return x2apic ? reg_read(APIC_ID) : reg_read(APIC_ID) >> 24;
}

void host_apic_eoi(void)
{
	reg_write(APIC_EOI, 0);
}

static void send(uint32_t id, uint32_t what)
{
	if (!there) {
		return;
	}
	if (x2apic) {
		/* The MSR write waits for no store before it (11.12.3). */
		__asm__ volatile("mfence\n\tlfence" ::: "memory");
		wrmsr(MSR_X2APIC + APIC_ICR / 16, (uint64_t)id << 32 | what);
		return;
	}
	for (unsigned i = 0; i < SEND_WAIT && (reg_read(APIC_ICR) & ICR_PENDING); i++) {
		__asm__ volatile("pause");
	}
	reg_write(APIC_ICR_HIGH, id << 24);
	reg_write(APIC_ICR, what);
}

void host_apic_send(uint32_t id, unsigned vector)
{
	send(id, ICR_ASSERT | vector);
}

void host_apic_send_init(uint32_t id)
{
	send(id, ICR_INIT | ICR_ASSERT);
}

void host_apic_send_startup(uint32_t id, unsigned page)
{
	send(id, ICR_STARTUP | ICR_ASSERT | page);
}

void host_apic_timer_init(unsigned vector, bool tsc_deadline)
{
	reg_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
	reg_write(APIC_TIMER_INITIAL, 0);
	reg_write(APIC_LVT_TIMER, vector | (tsc_deadline ? TIMER_DEADLINE : 0));
	/* The mode before the first deadline (11.5.4.1). */
	__asm__ volatile("mfence" ::: "memory");
}

void host_apic_timer_start(uint32_t count)
{
	reg_write(APIC_TIMER_INITIAL, count);
}

uint32_t host_apic_timer_count(void)
{
	return reg_read(APIC_TIMER_CURRENT);
}
