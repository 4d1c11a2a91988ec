// SPDX-License-Identifier: Apache-2.0
/*
 * A vCPU's state for the manager: REGS and TIMER_STATE. v is quiet: put away, and nobody runs it. A
 * set checks everything before it changes anything, so that no bad value reaches hardware. REGS_SET
 * runs under v->lock and takes no other lock.
 */
#include <arch/time.h>
#include <arch/vcpu.h>
#include <asm/board.h>
#include <asm/guest.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#include "check.h"
#include "msr.h"

size_t arch_regs_size(void)
{
	return sizeof(struct tm_regs);
}

uint64_t arch_cap_gic_version(void)
{
	return 0;
}

/* ---- get ------------------------------------------------------------------------------------- */

/* A software interrupt or exception is raised anew by its instruction, at which RIP still stands, and
 * so is a fault; an interrupt has been acknowledged and must not be lost. */
static struct x86_event event_to_keep(const struct arch_vcpu *a)
{
	if (a->again.valid) {
		return a->again;
	}
	return a->event.type <= EVENT_HW_EXCEPTION ? a->event : (struct x86_event){0};
}

static void get_hardware(struct vcpu *v, struct tm_regs *out)
{
	out->gpr[GPR_RSP] = virt->read(v, XREG_RSP);
	out->rip = virt->read(v, XREG_RIP);
	out->rflags = virt->read(v, XREG_RFLAGS);
	out->cr0 = virt->read(v, XREG_CR0);
	out->cr3 = virt->read(v, XREG_CR3);
	out->cr4 = virt->read(v, XREG_CR4);
	out->efer = virt->read(v, XREG_EFER);
	out->dr7 = virt->read(v, XREG_DR7);
	out->gdtr.base = virt->read(v, XREG_GDTR_BASE);
	out->gdtr.limit = (uint32_t)virt->read(v, XREG_GDTR_LIMIT);
	out->idtr.base = virt->read(v, XREG_IDTR_BASE);
	out->idtr.limit = (uint32_t)virt->read(v, XREG_IDTR_LIMIT);
	out->blocking = (uint32_t)virt->read(v, XREG_BLOCKING);
	for (unsigned i = 0; i < 8; i++) {
		out->seg[i] = guest_segment(v, i);
	}
}

