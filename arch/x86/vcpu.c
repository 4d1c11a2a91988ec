// SPDX-License-Identifier: Apache-2.0
/*
 * A vCPU's life: creation, load and put, the loop around guest mode, INIT and SIPI. Called by the
 * scheduler for a vCPU that this CPU owns, so no lock; what other CPUs ask for is atomic.
 */
#include <arch/vcpu.h>
#include <asm/board.h>
#include <asm/guest.h>
#include <boot/guest_start.h>
#include <hyp/entry.h>
#include <hyp/page_alloc.h>
#include <hyp/string.h>
#include <hyp/vm.h>

/* ---- life ------------------------------------------------------------------------------------ */

int arch_vm_init(struct vm *vm)
{
	vm->s2.arch.tlb_gen = 1;
	return board_init(vm);
}

void arch_vm_destroy(struct vm *vm)
{
	board_destroy(vm);
}

void arch_vm_reset(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

		if (v) {
			arch_vcpu_reset(v, 0, 0);
		}
	}
	board_reset(vm);
}

int arch_vcpu_init(struct vcpu *v)
{
	int err;

	v->arch.xsave = page_alloc();
	if (!v->arch.xsave) {
		return -TM_ENOMEM;
	}
	err = virt->vcpu_init(v);
	if (err) {
		page_free(v->arch.xsave);
		v->arch.xsave = NULL;
		return err;
	}
	lapic_vcpu_init(v);
	return 0;
}

void arch_vcpu_destroy(struct vcpu *v)
{
	lapic_vcpu_gone(v);
	virt->vcpu_free(v);
	page_free(v->arch.xsave);
	v->arch.xsave = NULL;
}

/* ---- load and put ---------------------------------------------------------------------------- */

/* TSC_AUX exists where RDTSCP does. */
static bool smsr_exists(enum switched_msr i)
{
	return i != SMSR_TSC_AUX || (cpu_features.ext1_edx & (1u << 27));
}

static const uint32_t smsr_number[SMSR_COUNT] = {
	[SMSR_STAR] = MSR_STAR,
	[SMSR_LSTAR] = MSR_LSTAR,
	[SMSR_CSTAR] = MSR_CSTAR,
	[SMSR_SFMASK] = MSR_SFMASK,
	[SMSR_KERNEL_GS_BASE] = MSR_KERNEL_GS_BASE,
	[SMSR_TSC_AUX] = MSR_TSC_AUX,
	[SMSR_SYSENTER_CS] = MSR_SYSENTER_CS,
	[SMSR_SYSENTER_ESP] = MSR_SYSENTER_ESP,
	[SMSR_SYSENTER_EIP] = MSR_SYSENTER_EIP,
	[SMSR_PAT] = MSR_PAT,
};

static bool smsr_ours(unsigned i)
{
	return !(virt->hw_msrs & (1u << i)) && smsr_exists(i);
}

uint64_t smsr_read(struct vcpu *v, enum switched_msr i)
{
	if (virt->hw_msrs & (1u << i)) {
		return virt->read(v, XREG_SMSR(i));
	}
	return v->arch.loaded && smsr_exists(i) ? rdmsr(smsr_number[i]) : v->arch.msr[i];
}

void smsr_write(struct vcpu *v, enum switched_msr i, uint64_t val)
{
	if (virt->hw_msrs & (1u << i)) {
		virt->write(v, XREG_SMSR(i), val);
	} else if (v->arch.loaded && smsr_exists(i)) {
		wrmsr(smsr_number[i], val);
	} else {
		v->arch.msr[i] = val;
	}
}

void guest_set_tsc_offset(struct vcpu *v, uint64_t offset)
{
	v->arch.tsc_offset = offset;
	virt->write(v, XREG_TSC_OFFSET, offset);
}

static void debug_load(const struct arch_vcpu *a)
{
	__asm__ volatile("mov %0, %%dr0" : : "r"(a->dr[0]));
	__asm__ volatile("mov %0, %%dr1" : : "r"(a->dr[1]));
	__asm__ volatile("mov %0, %%dr2" : : "r"(a->dr[2]));
	__asm__ volatile("mov %0, %%dr3" : : "r"(a->dr[3]));
}

/* DR0-3 of a guest whose DR7 enables none are not in hardware: nothing looks at them there. */
void debug_update(struct vcpu *v)
{
	v->arch.debug_live = virt->read(v, XREG_DR7) & DR7_ENABLED;
	if (v->arch.loaded && v->arch.debug_live) {
		debug_load(&v->arch);
	}
}

void arch_vcpu_load(struct vcpu *v)
{
	struct arch_vcpu *a = &v->arch;

	virt->load(v);
	for (unsigned i = 0; i < SMSR_COUNT; i++) {
		if (smsr_ours(i)) {
			wrmsr(smsr_number[i], a->msr[i]);
		}
	}
	fpu_load(v);
	a->loaded = true;
	if (a->debug_live) {
		debug_load(a);
	}
	/* INIT came while it was on no CPU. */
	if (__atomic_load_n(&a->init_pending, __ATOMIC_ACQUIRE)) {
		__atomic_fetch_or(&v->requests, (uint32_t)VCPU_REQ_IRQ, __ATOMIC_RELAXED);
	}
}

