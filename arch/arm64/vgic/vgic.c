// SPDX-License-Identifier: Apache-2.0
/*
 * The state machine of the virtual interrupt controller: which interrupt is held by which vCPU, and
 * which of them stand in its list registers. All under the VM's vgic lock. Nothing here touches
 * hardware but through lr.c, and only for the vCPU that is live on this CPU.
 *
 * An interrupt that moves into a list register takes its latch with it (VGIC_LATCHED), so an edge
 * that comes later is a new one. Levels are not latched: an end-of-interrupt of a level interrupt
 * without hardware behind it raises a maintenance interrupt, and the line is looked at again.
 */
#include <arch/vcpu.h>
#include <drivers/gic/gic.h>
#include <hyp/sched.h>

#include "vgic.h"

struct vcpu *vgic_vcpu(struct vm *vm, unsigned id)
{
	return id < TM_MAX_VCPUS ? __atomic_load_n(&vm->vcpu[id], __ATOMIC_ACQUIRE) : NULL;
}

struct vgic_irq *vgic_irq(struct vm *vm, struct vcpu *v, unsigned intid)
{
	if (intid < VGIC_PRIVATE) {
		return &v->arch.vgic.priv[intid];
	}
	return &vm->arch.spi[index_nospec(intid - VGIC_PRIVATE, VGIC_IRQS - VGIC_PRIVATE)];
}

bool vgic_is_sgi(unsigned intid)
{
	return intid < 16;
}

bool vgic_is_here(const struct vcpu *v)
{
	return v->arch.vgic.live && vcpu_current() == v;
}

bool vgic_irq_pending(const struct vgic_irq *q, unsigned intid)
{
	if (vgic_is_sgi(intid) && q->sources) {
		return true;
	}
	return q->flags & (q->flags & TM_GIC_EDGE ? TM_GIC_PENDING : TM_GIC_PENDING | TM_GIC_LINE);
}

static bool deliverable(const struct vm *vm, const struct vgic_irq *q, unsigned intid)
{
	uint32_t group = q->flags & TM_GIC_GROUP1 ? GICD_CTLR_G1 : GICD_CTLR_G0;

	return (q->flags & TM_GIC_ENABLED) && (vm->arch.gicd_ctlr & group) &&
	       vgic_irq_pending(q, intid);
}

/* --- candidates --- */

static void cand_add(struct vgic_cpu *c, unsigned intid)
{
	c->cand[intid / 32] |= 1u << (intid % 32);
	c->cand_words |= 1u << (intid / 32);
}

static void cand_remove(struct vgic_cpu *c, unsigned intid)
{
	c->cand[intid / 32] &= ~(1u << (intid % 32));
	if (!c->cand[intid / 32]) {
		c->cand_words &= ~(1u << (intid / 32));
	}
}

/* Lower is better. What is active comes before what is pending at the same priority. */
static unsigned rank_of(const struct vgic_irq *q)
{
	return q->priority * 2u + (q->flags & TM_GIC_ACTIVE ? 0 : 1);
}

/* The most urgent candidate; there is one. */
static unsigned cand_best(struct vcpu *v)
{
	const struct vgic_cpu *c = &v->arch.vgic;
	unsigned best = 0, best_rank = ~0u;

	for (uint32_t words = c->cand_words; words; words &= words - 1) {
		unsigned w = (unsigned)__builtin_ctz(words);

		for (uint32_t bits = c->cand[w]; bits; bits &= bits - 1) {
			unsigned intid = w * 32 + (unsigned)__builtin_ctz(bits);
			unsigned r = rank_of(vgic_irq(v->vm, v, intid));

			if (r < best_rank) {
				best_rank = r;
				best = intid;
			}
		}
	}
	return best;
}

static bool cand_any_active(struct vcpu *v)
{
	const struct vgic_cpu *c = &v->arch.vgic;

	for (uint32_t words = c->cand_words; words; words &= words - 1) {
		unsigned w = (unsigned)__builtin_ctz(words);

		for (uint32_t bits = c->cand[w]; bits; bits &= bits - 1) {
			unsigned intid = w * 32 + (unsigned)__builtin_ctz(bits);

			if (vgic_irq(v->vm, v, intid)->flags & TM_GIC_ACTIVE) {
				return true;
			}
		}
	}
	return false;
}

