// SPDX-License-Identifier: Apache-2.0
//
// What a victim's vCPU runs, with its MMU off: stores all over its slots, an MMIO store that exits,
// a call, a nap. Whatever faults comes back to the start.

	.section .rodata.payload, "a"
	.globl	payload_start, payload_end
	.balign	2048
payload_start:
	adr	x20, vectors
	msr	vbar_el1, x20
	isb
	mov	x21, #0
again:
	mrs	x22, mpidr_el1
	and	x22, x22, #0xff
	mov	x23, #0x40000000
	add	x23, x23, #0x400000		// slot 1
	mov	x24, #0
1:	add	x25, x23, x24, lsl #12
	add	x21, x21, #1
	str	x21, [x25, x22, lsl #3]
	add	x24, x24, #1
	cmp	x24, #120
	b.lo	1b
	mov	x0, #0xc6000000
	movk	x0, #0x0802			// YIELD
	hvc	#0
	tst	x21, #0x700
	b.ne	again
	mov	x23, #0x70000000		// an MMIO window
	str	w21, [x23, #8]
	ldr	w24, [x23, #16]
	b	again

	.balign	2048
vectors:
	.rept	16
	mov	x24, #0
	b	fault
	.balign	128
	.endr
fault:
	add	x21, x21, #1
	tst	x21, #0xff
	b.ne	2f
	mrs	x0, cntvct_el0			// a nap until an event or a while
	wfe
2:	adr	x20, again
	msr	elr_el1, x20
	mov	x20, #0x3c5
	msr	spsr_el1, x20
	eret
payload_end:
