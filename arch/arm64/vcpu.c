// SPDX-License-Identifier: Apache-2.0
/*
 * A vCPU's registers: reset, moving them between memory and this CPU at load and put, and the
 * manager's view of them. Called by the scheduler for a vCPU that this CPU owns, so no lock; the
 * interrupt and timer parts lock themselves.
 */
#include <abi/arm64.h>
#include <arch/cpu.h>
#include <arch/tlb.h>
#include <arch/vcpu.h>
#include <asm/cpu.h>
#include <asm/guest.h>
#include <asm/irq.h>
#include <asm/machine.h>
#include <asm/tlb.h>
#include <drivers/gic/gic.h>
#include <hyp/sched.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#include "vgic/vgic.h"

/* HCR_EL2 (Arm ARM D17.2.48). E2H and TGE are 0: the hypervisor is a plain EL2 one. */
#define HCR_VM (1ull << 0)
#define HCR_SWIO (1ull << 1)		/* DC ISW cleans too: it must not drop our lines */
#define HCR_FMO (1ull << 3)
#define HCR_IMO (1ull << 4)
#define HCR_AMO (1ull << 5)
#define HCR_FB (1ull << 9)		/* the guest's local TLBIs reach where its vCPUs ran */
#define HCR_BSU_INNER (1ull << 10)
#define HCR_TWI (1ull << 13)
#define HCR_TID3 (1ull << 18)
#define HCR_TSC (1ull << 19)
#define HCR_TIDCP (1ull << 20)
#define HCR_TACR (1ull << 21)
#define HCR_RW (1ull << 31)
#define HCR_TLOR (1ull << 35)
#define HCR_TERR (1ull << 36)
#define HCR_GUEST                                                                                  \
	(HCR_VM | HCR_SWIO | HCR_FMO | HCR_IMO | HCR_AMO | HCR_FB | HCR_BSU_INNER | HCR_TWI |      \
	 HCR_TID3 | HCR_TSC | HCR_TIDCP | HCR_TACR | HCR_RW | HCR_TLOR | HCR_TERR)

/* CPTR_EL2 with E2H = 0: RES1 bits, TZ and TSM among them, plus trace and AMU. */
#define CPTR_GUEST (0x33ffull | (1ull << 20) | (1ull << 30))

/* MDCR_EL2: PMU, OS lock, debug ROM, SPE and trace filter trap; HPMN stays what it is. */
#define MDCR_TPMCR (1ull << 5)
#define MDCR_TPM (1ull << 6)
#define MDCR_TDA (1ull << 9)
#define MDCR_TDOSA (1ull << 10)
#define MDCR_TDRA (1ull << 11)
#define MDCR_TPMS (1ull << 14)
#define MDCR_TTRF (1ull << 19)
#define MDCR_HPMN 0x1full
#define MDCR_GUEST (MDCR_TPMCR | MDCR_TPM | MDCR_TDOSA | MDCR_TDRA | MDCR_TPMS | MDCR_TTRF)

#define CNTHCTL_GUEST 1ull		/* EL1PCTEN: CNTPCT readable; EL1PCEN = 0: CNTP traps */
#define SCTLR_EL1_RESET 0x30d00800ull	/* RES1 bits: MMU and caches off, little-endian */
#define MDSCR_MDE (1ull << 15)
#define DFR0_BRPS(x) ((unsigned)((x) >> 12) & 15u)
#define DFR0_WRPS(x) ((unsigned)((x) >> 20) & 15u)

