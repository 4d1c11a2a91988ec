// SPDX-License-Identifier: Apache-2.0
/*
 * Contract: bring-up, in the order in which hyp/main.c calls it on the boot CPU. Before hyp_main()
 * the architecture has filled boot_info and registered the console.
 */
#ifndef ARCH_BOOT_H
#define ARCH_BOOT_H

#include <hyp/types.h>

struct pcpu;

/* The core's entry: boot_info and the console are there; nothing else is. */
void hyp_main(void) noreturn_fn;

/* Refusals before the console is known: a UART where this architecture usually has one. */
void arch_fallback_console(void);
/* All RAM of boot_info mapped, stacks for all CPUs; boot_alloc() works from its first call on. */
void arch_boot_memory(void);
/* CPU-local registers of the boot CPU: this_pcpu() works from here on. */
void arch_boot_start(struct pcpu *c);
uint64_t arch_stack_top(unsigned cpu);
/* For the banner: "arm64", "GICv3", ... */
const char *arch_name(void);
const char *arch_irqchip_name(void);
/* The machine's interrupt controller and timer. */
void arch_boot_devices(void);
/* The calling CPU's own parts of them; the boot CPU's after arch_boot_devices(). */
void arch_boot_cpu(struct pcpu *c);

#endif
