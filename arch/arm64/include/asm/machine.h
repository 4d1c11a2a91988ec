// SPDX-License-Identifier: Apache-2.0
/* What the device tree says about this arm64 machine beyond boot_info; filled once at boot. */
#ifndef ASM_MACHINE_H
#define ASM_MACHINE_H

#include <hyp/boot_info.h>

#define MACHINE_GICR_MAX 4

struct machine {
	unsigned gic_version;			/* 0: none found */
	struct mem_range gicd;
	struct mem_range gicr[MACHINE_GICR_MAX];	/* GICv3 redistributor regions */
	unsigned gicr_count;
	struct mem_range gicc, gich, gicv;	/* GICv2 */
	uint32_t gic_maintenance;		/* INTIDs */
	uint32_t timer_hyp;
	uint32_t timer_virt;
	bool psci;				/* by SMC */
	uint64_t rng_seed;			/* 0: none given */
};

extern struct machine machine;

#endif
