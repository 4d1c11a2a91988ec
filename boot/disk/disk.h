// SPDX-License-Identifier: Apache-2.0
/*
 * The bootable disk: where its parts lie. Written by tests/tools/x86disk.py, read by entry.S and
 * load.c. Sector 0 is the MBR, the loader follows, with this header inside; then image and archive,
 * each from a sector boundary on.
 */
#ifndef BOOT_DISK_H
#define BOOT_DISK_H

#define DISK_SECTOR 512
#define DISK_MBR_AT 0x7c00
#define DISK_LOADER_AT 0x7e00		/* right behind the MBR, on disk as in memory */
#define DISK_LOADER_SECTORS 24
#define DISK_MAGIC 0x6b73446d		/* "mDsk", at DISK_HEADER_OFFSET of the loader */
#define DISK_HEADER_OFFSET 4

/* Low memory: one transfer, then what Multiboot hands over. */
#define DISK_BUFFER 0x10000
#define DISK_BUFFER_SECTORS 127		/* what every BIOS takes in one call */
#define DISK_INFO_AT 0x20000

#define DISK_CODE32 0x08
#define DISK_DATA32 0x10
#define DISK_CODE16 0x18
#define DISK_DATA16 0x20

#ifndef __ASSEMBLER__

#include <stdint.h>

struct disk_header {
	uint32_t magic;
	uint32_t image_lba;
	uint32_t image_bytes;		/* copied to image_at */
	uint32_t image_at;
	uint32_t image_memory;		/* with .bss; a multiple of 4 KiB */
	uint32_t image_entry;		/* Multiboot: 32-bit, physical */
	uint32_t module_lba;
	uint32_t module_bytes;		/* 0: none */
	char cmdline[1024];		/* NUL-terminated */
};

/* Registers of a BIOS call; in low memory. Known to entry.S by offset. */
struct bios_regs {
	uint32_t eax, ebx, ecx, edx, esi, edi;
	uint16_t es;
	uint16_t flags;			/* on return */
};

/* An interrupt of the BIOS in real mode. */
void bios_call(uint32_t vector, struct bios_regs *r);
/* Multiboot's way in: magic in EAX, info in EBX. */
void enter_image(uint32_t entry, uint32_t magic, const void *info) __attribute__((noreturn));
void load_main(struct disk_header *h, uint32_t drive) __attribute__((noreturn));

#endif
#endif
