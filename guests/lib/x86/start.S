// SPDX-License-Identifier: Apache-2.0
//
// First instruction of every guest program: our Image header (arm64's fields, magic "TM86", see
// boot/image_load.c), then the way from "64-bit mode on the loader's tables, RDI = device tree" to C
// on our own. Secondary CPUs come in by the trampoline, at tm_secondary_entry with RDI = struct
// cpu_start.
//
// One map serves all CPUs: 512 leaves of 1 GiB, identity, write-back.

#include "percpu.h"

#define PTE_LEAF 0x83			// present, writable, large
#define PTE_TABLE 3
#define CR0_VALUE 0x80010033		// PG WP NE ET MP PE
#define CR4_VALUE 0x620			// OSXMMEXCPT OSFXSR PAE

	.section .head, "ax"
	.code64
	.globl	_start
_start:
	.byte	0xe9				// jmp primary, the long form
	.long	primary - . - 4
	.balign	8
	.quad	0				// text_offset
	.quad	__image_size
	.quad	0xa				// anywhere
	.quad	0, 0, 0
	.ascii	"TM86"
	.long	0

	.text
primary:
	cli
	cld
	movq	%rdi, %r15

	// R_X86_64_RELATIVE is the only kind that a static PIE with -z text leaves.
	leaq	_start(%rip), %rbx
	leaq	__rela_start(%rip), %rsi
	leaq	__rela_end(%rip), %rdi
1:	cmpq	%rdi, %rsi
	jae	2f
	movq	(%rsi), %rax
	movq	8(%rsi), %rcx
	movq	16(%rsi), %rdx
	addq	$24, %rsi
	cmpl	$8, %ecx
	jne	1b
	addq	%rbx, %rdx
	movq	%rdx, (%rbx,%rax)
	jmp	1b
2:
	leaq	__bss_start(%rip), %rdi
	leaq	__bss_end(%rip), %rcx
	subq	%rdi, %rcx
	shrq	$3, %rcx
	xorl	%eax, %eax
	rep stosq

	leaq	tm_map(%rip), %rdi
	leaq	4096(%rdi), %rsi
	leaq	PTE_TABLE(%rsi), %rax
	movq	%rax, (%rdi)
	movl	$PTE_LEAF, %eax
	movl	$512, %ecx
3:	movq	%rax, (%rsi)
	addq	$0x40000000, %rax
	addq	$8, %rsi
	decl	%ecx
	jnz	3b

	leaq	boot_stack_top(%rip), %rsp
	leaq	tm_percpu(%rip), %rbx
	call	cpu_state
	call	tm_idt_init
	call	tm_idt_load
	movq	%r15, %rdi
	xorl	%ebp, %ebp
	pushq	$0
	jmp	tm_guest_main

	.globl	tm_secondary_entry
tm_secondary_entry:
	movq	%rdi, %r15
	movq	START_SP(%r15), %rsp
	movq	START_PERCPU(%r15), %rbx
	call	cpu_state
	call	tm_idt_load
	movq	%r15, %rdi
	xorl	%ebp, %ebp
	pushq	$0
	jmp	tm_secondary_main

// Known values whatever came before: map, segments, FPU; FS and GS at the area in rbx.
cpu_state:
	leaq	tm_map(%rip), %rax
	movq	$CR4_VALUE, %rcx
	movq	%rcx, %cr4
	movq	%rax, %cr3
	movl	$CR0_VALUE, %ecx
	movq	%rcx, %cr0
	fninit
	leaq	gdt(%rip), %rax
	subq	$16, %rsp
	movw	$(gdt_end - gdt - 1), 6(%rsp)
	movq	%rax, 8(%rsp)
	lgdt	6(%rsp)
	addq	$16, %rsp
	movl	$SEG_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	leaq	4f(%rip), %rax
	pushq	$SEG_CODE
	pushq	%rax
	lretq
4:
	movq	%rbx, PERCPU_SELF(%rbx)
	movabsq	$0x5bd1e9955bd1e900, %rax
	movq	%rax, PERCPU_GUARD(%rbx)
	movq	%rbx, %rax
	movq	%rbx, %rdx
	shrq	$32, %rdx
	movl	$MSR_FS_BASE, %ecx
	wrmsr
	movl	$MSR_GS_BASE, %ecx
	wrmsr
	ret

	.section .data
	.balign	16
gdt:
	.quad	0, 0
	.quad	0x00af9b000000ffff		// SEG_CODE
	.quad	0x00cf93000000ffff		// SEG_DATA
gdt_end:

	.section .bss
	.balign	4096
	.globl	tm_map
tm_map:
	.skip	8192
	.balign	16
	.skip	65536
boot_stack_top:
