// SPDX-License-Identifier: Apache-2.0
/*
 * What the handlers of memory, dirty-tracking and window calls have in common: finding the target.
 * Handles are checked first, then ids, then arguments.
 */
#ifndef HYP_REQ_H
#define HYP_REQ_H

#include <hyp/hypercall.h>
#include <hyp/vm.h>

/* The counted target VM in arg[0]; the caller calls vm_put(). The manager has no slots and no log. */
static inline int must_check req_vm(struct hc_call *c, struct vm **out)
{
	struct vm *vm = vm_get(c->arg[0]);
	int err = 0;

	if (!vm) {
		return -TM_ENOENT;
	}
	if (vm->is_manager) {
		err = -TM_EACCES;
	} else if (__atomic_load_n(&vm->state, __ATOMIC_ACQUIRE) == TM_VM_STATE_DEAD) {
		err = -TM_EIO;
	}
	if (err) {
		vm_put(vm);
		return err;
	}
	*out = vm;
	return 0;
}

/* The vCPU in arg[1]. Its memory stays as long as the VM is referenced. */
static inline int must_check req_vcpu(struct hc_call *c, struct vm *vm, struct vcpu **out)
{
	if (c->arg[1] >= TM_MAX_VCPUS) {
		return -TM_EINVAL;
	}
	*out = __atomic_load_n(&vm->vcpu[index_nospec(c->arg[1], TM_MAX_VCPUS)], __ATOMIC_ACQUIRE);
	return *out ? 0 : -TM_ENOENT;
}

#endif
