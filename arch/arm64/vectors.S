// SPDX-License-Identifier: Apache-2.0
//
// EL2 exception vectors and the way in and out of a guest. At every exit x0..x30, the return
// address and the saved state go into struct vcpu (offsets of asm/vcpu.h); SP_EL0 and all EL1
// registers stay in hardware. SP is SP_EL2, the top of this CPU's only stack, whenever a guest runs.

#include <asm/vcpu.h>

	.macro	slot name
	.balign	0x80
\name:
	.endm

	// Saves the guest's registers; leaves x0 = struct vcpu. TPIDR_EL2 holds struct pcpu, whose
	// first field is the vCPU that runs here.
	.macro	save_guest
	stp	x0, x1, [sp, #-16]!
	mrs	x0, tpidr_el2
	ldr	x0, [x0]
	stp	x2, x3, [x0, #VCPU_X + 16]
	ldp	x2, x3, [sp], #16
	stp	x4, x5, [x0, #VCPU_X + 32]
	stp	x2, x3, [x0, #VCPU_X]
	stp	x6, x7, [x0, #VCPU_X + 48]
	stp	x8, x9, [x0, #VCPU_X + 64]
	stp	x10, x11, [x0, #VCPU_X + 80]
	stp	x12, x13, [x0, #VCPU_X + 96]
	stp	x14, x15, [x0, #VCPU_X + 112]
	stp	x16, x17, [x0, #VCPU_X + 128]
	stp	x18, x19, [x0, #VCPU_X + 144]
	stp	x20, x21, [x0, #VCPU_X + 160]
	stp	x22, x23, [x0, #VCPU_X + 176]
	stp	x24, x25, [x0, #VCPU_X + 192]
	stp	x26, x27, [x0, #VCPU_X + 208]
	mrs	x1, elr_el2
	stp	x28, x29, [x0, #VCPU_X + 224]
	mrs	x2, spsr_el2
	stp	x30, x1, [x0, #VCPU_X + 240]
	str	x2, [x0, #VCPU_PSTATE]
	mov	x29, xzr
	.endm

	.macro	guest_exit handler
	save_guest
	bl	\handler
	b	guest_return
	.endm

	.section .text.vectors, "ax"
	.balign	0x800
	.global	el2_vectors
el2_vectors:
	// Taken from EL2 itself: el2_fault.S reports and panics.
	slot	cur_sp0_sync
	b	el2_fault_sync
	slot	cur_sp0_irq
	b	el2_fault_irq
	slot	cur_sp0_fiq
	b	el2_fault_fiq
	slot	cur_sp0_serror
	b	el2_fault_serror
	slot	cur_spx_sync
	b	el2_fault_sync
	slot	cur_spx_irq
	b	el2_fault_irq
	slot	cur_spx_fiq
	b	el2_fault_fiq
	slot	cur_spx_serror
	b	el2_fault_serror
	slot	low64_sync
	guest_exit arm64_exit_sync
	slot	low64_irq
	guest_exit arm64_exit_irq
	slot	low64_fiq
	guest_exit arm64_exit_irq
	slot	low64_serror
	guest_exit arm64_exit_serror
	// A guest's EL0 in AArch32: not offered by the ID registers, but a guest may try.
	slot	low32_sync
	guest_exit arm64_exit_sync
	slot	low32_irq
	guest_exit arm64_exit_irq
	slot	low32_fiq
	guest_exit arm64_exit_irq
	slot	low32_serror
	guest_exit arm64_exit_serror
	.balign	0x80

	// x0 = struct vcpu to enter; never returns. Everything on the stack is forgotten.
	.global	guest_enter_asm
guest_enter_asm:
	mrs	x1, tpidr_el2
	ldr	x1, [x1, #8]
	mov	sp, x1
guest_return:
	ldp	x30, x1, [x0, #VCPU_X + 240]
	ldr	x2, [x0, #VCPU_PSTATE]
	msr	elr_el2, x1
	ldp	x28, x29, [x0, #VCPU_X + 224]
	msr	spsr_el2, x2
	ldp	x26, x27, [x0, #VCPU_X + 208]
	ldp	x24, x25, [x0, #VCPU_X + 192]
	ldp	x22, x23, [x0, #VCPU_X + 176]
	ldp	x20, x21, [x0, #VCPU_X + 160]
	ldp	x18, x19, [x0, #VCPU_X + 144]
	ldp	x16, x17, [x0, #VCPU_X + 128]
	ldp	x14, x15, [x0, #VCPU_X + 112]
	ldp	x12, x13, [x0, #VCPU_X + 96]
	ldp	x10, x11, [x0, #VCPU_X + 80]
	ldp	x8, x9, [x0, #VCPU_X + 64]
	ldp	x6, x7, [x0, #VCPU_X + 48]
	ldp	x4, x5, [x0, #VCPU_X + 32]
	ldp	x2, x3, [x0, #VCPU_X + 16]
	ldp	x0, x1, [x0, #VCPU_X]
	eret
	// No straight-line speculation past the return.
	dsb	nsh
	isb