/* --- list registers --- */

static uint64_t lr_make(struct vgic_irq *q, unsigned intid)
{
	uint64_t lr = intid | (uint64_t)q->priority << LR_PRIORITY_SHIFT;
	bool active = q->flags & TM_GIC_ACTIVE;
	bool level = !(q->flags & TM_GIC_EDGE);

	lr |= q->flags & TM_GIC_GROUP1 ? LR_GROUP1 : 0;
	lr |= active ? LR_ACTIVE : 0;
	if (vgic_is_sgi(intid) && q->sources) {
		/* One sender at a time; the others follow when this one is done. */
		if (!active) {
			unsigned src = (unsigned)__builtin_ctz(q->sources);

			q->sources &= (uint8_t)~(1u << src);
			q->mask = (uint8_t)src;
			lr |= LR_PENDING;
		}
		lr |= (uint64_t)q->mask << LR_PINTID_SHIFT;
		return lr | (q->sources ? LR_EOI : 0);
	}
	if (vgic_is_sgi(intid) && active) {
		lr |= (uint64_t)q->mask << LR_PINTID_SHIFT;
	}
	if (level && active) {
		/* Pending again only after its end: the line is looked at then. */
	} else if (vgic_irq_pending(q, intid)) {
		lr |= LR_PENDING;
		if (q->flags & TM_GIC_PENDING) {
			q->flags = (uint8_t)((q->flags & ~TM_GIC_PENDING) | VGIC_LATCHED);
		}
	}
	if (q->hw) {
		return lr | LR_HW | (uint64_t)q->hw << LR_PINTID_SHIFT;
	}
	return lr | (level ? LR_EOI : 0);
}

static void lr_fill(struct vcpu *v, unsigned i, unsigned intid)
{
	struct vgic_cpu *c = &v->arch.vgic;
	struct vgic_irq *q = vgic_irq(v->vm, v, intid);

	cand_remove(c, intid);
	q->place = (uint8_t)(i + 1);
	q->holder = (uint8_t)v->id;
	c->used |= 1u << i;
	c->lr_irq[i] = (uint16_t)intid;
	lr_write(i, lr_make(q, intid));
}

/* Brings the interrupt back into memory and decides anew where it belongs; no filling. */
static void update_quietly(struct vm *vm, struct vcpu *v, struct vgic_irq *q, unsigned intid);

static void lr_fold(struct vcpu *v, unsigned i)
{
	struct vgic_cpu *c = &v->arch.vgic;
	unsigned intid = c->lr_irq[i];
	struct vgic_irq *q = vgic_irq(v->vm, v, intid);
	uint64_t lr = lr_read(i);

	/* One that is over still asks for maintenance while its EOI bit stands there. */
	if (lr & (LR_PENDING | LR_ACTIVE | LR_EOI)) {
		lr_write(i, 0);
	}
	c->used &= ~(1u << i);
	q->place = VGIC_NOWHERE;
	q->flags = (uint8_t)(lr & LR_ACTIVE ? q->flags | TM_GIC_ACTIVE : q->flags & ~TM_GIC_ACTIVE);
	if (lr & LR_PENDING) {
		if (q->flags & VGIC_LATCHED) {
			q->flags |= TM_GIC_PENDING;
		} else if (vgic_is_sgi(intid) && v->vm->arch.gic_version == 2) {
			q->sources |= (uint8_t)(1u << ((lr >> LR_PINTID_SHIFT) & 7));
		}
	} else if (q->hw && !(lr & LR_ACTIVE)) {
		/* Its end went to the physical interrupt, which fires again if need be. */
		q->flags &= (uint8_t)~TM_GIC_LINE;
	}
	q->flags &= (uint8_t)~VGIC_LATCHED;
	update_quietly(v->vm, v, q, intid);
}

