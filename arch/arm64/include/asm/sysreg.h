// SPDX-License-Identifier: Apache-2.0
/*
 * System registers: access by name, and the fields that we set or test. Numbers are those of the
 * Arm Architecture Reference Manual (DDI 0487) and of the GIC specification (IHI 0069).
 */
#ifndef ASM_SYSREG_H
#define ASM_SYSREG_H

/* Current EL */
#define CURRENTEL_EL2 0x8

/* HCR_EL2 */
#define HCR_VM (1 << 0)
#define HCR_SWIO (1 << 1)
#define HCR_PTW (1 << 2)
#define HCR_FMO (1 << 3)
#define HCR_IMO (1 << 4)
#define HCR_AMO (1 << 5)
#define HCR_VI (1 << 7)
#define HCR_TWI (1 << 13)
#define HCR_TWE (1 << 14)
#define HCR_TID3 (1 << 18)
#define HCR_TSC (1 << 19)
#define HCR_TIDCP (1 << 20)
#define HCR_TACR (1 << 21)
#define HCR_TSW (1 << 22)
#define HCR_RW_SHIFT 31
/* While the hypervisor runs: physical interrupts come to EL2, EL1 is AArch64, no stage 2. */
#define HCR_HOST (HCR_FMO | HCR_IMO | HCR_AMO | (1 << HCR_RW_SHIFT))

/* SCTLR_EL2: RES1 bits, then MMU, alignment check for SP, D-cache, I-cache, WXN. */
#define SCTLR_EL2_RES1 0x30c50830
#define SCTLR_M (1 << 0)
#define SCTLR_C (1 << 2)
#define SCTLR_SA (1 << 3)
#define SCTLR_I (1 << 12)
#define SCTLR_WXN (1 << 19)
#define SCTLR_HYP (SCTLR_EL2_RES1 | SCTLR_M | SCTLR_C | SCTLR_SA | SCTLR_I | SCTLR_WXN)

/* TCR_EL2: T0SZ = 16 (48 bits), walks write-back inner shareable, 4 KiB, RES1 bits 23 and 31. */
#define TCR_EL2_BASE 0x80803510
#define TCR_PS_SHIFT 16

/* MAIR_EL2: index 0 normal write-back, 1 device nGnRE, 2 normal non-cacheable. */
#define MAIR_HYP 0x4404ff
#define MAIR_NORMAL 0
#define MAIR_DEVICE 1

/* VTCR_EL2: walks write-back inner shareable, 4 KiB, start at the 1 GiB level, RES1 bit 31. */
#define VTCR_BASE 0x80003540
#define VTCR_PS_SHIFT 16
#define VTCR_VS (1 << 19)
#define VTTBR_VMID_SHIFT 48

/* CPTR_EL2 with E2H = 0: RES1 bits; nothing trapped (FP, SVE RES1 without the feature). */
#define CPTR_EL2_RES1 0x33ff
#define CPTR_TFP (1 << 10)

/* CNTHCTL_EL2 with E2H = 0: EL1 may read the counter / use the physical timer. */
#define CNTHCTL_EL1PCTEN (1 << 0)
#define CNTHCTL_EL1PCEN (1 << 1)

/* ICC_SRE_EL2: system registers on, bypass off, EL1 may use ICC_SRE_EL1. */
#define ICC_SRE_ALL 0xf

/* ESR_ELx.EC */
#define ESR_EC_SHIFT 26
#define ESR_ISS_MASK 0x1ffffff
#define EC_BRK 0x3c

#ifndef __ASSEMBLER__

#include <stdint.h>

#define read_sysreg(name)                                                                          \
	({                                                                                         \
		uint64_t value_;                                                                   \
		__asm__ volatile("mrs %0, " #name : "=r"(value_));                                 \
		value_;                                                                            \
	})
#define write_sysreg(value, name)                                                                  \
	do {                                                                                       \
		uint64_t value_ = (uint64_t)(value);                                               \
		__asm__ volatile("msr " #name ", %0" : : "r"(value_));                             \
	} while (0)

/* A field of an ID register: `bits` wide, at `shift`. */
#define id_field(reg, shift) ((unsigned)(((reg) >> (shift)) & 0xfu))

#endif
#endif
