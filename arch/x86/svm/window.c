// SPDX-License-Identifier: Apache-2.0
/*
 * When a guest can take an interrupt or an NMI. Interrupts: a virtual interrupt of the highest
 * priority is asserted and its delivery intercepted, so the exit comes when RFLAGS.IF and the shadow
 * allow. NMIs have no such help: hardware does not know that the guest is in its NMI handler, so
 * IRET is intercepted from the injection on. The intercept comes before the IRET; NMIs are open again
 * once RIP has left it, which any later exit shows, and if an NMI waits, a step over it by TF.
 * For the vCPU's owner only; no locks.
 */
#include <abi/x86.h>
#include <asm/guest.h>

#include "svm.h"

unsigned svm_blocking(struct vcpu *v)
{
	struct vmcb *b = vmcb_of(v);
	unsigned blocking = v->arch.svm.nmi_masked ? TM_BLOCK_NMI : 0;

	/* One bit for both kinds of shadow. STI sets IF, so with IF clear it is the other one. */
	if (b->interrupt_shadow & SHADOW_ACTIVE) {
		blocking |= b->rflags & RFLAGS_IF ? TM_BLOCK_STI : TM_BLOCK_MOV_SS;
	}
	return blocking;
}

void svm_nmi_mask(struct vcpu *v, bool masked)
{
	struct svm_vcpu *s = &v->arch.svm;
	struct vmcb *b = s->vmcb;

	s->nmi_masked = masked;
	s->in_iret = false;
	b->intercept_1 = masked ? b->intercept_1 | I1_IRET : b->intercept_1 & ~I1_IRET;
	b->clean &= ~CLEAN_INTERCEPTS;
}

void svm_set_blocking(struct vcpu *v, unsigned blocking)
{
	bool masked = blocking & TM_BLOCK_NMI;

	vmcb_of(v)->interrupt_shadow = blocking & (TM_BLOCK_STI | TM_BLOCK_MOV_SS) ? SHADOW_ACTIVE : 0;
	if (masked != v->arch.svm.nmi_masked) {
		svm_nmi_mask(v, masked);
	}
}

static void irq_window(struct vmcb *b, bool on)
{
	const uint32_t irq = V_IRQ | V_PRIO_MAX | V_IGN_TPR;

	if (on == !!(b->int_ctl & V_IRQ)) {
		return;
	}
	b->int_ctl = on ? b->int_ctl | irq : b->int_ctl & ~irq;
	b->intercept_1 = on ? b->intercept_1 | I1_VINTR : b->intercept_1 & ~I1_VINTR;
	b->clean &= ~(CLEAN_INTERCEPTS | CLEAN_TPR);
}

/* An exit behind the next instruction. */
static void step(struct vcpu *v)
{
	struct svm_vcpu *s = &v->arch.svm;

	if (s->stepping) {
		return;
	}
	s->stepping = true;
	s->own_tf = s->vmcb->rflags & RFLAGS_TF;
	s->nmi_rip = s->vmcb->rip;
	s->vmcb->rflags |= RFLAGS_TF;
	s->after |= AFTER_NMI;
}

void svm_window(struct vcpu *v, unsigned what)
{
	struct svm_vcpu *s = &v->arch.svm;

	irq_window(s->vmcb, what & WINDOW_IRQ);
	/* Inside the handler the intercepted IRET comes first; else only a shadow is in the way. */
	if ((what & WINDOW_NMI) && (!s->nmi_masked || s->in_iret)) {
		step(v);
	}
}

void svm_exit_iret(struct vcpu *v)
{
	struct svm_vcpu *s = &v->arch.svm;

	s->in_iret = true;
	s->nmi_rip = s->vmcb->rip;
	s->vmcb->intercept_1 &= ~I1_IRET;
	s->vmcb->clean &= ~CLEAN_INTERCEPTS;
	s->after |= AFTER_NMI;
}

/* Our TF goes again: from RFLAGS if the instruction has not replaced them. */
static bool step_done(struct svm_vcpu *s, bool moved)
{
	struct vmcb *b = s->vmcb;
	bool ours = (uint32_t)b->exitcode == SVM_EXCEPTION + VEC_DB && !s->own_tf &&
		    !(b->dr6 & ~(uint64_t)DR6_FIXED & ~(uint64_t)DR6_BS);

	s->stepping = false;
	if (!(s->in_iret && moved) && !s->own_tf) {
		b->rflags &= ~(uint64_t)RFLAGS_TF;
	}
	if ((uint32_t)b->exitcode == SVM_EXCEPTION + VEC_DB && !s->own_tf) {
		b->dr6 &= ~(uint64_t)DR6_BS;
	}
	return ours;
}

bool svm_nmi_progress(struct vcpu *v)
{
	struct svm_vcpu *s = &v->arch.svm;
	bool moved = s->vmcb->rip != s->nmi_rip;
	bool ours = s->stepping && step_done(s, moved);

	if (s->in_iret && (moved || ours)) {
		svm_nmi_mask(v, false);
	}
	if (!s->in_iret) {
		s->after &= (uint8_t)~AFTER_NMI;
	}
	return ours;
}
