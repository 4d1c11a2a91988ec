// SPDX-License-Identifier: Apache-2.0
/*
 * What exits mean, the same for VMX and SVM, but for registers (control.c, msr.c, policy.c), ports
 * (io.c) and device memory (emulate.c). Runs on the exiting vCPU's CPU, no lock held.
 */
#include <arch/cpu.h>
#include <arch/vcpu.h>
#include <asm/board.h>
#include <asm/enter.h>
#include <asm/guest.h>
#include <hyp/entry.h>
#include <hyp/fault.h>
#include <hyp/hypercall.h>
#include <hyp/log.h>
#include <hyp/mmio.h>
#include <hyp/vm.h>

/* ---- calls and waits ------------------------------------------------------------------------- */

/* abi.md: 64-bit mode at CPL 0. */
static bool may_call(struct vcpu *v)
{
	return (virt->read(v, XREG_EFER) & EFER_LMA) &&
	       (virt->read(v, XREG_SEG(TM_SEG_CS, SEG_ATTRIBUTES)) & SEG_L) && guest_cpl(v) == 0;
}

void exit_hypercall(struct vcpu *v, unsigned len)
{
	if (unlikely(!may_call(v))) {
		inject_ud(v);
		return;
	}
	guest_skip(v, len);
	hypercall_now(v);
}

/* With IF = 0 only an NMI or INIT ends it. When nobody is left to send one, it is the VM's end. */
static void halt_for_good(struct vcpu *v)
{
	__atomic_store_n(&v->arch.dead_halt, true, __ATOMIC_SEQ_CST);
	if (arch_vcpu_irq_pending(v) || vcpu_others_can_run(v)) {
		return;
	}
	if (v->vm->is_manager) {
		manager_died("its last CPU halted with interrupts off");
	} else {
		vcpu_stop(v, TM_EXIT_HALTED, 0);
	}
}

void exit_hlt(struct vcpu *v, unsigned len)
{
	bool open = virt->read(v, XREG_RFLAGS) & RFLAGS_IF;

	guest_skip(v, len);
	if (v->arch.event.valid) {
		return;			/* single-stepped */
	}
	v->stats.wfi++;
	v->arch.halted = true;		/* the loop in arch_enter_guest() does the rest */
	if (!open) {
		halt_for_good(v);
	}
}

void exit_pause(struct vcpu *v, unsigned len)
{
	guest_skip(v, len);
	sched_give_way();
}

void exit_invd(struct vcpu *v, unsigned len)
{
	/* Caches are coherent and hold other guests' lines too: nothing is thrown away. */
	guest_skip(v, len);
}

static void put_edx_eax(struct vcpu *v, uint64_t val)
{
	v->arch.gpr[GPR_RAX] = (uint32_t)val;
	v->arch.gpr[GPR_RDX] = val >> 32;
}

void exit_rdtscp(struct vcpu *v, unsigned len)
{
	put_edx_eax(v, __builtin_ia32_rdtsc() + v->arch.tsc_offset);
	v->arch.gpr[GPR_RCX] = (uint32_t)smsr_read(v, SMSR_TSC_AUX);
	guest_skip(v, len);
}

void exit_cpuid(struct vcpu *v, unsigned len)
{
	uint64_t *r = v->arch.gpr;
	struct cpuid_regs c;

	policy_cpuid(v, (uint32_t)r[GPR_RAX], (uint32_t)r[GPR_RCX], &c);
	r[GPR_RAX] = c.eax;
	r[GPR_RBX] = c.ebx;
	r[GPR_RCX] = c.ecx;
	r[GPR_RDX] = c.edx;
	guest_skip(v, len);
}

void exit_external_interrupt(struct vcpu *v)
{
	v->stats.irqs++;
	arch_irq_handle();
}

/* ---- exceptions and ends --------------------------------------------------------------------- */

void exit_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	switch (vector) {
	case VEC_DB:
		/* Breakpoint conditions are those of this exception, the rest accumulates. */
		v->arch.dr6 = (v->arch.dr6 & ~(uint64_t)(error & 0xf ? 0xf : 0)) |
			      (error & DR6_WRITABLE) | DR6_FIXED;
		virt->write(v, XREG_DR7, virt->read(v, XREG_DR7) & ~(uint64_t)DR7_GD);
		inject_exception(v, VEC_DB, false, 0);
		break;
	case VEC_MC:
		log_err("machine check in vm %s vcpu %u", v->vm->name, v->id);
		vm_kill(v->vm, "machine check");
		break;
	default:
		inject_exception(v, vector, has_error, error);
		break;
	}
}

