// SPDX-License-Identifier: Apache-2.0
/*
 * One entry and one exit: events in and out of the VMCB, and the exit code as one call of
 * asm/exit.h. Runs on the CPU that has the vCPU loaded, interrupts masked, no lock held.
 */
#include <asm/enter.h>
#include <asm/guest.h>
#include <hyp/entry.h>

#include "svm.h"

#define LEN_VMMCALL 3u
#define DR6_SHOWN (0xfull | 7ull << 13)	/* B0-B3, BD, BS, BT */
/* Exceptions that push an error code (APM volume 2, table 8-1). */
#define HAS_ERROR                                                                                  \
	(1u << VEC_DF | 1u << VEC_TS | 1u << VEC_NP | 1u << VEC_SS | 1u << VEC_GP | 1u << VEC_PF | \
	 1u << VEC_AC | 1u << 21)
#define ATTRIB_L (1u << 9)

/* ---- before the entry ------------------------------------------------------------------------ */

/* Whenever there is an event, or something was changed since the last entry. */
static void before_entry(struct vcpu *v, struct vmcb *b)
{
	struct svm_vcpu *s = &v->arch.svm;

	s->after |= AFTER_CHANGE;
	if (v->arch.event.valid) {
		svm_inject(v);
		v->arch.event.valid = false;
	}
	b->cr2 = v->arch.cr2;
	b->clean &= ~CLEAN_CR2;
	if (b->interrupt_shadow & SHADOW_ACTIVE) {
		s->shadow_rip = b->rip;
		s->after |= AFTER_SHADOW;
	}
	v->arch.changed = false;
}

/* ---- after the exit -------------------------------------------------------------------------- */

/* True: the exit is dealt with. */
static bool after_exit(struct vcpu *v, struct vmcb *b)
{
	struct svm_vcpu *s = &v->arch.svm;
	uint8_t after = s->after;

	s->after = after & AFTER_NMI;
	b->eventinj = 0;
	b->tlb_control = TLB_NOTHING;
	b->clean = CLEAN_ALL;
	/* QEMU's TCG does not load the shadow: an exit before the next instruction must not lose
	 * it, or an interrupt between STI and HLT is slept over. */
	if ((after & AFTER_SHADOW) && b->rip == s->shadow_rip) {
		b->interrupt_shadow |= SHADOW_ACTIVE;
	}
	return (after & AFTER_NMI) && svm_nmi_progress(v);
}

/* Length by hardware's count; 0 where it does not count. */
static inline unsigned hw_len(const struct vmcb *b)
{
	uint64_t len = b->nrip - b->rip;

	return svm_features.nrips && len - 1 < 15 ? (unsigned)len : 0;
}

static inline bool in_64bit_mode(const struct vmcb *b)
{
	return (b->efer & EFER_LMA) && (b->cs.attrib & ATTRIB_L);
}

/*
 * Decoded once, then remembered: code does not change the prefixes of its CPUIDs, and who does so
 * without leaving the CPU in between misleads itself alone.
 */
static unsigned decoded_len(struct vcpu *v, const struct vmcb *b)
{
	uint64_t linear = b->cs.base + b->rip;
	struct svm_len *l = &v->arch.svm.len[linear % SVM_LENS];
	struct x86_insn in;

	if (unlikely(l->linear != linear || l->cr3 != b->cr3 ||
		     l->exitcode != (uint16_t)b->exitcode || !l->len)) {
		if (!svm_insn_get(v, &in)) {
			return 0;
		}
		*l = (struct svm_len){linear, b->cr3, (uint16_t)b->exitcode, in.len};
	}
	return l->len;
}

/* Calls a handler with the length of its instruction. */
static inline void with_len(struct vcpu *v, void (*handler)(struct vcpu *v, unsigned len))
{
	const struct vmcb *b = vmcb_of(v);
	unsigned len = svm_features.nrips ? hw_len(b) : decoded_len(v, b);

	/* 0: it cannot be read any more, so it runs again and tells what is wrong. */
	if (likely(len)) {
		handler(v, len);
	}
}

