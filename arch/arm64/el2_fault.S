// SPDX-License-Identifier: Apache-2.0
//
// Exceptions taken from EL2 itself, branched to from vectors.S: save everything into a struct
// el2_frame and report. A stack pointer outside its stack (a guard page was hit) would fault here
// again for ever, so such a CPU goes on with the emergency stack. Nothing is returned to, so EL0's
// thread registers may serve as scratch.

#include <asm/exception.h>
#include <asm/layout.h>

	.macro	el2_fault name kind
	.global	\name
\name:
	// Test the stack bit of sp with no free register: swap sp and x0 by sums.
	sub	sp, sp, #EL2_FRAME_SIZE
	add	sp, sp, x0
	sub	x0, sp, x0
	tbz	x0, #HYP_STACK_SHIFT, 1f
	sub	x0, sp, x0
	sub	sp, sp, x0
	stp	x0, x1, [sp]
	mov	x1, xzr
	add	x0, sp, #EL2_FRAME_SIZE
	b	2f
1:	msr	tpidrro_el0, x0		// the bad sp, less the frame
	sub	x0, sp, x0
	msr	tpidr_el0, x0		// x0
	ldr	x0, =HYP_STACK_BASE + (HYP_STACK_EMERGENCY + 1) * HYP_STACK_STRIDE - EL2_FRAME_SIZE
	mov	sp, x0
	mrs	x0, tpidr_el0
	stp	x0, x1, [sp]
	mrs	x0, tpidrro_el0
	add	x0, x0, #EL2_FRAME_SIZE
	mov	x1, #1
2:	str	x1, [sp, #288]
	stp	x30, x0, [sp, #240]
	mov	x1, #\kind
	b	el2_fault_save
	.endm

	.text
	el2_fault el2_fault_sync EL2_FAULT_SYNC
	el2_fault el2_fault_irq EL2_FAULT_IRQ
	el2_fault el2_fault_fiq EL2_FAULT_FIQ
	el2_fault el2_fault_serror EL2_FAULT_SERROR

el2_fault_save:
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x19, [sp, #144]
	stp	x20, x21, [sp, #160]
	stp	x22, x23, [sp, #176]
	stp	x24, x25, [sp, #192]
	stp	x26, x27, [sp, #208]
	stp	x28, x29, [sp, #224]
	mrs	x2, elr_el2
	mrs	x3, spsr_el2
	stp	x2, x3, [sp, #256]
	mrs	x2, esr_el2
	mrs	x3, far_el2
	stp	x2, x3, [sp, #272]
	mov	x0, sp
	mov	x29, xzr
	mov	x30, xzr
	b	el2_exception
