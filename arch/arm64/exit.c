// SPDX-License-Identifier: Apache-2.0
/*
 * Guest exits: ESR_EL2 to the part that answers, and the way back. Runs on the exiting vCPU's CPU
 * with interrupts masked and no lock held. The end of every exit is guest_exit_finish(): the same vCPU
 * unless somebody asked for more.
 */
#include <arch/cpu.h>
#include <arch/vcpu.h>
#include <asm/guest.h>
#include <boot/guest_fdt.h>
#include <hyp/entry.h>
#include <hyp/fault.h>
#include <hyp/log.h>
#include <hyp/mmio.h>
#include <hyp/vm.h>

#include "mmio_decode.h"

/* ISS of aborts. */
#define ISS_FSC(esr) ((unsigned)(esr) & 0x3fu)
#define ISS_S1PTW (1u << 7)
#define FSC_TYPE(fsc) ((fsc) & 0x3cu)
#define FSC_TRANSLATION 0x04u
#define FSC_ACCESS_FLAG 0x08u
#define FSC_PERMISSION 0x0cu
#define PAR_F 1ull
#define PAR_PA 0x000ffffffffff000ull
#define HPFAR_FIPA(x) (((x) & 0xfffffffffff0ull) << 8)

static inline struct pcpu *pcpu_here(void)
{
	return (struct pcpu *)SYS_READ(tpidr_el2);
}

void guest_skip(struct vcpu *v)
{
	v->arch.pc += 4;
	/* BTYPE belongs to the instruction that has just been retired. */
	v->arch.pstate &= ~0xc00ull;
}

/*
 * The IPA. HPFAR_EL2 is valid for translation and access flag faults and for stage-1 walks; for
 * other permission faults it is UNKNOWN (Arm ARM D17.2.65), so the MMU is asked to walk stage 1
 * again. False: the guest's tables say something else by now, let it try again.
 */
static bool fault_ipa(uint64_t esr, uint64_t far, gpa_t *out)
{
	uint64_t par, saved;

	if (FSC_TYPE(ISS_FSC(esr)) != FSC_PERMISSION || (esr & ISS_S1PTW)) {
		*out = gpa(HPFAR_FIPA(SYS_READ(hpfar_el2)) | (far & PAGE_MASK));
		return true;
	}
	saved = SYS_READ(par_el1);
	__asm__ volatile("at s1e1r, %0\n\tisb" : : "r"(far) : "memory");
	par = SYS_READ(par_el1);
	SYS_WRITE(par_el1, saved);
	*out = gpa((par & PAR_PA) | (far & PAGE_MASK));
	return !(par & PAR_F);
}

static bool guest_big_endian(const struct vcpu *v)
{
	uint64_t sctlr = SYS_READ(sctlr_el1);

	if ((v->arch.pstate & 0xf) == PSTATE_EL0) {
		return sctlr & (1u << 24);	/* E0E */
	}
	return sctlr & (1u << 25);		/* EE */
}

static uint64_t swap_bytes(uint64_t val, unsigned len)
{
	return __builtin_bswap64(val) >> (64 - 8 * len);
}

static void load_result(struct vcpu *v, const struct mmio_insn *m, uint64_t data)
{
	if (unlikely(guest_big_endian(v))) {
		data = swap_bytes(data, m->len);
	}
	reg_set(&v->arch, m->reg, mmio_load_data(m, data));
}

static uint64_t store_data(struct vcpu *v, const struct mmio_insn *m)
{
	uint64_t data = mmio_store_data(m, reg_get(&v->arch, m->reg));

	return unlikely(guest_big_endian(v)) ? swap_bytes(data, m->len) : data;
}

/* No canary: the device fills in fields of `acc`, and this path is counted. */
static __attribute__((no_stack_protector)) void access_device(struct vcpu *v,
							      const struct mmio_region *r, gpa_t a,
							      const struct mmio_insn *m)
{
	struct mmio_access acc = {
		.offset = a.v - r->base.v,
		.len = m->len,
		.write = m->write,
	};

	if (m->write) {
		acc.data = store_data(v, m);
	}
	/* An access that leaves the region reads as zero and writes nothing. */
	if (acc.offset + acc.len <= r->size) {
		r->access(v, r->dev, &acc);
	}
	if (!m->write) {
		load_result(v, m, acc.data);
	}
	guest_skip(v);
}

