// SPDX-License-Identifier: Apache-2.0
/*
 * arm64: calling convention, register and device state.
 * The call is HVC #0 with w0 = 0xC6000000 | fn: SMCCC fast call, 64-bit, owner 6 (Arm DEN 0028).
 */
#ifndef TM_ABI_ARM64_H
#define TM_ABI_ARM64_H

#include <stdint.h>
#include <abi/assert.h>

#define TM_SMCCC_FN(fn) (0xc6000000u | (uint32_t)(fn))
/* SMCCC discovery of the vendor-specific hypervisor service: UID and revision. */
#define TM_SMCCC_UID 0x8600ff01u
#define TM_SMCCC_REVISION 0x8600ff03u
#define TM_UID_0 0x1d7a4e52u
#define TM_UID_1 0x4bc8e06fu
#define TM_UID_2 0x9f31a2b7u
#define TM_UID_3 0x54d86ec0u

struct tm_result {
	int64_t status;
	uint64_t val[3];
};

static inline struct tm_result tm_call(uint32_t fn, uint64_t a1, uint64_t a2, uint64_t a3,
				       uint64_t a4, uint64_t a5, uint64_t a6)
{
#if defined(__aarch64__)
	register uint64_t x0 __asm__("x0") = TM_SMCCC_FN(fn);
	register uint64_t x1 __asm__("x1") = a1;
	register uint64_t x2 __asm__("x2") = a2;
	register uint64_t x3 __asm__("x3") = a3;
	register uint64_t x4 __asm__("x4") = a4;
	register uint64_t x5 __asm__("x5") = a5;
	register uint64_t x6 __asm__("x6") = a6;
	struct tm_result r;

	__asm__ volatile("hvc #0"
			 : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
			 : "r"(x4), "r"(x5), "r"(x6)
			 : "memory");
	r.status = (int64_t)x0;
	r.val[0] = x1;
	r.val[1] = x2;
	r.val[2] = x3;
	return r;
#else
	/* Hosts that only build against the shapes have no hypervisor to call. */
	struct tm_result r = {-1, {0, 0, 0}};

	(void)fn, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6;
	return r;
#endif
}

/* A system register's id: op0, op1, CRn, CRm, op2 packed as in ESR_ELx.ISS of EC 0x18. */
#define TM_SYSREG(op0, op1, crn, crm, op2)                                                         \
	(((uint32_t)(op0) << 20) | ((uint32_t)(op2) << 17) | ((uint32_t)(op1) << 14) |             \
	 ((uint32_t)(crn) << 10) | ((uint32_t)(crm) << 1))

#define TM_REGS_SYS_MAX 48

struct tm_reg {
	uint32_t id;
	uint32_t rsvd;
	uint64_t val;
};
TM_ASSERT_SIZE(tm_reg, 16);

struct tm_regs {
	uint64_t x[31];
	uint64_t sp_el0;
	uint64_t sp_el1;
	uint64_t pc;
	uint64_t pstate;
	uint64_t elr_el1;
	uint64_t spsr_el1;
	uint32_t n;			/* valid rows of sys[] */
	uint32_t powered_on;		/* PSCI state: 0 off, 1 on */
	struct tm_reg sys[TM_REGS_SYS_MAX];
	uint64_t v[32][2];		/* V0..V31, low half first */
	uint32_t fpsr;
	uint32_t fpcr;
};
TM_ASSERT_SIZE(tm_regs, 1592);
TM_ASSERT_OFFSET(tm_regs, sp_el0, 248);
TM_ASSERT_OFFSET(tm_regs, pc, 264);
TM_ASSERT_OFFSET(tm_regs, n, 296);
TM_ASSERT_OFFSET(tm_regs, sys, 304);
TM_ASSERT_OFFSET(tm_regs, v, 1072);
TM_ASSERT_OFFSET(tm_regs, fpsr, 1584);

/* TIMER_STATE. GET reads at the moment of the call; SET of cntvct moves the VM's CNTVOFF from 0. */
struct tm_timer_state {
	uint64_t cntvct;
	uint64_t cntv_cval;
	uint64_t cntp_cval;
	uint32_t cntv_ctl;
	uint32_t cntp_ctl;
	uint64_t rsvd[4];
};
TM_ASSERT_SIZE(tm_timer_state, 64);
TM_ASSERT_OFFSET(tm_timer_state, cntv_ctl, 24);

/* GIC_STATE: a header, then irq_count rows of tm_gic_irq, then cpu_count rows of tm_gic_cpu. */
struct tm_gic_state {
	uint32_t version;		/* 2 or 3 */
	uint32_t gicd_ctlr;
	uint32_t irq_count;
	uint32_t cpu_count;
	uint64_t rsvd[2];
};
TM_ASSERT_SIZE(tm_gic_state, 32);

enum tm_gic_irq_flags {
	TM_GIC_ENABLED = 1,
	TM_GIC_PENDING = 2,		/* latched */
	TM_GIC_ACTIVE = 4,
	TM_GIC_LINE = 8,		/* input level */
	TM_GIC_EDGE = 16,
	TM_GIC_GROUP1 = 32,
};

struct tm_gic_irq {
	uint32_t intid;
	uint16_t cpu;			/* vCPU id of a private interrupt, else 0 */
	uint8_t flags;
	uint8_t priority;
	uint64_t route;			/* GICD_IROUTER; GICv2: target mask; SGI: source mask */
};
TM_ASSERT_SIZE(tm_gic_irq, 16);

struct tm_gic_cpu {
	uint32_t cpu;
	uint32_t waker;			/* GICR_WAKER; 0 on GICv2 */
	uint64_t vmcr;			/* as ICH_VMCR_EL2 */
	uint32_t ap0r[4];
	uint32_t ap1r[4];
	uint64_t rsvd[2];
};
TM_ASSERT_SIZE(tm_gic_cpu, 64);

/* UART_STATE: the emulated PL011. */
struct tm_uart_state {
	uint32_t version;		/* 1 */
	uint32_t cr;
	uint32_t imsc;
	uint32_t ris;
	uint32_t lcr_h;
	uint32_t ibrd;
	uint32_t fbrd;
	uint32_t ifls;
	uint32_t rx_count;
	uint32_t rsvd[3];
	uint8_t rx[16];
};
TM_ASSERT_SIZE(tm_uart_state, 64);
TM_ASSERT_OFFSET(tm_uart_state, rx, 48);

#endif
