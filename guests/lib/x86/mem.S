// SPDX-License-Identifier: Apache-2.0
//
// memcpy, memset and memmove for whole pages: newlib is built for size, and its loops move a byte
// a turn. String instructions of 8 bytes, then the rest.

	.section .text.memcpy, "ax"
	.globl	memcpy
	.type	memcpy, @function
memcpy:					// rdi to, rsi from, rdx length
	movq	%rdi, %rax
	movq	%rdx, %rcx
	shrq	$3, %rcx
	rep movsq
	movl	%edx, %ecx
	andl	$7, %ecx
	rep movsb
	ret
	.size	memcpy, . - memcpy

	.section .text.memmove, "ax"
	.globl	memmove
	.type	memmove, @function
memmove:				// downwards where the end of `from` would be overwritten
	movq	%rdi, %rax
	subq	%rsi, %rax
	cmpq	%rdx, %rax
	jae	memcpy
	movq	%rdi, %rax
	movq	%rdx, %rcx
	std
	leaq	-1(%rdi,%rdx), %rdi
	leaq	-1(%rsi,%rdx), %rsi
	andl	$7, %ecx
	rep movsb
	subq	$7, %rdi
	subq	$7, %rsi
	movq	%rdx, %rcx
	shrq	$3, %rcx
	rep movsq
	cld
	ret
	.size	memmove, . - memmove

	.section .text.memset, "ax"
	.globl	memset
	.type	memset, @function
memset:					// rdi to, esi value, rdx length
	movq	%rdi, %r8
	movzbl	%sil, %eax
	movabsq	$0x0101010101010101, %rcx
	imulq	%rcx, %rax
	movq	%rdx, %rcx
	shrq	$3, %rcx
	rep stosq
	movl	%edx, %ecx
	andl	$7, %ecx
	rep stosb
	movq	%r8, %rax
	ret
	.size	memset, . - memset
