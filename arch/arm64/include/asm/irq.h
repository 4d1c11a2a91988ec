// SPDX-License-Identifier: Apache-2.0
/*
 * Physical interrupts by INTID (arch/arm64/irq.c). Handlers run on the CPU that took the interrupt,
 * after the priority drop, with no lock held; registered at boot by the boot CPU, never removed.
 * Registering does not enable: gic_ppi_enable() on each CPU, gic_spi_enable() once.
 */
#ifndef ASM_IRQ_H
#define ASM_IRQ_H

#include <hyp/types.h>

#define IRQ_SGI_KICK 0u		/* come out of the guest or of idle; nothing else to do */
#define IRQ_SGI_HALT 1u		/* another CPU panicked */

enum irq_end {
	IRQ_DEACTIVATE,		/* done */
	IRQ_LEAVE_ACTIVE,	/* a guest's list register, or the handler's owner, deactivates it */
};

typedef enum irq_end irq_handler(uint32_t intid);

void irq_register(uint32_t intid, irq_handler *fn);

#endif
