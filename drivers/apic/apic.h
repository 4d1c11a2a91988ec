// SPDX-License-Identifier: Apache-2.0
/*
 * The machine's interrupt controllers: the local APIC of each CPU (MMIO or x2APIC), the first I/O
 * APIC, and the two 8259, which are only put to rest. Each CPU uses its own local APIC; the boot CPU
 * alone the rest. No lock: interrupts are masked throughout.
 */
#ifndef DRIVERS_APIC_H
#define DRIVERS_APIC_H

#include <hyp/types.h>

/* Boot CPU, once. regs: virtual address of the registers, not needed for x2APIC. */
void host_apic_init(bool x2apic, uint64_t regs);
bool host_apic_is_x2apic(void);
/* Each CPU: on, every local source masked. */
void host_apic_init_cpu(unsigned spurious_vector);
uint32_t host_apic_id(void);
void host_apic_eoi(void);
/* One CPU by its APIC id. */
void host_apic_send(uint32_t id, unsigned vector);
void host_apic_send_init(uint32_t id);
void host_apic_send_startup(uint32_t id, unsigned page);

/* The timer: one-shot counting down in its own clock (divided by 1), or by TSC deadline. */
void host_apic_timer_init(unsigned vector, bool tsc_deadline);
void host_apic_timer_start(uint32_t count);		/* 0 stops */
uint32_t host_apic_timer_count(void);

/* regs: virtual. All inputs masked. False: nobody there. */
bool must_check host_ioapic_init(uint64_t regs);
unsigned host_ioapic_inputs(void);
void host_ioapic_route(unsigned input, unsigned vector, uint32_t id, bool level, bool active_low);

/* Both 8259 masked, their vectors at first_vector.. where a spurious one does no harm. */
void host_pic_disable(unsigned first_vector);

#endif
