// SPDX-License-Identifier: Apache-2.0
//
// What is tested on x86 only: faults, absent memory and ports, MSRs, CPUID, I/O APIC, 8254, PM timer.

#include <string.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/probe.h>
#include <tidemark/tap.h>
#include <tidemark/x86.h>
#include "../selftest.h"

#define VECTOR_PIT 0x50u
#define PIT_GSI 2u		/* boot/x86/guest_acpi.c: IRQ 0 is input 2 */
#define PM_TIMER 0x608u
#define PM_HZ 3579545u

static struct tm_probe code(const char *bytes, size_t n, uint64_t a0, uint64_t a1, uint64_t a3)
{
	uint64_t a[6] = {a0, a1, 0, a3, 0, 0};

	return tm_probe_code(bytes, n, a);
}

#define CODE(text, ...) code(text, sizeof(text) - 1, __VA_ARGS__)

void arch_probes(void)
{
	struct tm_probe p = tm_probe_read(NOWHERE, 4);

	tap_ok(p.kind == TM_PROBE_OK && p.value == 0xffffffffu, "read of nothing: all-ones");
	p = tm_probe_write(NOWHERE, 4, 1);
	tap_ok(p.kind == TM_PROBE_OK && tm_probe_read(NOWHERE, 4).value == 0xffffffffu,
	       "write of nothing: nothing");
	p = tm_probe_read((uint64_t)1 << 60, 8);
	tap_ok(p.kind == TM_PROBE_GP, "address that is none: #GP");
	p = tm_probe_read((uint64_t)1 << 40, 8);
	tap_ok(p.kind == TM_PROBE_ABORT && p.far == (uint64_t)1 << 40, "unmapped: #PF");
	p = CODE("\x48\x8d\x04\x37", 5, 7, 0);		/* lea (%rdi,%rsi), %rax */
	tap_ok(p.kind == TM_PROBE_OK && p.value == 12, "instruction runs");
	p = CODE("\x0f\x0b", 0, 0, 0);			/* ud2 */
	tap_ok(p.kind == TM_PROBE_UNDEF, "ud2: #UD");
	p = CODE("\x0f\x32", 0, 0, 0xc0010117);		/* rdmsr: VM_HSAVE_PA */
	tap_ok(p.kind == TM_PROBE_GP, "MSR of the hypervisor: #GP");
	p = CODE("\x0f\x32", 0, 0, 0x10);			/* rdmsr: TSC */
	tap_ok(p.kind == TM_PROBE_OK, "MSR of mine: readable");
	p = CODE("\x0f\x22\xe7", ~(uint64_t)0, 0, 0);	/* mov %rdi, %cr4 */
	tap_ok(p.kind == TM_PROBE_GP, "CR4 with every bit: #GP");
	tap_eq(tm_in32(0x1234), 0xffffffffu, "port of nobody: all-ones");
}

/* The 8254's first counter as a one-shot through the I/O APIC. */
static void test_pit(void)
{
	irq_count = 0;
	tm_irq_handle(VECTOR_PIT, count_irq, NULL);
	tm_ioapic_route(PIT_GSI, VECTOR_PIT, 0, 0);
	tm_out8(0x43, 0x30);		/* counter 0, both bytes, mode 0 */
	tm_out8(0x40, 0xa9);		/* 1193 ticks: 1 ms */
	tm_out8(0x40, 0x04);
	tap_ok(wait_count(1) && irq_last == VECTOR_PIT, "8254 through the I/O APIC");
	tm_ioapic_mask(PIT_GSI);
	tm_out8(0x43, 0x30);
	tm_out8(0x40, 1);
	tm_out8(0x40, 0);
	tm_delay_us(2000);
	tap_eq(irq_count, 1, "masked input stays away");
}

void arch_interrupts(void)
{
	uint32_t start = tm_in32(PM_TIMER) & 0xffffff;
	uint32_t ticks;
	uint32_t r[4];

	tm_delay_us(20000);
	ticks = (tm_in32(PM_TIMER) - start) & 0xffffff;
	tap_ok(ticks > PM_HZ / 50 * 9 / 10 && ticks < PM_HZ / 5, "PM timer: %u ticks in 20 ms",
	       ticks);
	irq_count = 0;
	tm_irq_handle(0x51, count_irq, NULL);
	tm_irq_set_pending(0x51);
	tap_ok(wait_count(1) && irq_last == 0x51, "self IPI");
	test_pit();
	tm_cpuid(TM_CPUID_BASE, 0, r);
	tap_ok(r[1] == TM_CPUID_EBX && r[2] == TM_CPUID_ECX && r[3] == TM_CPUID_EDX,
	       "CPUID 0x40000000 says who it is");
	tap_ok(tm_timer_freq() >= 1000000, "CPUID says how fast the TSC is: %llu Hz",
	       (unsigned long long)tm_timer_freq());
}

bool arch_cpu_on_again(uint32_t cpu)
{
	return tm_cpu_start(cpu, NULL, NULL) == -4;
}

void arch_cpus_off(void)
{
}

void arch_calls(void)
{
}
