// SPDX-License-Identifier: Apache-2.0
/* Contract: the physical CPU. Prototypes that each architecture implements; declared here only. */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <hyp/types.h>

struct pcpu;

/* In a spin: lets another hardware thread, or an emulated CPU, run. */
void arch_cpu_relax(void);
/* Waiters of a spin lock; arch_cpu_wake_waiters() follows the unlock's store-release. */
void arch_cpu_wait_event(void);
void arch_cpu_wake_waiters(void);
/* Sends the kick interrupt: the CPU leaves guest mode or its idle wait. */
void arch_cpu_kick(struct pcpu *c);
/* Idle: waits for an interrupt and handles what is pending. Interrupts stay masked. */
void arch_cpu_idle(void);
/* Handles pending physical interrupts (also at each exit that one caused). */
void arch_irq_handle(void);
/* Brings up CPU number i of boot_info; it ends in cpu_secondary_main(). -TM_EIO if it stays away. */
int must_check arch_cpu_on(unsigned i);
void cpu_secondary_main(struct pcpu *c);
void arch_machine_off(void) __attribute__((noreturn));
void arch_machine_reset(void) __attribute__((noreturn));
/* Panic: registers and a symbolised backtrace of this CPU, other CPUs halted. */
void arch_panic_dump(void);
void arch_halt(void) __attribute__((noreturn));

/* The direct map: RAM as the hypervisor sees it. */
void *phys_to_virt(hpa_t a);
hpa_t virt_to_phys(const void *p);
/* Makes what this CPU wrote visible to observers with caches off (arm64: clean to PoC). */
void arch_clean_to_poc(const void *p, uint64_t bytes);
/* Makes new instructions visible to a guest (arm64: clean to PoU, invalidate I-cache). */
void arch_sync_icache(const void *p, uint64_t bytes);
void arch_zero_page(void *page);

#endif
