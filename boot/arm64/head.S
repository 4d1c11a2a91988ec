// SPDX-License-Identifier: Apache-2.0
//
// First instructions: the arm64 Image header, the checks that need no C, a known value for every
// EL2 register, the MMU on, C. Position-independent until the MMU is on (the image may lie at any
// 2 MiB boundary), and only the first page of the image runs from its physical address: that page
// stays mapped 1:1, read-only and executable, for the secondary CPUs.

#include <asm/exception.h>
#include <asm/layout.h>
#include <asm/sysreg.h>

	.section .head, "ax"
	.global	_start
_start:
	b	primary			// code0
	.long	0			// code1
	.quad	0			// text_offset
	.quad	__image_size
	.quad	0xa			// little endian, 4 KiB pages, anywhere in memory
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

// Sets every EL2 register that firmware may have left at anything. x0..x3 are lost.
	.macro	put reg, value
	mov	x0, #\value
	msr	\reg, x0
	.endm

	// Skips to \label when the 4-bit field at \shift of \idreg is zero.
	.macro	without idreg, shift, label
	mrs	x1, \idreg
	ubfx	x1, x1, #\shift, #4
	cbz	x1, \label
	.endm

el2_reset:
	ldr	x0, =HCR_HOST		// E2H and TGE off first: they change what the others mean
	msr	hcr_el2, x0
	isb
	ldr	x0, =SCTLR_EL2_RES1	// MMU and caches off
	msr	sctlr_el2, x0
	put	cptr_el2, CPTR_EL2_RES1
	msr	hstr_el2, xzr
	msr	vttbr_el2, xzr
	msr	cnthctl_el2, xzr
	msr	cntvoff_el2, xzr
	msr	cnthp_ctl_el2, xzr
	msr	cntv_ctl_el0, xzr
	msr	cntp_ctl_el0, xzr
	mrs	x0, midr_el1
	msr	vpidr_el2, x0
	mrs	x0, mpidr_el1
	msr	vmpidr_el2, x0
	msr	tpidr_el2, xzr
	msr	mdscr_el1, xzr

	// MDCR_EL2: no trap, all event counters for EL1 (HPMN = PMCR_EL0.N where there is a PMU).
	mov	x0, xzr
	mrs	x1, id_aa64dfr0_el1
	ubfx	x2, x1, #8, #4		// PMUVer; 15 is not the architected one
	sub	x3, x2, #1
	cmp	x3, #14
	b.hs	1f
	mrs	x0, pmcr_el0
	ubfx	x0, x0, #11, #5
1:	msr	mdcr_el2, x0
	ubfx	x2, x1, #40, #4		// TraceFilt
	cbz	x2, 1f
	msr	S3_4_C1_C2_1, xzr	// TRFCR_EL2
1:	ubfx	x2, x1, #32, #4		// PMSVer
	cbz	x2, 1f
	msr	S3_4_C9_C9_0, xzr	// PMSCR_EL2
1:
	without	id_aa64mmfr0_el1, 56, 1f	// FGT
	msr	S3_4_C1_C1_4, xzr	// HFGRTR_EL2
	msr	S3_4_C1_C1_5, xzr	// HFGWTR_EL2
	msr	S3_4_C1_C1_6, xzr	// HFGITR_EL2
	msr	S3_4_C3_C1_4, xzr	// HDFGRTR_EL2
	msr	S3_4_C3_C1_5, xzr	// HDFGWTR_EL2
	without	id_aa64pfr0_el1, 44, 1f	// AMU
	msr	S3_4_C3_C1_6, xzr	// HAFGRTR_EL2
1:
	without	id_aa64mmfr1_el1, 40, 1f	// HCX
	msr	S3_4_C1_C2_2, xzr	// HCRX_EL2
1:
	without	id_aa64pfr0_el1, 24, 1f	// GIC system registers
	put	S3_4_C12_C9_5, ICC_SRE_ALL	// ICC_SRE_EL2
	isb
	msr	S3_4_C12_C11_0, xzr	// ICH_HCR_EL2
	msr	S3_4_C12_C11_7, xzr	// ICH_VMCR_EL2
1:	isb
	ret

