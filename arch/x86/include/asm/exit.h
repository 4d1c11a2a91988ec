// SPDX-License-Identifier: Apache-2.0
/*
 * What exits mean, the same for VMX and SVM (arch/x86/exit.c and its neighbours). Called by
 * virt->run() after guest_exit_begin(), no lock held. `len` is the instruction's length; a handler
 * that retires it calls guest_skip(v, len). Faults are injected by the handler.
 */
#ifndef ASM_EXIT_H
#define ASM_EXIT_H

#include <asm/virt.h>
#include <hyp/types.h>

/* Retires an instruction: RIP, and the interrupt shadow ends. */
void guest_skip(struct vcpu *v, unsigned len);

void exit_hypercall(struct vcpu *v, unsigned len);
void exit_cpuid(struct vcpu *v, unsigned len);
void exit_rdmsr(struct vcpu *v, unsigned len);
void exit_wrmsr(struct vcpu *v, unsigned len);
void exit_hlt(struct vcpu *v, unsigned len);
void exit_pause(struct vcpu *v, unsigned len);
void exit_xsetbv(struct vcpu *v, unsigned len);
void exit_invd(struct vcpu *v, unsigned len);	/* INVD, WBINVD: nothing is done to the machine */
void exit_rdtscp(struct vcpu *v, unsigned len);
/* MOV to and from a control register; also LMSW, CLTS and SMSW as their MOV. */
void exit_cr_read(struct vcpu *v, unsigned cr, unsigned gpr, unsigned len);
void exit_cr_write(struct vcpu *v, unsigned cr, uint64_t val, unsigned len);
void exit_dr(struct vcpu *v, unsigned dr, bool write, unsigned gpr, unsigned len);

struct exit_io {
	uint16_t port;
	uint8_t size;		/* 1, 2, 4 */
	bool write, string, rep;
	uint8_t segment;	/* of an OUTS, enum tm_segment_index */
	uint8_t addr_size;	/* 2, 4, 8: of a string instruction */
};
void exit_io(struct vcpu *v, const struct exit_io *io, unsigned len);

/* EPT violation, nested page fault. */
struct exit_npf {
	uint64_t gpa;
	bool read, write, exec;
	bool present;		/* a leaf was there and forbade it */
	bool ptw;		/* on the guest's own tables, not on the final address */
	bool nmi_unblocked;	/* by the IRET that faulted: NMI blocking has been restored */
	const uint8_t *insn;	/* bytes that hardware fetched, or NULL */
	uint8_t insn_bytes;
};
void exit_npf(struct vcpu *v, const struct exit_npf *f);

/* An exception of the guest that we intercept for its own sake (#DB, #AC, #UD, #MC policy). Of a
 * #DB, error = the bits for DR6 (VMX: the exit qualification; SVM: the DR6 of the VMCB). DR6 as the
 * guest reads it is v->arch.dr6: MOV DR is always intercepted, so the hardware's does not matter. */
void exit_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error);
void exit_triple_fault(struct vcpu *v);
void exit_external_interrupt(struct vcpu *v);
/* INIT, SIPI signals, task switches, SVM's VMRUN and friends: #UD or one line and the VM's end. */
void exit_undefined(struct vcpu *v);
void exit_unknown(struct vcpu *v, const char *what, uint64_t reason);
/* Entry failed, or our own check before it did: ends that VM. */
void exit_invalid_state(struct vcpu *v, const char *why);


/* ---- inject.c ---------------------------------------------------------------------------------- */

void inject_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error);
void inject_gp(struct vcpu *v);
void inject_ud(struct vcpu *v);
void inject_pf(struct vcpu *v, uint64_t gva, uint32_t error);
/* Before each entry: chooses what is delivered, or asks for a window. An event is for one entry:
 * run() leaves none behind but an interrupted one. */
void inject_prepare(struct vcpu *v);

/* ---- check.c, debug builds: the entry checks of SDM 27.3 / APM 15.5 that hardware would make ----- */

/* NULL, or what is wrong with the guest state. */
const char *guest_state_bad(struct vcpu *v);

/* ---- policy.c: what CPUID shows and which MSRs exist (one table) -------------------------------- */

struct cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};
void policy_init(void);
void policy_cpuid(struct vcpu *v, uint32_t leaf, uint32_t sub, struct cpuid_regs *out);
/* MSRs that the guest reads and writes without an exit, for the bitmaps of vmx/ and svm/. */
bool policy_msr_passthrough(uint32_t msr, bool write);
/* Bits that CR0/CR4/EFER/XCR0 may have. */
uint64_t policy_cr4_allowed(void);
uint64_t policy_xcr0_allowed(void);
uint64_t policy_efer_allowed(void);

#endif
