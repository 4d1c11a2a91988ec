// SPDX-License-Identifier: Apache-2.0
/* Between main.c and the machine's own tests in <arch>/arch.c. */
#ifndef GUESTS_SELFTEST_H
#define GUESTS_SELFTEST_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#define NOWHERE 0xd0000000u		/* neither RAM nor a device on our board */
#define NO_ADDRESS 0x1000000000000000u	/* faults whatever is there */
#else
#define NOWHERE 0x0a800000u	/* neither RAM nor a device on QEMU virt and on our board */
#define NO_ADDRESS NOWHERE
#endif

extern volatile uint32_t irq_count, irq_last;
void count_irq(uint32_t intid, void *arg);
bool wait_count(uint32_t want);
void relax(void);

void arch_probes(void);
void arch_interrupts(void);
/* A second start of a CPU that is on is refused. */
bool arch_cpu_on_again(uint32_t cpu);
void arch_cpus_off(void);
void arch_calls(void);

#endif
