// SPDX-License-Identifier: Apache-2.0
//
// The architecture's part of hv.h lives in hv_<arch>.c: hv_state_get/set/equal, hv_arch,
// hv_cpu_features, hv_sync_code. And what the commands show of a vCPU and of time.

#ifndef MANAGER_HV_ARCH_H
#define MANAGER_HV_ARCH_H

#include <stdint.h>

// Prints where a stopped or paused vCPU stands, one line.
int hv_arch_show_vcpu(uint32_t vm, uint32_t id);

// Counter ticks as instructions, on the emulators that count them.
uint64_t hv_arch_insns(uint64_t ticks);

#endif