/* All regions of arch_vm_init() stand below this. */
#define DEVICES_END 0x10000000ull
_Static_assert(GUEST_UART_BASE + GUEST_UART_SIZE <= DEVICES_END, "boards keep devices low");

/* A data abort with a syndrome, on no translation, not of a walk, where our devices are. */
static inline bool like_a_device(uint64_t esr)
{
	return (esr & (ISS_ISV | ISS_CM | ISS_S1PTW | 0x3cu)) == (ISS_ISV | FSC_TRANSLATION) &&
	       HPFAR_FIPA(SYS_READ(hpfar_el2)) < DEVICES_END;
}

/*
 * Such aborts are mostly accesses to our own devices. Those never overlap slots, so the map may be
 * asked first and without a lock. False: it was none.
 */
static __attribute__((noinline, no_stack_protector)) bool try_device(struct vcpu *v, uint64_t esr)
{
	const struct mmio_region *r;
	struct mmio_insn m;
	gpa_t a;

	a = gpa(HPFAR_FIPA(SYS_READ(hpfar_el2)) | (SYS_READ(far_el2) & PAGE_MASK));
	r = mmio_find(v->vm, a);
	if (!r) {
		return false;
	}
	m = mmio_decode(esr);
	access_device(v, r, a, &m);
	return true;
}

static void exit_to_manager(struct vcpu *v, gpa_t a, const struct mmio_insn *m)
{
	struct arch_vcpu *arch = &v->arch;

	arch->mmio_reg = m->reg;
	arch->mmio_len = m->len;
	arch->mmio_write = m->write;
	arch->mmio_sign = m->sign;
	arch->mmio_wide = m->wide;
	/* `data` is in guest memory order from byte 0, so no swap for either endianness here. */
	vcpu_stop_mmio(v, a, m->len, m->write, m->write ? store_data(v, m) : 0);
}

void arch_vcpu_complete_mmio(struct vcpu *v, uint64_t data)
{
	const struct arch_vcpu *a = &v->arch;
	struct mmio_insn m = {
		.valid = true,
		.write = a->mmio_write,
		.sign = a->mmio_sign,
		.wide = a->mmio_wide,
		.len = a->mmio_len,
		.reg = a->mmio_reg,
	};

	if (!m.write) {
		uint64_t sctlr = a->el1[EL1_SCTLR];
		bool el0 = (a->pstate & 0xf) == PSTATE_EL0;

		if ((sctlr >> (el0 ? 24 : 25)) & 1) {
			data = swap_bytes(data, m.len);
		}
		reg_set(&v->arch, m.reg, mmio_load_data(&m, data));
	}
	guest_skip(v);
}

/* No syndrome, so nobody can finish the access: the manager is told and nothing is retired. */
static void stop_undecodable(struct vcpu *v, const struct s2_fault *f)
{
	uint64_t flags = TM_FAULT_PERM;

	flags |= f->access == ACCESS_WRITE ? TM_FAULT_WRITE : TM_FAULT_READ;
	vcpu_stop_memory_fault(v, flags | (f->ptw ? TM_FAULT_PTW : 0u), f->gpa, 0);
}

/* A device, or the manager's business: decode and do it. */
static __attribute__((noinline)) void do_access(struct vcpu *v, const struct s2_fault *f,
						const struct mmio_region *r,
		      uint64_t esr, uint64_t far)
{
	struct mmio_insn m = mmio_decode(esr);

	if (f->ptw || f->access == ACCESS_EXEC) {
		/* Tables or code in a device: the bus says no. */
		inject_abort(v, f->access == ACCESS_WRITE, f->access == ACCESS_EXEC, far);
	} else if (m.cache_op) {
		guest_skip(v);		/* nothing is cached there */
	} else if (!m.valid) {
		stop_undecodable(v, f);
	} else if (r) {
		access_device(v, r, f->gpa, &m);
	} else {
		exit_to_manager(v, f->gpa, &m);
	}
}

