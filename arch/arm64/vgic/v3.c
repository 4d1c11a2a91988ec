// SPDX-License-Identifier: Apache-2.0
/*
 * GICv3 for guests: distributor and redistributors as IHI 0069 lays them out, one security state
 * (DS = 1), affinity routing always on, no LPIs; SGIs by ICC_SGI1R_EL1. Takes the VM's vgic lock.
 */
#include <boot/guest_fdt.h>
#include <hyp/sched.h>

#include "vgic.h"

#define GICD_CTLR 0x0000u
#define GICD_TYPER 0x0004u
#define GICD_IIDR 0x0008u
#define GICD_IROUTER 0x6000u
#define GIC_PIDR2 0xffe8u

#define TYPER_LINES (VGIC_IRQS / 32u - 1)
#define TYPER_IDBITS (9u << 19)		/* INTIDs have ten bits */
#define TYPER_NO1N (1u << 25)		/* IRM = 1 picks the first CPU */
#define IIDR_ARM 0x43bu
#define PIDR2_V3 0x3bu

#define GICR_IIDR 0x0004u
#define GICR_TYPER 0x0008u
#define GICR_WAKER 0x0014u
#define GICR_SGI_FRAME 0x10000u
#define GICR_TYPER_LAST (1ull << 4)
#define WAKER_SLEEP 2u
#define WAKER_CHILDREN 4u

#define IROUTER_IRM (1ull << 31)
#define IROUTER_MASK 0xff80ffffffull

/* Reads of 64-bit registers by halves, and the other way round. */
static uint64_t part(uint64_t val, const struct mmio_access *a, unsigned base)
{
	val >>= 8 * (a->offset - base);
	return a->len >= 8 ? val : val & ((1ull << (8 * a->len)) - 1);
}

static uint64_t merge(uint64_t old, const struct mmio_access *a, uint64_t base)
{
	unsigned shift = 8 * (unsigned)(a->offset - base);
	uint64_t mask = a->len >= 8 ? ~0ull : ((1ull << (8 * a->len)) - 1) << shift;

	return (old & ~mask) | ((a->data << shift) & mask);
}

static void irouter(struct vm *vm, struct mmio_access *a)
{
	unsigned intid = (unsigned)(a->offset - GICD_IROUTER) / 8;
	uint64_t base = GICD_IROUTER + 8ull * intid;
	struct vgic_irq *q;
	struct vcpu *to;

	if (intid < VGIC_PRIVATE || intid >= VGIC_IRQS || a->offset + a->len > base + 8) {
		return;
	}
	q = vgic_irq(vm, NULL, intid);
	if (!a->write) {
		a->data = part(q->route, a, (unsigned)base);
		return;
	}
	q->route = merge(q->route, a, base) & IROUTER_MASK;
	to = q->route & IROUTER_IRM ? vgic_vcpu(vm, 0) : vcpu_by_mpidr(vm, q->route);
	vgic_retarget(vm, q, intid, to ? to->id : VGIC_NO_TARGET);
}

static void dist_ctlr(struct vm *vm, struct mmio_access *a)
{
	uint32_t enables = GICD_CTLR_G0 | GICD_CTLR_G1;

	if (!a->write) {
		a->data = vm->arch.gicd_ctlr | GICD_CTLR_ARE | GICD_CTLR_DS;
	} else if ((a->data & enables) != vm->arch.gicd_ctlr) {
		vm->arch.gicd_ctlr = (uint32_t)a->data & enables;
		vgic_update_all(vm);
	}
}

void vgic_v3_dist(struct vcpu *v, void *dev, struct mmio_access *a)
{
	struct vm *vm = dev;

	/* Constants need no lock. */
	if (!a->write && a->offset == GICD_TYPER) {
		a->data = TYPER_LINES | TYPER_IDBITS | TYPER_NO1N;
		return;
	}
	spin_lock(&vm->arch.vgic_lock);
	if (a->offset == GICD_CTLR) {
		dist_ctlr(vm, a);
	} else if (a->offset >= GICD_IROUTER && a->offset < GICD_IROUTER + 8 * VGIC_IRQS) {
		irouter(vm, a);
	} else if (vgic_irq_regs(vm, v, a, VGIC_PRIVATE, VGIC_IRQS)) {
		/* done */
	} else if (!a->write && a->offset == GICD_IIDR) {
		a->data = IIDR_ARM;
	} else if (!a->write && a->offset == GIC_PIDR2) {
		a->data = PIDR2_V3;
	}
	spin_unlock(&vm->arch.vgic_lock);
}