/* X(index, name, op0, op1, CRn, CRm, op2) */
#define EL1_LIST(X)                                                                                \
	X(EL1_SP_EL0, sp_el0, 3, 0, 4, 1, 0)                                                       \
	X(EL1_SP_EL1, sp_el1, 3, 4, 4, 1, 0)                                                       \
	X(EL1_ELR, elr_el1, 3, 0, 4, 0, 1)                                                         \
	X(EL1_SPSR, spsr_el1, 3, 0, 4, 0, 0)                                                       \
	X(EL1_SCTLR, sctlr_el1, 3, 0, 1, 0, 0)                                                     \
	X(EL1_CPACR, cpacr_el1, 3, 0, 1, 0, 2)                                                     \
	X(EL1_TTBR0, ttbr0_el1, 3, 0, 2, 0, 0)                                                     \
	X(EL1_TTBR1, ttbr1_el1, 3, 0, 2, 0, 1)                                                     \
	X(EL1_TCR, tcr_el1, 3, 0, 2, 0, 2)                                                         \
	X(EL1_ESR, esr_el1, 3, 0, 5, 2, 0)                                                         \
	X(EL1_AFSR0, afsr0_el1, 3, 0, 5, 1, 0)                                                     \
	X(EL1_AFSR1, afsr1_el1, 3, 0, 5, 1, 1)                                                     \
	X(EL1_FAR, far_el1, 3, 0, 6, 0, 0)                                                         \
	X(EL1_MAIR, mair_el1, 3, 0, 10, 2, 0)                                                      \
	X(EL1_AMAIR, amair_el1, 3, 0, 10, 3, 0)                                                    \
	X(EL1_VBAR, vbar_el1, 3, 0, 12, 0, 0)                                                      \
	X(EL1_CONTEXTIDR, contextidr_el1, 3, 0, 13, 0, 1)                                          \
	X(EL1_TPIDR_EL0, tpidr_el0, 3, 3, 13, 0, 2)                                                \
	X(EL1_TPIDRRO, tpidrro_el0, 3, 3, 13, 0, 3)                                                \
	X(EL1_TPIDR_EL1, tpidr_el1, 3, 0, 13, 0, 4)                                                \
	X(EL1_CNTKCTL, cntkctl_el1, 3, 0, 14, 1, 0)                                                \
	X(EL1_PAR, par_el1, 3, 0, 7, 4, 0)                                                         \
	X(EL1_MDSCR, mdscr_el1, 2, 0, 0, 2, 2)                                                     \
	X(EL1_CSSELR, csselr_el1, 3, 2, 0, 0, 0)

#define EL1_ID(index, name, op0, op1, crn, crm, op2) [index] = TM_SYSREG(op0, op1, crn, crm, op2),
const uint32_t el1_reg_id[VCPU_EL1_REGS] = {EL1_LIST(EL1_ID)};
_Static_assert(EL1_CSSELR + 1 == VCPU_EL1_REGS, "asm/vcpu.h counts them");

static void el1_save(uint64_t *r)
{
#define EL1_SAVE(index, name, op0, op1, crn, crm, op2) r[index] = SYS_READ(name);
	EL1_LIST(EL1_SAVE)
}

static void el1_load(const uint64_t *r)
{
#define EL1_LOAD(index, name, op0, op1, crn, crm, op2) SYS_WRITE(name, r[index]);
	EL1_LIST(EL1_LOAD)
}

/* --- breakpoint and watchpoint registers: as many as the CPU has, and only while in use --- */

#define DBG_DOWN(X) X(15) X(14) X(13) X(12) X(11) X(10) X(9) X(8) X(7) X(6) X(5) X(4) X(3) X(2) X(1)

