// SPDX-License-Identifier: Apache-2.0
/*
 * Entries and exits of a vCPU: what hardware reports (Intel SDM volume 3, chapter 28) becomes a
 * call of asm/exit.h. Runs on the CPU that has the vCPU loaded, interrupts masked, no lock held.
 */
#include <abi/x86.h>
#include <asm/cpu.h>
#include <asm/enter.h>
#include <asm/exit.h>
#include <asm/irq.h>
#include <asm/msr.h>
#include <hyp/entry.h>
#include <hyp/log.h>
#include <hyp/vm.h>

#include "insn.h"
#include "vmcs.h"
#include "vmx.h"

#define RFLAGS_TF (1u << 8)
#define RFLAGS_IF (1u << 9)
#define RFLAGS_RF (1u << 16)
#define VECTOR_DB 1u
#define VECTOR_NMI 2
#define VECTOR_DF 8u
#define VECTOR_MC 18
#define ATTRIBUTES_DPL (3u << 5)
#define ATTRIBUTES_L (1u << 13)

static unsigned insn_len(void)
{
	return vmread32(VMCS_EXIT_INSN_LENGTH);
}

/* ---- before the entry ------------------------------------------------------------------------ */

static void inject(const struct vcpu *v)
{
	const struct x86_event *e = &v->arch.event;
	uint32_t info = e->vector | (uint32_t)e->type << INTR_TYPE_SHIFT | INTR_VALID;

	/* Real mode pushes none (27.2.1.3). */
	if (e->has_error && (vmread(VMCS_GUEST_CR0) & CR0_PE)) {
		info |= INTR_HAS_ERROR;
		vmwrite(VMCS_ENTRY_ERROR_CODE, e->error);
	}
	if (e->type >= EVENT_SW_INT) {
		vmwrite(VMCS_ENTRY_INSN_LENGTH, e->insn_len);
	}
	/* An exit by #DB saves no trap as pending, but in a shadow with TF the entry wants one
	 * (27.3.1.5); the delivery of this #DB then discards it (27.7.3). */
	if (e->type == EVENT_HW_EXCEPTION && e->vector == VECTOR_DB &&
	    (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_TF) &&
	    (vmread(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS))) {
		vmwrite(VMCS_GUEST_PENDING_DEBUG,
			vmread(VMCS_GUEST_PENDING_DEBUG) | PENDING_DEBUG_BS);
	}
	vmwrite(VMCS_ENTRY_INTR_INFO, info);
}

/*
 * Bochs 2.7 lets a guest that is entered with IF = 0 mask host interrupts until it changes IF, in
 * spite of external-interrupt exiting. For such entries the preemption timer ends the wait of
 * whoever kicked us; on a processor that needs no help it costs an exit in 100,000 ticks.
 */
static void backstop_set(struct vmx_vcpu *x, uint64_t rflags)
{
	x->if_entered = rflags & RFLAGS_IF;
	vmwrite(VMCS_PIN_CONTROLS, vmx_machine.pin | (x->if_entered ? 0 : PIN_PREEMPTION_TIMER));
}

static inline void backstop(struct vmx_vcpu *x)
{
	uint64_t rflags = vmread(VMCS_GUEST_RFLAGS);

	if (unlikely((rflags & RFLAGS_IF) != x->if_entered)) {
		backstop_set(x, rflags);
	}
}

static inline void prepare(struct vcpu *v)
{
	if (v->arch.event.valid) {
		inject(v);
		/* Nobody writes CR2 but whoever injects a page fault; and see vmx_run(). */
		write_cr(2, v->arch.cr2);
	}
}

/* ---- after the exit, before anybody hears of it ---------------------------------------------- */

static void nmi_blocked_again(void)
{
	vmwrite(VMCS_GUEST_INTERRUPTIBILITY, vmread(VMCS_GUEST_INTERRUPTIBILITY) | BLOCKED_BY_NMI);
}

/* The delivery of an event caused the exit: it is to be delivered again (28.2.4). */
static void save_interrupted(struct vcpu *v, uint32_t info)
{
	struct x86_event *e = &v->arch.event;

	*e = (struct x86_event){
		.valid = true,
		.type = (uint8_t)INTR_TYPE(info),
		.vector = (uint8_t)INTR_VECTOR(info),
		.has_error = info & INTR_HAS_ERROR,
	};
	if (e->has_error) {
		e->error = vmread32(VMCS_IDT_VECTORING_ERROR);
	}
	if (e->type >= EVENT_SW_INT) {
		e->insn_len = (uint8_t)insn_len();
	}
	if (e->type == EVENT_NMI) {
		/* Its delivery has begun to block NMIs; the repeated one must not be blocked. */
		vmwrite(VMCS_GUEST_INTERRUPTIBILITY,
			vmread(VMCS_GUEST_INTERRUPTIBILITY) & ~(uint64_t)BLOCKED_BY_NMI);
	}
}

