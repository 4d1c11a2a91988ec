// SPDX-License-Identifier: Apache-2.0
//
// First instructions on x86. Three ways in: Multiboot 1 and 2 (32-bit, the image at HYP_LOAD_ADDR)
// and entry.h's (64-bit, the image anywhere). All check what needs no C, then build the tables
// (position-independent until they are loaded), and go on in C at the linked address. This page of
// the image stays mapped 1:1 until the C code drops it.

#include <asm/cpu.h>
#include <asm/layout.h>
#include <asm/msr.h>
#include <boot/x86/entry.h>

#define MB1_HEADER_MAGIC 0x1badb002
#define MB1_FLAGS 0x00010003		// modules on pages, memory map, address fields below
#define MB2_HEADER_MAGIC 0xe85250d6
#define COM1 0x3f8

// Multiboot's addresses: where the a.out fields below say.
#define PHYS(sym) ((sym) - HYP_VA_BASE + HYP_LOAD_ADDR)

	.section .head, "ax"
	.global	_start
_start:
	.quad	BOOT_IMAGE_MAGIC
	.quad	__image_size
	.quad	entry64 - _start
	.quad	__data_file_end - _start

	.balign	4
mb1_header:
	.long	MB1_HEADER_MAGIC
	.long	MB1_FLAGS
	.long	-(MB1_HEADER_MAGIC + MB1_FLAGS)
	.long	PHYS(mb1_header)
	.long	PHYS(_start)
	.long	PHYS(__data_file_end)
	.long	PHYS(__image_end)
	.long	PHYS(entry32)

	.balign	8
mb2_header:
	.long	MB2_HEADER_MAGIC
	.long	0				// i386, protected mode
	.long	mb2_end - mb2_header
	.long	-(MB2_HEADER_MAGIC + (mb2_end - mb2_header))
	.short	2, 0				// addresses
	.long	24
	.long	PHYS(mb2_header)
	.long	PHYS(_start)
	.long	PHYS(__data_file_end)
	.long	PHYS(__image_end)
	.short	3, 0				// entry
	.long	12
	.long	PHYS(entry32)
	.balign	8
	.short	6, 0				// modules on pages
	.long	8
	.short	0, 0
	.long	8
mb2_end:

	.balign	8
boot_gdt:
	.quad	0
	.quad	0x00af9b000000ffff		// SEL_CODE: 64-bit, ring 0
	.quad	0x00cf93000000ffff		// SEL_DATA
boot_gdt_end:
boot_gdt_reg:
	.short	boot_gdt_end - boot_gdt - 1
	.long	PHYS(boot_gdt)

// The same instructions in both modes. Text at (e)si; eax, ecx, edx are lost.
	.macro	put_text
1:	lodsb
	testb	%al, %al
	jz	4f
	movb	%al, %ah
	movl	$0x100000, %ecx			// nobody there: do not wait for ever
	movw	$COM1 + 5, %dx
2:	inb	%dx, %al
	testb	$0x20, %al
	jnz	3f
	pause
	loop	2b
3:	movb	%ah, %al
	movw	$COM1, %dx
	outb	%al, %dx
	jmp	1b
4:
	.endm

	.macro	set_up_uart			// 115200 8N1
	movw	$COM1 + 3, %dx
	movb	$0x80, %al
	outb	%al, %dx
	movw	$COM1, %dx
	movb	$1, %al
	outb	%al, %dx
	incw	%dx
	movb	$0, %al
	outb	%al, %dx
	movw	$COM1 + 3, %dx
	movb	$3, %al
	outb	%al, %dx
	.endm

// --- Multiboot: eax = which, ebx = its information ----------------------------------------------
	.code32
entry32:
	cli
	cld
	movl	$PHYS(boot_stack) + HYP_STACK_SIZE, %esp
	movl	%eax, %ebp
	movl	%ebx, %ebx

	// CPUID is there when EFLAGS.ID can be changed.
	pushfl
	popl	%eax
	movl	%eax, %ecx
	xorl	$1 << 21, %eax
	pushl	%eax
	popfl
	pushfl
	popl	%eax
	cmpl	%eax, %ecx
	movl	$PHYS(text_long_mode), %edi
	je	refuse32
	movl	%ebx, %esi
	movl	$0x80000000, %eax
	cpuid
	cmpl	$0x80000001, %eax
	jb	refuse32
	movl	$0x80000001, %eax
	cpuid
	btl	$29, %edx
	jnc	refuse32
	movl	$PHYS(text_nx), %edi
	btl	$20, %edx
	jnc	refuse32
	movl	%esi, %ebx

	// 4 GiB, identity: one PML4, one PDPT, four page directories with 2 MiB pages.
	movl	$PHYS(early_tables), %edi
	xorl	%eax, %eax
	movl	$6 * 1024, %ecx
	rep stosl
	movl	$PHYS(early_tables), %edi
	leal	4096 + 3(%edi), %eax
	movl	%eax, (%edi)
	leal	8192 + 3(%edi), %eax
	xorl	%ecx, %ecx
