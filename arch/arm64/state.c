// SPDX-License-Identifier: Apache-2.0
/*
 * The board: what a VM has from its creation, and the interrupt controller's state for snapshots.
 * A set checks everything before it changes anything. Takes the VM's vgic lock.
 */
#include <arch/time.h>
#include <arch/vcpu.h>
#include <asm/guest.h>
#include <hyp/log.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#include "vgic/vgic.h"

#define FLAGS_ALL 0x3fu

int arch_vm_init(struct vm *vm)
{
	int err;

	/* Not the present: with 0 no compare value of the guest can wrap, see hw_cval(). */
	vm->arch.cntvoff = 0;
	memset(vm->arch.last_ran, 0, sizeof(vm->arch.last_ran));
	err = vgic_vm_init(vm);
	if (!err && (vm->is_manager || (vm->flags & (TM_VM_CONSOLE | TM_VM_STATIC)))) {
		err = vuart_init(vm);
	}
	return err;
}

void arch_vm_reset(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = vgic_vcpu(vm, i);

		if (v) {
			arch_vcpu_destroy(v);	/* no timer of the old life rings in the new one */
			vtimer_reset(v);
		}
	}
	vgic_vm_reset(vm);
	vuart_reset(vm);
}

void arch_vm_destroy(struct vm *vm)
{
	(void)vm;	/* everything is inside struct vm and its stage 2 */
}

/* --- GIC_STATE --- */

static unsigned cpu_count(struct vm *vm)
{
	unsigned n = 0;

	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		n += vgic_vcpu(vm, i) != NULL;
	}
	return n;
}

static uint64_t state_size(unsigned irqs, unsigned cpus)
{
	return sizeof(struct tm_gic_state) + irqs * sizeof(struct tm_gic_irq) +
	       cpus * sizeof(struct tm_gic_cpu);
}

static bool any_live(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = vgic_vcpu(vm, i);

		if (v && v->arch.vgic.live) {
			return true;
		}
	}
	return false;
}

static void irq_get(struct vm *vm, struct vcpu *v, unsigned intid, struct tm_gic_irq *out)
{
	const struct vgic_irq *q = vgic_irq(vm, v, intid);
	bool v2 = vm->arch.gic_version == 2;

	memset(out, 0, sizeof(*out));
	out->intid = intid;
	out->flags = q->flags & FLAGS_ALL;
	out->priority = q->priority;
	if (intid < VGIC_PRIVATE) {
		out->cpu = v->id;
		out->route = vgic_is_sgi(intid) && v2 ?
			q->sources | (uint64_t)(q->flags & TM_GIC_ACTIVE ? q->mask : 0) << 8 : 0;
	} else {
		/* The acknowledging CPU of an active one: it ends there. */
		out->cpu = q->flags & TM_GIC_ACTIVE ? q->holder : 0;
		out->route = v2 ? q->mask : q->route;
	}
}

static void cpu_get(const struct vcpu *v, struct tm_gic_cpu *out)
{
	const struct vgic_cpu *c = &v->arch.vgic;

	memset(out, 0, sizeof(*out));
	out->cpu = v->id;
	out->waker = v->vm->arch.gic_version == 3 ? c->waker : 0;
	out->vmcr = c->vmcr;
	memcpy(out->ap0r, c->ap0r, sizeof(out->ap0r));
	memcpy(out->ap1r, c->ap1r, sizeof(out->ap1r));
}

static void state_get(struct vm *vm, struct tm_gic_state *s)
{
	struct tm_gic_irq *irq = (struct tm_gic_irq *)(s + 1);
	struct tm_gic_cpu *cpu = (struct tm_gic_cpu *)(irq + s->irq_count);

	for (unsigned i = VGIC_PRIVATE; i < VGIC_IRQS; i++) {
		irq_get(vm, NULL, i, irq++);
	}
	for (unsigned n = 0; n < vm->vcpus_max; n++) {
		struct vcpu *v = vgic_vcpu(vm, n);

		for (unsigned i = 0; v && i < VGIC_PRIVATE; i++) {
			irq_get(vm, v, i, irq++);
		}
		if (v) {
			cpu_get(v, cpu++);
		}
	}
}

int arch_irqchip_state_get(struct vm *vm, void *buf, uint64_t len, uint64_t *used)
{
	struct tm_gic_state *s = buf;
	unsigned cpus = cpu_count(vm);
	unsigned irqs = VGIC_IRQS - VGIC_PRIVATE + cpus * VGIC_PRIVATE;
	int err = 0;

	*used = state_size(irqs, cpus);
	if (len < *used) {
		return -TM_E2BIG;
	}
	spin_lock(&vm->arch.vgic_lock);
	if (any_live(vm)) {
		err = -TM_EBUSY;
	} else {
		memset(s, 0, sizeof(*s));
		s->version = vm->arch.gic_version;
		s->gicd_ctlr = vm->arch.gicd_ctlr;
		s->irq_count = irqs;
		s->cpu_count = cpus;
		state_get(vm, s);
	}
	spin_unlock(&vm->arch.vgic_lock);
	return err;
}

