// SPDX-License-Identifier: Apache-2.0
/* SVM's part of a vCPU; only arch/x86/svm/ looks inside. */
#ifndef ASM_SVM_VCPU_H
#define ASM_SVM_VCPU_H

#include <hyp/types.h>

struct vmcb;

/* The length of an instruction that was decoded once; for CPUs that do not tell. */
struct svm_len {
	uint64_t linear, cr3;
	uint16_t exitcode;
	uint8_t len;
};
#define SVM_LENS 8u			/* by linear address */

struct svm_vcpu {
	struct vmcb *vmcb;
	uint64_t vmcb_pa;
	uint64_t host_pa;		/* while loaded: this CPU's own VMLOAD state */
	uint8_t after;			/* AFTER_* of svm/svm.h */
	bool nmi_masked;		/* an NMI was delivered and its IRET is not done */
	bool in_iret;			/* that IRET is next, at nmi_rip */
	bool stepping;			/* TF is ours, for the instruction at nmi_rip */
	bool own_tf;			/* the guest's TF while stepping */
	uint64_t nmi_rip;
	uint64_t shadow_rip;		/* where it was entered in a shadow */
	struct svm_len len[SVM_LENS];
};

#endif
