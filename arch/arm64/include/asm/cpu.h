// SPDX-License-Identifier: Apache-2.0
/*
 * What arm64 code knows of the CPU it runs on beyond <arch/cpu.h>: features that all CPUs share,
 * the stage-2 registers, and the calls of bring-up. Set once at boot, read-only afterwards.
 */
#ifndef ASM_CPU_H
#define ASM_CPU_H

#include <hyp/types.h>

struct stage2;
struct pcpu;

struct cpu_features {
	uint64_t pfr0;		/* ID_AA64PFR0_EL1 of the boot CPU, ... */
	uint64_t mmfr0;
	uint64_t mmfr1;
	uint64_t dfr0;
	unsigned pa_bits;	/* that a table entry of ours can name: at most 48 */
	unsigned stage2_bits;	/* input size of every VM's stage 2 */
	bool vmid16;
	bool gicv3_regs;	/* ICC_/ICH_ system registers exist */
	unsigned dcache_line;	/* bytes, smallest of all levels */
	unsigned icache_line;
};

extern struct cpu_features cpu_features;
/* Boot CPU, before the tables are built; refuses a machine that we cannot use. */
void cpu_features_init(void);
/* Every CPU: EL2 registers that the assembly of reset left at a plain value. */
void cpu_el2_init(struct pcpu *c);

/* VTCR_EL2, the same for all VMs, is loaded by cpu_el2_init(); VTTBR_EL2 is per VM. */
uint64_t cpu_vtcr(void);
uint64_t cpu_vttbr(const struct stage2 *s2);

#endif