static bool irq_ok(struct vm *vm, const struct tm_gic_irq *r)
{
	if (r->intid >= VGIC_IRQS || (r->flags & ~FLAGS_ALL) || (r->priority & 7)) {
		return false;
	}
	return (r->intid >= VGIC_PRIVATE && !(r->flags & TM_GIC_ACTIVE)) || vgic_vcpu(vm, r->cpu);
}

static void irq_set(struct vm *vm, const struct tm_gic_irq *r)
{
	struct vcpu *v = r->intid < VGIC_PRIVATE ? vgic_vcpu(vm, r->cpu) : NULL;
	struct vgic_irq *q = vgic_irq(vm, v, r->intid);
	struct vcpu *to;

	q->flags = r->flags;
	q->priority = r->priority;
	if (vgic_is_sgi(r->intid)) {
		q->flags |= TM_GIC_EDGE;
		q->sources = vm->arch.gic_version == 2 ? (uint8_t)r->route : 0;
		q->mask = (uint8_t)(r->route >> 8) & 7;
	} else if (r->intid < VGIC_PRIVATE) {
		q->flags &= (uint8_t)~TM_GIC_EDGE;
	} else if (vm->arch.gic_version == 2) {
		q->mask = (uint8_t)r->route & (uint8_t)((1u << MIN(vm->vcpus_max, VGIC_V2_CPUS)) - 1);
		q->target = q->mask ? (uint8_t)__builtin_ctz(q->mask) :
			    vm->vcpus_max > 1 ? VGIC_NO_TARGET : 0;
	} else {
		q->route = r->route & 0xff80ffffffull;
		to = (q->route >> 31) & 1 ? vgic_vcpu(vm, 0) : vcpu_by_mpidr(vm, q->route);
		q->target = to ? (uint8_t)to->id : VGIC_NO_TARGET;
	}
	if (q->place == VGIC_NOWHERE && r->intid >= VGIC_PRIVATE) {
		q->holder = (uint8_t)r->cpu;
	}
	vgic_update(vm, v, q, r->intid);
}

static void cpu_set(struct vm *vm, const struct tm_gic_cpu *in)
{
	struct vcpu *v = vgic_vcpu(vm, in->cpu);
	struct vgic_cpu *c = &v->arch.vgic;

	c->waker = in->waker & 2;
	c->vmcr = in->vmcr & 0xffffffffu;
	memcpy(c->ap0r, in->ap0r, sizeof(c->ap0r));
	memcpy(c->ap1r, in->ap1r, sizeof(c->ap1r));
}

int arch_irqchip_state_set(struct vm *vm, const void *buf, uint64_t len)
{
	const struct tm_gic_state *s = buf;
	const struct tm_gic_irq *irq = (const struct tm_gic_irq *)(s + 1);
	const struct tm_gic_cpu *cpu;
	int err = 0;

	if (len < sizeof(*s) || s->version != vm->arch.gic_version || s->rsvd[0] || s->rsvd[1] ||
	    (s->gicd_ctlr & ~(GICD_CTLR_G0 | GICD_CTLR_G1)) || s->cpu_count > TM_MAX_VCPUS ||
	    s->irq_count > VGIC_IRQS + TM_MAX_VCPUS * VGIC_PRIVATE ||
	    len < state_size(s->irq_count, s->cpu_count)) {
		return -TM_EINVAL;
	}
	cpu = (const struct tm_gic_cpu *)(irq + s->irq_count);
	for (unsigned i = 0; i < s->irq_count; i++) {
		if (!irq_ok(vm, &irq[i])) {
			return -TM_EINVAL;
		}
	}
	for (unsigned i = 0; i < s->cpu_count; i++) {
		if (!vgic_vcpu(vm, cpu[i].cpu)) {
			return -TM_EINVAL;
		}
	}
	spin_lock(&vm->arch.vgic_lock);
	if (any_live(vm)) {
		err = -TM_EBUSY;
	} else {
		vm->arch.gicd_ctlr = s->gicd_ctlr;
		for (unsigned i = 0; i < s->irq_count; i++) {
			irq_set(vm, &irq[i]);
		}
		for (unsigned i = 0; i < s->cpu_count; i++) {
			cpu_set(vm, &cpu[i]);
		}
	}
	spin_unlock(&vm->arch.vgic_lock);
	return err;
}

/* All of a GIC is in GIC_STATE. */
int arch_vcpu_irqchip_state_get(struct vcpu *v, void *buf, uint64_t len, uint64_t *used)
{
	(void)v, (void)buf, (void)len;
	*used = 0;
	return -TM_EOPNOTSUPP;
}

int arch_vcpu_irqchip_state_set(struct vcpu *v, const void *buf, uint64_t len)
{
	(void)v, (void)buf, (void)len;
	return -TM_EOPNOTSUPP;
}
