// SPDX-License-Identifier: Apache-2.0
/*
 * Page-modification logging (Intel SDM volume 3, 29.3.6; R-120..R-122). The processor writes the
 * guest-physical address of each page that becomes dirty into a buffer of 512 entries, from index
 * 511 down; at 0xffff it exits before the store. A vCPU of a VM with this back end has a buffer for
 * life; its own CPU empties it at every exit, so nothing is in it that anybody could miss once the
 * vCPU is out of guest mode. The log is shared with nobody but that CPU.
 */
#include <abi/hypercall.h>
#include <hyp/dirty_hw.h>
#include <hyp/page_alloc.h>
#include <hyp/vm.h>

#include "insn.h"
#include "vmcs.h"
#include "vmx.h"

_Static_assert(PML_ENTRIES == DIRTY_HW_LOG_ENTRIES, "R-28: the ring keeps room for a full buffer");
_Static_assert(PML_ENTRIES * sizeof(uint64_t) == PAGE_SIZE, "a page");

#define PML_EMPTY (PML_ENTRIES - 1)

int vmx_pml_init(struct vcpu *v)
{
	if (v->vm->dirty.backend != TM_BACKEND_PML) {
		return 0;
	}
	v->arch.vmx.pml = page_alloc();
	return v->arch.vmx.pml ? 0 : -TM_ENOMEM;
}

void vmx_pml_free(struct vcpu *v)
{
	if (v->arch.vmx.pml) {
		page_free(v->arch.vmx.pml);
		v->arch.vmx.pml = NULL;
	}
}

void vmx_pml_drain(struct vcpu *v)
{
	/* 16 bits: the index of the next entry to be written, 0xffff behind the last one. */
	uint64_t index = vmread(VMCS_GUEST_PML_INDEX);
	unsigned first = index >= PML_ENTRIES ? 0 : (unsigned)index + 1;

	if (likely(index == PML_EMPTY)) {
		return;
	}
	/* The buffer may be written again only from the next entry on. */
	dirty_hw_logged(v, v->arch.vmx.pml + first, PML_ENTRIES - first);
	vmwrite(VMCS_GUEST_PML_INDEX, PML_EMPTY);
}
