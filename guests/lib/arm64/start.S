// SPDX-License-Identifier: Apache-2.0
//
// First instruction of every guest program: the arm64 Image header, then the way from "EL1, MMU
// off, x0 = device tree" to C with MMU and caches on. Secondary CPUs come in at
// tm_secondary_entry with x0 = struct cpu_start.
//
// One map serves all CPUs: 512 blocks of 1 GiB, identity, the first one device memory.

#include "percpu.h"

#define MAIR_VALUE 0x04ff		// attribute 0 normal write-back, 1 device nGnRE
#define BLOCK_NORMAL 0x701		// AF, inner shareable, attribute 0, block
#define BLOCK_DEVICE 0x405		// AF, attribute 1, block
#define BLOCK_NOEXEC 0x0060000000000000	// UXN, PXN
// T0SZ 25 (39 bits), inner and outer write-back, inner shareable, 4 KiB, no TTBR1
#define TCR_VALUE 0x00803519
// RES1 bits of ARMv8.0, SA, SA0, C, I, M
#define SCTLR_ON 0x30d0181d
#define SCTLR_OFF 0x30d00800

	.section .head, "ax"
	.globl	_start
_start:
	b	primary
	.long	0
	.quad	0				// text_offset
	.quad	__image_size
	.quad	0xa				// little-endian, 4 KiB pages, anywhere
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

	.text
primary:
	msr	daifset, #0xf
	mov	x19, x0
	bl	reset_el1

	// R_AARCH64_RELATIVE is the only kind that a static PIE with -z text leaves.
	adr	x1, _start
	adrp	x2, __rela_start
	add	x2, x2, :lo12:__rela_start
	adrp	x3, __rela_end
	add	x3, x3, :lo12:__rela_end
1:	cmp	x2, x3
	b.hs	2f
	ldp	x4, x5, [x2], #16
	ldr	x6, [x2], #8
	cmp	w5, #1027
	b.ne	1b
	add	x6, x6, x1
	str	x6, [x1, x4]
	b	1b
2:
	adrp	x1, __bss_start
	add	x1, x1, :lo12:__bss_start
	adrp	x2, __bss_end
	add	x2, x2, :lo12:__bss_end
3:	cmp	x1, x2
	b.hs	4f
	stp	xzr, xzr, [x1], #16
	b	3b
4:
	adrp	x1, tm_map
	mov	x2, #0
	ldr	x3, =(BLOCK_DEVICE | BLOCK_NOEXEC)
	str	x3, [x1]
5:	add	x2, x2, #1
	cmp	x2, #512
	b.eq	6f
	lsl	x3, x2, #30
	mov	x4, #BLOCK_NORMAL
	orr	x3, x3, x4
	str	x3, [x1, x2, lsl #3]
	b	5b
6:
	// What the MMU-off stores above wrote must not hide behind stale lines of the loader's.
	adr	x1, _start
	adrp	x2, _end
	add	x2, x2, :lo12:_end
	mrs	x3, ctr_el0
	ubfx	x3, x3, #16, #4			// DminLine: log2 of words
	mov	x4, #4
	lsl	x4, x4, x3
	dsb	sy
7:	dc	ivac, x1
	add	x1, x1, x4
	cmp	x1, x2
	b.lo	7b
	dsb	sy

	bl	mmu_on
	adrp	x1, boot_stack_top
	add	x1, x1, :lo12:boot_stack_top
	mov	sp, x1
	adrp	x1, tm_percpu
	add	x1, x1, :lo12:tm_percpu
	msr	tpidr_el1, x1
	mov	x29, #0
	mov	x30, #0
	mov	x0, x19
	b	tm_guest_main

	.globl	tm_secondary_entry
tm_secondary_entry:
	msr	daifset, #0xf
	mov	x19, x0
	bl	reset_el1
	bl	mmu_on
	ldr	x1, [x19, #START_SP]
	mov	sp, x1
	ldr	x1, [x19, #START_PERCPU]
	msr	tpidr_el1, x1
	mov	x29, #0
	mov	x30, #0
	mov	x0, x19
	b	tm_secondary_main

// Known values whatever came before; vectors; floating point.
reset_el1:
	ldr	x1, =SCTLR_OFF
	msr	sctlr_el1, x1
	msr	spsel, #1
	isb
	mov	x1, #(3 << 20)			// CPACR_EL1.FPEN
	msr	cpacr_el1, x1
	adrp	x1, tm_vectors
	add	x1, x1, :lo12:tm_vectors
	msr	vbar_el1, x1
	isb
	ret

mmu_on:
	mov	x1, #MAIR_VALUE
	msr	mair_el1, x1
	ldr	x1, =TCR_VALUE
	mrs	x2, id_aa64mmfr0_el1
	and	x2, x2, #0xf
	mov	x3, #5				// 48 bits: more needs another granule format
	cmp	x2, x3
	csel	x2, x2, x3, lo
	orr	x1, x1, x2, lsl #32		// IPS
	msr	tcr_el1, x1
	adrp	x1, tm_map
	msr	ttbr0_el1, x1
	dsb	sy
	isb
	tlbi	vmalle1
	ic	iallu
	dsb	sy
	isb
	ldr	x1, =SCTLR_ON
	msr	sctlr_el1, x1
	isb
	ret

	.section .bss
	.balign	4096
tm_map:
	.skip	4096
	.balign	16
	.skip	65536
boot_stack_top:
