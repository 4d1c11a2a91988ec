// SPDX-License-Identifier: Apache-2.0
/*
 * What lies in a guest's memory besides its image and ramdisk when it starts: one block, page
 * aligned, built by pure code (boot/<arch>/guest_start.c) that the hypervisor, the manager and host
 * tests link. Its address goes to arch_vcpu_reset() as `arg`.
 *   arm64: the device tree; x0 = block.
 *   x86:   see below; RSI = block (boot_params), RDI = block + GUEST_START_FDT, 64-bit mode with
 *          CR3 = block + GUEST_START_TABLES, GDT at block + GUEST_START_GDT.
 */
#ifndef TIDEMARK_BOOT_GUEST_START_H
#define TIDEMARK_BOOT_GUEST_START_H

#include <boot/guest_fdt.h>
#include <boot/image_load.h>
#include <stdint.h>

/* x86: offsets in the block. Page tables: PML4, PDPT, four PDs: the first 4 GiB, identity, 2 MiB. */
#define GUEST_START_PARAMS 0x0u		/* Linux' boot_params, or the Multiboot information */
#define GUEST_START_GDT 0x1000u		/* null, null, code64 (0x10), data (0x18), code32 (0x20) */
#define GUEST_START_TABLES 0x2000u
#define GUEST_START_CMDLINE 0x8000u
#define GUEST_START_ACPI 0x9000u	/* RSDP first */
#define GUEST_START_FDT 0x10000u
#define GUEST_START_X86_SIZE 0x20000u

/* x86: how the vCPU starts, in the low bits of `arg`. */
enum guest_start_mode {
	GUEST_START_64 = 0,		/* as above */
	GUEST_START_MULTIBOOT = 1,	/* 32-bit flat, paging off, EAX = 0x2badb002, EBX = block */
	GUEST_START_SIPI = 2,		/* real mode, CS base = entry, IP = 0 */
};
#define GUEST_START_MODE_MASK 7u

/* The machine that guests of this architecture have. */
const struct guest_board *guest_start_board(void);
/* Bytes to keep for the block. */
uint64_t guest_start_size(void);
/*
 * Where in [ram.base, + ram.size) the block goes for an image that occupies [low, high); ~0: no
 * room. arm64: the start of RAM, else its end. x86: below 640 KiB where there is RAM, else as arm64.
 */
uint64_t guest_start_place(struct guest_fdt_range ram, uint64_t low, uint64_t high);
/*
 * Writes the block as it will stand at `at`; buf has guest_start_size() bytes and is 8-byte aligned.
 * 0 or -1. *arg: what arch_vcpu_reset() gets. g->machine need not be set. The image's own header
 * (x86: setup_header) is read from `image`, which image_plan() has accepted.
 */
int guest_start_build(void *buf, uint64_t at, const struct guest_fdt *g,
		      const struct image_plan *plan, const void *image, uint64_t *arg);

#endif
