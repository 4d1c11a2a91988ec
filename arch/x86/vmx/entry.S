// SPDX-License-Identifier: Apache-2.0
//
// Into the guest and back (Intel SDM volume 3, chapters 27 and 28). The guest's general registers
// but RSP are v->arch.gpr[] in hardware's order at VCPU_GPR. VM exits come to vmx_exit_point with
// RSP = host RSP, where v lies on top; interrupts are masked by the exit. Registers that a function
// has to keep are not kept, but for RBP: vmx_run() has them saved already where it needs them.

#include <asm/vcpu.h>

#include "vmcs.h"

#define GPR(n) (VCPU_GPR + 8 * (n))

	.text

// RDI: v, RSI: uint64_t *host_rsp. Back in EAX: VMX_ENTERED or why not; in RDI: v.
// VMRESUME is right but for the first entry since VMCLEAR, which it refuses.
	.globl vmx_enter
	.type vmx_enter, @function
vmx_enter:
	push	%rbp
	push	%rdi
	cmp	%rsp, (%rsi)
	jne	3f
1:	mov	GPR(0)(%rdi), %rax
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
	vmresume
	// Still here: CF without, ZF with an error number. The registers are the guest's.
	jc	4f
	mov	$VMCS_INSTRUCTION_ERROR, %eax
	vmread	%rax, %rax
	cmp	$ERROR_RESUME_NOT_LAUNCHED, %eax
	jne	5f
	mov	(%rsp), %rax
	mov	GPR(0)(%rax), %rax
	vmlaunch
	jc	4f
5:	mov	$VMX_FAIL_VALID, %eax
	jmp	6f
4:	mov	$VMX_FAIL_INVALID, %eax
	jmp	6f
3:	mov	%rsp, (%rsi)
	mov	$VMCS_HOST_RSP, %eax
	vmwrite	%rsp, %rax
	jmp	1b

	.globl vmx_exit_point
vmx_exit_point:
	push	%rdi
	mov	8(%rsp), %rdi
	mov	%rax, GPR(0)(%rdi)
	mov	%rcx, GPR(1)(%rdi)
	mov	%rdx, GPR(2)(%rdi)
	mov	%rbx, GPR(3)(%rdi)
	mov	%rbp, GPR(5)(%rdi)
	mov	%rsi, GPR(6)(%rdi)
	pop	GPR(7)(%rdi)
	mov	%r8, GPR(8)(%rdi)
	mov	%r9, GPR(9)(%rdi)
	mov	%r10, GPR(10)(%rdi)
	mov	%r11, GPR(11)(%rdi)
	mov	%r12, GPR(12)(%rdi)
	mov	%r13, GPR(13)(%rdi)
	mov	%r14, GPR(14)(%rdi)
	mov	%r15, GPR(15)(%rdi)
	xor	%eax, %eax		// VMX_ENTERED
6:	pop	%rdi
	pop	%rbp
	ret
	.size vmx_enter, . - vmx_enter

	.section .note.GNU-stack, "", @progbits
