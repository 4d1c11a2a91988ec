// SPDX-License-Identifier: Apache-2.0
/* TLB maintenance beyond <arch/tlb.h>. */
#ifndef ASM_TLB_H
#define ASM_TLB_H

/* This CPU, the VMID that is loaded: another vCPU of the VM ran here before. */
void arm64_tlb_flush_vmid_local(void);
/* The hypervisor's own stage 1, all CPUs. */
void tlb_flush_hyp(void);

#endif
