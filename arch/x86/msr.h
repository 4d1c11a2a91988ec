// SPDX-License-Identifier: Apache-2.0
/* The MSRs that are part of a vCPU's state, for REGS_GET and REGS_SET (state.c). v is quiet. */
#ifndef X86_MSR_H
#define X86_MSR_H

#include <abi/x86.h>
#include <asm/vcpu.h>

struct vcpu;

/* Rows that are not 0; returns their number. */
unsigned msr_state_get(struct vcpu *v, struct tm_msr *out, unsigned max);
/* May this one be set to that? Nothing is changed. */
bool msr_state_ok(struct vcpu *v, uint32_t msr, uint64_t val);
/* All to 0, then one by one as checked. */
void msr_state_clear(struct vcpu *v);
void msr_state_set(struct vcpu *v, uint32_t msr, uint64_t val);

#endif
