// SPDX-License-Identifier: Apache-2.0
//
// From Multiboot to test_main() in 64-bit mode, the first 4 GiB mapped where they are. Host and guest
// share these tables; each has its own interrupt table made of the stubs below.

	.section .multiboot, "a"
	.align	4
header:
	.long	0x1badb002, 0x00010003, -(0x1badb002 + 0x00010003)
	.long	header, header, file_end, bss_end, start

	.text
	.code32
	.globl	start
start:
	cli
	cld
	movl	$stack_top, %esp
	movl	$bss_start, %edi
	movl	$bss_end, %ecx
	subl	%edi, %ecx
	xorl	%eax, %eax
	rep stosb

	// One table of 1 GiB leaves would do, but older models have only 2 MiB ones.
	movl	$level3 + 3, level4
	movl	$level3, %edi
	movl	$level2 + 3, %eax
	movl	$4, %ecx
1:	movl	%eax, (%edi)
	addl	$0x1000, %eax
	addl	$8, %edi
	loop	1b
	movl	$level2, %edi
	movl	$0x83, %eax
	movl	$2048, %ecx
2:	movl	%eax, (%edi)
	addl	$0x200000, %eax
	addl	$8, %edi
	loop	2b

	movl	$level4, %eax
	movl	%eax, %cr3
	movl	$0x620, %eax			// OSXMMEXCPT OSFXSR PAE
	movl	%eax, %cr4
	movl	$0xc0000080, %ecx
	movl	$0x901, %eax			// NXE LME SCE
	xorl	%edx, %edx
	wrmsr
	movl	$0x80010033, %eax		// PG WP NE ET MP PE
	movl	%eax, %cr0
	lgdt	boot_gdtr
	ljmp	$8, $3f
	.code64
3:	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	movq	$stack_top, %rsp
	xorl	%ebp, %ebp
	call	test_main
4:	hlt
	jmp	4b

	.align	16
boot_gdt:
	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdtr:
	.word	23
	.long	boot_gdt

// 16 bytes a vector: pushes its number, then common code calls fn(vector, frame).
	.altmacro
	.macro	stub vector, common
	.align	16
	push	$\vector
	jmp	\common
	.endm
	.macro	stubs name, common, fn
	.align	16
	.globl	\name
\name:
	vector = 0
	.rept	256
	stub	%vector, \common
	vector = vector + 1
	.endr
\common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	movq	72(%rsp), %rdi
	leaq	80(%rsp), %rsi
	call	\fn
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	addq	$8, %rsp
	iretq
	.endm

	stubs	host_stubs, host_common, host_trap
	stubs	guest_stubs, guest_common, guest_trap

// A guest that starts in real mode at 0x8000 and goes all the way; tables at REAL_CR3.
	.globl	real_mode, real_mode_end
	.code16
real_mode:
	movl	$1, %eax
	vmcall
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$0x30, $0x8000 + (protected - real_mode)
	.code32
protected:
	movl	$0x38, %eax
	movl	%eax, %ds
	movl	%eax, %ss
	movl	$2, %eax
	vmcall
	movl	%cr4, %eax
	orl	$0x20, %eax
	movl	%eax, %cr4
	movl	$level4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	movl	$0x100, %eax
	xorl	%edx, %edx
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	movl	$3, %eax
	vmcall
	ljmp	$8, $0x8000 + (long_mode - real_mode)
	.code64
long_mode:
	movl	$4, %eax
	vmcall
	movq	%cr0, %rax
	vmcall
	ud2
real_mode_end:

	.bss
	.align	4096
	.globl	level4
level4:	.skip	4096
level3:	.skip	4096
level2:	.skip	4 * 4096
	.skip	65536
stack_top:
