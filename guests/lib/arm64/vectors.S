// SPDX-License-Identifier: Apache-2.0
//
// Exception vectors of guest programs, and the probes. Every exception saves the whole state into
// a struct frame on the current stack and calls tm_exception.

#include "percpu.h"

.macro entry number
	.balign	128
	sub	sp, sp, #FRAME_SIZE
	stp	x0, x1, [sp]
	mov	x0, #\number
	b	common
.endm

	.section .text.vectors, "ax"
	.balign	2048
	.globl	tm_vectors
tm_vectors:
	.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	entry	\n
	.endr

	.balign	128
common:
	str	x0, [sp, #FRAME_VECTOR]
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
	mrs	x0, elr_el1
	stp	x30, x0, [sp, #240]
	mrs	x0, spsr_el1
	mrs	x1, esr_el1
	stp	x0, x1, [sp, #FRAME_SPSR]
	mrs	x0, far_el1
	str	x0, [sp, #FRAME_FAR]
	mrs	x0, fpsr
	mrs	x1, fpcr
	stp	x0, x1, [sp, #FRAME_FPSR]
	add	x1, sp, #FRAME_V
	stp	q0, q1, [x1, #0]
	stp	q2, q3, [x1, #32]
	stp	q4, q5, [x1, #64]
	stp	q6, q7, [x1, #96]
	stp	q8, q9, [x1, #128]
	stp	q10, q11, [x1, #160]
	stp	q12, q13, [x1, #192]
	stp	q14, q15, [x1, #224]
	stp	q16, q17, [x1, #256]
	stp	q18, q19, [x1, #288]
	stp	q20, q21, [x1, #320]
	stp	q22, q23, [x1, #352]
	stp	q24, q25, [x1, #384]
	stp	q26, q27, [x1, #416]
	stp	q28, q29, [x1, #448]
	stp	q30, q31, [x1, #480]
	mov	x0, sp
	bl	tm_exception
	add	x1, sp, #FRAME_V
	ldp	q0, q1, [x1, #0]
	ldp	q2, q3, [x1, #32]
	ldp	q4, q5, [x1, #64]
	ldp	q6, q7, [x1, #96]
	ldp	q8, q9, [x1, #128]
	ldp	q10, q11, [x1, #160]
	ldp	q12, q13, [x1, #192]
	ldp	q14, q15, [x1, #224]
	ldp	q16, q17, [x1, #256]
	ldp	q18, q19, [x1, #288]
	ldp	q20, q21, [x1, #320]
	ldp	q22, q23, [x1, #352]
	ldp	q24, q25, [x1, #384]
	ldp	q26, q27, [x1, #416]
	ldp	q28, q29, [x1, #448]
	ldp	q30, q31, [x1, #480]
	ldp	x0, x1, [sp, #FRAME_FPSR]
	msr	fpsr, x0
	msr	fpcr, x1
	ldr	x0, [sp, #FRAME_SPSR]
	msr	spsr_el1, x0
	ldp	x30, x0, [sp, #240]
	msr	elr_el1, x0
	ldp	x28, x29, [sp, #224]
	ldp	x26, x27, [sp, #208]
	ldp	x24, x25, [sp, #192]
	ldp	x22, x23, [sp, #176]
	ldp	x20, x21, [sp, #160]
	ldp	x18, x19, [sp, #144]
	ldp	x16, x17, [sp, #128]
	ldp	x14, x15, [sp, #112]
	ldp	x12, x13, [sp, #96]
	ldp	x10, x11, [sp, #80]
	ldp	x8, x9, [sp, #64]
	ldp	x6, x7, [sp, #48]
	ldp	x4, x5, [sp, #32]
	ldp	x2, x3, [sp, #16]
	ldp	x0, x1, [sp]
	add	sp, sp, #FRAME_SIZE
	eret

// uint64_t tm_probe_run(fn, args): calls fn(args[0..5]) with everything that it may destroy kept
// in the per-CPU area. 0: it came back, its x0 in percpu.value; 1: an exception ended it.
	.text
	.globl	tm_probe_run
tm_probe_run:
	mrs	x9, tpidr_el1
	mov	x10, sp
	str	x10, [x9, #PERCPU_SP]
	stp	x19, x20, [x9, #PERCPU_SAVED]
	stp	x21, x22, [x9, #PERCPU_SAVED + 16]
	stp	x23, x24, [x9, #PERCPU_SAVED + 32]
	stp	x25, x26, [x9, #PERCPU_SAVED + 48]
	stp	x27, x28, [x9, #PERCPU_SAVED + 64]
	stp	x29, x30, [x9, #PERCPU_SAVED + 80]
	mrs	x10, daif
	str	x10, [x9, #PERCPU_DAIF]
	mov	x10, #1
	str	x10, [x9, #PERCPU_ARMED]
	mov	x16, x0
	mov	x17, x1
	ldp	x0, x1, [x17]
	ldp	x2, x3, [x17, #16]
	ldp	x4, x5, [x17, #32]
	blr	x16
	dsb	sy				// a late abort belongs to the probe too
	mrs	x9, tpidr_el1
	str	x0, [x9, #PERCPU_VALUE]
	mov	x0, #0
1:	str	xzr, [x9, #PERCPU_ARMED]
	ldr	x10, [x9, #PERCPU_SP]
	mov	sp, x10
	ldp	x19, x20, [x9, #PERCPU_SAVED]
	ldp	x21, x22, [x9, #PERCPU_SAVED + 16]
	ldp	x23, x24, [x9, #PERCPU_SAVED + 32]
	ldp	x25, x26, [x9, #PERCPU_SAVED + 48]
	ldp	x27, x28, [x9, #PERCPU_SAVED + 64]
	ldp	x29, x30, [x9, #PERCPU_SAVED + 80]
	ldr	x10, [x9, #PERCPU_DAIF]
	msr	daif, x10
	ret

// tm_exception returns here from a fault in a probe.
	.globl	tm_probe_fault_landing
tm_probe_fault_landing:
	mrs	x9, tpidr_el1
	mov	x0, #1
	b	1b

	.globl	tm_probe_r1, tm_probe_r2, tm_probe_r4, tm_probe_r8
	.globl	tm_probe_w1, tm_probe_w2, tm_probe_w4, tm_probe_w8
tm_probe_r1:
	ldrb	w0, [x0]
	ret
tm_probe_r2:
	ldrh	w0, [x0]
	ret
tm_probe_r4:
	ldr	w0, [x0]
	ret
tm_probe_r8:
	ldr	x0, [x0]
	ret
tm_probe_w1:
	strb	w1, [x0]
	ret
tm_probe_w2:
	strh	w1, [x0]
	ret
tm_probe_w4:
	str	w1, [x0]
	ret
tm_probe_w8:
	str	x1, [x0]
	ret
