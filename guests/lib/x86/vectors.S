// SPDX-License-Identifier: Apache-2.0
//
// Exception and interrupt stubs of guest programs, and the probes. Every one saves the general
// registers into a struct frame on the current stack and calls tm_exception. Nothing that runs in a
// handler uses SSE or the FPU.

#include "percpu.h"

	.section .text.vectors, "ax"
	.balign	16
	.globl	tm_vectors
tm_vectors:
	.set	n, 0
	.rept	256
	.balign	16
	// Those without an error code: SDM volume 3, table 6-1.
	.if (n > 31) || (((0x60227d00 >> n) & 1) == 0)
	pushq	$0
	.endif
	pushq	$n
	jmp	common
	.set	n, n + 1
	.endr

	.balign	16
common:
	pushq	%rax
	pushq	%rbx
	pushq	%rcx
	pushq	%rdx
	pushq	%rbp
	pushq	%rsi
	pushq	%rdi
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
	movq	%rsp, %rbp
	andq	$-16, %rsp
	call	tm_exception
	movq	%rbp, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rbp
	popq	%rdx
	popq	%rcx
	popq	%rbx
	popq	%rax
	addq	$16, %rsp
	iretq

// uint64_t tm_probe_run(fn, args): calls fn(args[0..5]) with everything that it may destroy kept in
// the per-CPU area. 0: it came back, its rax in percpu.value; 1: an exception ended it.
	.text
	.globl	tm_probe_run
tm_probe_run:
	movq	%gs:PERCPU_SELF, %r10
	movq	%rsp, PERCPU_SP(%r10)
	movq	%rbx, PERCPU_SAVED(%r10)
	movq	%rbp, PERCPU_SAVED + 8(%r10)
	movq	%r12, PERCPU_SAVED + 16(%r10)
	movq	%r13, PERCPU_SAVED + 24(%r10)
	movq	%r14, PERCPU_SAVED + 32(%r10)
	movq	%r15, PERCPU_SAVED + 40(%r10)
	pushfq
	popq	PERCPU_FLAGS(%r10)
	movq	$1, PERCPU_ARMED(%r10)
	movq	%rdi, %rax
	movq	%rsi, %r11
	movq	(%r11), %rdi
	movq	8(%r11), %rsi
	movq	16(%r11), %rdx
	movq	24(%r11), %rcx
	movq	32(%r11), %r8
	movq	40(%r11), %r9
	subq	$8, %rsp
	call	*%rax
	movq	%gs:PERCPU_SELF, %r10
	movq	%rax, PERCPU_VALUE(%r10)
	xorl	%eax, %eax
1:	movq	$0, PERCPU_ARMED(%r10)
	movq	PERCPU_SP(%r10), %rsp
	movq	PERCPU_SAVED(%r10), %rbx
	movq	PERCPU_SAVED + 8(%r10), %rbp
	movq	PERCPU_SAVED + 16(%r10), %r12
	movq	PERCPU_SAVED + 24(%r10), %r13
	movq	PERCPU_SAVED + 32(%r10), %r14
	movq	PERCPU_SAVED + 40(%r10), %r15
	pushq	PERCPU_FLAGS(%r10)
	popfq
	ret

// tm_exception returns here from a fault in a probe.
	.globl	tm_probe_fault_landing
tm_probe_fault_landing:
	movq	%gs:PERCPU_SELF, %r10
	movl	$1, %eax
	jmp	1b

	.globl	tm_probe_r1, tm_probe_r2, tm_probe_r4, tm_probe_r8
	.globl	tm_probe_w1, tm_probe_w2, tm_probe_w4, tm_probe_w8
tm_probe_r1:
	movzbl	(%rdi), %eax
	ret
tm_probe_r2:
	movzwl	(%rdi), %eax
	ret
tm_probe_r4:
	movl	(%rdi), %eax
	ret
tm_probe_r8:
	movq	(%rdi), %rax
	ret
tm_probe_w1:
	movb	%sil, (%rdi)
	ret
tm_probe_w2:
	movw	%si, (%rdi)
	ret
tm_probe_w4:
	movl	%esi, (%rdi)
	ret
tm_probe_w8:
	movq	%rsi, (%rdi)
	ret