void arch_vcpu_put(struct vcpu *v)
{
	struct arch_vcpu *a = &v->arch;

	fpu_put(v);
	for (unsigned i = 0; i < SMSR_COUNT; i++) {
		if (smsr_ours(i)) {
			a->msr[i] = rdmsr(smsr_number[i]);
		}
	}
	a->loaded = false;
	virt->put(v);
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* HLT lasts until something can be delivered, whatever else woke the scheduler. */
static bool stays_halted(struct vcpu *v)
{
	if (!v->arch.halted) {
		return false;
	}
	if (!arch_vcpu_irq_pending(v)) {
		v->wait_pending = true;
		__atomic_store_n(&this_pcpu()->resched, 1, __ATOMIC_RELAXED);
		return true;
	}
	v->arch.halted = false;
	__atomic_store_n(&v->arch.dead_halt, false, __ATOMIC_RELAXED);
	return false;
}

void arch_enter_guest(struct vcpu *v)
{
	struct pcpu *c = this_pcpu();

	for (;;) {
		v = guest_exit_finish(c, v);
		if (unlikely(v->arch.halted | v->arch.mmio_write_back | v->arch.pdptes_stale)) {
			if (stays_halted(v) || emulate_write_back(v)) {
				continue;
			}
			if (v->arch.pdptes_stale && !guest_load_pdptes(v)) {
				exit_triple_fault(v);
				continue;
			}
		}
		inject_prepare(v);
		tlb_enter(v);
		virt->run(v);
	}
}

/* ---- interrupts, INIT, SIPI ------------------------------------------------------------------ */

bool arch_vcpu_irq_pending(struct vcpu *v)
{
	struct arch_vcpu *a = &v->arch;

	if (__atomic_load_n(&a->nmi_pending, __ATOMIC_RELAXED) ||
	    __atomic_load_n(&a->init_pending, __ATOMIC_RELAXED)) {
		return true;
	}
	/* An acknowledged one that has to come again stands in no register of the board. */
	if (a->again.valid && a->again.type == EVENT_NMI) {
		return true;
	}
	return !__atomic_load_n(&a->dead_halt, __ATOMIC_RELAXED) &&
	       (a->again.valid || board_irq_pending(v) >= 0);
}

/* INIT: the boot CPU starts again at the reset vector, the others wait for SIPI. */
static void take_init(struct vcpu *v)
{
	uint16_t sipi;

	vcpu_reset_init(v);
	lapic_reset(v, true);
	__atomic_store_n(&v->arch.init_pending, false, __ATOMIC_SEQ_CST);
	if (v->id == 0) {
		return;
	}
	vcpu_power_off(v);
	/* Off first: a SIPI that found us on still, and was ignored for that, stands here. */
	sipi = __atomic_exchange_n(&v->arch.sipi, 0, __ATOMIC_SEQ_CST);
	if (sipi) {
		arch_vcpu_reset(v, (uint64_t)(sipi & 0xff) << PAGE_SHIFT, GUEST_START_SIPI);
		spin_lock(&v->lock);
		v->powered_on = true;
		spin_unlock(&v->lock);
	}
}

void arch_vcpu_irq_sync(struct vcpu *v)
{
	if (unlikely(__atomic_load_n(&v->arch.init_pending, __ATOMIC_ACQUIRE))) {
		take_init(v);
	}
	/* Interrupts themselves are looked at before every entry. */
}

void vcpu_init_signal(struct vcpu *v)
{
	/* One that waits for SIPI has nothing to reset. */
	if (!__atomic_load_n(&v->powered_on, __ATOMIC_ACQUIRE)) {
		return;
	}
	__atomic_store_n(&v->arch.sipi, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&v->arch.init_pending, true, __ATOMIC_SEQ_CST);
	vcpu_irq_kick(v);
}

void vcpu_sipi(struct vcpu *v, unsigned vector)
{
	/* For one that has an INIT to take, whose last step looks here. Otherwise the next INIT
	 * clears it. */
	__atomic_store_n(&v->arch.sipi, (uint16_t)(0x100 | (vector & 0xff)), __ATOMIC_SEQ_CST);
	/* A vCPU that is on ignores it. */
	(void)!vcpu_power_on(v, (uint64_t)(vector & 0xff) << PAGE_SHIFT, GUEST_START_SIPI);
}

bool vcpu_others_can_run(struct vcpu *v)
{
	struct vm *vm = v->vm;

	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *o = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

		if (o && o != v && __atomic_load_n(&o->powered_on, __ATOMIC_ACQUIRE) &&
		    !__atomic_load_n(&o->arch.dead_halt, __ATOMIC_SEQ_CST)) {
			return true;
		}
	}
	return false;
}
