// SPDX-License-Identifier: Apache-2.0
/*
 * How events reach a guest, and when it can take an interrupt or an NMI. Interrupts: a virtual
 * interrupt of the highest priority is asserted and its delivery intercepted, so the exit comes
 * when RFLAGS.IF and the shadow allow. NMIs have no such help: hardware does not know that the
 * guest is in its NMI handler, so IRET is intercepted from the injection on. The intercept comes
 * before the IRET; NMIs are open again once RIP has left it, which any later exit shows, and if an
 * NMI waits, a step over it.
 *
 * A step is one instruction with TF set and with exceptions intercepted, so that no frame on the
 * guest's stack shows that TF. It also ends a shadow that an exit has interrupted: QEMU's TCG saves
 * the shadow but does not load it at VMRUN, and an interrupt between STI and HLT would be slept
 * over. For the vCPU's owner only; no locks.
 */
#include <abi/x86.h>
#include <arch/cpu.h>
#include <asm/guest.h>
#include <hyp/sched.h>

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
	svm_changed(v, CLEAN_INTERCEPTS);
}

void svm_set_blocking(struct vcpu *v, unsigned blocking)
{
	bool shadow = blocking & (TM_BLOCK_STI | TM_BLOCK_MOV_SS);
	bool masked = blocking & TM_BLOCK_NMI;

	vmcb_of(v)->interrupt_shadow = shadow ? SHADOW_ACTIVE : 0;
	svm_changed(v, 0);
	if (masked != v->arch.svm.nmi_masked) {
		svm_nmi_mask(v, masked);
	}
}

static void irq_window(struct vcpu *v, bool on)
{
	struct vmcb *b = vmcb_of(v);
	const uint32_t irq = V_IRQ | V_PRIO_MAX | V_IGN_TPR;

	if (on == !!(b->int_ctl & V_IRQ)) {
		return;
	}
	b->int_ctl = on ? b->int_ctl | irq : b->int_ctl & ~irq;
	b->intercept_1 = on ? b->intercept_1 | I1_VINTR : b->intercept_1 & ~I1_VINTR;
	svm_changed(v, CLEAN_INTERCEPTS | CLEAN_TPR);
}

/* An exit behind the next instruction; before it, when that one faults. */
static void step(struct vcpu *v)
{
	struct svm_vcpu *s = &v->arch.svm;
	struct vmcb *b = s->vmcb;

	if (v->arch.event.valid) {
		/* Its frame would show TF. Come back when it has been delivered. */
		arch_cpu_kick(this_pcpu());
		return;
	}
	if (s->stepping) {
		return;
	}
	s->stepping = true;
	s->own_tf = b->rflags & RFLAGS_TF;
	s->nmi_rip = b->rip;
	s->after |= AFTER_NMI;
	b->rflags |= RFLAGS_TF;
	b->intercept_exc = SVM_STEP_EXCEPTIONS;
	svm_changed(v, CLEAN_INTERCEPTS);
}

void svm_window(struct vcpu *v, unsigned what)
{
	struct svm_vcpu *s = &v->arch.svm;
	struct vmcb *b = s->vmcb;
	bool shadow = (b->interrupt_shadow & SHADOW_ACTIVE) && (b->rflags & RFLAGS_IF);

	irq_window(v, (what & WINDOW_IRQ) && !shadow);
	if ((what & WINDOW_IRQ) && shadow) {
		step(v);
	}
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
	svm_changed(v, CLEAN_INTERCEPTS);
	s->after |= AFTER_NMI;
}

/*
 * Our TF goes again, but from the RFLAGS that IRET has loaded. True: the exit was for the step
 * alone. A guest that steps itself gets its #DB, and any breakpoint comes too.
 */
static bool step_done(struct vcpu *v, bool executed)
{
	struct svm_vcpu *s = &v->arch.svm;
	struct vmcb *b = s->vmcb;
	bool trap = (uint32_t)b->exitcode == SVM_EXCEPTION + VEC_DB;

	s->stepping = false;
	b->intercept_exc = SVM_EXCEPTIONS;
	svm_changed(v, CLEAN_INTERCEPTS);
	if (s->own_tf) {
		return false;
	}
	if (!(s->in_iret && executed)) {
		b->rflags &= ~(uint64_t)RFLAGS_TF;
	}
	if (!trap) {
		return false;
	}
	b->dr6 &= ~(uint64_t)DR6_BS;
	svm_changed(v, CLEAN_DR);
	return !(b->dr6 & DR6_WRITABLE);
}

bool svm_nmi_progress(struct vcpu *v)
{
	struct svm_vcpu *s = &v->arch.svm;
	struct vmcb *b = s->vmcb;
	bool executed = b->rip != s->nmi_rip || (uint32_t)b->exitcode == SVM_EXCEPTION + VEC_DB;
	bool ours = s->stepping && step_done(v, executed);

	if (s->in_iret && executed) {
		svm_nmi_mask(v, false);
	}
	if (!s->in_iret) {
		s->after &= (uint8_t)~AFTER_NMI;
	}
	return ours;
}

/* ---- events in and out ----------------------------------------------------------------------- */

/*
 * Events of software (INT n, INT3, INTO) are not injected: RIP is at the instruction, which runs
 * again and does the same. That needs no return address, which a CPU without NRIPS could not be
 * told.
 */
void svm_inject(struct vcpu *v)
{
	struct vmcb *b = vmcb_of(v);
	const struct x86_event *e = &v->arch.event;
	uint64_t info = EV_VALID | e->vector;

	switch (e->type) {
	case EVENT_EXT_INT:
		info |= EV_INTR << 8;
		break;
	case EVENT_NMI:
		info |= EV_NMI << 8;
		svm_nmi_mask(v, true);
		break;
	case EVENT_HW_EXCEPTION:
		info |= EV_EXCEPTION << 8;
		info |= e->has_error ? EV_HAS_ERROR | (uint64_t)e->error << 32 : 0;
		break;
	default:
		return;
	}
	b->eventinj = info;
}

/* The event whose delivery the exit interrupted. What an instruction raised, the instruction raises
 * again (see svm_inject). */
void svm_take_interrupted(struct vcpu *v)
{
	uint64_t info = vmcb_of(v)->exitintinfo;
	struct x86_event e = {.valid = true, .vector = (uint8_t)info};

	switch (EV_TYPE(info)) {
	case EV_INTR:
		e.type = EVENT_EXT_INT;
		break;
	case EV_NMI:
		e.type = EVENT_NMI;
		svm_nmi_mask(v, false);
		break;
	case EV_EXCEPTION:
		if (e.vector == VEC_BP || e.vector == VEC_OF) {
			return;
		}
		e.type = EVENT_HW_EXCEPTION;
		e.has_error = info & EV_HAS_ERROR;
		e.error = (uint32_t)(info >> 32);
		break;
	default:
		return;
	}
	v->arch.event = e;
}