/* ---- exits ----------------------------------------------------------------------------------- */

/* The exit's own NMI or machine check is the host's; its handler runs as if it had come here. */
static void exit_exception_or_nmi(struct vcpu *v)
{
	uint32_t info = vmread32(VMCS_EXIT_INTR_INFO);
	unsigned vector = INTR_VECTOR(info);
	uint32_t error = info & INTR_HAS_ERROR ? vmread32(VMCS_EXIT_INTR_ERROR) : 0;

	if (INTR_TYPE(info) == EVENT_NMI) {
		__asm__ volatile("int %0" : : "i"(VECTOR_NMI) : "memory");
		return;
	}
	if (vector == VECTOR_MC) {
		__asm__ volatile("int %0" : : "i"(VECTOR_MC) : "memory");
		return;
	}
	/* 28.2.3: an IRET that faulted has ended the blocking already. */
	if ((info & INTR_NMI_UNBLOCKED) && vector != VECTOR_DF && !v->arch.event.valid) {
		nmi_blocked_again();
	}
	if (vector == VECTOR_DB) {
		error = vmread32(VMCS_EXIT_QUALIFICATION);
	}
	if (INTR_TYPE(info) == EVENT_PRIV_SW_EXCEPTION) {
		/* INT1: a trap, but RIP stands at it. */
		vmwrite(VMCS_GUEST_RIP, vmread(VMCS_GUEST_RIP) + insn_len());
		vmx_write(v, XREG_BLOCKING, vmx_read(v, XREG_BLOCKING) & TM_BLOCK_NMI);
	}
	exit_exception(v, vector, info & INTR_HAS_ERROR, error);
}

static void exit_ept_violation(struct vcpu *v)
{
	uint64_t qual = vmread(VMCS_EXIT_QUALIFICATION);
	struct exit_npf f = {
		.gpa = vmread(VMCS_GUEST_PHYSICAL_ADDRESS),
		.read = qual & EPT_QUAL_READ,
		.write = qual & EPT_QUAL_WRITE,
		.exec = qual & EPT_QUAL_FETCH,
		.present = qual & EPT_QUAL_PERMISSIONS,
		.ptw = (qual & (EPT_QUAL_LINEAR | EPT_QUAL_FINAL)) == EPT_QUAL_LINEAR,
	};

	if (unlikely((qual & EPT_QUAL_NMI_UNBLOCKED) && !v->arch.event.valid)) {
		nmi_blocked_again();
		f.nmi_unblocked = true;
	}
	exit_npf(v, &f);
}

static void exit_pml_full(const struct vcpu *v)
{
	/* The buffer is empty again. */
	if ((vmread(VMCS_EXIT_QUALIFICATION) & EPT_QUAL_NMI_UNBLOCKED) && !v->arch.event.valid) {
		nmi_blocked_again();
	}
}

static bool in_64bit_mode(void)
{
	return (vmread(VMCS_GUEST_EFER) & EFER_LMA) &&
	       (vmread(VMCS_GUEST_ATTRIBUTES(TM_SEG_CS)) & ATTRIBUTES_L);
}

/* Nothing but RIP changes: no shadow of STI or MOV SS that ends, no trap that is due. */
static inline bool skips_plainly(uint64_t rflags)
{
	uint64_t shadow = vmread(VMCS_GUEST_INTERRUPTIBILITY);

	return likely(!(shadow & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS))) &&
	       likely(!(rflags & (RFLAGS_TF | RFLAGS_RF)));
}

bool vmx_skip(struct vcpu *v, unsigned len)
{
	uint64_t old, rip;

	/* The current VMCS is another one's when v is put away. */
	if (unlikely(v->arch.vmx.cpu == 0)) {
		return false;
	}
	old = vmread(VMCS_GUEST_RIP);
	rip = old + len;
	/* Only 64-bit code goes on above 4 GiB. */
	if (unlikely((rip ^ old) >> 32) || !skips_plainly(vmread(VMCS_GUEST_RFLAGS))) {
		return false;
	}
	vmwrite(VMCS_GUEST_RIP, rip);
	return true;
}

static inline void exit_vmcall(struct vcpu *v)
{
	uint64_t rflags = vmread(VMCS_GUEST_RFLAGS);
	unsigned len = insn_len();

	if (unlikely((rflags & RFLAGS_IF) != v->arch.vmx.if_entered)) {
		backstop_set(&v->arch.vmx, rflags);
	}
	if (unlikely(!in_64bit_mode()) ||
	    unlikely(vmread(VMCS_GUEST_ATTRIBUTES(TM_SEG_SS)) & ATTRIBUTES_DPL)) {
		inject_ud(v);
		return;
	}
	if (skips_plainly(rflags)) {
		vmwrite(VMCS_GUEST_RIP, vmread(VMCS_GUEST_RIP) + len);
	} else {
		guest_skip(v, len);
	}
	hypercall_now(v);
}

