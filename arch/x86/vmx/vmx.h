// SPDX-License-Identifier: Apache-2.0
/* Between the files of arch/x86/vmx/. */
#ifndef VMX_VMX_H
#define VMX_VMX_H

#include <asm/virt.h>
#include <hyp/types.h>

struct vcpu;

/* What every VMCS of this machine shares; vmx.c fills it on the boot CPU. Constant afterwards. */
struct vmx_machine {
	uint32_t revision;
	uint32_t pin, proc, proc2, exit, entry;	/* constant part of the controls */
	uint32_t proc2_allowed;
	uint64_t cr0_forced, cr0_hidden;	/* in hardware: 1, 0, whatever the guest wrote */
	uint64_t cr4_forced;
	uint64_t cr0_owned, cr4_owned;		/* the guest's without an exit */
	uint32_t timer;				/* preemption timer, in its own ticks */
	uint64_t msr_bitmap;			/* physical */
	bool accessed_dirty;
};
extern struct vmx_machine vmx_machine;

/* Host state that differs between CPUs; the CPU itself writes it in vmx_cpu_init(). */
struct vmx_cpu {
	uint64_t cr0, cr3, cr4, efer, pat;
	uint64_t fs_base, gs_base, tr_base, gdt_base, idt_base;
};
const struct vmx_cpu *vmx_cpu(unsigned cpu);

/* ---- vcpu.c ---------------------------------------------------------------------------------- */
int vmx_vcpu_init(struct vcpu *v);
void vmx_vcpu_free(struct vcpu *v);
void vmx_load(struct vcpu *v);
void vmx_put(struct vcpu *v);
uint64_t vmx_read(struct vcpu *v, enum x86_reg r);
void vmx_write(struct vcpu *v, enum x86_reg r, uint64_t val);
void vmx_window(struct vcpu *v, unsigned what);
void vmx_flush(struct vcpu *v);

/* ---- exit.c, entry.S ------------------------------------------------------------------------- */
void vmx_run(struct vcpu *v);
bool vmx_skip(struct vcpu *v, unsigned len);

extern const char vmx_exit_point[];

/* ---- pml.c ----------------------------------------------------------------------------------- */
int vmx_pml_init(struct vcpu *v);
void vmx_pml_free(struct vcpu *v);
/* Empties the buffer into the log; every exit of a vCPU that has one. */
void vmx_pml_drain(struct vcpu *v);

#define PML_ENTRIES 512u

#endif
