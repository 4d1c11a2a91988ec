// SPDX-License-Identifier: Apache-2.0
/*
 * Stage-2 TLB state: x86 has no broadcast, so a flush raises the generation, and every vCPU compares
 * its own with it before each entry (tlb.c).
 */
#ifndef ASM_STAGE2_H
#define ASM_STAGE2_H

#include <hyp/types.h>

struct arch_stage2 {
	uint64_t tlb_gen;	/* raised under the stage-2 lock, read by entries without it */
};

#endif
