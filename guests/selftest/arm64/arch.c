// SPDX-License-Identifier: Apache-2.0
//
// What is tested on arm64 only: aborts, system registers, SPIs, PSCI.

#include <tidemark/arm64.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/probe.h>
#include <tidemark/tap.h>
#include "../selftest.h"

#define SPI_FREE 90u

void arch_probes(void)
{
	uint64_t a[6] = {5, 7, 0, 0, 0, 0};
	struct tm_probe p;

	p = tm_probe_read(NOWHERE, 4);
	tap_ok(p.kind == TM_PROBE_ABORT && tm_probe_is_external(&p) && p.far == NOWHERE,
	       "read of nothing: external abort (esr %llx)", (unsigned long long)p.esr);
	p = tm_probe_write(NOWHERE, 4, 1);
	tap_ok(p.kind == TM_PROBE_ABORT || p.kind == TM_PROBE_SERROR, "write of nothing: abort");
	p = tm_probe_read((uint64_t)1 << 60, 8);
	tap_ok(p.kind == TM_PROBE_ABORT && !tm_probe_is_external(&p), "unmapped: own abort");
	p = tm_probe_insn(0x8b010000, a);		/* add x0, x0, x1 */
	tap_ok(p.kind == TM_PROBE_OK && p.value == 12, "instruction runs");
	p = tm_probe_insn(0x00000000, a);		/* udf #0 */
	tap_ok(p.kind == TM_PROBE_UNDEF, "udf: UNDEF");
	p = tm_probe_insn(0xd53ce100, a);		/* mrs x0, cnthctl_el2 */
	tap_ok(p.kind == TM_PROBE_UNDEF, "EL2 register: UNDEF");
	p = tm_probe_insn(0xd5380000, a);		/* mrs x0, midr_el1 */
	tap_ok(p.kind == TM_PROBE_OK && p.value != 5, "midr_el1 readable");
}

void arch_interrupts(void)
{
	irq_count = 0;
	tm_irq_handle(SPI_FREE, count_irq, NULL);
	tm_irq_set_edge(SPI_FREE, true);
	tm_irq_route(SPI_FREE, 0);
	tm_irq_enable(SPI_FREE);
	tm_irq_set_pending(SPI_FREE);
	tap_ok(wait_count(1) && irq_last == SPI_FREE, "SPI made pending by software");
	tm_irq_disable(SPI_FREE);
	tm_irq_set_pending(SPI_FREE);
	tm_delay_us(1000);
	tap_eq(irq_count, 1, "disabled SPI stays away");
	tm_irq_enable(SPI_FREE);
	tap_ok(wait_count(2), "and comes when enabled");
}

bool arch_cpu_on_again(uint32_t cpu)
{
	return tm_psci(TM_PSCI_CPU_ON, tm_boot.mpidr[cpu], 0x40000000, 0) == -4;
}

void arch_cpus_off(void)
{
	uint64_t end;

	end = tm_timer_now() + tm_timer_freq();
	while (tm_psci(TM_PSCI_AFFINITY_INFO, tm_boot.mpidr[1], 0, 0) != 1 &&
	       tm_timer_now() < end) {
		relax();
	}
	tap_eq((uint64_t)tm_psci(TM_PSCI_AFFINITY_INFO, tm_boot.mpidr[1], 0, 0), 1,
	       "AFFINITY_INFO: off");
}

void arch_calls(void)
{
	tap_eq((uint64_t)tm_psci(TM_PSCI_VERSION, 0, 0, 0) >> 16, 1, "PSCI 1.x");
}
