// SPDX-License-Identifier: Apache-2.0
/*
 * The virtual interrupt controller, GICv2 or GICv3 as the physical one is. vgic.c is the state
 * machine, lr.c the list registers in hardware, regs.c the registers that both versions share,
 * v2.c and v3.c what differs, cpuif.c load and put. One lock per VM (LOCK_VGIC) guards all of it.
 *
 * Where an interrupt that is pending or active stands: as a candidate in the bitmap of one vCPU
 * (its holder), or in a list register of that vCPU while the vCPU is live. List registers are read
 * back only when somebody needs to know, not at each exit.
 */
#ifndef VGIC_H
#define VGIC_H

#include <abi/arm64.h>
#include <asm/guest.h>
#include <asm/vcpu.h>
#include <hyp/mmio.h>
#include <hyp/vm.h>

/* ICH_LR<n>_EL2; the form in memory for both versions. A GICv2 SGI's sender is in bits 34:32. */
#define LR_PENDING (1ull << 62)
#define LR_ACTIVE (1ull << 63)
#define LR_HW (1ull << 61)
#define LR_GROUP1 (1ull << 60)
#define LR_PRIORITY_SHIFT 48
#define LR_EOI (1ull << 41)
#define LR_PINTID_SHIFT 32

/* ICH_HCR_EL2 and GICH_HCR */
#define VHCR_EN 1u
#define VHCR_UIE 2u		/* at most one list register is left */
#define VHCR_LRENPIE 4u		/* EOI of an interrupt that is in no list register */
#define VHCR_NPIE 8u		/* nothing pending in the list registers */
#define VHCR_EOICOUNT(h) ((h) >> 27)

/* ICH_VMCR_EL2 and GICH_VMCR */
#define VMCR_G0 1u
#define VMCR_G1 2u
#define VMCR_PMR(v) ((unsigned)((v) >> 24) & 0xffu)

#define VGIC_V2_CPUS 8u

#define DOORBELL_INTID 96u

#define GICD_CTLR_G0 1u
#define GICD_CTLR_G1 2u
#define GICD_CTLR_ARE 0x10u
#define GICD_CTLR_DS 0x40u

/* lr.c: this CPU's hardware. */
void lr_init(void);
unsigned lr_count(void);
uint64_t lr_read(unsigned i);
void lr_write(unsigned i, uint64_t val);
uint32_t lr_empty(void);		/* ICH_ELRSR */
void lr_hcr_write(uint32_t val);
uint32_t lr_hcr_read(void);
uint64_t lr_vmcr_read(void);
void lr_cpuif_load(const struct vgic_cpu *c);
void lr_cpuif_save(struct vgic_cpu *c);

/* vgic.c; lock held. */
struct vgic_irq *vgic_irq(struct vm *vm, struct vcpu *v, unsigned intid);
struct vcpu *vgic_vcpu(struct vm *vm, unsigned id);
bool vgic_is_sgi(unsigned intid);
bool vgic_irq_pending(const struct vgic_irq *q, unsigned intid);
/* Something about the interrupt changed: put it where it belongs now. v: owner if it is private. */
void vgic_update(struct vm *vm, struct vcpu *v, struct vgic_irq *q, unsigned intid);
void vgic_update_all(struct vm *vm);
/* The same for one whose latch or line has just been set. */
void vgic_raise(struct vm *vm, struct vcpu *v, struct vgic_irq *q, unsigned intid);
/* Reads every list register back, then fills them again. v is live on this CPU. */
void vgic_sync(struct vcpu *v);
void vgic_fold_all(struct vcpu *v);
void vgic_flush(struct vcpu *v);
bool vgic_is_here(const struct vcpu *v);
/* Takes the interrupt out of the list register it is in, if that is this CPU's. */
bool vgic_recall(struct vm *vm, struct vcpu *v, struct vgic_irq *q, unsigned intid);

/* Take the lock themselves. */
void vgic_set_ppi(struct vcpu *v, unsigned intid, bool level);
/* An edge of a shared interrupt. */
void vgic_pulse(struct vm *vm, unsigned intid);
/* v is loaded or put away: the level of a private interrupt with a physical one behind it. Returns
 * whether the physical one has to be active while v is loaded. */
bool vgic_hw_level(struct vcpu *v, unsigned intid, bool level);
/* The physical interrupt behind a private one fired, so what the list register held is over. */
void vgic_hw_fired(struct vcpu *v, unsigned intid);
enum irq_end vgic_maintenance_irq(uint32_t intid);

/* cpuif.c */
void vgic_cpu_init(void);	/* this CPU's list registers, once */
int must_check vgic_vm_init(struct vm *vm);
void vgic_vm_reset(struct vm *vm);	/* no vCPU is live */
void vgic_vcpu_init(struct vcpu *v);
void vgic_vcpu_gone(struct vcpu *v);	/* destroyed: shared interrupts it was to take are free */
void vgic_vcpu_reset(struct vcpu *v);
void vgic_load(struct vcpu *v);
void vgic_put(struct vcpu *v);

/* regs.c: registers with a field per interrupt, INTIDs lo .. hi - 1 of them. v: whose private
 * interrupts. False: no such register. Lock held. */
bool vgic_irq_regs(struct vm *vm, struct vcpu *v, struct mmio_access *a, unsigned lo, unsigned hi);
/* The target of an SPI changed. */
void vgic_retarget(struct vm *vm, struct vgic_irq *q, unsigned intid, unsigned target);
/* v2.c, v3.c */
void vgic_v2_dist(struct vcpu *v, void *dev, struct mmio_access *a);
int must_check vgic_v2_map_cpuif(struct vm *vm);
void vgic_v3_dist(struct vcpu *v, void *dev, struct mmio_access *a);
void vgic_v3_redist(struct vcpu *v, void *dev, struct mmio_access *a);
/* ICC_SGI1R_EL1, or SGI0R/ASGI1R, which reach group 0 only. */
void vgic_v3_sgi(struct vcpu *v, uint64_t val, bool group0_only);

#endif
