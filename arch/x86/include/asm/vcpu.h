// SPDX-License-Identifier: Apache-2.0
/*
 * The x86 half of a vCPU. General registers but RSP are in gpr[] at every exit; RSP, RIP, RFLAGS,
 * control registers and segments live in the VMCS or VMCB and are reached by virt->read/write
 * (virt.h). While `loaded` is set, FPU state, debug registers and the switched MSRs are in hardware.
 */
#ifndef ASM_VCPU_H
#define ASM_VCPU_H

/* Offsets for vmx/entry.S and svm/entry.S: struct arch_vcpu is the first member of struct vcpu. */
#define VCPU_GPR 0

#ifndef __ASSEMBLER__

#include <hyp/hyptimer.h>
#include <hyp/types.h>

/* Hardware's numbering (ModRM, exit qualifications). */
enum gpr_index {
	GPR_RAX, GPR_RCX, GPR_RDX, GPR_RBX, GPR_RSP, GPR_RBP, GPR_RSI, GPR_RDI,
	GPR_R8, GPR_R9, GPR_R10, GPR_R11, GPR_R12, GPR_R13, GPR_R14, GPR_R15
};

/* Event types as in the VM-entry interruption information (SDM volume 3, 25.8.3); SVM's differ in
 * nothing but the software types, which svm/ translates. */
enum event_type {
	EVENT_EXT_INT = 0, EVENT_NMI = 2, EVENT_HW_EXCEPTION = 3, EVENT_SW_INT = 4,
	EVENT_PRIV_SW_EXCEPTION = 5, EVENT_SW_EXCEPTION = 6
};

/* What the next entry delivers. */
struct x86_event {
	bool valid;
	uint8_t type;		/* enum event_type */
	uint8_t vector;
	bool has_error;
	uint8_t insn_len;	/* software types only */
	uint32_t error;
};

/* MSRs that are the guest's own while it is loaded: in hardware then; else in msr[], or where the
 * vendor keeps those that it switches (virt->hw_msrs). */
enum switched_msr {
	SMSR_STAR, SMSR_LSTAR, SMSR_CSTAR, SMSR_SFMASK, SMSR_KERNEL_GS_BASE, SMSR_TSC_AUX,
	SMSR_SYSENTER_CS, SMSR_SYSENTER_ESP, SMSR_SYSENTER_EIP, SMSR_PAT, SMSR_COUNT
};

/* The local APIC: lapic.c owns every field; guarded by `lock`, but irr by atomics as said there. */
#include <asm/lapic.h>

#include <asm/vmx_vcpu.h>
#include <asm/svm_vcpu.h>

struct arch_vcpu {
	uint64_t gpr[16];		/* [GPR_RSP] is stale: vcpu_gpr() */
	uint64_t cr2;			/* at every exit and before every entry */
	bool loaded;

	struct x86_event event;		/* for the next entry */
	union {
		struct {
			uint8_t window;		/* enum virt_window that was asked for */
			uint8_t nmi_pending;	/* 0..2, atomic: set from any CPU */
			bool halted;		/* in HLT: enters again only with an interrupt */
			bool pdptes_stale;	/* PAE: to be read from memory before the entry */
			bool mmio_write_back;	/* the second half of a read-modify-write is due */
			bool new_tag;		/* its translations are to be forgotten (guest_flush()) */
			bool changed;		/* svm/: more of the VMCB than before each entry */
		};
		uint64_t before_entry;		/* any of them: not the short way (asm/enter.h) */
	};
	bool init_pending;		/* atomic: INIT from another vCPU, served by arch_vcpu_irq_sync() */
	uint16_t sipi;			/* atomic: 0x100 | vector that came before INIT was served */
	bool dead_halt;			/* ... with IF = 0: NMI and INIT only; read by other vCPUs */
	struct x86_event again;		/* an interrupt whose delivery was overtaken by an exception */

	uint64_t cr0_shown, cr4_shown;	/* for vmx/: what the guest reads */
	uint64_t xcr0;
	uint64_t dr[4], dr6;		/* DR7 is in VMCS/VMCB */
	bool debug_live;		/* its DR0-3 are in hardware */
	uint64_t msr[SMSR_COUNT];
	uint64_t misc_enable, mtrr_def, spec_ctrl;
	uint64_t mtrr_fixed[11], mtrr_var[16];
	uint64_t tsc_offset;		/* guest TSC = TSC + offset */
	uint64_t tsc_adjust;

	/* TLB tag: VPID or ASID of this vCPU on CPU asid_cpu, valid for that CPU's asid generation. */
	uint32_t asid;
	uint64_t asid_gen;
	uint16_t asid_cpu;		/* + 1; 0: none yet */
	uint64_t tlb_gen;		/* of its stage 2, last flushed on that CPU (struct arch_stage2) */

	/* the MMIO that went to the manager, decoded once (emulate.c) */
	uint64_t mmio_insn[8];

	struct lapic lapic;
	uint8_t *xsave;			/* a page: XSAVE area of the guest */
	union {
		struct vmx_vcpu vmx;
		struct svm_vcpu svm;
	};
};

_Static_assert(offsetof(struct arch_vcpu, gpr) == VCPU_GPR, "entry.S");

#endif
#endif
