// SPDX-License-Identifier: Apache-2.0
//
// Measured loops. Every loop ends in the same two instructions as bench_null, so that subtracting
// bench_null's time leaves the operation and what stands before it in the loop. r11 belongs to the
// interrupt gate below: it is set when the interrupt was taken.

	.text
	.globl	bench_null, bench_nop64, bench_vmcall, bench_vmmcall, bench_cpuid, bench_port
	.globl	bench_wrmsr, bench_load32, bench_store_pages, bench_self_ipi, bench_timer, bench_time

bench_null:
1:	decq	%rsi
	jne	1b
	ret

bench_nop64:
1:	.rept	64
	nop
	.endr
	decq	%rsi
	jne	1b
	ret

// arg = function number; arguments 0
.macro call_loop insn
	movq	%rdi, %r9
	movq	%rsi, %r11
	xorl	%edi, %edi
	xorl	%esi, %esi
	xorl	%edx, %edx
	xorl	%r10d, %r10d
	xorl	%r8d, %r8d
1:	movq	%r9, %rax			// 1 instruction besides
	\insn
	decq	%r11
	jne	1b
	ret
.endm

bench_vmcall:
	call_loop vmcall

bench_vmmcall:
	call_loop vmmcall

// arg = leaf
bench_cpuid:
	pushq	%rbx
1:	movl	%edi, %eax			// 2 besides
	xorl	%ecx, %ecx
	cpuid
	decq	%rsi
	jne	1b
	popq	%rbx
	ret

// arg = port
bench_port:
	movl	%edi, %edx
1:	inb	%dx, %al
	decq	%rsi
	jne	1b
	ret

// arg = MSR, gets 0
bench_wrmsr:
	movl	%edi, %ecx
	xorl	%eax, %eax
	xorl	%edx, %edx
1:	wrmsr
	decq	%rsi
	jne	1b
	ret

bench_load32:
1:	movl	(%rdi), %eax
	decq	%rsi
	jne	1b
	ret

// One store to each of n pages
bench_store_pages:
1:	movq	%rsi, (%rdi)
	addq	$4096, %rdi			// 1 besides
	decq	%rsi
	jne	1b
	ret

// arg = vector
bench_self_ipi:
	movl	%edi, %eax
	xorl	%edx, %edx
	movl	$0x83f, %ecx			// x2APIC self IPI
	sti
1:	xorl	%r11d, %r11d			// 1 besides
	wrmsr
2:	testl	%r11d, %r11d
	je	2b
	decq	%rsi
	jne	1b
	cli
	ret

// A deadline in the past
bench_timer:
	movl	$1, %eax
	xorl	%edx, %edx
	movl	$0x6e0, %ecx			// IA32_TSC_DEADLINE
	sti
1:	xorl	%r11d, %r11d			// 1 besides
	wrmsr
2:	testl	%r11d, %r11d
	je	2b
	decq	%rsi
	jne	1b
	cli
	ret

bench_time:
	pushq	%rbx
	movq	%rdi, %r8
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	rdtsc
	shlq	$32, %rdx
	leaq	(%rdx,%rax), %rbx
	call	*%r8
	rdtsc
	shlq	$32, %rdx
	addq	%rdx, %rax
	subq	%rbx, %rax
	popq	%rbx
	ret

// Ends the interrupt and notes it.
	.balign	16
	.globl	bench_gate
bench_gate:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	xorl	%eax, %eax
	xorl	%edx, %edx
	movl	$0x80b, %ecx			// x2APIC EOI
	wrmsr
	movl	$1, %r11d
	popq	%rdx
	popq	%rcx
	popq	%rax
	iretq
