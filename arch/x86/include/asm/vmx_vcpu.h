// SPDX-License-Identifier: Apache-2.0
/* VMX's part of a vCPU; only arch/x86/vmx/ looks inside. */
#ifndef ASM_VMX_VCPU_H
#define ASM_VMX_VCPU_H

#include <hyp/types.h>

struct vmx_vcpu {
	void *vmcs;
	uint64_t *pml;			/* 512 entries; NULL without PML */
	uint16_t cpu;			/* + 1: where the VMCS is active; 0 = nowhere */
	bool launched;
};

#endif
