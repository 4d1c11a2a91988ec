// SPDX-License-Identifier: Apache-2.0
//
// The page at TRAMPOLINE, where a secondary CPU comes out of INIT-SIPI in real mode with CS = that
// page. cpu.c copies it there and fills in the words at TRAMP_*. Position: only offsets from its
// own start are used. Tables must be below 4 GiB, as a program with RAM at 0 is.

#include "percpu.h"

	.section .text.trampoline, "ax"
	.balign	16
	.globl	tm_trampoline, tm_trampoline_end
	.code16
tm_trampoline:
	jmp	1f
	.org	tm_trampoline + TRAMP_CR3
	.quad	0
	.org	tm_trampoline + TRAMP_ENTRY
	.quad	0
	.org	tm_trampoline + TRAMP_START
	.quad	0
	.org	tm_trampoline + TRAMP_GDTR
	.word	gdt_end - gdt - 1
	.long	TRAMPOLINE + (gdt - tm_trampoline)
	.balign	8
gdt:
	.quad	0, 0
	.quad	0x00af9b000000ffff
	.quad	0x00cf93000000ffff
gdt_end:
1:	cli
	cld
	movw	%cs, %ax
	movw	%ax, %ds
	movl	$0x620, %eax			// as start.S: PAE with the rest
	movl	%eax, %cr4
	movl	(TRAMP_CR3), %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx		// IA32_EFER.LME
	rdmsr
	orl	$0x100, %eax
	wrmsr
	lgdtl	(TRAMP_GDTR)
	movl	$0x80010033, %eax
	movl	%eax, %cr0
	ljmpl	$SEG_CODE, $(TRAMPOLINE + (2f - tm_trampoline))
	.code64
2:	movl	$SEG_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movq	TRAMPOLINE + TRAMP_START, %rdi
	jmpq	*TRAMPOLINE + TRAMP_ENTRY
tm_trampoline_end:
