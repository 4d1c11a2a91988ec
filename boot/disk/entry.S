// SPDX-License-Identifier: Apache-2.0
//
// The bootable disk, its assembly: the MBR, the step to protected mode, calls back into the BIOS.
// The BIOS enters at 0x7c00 in real mode with the drive in DL. Data segments are 0 or flat all the
// time and the stack is below 64 KiB, so that a pointer means the same in real mode.

#include <boot/disk/disk.h>

	.section .mbr, "awx"
	.code16
	.globl	mbr
mbr:
	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$DISK_MBR_AT, %sp
	ljmp	$0, $1f
1:	sti
	cld
	movb	%dl, drive

	// The extensions: addresses of sectors instead of cylinders.
	movb	$0x41, %ah
	movw	$0x55aa, %bx
	int	$0x13
	jc	fail
	cmpw	$0xaa55, %bx
	jne	fail

	movb	drive, %dl
	movb	$0x42, %ah
	movw	$packet, %si
	int	$0x13
	jc	fail
	cmpl	$DISK_MAGIC, DISK_LOADER_AT + DISK_HEADER_OFFSET
	jne	fail
	jmp	loader

fail:	movw	$message, %si
1:	lodsb
	testb	%al, %al
	jz	2f
	movb	$0x0e, %ah
	movw	$7, %bx
	int	$0x10
	jmp	1b
2:	hlt
	jmp	2b

message: .asciz	"tidemark: cannot start: the boot disk cannot be read\r\n"
	.balign	4
packet:	.byte	16, 0
	.word	DISK_LOADER_SECTORS
	.word	DISK_LOADER_AT, 0
	.quad	1
drive:	.byte	0

	// One partition over all of it, of a type that systems leave alone (0xda): some BIOSes boot
	// no disk without.
	.org	446
	.byte	0x80, 0, 2, 0, 0xda, 0xfe, 0xff, 0xff
	.long	1, 0x7fffffff
	.org	510
	.word	0xaa55

	.section .loader, "awx"
	.globl	header
loader:	jmp	to_protected
	.org	DISK_HEADER_OFFSET
header:	.long	DISK_MAGIC
	.zero	28 + 1024

to_protected:
	cli
	lgdtl	gdt_pointer
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$DISK_CODE32, $1f
	.code32
1:	movw	$DISK_DATA32, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %fs
	movw	%ax, %gs
	movw	%ax, %ss
	movl	$DISK_MBR_AT, %esp
	// .bss is not on the disk.
	movl	$bss_start, %edi
	movl	$bss_end, %ecx
	subl	%edi, %ecx
	xorl	%eax, %eax
	rep stosb
	movzbl	drive, %eax
	pushl	%eax
	pushl	$header
	call	load_main

// enter_image(entry, magic, info)
	.globl	enter_image
enter_image:
	movl	4(%esp), %ecx
	movl	8(%esp), %eax
	movl	12(%esp), %ebx
	jmp	*%ecx

// bios_call(vector, regs): protected mode, 16-bit segments, real mode, the call, and back.
	.globl	bios_call
bios_call:
	pushl	%ebp
	pushl	%ebx
	pushl	%esi
	pushl	%edi
	movl	20(%esp), %eax
	movl	(, %eax, 4), %eax
	movl	%eax, target
	movl	24(%esp), %eax
	movl	%eax, regs
	ljmpl	$DISK_CODE16, $1f
	.code16
1:	movw	$DISK_DATA16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	%cr0, %eax
	andb	$0xfe, %al
	movl	%eax, %cr0
	ljmp	$0, $2f
2:	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	%ax, %fs
	movw	%ax, %gs
	movw	regs, %bp
	movw	24(%bp), %es
	movl	0(%bp), %eax
	movl	4(%bp), %ebx
	movl	8(%bp), %ecx
	movl	12(%bp), %edx
	movl	16(%bp), %esi
	movl	20(%bp), %edi
	// What INT does, with interrupts on for the time behind it.
	sti
	pushfw
	cli
	lcallw	*target
	cli
	cld
	pushfw
	pushl	%eax
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	regs, %bp
	popl	0(%bp)
	popw	26(%bp)
	movl	%ebx, 4(%bp)
	movl	%ecx, 8(%bp)
	movl	%edx, 12(%bp)
	movl	%esi, 16(%bp)
	movl	%edi, 20(%bp)
	movw	%es, 24(%bp)
	lgdtl	gdt_pointer
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$DISK_CODE32, $3f
	.code32
3:	movw	$DISK_DATA32, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %fs
	movw	%ax, %gs
	movw	%ax, %ss
	popl	%edi
	popl	%esi
	popl	%ebx
	popl	%ebp
	ret

	.balign	8
gdt:	.quad	0
	.quad	0x00cf9b000000ffff	// 0x08: code, 32-bit, flat
	.quad	0x00cf93000000ffff	// 0x10: data, flat
	.quad	0x00009b000000ffff	// 0x18: code, 16-bit
	.quad	0x000093000000ffff	// 0x20: data, 64 KiB
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
target:	.long	0
regs:	.long	0
	.section .note.GNU-stack, "", @progbits