void vgic_fold_all(struct vcpu *v)
{
	struct vgic_cpu *c = &v->arch.vgic;

	while (c->used) {
		lr_fold(v, (unsigned)__builtin_ctz(c->used));
	}
}

/* Those whose interrupt is over cost nothing to give back. -1: all are full. */
static int lr_free_one(struct vcpu *v)
{
	struct vgic_cpu *c = &v->arch.vgic;
	uint32_t all = (uint32_t)((1ull << lr_count()) - 1);
	uint32_t done;

	if (!(~c->used & all)) {
		done = c->used & lr_empty();
		while (done) {
			lr_fold(v, (unsigned)__builtin_ctz(done));
			done &= done - 1;
		}
	}
	return ~c->used & all ? __builtin_ctz(~c->used & all) : -1;
}

/* No list register is free for `intid`. The least urgent of those in them that is less urgent than
 * it, or -1: pending ones first, since an active one that leaves costs a trap at its end. */
static int lr_victim(struct vcpu *v, unsigned intid, bool *any_pending)
{
	unsigned want = rank_of(vgic_irq(v->vm, v, intid));
	int victim = -1, active_victim = -1;
	unsigned worst = want, active_worst = want;

	*any_pending = false;
	for (unsigned i = 0; i < lr_count(); i++) {
		unsigned r = rank_of(vgic_irq(v->vm, v, v->arch.vgic.lr_irq[i]));
		uint64_t lr = lr_read(i);

		if (lr & LR_ACTIVE) {
			if (r > active_worst) {
				active_worst = r;
				active_victim = (int)i;
			}
			continue;
		}
		*any_pending = true;
		if (r > worst) {
			worst = r;
			victim = (int)i;
		}
	}
	/* An active one gives way only when every list register holds an active one. */
	return victim >= 0 || *any_pending ? victim : active_victim;
}

void vgic_flush(struct vcpu *v)
{
	struct vgic_cpu *c = &v->arch.vgic;
	uint32_t hcr = VHCR_EN;

	while (c->cand_words) {
		unsigned intid = cand_best(v);
		int i = lr_free_one(v);

		if (i < 0) {
			bool any_pending;

			i = lr_victim(v, intid, &any_pending);
			if (i < 0) {
				/* Come back when what is pending there has been taken, or
				 * when the active ones are over. With one register alone
				 * UIE would always ask: the next exit has to do. */
				hcr |= any_pending ? VHCR_NPIE : lr_count() > 1 ? VHCR_UIE : 0;
				break;
			}
			lr_fold(v, (unsigned)i);
		}
		lr_fill(v, (unsigned)i, intid);
	}
	if (unlikely(c->cand_words) && cand_any_active(v)) {
		hcr |= VHCR_LRENPIE;
	}
	if (hcr != c->hcr) {
		c->hcr = hcr;
		lr_hcr_write(hcr);
	}
}

void vgic_sync(struct vcpu *v)
{
	vgic_fold_all(v);
	vgic_flush(v);
}

/* --- where an interrupt belongs --- */

static struct vcpu *where_to(struct vm *vm, struct vcpu *v, const struct vgic_irq *q,
			     unsigned intid)
{
	if (intid < VGIC_PRIVATE) {
		return v;
	}
	/* An active one stays with the vCPU that acknowledged it. */
	return vgic_vcpu(vm, q->flags & TM_GIC_ACTIVE ? q->holder : q->target);
}

/* Returns the vCPU that has a new candidate, or NULL. Not for one in a list register. */
static struct vcpu *settle(struct vm *vm, struct vcpu *v, struct vgic_irq *q, unsigned intid)
{
	struct vcpu *to = where_to(vm, v, q, intid);
	bool want = deliverable(vm, q, intid);