/* Not in a shadow, not stepped: to move RIP is all. */
static inline bool is_plain(const struct vmcb *b)
{
	return likely(!((b->rflags & (RFLAGS_TF | RFLAGS_RF)) |
			(b->interrupt_shadow & SHADOW_ACTIVE)));
}

bool svm_skip(struct vcpu *v, unsigned len)
{
	struct vmcb *b = vmcb_of(v);
	uint64_t rip = b->rip + len;

	/* Only 64-bit code goes on above 4 GiB. */
	if (unlikely((rip ^ b->rip) >> 32) || !is_plain(b)) {
		return false;
	}
	b->rip = rip;
	return true;
}

static inline __attribute__((always_inline)) void exit_vmmcall(struct vcpu *v, struct vmcb *b)
{
	unsigned len = svm_features.nrips ? hw_len(b) : LEN_VMMCALL;

	if (unlikely(!in_64bit_mode(b) || b->cpl)) {
		inject_ud(v);
		return;
	}
	if (is_plain(b)) {
		b->rip += len;
	} else {
		guest_skip(v, len);
	}
	hypercall_now(v);
}

static void exit_mov_cr(struct vcpu *v, const struct vmcb *b, unsigned cr, bool write)
{
	unsigned gpr, len = hw_len(b);
	struct x86_insn in;

	if (svm_features.decode_assists && len) {
		gpr = b->exitinfo1 & 15;
	} else if (svm_insn_get(v, &in) &&
		   in.op == (write ? X86_OP_MOV_TO_CR : X86_OP_MOV_FROM_CR)) {
		gpr = in.rm;
		len = in.len;
	} else {
		return;
	}
	if (write) {
		uint64_t val = vcpu_gpr(v, gpr);

		exit_cr_write(v, cr, in_64bit_mode(b) ? val : (uint32_t)val, len);
	} else {
		exit_cr_read(v, cr, gpr, len);
	}
}

static void exit_mov_dr(struct vcpu *v, const struct vmcb *b, unsigned dr, bool write)
{
	unsigned gpr, len = hw_len(b);
	struct x86_insn in;

	if (svm_features.decode_assists && len) {
		gpr = b->exitinfo1 & 15;
	} else if (svm_insn_get(v, &in) &&
		   in.op == (write ? X86_OP_MOV_TO_DR : X86_OP_MOV_FROM_DR)) {
		gpr = in.rm;
		len = in.len;
	} else {
		return;
	}
	exit_dr(v, dr, write, gpr, len);
}

static void exit_ioio(struct vcpu *v, const struct vmcb *b)
{
	uint32_t info = (uint32_t)b->exitinfo1;
	struct exit_io io = {
		.port = IOIO_PORT(info),
		.size = (uint8_t)IOIO_SIZE(info),
		.write = !(info & IOIO_IN),
	};

	if (info & IOIO_STRING) {
		io.string = true;
		io.rep = info & IOIO_REP;
		io.addr_size = (uint8_t)IOIO_ADDR(info);	/* TCG leaves it out */
		io.segment = (uint8_t)IOIO_SEGMENT(info);
		if (!svm_features.decode_assists && !svm_insn_string(v, &io)) {
			return;
		}
	}
	exit_io(v, &io, (unsigned)(b->exitinfo2 - b->rip));
}

static void exit_nested_fault(struct vcpu *v, const struct vmcb *b)
{
	uint64_t info = b->exitinfo1;
	struct exit_npf f = {
		.gpa = b->exitinfo2,
		.write = info & NPF_WRITE,
		.exec = info & NPF_FETCH,
		.read = !(info & (NPF_WRITE | NPF_FETCH)),
		.present = info & NPF_PRESENT,
		.ptw = info & NPF_GUEST_TABLE,
	};

	if (info & NPF_RESERVED) {
		exit_unknown(v, "reserved bit in a nested page table", b->exitinfo2);
		return;
	}
	if (b->insn_bytes_count - 1u < sizeof(b->insn_bytes)) {
		f.insn = b->insn_bytes;
		f.insn_bytes = b->insn_bytes_count;
	}
	exit_npf(v, &f);
}

