// SPDX-License-Identifier: Apache-2.0
//
// Measured loops. Every loop ends in the same two instructions as bench_null, so that subtracting
// bench_null's time leaves the operation and what stands before it in the loop.
// x16 and x17 belong to the interrupt vectors below: they set x17 when the interrupt was taken.

	.text
	.globl	bench_null, bench_nop64, bench_hvc, bench_load32, bench_store_pages
	.globl	bench_sgi_v2, bench_sgi_v3, bench_timer, bench_time

bench_null:
1:	subs	x1, x1, #1
	b.ne	1b
	ret

bench_nop64:
1:	.rept	64
	nop
	.endr
	subs	x1, x1, #1
	b.ne	1b
	ret

// arg = function number; arguments 0
bench_hvc:
	mov	x8, x0
	mov	x9, x1
	mov	x1, #0
	mov	x2, #0
	mov	x3, #0
	mov	x4, #0
	mov	x5, #0
	mov	x6, #0
1:	mov	x0, x8				// 1 instruction besides
	hvc	#0
	subs	x9, x9, #1
	b.ne	1b
	ret

bench_load32:
1:	ldr	w2, [x0]
	subs	x1, x1, #1
	b.ne	1b
	ret

// One store to each of n pages
bench_store_pages:
1:	str	x1, [x0]
	add	x0, x0, #4096			// 1 besides
	subs	x1, x1, #1
	b.ne	1b
	ret

// arg = ICC_SGI1R_EL1 value
bench_sgi_v3:
	msr	daifclr, #2
1:	mov	x17, #0				// 1 besides
	msr	s3_0_c12_c11_5, x0
	isb
2:	cbz	x17, 2b
	subs	x1, x1, #1
	b.ne	1b
	msr	daifset, #2
	ret

// arg = address of GICD_SGIR; SGI 1 to the CPUs of mask 1 would be others: filter 2 is "myself"
bench_sgi_v2:
	msr	daifclr, #2
	ldr	w3, =0x02000001
1:	mov	x17, #0				// 1 besides
	str	w3, [x0]
2:	cbz	x17, 2b
	subs	x1, x1, #1
	b.ne	1b
	msr	daifset, #2
	ret

// The virtual timer with a compare value in the past
bench_timer:
	msr	cntv_cval_el0, xzr
	mov	x3, #1
	msr	daifclr, #2
1:	mov	x17, #0				// 1 besides
	msr	cntv_ctl_el0, x3
	isb
2:	cbz	x17, 2b
	subs	x1, x1, #1
	b.ne	1b
	msr	daifset, #2
	ret

bench_time:
	stp	x29, x30, [sp, #-32]!
	str	x19, [sp, #16]
	mov	x9, x0
	mov	x0, x1
	mov	x1, x2
	isb
	mrs	x19, cntvct_el0
	blr	x9
	isb
	mrs	x0, cntvct_el0
	sub	x0, x0, x19
	ldr	x19, [sp, #16]
	ldp	x29, x30, [sp], #32
	ret

// Anything but an IRQ here is a bug of the benchmark: it stays in place, and the test times out.
.macro unexpected
	.balign	128
	b	.
.endm

	.balign	2048
	.globl	bench_vectors_v3
bench_vectors_v3:
	.rept	5
	unexpected
	.endr
	.balign	128
	mrs	x16, s3_0_c12_c12_0		// ICC_IAR1_EL1
	msr	cntv_ctl_el0, xzr
	msr	s3_0_c12_c12_1, x16		// ICC_EOIR1_EL1
	mov	x17, #1
	eret
	.rept	10
	unexpected
	.endr

	.balign	2048
	.globl	bench_vectors_v2
bench_vectors_v2:
	.rept	5
	unexpected
	.endr
	.balign	128
	adrp	x16, bench_gicc
	ldr	x16, [x16, :lo12:bench_gicc]
	ldr	w17, [x16, #0xc]		// GICC_IAR
	msr	cntv_ctl_el0, xzr
	str	w17, [x16, #0x10]		// GICC_EOIR
	mov	x17, #1
	eret
	.rept	10
	unexpected
	.endr

	.bss
	.balign	8
	.globl	bench_gicc
bench_gicc:
	.skip	8