	if (q->place == VGIC_CANDIDATE) {
		struct vcpu *from = intid < VGIC_PRIVATE ? v : vgic_vcpu(vm, q->holder);

		if (from) {
			cand_remove(&from->arch.vgic, intid);
		}
		q->place = VGIC_NOWHERE;
	}
	if (!to || !(want || (q->flags & TM_GIC_ACTIVE))) {
		return NULL;
	}
	q->place = VGIC_CANDIDATE;
	q->holder = (uint8_t)to->id;
	cand_add(&to->arch.vgic, intid);
	return to;
}

static void update_quietly(struct vm *vm, struct vcpu *v, struct vgic_irq *q, unsigned intid)
{
	struct vcpu *to = settle(vm, v, q, intid);

	/* Folded here, but by now routed elsewhere. */
	if (to && to != v) {
		vcpu_irq_kick(to);
	}
}

void vgic_update(struct vm *vm, struct vcpu *v, struct vgic_irq *q, unsigned intid)
{
	bool in_lr = q->place != VGIC_NOWHERE && q->place != VGIC_CANDIDATE;
	struct vcpu *to;

	if (in_lr) {
		to = intid < VGIC_PRIVATE ? v : vgic_vcpu(vm, q->holder);
	} else {
		to = settle(vm, v, q, intid);
	}
	if (!to) {
		return;
	}
	if (!vgic_is_here(to)) {
		vcpu_irq_kick(to);
	} else if (in_lr) {
		vgic_sync(to);
	} else {
		vgic_flush(to);
	}
}

void vgic_update_all(struct vm *vm)
{
	for (unsigned i = VGIC_PRIVATE; i < VGIC_IRQS; i++) {
		vgic_update(vm, NULL, vgic_irq(vm, NULL, i), i);
	}
	for (unsigned c = 0; c < vm->vcpus_max; c++) {
		struct vcpu *v = vgic_vcpu(vm, c);

		for (unsigned i = 0; v && i < VGIC_PRIVATE; i++) {
			vgic_update(vm, v, vgic_irq(vm, v, i), i);
		}
	}
}

/*
 * The common cases without a detour through the candidates: its own list register is there still
 * and may be filled again, or there is a free one and nobody else waits. The vCPU is live here.
 */
static bool raise_here(struct vcpu *v, struct vgic_irq *q, unsigned intid)
{
	struct vgic_cpu *c = &v->arch.vgic;

	if (!deliverable(v->vm, q, intid)) {
		return false;
	}
	if (q->place == VGIC_NOWHERE) {
		uint32_t unused = ~c->used & (uint32_t)((1ull << lr_count()) - 1);

		if (!unused || c->cand_words || (q->flags & TM_GIC_ACTIVE)) {
			return false;
		}
		lr_fill(v, (unsigned)__builtin_ctz(unused), intid);
		return true;
	}
	if (q->place == VGIC_CANDIDATE || (lr_read(q->place - 1u) & (LR_PENDING | LR_ACTIVE))) {
		return false;
	}
	/* The last one is over. */
	q->flags &= (uint8_t)~(TM_GIC_ACTIVE | VGIC_LATCHED);
	lr_write(q->place - 1u, lr_make(q, intid));
	return true;
}

void vgic_raise(struct vm *vm, struct vcpu *v, struct vgic_irq *q, unsigned intid)
{
	unsigned id = q->place == VGIC_NOWHERE ? q->target : q->holder;
	struct vcpu *to = intid < VGIC_PRIVATE ? v : vgic_vcpu(vm, id);

	if (!to || !vgic_is_here(to) || !raise_here(to, q, intid)) {
		vgic_update(vm, v, q, intid);
	}
}

/* --- inputs --- */

static void set_line(struct vm *vm, struct vcpu *v, unsigned intid, bool level)
{
	struct vgic_irq *q = vgic_irq(vm, v, intid);
	bool was = q->flags & TM_GIC_LINE;

	if (level == was) {
		return;
	}
	q->flags = (uint8_t)(level ? q->flags | TM_GIC_LINE : q->flags & ~TM_GIC_LINE);
	if (q->flags & TM_GIC_EDGE) {
		if (!level) {
			return;
		}
		q->flags |= TM_GIC_PENDING;
	} else if (level && q->place != VGIC_NOWHERE) {
		return;		/* seen at its end */
	}
	vgic_update(vm, v, q, intid);
}