/* No canary, as above: `f` is seven plain fields. */
static __attribute__((noinline, no_stack_protector)) void handle_abort(struct vcpu *v, uint64_t esr)
{
	uint64_t far = SYS_READ(far_el2);
	unsigned type = FSC_TYPE(ISS_FSC(esr));
	bool exec = ESR_EC(esr) == EC_IABT_LOW;
	bool permission = type == FSC_PERMISSION;
	bool ptw = esr & ISS_S1PTW;
	const struct mmio_region *r;
	struct s2_fault f;
	gpa_t a;

	if (type != FSC_TRANSLATION && type != FSC_ACCESS_FLAG && !permission) {
		/* A real external abort, parity, alignment of a walk: the guest's own trouble. */
		inject_abort(v, esr & ISS_WNR, exec, far);
		return;
	}
	if (!fault_ipa(esr, far, &a)) {
		return;
	}
	f = (struct s2_fault){.gpa = a, .ptw = ptw, .permission = permission};
	if (ptw) {
		/* The walker wants to set AF or the dirty state in a read-only table: a write,
		 * whatever WnR and EC say. */
		f.access = permission ? ACCESS_WRITE : ACCESS_READ;
	} else if (exec) {
		f.access = ACCESS_EXEC;
	} else {
		f.access = (esr & ISS_WNR) && !(esr & ISS_CM) ? ACCESS_WRITE : ACCESS_READ;
	}
	v->stats.faults++;
	switch (fault_handle(v, &f)) {
	case FAULT_RETRY:
	case FAULT_STOP:
		break;
	case FAULT_EMULATE:
		r = mmio_find(v->vm, a);
		if (r) {
			do_access(v, &f, r, esr, far);
		}
		break;
	case FAULT_MMIO:
		do_access(v, &f, NULL, esr, far);
		break;
	case FAULT_ABORT:
		if (!exec && !ptw && (esr & ISS_CM)) {
			guest_skip(v);
		} else {
			inject_abort(v, f.access == ACCESS_WRITE, exec, far);
		}
		break;
	}
}

static void handle_wfx(struct vcpu *v, uint64_t esr)
{
	guest_skip(v);
	/* TI: 0 WFI, 1 WFE, 2 WFIT, 3 WFET; only WFI is trapped and offered. */
	if ((esr & 3) == 0) {
		vcpu_wait(v);
	}
}

static __attribute__((noinline)) void handle_other(struct vcpu *v, uint64_t esr)
{
	switch (ESR_EC(esr)) {
	case EC_WFX:
		handle_wfx(v, esr);
		break;
	case EC_IABT_LOW:
		handle_abort(v, esr);
		break;
	case EC_SMC64:
		guest_skip(v);		/* a trapped SMC points at itself */
		smccc_call(v, esr & 0xffff);
		break;
	case EC_FP:
	case EC_PAUTH:
	case EC_SVE:
	case EC_SME:
	case EC_UNKNOWN:
		inject_undef(v);
		break;
	default:
		log_warn_limited("vm %s vcpu %u: exit esr 0x%llx at 0x%llx not known: undefined",
				 v->vm->name, v->id, (unsigned long long)esr,
				 (unsigned long long)v->arch.pc);
		inject_undef(v);
		break;
	}
}

struct vcpu *arm64_exit_sync(struct vcpu *v)
{
	uint64_t esr = SYS_READ(esr_el2);
	unsigned ec = ESR_EC(esr);

	guest_exit_begin(pcpu_here(), v);
	if (likely(ec == EC_HVC64)) {
		smccc_call(v, esr & 0xffff);
	} else if (ec == EC_DABT_LOW) {
		if (!like_a_device(esr) || !try_device(v, esr)) {
			handle_abort(v, esr);
		}
	} else if (ec == EC_SYSREG) {
		v->stats.sysreg_traps++;
		if (!sysreg_trap(v, esr)) {
			inject_undef(v);
		}
	} else {
		handle_other(v, esr);
	}
	/* Asking again for the CPU is cheaper than keeping it. */
	return guest_exit_finish(pcpu_here(), v);
}

struct vcpu *arm64_exit_irq(struct vcpu *v)
{
	struct pcpu *c = pcpu_here();

	guest_exit_begin(c, v);
	v->stats.irqs++;
	arch_irq_handle();
	return guest_exit_finish(c, v);
}

struct vcpu *arm64_exit_serror(struct vcpu *v)
{
	struct pcpu *c = pcpu_here();

	guest_exit_begin(c, v);
	log_warn_limited("vm %s vcpu %u: SError 0x%llx", v->vm->name, v->id,
			 (unsigned long long)SYS_READ(esr_el2));
	vm_kill(v->vm, "SError");
	return guest_exit_finish(c, v);
}

void arch_enter_guest(struct vcpu *v)
{
	guest_enter_asm(guest_exit_finish(pcpu_here(), v));
}
