// SPDX-License-Identifier: Apache-2.0
/*
 * The switch. Interrupts are masked by RFLAGS.IF when we come here, and were when the last look at
 * the requests was taken: a kick sent since then is pending. With V_INTR_MASKING, RFLAGS.IF at
 * VMRUN decides whether physical interrupts are taken in the guest (APM volume 2, 15.21.1), so IF
 * is set under GIF = 0, and a pending kick ends the guest's run before its first instruction. NMIs
 * wait for STGI, by which time our own TR is back.
 */
#include <asm/vcpu.h>

#define GPR(n) (VCPU_GPR + 8 * (n))

/*
 * In: RDI = vcpu, RSI = address of its VMCB, RDX = of this CPU's host VMCB. Out: RDI as it was. Not
 * a C function: every other register but RSP and RBP is lost (svm_run() says so to the compiler).
 */
	.section .text.svm_enter, "ax"
	.globl svm_enter
	.type svm_enter, @function
	.balign 16
svm_enter:
	push	%rbp
	push	%rdx
	push	%rdi
	mov	%rsi, %rax
	mov	GPR(1)(%rdi), %rcx
	mov	GPR(2)(%rdi), %rdx
	mov	GPR(3)(%rdi), %rbx
	mov	GPR(5)(%rdi), %rbp
	mov	GPR(6)(%rdi), %rsi
	mov	GPR(8)(%rdi), %r8
	mov	GPR(9)(%rdi), %r9
	mov	GPR(10)(%rdi), %r10
	mov	GPR(11)(%rdi), %r11
	mov	GPR(12)(%rdi), %r12
	mov	GPR(13)(%rdi), %r13
	mov	GPR(14)(%rdi), %r14
	mov	GPR(15)(%rdi), %r15
	mov	GPR(7)(%rdi), %rdi
	clgi
	sti
	vmload	%rax
	vmrun	%rax
	/* RAX and RSP are ours again, the other registers the guest's; so are FS, GS, TR */
	vmsave	%rax
	mov	8(%rsp), %rax
	vmload	%rax
	mov	%rdi, %rax
	pop	%rdi
	mov	%rax, GPR(7)(%rdi)
	mov	%rcx, GPR(1)(%rdi)
	mov	%rdx, GPR(2)(%rdi)
	mov	%rbx, GPR(3)(%rdi)
	mov	%rbp, GPR(5)(%rdi)
	mov	%rsi, GPR(6)(%rdi)
	mov	%r8, GPR(8)(%rdi)
	mov	%r9, GPR(9)(%rdi)
	mov	%r10, GPR(10)(%rdi)
	mov	%r11, GPR(11)(%rdi)
	mov	%r12, GPR(12)(%rdi)
	mov	%r13, GPR(13)(%rdi)
	mov	%r14, GPR(14)(%rdi)
	mov	%r15, GPR(15)(%rdi)
	cli
	stgi
	pop	%rdx
	pop	%rbp
	ret
	.size svm_enter, . - svm_enter
	.section .note.GNU-stack, "", @progbits