/* TCG's LDMXCSR and FXRSTOR take reserved bits, which are #GP; nobody else would load them again. */
static void get_fpu(const struct arch_vcpu *a, struct tm_regs *out)
{
	uint32_t mxcsr;

	memcpy(out->xsave, a->xsave, XSAVE_END);
	memcpy(&mxcsr, out->xsave + XSAVE_MXCSR, sizeof(mxcsr));
	mxcsr &= fpu_mxcsr_mask();
	memcpy(out->xsave + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
}

int arch_vcpu_regs_get(struct vcpu *v, struct tm_regs *out)
{
	const struct arch_vcpu *a = &v->arch;
	struct x86_event e = event_to_keep(a);

	if (a->loaded) {
		return -TM_EBUSY;
	}
	memset(out, 0, sizeof(*out));
	memcpy(out->gpr, a->gpr, sizeof(out->gpr));
	get_hardware(v, out);
	out->cr2 = a->cr2;
	out->cr8 = lapic_cr8(v);
	out->xcr0 = a->xcr0;
	memcpy(out->dr, a->dr, sizeof(out->dr));
	out->dr6 = a->dr6;
	out->event = event_pack(&e);
	out->event_error = e.valid ? e.error : 0;
	out->activity = a->halted ? TM_ACTIVITY_HALTED : TM_ACTIVITY_RUN;
	out->nmi_pending = __atomic_load_n(&a->nmi_pending, __ATOMIC_RELAXED);
	out->powered_on = v->powered_on;
	out->n = msr_state_get(v, out->msr, TM_REGS_MSR_MAX);
	get_fpu(a, out);
	return 0;
}

/* ---- set ------------------------------------------------------------------------------------- */

/* XRSTOR in the standard form takes nothing else (SDM volume 1, 13.8.1). */
static bool xsave_ok(const struct tm_regs *in)
{
	uint64_t header[8];
	uint32_t mxcsr;

	memcpy(&mxcsr, in->xsave + XSAVE_MXCSR, sizeof(mxcsr));
	memcpy(header, in->xsave + XSAVE_HEADER, sizeof(header));
	if ((mxcsr & ~fpu_mxcsr_mask()) || (header[0] & ~fpu_mask())) {
		return false;
	}
	for (unsigned i = 1; i < ARRAY_SIZE(header); i++) {
		if (header[i]) {
			return false;
		}
	}
	return fpu_mask() ? xcr0_ok(in->xcr0) : in->xcr0 == 0;
}

static bool scalars_ok(const struct tm_regs *in)
{
	if (in->powered_on > 1 || in->activity > TM_ACTIVITY_HALTED || in->nmi_pending > 2 ||
	    in->n > TM_REGS_MSR_MAX || in->rsvd || in->cr8 > 15 || in->dr6 >> 32 ||
	    in->gdtr.rsvd || in->idtr.rsvd) {
		return false;
	}
	if (in->activity == TM_ACTIVITY_HALTED && in->event) {
		return false;
	}
	for (unsigned i = 0; i < 8; i++) {
		if (in->seg[i].rsvd || in->seg[i].rsvd2) {
			return false;
		}
	}
	return true;
}

/* An interrupt that cannot be taken at once waits for its window. */
static uint32_t event_now(const struct tm_regs *in)
{
	bool interrupt = (in->event >> 31) && ((in->event >> 8) & 7) == EVENT_EXT_INT;

	if (interrupt && !(in->event & 0x7ffff800u) &&
	    (!(in->rflags & RFLAGS_IF) || (in->blocking & (TM_BLOCK_STI | TM_BLOCK_MOV_SS)))) {
		return 0;
	}
	return in->event;
}

static bool state_ok(const struct tm_regs *in)
{
	struct check_state s = {
		.rip = in->rip, .rflags = in->rflags, .cr0 = in->cr0, .cr3 = in->cr3, .cr4 = in->cr4,
		.efer = in->efer, .dr7 = in->dr7, .gdtr = in->gdtr, .idtr = in->idtr,
		.event = event_now(in), .blocking = in->blocking,
		.halted = in->activity == TM_ACTIVITY_HALTED, .phys_bits = cpu_features.phys_bits,
	};

	/* Of the software types none is ever given out. */
	if ((in->event >> 31) && ((in->event >> 8) & 7) > EVENT_HW_EXCEPTION) {
		return false;
	}
	memcpy(s.seg, in->seg, sizeof(s.seg));
	return check_state(&s) == NULL;
}

static void set_event(struct vcpu *v, const struct tm_regs *in)
{
	struct x86_event e = {
		.valid = in->event >> 31, .type = (in->event >> 8) & 7, .vector = (uint8_t)in->event,
		.has_error = (in->event >> 11) & 1, .error = in->event_error,
	};
	bool now = event_now(in) != 0;

	v->arch.event = now ? e : (struct x86_event){0};
	v->arch.again = e.valid && !now ? e : (struct x86_event){0};
}

static void set_hardware(struct vcpu *v, const struct tm_regs *in)
{
	virt->write(v, XREG_RSP, in->gpr[GPR_RSP]);
	virt->write(v, XREG_RIP, in->rip);
	virt->write(v, XREG_RFLAGS, in->rflags);
	virt->write(v, XREG_CR4, in->cr4);
	virt->write(v, XREG_CR3, in->cr3);
	virt->write(v, XREG_EFER, in->efer);
	virt->write(v, XREG_CR0, in->cr0 | CR0_ET);
	virt->write(v, XREG_DR7, (in->dr7 & DR7_WRITABLE) | DR7_FIXED);
	virt->write(v, XREG_GDTR_BASE, in->gdtr.base);
	virt->write(v, XREG_GDTR_LIMIT, in->gdtr.limit);
	virt->write(v, XREG_IDTR_BASE, in->idtr.base);
	virt->write(v, XREG_IDTR_LIMIT, in->idtr.limit);
	for (unsigned i = 0; i < 8; i++) {
		virt->write(v, XREG_SEG(i, SEG_SELECTOR), in->seg[i].selector);
		virt->write(v, XREG_SEG(i, SEG_ATTRIBUTES), in->seg[i].attributes);
		virt->write(v, XREG_SEG(i, SEG_LIMIT), in->seg[i].limit);
		virt->write(v, XREG_SEG(i, SEG_BASE), in->seg[i].base);
	}
	virt->write(v, XREG_BLOCKING, in->blocking);
}

static bool msrs_ok(struct vcpu *v, const struct tm_regs *in)
{
	for (unsigned i = 0; i < in->n; i++) {
		if (in->msr[i].rsvd || !msr_state_ok(v, in->msr[i].msr, in->msr[i].val)) {
			return false;
		}
	}
	return true;
}

int arch_vcpu_regs_set(struct vcpu *v, const struct tm_regs *in)
{
	struct arch_vcpu *a = &v->arch;

	if (a->loaded) {
		return -TM_EBUSY;
	}
	if (!scalars_ok(in) || !xsave_ok(in) || !state_ok(in) || !msrs_ok(v, in)) {
		return -TM_EINVAL;
	}
	memcpy(a->gpr, in->gpr, sizeof(a->gpr));
	set_hardware(v, in);
	a->cr2 = in->cr2;
	lapic_set_cr8(v, in->cr8);
	memcpy(a->xsave, in->xsave, XSAVE_END);
	a->xcr0 = in->xcr0;
	memcpy(a->dr, in->dr, sizeof(a->dr));
	a->dr6 = (in->dr6 & DR6_WRITABLE) | DR6_FIXED;
	debug_update(v);
	set_event(v, in);
	a->halted = in->activity == TM_ACTIVITY_HALTED;
	__atomic_store_n(&a->dead_halt, a->halted && !(in->rflags & RFLAGS_IF), __ATOMIC_SEQ_CST);
	__atomic_store_n(&a->nmi_pending, (uint8_t)in->nmi_pending, __ATOMIC_RELAXED);
	__atomic_store_n(&a->init_pending, false, __ATOMIC_RELAXED);
	a->mmio_write_back = false;
	/* Memory may be restored later than registers. */
	a->pdptes_stale = guest_uses_pdptes(v);
	msr_state_clear(v);
	for (unsigned i = 0; i < in->n; i++) {
		msr_state_set(v, in->msr[i].msr, in->msr[i].val);
	}
	guest_flush(v);
	v->powered_on = in->powered_on;
	return 0;
}

/* ---- time ------------------------------------------------------------------------------------ */

int arch_timer_state_get(struct vcpu *v, struct tm_timer_state *s)
{
	if (v->arch.loaded) {
		return -TM_EBUSY;
	}
	s->tsc = __builtin_ia32_rdtsc() + v->arch.tsc_offset;
	s->tsc_deadline = lapic_tsc_deadline(v);
	return 0;
}

/*
 * vCPUs are saved and restored one after the other, so what should be one offset comes in several. A
 * sibling's that is less than a second away is meant.
 */
static uint64_t common_offset(const struct vcpu *v, uint64_t offset)
{
	for (unsigned i = 0; i < v->vm->vcpus_max; i++) {
		const struct vcpu *o = __atomic_load_n(&v->vm->vcpu[i], __ATOMIC_ACQUIRE);
		uint64_t second = arch_time_freq();

		if (o && o != v && offset - o->arch.tsc_offset + second < 2 * second) {
			return o->arch.tsc_offset;
		}
	}
	return offset;
}

int arch_timer_state_set(struct vcpu *v, const struct tm_timer_state *s)
{
	if (v->arch.loaded) {
		return -TM_EBUSY;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(s->rsvd); i++) {
		if (s->rsvd[i]) {
			return -TM_EINVAL;
		}
	}
	guest_set_tsc_offset(v, common_offset(v, s->tsc - __builtin_ia32_rdtsc()));
	lapic_tsc_deadline_set(v, s->tsc_deadline);
	lapic_tsc_changed(v);
	return 0;
}
