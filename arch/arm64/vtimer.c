// SPDX-License-Identifier: Apache-2.0
/*
 * The guest's generic timers. The virtual one is the CPU's own while the vCPU is loaded: its PPI
 * is taken by us, priority-dropped, and left active until the guest ends the virtual interrupt
 * (list register with HW = 1). While the vCPU is away a soft timer stands in. The physical one is
 * emulated. Registers belong to the vCPU's CPU; lines are set under the vgic lock.
 */
#include <arch/time.h>
#include <arch/vcpu.h>
#include <drivers/gic/gic.h>
#include <hyp/sched.h>
#include <hyp/vm.h>

#include "vgic/vgic.h"

#define CTL_ENABLE 1u
#define CTL_IMASK 2u
#define CTL_ISTATUS 4u

#define SYSREG_CNTP_TVAL TM_SYSREG(3, 3, 14, 2, 0)
#define SYSREG_CNTP_CTL TM_SYSREG(3, 3, 14, 2, 1)
#define SYSREG_CNTP_CVAL TM_SYSREG(3, 3, 14, 2, 2)

static bool fires(const struct vtimer *t)
{
	return (t->ctl & (CTL_ENABLE | CTL_IMASK)) == CTL_ENABLE;
}

static uint64_t vcount(const struct vcpu *v)
{
	return arch_time_now() - v->vm->arch.cntvoff;
}

bool vtimer_output(const struct vcpu *v)
{
	const struct vtimer *t = &v->arch.vtimer;

	if (v->arch.loaded) {
		return (SYS_READ(cntv_ctl_el0) & 7) == (CTL_ENABLE | CTL_ISTATUS);
	}
	return fires(t) && vcount(v) >= t->cval;
}

/* Virtual counter value -> arch_time_now() value; ~0: never in this life. */
static uint64_t deadline_of(const struct vcpu *v, uint64_t cval)
{
	uint64_t now = arch_time_now(), vnow = now - v->vm->arch.cntvoff;

	/* It may have come due since the caller looked: that is now, not a whole turn away. */
	if (vnow >= cval) {
		return now;
	}
	return cval - vnow > ~0ull - now ? ~0ull : now + (cval - vnow);
}

static void vtimer_soft(struct hyptimer *h)
{
	struct vcpu *v = container_of(h, struct vcpu, arch.vtimer.soft);

	/* It may have been loaded since; then the hardware does this. */
	spin_lock(&v->vm->arch.vgic_lock);
	if (!v->arch.loaded && vtimer_output(v)) {
		struct vgic_irq *q = vgic_irq(v->vm, v, VTIMER_INTID);

		q->flags |= TM_GIC_LINE;
		vgic_update(v->vm, v, q, VTIMER_INTID);
	}
	spin_unlock(&v->vm->arch.vgic_lock);
}

/* For a vCPU that is away: line and soft timer say what the registers say. */
static void vtimer_stand_in(struct vcpu *v)
{
	struct vtimer *t = &v->arch.vtimer;
	bool out = vtimer_output(v);

	(void)vgic_hw_level(v, VTIMER_INTID, out);
	if (fires(t) && !out && deadline_of(v, t->cval) != ~0ull) {
		hyptimer_arm(&t->soft, deadline_of(v, t->cval));
	} else {
		hyptimer_cancel(&t->soft);
	}
}

/*
 * A compare value that passes 2^64 on its way to the physical count is never due. Hardware knows;
 * QEMU before 8.1.4 takes it for one of the past, and its main loop serves that timer for ever with
 * all its locks held: the whole machine stops. So such a value stays here and the register gets the
 * last one that does not wrap, as far away. What a guest writes itself does not pass here: hence
 * the offset of 0 that VMs are born with. A restored VM has another one and could do it there.
 */
static uint64_t hw_cval(const struct vcpu *v, uint64_t cval)
{
	uint64_t off = v->vm->arch.cntvoff;

	/* An offset in the future is a negative one: then it is the wrapped sum that is right. */
	return off <= arch_time_now() && cval > ~0ull - off ? ~0ull - off : cval;
}

void vtimer_load(struct vcpu *v)
{
	struct vtimer *t = &v->arch.vtimer;
	bool out = fires(t) && vcount(v) >= t->cval;

	hyptimer_cancel(&t->soft);
	if (vgic_hw_level(v, VTIMER_INTID, out)) {
		gic_ppi_set_active(GIC_PPI_VIRT_TIMER, true);
	}
	SYS_WRITE(cntvoff_el2, v->vm->arch.cntvoff);
	t->hw_cval = hw_cval(v, t->cval);
	SYS_WRITE(cntv_cval_el0, t->hw_cval);
	ISB();
	SYS_WRITE(cntv_ctl_el0, t->ctl);
}

void vtimer_put(struct vcpu *v)
{
	struct vtimer *t = &v->arch.vtimer;
	const struct vgic_irq *q = &v->arch.vgic.priv[VTIMER_INTID];
	uint64_t cval = SYS_READ(cntv_cval_el0);

	t->ctl = (uint32_t)SYS_READ(cntv_ctl_el0) & (CTL_ENABLE | CTL_IMASK);
	if (cval != t->hw_cval) {
		t->cval = cval;
	}
	SYS_WRITE(cntv_ctl_el0, 0);
	ISB();
	if (READ_ONCE(q->flags) & (TM_GIC_LINE | TM_GIC_ACTIVE)) {
		gic_ppi_set_active(GIC_PPI_VIRT_TIMER, false);
	}
	v->arch.loaded = false;
	vtimer_stand_in(v);
}

