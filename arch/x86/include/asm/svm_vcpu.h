// SPDX-License-Identifier: Apache-2.0
/* SVM's part of a vCPU; only arch/x86/svm/ looks inside. */
#ifndef ASM_SVM_VCPU_H
#define ASM_SVM_VCPU_H

#include <hyp/types.h>

struct vmcb;

struct svm_vcpu {
	struct vmcb *vmcb;
	uint64_t vmcb_pa;
	bool nmi_masked;		/* an NMI was delivered and its IRET has not been seen */
};

#endif
