// SPDX-License-Identifier: Apache-2.0
/*
 * Distributor registers that hold one field per interrupt; GICv2's and GICv3's distributor and the
 * redistributor's SGI frame lay them out alike. Any access size works: the offset and length say
 * which interrupts are meant. Called with the VM's vgic lock held.
 */
#include <drivers/gic/gic.h>

#include "vgic.h"

/* One field of one interrupt. A read returns it; a write changes it and says if anything did. */
struct field {
	uint32_t start, end;		/* register offsets */
	unsigned bits;			/* per interrupt */
	uint32_t (*read)(const struct vgic_irq *q, unsigned intid);
	bool (*write)(struct vgic_irq *q, unsigned intid, uint32_t val);
};

static bool set_flag(struct vgic_irq *q, uint8_t flag, bool on)
{
	uint8_t was = q->flags;

	q->flags = (uint8_t)(on ? was | flag : was & ~flag);
	return q->flags != was;
}

static uint32_t group_read(const struct vgic_irq *q, unsigned intid)
{
	(void)intid;
	return !!(q->flags & TM_GIC_GROUP1);
}

static bool group_write(struct vgic_irq *q, unsigned intid, uint32_t val)
{
	(void)intid;
	return set_flag(q, TM_GIC_GROUP1, val);
}

static uint32_t enable_read(const struct vgic_irq *q, unsigned intid)
{
	(void)intid;
	return !!(q->flags & TM_GIC_ENABLED);
}

static bool enable_set(struct vgic_irq *q, unsigned intid, uint32_t val)
{
	(void)intid;
	return val && set_flag(q, TM_GIC_ENABLED, true);
}

static bool enable_clear(struct vgic_irq *q, unsigned intid, uint32_t val)
{
	(void)intid;
	return val && set_flag(q, TM_GIC_ENABLED, false);
}

static uint32_t pending_read(const struct vgic_irq *q, unsigned intid)
{
	return vgic_irq_pending(q, intid);
}

static bool pending_set(struct vgic_irq *q, unsigned intid, uint32_t val)
{
	/* GICv2's SGIs have SPENDSGIR instead; their `sources` would stay empty here. */
	(void)intid;
	return val && set_flag(q, TM_GIC_PENDING, true);
}

static bool pending_clear(struct vgic_irq *q, unsigned intid, uint32_t val)
{
	bool was;

	(void)intid;
	if (!val) {
		return false;
	}
	was = q->flags & VGIC_LATCHED;
	/* A latch that has gone into a list register is forgotten too. */
	q->flags &= (uint8_t)~VGIC_LATCHED;
	return set_flag(q, TM_GIC_PENDING, false) || was;
}

static uint32_t active_read(const struct vgic_irq *q, unsigned intid)
{
	(void)intid;
	return !!(q->flags & TM_GIC_ACTIVE);
}

static bool active_set(struct vgic_irq *q, unsigned intid, uint32_t val)
{
	if (!val || (q->flags & TM_GIC_ACTIVE)) {
		return false;
	}
	if (intid >= VGIC_PRIVATE) {
		if (q->target == VGIC_NO_TARGET) {
			return false;
		}
		q->holder = q->target;
	}
	return set_flag(q, TM_GIC_ACTIVE, true);
}

static bool active_clear(struct vgic_irq *q, unsigned intid, uint32_t val)
{
	(void)intid;
	return val && set_flag(q, TM_GIC_ACTIVE, false);
}

static uint32_t priority_read(const struct vgic_irq *q, unsigned intid)
{
	(void)intid;
	return q->priority;
}

static bool priority_write(struct vgic_irq *q, unsigned intid, uint32_t val)
{
	uint8_t was = q->priority;

	(void)intid;
	q->priority = (uint8_t)val & 0xf8;	/* five bits, as in the list registers */
	return q->priority != was;
}

static uint32_t config_read(const struct vgic_irq *q, unsigned intid)
{
	(void)intid;
	return q->flags & TM_GIC_EDGE ? 2 : 0;
}

static bool config_write(struct vgic_irq *q, unsigned intid, uint32_t val)
{
	/* SGIs are always edges, PPIs always as wired: levels. */
	return intid >= VGIC_PRIVATE && set_flag(q, TM_GIC_EDGE, val & 2);
}

static const struct field fields[] = {
	{0x080, 0x100, 1, group_read, group_write},
	{0x100, 0x180, 1, enable_read, enable_set},
	{0x180, 0x200, 1, enable_read, enable_clear},
	{0x200, 0x280, 1, pending_read, pending_set},
	{0x280, 0x300, 1, pending_read, pending_clear},
	{0x300, 0x380, 1, active_read, active_set},
	{0x380, 0x400, 1, active_read, active_clear},
	{0x400, 0x800, 8, priority_read, priority_write},
	{0xc00, 0xd00, 2, config_read, config_write},
};

static void write_field(struct vm *vm, struct vcpu *v, const struct field *f, unsigned intid,
			uint32_t val)
{
	struct vgic_irq *q = vgic_irq(vm, v, intid);
	/* What stands in a list register of this CPU comes back first. One that a vCPU on another
	 * CPU holds is looked at there, when the kick of vgic_update() arrives. */
	bool recalled = vgic_recall(vm, v, q, intid);
	bool changed = f->write(q, intid, val);

	if (changed && f->write == active_clear && q->hw && vgic_is_here(v)) {
		/* The guest ended it by hand: the physical one may fire again. */
		gic_ppi_set_active(q->hw, false);
		q->flags &= (uint8_t)~TM_GIC_LINE;
	}
	if (changed || recalled) {
		vgic_update(vm, v, q, intid);
	}
}

static void access_fields(struct vm *vm, struct vcpu *v, const struct field *f,
			  struct mmio_access *a, unsigned lo, unsigned hi)
{
	unsigned first = (unsigned)(a->offset - f->start) * 8 / f->bits;
	unsigned count = a->len * 8 / f->bits;
	uint64_t mask = (1ull << f->bits) - 1;

	for (unsigned n = 0; n < count; n++) {
		unsigned intid = first + n, shift = n * f->bits;

		if (intid < lo || intid >= hi) {
			continue;
		}
		if (a->write) {
			write_field(vm, v, f, intid, (uint32_t)((a->data >> shift) & mask));
		} else {
			a->data |= (uint64_t)f->read(vgic_irq(vm, v, intid), intid) << shift;
		}
	}
}

bool vgic_irq_regs(struct vm *vm, struct vcpu *v, struct mmio_access *a, unsigned lo, unsigned hi)
{
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
		const struct field *f = &fields[i];
		/* Pending and active live in the list registers of the vCPU that asks. */
		bool state = f->start >= 0x200 && f->start < 0x400 && vgic_is_here(v);

		if (a->offset < f->start || a->offset >= f->end) {
			continue;
		}
		if (state && !a->write) {
			vgic_fold_all(v);
		}
		access_fields(vm, v, f, a, lo, hi);
		if (state && !a->write) {
			vgic_flush(v);
		}
		return true;
	}
	return false;
}

void vgic_retarget(struct vm *vm, struct vgic_irq *q, unsigned intid, unsigned target)
{
	if (q->target != target) {
		q->target = (uint8_t)target;
		vgic_update(vm, NULL, q, intid);
	}
}
