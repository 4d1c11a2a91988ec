// SPDX-License-Identifier: Apache-2.0
/*
 * The switch. Interrupts are masked by RFLAGS.IF when we come here, and were when the last look at
 * the requests was taken: a kick sent since then is pending. With V_INTR_MASKING, RFLAGS.IF at VMRUN
 * decides whether physical interrupts are taken in the guest (APM volume 2, 15.21.1), so IF is set
 * under GIF = 0, and a pending kick ends the guest's run before its first instruction. NMIs wait for
 * STGI, by which time our own TR is back.
 */
#include <asm/vcpu.h>

#define GPR(n) (VCPU_GPR + 8 * (n))

/* void svm_enter(struct vcpu *v [rdi], uint64_t vmcb_pa [rsi], uint64_t host_pa [rdx]) */
	.section .text.svm_enter, "ax"
	.globl svm_enter
	.type svm_enter, @function
	.balign 16
svm_enter:
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
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
	pop	%rax
	mov	%rcx, GPR(1)(%rax)
	mov	%rdx, GPR(2)(%rax)
	mov	%rbx, GPR(3)(%rax)
	mov	%rbp, GPR(5)(%rax)
	mov	%rsi, GPR(6)(%rax)
	mov	%rdi, GPR(7)(%rax)
	mov	%r8, GPR(8)(%rax)
	mov	%r9, GPR(9)(%rax)
	mov	%r10, GPR(10)(%rax)
	mov	%r11, GPR(11)(%rax)
	mov	%r12, GPR(12)(%rax)
	mov	%r13, GPR(13)(%rax)
	mov	%r14, GPR(14)(%rax)
	mov	%r15, GPR(15)(%rax)
	cli
	stgi
	pop	%rdx
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	ret
	.size svm_enter, . - svm_enter
	.section .note.GNU-stack, "", @progbits