enum irq_end vtimer_irq(uint32_t intid)
{
	struct vcpu *v = vcpu_current();

	(void)intid;
	if (!v || !v->arch.vgic.live) {
		return IRQ_DEACTIVATE;		/* fired in the last moment before the put */
	}
	vgic_hw_fired(v, VTIMER_INTID);
	return IRQ_LEAVE_ACTIVE;
}

/* --- the emulated physical timer --- */

static bool ptimer_due(const struct vcpu *v)
{
	const struct vtimer *t = &v->arch.ptimer;

	return (t->ctl & CTL_ENABLE) && arch_time_now() >= READ_ONCE(t->cval);
}

static void ptimer_update(struct vcpu *v)
{
	struct vtimer *t = &v->arch.ptimer;
	bool out = ptimer_due(v) && fires(t);

	vgic_set_ppi(v, PTIMER_INTID, out);
	if (fires(t) && !out) {
		hyptimer_arm(&t->soft, t->cval);
	} else {
		hyptimer_cancel(&t->soft);
	}
}

static void ptimer_soft(struct hyptimer *h)
{
	struct vcpu *v = container_of(h, struct vcpu, arch.ptimer.soft);

	if (ptimer_due(v) && fires(&v->arch.ptimer)) {
		vgic_set_ppi(v, PTIMER_INTID, true);
	}
}

bool ptimer_sysreg(struct vcpu *v, uint32_t id, bool write, unsigned reg)
{
	struct vtimer *t = &v->arch.ptimer;
	uint64_t val = reg_get(&v->arch, reg);

	switch (id) {
	case SYSREG_CNTP_CTL:
		if (!write) {
			reg_set(&v->arch, reg, t->ctl | (ptimer_due(v) ? CTL_ISTATUS : 0));
			return true;
		}
		t->ctl = (uint32_t)val & (CTL_ENABLE | CTL_IMASK);
		break;
	case SYSREG_CNTP_CVAL:
		if (!write) {
			reg_set(&v->arch, reg, t->cval);
			return true;
		}
		t->cval = val;
		break;
	case SYSREG_CNTP_TVAL:
		if (!write) {
			reg_set(&v->arch, reg, (uint32_t)(t->cval - arch_time_now()));
			return true;
		}
		t->cval = arch_time_now() + (uint64_t)(int64_t)(int32_t)val;
		break;
	default:
		return false;
	}
	ptimer_update(v);
	return true;
}

/* --- life and state --- */

void vtimer_init(struct vcpu *v)
{
	v->arch.vtimer.soft.fn = vtimer_soft;
	v->arch.ptimer.soft.fn = ptimer_soft;
}

/* Under v->lock, so without the vgic's; a vCPU that is off has neither timer running. */
void vtimer_reset(struct vcpu *v)
{
	v->arch.vtimer.ctl = 0;
	v->arch.vtimer.cval = 0;
	v->arch.ptimer.ctl = 0;
	v->arch.ptimer.cval = 0;
}

int arch_timer_state_get(struct vcpu *v, struct tm_timer_state *s)
{
	if (v->arch.loaded) {
		return -TM_EBUSY;
	}
	*s = (struct tm_timer_state){
		.cntvct = vcount(v),
		.cntv_cval = v->arch.vtimer.cval,
		.cntv_ctl = v->arch.vtimer.ctl,
		.cntp_cval = v->arch.ptimer.cval,
		.cntp_ctl = v->arch.ptimer.ctl,
	};
	return 0;
}

/* The others' soft timers stand for deadlines by the old offset: one that is early now would find
 * nothing due and be the last. Their WFI returns instead, and the load sees to the timer. */
static void move_count(struct vcpu *v, uint64_t cntvoff)
{
	struct vm *vm = v->vm;

	vm->arch.cntvoff = cntvoff;
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *other = vgic_vcpu(vm, i);

		if (other && other != v) {
			vcpu_irq_kick(other);
		}
	}
}

int arch_timer_state_set(struct vcpu *v, const struct tm_timer_state *s)
{
	struct arch_vcpu *a = &v->arch;

	if (a->loaded) {
		return -TM_EBUSY;
	}
	/* ISTATUS is computed, so it may be set in what a GET returned or in hand-made state. */
	if ((s->cntv_ctl | s->cntp_ctl) & ~(CTL_ENABLE | CTL_IMASK | CTL_ISTATUS)) {
		return -TM_EINVAL;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(s->rsvd); i++) {
		if (s->rsvd[i]) {
			return -TM_EINVAL;
		}
	}
	move_count(v, arch_time_now() - s->cntvct);
	a->vtimer.cval = s->cntv_cval;
	a->vtimer.ctl = s->cntv_ctl & (CTL_ENABLE | CTL_IMASK);
	a->ptimer.cval = s->cntp_cval;
	a->ptimer.ctl = s->cntp_ctl & (CTL_ENABLE | CTL_IMASK);
	vtimer_stand_in(v);
	ptimer_update(v);
	return 0;
}
