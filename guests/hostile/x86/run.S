// SPDX-License-Identifier: Apache-2.0
//
// Code from a table, with every register given. One CPU only: the stack pointer is kept in a
// variable, since the code may leave nothing else intact.

	.text
	.globl	run_code
run_code:
	movq	%rsp, run_sp(%rip)
	leaq	run_landing(%rip), %rax
	.rept	8				// it may pop some of them
	pushq	%rax
	.endr
	pushq	128(%rdi)
	movq	0(%rdi), %rax
	movq	8(%rdi), %rcx
	movq	16(%rdi), %rdx
	movq	24(%rdi), %rbx
	movq	40(%rdi), %rbp
	movq	48(%rdi), %rsi
	movq	64(%rdi), %r8
	movq	72(%rdi), %r9
	movq	80(%rdi), %r10
	movq	88(%rdi), %r11
	movq	96(%rdi), %r12
	movq	104(%rdi), %r13
	movq	112(%rdi), %r14
	movq	120(%rdi), %r15
	movq	56(%rdi), %rdi
	ret

	.globl	run_landing
run_landing:
	movq	%rax, run_out(%rip)
	movq	%rcx, run_out + 8(%rip)
	movq	%rdx, run_out + 16(%rip)
	movq	%rbx, run_out + 24(%rip)
	movq	%rsp, run_out + 32(%rip)
	movq	%rbp, run_out + 40(%rip)
	movq	%rsi, run_out + 48(%rip)
	movq	%rdi, run_out + 56(%rip)
	movq	%r8, run_out + 64(%rip)
	movq	%r9, run_out + 72(%rip)
	movq	%r10, run_out + 80(%rip)
	movq	%r11, run_out + 88(%rip)
	movq	%r12, run_out + 96(%rip)
	movq	%r13, run_out + 104(%rip)
	movq	%r14, run_out + 112(%rip)
	movq	%r15, run_out + 120(%rip)
	movq	run_sp(%rip), %rsp
	cld
	ret

// uint64_t msr_read(msr)
	.globl	msr_read, msr_write, msr_write_back
msr_read:
	movl	%edi, %ecx
	rdmsr
	shlq	$32, %rdx
	orq	%rdx, %rax
	ret

// msr_write(struct msr_try *), msr_write_back(struct msr_try *): new, and the old one again at once
msr_write:
	movl	0(%rdi), %ecx
	movl	8(%rdi), %eax
	movl	12(%rdi), %edx
	wrmsr
	ret
msr_write_back:
	movl	0(%rdi), %ecx
	movl	8(%rdi), %eax
	movl	12(%rdi), %edx
	wrmsr
	movq	$1, 24(%rdi)			// written
	movl	16(%rdi), %eax
	movl	20(%rdi), %edx
	wrmsr
	movq	$2, 24(%rdi)			// and put back
	ret

// uint64_t cr_try(new): the old value goes back at once; returns what was read in between.
.macro control_register name, reg
	.globl	\name
\name:
	movq	%\reg, %rdx
	movq	%rdi, %\reg
	movq	%\reg, %rax
	movq	%rdx, %\reg
	ret
.endm
	control_register cr0_try, cr0
	control_register cr3_try, cr3
	control_register cr4_try, cr4
	control_register cr8_try, cr8
	control_register dr0_try, dr0
	control_register dr1_try, dr1
	control_register dr2_try, dr2
	control_register dr3_try, dr3
	control_register dr4_try, dr4
	control_register dr5_try, dr5
	control_register dr6_try, dr6
	control_register dr7_try, dr7

// xcr_try(struct { index, value, old }): only 0 is put back
	.globl	xcr_try
xcr_try:
	movl	0(%rdi), %ecx
	movl	8(%rdi), %eax
	movl	12(%rdi), %edx
	xsetbv
	movl	16(%rdi), %eax
	movl	20(%rdi), %edx
	xsetbv
	ret

// seg_*(selector): loads it, exits (CPUID), and puts back what was there.
.macro seg_load name, reg
	.globl	\name
\name:
	movq	%rbx, %r9
	movl	%\reg, %r8d
	movl	%edi, %\reg
	xorl	%eax, %eax
	cpuid
	movl	%r8d, %\reg
	movq	%r9, %rbx
	ret
.endm
	seg_load seg_ds, ds
	seg_load seg_es, es
	seg_load seg_ss, ss
.macro seg_based name, reg, msr
	.globl	\name
\name:
	movq	%rbx, %r9
	movl	$\msr, %ecx
	rdmsr
	movl	%eax, %r10d
	movl	%edx, %r11d
	movl	%edi, %\reg
	xorl	%eax, %eax
	cpuid
	xorl	%eax, %eax
	movl	%eax, %\reg
	movl	$\msr, %ecx
	movl	%r10d, %eax
	movl	%r11d, %edx
	wrmsr
	movq	%r9, %rbx
	ret
.endm
	seg_based seg_fs, fs, 0xc0000100
	seg_based seg_gs, gs, 0xc0000101
	.globl	seg_ldt, seg_tr, seg_cs
seg_ldt:
	movq	%rbx, %r9
	lldt	%di
	xorl	%eax, %eax
	cpuid
	movl	$4, %eax			// a selector of what may be the LDT
	movl	%eax, %es
	movl	$0x18, %eax
	movl	%eax, %es
	movq	%r9, %rbx
	ret
seg_tr:
	movq	%rbx, %r9
	ltr	%di
	xorl	%eax, %eax
	cpuid
	movq	%r9, %rbx
	ret
seg_cs:						// 64-bit code segments only
	movq	%rbx, %r9
	pushq	%rdi
	leaq	1f(%rip), %rax
	pushq	%rax
	lretq
1:	xorl	%eax, %eax
	cpuid
	pushq	$0x10
	leaq	2f(%rip), %rax
	pushq	%rax
	lretq
2:	movq	%r9, %rbx
	ret

	.bss
	.balign	8
	.globl	run_out
run_out:
	.skip	128
run_sp:
	.skip	8
