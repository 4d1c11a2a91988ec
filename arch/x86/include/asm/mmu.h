// SPDX-License-Identifier: Apache-2.0
/*
 * The hypervisor's own address space (arch/x86/mmu.c). Tables are built before the linked addresses
 * are right and extended by the boot CPU until the secondaries start; constant afterwards.
 */
#ifndef ASM_MMU_H
#define ASM_MMU_H

#include <hyp/types.h>

/* Boot, by head.S only, at the physical address. NULL, or why this machine cannot run us. */
const char *mmu_early_tables(uint64_t image_pa);
/* Physical address of the top table: CR3. */
extern uint64_t mmu_root;
/* Boot, before mmu_init(): memory that somebody left for us to read. NULL: it cannot be mapped. */
const void *mmu_window(uint64_t pa, uint64_t bytes);
/* Takes the window and the 1:1 page away; the direct map of boot_info's RAM without the image; the
 * stacks of all CPUs. */
void mmu_init(void);
/* Registers of a device, uncached. Their address, 0 when there is no table page left. */
uint64_t mmu_map_device(uint64_t pa, uint64_t bytes);

uint64_t mmu_image_base(void);
uint64_t mmu_image_size(void);

#endif
