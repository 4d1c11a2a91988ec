// SPDX-License-Identifier: Apache-2.0
/* Stage-2 TLB state beyond the VMID: none, maintenance is broadcast. */
#ifndef ASM_STAGE2_H
#define ASM_STAGE2_H

struct arch_stage2 {
	char none;
};

#endif
