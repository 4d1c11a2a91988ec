// SPDX-License-Identifier: Apache-2.0
/*
 * The arm64 half of a vCPU. It is the first member of struct vcpu, so entry.S reaches the general
 * registers at the offsets below. While `loaded` is set, EL1 system registers, FP/SIMD, the
 * virtual timer and the list registers live in hardware; pc, pstate and x0..x30 are here at every
 * exit. Interrupt fields are under the VM's vgic lock.
 */
#ifndef ASM_VCPU_H
#define ASM_VCPU_H

#define VCPU_X 0
#define VCPU_PC 248
#define VCPU_PSTATE 256
#define VCPU_FP 272

#ifndef __ASSEMBLER__

#include <hyp/hyptimer.h>
#include <hyp/types.h>

#define VGIC_PRIVATE 32u	/* SGIs and PPIs */
#define VGIC_IRQS 256u		/* INTIDs of the virtual distributor */
#define VGIC_WORDS (VGIC_IRQS / 32u)
#define VGIC_MAX_LR 16u

/* One interrupt: SPIs in struct arch_vm, private ones here. */
struct vgic_irq {
	uint8_t flags;		/* enum tm_gic_irq_flags, and VGIC_LATCHED */
	uint8_t priority;
	uint8_t sources;	/* GICv2 SGI: mask of senders still to be delivered */
	uint8_t place;		/* VGIC_NOWHERE, VGIC_CANDIDATE, or list register + 1 */
	uint8_t holder;		/* of which vCPU, if place is not VGIC_NOWHERE or it is active */
	uint8_t target;		/* SPI: the vCPU it goes to, VGIC_NO_TARGET = nowhere */
	uint8_t mask;		/* GICv2 SPI: GICD_ITARGETSR; SGI: the sender of the active one */
	uint8_t hw;		/* physical INTID behind it, 0 = none */
	uint64_t route;		/* GICv3 SPI: GICD_IROUTER */
};
#define VGIC_LATCHED 64u	/* its latch has moved into the list register */
#define VGIC_NO_TARGET 0xffu
#define VGIC_NOWHERE 0u
#define VGIC_CANDIDATE 0xffu

struct vgic_cpu {
	struct vgic_irq priv[VGIC_PRIVATE];
	uint32_t cand[VGIC_WORDS];	/* pending or active here, and in no list register */
	uint32_t cand_words;		/* bit w: cand[w] != 0 */
	uint32_t used;			/* list registers that we have filled */
	uint16_t lr_irq[VGIC_MAX_LR];	/* INTID in each of them */
	bool live;			/* the interface is in this vCPU's CPU's hardware */
	uint32_t hcr;			/* ICH_HCR_EL2 / GICH_HCR as last written */
	uint64_t vmcr;
	uint32_t ap0r[4], ap1r[4];
	uint32_t waker;			/* GICR_WAKER.ProcessorSleep */
};

/* The virtual timer, and the emulated physical one. */
struct vtimer {
	uint64_t cval;
	uint64_t hw_cval;		/* what vtimer_load() put into the register for it */
	uint32_t ctl;
	struct hyptimer soft;
	uint8_t intid;
};

/* EL1 registers that are moved at load and put, in the order of sysregs.h. */
#define VCPU_EL1_REGS 24
#define VCPU_DBG_REGS 16

struct arch_vcpu {
	uint64_t x[31];
	uint64_t pc;
	uint64_t pstate;
	uint64_t pad;
	uint64_t v[32][2];
	uint64_t fpsr, fpcr;

	uint64_t el1[VCPU_EL1_REGS];
	uint64_t vmpidr;
	uint64_t dbg_bvr[VCPU_DBG_REGS], dbg_bcr[VCPU_DBG_REGS];
	uint64_t dbg_wvr[VCPU_DBG_REGS], dbg_wcr[VCPU_DBG_REGS];
	bool debug_live;	/* the guest's breakpoint registers are in hardware while loaded */
	bool loaded;

	/* the MMIO that went to the manager: how to finish it */
	uint8_t mmio_reg;	/* 31: nowhere */
	uint8_t mmio_len;
	bool mmio_write, mmio_sign, mmio_wide;

	struct vtimer vtimer, ptimer;
	struct vgic_cpu vgic;
};

_Static_assert(offsetof(struct arch_vcpu, x) == VCPU_X, "entry.S");
_Static_assert(offsetof(struct arch_vcpu, pc) == VCPU_PC, "entry.S");
_Static_assert(offsetof(struct arch_vcpu, pstate) == VCPU_PSTATE, "entry.S");
_Static_assert(offsetof(struct arch_vcpu, v) == VCPU_FP, "entry.S");
_Static_assert(sizeof(struct arch_vcpu) <= 3072, "a vCPU fits into one page");

#endif
#endif