void vgic_set_ppi(struct vcpu *v, unsigned intid, bool level)
{
	spin_lock(&v->vm->arch.vgic_lock);
	set_line(v->vm, v, intid, level);
	spin_unlock(&v->vm->arch.vgic_lock);
}

bool vgic_recall(struct vm *vm, struct vcpu *v, struct vgic_irq *q, unsigned intid)
{
	struct vcpu *holder;

	if (q->place == VGIC_NOWHERE || q->place == VGIC_CANDIDATE) {
		return false;
	}
	holder = intid < VGIC_PRIVATE ? v : vgic_vcpu(vm, q->holder);
	if (!holder || !vgic_is_here(holder)) {
		return false;
	}
	lr_fold(holder, q->place - 1u);
	return true;
}

bool vgic_hw_level(struct vcpu *v, unsigned intid, bool level)
{
	struct vgic_irq *q = vgic_irq(v->vm, v, intid);
	bool physical;

	spin_lock(&v->vm->arch.vgic_lock);
	q->flags = (uint8_t)(level ? q->flags | TM_GIC_LINE : q->flags & ~TM_GIC_LINE);
	update_quietly(v->vm, v, q, intid);
	physical = q->flags & (TM_GIC_LINE | TM_GIC_ACTIVE);
	spin_unlock(&v->vm->arch.vgic_lock);
	return physical;
}

void vgic_hw_fired(struct vcpu *v, unsigned intid)
{
	struct vgic_irq *q = vgic_irq(v->vm, v, intid);

	spin_lock(&v->vm->arch.vgic_lock);
	q->flags |= TM_GIC_LINE;
	if (!raise_here(v, q, intid)) {
		/* Reading back the list register drops the line of the interrupt before. */
		(void)vgic_recall(v->vm, v, q, intid);
		q->flags |= TM_GIC_LINE;
		vgic_update(v->vm, v, q, intid);
	}
	spin_unlock(&v->vm->arch.vgic_lock);
}

int arch_irq_line(struct vm *vm, uint64_t line, bool level)
{
	if (line < VGIC_PRIVATE || line >= VGIC_IRQS) {
		return -TM_EINVAL;
	}
	spin_lock(&vm->arch.vgic_lock);
	set_line(vm, NULL, (unsigned)line, level);
	spin_unlock(&vm->arch.vgic_lock);
	return 0;
}

void vgic_pulse(struct vm *vm, unsigned intid)
{
	struct vgic_irq *q;

	if (intid < VGIC_PRIVATE || intid >= VGIC_IRQS) {
		return;
	}
	spin_lock(&vm->arch.vgic_lock);
	q = vgic_irq(vm, NULL, intid);
	if (!(q->flags & TM_GIC_PENDING)) {
		q->flags |= TM_GIC_PENDING;
		vgic_raise(vm, NULL, q, intid);
	}
	spin_unlock(&vm->arch.vgic_lock);
}

/* An edge SPI: the guest routes it, so there is nothing to bind and no vector to choose. */
int arch_doorbell_check(struct vm *vm, uint64_t vcpu, uint64_t vector)
{
	(void)vm, (void)vcpu;
	return vector ? -TM_EINVAL : 0;
}

uint64_t arch_doorbell_bind(struct vm *vm, uint64_t vcpu, uint64_t vector)
{
	(void)vm, (void)vcpu, (void)vector;
	return DOORBELL_INTID;
}

void arch_doorbell_ring(struct vm *vm)
{
	vgic_pulse(vm, DOORBELL_INTID);
}

uint64_t arch_cap_gic_version(void)
{
	return gic_version();
}

/* --- what the vCPU would see --- */

/* Would this one be signalled past the priority mask and the group enables of the interface? */
static bool passes(uint64_t vmcr, const struct vgic_irq *q)
{
	bool group = vmcr & (q->flags & TM_GIC_GROUP1 ? VMCR_G1 : VMCR_G0);

	return group && q->priority < VMCR_PMR(vmcr);
}

