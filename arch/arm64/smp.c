// SPDX-License-Identifier: Apache-2.0
/*
 * Secondary CPUs. The boot CPU starts them one after the other and waits for each, so nothing here
 * runs twice at a time; `online` is the only word that two CPUs share.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/time.h>
#include <asm/cpu.h>
#include <asm/machine.h>
#include <asm/psci_host.h>
#include <hyp/boot_info.h>
#include <hyp/err.h>
#include <hyp/log.h>
#include <hyp/sched.h>

/* Seconds that a CPU may take from PSCI's answer to its first word. */
#define CPU_ON_TIMEOUT 2u

extern char secondary_entry[];
void arm64_secondary(uint64_t cpu) noreturn_fn;

/* First C of a secondary, on its own stack with the MMU on. */
void arm64_secondary(uint64_t cpu)
{
	struct pcpu *c = &pcpus[cpu];

	cpu_el2_init(c);
	arch_boot_cpu(c);
	cpu_secondary_main(c);
	arch_halt();
}

int arch_cpu_on(unsigned i)
{
	struct pcpu *c = &pcpus[i];
	uint64_t deadline;
	int64_t err;

	if (!machine.psci) {
		return -TM_EIO;
	}
	err = psci_host_cpu_on(c->hwid, virt_to_phys(secondary_entry).v, i);
	if (err) {
		log_err("CPU %u (MPIDR %#lx): PSCI CPU_ON says %ld", i, c->hwid, err);
		return -TM_EIO;
	}
	deadline = arch_time_now() + CPU_ON_TIMEOUT * arch_time_freq();
	while (!__atomic_load_n(&c->online, __ATOMIC_ACQUIRE)) {
		if (arch_time_now() > deadline) {
			log_err("CPU %u (MPIDR %#lx): started, but does not come up", i, c->hwid);
			return -TM_EIO;
		}
		arch_cpu_relax();
	}
	return 0;
}
