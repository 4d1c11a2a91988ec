// SPDX-License-Identifier: Apache-2.0
/*
 * Physical interrupts by vector (arch/x86/irq.c). Handlers run on the CPU that took the interrupt,
 * after its end was signalled to the local APIC, interrupts masked, no lock held; registered at boot
 * by the boot CPU, never removed.
 */
#ifndef ASM_IRQ_H
#define ASM_IRQ_H

#define IRQ_FIRST 32u		/* below: exceptions */
#define IRQ_PIC_FIRST 0x20u	/* where spurious interrupts of the two 8259 would come */
#define IRQ_UART 0x31u
#define IRQ_TIMER 0xf0u
#define IRQ_KICK 0xf1u		/* come out of the guest or of idle; nothing else to do */
#define IRQ_HALT 0xf2u		/* another CPU panicked */
#define IRQ_SPURIOUS 0xffu

typedef void irq_handler(unsigned vector);

void irq_register(unsigned vector, irq_handler *fn);
/* An interrupt that hardware has acknowledged already: VMX with acknowledge-on-exit. */
void irq_dispatch(unsigned vector);
/* Takes whatever is pending: opens the mask for a moment (SVM's INTR exit). */
void irq_window(void);

#endif
