// SPDX-License-Identifier: Apache-2.0
//
// One entry point a vector. Exceptions save a struct x86_frame and call x86_exception(); interrupts,
// which come only where the hypervisor opened its mask, save what C may change and call
// irq_dispatch(). Then the two instructions that may fault, each with its landing.

#include <asm/exception.h>

	.text
	.balign	16
	.global	x86_stubs
x86_stubs:
	.set	vector, 0
	.rept	256
	.balign	STUB_STRIDE
	.if	vector >= 32
	pushq	$vector
	jmp	interrupt
	.else
	// Vectors with an error code of hardware's.
	.if	!(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || \
		vector == 29 || vector == 30)
	pushq	$0
	.endif
	pushq	$vector
	jmp	exception
	.endif
	.set	vector, vector + 1
	.endr
	.balign	STUB_STRIDE

exception:
	pushq	%rax
	pushq	%rbx
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%rbp
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	cld
	movq	%rsp, %rdi
	movq	%rsp, %rbx
	xorl	%ebp, %ebp
	andq	$-16, %rsp
	call	x86_exception
	movq	%rbx, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rbp
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rbx
	popq	%rax
	addq	$16, %rsp
	iretq

	.balign	16
interrupt:					// the vector is on the stack, where rdi will be saved
	xchgq	%rdi, (%rsp)
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%rbp
	movq	%rsp, %rbp
	andq	$-16, %rsp
	cld
	call	irq_dispatch
	movq	%rbp, %rsp
	popq	%rbp
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
	popq	%rdi
	iretq

	// bool rdmsr_safe(uint32_t msr, uint64_t *val)
	.balign	16
	.global	rdmsr_safe, rdmsr_safe_insn, msr_safe_failed
rdmsr_safe:
	movl	%edi, %ecx
	movq	$0, (%rsi)
rdmsr_safe_insn:
	rdmsr
	shlq	$32, %rdx
	orq	%rdx, %rax
	movq	%rax, (%rsi)
	movl	$1, %eax
	ret

	// bool wrmsr_safe(uint32_t msr, uint64_t val)
	.balign	16
	.global	wrmsr_safe, wrmsr_safe_insn
wrmsr_safe:
	movl	%edi, %ecx
	movl	%esi, %eax
	movq	%rsi, %rdx
	shrq	$32, %rdx
wrmsr_safe_insn:
	wrmsr
	movl	$1, %eax
	ret
	.balign	4
msr_safe_failed:
	xorl	%eax, %eax
	ret