static uint64_t redist_typer(const struct vm *vm, const struct vcpu *t)
{
	uint64_t aff = vcpu_mpidr(3, t->id);

	return aff << 32 | (uint64_t)t->id << 8 |
	       (t->id + 1u == vm->vcpus_max ? GICR_TYPER_LAST : 0);
}

static void redist_control(struct vm *vm, struct vcpu *t, struct mmio_access *a)
{
	struct vgic_cpu *c = &t->arch.vgic;

	if (a->offset >= GICR_TYPER && a->offset < GICR_TYPER + 8) {
		a->data = a->write ? 0 : part(redist_typer(vm, t), a, GICR_TYPER);
	} else if (a->offset == GICR_WAKER && a->write) {
		c->waker = (uint32_t)a->data & WAKER_SLEEP;
	} else if (a->offset == GICR_WAKER) {
		a->data = c->waker | (c->waker ? WAKER_CHILDREN : 0);
	} else if (!a->write && a->offset == GICR_IIDR) {
		a->data = IIDR_ARM;
	} else if (!a->write && a->offset == GIC_PIDR2) {
		a->data = PIDR2_V3;
	}
}

void vgic_v3_redist(struct vcpu *v, void *dev, struct mmio_access *a)
{
	struct vm *vm = dev;
	struct vcpu *t = vgic_vcpu(vm, (unsigned)(a->offset / GUEST_GICR_STRIDE));

	(void)v;
	a->offset %= GUEST_GICR_STRIDE;
	if (!t) {
		/* Not created yet: only the end of the list can be asked for. */
		return;
	}
	spin_lock(&vm->arch.vgic_lock);
	if (a->offset < GICR_SGI_FRAME) {
		redist_control(vm, t, a);
	} else {
		a->offset -= GICR_SGI_FRAME;
		(void)vgic_irq_regs(vm, t, a, 0, VGIC_PRIVATE);
	}
	spin_unlock(&vm->arch.vgic_lock);
}

static void sgi_to(struct vm *vm, struct vcpu *t, unsigned intid, bool group0_only)
{
	struct vgic_irq *q = &t->arch.vgic.priv[intid];

	if (group0_only && (q->flags & TM_GIC_GROUP1)) {
		return;
	}
	if (!(q->flags & TM_GIC_PENDING)) {
		q->flags |= TM_GIC_PENDING;
		vgic_raise(vm, t, q, intid);
	}
}

void vgic_v3_sgi(struct vcpu *v, uint64_t val, bool group0_only)
{
	struct vm *vm = v->vm;
	unsigned intid = (unsigned)(val >> 24) & 15;
	uint32_t list = val & 0xffff;
	uint64_t cluster = ((val >> 16) & 0xff) << 8 | ((val >> 32) & 0xff) << 16 |
			   ((val >> 48) & 0xff) << 32;

	spin_lock(&vm->arch.vgic_lock);
	if ((val >> 40) & 1) {
		/* IRM: everybody but the sender. */
		for (unsigned i = 0; i < vm->vcpus_max; i++) {
			struct vcpu *t = vgic_vcpu(vm, i);

			if (t && t != v) {
				sgi_to(vm, t, intid, group0_only);
			}
		}
	} else if (((val >> 44) & 15) == 0) {
		/* A range selector other than 0 names no CPU of ours. */
		for (; list; list &= list - 1) {
			struct vcpu *t =
				vcpu_by_mpidr(vm, cluster | (unsigned)__builtin_ctz(list));

			if (t) {
				sgi_to(vm, t, intid, group0_only);
			}
		}
	}
	spin_unlock(&vm->arch.vgic_lock);
}