1:	movl	%eax, 4096(%edi, %ecx, 8)
	addl	$4096, %eax
	incl	%ecx
	cmpl	$4, %ecx
	jne	1b
	xorl	%ecx, %ecx
	movl	$0x83, %eax
2:	movl	%eax, 8192(%edi, %ecx, 8)
	addl	$0x200000, %eax
	incl	%ecx
	cmpl	$2048, %ecx
	jne	2b

	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	%edi, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME | EFER_NXE, %eax
	wrmsr
	movl	$CR0_HYP, %eax
	movl	%eax, %cr0
	lgdt	PHYS(boot_gdt_reg)
	ljmp	$SEL_CODE, $PHYS(multiboot64)

refuse32:					// edi = the reason
	set_up_uart
	movl	$PHYS(text_refuse), %esi
	put_text
	movl	%edi, %esi
	put_text
	movl	$PHYS(text_end), %esi
	put_text
1:	hlt
	jmp	1b

	.code64
multiboot64:
	movl	$SEL_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	%ebx, %edi
	movl	%ebp, %esi
	jmp	start64

// --- entry.h: rdi = struct boot_handoff ---------------------------------------------------------
entry64:
	cli
	cld
	xorl	%esi, %esi

// rdi = what was handed over, esi = Multiboot's magic number or 0
start64:
	leaq	boot_stack + HYP_STACK_SIZE(%rip), %rsp
	movq	%rdi, %r12
	movl	%esi, %r13d
	rdtsc
	shlq	$32, %rdx
	leaq	(%rdx, %rax), %r14		// time of entry
	movl	$0x80000001, %eax
	cpuid
	leaq	text_nx(%rip), %rdi
	btl	$20, %edx
	jnc	refuse64
	movq	%cr4, %rax
	leaq	text_la57(%rip), %rdi
	btl	$12, %eax
	jc	refuse64
	movl	$CR4_PAE, %eax			// no global pages, no PCID: nothing survives below
	movq	%rax, %cr4
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_NXE, %eax
	wrmsr
	movl	$CR0_HYP, %eax
	movq	%rax, %cr0

	leaq	_start(%rip), %rdi
	call	mmu_early_tables		// 0, or the text of a refusal
	movq	%rax, %rdi
	testq	%rax, %rax
	jnz	refuse64
	movq	mmu_root(%rip), %rax
	movq	%rax, %cr3
	movq	$1f, %rax
	jmp	*%rax
1:	movabsq	$HYP_STACK_BASE + HYP_STACK_STRIDE, %rsp
	movq	$__bss_start, %rdi
	movq	$__bss_end, %rcx
	subq	%rdi, %rcx
	shrq	$3, %rcx
	xorl	%eax, %eax
	rep stosq
	movq	%r12, %rdi
	movl	%r13d, %esi
	movq	%r14, %rdx
	xorl	%ebp, %ebp
	call	x86_boot
	ud2

refuse64:					// rdi = the reason
	set_up_uart
	leaq	text_refuse(%rip), %rsi
	put_text
	movq	%rdi, %rsi
	put_text
	leaq	text_end(%rip), %rsi
	put_text
1:	hlt
	jmp	1b

text_refuse:	.asciz	"tidemark: cannot start: "
text_end:	.asciz	"\r\n"
text_long_mode:	.asciz	"this CPU has no 64-bit mode"
text_nx:	.asciz	"this CPU has no execute-disable bit (NX), or firmware hides it"
text_la57:	.asciz	"entered with 5-level paging on"

	.section .noinit, "aw", @nobits
	.balign	4096
early_tables:
	.space	6 * 4096
	.global	boot_stack
boot_stack:
	.space	HYP_STACK_SIZE
	.global	boot_ist
boot_ist:
	.space	HYP_IST_COUNT * HYP_IST_SIZE
