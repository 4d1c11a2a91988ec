// SPDX-License-Identifier: Apache-2.0
//
// Where a secondary CPU starts: copied to a page below 1 MiB (arch/x86/smp.c), entered in real mode
// with CS = page / 16. Straight to long mode on a small table that maps this page 1:1 and shares the
// upper half with the hypervisor's, then to the linked address and the real table.

#include <asm/cpu.h>
#include <asm/layout.h>
#include <asm/msr.h>

#define HERE(sym) ((sym) - trampoline_start)

	.section .rodata.trampoline, "a"
	.balign	16
	.global	trampoline_start
	.global	trampoline_end
	.global	trampoline_data
	.code16
trampoline_start:
	cli
	cld
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	HERE(gdt_reg)
	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	HERE(low_cr3), %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME | EFER_NXE, %eax
	wrmsr
	movl	$CR0_HYP, %eax
	movl	%eax, %cr0
	ljmpl	*HERE(far_target)

	.code64
in_long_mode:
	movl	$SEL_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movq	cpu(%rip), %rdi
	movq	root(%rip), %rsi
	movq	stack(%rip), %rdx
	movq	$secondary_entry, %rax
	jmp	*%rax

	.balign	8
gdt:
	.quad	0
	.quad	0x00af9b000000ffff
	.quad	0x00cf93000000ffff
gdt_end:

	// struct trampoline of smp.c; what stands here is replaced or completed there.
	.balign	8
trampoline_data:
gdt_reg:
	.short	gdt_end - gdt - 1
	.long	HERE(gdt)		// + page
	.short	0
far_target:
	.long	HERE(in_long_mode)	// + page
	.short	SEL_CODE
	.short	0
low_cr3:
	.quad	0
root:
	.quad	0
stack:
	.quad	0
cpu:
	.quad	0
trampoline_end:

	.text
	.balign	16
secondary_entry:
	movq	%rsi, %cr3
	movq	%rdx, %rsp
	xorl	%ebp, %ebp
	call	x86_secondary
	ud2