void exit_undefined(struct vcpu *v)
{
	inject_ud(v);
}

static void log_state(struct vcpu *v, const char *what, uint64_t num)
{
	log_warn_limited("vm %s vcpu %u: %s 0x%llx at 0x%llx:0x%llx, cr0 0x%llx cr3 0x%llx cr4 0x%llx "
			 "efer 0x%llx rflags 0x%llx",
			 v->vm->name, v->id, what, (unsigned long long)num,
			 (unsigned long long)virt->read(v, XREG_SEG(TM_SEG_CS, SEG_SELECTOR)),
			 (unsigned long long)virt->read(v, XREG_RIP),
			 (unsigned long long)virt->read(v, XREG_CR0),
			 (unsigned long long)virt->read(v, XREG_CR3),
			 (unsigned long long)virt->read(v, XREG_CR4),
			 (unsigned long long)virt->read(v, XREG_EFER),
			 (unsigned long long)virt->read(v, XREG_RFLAGS));
}

void exit_triple_fault(struct vcpu *v)
{
	log_state(v, "triple fault, cr2", v->arch.cr2);
	vcpu_stop_shutdown(v, TM_SHUTDOWN_CRASH);
}

void exit_unknown(struct vcpu *v, const char *what, uint64_t reason)
{
	log_state(v, what, reason);
	vm_kill(v->vm, "an exit that is not known");
}

void exit_invalid_state(struct vcpu *v, const char *why)
{
	log_state(v, why, 0);
	vm_kill(v->vm, "invalid guest state");
}

/* ---- nested page faults ---------------------------------------------------------------------- */

/* All regions of board_init() are between these. */
#define DEVICES_START BOARD_IOAPIC_BASE
#define DEVICES_END 0xff000000ull

/* Fetches, table walks and event delivery from what is not RAM. The bus would answer all-ones. */
static bool no_access_there(struct vcpu *v, const struct exit_npf *f)
{
	if (f->ptw || v->arch.event.valid) {
		log_state(v, f->ptw ? "page tables in no memory:" : "event delivery to no memory:",
			  f->gpa);
		exit_triple_fault(v);
		return true;
	}
	if (f->exec) {
		inject_ud(v);		/* FF FF */
		return true;
	}
	return false;
}

/* Mostly accesses to our own devices, which never overlap slots: no lock is needed to know. */
static bool try_device(struct vcpu *v, const struct exit_npf *f)
{
	const struct mmio_region *r;

	if (f->present || f->ptw || f->exec || f->gpa - DEVICES_START >= DEVICES_END - DEVICES_START) {
		return false;
	}
	r = mmio_find(v->vm, gpa(f->gpa));
	if (!r || no_access_there(v, f)) {
		return r != NULL;
	}
	emulate_mmio(v, f, MMIO_DEVICE, r);
	return true;
}

static __attribute__((noinline)) void not_ram(struct vcpu *v, const struct exit_npf *f,
					      enum mmio_target t)
{
	const struct mmio_region *r = t == MMIO_DEVICE ? mmio_find(v->vm, gpa(f->gpa)) : NULL;

	if (!no_access_there(v, f)) {
		emulate_mmio(v, f, r || t != MMIO_DEVICE ? t : MMIO_NOBODY, r);
	}
}

void exit_npf(struct vcpu *v, const struct exit_npf *f)
{
	struct s2_fault s = {
		.gpa = gpa(f->gpa),
		/* A walk that sets A or D bits writes to the tables. */
		.access = f->write ? ACCESS_WRITE : f->exec && !f->ptw ? ACCESS_EXEC : ACCESS_READ,
		.ptw = f->ptw,
		.permission = f->present,
	};

	if (f->nmi_unblocked) {
		virt->write(v, XREG_BLOCKING, virt->read(v, XREG_BLOCKING) | TM_BLOCK_NMI);
	}
	if (try_device(v, f)) {
		return;
	}
	v->stats.faults++;
	switch (fault_handle(v, &s)) {
	case FAULT_RETRY:
	case FAULT_STOP:
		break;
	case FAULT_EMULATE:
		not_ram(v, f, MMIO_DEVICE);
		break;
	case FAULT_MMIO:
		not_ram(v, f, MMIO_MANAGER);
		break;
	case FAULT_ABORT:
		not_ram(v, f, MMIO_NOBODY);
		break;
	}
}

/* There are no external aborts here: what is not there reads as all-ones (exit_npf). */
void arch_vcpu_inject_abort(struct vcpu *v, bool is_write, bool is_exec, uint64_t gva)
{
	(void)is_write, (void)gva;
	if (is_exec) {
		inject_ud(v);
	}
}