static void exit_guest_exception(struct vcpu *v, struct vmcb *b, unsigned vector)
{
	switch (vector) {
	case VEC_DB:
		exit_exception(v, vector, false, (uint32_t)(b->dr6 & DR6_SHOWN));
		b->dr6 = DR6_FIXED;
		svm_changed(v, CLEAN_DR);
		break;
	case VEC_MC:
		/* It is the machine's, and was not delivered: our own handler takes it. */
		__asm__ volatile("int $18" : : : "memory");
		break;
	case VEC_PF:
		v->arch.cr2 = b->exitinfo2;	/* only after a step, like the rest */
		exit_exception(v, vector, true, (uint32_t)b->exitinfo1);
		break;
	default:
		exit_exception(v, vector, HAS_ERROR >> vector & 1, (uint32_t)b->exitinfo1);
		break;
	}
}

/*
 * QEMU's TCG ends a guest's MOV to CR3 with reserved bits this way, where hardware raises #GP (APM
 * volume 2, 15.5.1 knows this code for VMRUN only). The state is good, nothing was to be delivered
 * (a #GP from here would be), and that instruction stands there.
 */
static bool refused_cr3(struct vcpu *v, const struct vmcb *b)
{
	struct x86_insn in;

	if ((b->exitintinfo & EV_VALID) || guest_state_bad(v) || !svm_insn_get(v, &in) ||
	    in.op != X86_OP_MOV_TO_CR || in.reg != 3) {
		return false;
	}
	return vcpu_gpr(v, in.rm) >> cpu_features.phys_bits != 0;
}

/* Exits that are neither frequent nor a range. */
static void dispatch_rare(struct vcpu *v, struct vmcb *b, uint32_t code)
{
	switch (code) {
	case SVM_NMI:
	case SVM_SMI:
	case SVM_INIT:
		break;		/* the machine's: taken when GIF was set again */
	case SVM_IRET:
		svm_exit_iret(v);
		break;
	case SVM_XSETBV:
		with_len(v, exit_xsetbv);
		break;
	case SVM_INVD:
	case SVM_WBINVD:
		with_len(v, exit_invd);
		break;
	case SVM_PAUSE:
		with_len(v, exit_pause);
		break;
	case SVM_RDPMC:
		inject_gp(v);
		break;
	case SVM_SHUTDOWN:
		exit_triple_fault(v);
		break;
	case SVM_RSM:
	case SVM_INVLPGA:
	case SVM_VMRUN:
	case SVM_VMLOAD:
	case SVM_VMSAVE:
	case SVM_STGI:
	case SVM_CLGI:
	case SVM_SKINIT:
	case SVM_MONITOR:
	case SVM_MWAIT:
	case SVM_MWAIT_ARMED:
	case SVM_RDPRU:
	case SVM_INVLPGB:
	case SVM_INVLPGB_ILLEGAL:
	case SVM_MCOMMIT:
	case SVM_TLBSYNC:
		exit_undefined(v);
		break;
	case SVM_INVALID:
		if (refused_cr3(v, b)) {
			inject_gp(v);
		} else {
			exit_invalid_state(v, "VMRUN refused it");
		}
		break;
	default:
		exit_unknown(v, "SVM exit", b->exitcode);
		break;
	}
}