static bool pending_locked(struct vcpu *v)
{
	struct vgic_cpu *c = &v->arch.vgic;

	if (vgic_is_here(v)) {
		c->vmcr = lr_vmcr_read();
		for (uint32_t u = c->used; u; u &= u - 1) {
			unsigned i = (unsigned)__builtin_ctz(u);

			if ((lr_read(i) & (LR_PENDING | LR_ACTIVE)) == LR_PENDING &&
			    passes(c->vmcr, vgic_irq(v->vm, v, c->lr_irq[i]))) {
				return true;
			}
		}
	}
	for (uint32_t words = c->cand_words; words; words &= words - 1) {
		unsigned w = (unsigned)__builtin_ctz(words);

		for (uint32_t bits = c->cand[w]; bits; bits &= bits - 1) {
			unsigned intid = w * 32 + (unsigned)__builtin_ctz(bits);
			struct vgic_irq *q = vgic_irq(v->vm, v, intid);

			if (deliverable(v->vm, q, intid) && !(q->flags & TM_GIC_ACTIVE) &&
			    passes(c->vmcr, q)) {
				return true;
			}
		}
	}
	return false;
}

bool arch_vcpu_irq_pending(struct vcpu *v)
{
	bool pending;

	spin_lock(&v->vm->arch.vgic_lock);
	pending = pending_locked(v);
	if (!pending && vgic_is_here(v)) {
		/* The timer is due, but its physical interrupt has not been taken yet. */
		struct vgic_irq *q = vgic_irq(v->vm, v, VTIMER_INTID);

		pending = (q->flags & TM_GIC_ENABLED) && q->place == VGIC_NOWHERE &&
			  vtimer_output(v);
	}
	spin_unlock(&v->vm->arch.vgic_lock);
	return pending;
}

void arch_vcpu_irq_sync(struct vcpu *v)
{
	spin_lock(&v->vm->arch.vgic_lock);
	if (vgic_is_here(v)) {
		vgic_sync(v);
	}
	spin_unlock(&v->vm->arch.vgic_lock);
}

/* --- maintenance --- */

/* The guest ended an interrupt that stands in no list register: the most urgent active one. */
static void end_outside(struct vcpu *v)
{
	struct vgic_cpu *c = &v->arch.vgic;
	unsigned best = 0, best_prio = ~0u;

	for (uint32_t words = c->cand_words; words; words &= words - 1) {
		unsigned w = (unsigned)__builtin_ctz(words);

		for (uint32_t bits = c->cand[w]; bits; bits &= bits - 1) {
			unsigned intid = w * 32 + (unsigned)__builtin_ctz(bits);
			struct vgic_irq *q = vgic_irq(v->vm, v, intid);

			if ((q->flags & TM_GIC_ACTIVE) && q->priority < best_prio) {
				best_prio = q->priority;
				best = intid;
			}
		}
	}
	if (best_prio != ~0u) {
		struct vgic_irq *q = vgic_irq(v->vm, v, best);

		q->flags &= (uint8_t)~TM_GIC_ACTIVE;
		if (q->hw) {
			gic_deactivate(q->hw);
			q->flags &= (uint8_t)~TM_GIC_LINE;
		}
		update_quietly(v->vm, v, q, best);
	}
}

enum irq_end vgic_maintenance_irq(uint32_t intid)
{
	struct vcpu *v = vcpu_current();
	uint32_t ended;

	(void)intid;
	if (!v || !v->arch.vgic.live) {
		return IRQ_DEACTIVATE;
	}
	spin_lock(&v->vm->arch.vgic_lock);
	ended = VHCR_EOICOUNT(lr_hcr_read());
	if (ended) {
		/* Writing the register again, which vgic_flush() does, sets the count to 0. */
		v->arch.vgic.hcr = 0;
	}
	vgic_fold_all(v);
	while (ended--) {
		end_outside(v);
	}
	vgic_flush(v);
	spin_unlock(&v->vm->arch.vgic_lock);
	return IRQ_DEACTIVATE;
}
