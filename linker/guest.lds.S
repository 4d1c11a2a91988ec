// SPDX-License-Identifier: Apache-2.0
//
// Layout of a guest program: static PIE linked at 0 behind the 64-byte Image header of
// guests/lib/<arch>/start.S, which applies __rela_start..__rela_end (RELATIVE only) before it
// runs C. Loaded at any 2 MiB boundary; header.image_size = __image_size
// reserves bss and the heap's first page.
//
// One read-write-execute segment on purpose: a guest sets up its own tables, or none.

ENTRY(_start)

PHDRS
{
	all PT_LOAD FLAGS(7);
	dynamic PT_DYNAMIC FLAGS(4);
}

SECTIONS
{
	. = 0;
	__guest_start = .;

	.head : { KEEP(*(.head .head.*)) } :all
	.text : {
		. = ALIGN(2048);
		*(.text.vectors)
		*(.text .text.*)
	} :all
	.rodata : { *(.rodata .rodata.*) } :all

	.rela.dyn : {
		__rela_start = .;
		*(.rela .rela.*)
		__rela_end = .;
	} :all
	.dynsym : { *(.dynsym) } :all
	.dynstr : { *(.dynstr) } :all
	.hash : { *(.hash .gnu.hash) } :all
	.dynamic : { *(.dynamic) } :all :dynamic

	.data : ALIGN(16) {
		*(.data .data.*)
		*(.got .got.plt)
		. = ALIGN(16);
	} :all
	__data_end = .;

	.bss (NOLOAD) : ALIGN(16) {
		__bss_start = .;
		*(.bss .bss.*)
		*(COMMON)
		. = ALIGN(4096);
		__bss_end = .;
	} :all
	_end = .;
	__image_size = _end - __guest_start;

	/DISCARD/ : { *(.eh_frame .eh_frame_hdr .note.* .gnu.version* .interp .comment .llvm_addrsig) }
}

ASSERT(_start == 0, "the Image header must be the first thing in the image")