/* Table 28-3. */
static void exit_cr(struct vcpu *v)
{
	uint64_t qual = vmread(VMCS_EXIT_QUALIFICATION), val;
	unsigned cr = qual & 0xf, gpr = qual >> 8 & 0xf;

	switch (qual >> 4 & 3) {
	case 0:
		val = vcpu_gpr(v, gpr);
		exit_cr_write(v, cr, in_64bit_mode() ? val : (uint32_t)val, insn_len());
		return;
	case 1:
		exit_cr_read(v, cr, gpr, insn_len());
		return;
	case 2:		/* CLTS */
		exit_cr_write(v, 0, vmx_read(v, XREG_CR0) & ~(uint64_t)CR0_TS, insn_len());
		return;
	default:	/* LMSW sets PE, never clears it */
		val = vmx_read(v, XREG_CR0) & ~(uint64_t)(CR0_MP | CR0_EM | CR0_TS);
		exit_cr_write(v, 0, val | (qual >> 16 & 0xf), insn_len());
		return;
	}
}

/* Table 28-4. */
static void exit_mov_dr(struct vcpu *v)
{
	uint64_t qual = vmread(VMCS_EXIT_QUALIFICATION);

	exit_dr(v, qual & 7, !(qual & 0x10), qual >> 8 & 0xf, insn_len());
}

/* Table 28-5; of string instructions table 28-8. */
static void exit_port(struct vcpu *v)
{
	uint64_t qual = vmread(VMCS_EXIT_QUALIFICATION);
	struct exit_io io = {
		.port = (uint16_t)(qual >> 16),
		.size = (uint8_t)((qual & 7) + 1),
		.write = !(qual & 8),
		.string = qual & 0x10,
		.rep = qual & 0x20,
	};

	if (io.string) {
		uint32_t info = vmread32(VMCS_EXIT_INSN_INFO);

		io.addr_size = (uint8_t)(2u << (info >> 7 & 7));
		io.segment = info >> 15 & 7;
	}
	exit_io(v, &io, insn_len());
}

static void exit_misconfigured(struct vcpu *v)
{
	log_warn_limited("vm %u: EPT misconfiguration at 0x%llx", v->vm->handle,
			 (unsigned long long)vmread(VMCS_GUEST_PHYSICAL_ADDRESS));
	vm_kill(v->vm, "its EPT is broken");
}

static void exit_of_no_use(struct vcpu *v, uint32_t reason)
{
	switch (reason) {
	case VMX_EXIT_GETSEC:
	case VMX_EXIT_RSM:
	case VMX_EXIT_VMCLEAR ... VMX_EXIT_VMXON:
	case VMX_EXIT_MWAIT:
	case VMX_EXIT_MONITOR:
	case VMX_EXIT_INVEPT:
	case VMX_EXIT_INVVPID:
	case VMX_EXIT_VMFUNC:
	case VMX_EXIT_RDRAND:
	case VMX_EXIT_RDSEED:
		exit_undefined(v);
		return;
	case VMX_EXIT_TASK_SWITCH:
		exit_unknown(v, "task switch", reason);
		return;
	default:
		exit_unknown(v, "VM exit", reason);
		return;
	}
}

static void dispatch(struct vcpu *v, uint32_t reason)
{
	switch (reason) {
	case VMX_EXIT_EXCEPTION:
		exit_exception_or_nmi(v);
		return;
	case VMX_EXIT_EXTERNAL_INTERRUPT:
		irq_dispatch(INTR_VECTOR(vmread32(VMCS_EXIT_INTR_INFO)));
		return;
	case VMX_EXIT_TRIPLE_FAULT:
		exit_triple_fault(v);
		return;
	case VMX_EXIT_IRQ_WINDOW:
	case VMX_EXIT_NMI_WINDOW:
		vmx_window(v, WINDOW_NONE);	/* inject_prepare() asks again */
		return;
	case VMX_EXIT_CPUID:
		exit_cpuid(v, insn_len());
		return;
	case VMX_EXIT_HLT:
		exit_hlt(v, insn_len());
		return;
	case VMX_EXIT_INVD:
	case VMX_EXIT_WBINVD:
		exit_invd(v, insn_len());
		return;
	case VMX_EXIT_RDPMC:
		inject_gp(v);
		return;
	case VMX_EXIT_CR:
		exit_cr(v);
		return;
	case VMX_EXIT_DR:
		exit_mov_dr(v);
		return;
	case VMX_EXIT_IO:
		exit_port(v);
		return;
	case VMX_EXIT_RDMSR:
		exit_rdmsr(v, insn_len());
		return;
	case VMX_EXIT_WRMSR:
		exit_wrmsr(v, insn_len());
		return;
	case VMX_EXIT_PAUSE:
		exit_pause(v, insn_len());
		return;
	case VMX_EXIT_EPT_VIOLATION:
		exit_ept_violation(v);
		return;
	case VMX_EXIT_EPT_MISCONFIG:
		exit_misconfigured(v);
		return;
	case VMX_EXIT_RDTSCP:
		exit_rdtscp(v, insn_len());
		return;
	case VMX_EXIT_PREEMPTION_TIMER:
		return;
	case VMX_EXIT_XSETBV:
		exit_xsetbv(v, insn_len());
		return;
	case VMX_EXIT_PML_FULL:
		exit_pml_full(v);
		return;
	default:
		exit_of_no_use(v, reason);
		return;
	}
}