static void debug_save(struct arch_vcpu *a)
{
	uint64_t dfr0 = SYS_READ(id_aa64dfr0_el1);

#define BP_SAVE(n) case n: a->dbg_bvr[n] = SYS_READ(dbgbvr##n##_el1);                              \
	a->dbg_bcr[n] = SYS_READ(dbgbcr##n##_el1); __attribute__((fallthrough));
#define WP_SAVE(n) case n: a->dbg_wvr[n] = SYS_READ(dbgwvr##n##_el1);                              \
	a->dbg_wcr[n] = SYS_READ(dbgwcr##n##_el1); __attribute__((fallthrough));
	switch (DFR0_BRPS(dfr0)) {
	DBG_DOWN(BP_SAVE)
	default:
		a->dbg_bvr[0] = SYS_READ(dbgbvr0_el1);
		a->dbg_bcr[0] = SYS_READ(dbgbcr0_el1);
	}
	switch (DFR0_WRPS(dfr0)) {
	DBG_DOWN(WP_SAVE)
	default:
		a->dbg_wvr[0] = SYS_READ(dbgwvr0_el1);
		a->dbg_wcr[0] = SYS_READ(dbgwcr0_el1);
	}
}

static void debug_load(const struct arch_vcpu *a)
{
	uint64_t dfr0 = SYS_READ(id_aa64dfr0_el1);

#define BP_LOAD(n) case n: SYS_WRITE(dbgbvr##n##_el1, a->dbg_bvr[n]);                              \
	SYS_WRITE(dbgbcr##n##_el1, a->dbg_bcr[n]); __attribute__((fallthrough));
#define WP_LOAD(n) case n: SYS_WRITE(dbgwvr##n##_el1, a->dbg_wvr[n]);                              \
	SYS_WRITE(dbgwcr##n##_el1, a->dbg_wcr[n]); __attribute__((fallthrough));
	switch (DFR0_BRPS(dfr0)) {
	DBG_DOWN(BP_LOAD)
	default:
		SYS_WRITE(dbgbvr0_el1, a->dbg_bvr[0]);
		SYS_WRITE(dbgbcr0_el1, a->dbg_bcr[0]);
	}
	switch (DFR0_WRPS(dfr0)) {
	DBG_DOWN(WP_LOAD)
	default:
		SYS_WRITE(dbgwvr0_el1, a->dbg_wvr[0]);
		SYS_WRITE(dbgwcr0_el1, a->dbg_wcr[0]);
	}
}

static void mdcr_write(bool debug_live)
{
	uint64_t hpmn = SYS_READ(mdcr_el2) & MDCR_HPMN;

	SYS_WRITE(mdcr_el2, hpmn | MDCR_GUEST | (debug_live ? 0 : MDCR_TDA));
}

void debug_switch_in(struct vcpu *v)
{
	debug_load(&v->arch);
	v->arch.debug_live = true;
	mdcr_write(true);
}

static void debug_put(struct arch_vcpu *a)
{
	uint64_t in_use = a->el1[EL1_MDSCR] & MDSCR_MDE;

	if (!a->debug_live) {
		return;
	}
	debug_save(a);
	for (unsigned i = 0; i < VCPU_DBG_REGS; i++) {
		in_use |= (a->dbg_bcr[i] | a->dbg_wcr[i]) & 1;
	}
	a->debug_live = in_use;
}

/* --- load and put --- */

void guest_cpu_init(void)
{
	static bool done[BOOT_MAX_CPUS];
	extern const char el2_vectors[];
	struct pcpu *c = this_pcpu();

	if (done[c->id]) {
		return;
	}
	done[c->id] = true;
	SYS_WRITE(vbar_el2, (uint64_t)(uintptr_t)el2_vectors);
	SYS_WRITE(cptr_el2, CPTR_GUEST);
	SYS_WRITE(hstr_el2, 0);
	SYS_WRITE(cnthctl_el2, CNTHCTL_GUEST);
	SYS_WRITE(vpidr_el2, SYS_READ(midr_el1));
	SYS_WRITE(oslar_el1, 0);	/* it resets to locked, which would mute the guest's debug */
	vgic_cpu_init();
	/* Every CPU says the same, so that it does not matter who is first. */
	irq_register(machine.timer_virt, vtimer_irq);
	irq_register(machine.gic_maintenance, vgic_maintenance_irq);
	gic_ppi_enable(machine.timer_virt, true);
	gic_ppi_enable(machine.gic_maintenance, true);
	ISB();
}

void arch_vcpu_load(struct vcpu *v)
{
	struct arch_vcpu *a = &v->arch;

	guest_cpu_init();
	SYS_WRITE(hcr_el2, HCR_GUEST);
	SYS_WRITE(vttbr_el2, cpu_vttbr(&v->vm->s2));
	SYS_WRITE(vmpidr_el2, a->vmpidr);
	el1_load(a->el1);
	mdcr_write(a->debug_live);
	if (a->debug_live) {
		debug_load(a);
	}
	fp_load((const uint64_t (*)[2])a->v);
	a->loaded = true;
	ISB();
	/* Another vCPU of this VM may have left translations of its own here. */
	if (v->vm->arch.last_ran[v->cpu] != v->id + 1u) {
		v->vm->arch.last_ran[v->cpu] = (uint8_t)(v->id + 1u);
		arm64_tlb_flush_vmid_local();
	}
	vtimer_load(v);
	vgic_load(v);
	ISB();
}

void arch_vcpu_put(struct vcpu *v)
{
	struct arch_vcpu *a = &v->arch;

	el1_save(a->el1);
	debug_put(a);
	fp_save(a->v);
	vgic_put(v);
	vtimer_put(v);
	a->loaded = false;
}

/* --- life --- */

uint64_t vcpu_mpidr(unsigned version, unsigned id)
{
	/* SGI target lists reach 16 CPUs a cluster with GICv3; GICv2 has 8 in all. */
	return version == 2 ? (uint64_t)(id & 7) | (uint64_t)(id >> 3) << 8 :
			      (uint64_t)(id & 15) | (uint64_t)(id >> 4) << 8;
}

struct vcpu *vcpu_by_mpidr(struct vm *vm, uint64_t mpidr)
{
	unsigned version = vm->arch.gic_version;
	uint64_t aff0 = mpidr & 0xff, aff1 = (mpidr >> 8) & 0xff;
	uint64_t id = version == 2 ? aff1 * 8 + aff0 : aff1 * 16 + aff0;

	if (id >= TM_MAX_VCPUS || vcpu_mpidr(version, (unsigned)id) != (mpidr & 0xff00ffffffull)) {
		return NULL;
	}
	return __atomic_load_n(&vm->vcpu[index_nospec(id, TM_MAX_VCPUS)], __ATOMIC_ACQUIRE);
}

int arch_vcpu_init(struct vcpu *v)
{
	v->arch.vmpidr = 0x80000000u | vcpu_mpidr(v->vm->arch.gic_version, v->id);
	vtimer_init(v);
	vgic_vcpu_init(v);
	return 0;
}

void arch_vcpu_destroy(struct vcpu *v)
{
	vgic_vcpu_gone(v);
	hyptimer_cancel_wait(&v->arch.vtimer.soft);
	hyptimer_cancel_wait(&v->arch.ptimer.soft);
}

void arch_vcpu_reset(struct vcpu *v, uint64_t entry, uint64_t arg)
{
	struct arch_vcpu *a = &v->arch;

	memset(a->x, 0, sizeof(a->x));
	memset(a->v, 0, sizeof(a->v));
	memset(a->el1, 0, sizeof(a->el1));
	memset(a->dbg_bcr, 0, sizeof(a->dbg_bcr));
	memset(a->dbg_wcr, 0, sizeof(a->dbg_wcr));
	a->fpsr = 0;
	a->fpcr = 0;
	a->debug_live = false;
	a->el1[EL1_SCTLR] = SCTLR_EL1_RESET;
	a->pc = entry;
	a->pstate = PSTATE_DAIF | PSTATE_EL1H;
	a->x[0] = arg;
	vtimer_reset(v);
	vgic_vcpu_reset(v);
}

/* --- the manager's view --- */

size_t arch_regs_size(void)
{
	return sizeof(struct tm_regs);
}

static bool is_named(unsigned i)
{
	return i <= EL1_SPSR;		/* these four have fields of their own */
}

static int put_row(struct tm_regs *r, uint32_t id, uint64_t val)
{
	if (r->n >= TM_REGS_SYS_MAX) {
		return -TM_E2BIG;
	}
	r->sys[r->n].id = id;
	r->sys[r->n].val = val;
	r->n++;
	return 0;
}

/* Breakpoint registers appear only when they are not zero. */
static int put_debug(struct tm_regs *r, const uint64_t *regs, unsigned op2)
{
	int err = 0;

	for (unsigned i = 0; i < VCPU_DBG_REGS && !err; i++) {
		if (regs[i]) {
			err = put_row(r, TM_SYSREG(2, 0, 0, i, op2), regs[i]);
		}
	}
	return err;
}

int arch_vcpu_regs_get(struct vcpu *v, struct tm_regs *out)
{
	const struct arch_vcpu *a = &v->arch;
	int err = 0;

	if (a->loaded) {
		return -TM_EBUSY;
	}
	memset(out, 0, sizeof(*out));
	memcpy(out->x, a->x, sizeof(out->x));
	memcpy(out->v, a->v, sizeof(out->v));
	out->fpsr = (uint32_t)a->fpsr;
	out->fpcr = (uint32_t)a->fpcr;
	out->pc = a->pc;
	out->pstate = a->pstate;
	out->sp_el0 = a->el1[EL1_SP_EL0];
	out->sp_el1 = a->el1[EL1_SP_EL1];
	out->elr_el1 = a->el1[EL1_ELR];
	out->spsr_el1 = a->el1[EL1_SPSR];
	out->powered_on = v->powered_on;
	for (unsigned i = 0; i < VCPU_EL1_REGS && !err; i++) {
		if (!is_named(i)) {
			err = put_row(out, el1_reg_id[i], a->el1[i]);
		}
	}
	err = err ? err : put_debug(out, a->dbg_bcr, 5);
	err = err ? err : put_debug(out, a->dbg_wcr, 7);
	err = err ? err : put_debug(out, a->dbg_bvr, 4);
	return err ? err : put_debug(out, a->dbg_wvr, 6);
}

/* Where a row goes; NULL: no such register here. */
static uint64_t *row_target(struct arch_vcpu *a, uint32_t id)
{
	unsigned n = (id >> 1) & 15;

	for (unsigned i = 0; i < VCPU_EL1_REGS; i++) {
		if (!is_named(i) && el1_reg_id[i] == id) {
			return &a->el1[i];
		}
	}
	if (id == TM_SYSREG(2, 0, 0, n, 4)) {
		return &a->dbg_bvr[n];
	}
	if (id == TM_SYSREG(2, 0, 0, n, 5)) {
		return &a->dbg_bcr[n];
	}
	if (id == TM_SYSREG(2, 0, 0, n, 6)) {
		return &a->dbg_wvr[n];
	}
	return id == TM_SYSREG(2, 0, 0, n, 7) ? &a->dbg_wcr[n] : NULL;
}

/* Only EL0 and EL1 in AArch64, no reserved mode: an illegal SPSR would trap our own ERET. */
static bool pstate_ok(uint64_t p)
{
	unsigned mode = p & 0x1f;

	return (mode == PSTATE_EL0 || mode == PSTATE_EL1T || mode == PSTATE_EL1H) && !(p >> 32);
}

int arch_vcpu_regs_set(struct vcpu *v, const struct tm_regs *in)
{
	struct arch_vcpu *a = &v->arch;

	if (a->loaded) {
		return -TM_EBUSY;
	}
	if (in->n > TM_REGS_SYS_MAX || in->powered_on > 1 || !pstate_ok(in->pstate)) {
		return -TM_EINVAL;
	}
	for (unsigned i = 0; i < in->n; i++) {
		if (in->sys[i].rsvd || !row_target(a, in->sys[i].id)) {
			return -TM_EINVAL;
		}
	}
	memcpy(a->x, in->x, sizeof(a->x));
	memcpy(a->v, in->v, sizeof(a->v));
	a->fpsr = in->fpsr;
	a->fpcr = in->fpcr;
	a->pc = in->pc;
	a->pstate = in->pstate;
	a->el1[EL1_SP_EL0] = in->sp_el0;
	a->el1[EL1_SP_EL1] = in->sp_el1;
	a->el1[EL1_ELR] = in->elr_el1;
	a->el1[EL1_SPSR] = in->spsr_el1;
	for (unsigned i = 0; i < in->n; i++) {
		*row_target(a, in->sys[i].id) = in->sys[i].val;
	}
	/* In hardware from the next load on, whether they are switched lazily or not. */
	a->debug_live = true;
	v->powered_on = in->powered_on;
	return 0;
}
