// SPDX-License-Identifier: Apache-2.0
/*
 * The 64-bit way into the x86 image, for a loader that is in long mode already (boot/efi). Read by
 * the loader and by boot/x86/{head.S,handoff.c}; constants for the assembler as well.
 *
 * tidemark.img is flat. Its first bytes are a struct boot_image_header. A loader
 *   1. takes `memory_bytes` of RAM at any 4 KiB boundary and copies the file to its start (what is
 *      behind the file need not be zeroed: that is .bss and scratch);
 *   2. fills a struct boot_handoff, outside that memory and outside the module;
 *   3. with interrupts off, in 64-bit mode, on page tables that map the image (writable, executable)
 *      and the handoff at their physical addresses, jumps to start + entry64 with RDI = the
 *      handoff's physical address. No stack is needed. GDT, IDT, other control registers: anything.
 *
 * Everything that a handoff points to is physical, may lie anywhere in memory, is only read, and
 * only until the hypervisor allocates for the first time; the module alone stays.
 */
#ifndef BOOT_X86_ENTRY_H
#define BOOT_X86_ENTRY_H

#define BOOT_IMAGE_MAGIC 0x3638786d74474d49	/* "IMGtmx86" */
#define BOOT_HANDOFF_MAGIC 0x7265766f646e6168	/* "handover" */

#define BOOT_IMAGE_ALIGN 4096
#define BOOT_HANDOFF_RANGES_MAX 4096u		/* more are a refusal */

/* Offsets for the assembler. */
#define BOOT_IMAGE_HEADER_SIZE 32

#ifndef __ASSEMBLER__

#include <stdint.h>

struct boot_image_header {
	uint64_t magic;			/* BOOT_IMAGE_MAGIC */
	uint64_t memory_bytes;		/* file, .bss and scratch; a multiple of 4 KiB */
	uint64_t entry64;		/* offset from the start of the image */
	uint64_t file_bytes;
};
_Static_assert(sizeof(struct boot_image_header) == BOOT_IMAGE_HEADER_SIZE, "head.S");

enum boot_range_kind {
	BOOT_RANGE_RAM = 1,		/* ours to use, the loader and its boot services included */
	BOOT_RANGE_RESERVED = 2,	/* never touched; wins where it overlaps RAM */
};

struct boot_range {
	uint64_t base;
	uint64_t size;
	uint64_t kind;			/* enum boot_range_kind; others are as RESERVED */
};

/*
 * What is not listed is neither RAM nor reserved: device space. Ranges may come in any order and
 * need no alignment. List the image's and the module's own memory as RAM.
 */
struct boot_handoff {
	uint64_t magic;			/* BOOT_HANDOFF_MAGIC */
	uint64_t image_base;		/* where the image was copied to */
	uint64_t ranges;		/* array of struct boot_range */
	uint64_t range_count;
	uint64_t module_base;		/* the cpio archive */
	uint64_t module_size;		/* 0: there is none (which ends in a refusal) */
	uint64_t cmdline;		/* ASCII, NUL-terminated; 0: none */
	uint64_t rsdp;			/* ACPI 2.0's or 1.0's; 0: unknown */
};

#endif
#endif