static void dispatch(struct vcpu *v, struct vmcb *b)
{
	uint32_t code = (uint32_t)b->exitcode;

	switch (code) {
	case SVM_VMMCALL:
		exit_hypercall(v, svm_features.nrips ? hw_len(b) : LEN_VMMCALL);
		break;
	case SVM_NPF:
		exit_nested_fault(v, b);
		break;
	case SVM_INTR:
		exit_external_interrupt(v);
		break;
	case SVM_VINTR:
		svm_window(v, WINDOW_NONE);
		break;
	case SVM_IOIO:
		exit_ioio(v, b);
		break;
	case SVM_MSR:
		with_len(v, b->exitinfo1 & 1 ? exit_wrmsr : exit_rdmsr);
		break;
	case SVM_CPUID:
		fpu_sync_xcr0(v);	/* leaf 0xd shows it */
		with_len(v, exit_cpuid);
		break;
	case SVM_HLT:
		with_len(v, exit_hlt);
		break;
	case SVM_CR_READ ... SVM_CR_READ + 15:
		exit_mov_cr(v, b, code & 15, false);
		break;
	case SVM_CR_WRITE ... SVM_CR_WRITE + 15:
		exit_mov_cr(v, b, code & 15, true);
		break;
	case SVM_DR_READ ... SVM_DR_READ + 15:
		exit_mov_dr(v, b, code & 15, false);
		break;
	case SVM_DR_WRITE ... SVM_DR_WRITE + 15:
		exit_mov_dr(v, b, code & 15, true);
		break;
	case SVM_EXCEPTION ... SVM_EXCEPTION + 31:
		exit_guest_exception(v, b, code & 31);
		break;
	default:
		dispatch_rare(v, b, code);
		break;
	}
}

/* ---- the round ------------------------------------------------------------------------------- */

/* Debug builds: hardware accepts, or refuses without a word, what our own check names. */
static bool refused(struct vcpu *v)
{
#if DEBUG
	const char *why = guest_state_bad(v);

	if (why) {
		tlb_left(v);
		v->arch.event.valid = false;
		guest_exit_begin(this_pcpu(), v);
		exit_invalid_state(v, why);
		return true;
	}
#endif
	(void)v;
	return false;
}

/* entry.S: general registers from *v, VMRUN, and back; RAX is in the VMCB. */
static inline struct vcpu *enter(struct vcpu *v)
{
	uint64_t vmcb_pa = v->arch.svm.vmcb_pa, host_pa = v->arch.svm.host_pa;

	__asm__ volatile("call svm_enter"
			 : "+D"(v), "+S"(vmcb_pa), "+d"(host_pa)
			 :
			 : "rax", "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
			   "r15", "memory", "cc");
	return v;
}

/* All exits but the plain call. */
static __attribute__((noinline)) void exit_other(struct vcpu *v, struct pcpu *c, struct vmcb *b)
{
	bool done = false;

	if (v->arch.svm.after) {
		done = after_exit(v, b);
	}
	if (unlikely(b->exitintinfo & EV_VALID)) {
		svm_take_interrupted(v);
	}
	guest_exit_begin(c, v);
	if (likely(!done)) {
		dispatch(v, b);
	}
	if (unlikely(b->interrupt_shadow & SHADOW_ACTIVE)) {
		v->arch.changed = true;		/* see before_entry() */
	}
}

void svm_run(struct vcpu *v)
{
	struct pcpu *c = this_cpu_area()->pcpu;
	struct tlb_cpu *t = &tlb_cpus[c->id];
	struct vmcb *b = vmcb_of(v);

	if (b->asid != v->arch.asid) {
		b->asid = v->arch.asid;
		svm_changed(v, CLEAN_ASID);
	}
	do {
		if (refused(v)) {
			return;
		}
		if (unlikely(v->arch.event.valid | v->arch.changed)) {
			before_entry(v, b);
		}
		b->rax = v->arch.gpr[GPR_RAX];
		v = enter(v);
		tlb_cpu_left(t);
		b = vmcb_of(v);
		v->arch.gpr[GPR_RAX] = b->rax;
		v->arch.cr2 = b->cr2;
		if (likely((uint32_t)b->exitcode == SVM_VMMCALL) && likely(!v->arch.svm.after)) {
			guest_exit_begin(c, v);
			exit_vmmcall(v, b);
		} else {
			exit_other(v, c, b);
		}
	} while (enter_again(c, t, v));
}
