// SPDX-License-Identifier: Apache-2.0
/*
 * The hypervisor's own address space (arch/arm64/mmu.c). Tables are built before the MMU is on and
 * extended by the boot CPU until the secondaries start; constant afterwards but for devices.
 */
#ifndef ASM_MMU_H
#define ASM_MMU_H

#include <hyp/types.h>

/* Boot, MMU off, by head.S only. NULL, or why this machine cannot run us. */
const char *mmu_early_tables(uint64_t image_pa, uint64_t fdt_pa);
/* What mmu_early_tables() mapped read-only for the device tree goes away. */
void mmu_drop_fdt(void);
/* The direct map of boot_info's RAM without the image; the stacks of all CPUs. */
void mmu_init(void);
/* Registers of a device, identity mapped. Returns false when there is no table page left. */
bool mmu_map_device(uint64_t base, uint64_t bytes);

uint64_t mmu_image_base(void);
uint64_t mmu_image_size(void);

#endif
