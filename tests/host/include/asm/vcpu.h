// SPDX-License-Identifier: Apache-2.0
/* Host stand-in: the fake architecture's half of a vCPU (tests/host/fake_arch.c). */
#ifndef ASM_VCPU_H
#define ASM_VCPU_H

#include <hyp/types.h>

struct arch_vcpu {
	bool live, loaded, irq_pending;
	uint64_t pc, x0;
	uint64_t mmio_data;	/* of the last completed access */
	uint64_t mmio_completed;
	uint64_t aborts;	/* injected */
	uint64_t abort_gva;
};

#endif
