// SPDX-License-Identifier: Apache-2.0
//
// The TSC and the local APIC's timer in TSC-deadline mode. One shot, one user a CPU.

#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/x86.h>
#include "percpu.h"

#define MSR_TSC_DEADLINE 0x6e0u
#define FREQ_UNKNOWN 1000000000u	/* without our hypervisor: anything */

uint64_t tm_timer_now(void)
{
	uint32_t lo, hi;

	__asm__ volatile("lfence\n\trdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

uint64_t tm_timer_freq(void)
{
	static uint64_t freq;		/* the same on all CPUs */
	uint32_t r[4];

	if (freq == 0) {
		tm_cpuid(TM_CPUID_BASE, 0, r);
		freq = FREQ_UNKNOWN;
		if (r[1] == TM_CPUID_EBX && r[0] >= TM_CPUID_TIMING) {
			tm_cpuid(TM_CPUID_TIMING, 0, r);
			freq = r[0] != 0 ? r[0] * (uint64_t)1000 : freq;
		}
	}
	return freq;
}

/* 0 would mean off. */
void tm_timer_arm_at(uint64_t cval)
{
	if (tm_apic_on()) {
		tm_wrmsr(MSR_TSC_DEADLINE, cval != 0 ? cval : 1);
	}
}

void tm_timer_arm(uint64_t ticks)
{
	tm_timer_arm_at(tm_timer_now() + ticks);
}

void tm_timer_stop(void)
{
	if (tm_apic_on()) {
		tm_wrmsr(MSR_TSC_DEADLINE, 0);
	}
}

uint64_t tm_us_to_ticks(uint64_t us)
{
	uint64_t freq = tm_timer_freq();

	return us / 1000000 * freq + us % 1000000 * freq / 1000000;
}

uint64_t tm_ticks_to_us(uint64_t ticks)
{
	uint64_t freq = tm_timer_freq();

	return ticks / freq * 1000000 + ticks % freq * 1000000 / freq;
}

void tm_delay_us(uint64_t us)
{
	uint64_t start = tm_timer_now();
	uint64_t ticks = tm_us_to_ticks(us);

	while (tm_timer_now() - start < ticks) {
		tm_cpu_relax();
	}
}

/* The interrupt that ends it is taken in tm_wfi(), whatever the interrupt flag was. */
void tm_sleep_us(uint64_t us)
{
	uint64_t flags = tm_irq_save();

	tm_timer_arm(tm_us_to_ticks(us));
	tm_wfi();
	tm_timer_stop();
	tm_irq_restore(flags);
}
