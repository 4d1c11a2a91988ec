// SPDX-License-Identifier: Apache-2.0
/*
 * What the guest side of arch/arm64 shares between its files: exits, traps, injection, timers,
 * PSCI, the UART. Nothing here is for hyp/; that is <arch/vcpu.h>.
 */
#ifndef ASM_GUEST_H
#define ASM_GUEST_H

#include <abi/arm64.h>
#include <asm/irq.h>
#include <asm/vcpu.h>
#include <hyp/types.h>

struct vcpu;
struct vm;
struct mmio_access;

#define SYS_READ(reg)                                                                              \
	({                                                                                         \
		uint64_t val_;                                                                     \
		__asm__ volatile("mrs %0, " #reg : "=r"(val_));                                    \
		val_;                                                                              \
	})
#define SYS_WRITE(reg, value)                                                                      \
	do {                                                                                       \
		uint64_t new_ = (value);                                                           \
		__asm__ volatile("msr " #reg ", %x0" : : "rZ"(new_));                              \
	} while (0)
#define ISB() __asm__ volatile("isb" : : : "memory")

/* ESR_ELx fields (Arm ARM D17.2.37). */
#define ESR_EC(esr) ((unsigned)((esr) >> 26) & 0x3fu)
#define ESR_IL (1ull << 25)
#define EC_UNKNOWN 0x00u
#define EC_WFX 0x01u
#define EC_FP 0x07u
#define EC_PAUTH 0x09u
#define EC_ILLEGAL 0x0eu
#define EC_HVC64 0x16u
#define EC_SMC64 0x17u
#define EC_SYSREG 0x18u
#define EC_SVE 0x19u
#define EC_SME 0x1du
#define EC_IABT_LOW 0x20u
#define EC_IABT_SAME 0x21u
#define EC_DABT_LOW 0x24u
#define EC_DABT_SAME 0x25u

#define PSTATE_EL0 0x0u
#define PSTATE_EL1T 0x4u
#define PSTATE_EL1H 0x5u
#define PSTATE_AARCH32 0x10u
#define PSTATE_DAIF 0x3c0u

/* Register 31 reads as zero and swallows writes. */
static inline uint64_t reg_get(const struct arch_vcpu *a, unsigned n)
{
	return n < 31 ? a->x[n] : 0;
}
static inline void reg_set(struct arch_vcpu *a, unsigned n, uint64_t val)
{
	if (n < 31) {
		a->x[n] = val;
	}
}
void guest_skip(struct vcpu *v);	/* retires the trapped instruction */

/* exit.c, called by vectors.S. Return the vCPU to enter. */
struct vcpu *arm64_exit_sync(struct vcpu *v);
struct vcpu *arm64_exit_irq(struct vcpu *v);
struct vcpu *arm64_exit_serror(struct vcpu *v);

/* sysreg.c, idreg.c. False: unknown, the caller injects UNDEF. */
bool sysreg_trap(struct vcpu *v, uint64_t esr);
bool idreg_read(const struct vcpu *v, uint32_t id, uint64_t *val);

/* inject.c; v is loaded on this CPU. */
void inject_undef(struct vcpu *v);
void inject_abort(struct vcpu *v, bool is_write, bool is_exec, uint64_t gva);
void exception_enter(struct vcpu *v, uint64_t esr);

/* vcpu.c */
void debug_switch_in(struct vcpu *v);	/* first touch of a breakpoint register */
uint64_t vcpu_mpidr(unsigned gic_version, unsigned id);
/* NULL: no such affinity in this VM. */
struct vcpu *vcpu_by_mpidr(struct vm *vm, uint64_t mpidr);
extern const uint32_t el1_reg_id[VCPU_EL1_REGS];
enum el1_index {
	EL1_SP_EL0, EL1_SP_EL1, EL1_ELR, EL1_SPSR, EL1_SCTLR, EL1_CPACR, EL1_TTBR0, EL1_TTBR1,
	EL1_TCR, EL1_ESR, EL1_AFSR0, EL1_AFSR1, EL1_FAR, EL1_MAIR, EL1_AMAIR, EL1_VBAR,
	EL1_CONTEXTIDR, EL1_TPIDR_EL0, EL1_TPIDRRO, EL1_TPIDR_EL1, EL1_CNTKCTL, EL1_PAR,
	EL1_MDSCR, EL1_CSSELR
};
/* entry.S */
void fp_save(uint64_t (*v)[2]);
void fp_load(const uint64_t (*v)[2]);
void guest_enter_asm(struct vcpu *v) noreturn_fn;

/* vtimer.c */
#define VTIMER_INTID 27u
#define PTIMER_INTID 30u
void vtimer_init(struct vcpu *v);
void vtimer_reset(struct vcpu *v);
/* load comes before vgic_load(), put after vgic_put(). */
void vtimer_load(struct vcpu *v);
void vtimer_put(struct vcpu *v);
/* The physical PPI of the virtual timer, priority-dropped, still active. */
enum irq_end vtimer_irq(uint32_t intid);
/* Is its output asserted now? v is loaded here, or on no CPU. */
bool vtimer_output(const struct vcpu *v);
bool ptimer_sysreg(struct vcpu *v, uint32_t id, bool write, unsigned reg);

/* vpsci.c */
void smccc_call(struct vcpu *v, uint32_t imm);

/* vuart.c */
int must_check vuart_init(struct vm *vm);
void vuart_reset(struct vm *vm);

/* Per-CPU registers that do not change between guests; idempotent. */
void guest_cpu_init(void);

#endif
