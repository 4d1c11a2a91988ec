// SPDX-License-Identifier: Apache-2.0
/* Between the files of arch/x86/svm/. */
#ifndef SVM_SVM_H
#define SVM_SVM_H

#include <asm/decode.h>
#include <asm/exit.h>
#include <asm/virt.h>
#include <hyp/vcpu.h>

#include "vmcb.h"

/* CPUID 8000_000A EDX, of the boot CPU. */
extern struct svm_features {
	bool nrips;
	bool flush_by_asid;
	bool decode_assists;
	bool pause_filter;
} svm_features;

/* svm_vcpu.after: what svm_run() has to look at after the exit, because it is rare. */
#define AFTER_CHANGE 1u		/* before_entry() was there: event, clean bits */
#define AFTER_FLUSH 2u		/* TLB_CONTROL likewise */
#define AFTER_SHADOW 8u		/* entered in an interrupt shadow, at shadow_rip */
#define AFTER_NMI 4u		/* an IRET that ends an NMI, or a step, is under way */

/* #AC and #DB can recur for ever while they are delivered, no interrupt in between; #MC is ours. */
#define SVM_EXCEPTIONS (1u << 1 | 1u << 17 | 1u << 18)
/* While stepping: all but the NMI's number, and #BP and #OF, which are their instructions' own. */
#define SVM_STEP_EXCEPTIONS (~(1u << 2 | 1u << 3 | 1u << 4))

/* exit.c */
bool svm_skip(struct vcpu *v, unsigned len);
void svm_run(struct vcpu *v);

/* event.c */
/* v->arch.event into the VMCB, for the next entry. */
void svm_inject(struct vcpu *v);
/* The event whose delivery the last exit interrupted becomes v->arch.event. */
void svm_take_interrupted(struct vcpu *v);
void svm_window(struct vcpu *v, unsigned what);
unsigned svm_blocking(struct vcpu *v);		/* TM_BLOCK_* */
void svm_set_blocking(struct vcpu *v, unsigned blocking);
/* An NMI was injected; or is blocked, says whoever restores the vCPU. */
void svm_nmi_mask(struct vcpu *v, bool masked);
void svm_exit_iret(struct vcpu *v);
/* After each exit while AFTER_NMI. True: the exit is the #DB of our own step, and is dealt with. */
bool svm_nmi_progress(struct vcpu *v);

/* insn.c: the instruction at RIP of an exit that hardware tells nothing about. False: it cannot be
 * read (any more), or is another one; the guest runs it again. */
bool svm_insn_get(struct vcpu *v, struct x86_insn *in);
/* INS, OUTS: segment and address size. */
bool svm_insn_string(struct vcpu *v, struct exit_io *io);

static inline struct vmcb *vmcb_of(struct vcpu *v)
{
	return v->arch.svm.vmcb;
}

/* Whoever writes to a VMCB says so. bits: CLEAN_*, 0 where hardware keeps no copy. */
static inline void svm_changed(struct vcpu *v, uint32_t bits)
{
	v->arch.svm.vmcb->clean &= ~bits;
	v->arch.changed = true;
}

#endif
