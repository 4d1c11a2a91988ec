// SPDX-License-Identifier: Apache-2.0
/* Contract: the virtual CPU, its board and its state. */
#ifndef ARCH_VCPU_H
#define ARCH_VCPU_H

#include <hyp/err.h>
#include <hyp/types.h>

struct vm;
struct vcpu;
struct pcpu;
struct vm_config;

/* Board: interrupt controller, timers, UART regions, before the first vCPU. */
int must_check arch_vm_init(struct vm *vm);
void arch_vm_destroy(struct vm *vm);
/* Power-on state of the whole board again (a manager that is started once more). */
void arch_vm_reset(struct vm *vm);
int must_check arch_vcpu_init(struct vcpu *v);
void arch_vcpu_destroy(struct vcpu *v);
/* Architectural reset with an entry point; arg goes to the first argument register. */
void arch_vcpu_reset(struct vcpu *v, uint64_t entry, uint64_t arg);

/* Context switch on this CPU: full state in and out. load also sets what traps and stage-2 root. */
void arch_vcpu_load(struct vcpu *v);
void arch_vcpu_put(struct vcpu *v);
/* Leaves for good into the guest; exits come back through arch's exit path. */
void arch_enter_guest(struct vcpu *v) noreturn_fn;

/* Is there an interrupt that would wake it from WFI/HLT? */
bool arch_vcpu_irq_pending(struct vcpu *v);
/* VCPU_REQ_IRQ: bring list registers etc. up to date before entry; v is loaded here. */
void arch_vcpu_irq_sync(struct vcpu *v);
/* Finish the MMIO that stopped v with the manager's data: write register, retire instruction. */
void arch_vcpu_complete_mmio(struct vcpu *v, uint64_t data);
/* External abort at the faulting instruction (FAULT_ABORT). */
void arch_vcpu_inject_abort(struct vcpu *v, bool is_write, bool is_exec, uint64_t gva);

/* Registers, v not running (STOPPED or paused, put away). */
struct tm_regs;
int must_check arch_vcpu_regs_get(struct vcpu *v, struct tm_regs *out);
int must_check arch_vcpu_regs_set(struct vcpu *v, const struct tm_regs *in);
size_t arch_regs_size(void);

/* Interrupts into a VM: level of a shared line. Any CPU. */
int must_check arch_irq_line(struct vm *vm, uint64_t line, bool level);
/*
 * The doorbell (abi.md): MAP_EVENTS says to which of the VM's vCPUs and, where the architecture has
 * them, with which vector. check: 0, or -TM_EINVAL for what bind would not take; the vCPU exists.
 * bind, after a check: from now on; returns what the guest has to know of it (arm64: the INTID).
 * ring: pends it, merging with one that is pending; nothing while none is bound. Any CPU. A reset
 * of the VM's board unbinds it.
 */
int must_check arch_doorbell_check(struct vm *vm, uint64_t vcpu, uint64_t vector);
uint64_t arch_doorbell_bind(struct vm *vm, uint64_t vcpu, uint64_t vector);
void arch_doorbell_ring(struct vm *vm);

/* Device state for snapshots; all vCPUs stopped or paused (-TM_EBUSY). len is the buffer's size;
 * *used the size needed (-TM_E2BIG when len is short). */
/* GIC_STATE: what all vCPUs share of the interrupt controller (arm64: all of it). */
int must_check arch_irqchip_state_get(struct vm *vm, void *buf, uint64_t len, uint64_t *used);
int must_check arch_irqchip_state_set(struct vm *vm, const void *buf, uint64_t len);
/* APIC_STATE: one vCPU's own part. -TM_EOPNOTSUPP where there is none. v is quiet. */
int must_check arch_vcpu_irqchip_state_get(struct vcpu *v, void *buf, uint64_t len, uint64_t *used);
int must_check arch_vcpu_irqchip_state_set(struct vcpu *v, const void *buf, uint64_t len);
struct tm_timer_state;
int must_check arch_timer_state_get(struct vcpu *v, struct tm_timer_state *s);
int must_check arch_timer_state_set(struct vcpu *v, const struct tm_timer_state *s);
struct tm_uart_state;
int must_check arch_uart_state_get(struct vm *vm, struct tm_uart_state *s);
int must_check arch_uart_state_set(struct vm *vm, const struct tm_uart_state *s);

/* The emulated console UART has input waiting (console.c). */
void arch_console_input(struct vm *vm);
/* Guest device tree for a static VM or the manager, written to memory the caller owns. */
uint64_t arch_cap_gic_version(void);

#endif
