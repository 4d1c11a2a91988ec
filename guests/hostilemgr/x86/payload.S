// SPDX-License-Identifier: Apache-2.0
//
// What a victim's vCPU runs, in 32-bit mode without paging and without an IDT: stores all over its
// slots, port and MMIO accesses that exit. An exception ends its VM, so none is meant to happen.

	.section .rodata.payload, "a"
	.globl	payload_start, payload_end
	.balign	2048
	.code32
payload_start:
	movl	$1, %eax
	xorl	%ecx, %ecx
	cpuid
	shrl	$24, %ebx
	andl	$0xff, %ebx			// which vCPU
	xorl	%esi, %esi
again:
	movl	$0x40400000, %edi		// slot 1
	movl	$120, %ecx
1:	incl	%esi
	movl	%esi, (%edi,%ebx,8)
	addl	$4096, %edi
	decl	%ecx
	jnz	1b
	pause
	testl	$0x700, %esi
	jnz	again
	movl	%esi, 0x70000008		// an MMIO window
	movl	0x70000010, %eax
	movl	$0x1234, %edx			// a port of nobody
	inl	%dx, %eax
	movl	%esi, 0x3ff00000		// memory of nobody
	jmp	again
	.balign	8
payload_end:
