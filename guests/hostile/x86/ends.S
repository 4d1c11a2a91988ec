// SPDX-License-Identifier: Apache-2.0
//
// From 64-bit mode down to where ends.c wants to run what lies at GARBAGE. Copied to ENDS_AT, below
// 1 MiB; only offsets from its own start are used. EBX holds the way (ends.h).

#include "ends.h"

#define AT(label) (ENDS_AT + (label - ends_code))

	.section .text.ends, "ax"
	.balign	16
	.globl	ends_code, ends_code_end, ends_gdt
	.code64
ends_code:
	cli
	lgdt	AT(gdtr)
	pushq	$0x08
	pushq	$AT(1f)
	lretq

	.code32
1:	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$0x7000, %esp
	movl	%cr0, %eax
	andl	$0x7fffffff, %eax
	movl	%eax, %cr0
	movl	$0xc0000080, %ecx		// IA32_EFER.LME off
	rdmsr
	andl	$0xfffffeff, %eax
	wrmsr
	xorl	%eax, %eax
	movl	%eax, %cr4
	cmpl	$WAY_PM32, %ebx
	je	pm32
	cmpl	$WAY_BIG, %ebx
	je	big
	cmpl	$WAY_VM86, %ebx
	je	vm86
	cmpl	$WAY_SEGS, %ebx
	je	segs
	ljmp	$0x18, $(2f - ends_code)

pm32:	ljmp	$0x08, $GARBAGE

	// Protection off with the segments of 32-bit mode: CS stays wide and its base 0.
big:	movl	%cr0, %eax
	andl	$0xfffffffe, %eax
	movl	%eax, %cr0
	cpuid
	movl	$GARBAGE, %eax
	jmp	*%eax

	// Every data segment another random descriptor, exits in between, then whatever lies there.
segs:	lgdt	AT(gdtr_random)
	movl	$0x0c, %esi
3:	shll	$3, %esi
	lldt	AT(zero)
	movl	%esi, %ds
	cpuid
	movl	%esi, %es
	cpuid
	movl	%esi, %fs
	movl	%esi, %gs
	inb	$0x80, %al
	movl	%esi, %ss
	cpuid
	ltr	%si
	cpuid
	shrl	$3, %esi
	incl	%esi
	ljmp	$0x08, $GARBAGE

vm86:	pushl	$0				// GS FS DS ES SS ESP
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$0x7000
	pushl	$0x23002			// VM, IOPL 3
	pushl	$(GARBAGE >> 4)
	pushl	$0
	iretl

	.code16
2:	movw	$0x20, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	cmpl	$WAY_PM16, %ebx
	je	pm16
	lidtl	AT(idtr_real)
	movl	%cr0, %eax
	andl	$0xfffffffe, %eax
	movl	%eax, %cr0
	ljmp	$(ENDS_AT >> 4), $(4f - ends_code)
4:	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$0x7000, %sp
	ljmp	$(GARBAGE >> 4), $0

pm16:	ljmp	$0x28, $GARBAGE

	.balign	8
ends_gdt:
	.quad	0
	.quad	0x00cf9b000000ffff		// 0x08 code, 32-bit
	.quad	0x00cf93000000ffff		// 0x10 data
	.quad	0x00009b000000ffff + (ENDS_AT << 16)	// 0x18 code, 16-bit, at ENDS_AT
	.quad	0x000093000000ffff		// 0x20 data, 16-bit
	.quad	0x00009b000000ffff		// 0x28 code, 16-bit, at 0
gdt_end:
zero:	.long	0
gdtr:	.word	gdt_end - ends_gdt - 1
	.quad	AT(ends_gdt)
gdtr_random:
	.word	0xfff
	.quad	RANDOM_GDT
idtr_real:
	.word	0x3ff
	.quad	0
ends_code_end:
