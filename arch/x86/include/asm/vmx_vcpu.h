// SPDX-License-Identifier: Apache-2.0
/* VMX's part of a vCPU; only arch/x86/vmx/ looks inside. */
#ifndef ASM_VMX_VCPU_H
#define ASM_VMX_VCPU_H

#include <hyp/types.h>

#define VMX_REGS 60			/* XREG_COUNT */

struct vmx_vcpu {
	void *vmcs;
	uint64_t *pml;			/* 512 entries; NULL: not by PML */
	uint64_t host_rsp;		/* as in the VMCS */
	uint64_t eptp;
	uint32_t proc;			/* as in the VMCS: primary controls */
	uint32_t vpid;			/* as in the VMCS */
	uint16_t cpu;			/* + 1: where the VMCS is current; 0 = nowhere */
	uint16_t host_cpu;		/* + 1: whose host state stands in the VMCS */
	uint64_t if_entered;		/* RFLAGS.IF that the pin-based controls were made for */
	bool made;			/* the constant fields are in the VMCS */
	/* Put away: the guest state, by enum x86_reg, as the VMCS has it; `changed` is not there yet. */
	uint64_t changed;
	uint64_t regs[VMX_REGS];
};

#endif
