// SPDX-License-Identifier: Apache-2.0
/*
 * Physical interrupts: from the vector to the handler registered for it. The table is written at
 * boot by the boot CPU and constant afterwards; no lock. The mask is open in arch_cpu_idle() and
 * irq_window() only; with VMX's acknowledge-on-exit it need not be.
 */
#include <arch/cpu.h>
#include <asm/irq.h>
#include <drivers/apic/apic.h>
#include <hyp/err.h>
#include <hyp/log.h>

static irq_handler *handler[256];

void irq_register(unsigned vector, irq_handler *fn)
{
	handler[vector & 0xff] = fn;
}

void irq_dispatch(unsigned vector)
{
	irq_handler *fn = handler[vector & 0xff];

	/* A spurious one, of the local APIC or of an 8259 that is masked, is in service nowhere. */
	if (vector == IRQ_SPURIOUS || vector - IRQ_PIC_FIRST < 16) {
		return;
	}
	host_apic_eoi();
	if (fn) {
		fn(vector);
	} else if (vector != IRQ_KICK) {
		log_warn_limited("irq: unexpected interrupt %u", vector);
	}
}

void irq_window(void)
{
	/* Interrupts are taken after the instruction that follows STI. */
	__asm__ volatile("sti\n\tnop\n\tcli" ::: "memory");
}

void arch_irq_handle(void)
{
	irq_window();
}