/* ---- run ------------------------------------------------------------------------------------- */

/* No guest instruction was executed and this VM ends. */
static void not_entered(struct vcpu *v, const char *what, uint64_t number)
{
	char why[64];

	v->arch.event.valid = false;
	vmwrite(VMCS_ENTRY_INTR_INFO, 0);
	hyp_snprintf(why, sizeof(why), "%s %llu", what, (unsigned long long)number);
	guest_exit_begin(this_pcpu(), v);
	exit_invalid_state(v, why);
}

/* Hardware refused the entry: VMfail (27.1, 27.2), or a failure after the guest state was looked at
 * (27.8), which is an exit without an entry. */
static void entry_refused(struct vcpu *v, int how, uint32_t reason)
{
	if (how == VMX_FAIL_VALID) {
		not_entered(v, "VM entry: instruction error", vmread(VMCS_INSTRUCTION_ERROR));
	} else if (how == VMX_FAIL_INVALID) {
		not_entered(v, "VM entry: no current VMCS on CPU", this_pcpu()->id);
	} else if (reason == VMX_EXIT_GUEST_STATE) {
		not_entered(v, "VM entry: invalid guest state, case",
			    vmread(VMCS_EXIT_QUALIFICATION));
	} else {
		not_entered(v, "VM entry: failure", reason);
	}
}

/*
 * Into the guest until its next exit, general registers but RSP in v's gpr[]. *host_rsp is what the
 * VMCS holds; corrected when the stack is another one.
 */
static inline int enter(struct vcpu *v, uint64_t *host_rsp)
{
	int how;

	__asm__ volatile("call vmx_enter"
			 : "=a"(how), "+D"(v), "+S"(host_rsp)
			 :
			 : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
			   "r15", "cc", "memory");
	return how;
}

static bool state_is_bad(struct vcpu *v)
{
#if DEBUG
	const char *why = guest_state_bad(v);

	if (unlikely(why)) {
		tlb_left(v);
		guest_exit_begin(this_pcpu(), v);
		exit_invalid_state(v, why);
		return true;
	}
#endif
	(void)v;
	return false;
}

/* One entry and its exit. False: it was refused, and the VM ends. */
static inline bool run_once(struct vcpu *v, struct pcpu *c, struct tlb_cpu *t)
{
	struct vmx_vcpu *x = &v->arch.vmx;
	uint32_t reason, interrupted;
	int how;

	if (state_is_bad(v)) {
		return false;
	}
	prepare(v);
	how = enter(v, &x->host_rsp);
	tlb_cpu_left(t);
	v->arch.cr2 = read_cr(2);
	reason = vmread32(VMCS_EXIT_REASON);
	if (unlikely(how != VMX_ENTERED) || unlikely((int32_t)reason < 0)) {
		entry_refused(v, how, (uint16_t)reason);
		return false;
	}
	v->arch.event.valid = false;
	interrupted = vmread32(VMCS_IDT_VECTORING_INFO);
	if (unlikely((int32_t)interrupted < 0)) {
		save_interrupted(v, interrupted);
	}
	if (unlikely(x->pml)) {
		vmx_pml_drain(v);
	}
	guest_exit_begin(c, v);
	if (likely(reason == VMX_EXIT_VMCALL)) {
		exit_vmcall(v);
	} else {
		dispatch(v, (uint16_t)reason);
		backstop(x);
	}
	return true;
}

void vmx_run(struct vcpu *v)
{
	struct vmx_vcpu *x = &v->arch.vmx;
	struct pcpu *c = this_cpu_area()->pcpu;
	struct tlb_cpu *t = &tlb_cpus[c->id];

	/* Neither of these changes behind our back from here on. */
	if (unlikely(x->vpid != v->arch.asid)) {
		x->vpid = v->arch.asid;
		vmwrite(VMCS_VPID, x->vpid);
	}
	write_cr(2, v->arch.cr2);
	backstop(x);
	do {
		if (!run_once(v, c, t)) {
			return;
		}
	} while (enter_again(c, t, v));
}
