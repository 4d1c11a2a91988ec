// SPDX-License-Identifier: Apache-2.0
//
// memcpy, memset and memmove for whole pages: newlib is built for size, and its loops move a byte
// a turn. Where source and destination are equally aligned, 64 bytes a turn; every access is
// aligned, so that all of them work with the MMU off as well.

	.section .text.memcpy, "ax"
	.globl	memcpy
	.type	memcpy, %function
memcpy:					// x0 to, x1 from, x2 length
	mov	x3, x0
	eor	x4, x0, x1
	tst	x4, #7
	b.ne	4f
1:	tst	x3, #7			// bytes up to a multiple of 8
	b.eq	2f
	cbz	x2, 5f
	ldrb	w4, [x1], #1
	strb	w4, [x3], #1
	sub	x2, x2, #1
	b	1b
2:	subs	x2, x2, #64
	b.lo	3f
	ldp	x4, x5, [x1]
	ldp	x6, x7, [x1, #16]
	ldp	x8, x9, [x1, #32]
	ldp	x10, x11, [x1, #48]
	add	x1, x1, #64
	stp	x4, x5, [x3]
	stp	x6, x7, [x3, #16]
	stp	x8, x9, [x3, #32]
	stp	x10, x11, [x3, #48]
	add	x3, x3, #64
	b	2b
3:	add	x2, x2, #64
6:	subs	x2, x2, #8
	b.lo	7f
	ldr	x4, [x1], #8
	str	x4, [x3], #8
	b	6b
7:	add	x2, x2, #8
4:	cbz	x2, 5f
	ldrb	w4, [x1], #1
	strb	w4, [x3], #1
	sub	x2, x2, #1
	b	4b
5:	ret
	.size	memcpy, . - memcpy

	.section .text.memmove, "ax"
	.globl	memmove
	.type	memmove, %function
memmove:				// downwards where the end of `from` would be overwritten
	sub	x4, x0, x1
	cmp	x4, x2
	b.hs	memcpy
	add	x3, x0, x2
	add	x1, x1, x2
	tst	x4, #7
	b.ne	3f
1:	tst	x3, #7
	b.eq	2f
	cbz	x2, 4f
	ldrb	w4, [x1, #-1]!
	strb	w4, [x3, #-1]!
	sub	x2, x2, #1
	b	1b
2:	subs	x2, x2, #8
	b.lo	5f
	ldr	x4, [x1, #-8]!
	str	x4, [x3, #-8]!
	b	2b
5:	add	x2, x2, #8
3:	cbz	x2, 4f
	ldrb	w4, [x1, #-1]!
	strb	w4, [x3, #-1]!
	sub	x2, x2, #1
	b	3b
4:	ret
	.size	memmove, . - memmove

	.section .text.memset, "ax"
	.globl	memset
	.type	memset, %function
memset:					// x0 to, w1 byte, x2 length
	mov	x3, x0
	and	x1, x1, #0xff
	orr	x1, x1, x1, lsl #8
	orr	x1, x1, x1, lsl #16
	orr	x1, x1, x1, lsl #32
1:	tst	x3, #7
	b.eq	2f
	cbz	x2, 5f
	strb	w1, [x3], #1
	sub	x2, x2, #1
	b	1b
2:	subs	x2, x2, #64
	b.lo	3f
	stp	x1, x1, [x3]
	stp	x1, x1, [x3, #16]
	stp	x1, x1, [x3, #32]
	stp	x1, x1, [x3, #48]
	add	x3, x3, #64
	b	2b
3:	add	x2, x2, #64
4:	cbz	x2, 5f
	strb	w1, [x3], #1
	sub	x2, x2, #1
	b	4b
5:	ret
	.size	memset, . - memset
