// SPDX-License-Identifier: Apache-2.0
//
// What the manager does when a vCPU stops: full rings are drained into the dirty sets and the vCPU
// goes on; everything else is printed and kept for the user.

#ifndef MANAGER_EVENTS_H
#define MANAGER_EVENTS_H

#include <tidemark/vmm.h>

// For vmm_poll and vmm_wait.
void events_handle(struct vmm_vm *vm, uint32_t id, struct vmm_vcpu *vcpu, void *arg);
// Collects for the VMs whose rings asked for it. Called where no collection is under way.
void events_collect(void);
// Runs the vCPUs of the VM that only a full ring stopped.
int events_run_full_rings(struct vmm_vm *vm);
// Something was printed since the last call: a prompt above it has to be drawn again.
bool events_printed(void);

#endif
