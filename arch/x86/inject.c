// SPDX-License-Identifier: Apache-2.0
/*
 * What the next entry delivers: exceptions that handlers raise, an event whose delivery was cut short
 * by an exit, NMIs and interrupts of the board. Runs on the vCPU's CPU, no lock held.
 *
 * v->arch.event is the one slot of an entry. After an exit it holds an interrupted event, if any; an
 * exception raised now meets it as on hardware: double fault, triple fault, or the newer one first.
 */
#include <asm/board.h>
#include <asm/guest.h>
#include <hyp/vcpu.h>

enum severity { BENIGN, CONTRIBUTORY, PAGE_FAULT };

/* SDM volume 3, table 6-4. */
static enum severity severity(unsigned vector)
{
	switch (vector) {
	case VEC_DE:
	case VEC_TS:
	case VEC_NP:
	case VEC_SS:
	case VEC_GP:
		return CONTRIBUTORY;
	case VEC_PF:
		return PAGE_FAULT;
	default:
		return BENIGN;
	}
}

/* SDM volume 3, table 6-5. */
static bool makes_double_fault(unsigned first, unsigned second)
{
	enum severity a = severity(first), b = severity(second);

	return (a == CONTRIBUTORY && b == CONTRIBUTORY) || (a == PAGE_FAULT && b != BENIGN);
}

/* Faults push RF, so that an instruction breakpoint does not hit twice (SDM volume 3, 18.3.1.1). */
static bool is_fault(unsigned vector)
{
	return vector != VEC_DB && vector != VEC_BP && vector != VEC_OF && vector != VEC_DF &&
	       vector != VEC_MC;
}

void inject_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	struct x86_event *e = &v->arch.event;

	if (e->valid && e->type == EVENT_HW_EXCEPTION) {
		if (e->vector == VEC_DF && severity(vector) != BENIGN) {
			e->valid = false;
			exit_triple_fault(v);
			return;
		}
		if (makes_double_fault(e->vector, vector)) {
			vector = VEC_DF;
			has_error = true;
			error = 0;
		}
	} else if (e->valid && (e->type == EVENT_EXT_INT || e->type == EVENT_NMI)) {
		v->arch.again = *e;	/* it has been acknowledged, so it must come */
	}
	if (is_fault(vector)) {
		virt->write(v, XREG_RFLAGS, virt->read(v, XREG_RFLAGS) | RFLAGS_RF);
	}
	*e = (struct x86_event){
		.valid = true,
		.type = EVENT_HW_EXCEPTION,
		.vector = (uint8_t)vector,
		/* real mode pushes none */
		.has_error = has_error && (virt->read(v, XREG_CR0) & CR0_PE),
		.error = error,
	};
}

void inject_gp(struct vcpu *v)
{
	inject_exception(v, VEC_GP, true, 0);
}

void inject_ud(struct vcpu *v)
{
	inject_exception(v, VEC_UD, false, 0);
}

void inject_pf(struct vcpu *v, uint64_t gva, uint32_t error)
{
	v->arch.cr2 = gva;
	inject_exception(v, VEC_PF, true, error);
}

static bool can_take_nmi(uint64_t blocking)
{
	return !(blocking & (TM_BLOCK_NMI | TM_BLOCK_MOV_SS | TM_BLOCK_STI));
}

static bool can_take_interrupt(struct vcpu *v, uint64_t blocking)
{
	return !(blocking & (TM_BLOCK_MOV_SS | TM_BLOCK_STI)) &&
	       (virt->read(v, XREG_RFLAGS) & RFLAGS_IF);
}

static bool take_again(struct vcpu *v, uint64_t blocking)
{
	struct arch_vcpu *a = &v->arch;

	if (!a->again.valid ||
	    !(a->again.type == EVENT_NMI ? can_take_nmi(blocking) : can_take_interrupt(v, blocking))) {
		return false;
	}
	a->event = a->again;
	a->again.valid = false;
	return true;
}

static bool take_nmi(struct vcpu *v, uint64_t blocking)
{
	struct arch_vcpu *a = &v->arch;

	if (!__atomic_load_n(&a->nmi_pending, __ATOMIC_ACQUIRE) || !can_take_nmi(blocking)) {
		return false;
	}
	__atomic_fetch_sub(&a->nmi_pending, 1, __ATOMIC_RELAXED);
	a->event = (struct x86_event){.valid = true, .type = EVENT_NMI, .vector = VEC_NMI};
	return true;
}

static bool take_interrupt(struct vcpu *v, uint64_t blocking)
{
	int vector;

	if (!can_take_interrupt(v, blocking)) {
		return false;
	}
	vector = board_irq_accept(v);
	if (vector < 0) {
		return false;
	}
	v->arch.event = (struct x86_event){
		.valid = true, .type = EVENT_EXT_INT, .vector = (uint8_t)vector,
	};
	return true;
}

/* Something waits that this entry does not deliver. */
static __attribute__((noinline)) unsigned choose(struct vcpu *v)
{
	uint64_t blocking = virt->read(v, XREG_BLOCKING);
	struct arch_vcpu *a = &v->arch;
	unsigned window = WINDOW_NONE;

	if (!a->event.valid && !take_again(v, blocking) && !take_nmi(v, blocking)) {
		(void)take_interrupt(v, blocking);
	}
	if (__atomic_load_n(&a->nmi_pending, __ATOMIC_RELAXED) ||
	    (a->again.valid && a->again.type == EVENT_NMI)) {
		window |= WINDOW_NMI;
	}
	if ((a->again.valid && a->again.type == EVENT_EXT_INT) || board_irq_pending(v) >= 0) {
		window |= WINDOW_IRQ;
	}
	return window;
}

void inject_prepare(struct vcpu *v)
{
	struct arch_vcpu *a = &v->arch;
	unsigned window = WINDOW_NONE;

	if (unlikely(a->again.valid || __atomic_load_n(&a->nmi_pending, __ATOMIC_RELAXED) ||
		     board_irq_pending(v) >= 0)) {
		window = choose(v);
	}
	/* Asked for again as long as it is wanted: SVM's is used up by an entry. */
	if (window | a->window) {
		a->window = (uint8_t)window;
		virt->window(v, window);
	}
}
