// SPDX-License-Identifier: Apache-2.0
//
// Layout of the hypervisor image. Linked at the fixed address HYP_VA_BASE, loaded flat: the load
// addresses start at 0, so `objcopy -O binary` gives head, text, rodata and data in one piece that
// firmware may put at any page (arm64: 2 MiB, by the Image header) boundary. bss is not in the
// file; __image_size covers it, so that the boot protocol reserves it.
//
// Three segments, never writable and executable at once; each starts on a page of its own, and
// the __*_start/__*_end pairs are page-aligned for the stage-1 tables.

#include <asm/layout.h>

#define PAGE 4096
#define LOAD(sec) AT(ADDR(sec) - HYP_VA_BASE)

ENTRY(_start)

PHDRS
{
	text PT_LOAD FLAGS(5);
	rodata PT_LOAD FLAGS(4);
	data PT_LOAD FLAGS(6);
}

SECTIONS
{
	. = HYP_VA_BASE;
	__image_start = .;
	__text_start = .;

	.head : LOAD(.head) {
		KEEP(*(.head .head.*))
	} :text

	.text : LOAD(.text) {
		*(.text.vectors)
		*(.text .text.*)
		. = ALIGN(PAGE);
	} :text
	__text_end = .;

	// The symbol table stays last: what grows between the two links is behind every function.
	.rodata : LOAD(.rodata) {
		__rodata_start = .;
		*(.rodata .rodata.* .data.rel.ro .data.rel.ro.*)
		. = ALIGN(8);
		KEEP(*(.symtab_table))
		. = ALIGN(PAGE);
	} :rodata
	__rodata_end = .;

	.data : LOAD(.data) {
		__data_start = .;
		*(SORT_BY_ALIGNMENT(.data) SORT_BY_ALIGNMENT(.data.*))
		*(.got .got.plt)
		. = ALIGN(16);
	} :data
	__data_file_end = .;

	.bss (NOLOAD) : LOAD(.bss) {
		. = ALIGN(64);
		__bss_start = .;
		*(SORT_BY_ALIGNMENT(.bss) SORT_BY_ALIGNMENT(.bss.*))
		*(COMMON)
		. = ALIGN(PAGE);
		__bss_end = .;
	} :data

	// Written before the MMU is on, so not cleared with bss: stacks, first tables, their registers.
	.noinit (NOLOAD) : LOAD(.noinit) {
		__noinit_start = .;
		*(.noinit .noinit.*)
		. = ALIGN(PAGE);
		__noinit_end = .;
	} :data
	__data_end = .;
	__image_end = .;
	__image_size = __image_end - __image_start;

	.debug_info 0 : { *(.debug_info) }
	.debug_abbrev 0 : { *(.debug_abbrev) }
	.debug_line 0 : { *(.debug_line) }
	.debug_line_str 0 : { *(.debug_line_str) }
	.debug_str 0 : { *(.debug_str) }
	.debug_str_offsets 0 : { *(.debug_str_offsets) }
	.debug_addr 0 : { *(.debug_addr) }
	.debug_loclists 0 : { *(.debug_loclists) }
	.debug_loc 0 : { *(.debug_loc) }
	.debug_rnglists 0 : { *(.debug_rnglists) }
	.debug_ranges 0 : { *(.debug_ranges) }
	.debug_frame 0 : { *(.debug_frame) }
	.debug_aranges 0 : { *(.debug_aranges) }
	.comment 0 : { *(.comment) }
	.symtab 0 : { *(.symtab) }
	.strtab 0 : { *(.strtab) }
	.shstrtab 0 : { *(.shstrtab) }

	/DISCARD/ : {
		*(.eh_frame .eh_frame_hdr .ARM.exidx .note.* .gnu.* .interp .llvm_addrsig)
	}
}

ASSERT(_start == __image_start, "the Image header must be the first thing in the image")
ASSERT(SIZEOF(.head) <= PAGE, "the head is larger than the page that stays mapped 1:1")
ASSERT((HYP_VA_BASE & 0x1fffff) == 0, "HYP_VA_BASE must be 2 MiB aligned")
ASSERT((__text_end & 0xfff) == 0, "text must end on a page")
ASSERT((__rodata_end & 0xfff) == 0, "rodata must end on a page")
ASSERT((__image_end & 0xfff) == 0, "the image must end on a page")
ASSERT(__image_size <= 0x2000000, "image with bss is larger than 32 MiB")
