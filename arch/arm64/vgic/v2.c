// SPDX-License-Identifier: Apache-2.0
/*
 * GICv2 for guests: the distributor of IHI 0048 without the security extensions. The CPU interface
 * is the physical GICV, mapped where a guest expects GICC, so nothing of it is emulated. Takes the
 * VM's vgic lock.
 */
#include <boot/guest_fdt.h>
#include <drivers/gic/gic.h>
#include <hyp/sched.h>

#include "vgic.h"

#define GICD_CTLR 0x000u
#define GICD_TYPER 0x004u
#define GICD_IIDR 0x008u
#define GICD_ITARGETSR 0x800u
#define GICD_SGIR 0xf00u
#define GICD_CPENDSGIR 0xf10u
#define GICD_SPENDSGIR 0xf20u
#define GICD_PIDR2 0xfe8u

#define IIDR_ARM 0x0200043bu
#define PIDR2_V2 0x2bu
#define GICC_PAGES 2u

int vgic_v2_map_cpuif(struct vm *vm)
{
	struct tlb_batch b = TLB_BATCH_INIT;
	gpa_t at = gpa(GUEST_GICC_BASE);
	hpa_t gicv = gic_gicv();
	int err = pool_reserve(&vm->pool, stage2_tables_needed(at, GICC_PAGES));

	if (err) {
		return err;
	}
	stage2_lock(&vm->s2);
	for (unsigned i = 0; i < GICC_PAGES && !err; i++) {
		err = stage2_map(&vm->s2, gpa_add(at, i * PAGE_SIZE), hpa_add(gicv, i * PAGE_SIZE),
				 0, PT_R | PT_W | PT_DEVICE, &b);
	}
	stage2_flush(&vm->s2, &b);
	stage2_unlock(&vm->s2);
	return err;
}

static uint8_t cpu_mask(struct vm *vm)
{
	return (uint8_t)((1u << MIN(vm->vcpus_max, VGIC_V2_CPUS)) - 1);
}

/* ITARGETSR, a byte an interrupt. For private ones it names the CPU that reads. */
static void targets(struct vm *vm, struct vcpu *v, struct mmio_access *a)
{
	unsigned first = (unsigned)(a->offset - GICD_ITARGETSR);

	for (unsigned n = 0; n < a->len && first + n < VGIC_IRQS; n++) {
		unsigned intid = first + n;
		struct vgic_irq *q = vgic_irq(vm, v, intid);
		uint8_t mask = (uint8_t)(a->data >> (8 * n)) & cpu_mask(vm);

		if (!a->write) {
			uint8_t val = intid < VGIC_PRIVATE ? (uint8_t)(1u << v->id) : q->mask;

			a->data |= (uint64_t)val << (8 * n);
		} else if (intid >= VGIC_PRIVATE && vm->vcpus_max > 1) {
			q->mask = mask;
			vgic_retarget(vm, q, intid,
				      mask ? (unsigned)__builtin_ctz(mask) : VGIC_NO_TARGET);
		}
	}
}

static void sgi_send(struct vm *vm, struct vcpu *v, uint32_t val)
{
	unsigned intid = val & 15, filter = (val >> 24) & 3;
	uint8_t list = (uint8_t)(val >> 16) & cpu_mask(vm);

	if (filter == 3) {
		return;
	}
	if (filter == 1) {
		list = cpu_mask(vm) & (uint8_t)~(1u << v->id);
	} else if (filter == 2) {
		list = (uint8_t)(1u << v->id);
	}
	for (; list; list &= (uint8_t)(list - 1)) {
		struct vcpu *t = vgic_vcpu(vm, (unsigned)__builtin_ctz(list));

		if (t && !(t->arch.vgic.priv[intid].sources & (1u << v->id))) {
			t->arch.vgic.priv[intid].sources |= (uint8_t)(1u << v->id);
			vgic_raise(vm, t, &t->arch.vgic.priv[intid], intid);
		}
	}
}

/* CPENDSGIR and SPENDSGIR: a byte an SGI, a bit a sender. */
static void sgi_pending(struct vm *vm, struct vcpu *v, struct mmio_access *a, unsigned base,
			bool set)
{
	unsigned first = (unsigned)(a->offset - base);

	if (vgic_is_here(v)) {
		vgic_fold_all(v);
	}
	for (unsigned n = 0; n < a->len && first + n < 16; n++) {
		struct vgic_irq *q = &v->arch.vgic.priv[first + n];
		uint8_t mask = (uint8_t)(a->data >> (8 * n));

		if (!a->write) {
			a->data |= (uint64_t)q->sources << (8 * n);
			continue;
		}
		mask &= cpu_mask(vm);
		q->sources = (uint8_t)(set ? q->sources | mask : q->sources & ~mask);
		vgic_update(vm, v, q, first + n);
	}
	if (vgic_is_here(v)) {
		vgic_flush(v);
	}
}

static void other(struct vm *vm, struct vcpu *v, struct mmio_access *a)
{
	if (a->offset == GICD_CTLR && a->write) {
		uint32_t ctlr = (uint32_t)a->data & (GICD_CTLR_G0 | GICD_CTLR_G1);

		if (ctlr != vm->arch.gicd_ctlr) {
			vm->arch.gicd_ctlr = ctlr;
			vgic_update_all(vm);
		}
	} else if (a->offset == GICD_CTLR) {
		a->data = vm->arch.gicd_ctlr;
	} else if (a->offset == GICD_SGIR && a->write) {
		sgi_send(vm, v, (uint32_t)a->data);
	} else if (!a->write && a->offset == GICD_IIDR) {
		a->data = IIDR_ARM;
	} else if (!a->write && a->offset == GICD_PIDR2) {
		a->data = PIDR2_V2;
	}
}

void vgic_v2_dist(struct vcpu *v, void *dev, struct mmio_access *a)
{
	struct vm *vm = dev;

	if (!a->write && a->offset == GICD_TYPER) {
		a->data = (VGIC_IRQS / 32 - 1) | (MIN(vm->vcpus_max, VGIC_V2_CPUS) - 1) << 5;
		return;
	}
	spin_lock(&vm->arch.vgic_lock);
	if (a->offset >= GICD_ITARGETSR && a->offset < GICD_ITARGETSR + VGIC_IRQS) {
		targets(vm, v, a);
	} else if (a->offset >= GICD_CPENDSGIR && a->offset < GICD_CPENDSGIR + 16) {
		sgi_pending(vm, v, a, GICD_CPENDSGIR, false);
	} else if (a->offset >= GICD_SPENDSGIR && a->offset < GICD_SPENDSGIR + 16) {
		sgi_pending(vm, v, a, GICD_SPENDSGIR, true);
	} else if (!vgic_irq_regs(vm, v, a, 0, VGIC_IRQS)) {
		other(vm, v, a);
	}
	spin_unlock(&vm->arch.vgic_lock);
}
