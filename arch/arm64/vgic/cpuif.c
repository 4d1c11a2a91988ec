// SPDX-License-Identifier: Apache-2.0
/*
 * Life of a virtual interrupt controller: board set-up, reset, and moving a vCPU's interface into
 * and out of this CPU's hardware. At put every list register is read back, so a vCPU that is not
 * live has all of its state in memory.
 */
#include <drivers/gic/gic.h>
#include <hyp/sched.h>
#include <hyp/string.h>

#include <boot/guest_fdt.h>

#include "vgic.h"

void vgic_cpu_init(void)
{
	lr_init();
	lr_hcr_write(0);
	for (unsigned i = 0; i < lr_count(); i++) {
		lr_write(i, 0);
	}
}

static int add_region(struct vm *vm, const char *name, uint64_t base, uint64_t size,
		      void (*access)(struct vcpu *, void *, struct mmio_access *))
{
	struct mmio_region r = {
		.base = gpa(base),
		.size = size,
		.name = name,
		.access = access,
		.dev = vm,
	};

	return mmio_add(vm, &r);
}

static void dist_reset(struct vm *vm)
{
	vm->arch.gicd_ctlr = 0;
	for (unsigned i = 0; i < VGIC_IRQS - VGIC_PRIVATE; i++) {
		struct vgic_irq *q = &vm->arch.spi[i];

		memset(q, 0, sizeof(*q));
		/* GICv2: no target until the guest sets one, unless there is but one CPU. GICv3:
		 * IROUTER 0 is vCPU 0. */
		q->target = vm->arch.gic_version == 2 && vm->vcpus_max > 1 ? VGIC_NO_TARGET : 0;
	}
}

int vgic_vm_init(struct vm *vm)
{
	int err;

	spin_init(&vm->arch.vgic_lock, LOCK_VGIC);
	vm->arch.gic_version = (uint8_t)gic_version();
	dist_reset(vm);
	if (vm->arch.gic_version == 2 && vm->vcpus_max > VGIC_V2_CPUS) {
		return -TM_EOPNOTSUPP;	/* senders and targets are masks of eight bits */
	}
	if (vm->arch.gic_version == 2) {
		err = add_region(vm, "gicd", GUEST_GICD_BASE, 0x1000, vgic_v2_dist);
		return err ? err : vgic_v2_map_cpuif(vm);
	}
	err = add_region(vm, "gicd", GUEST_GICD_BASE, 0x10000, vgic_v3_dist);
	return err ? err : add_region(vm, "gicr", GUEST_GICR_BASE,
				      (uint64_t)vm->vcpus_max * GUEST_GICR_STRIDE, vgic_v3_redist);
}
void vgic_vcpu_init(struct vcpu *v)
{
	struct vgic_cpu *c = &v->arch.vgic;

	memset(c, 0, sizeof(*c));
	for (unsigned i = 0; i < VGIC_PRIVATE; i++) {
		struct vgic_irq *q = &c->priv[i];

		q->holder = (uint8_t)v->id;
		/* SGIs are edges, and always enabled with GICv2. PPIs are levels. */
		if (vgic_is_sgi(i)) {
			q->flags = TM_GIC_EDGE;
			q->flags |= v->vm->arch.gic_version == 2 ? TM_GIC_ENABLED : 0;
		}
	}
	c->priv[VTIMER_INTID].hw = GIC_PPI_VIRT_TIMER;
	c->waker = 2;
}

/* Off its CPU, so nothing of it is in a list register: what it held are candidates. */
void vgic_vcpu_gone(struct vcpu *v)
{
	struct vm *vm = v->vm;

	spin_lock(&vm->arch.vgic_lock);
	for (unsigned i = 0; i < VGIC_IRQS - VGIC_PRIVATE; i++) {
		struct vgic_irq *q = &vm->arch.spi[i];

		if (q->place == VGIC_CANDIDATE && q->holder == v->id) {
			q->place = VGIC_NOWHERE;
		}
	}
	spin_unlock(&vm->arch.vgic_lock);
}

void vgic_vm_reset(struct vm *vm)
{
	spin_lock(&vm->arch.vgic_lock);
	dist_reset(vm);
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = vgic_vcpu(vm, i);

		if (v) {
			vgic_vcpu_init(v);
		}
	}
	spin_unlock(&vm->arch.vgic_lock);
}

/* Under v->lock, so without the vgic's; the vCPU is off and its interface is nobody's. */
void vgic_vcpu_reset(struct vcpu *v)
{
	struct vgic_cpu *c = &v->arch.vgic;

	c->vmcr = 0;
	memset(c->ap0r, 0, sizeof(c->ap0r));
	memset(c->ap1r, 0, sizeof(c->ap1r));
}

void vgic_load(struct vcpu *v)
{
	struct vgic_cpu *c = &v->arch.vgic;

	spin_lock(&v->vm->arch.vgic_lock);
	lr_cpuif_load(c);
	c->live = true;
	c->hcr = 0;
	vgic_flush(v);
	spin_unlock(&v->vm->arch.vgic_lock);
}

void vgic_put(struct vcpu *v)
{
	struct vgic_cpu *c = &v->arch.vgic;

	spin_lock(&v->vm->arch.vgic_lock);
	vgic_fold_all(v);
	lr_cpuif_save(c);
	c->live = false;
	lr_hcr_write(0);
	spin_unlock(&v->vm->arch.vgic_lock);
}
