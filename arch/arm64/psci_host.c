// SPDX-License-Identifier: Apache-2.0
/*
 * The firmware's PSCI (Arm DEN 0022) by SMC: other CPUs on, machine off, machine reset. Without
 * it there is one CPU, and off is a halt. CPU_ON is the boot CPU's; no lock.
 */
#include <arch/cpu.h>
#include <asm/machine.h>
#include <asm/psci_host.h>
#include <hyp/err.h>

#define PSCI_SYSTEM_OFF 0x84000008u
#define PSCI_SYSTEM_RESET 0x84000009u
#define PSCI_CPU_ON_64 0xc4000003u

static int64_t smc(uint64_t fn, uint64_t a1, uint64_t a2, uint64_t a3)
{
	register uint64_t x0 __asm__("x0") = fn;
	register uint64_t x1 __asm__("x1") = a1;
	register uint64_t x2 __asm__("x2") = a2;
	register uint64_t x3 __asm__("x3") = a3;

	/* SMCCC: x4..x17 may change below version 1.1. */
	__asm__ volatile("smc #0"
			 : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
			 :
			 : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
			   "x15", "x16", "x17", "memory");
	return (int64_t)x0;
}

int64_t psci_host_cpu_on(uint64_t mpidr, uint64_t entry, uint64_t context)
{
	return smc(PSCI_CPU_ON_64, mpidr, entry, context);
}

void arch_machine_off(void)
{
	if (machine.psci) {
		smc(PSCI_SYSTEM_OFF, 0, 0, 0);
	}
	arch_halt();
}

void arch_machine_reset(void)
{
	if (machine.psci) {
		smc(PSCI_SYSTEM_RESET, 0, 0, 0);
	}
	arch_halt();
}