// --- boot CPU -----------------------------------------------------------------------------------
primary:
	msr	daifset, #0xf
	mov	x20, x0			// device tree
	adr	x21, _start		// where we are
	mrs	x0, CurrentEL
	cmp	x0, #CURRENTEL_EL2
	b.ne	wrong_el
	mrs	x0, sctlr_el2
	tbnz	x0, #0, mmu_is_on
	tst	x21, #0x1fffff
	b.ne	misplaced
	msr	spsel, #1
	mrs	x22, cntpct_el0		// time of entry
	bl	el2_reset
	mrs	x0, hcr_el2
	tbnz	x0, #34, no_nvhe

	adrp	x0, boot_stack
	add	x0, x0, #HYP_STACK_SIZE
	mov	sp, x0
	mov	x29, xzr
	mov	x30, xzr
	mov	x0, x21
	mov	x1, x20
	bl	mmu_early_tables	// 0, or the text of a refusal
	cbnz	x0, refuse
	bl	mmu_on

	ldr	x0, =HYP_STACK_BASE + HYP_STACK_STRIDE
	mov	sp, x0
	ldr	x0, =el2_vectors
	msr	vbar_el2, x0
	isb
	ldr	x0, =__bss_start
	ldr	x1, =__bss_end
2:	stp	xzr, xzr, [x0], #16		// the linker script aligns both ends to 64
	stp	xzr, xzr, [x0], #16
	stp	xzr, xzr, [x0], #16
	stp	xzr, xzr, [x0], #16
	cmp	x0, x1
	b.lo	2b
	mov	x0, x20
	mov	x1, x22
	ldr	x2, =arm64_boot
	br	x2

// --- secondary CPUs: x0 = CPU number ------------------------------------------------------------
	.global	secondary_entry
secondary_entry:
	msr	daifset, #0xf
	msr	spsel, #1
	mov	x20, x0
	bl	el2_reset
	bl	mmu_on
	ldr	x1, =HYP_STACK_BASE + HYP_STACK_STRIDE
	mov	x2, #HYP_STACK_STRIDE
	madd	x1, x20, x2, x1
	mov	sp, x1
	ldr	x0, =el2_vectors
	msr	vbar_el2, x0
	isb
	mov	x0, x20
	mov	x29, xzr
	mov	x30, xzr
	ldr	x2, =arm64_secondary
	br	x2

// Turns the MMU on with mmu_regs and returns to the caller's alias in the image mapping.
mmu_on:
	adrp	x0, mmu_regs
	add	x0, x0, :lo12:mmu_regs
	ldp	x1, x2, [x0]		// TTBR0_EL2, TCR_EL2
	ldr	x3, =MAIR_HYP
	msr	mair_el2, x3
	msr	tcr_el2, x2
	msr	ttbr0_el2, x1
	isb
	tlbi	alle2
	dsb	nsh
	ic	iallu
	dsb	nsh
	isb
	ldr	x3, =SCTLR_HYP
	msr	sctlr_el2, x3
	isb
	adr	x1, _start
	sub	x30, x30, x1
	ldr	x1, =_start
	add	x30, x30, x1
	ret

// --- refusals -----------------------------------------------------------------------------------
// One line on a PL011 where QEMU's virt machine has it: no table has been read yet.
#define EARLY_PL011 0x09000000
wrong_el:
	adr	x10, text_el1
	cmp	x0, #0xc
	b.ne	3f
	adr	x10, text_el3
	b	3f
mmu_is_on:
	adr	x10, text_mmu
	b	3f
misplaced:
	adr	x10, text_align
	b	3f
no_nvhe:
	adr	x10, text_vhe
	b	3f
refuse:
	mov	x10, x0
3:	ldr	x1, =EARLY_PL011
	adr	x2, text_refuse
4:	ldrb	w0, [x2], #1
	cbz	w0, 6f
	cmp	w0, #'%'		// the reason goes here
	b.ne	5f
	mov	x11, x2
	mov	x2, x10
	mov	x10, x11
	b	4b
5:	ldr	w3, [x1, #0x18]		// UARTFR.TXFF
	tbnz	w3, #5, 5b
	str	w0, [x1]
	b	4b
6:	mov	x2, x10			// the reason is out: the rest of the frame, then stop
	mov	x10, xzr
	cbnz	x2, 4b
7:	wfi
	b	7b

text_refuse:	.asciz	"tidemark: cannot start: %\r\n"
text_el1:	.asciz	"entered at EL1, EL2 is needed (QEMU: -M virt,virtualization=on)"
text_el3:	.asciz	"entered at EL3, EL2 is needed (firmware has to start it at EL2)"
text_mmu:	.asciz	"entered with the MMU on"
text_align:	.asciz	"the image is not at a 2 MiB boundary"
text_vhe:	.asciz	"this CPU has EL2 with VHE only (HCR_EL2.E2H cannot be 0)"
	.balign	4
	.ltorg

	.section .noinit, "aw", %nobits
	.balign	4096
	.global	boot_stack
boot_stack:
	.space	HYP_STACK_SIZE
	.global	emergency_stack
emergency_stack:
	.space	HYP_STACK_SIZE
