// SPDX-License-Identifier: Apache-2.0
/*
 * x86-64: calling convention, register and device state. The call instruction is VMMCALL where
 * CPUID 0x40000001 ECX bit 0 says so, else VMCALL; 64-bit mode at CPL 0 only (#UD elsewhere).
 */
#ifndef TM_ABI_X86_H
#define TM_ABI_X86_H

#include <stdint.h>
#include <abi/assert.h>

/* CPUID 0x40000000: EAX = highest leaf, EBX ECX EDX = "TidemarkHyp\0". */
#define TM_CPUID_BASE 0x40000000u
#define TM_CPUID_EBX 0x65646954u
#define TM_CPUID_ECX 0x6b72616du
#define TM_CPUID_EDX 0x00707948u
/* CPUID 0x40000001: EAX = major << 16 | minor. */
#define TM_CPUID_CALL 0x40000001u
#define TM_CPUID_CALL_VMMCALL 1u	/* ECX bit 0 */
#define TM_CPUID_CALL_MANAGER 1u	/* EDX bit 0: you are the manager */
/* CPUID 0x40000010: EAX = frequency of the TSC, EBX = of the local APIC's timer, in kHz. */
#define TM_CPUID_TIMING 0x40000010u

struct tm_result {
	int64_t status;
	uint64_t val[3];
};

#if defined(__x86_64__)
static inline void tm_cpuid(uint32_t leaf, uint32_t sub, uint32_t out[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
			 : "a"(leaf), "c"(sub));
}

/* 1: VMMCALL, 0: VMCALL; asked once by each file that calls. */
static inline int tm_call_is_vmmcall(void)
{
	static int known = -1;

	if (known < 0) {
		uint32_t r[4];

		tm_cpuid(TM_CPUID_CALL, 0, r);
		known = (int)(r[2] & TM_CPUID_CALL_VMMCALL);
	}
	return known;
}
#endif

static inline struct tm_result tm_call(uint32_t fn, uint64_t a1, uint64_t a2, uint64_t a3,
				       uint64_t a4, uint64_t a5, uint64_t a6)
{
	struct tm_result r = {-1, {0, 0, 0}};
#if defined(__x86_64__)
	register uint64_t r10 __asm__("r10") = a4;
	register uint64_t r8 __asm__("r8") = a5;
	register uint64_t r9 __asm__("r9") = a6;
	uint64_t rax = fn, rdi = a1, rsi = a2, rdx = a3;

	if (tm_call_is_vmmcall()) {
		__asm__ volatile("vmmcall"
				 : "+a"(rax), "+D"(rdi), "+S"(rsi), "+d"(rdx)
				 : "r"(r10), "r"(r8), "r"(r9)
				 : "memory");
	} else {
		__asm__ volatile("vmcall"
				 : "+a"(rax), "+D"(rdi), "+S"(rsi), "+d"(rdx)
				 : "r"(r10), "r"(r8), "r"(r9)
				 : "memory");
	}
	r.status = (int64_t)rax;
	r.val[0] = rdi;
	r.val[1] = rsi;
	r.val[2] = rdx;
#else
	(void)fn, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6;
#endif
	return r;
}

/* Attributes as in the access-rights word of VMX: type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14,
 * G 15, unusable 16 (Intel SDM volume 3, 25.4.1). */
struct tm_segment {
	uint16_t selector;
	uint16_t rsvd;
	uint32_t attributes;
	uint32_t limit;
	uint32_t rsvd2;
	uint64_t base;
};
TM_ASSERT_SIZE(tm_segment, 24);

enum tm_segment_index { TM_SEG_ES, TM_SEG_CS, TM_SEG_SS, TM_SEG_DS, TM_SEG_FS, TM_SEG_GS, TM_SEG_LDTR,
	TM_SEG_TR };

struct tm_table {
	uint64_t base;
	uint32_t limit;
	uint32_t rsvd;
};
TM_ASSERT_SIZE(tm_table, 16);

struct tm_msr {
	uint32_t msr;
	uint32_t rsvd;
	uint64_t val;
};
TM_ASSERT_SIZE(tm_msr, 16);

#define TM_REGS_MSR_MAX 48
#define TM_XSAVE_SIZE 1088

/* tm_regs.activity */
enum tm_activity { TM_ACTIVITY_RUN = 0, TM_ACTIVITY_HALTED = 1 };
/* tm_regs.blocking */
enum tm_blocking { TM_BLOCK_STI = 1, TM_BLOCK_MOV_SS = 2, TM_BLOCK_NMI = 4 };
/* tm_regs.event, as the VM-entry interruption information (SDM 25.8.3): vector 7:0, type 10:8, error
 * code valid 11, valid 31: an event whose delivery has begun and is repeated. */

struct tm_regs {
	uint64_t gpr[16];		/* RAX RCX RDX RBX RSP RBP RSI RDI R8..R15 */
	uint64_t rip;
	uint64_t rflags;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t efer;
	uint64_t xcr0;
	uint64_t dr[4];
	uint64_t dr6, dr7;
	struct tm_segment seg[8];	/* enum tm_segment_index */
	struct tm_table gdtr, idtr;
	uint32_t event;
	uint32_t event_error;
	uint32_t blocking;		/* enum tm_blocking */
	uint32_t activity;		/* enum tm_activity */
	uint32_t nmi_pending;		/* 0..2 */
	uint32_t powered_on;		/* 0: waits for INIT-SIPI */
	uint32_t n;			/* valid rows of msr[] */
	uint32_t rsvd;
	struct tm_msr msr[TM_REGS_MSR_MAX];
	uint8_t xsave[TM_XSAVE_SIZE];	/* standard form: x87, SSE, header, AVX */
};
TM_ASSERT_OFFSET(tm_regs, rip, 128);
TM_ASSERT_OFFSET(tm_regs, seg, 248);
TM_ASSERT_OFFSET(tm_regs, gdtr, 440);
TM_ASSERT_OFFSET(tm_regs, event, 472);
TM_ASSERT_OFFSET(tm_regs, n, 496);
TM_ASSERT_OFFSET(tm_regs, msr, 504);
TM_ASSERT_OFFSET(tm_regs, xsave, 1272);
TM_ASSERT_SIZE(tm_regs, 2360);

/* TIMER_STATE. GET reads at the moment of the call; SET moves the vCPU's TSC offset. */
struct tm_timer_state {
	uint64_t tsc;
	uint64_t tsc_deadline;		/* IA32_TSC_DEADLINE, 0: none */
	uint64_t rsvd[6];
};
TM_ASSERT_SIZE(tm_timer_state, 64);

/* APIC_STATE: one vCPU's local APIC, registers as in the SDM volume 3, 11.4.1. */
struct tm_apic_state {
	uint32_t version;		/* 1 */
	uint32_t id;
	uint64_t base;			/* IA32_APIC_BASE */
	uint32_t tpr, ldr, dfr, svr;
	uint32_t esr;			/* 7:0 the register, 15:8 errors since it was written */
	uint32_t icr_lo, icr_hi;
	uint32_t lvt[7];		/* CMCI, timer, thermal, PMC, LINT0, LINT1, error */
	uint32_t timer_initial;
	uint32_t timer_divide;
	/* TSC ticks until it fires; 0: not running, or by a deadline, which TIMER_STATE has. */
	uint64_t timer_left;
	uint32_t isr[8], tmr[8], irr[8];
	uint64_t rsvd[4];
};
TM_ASSERT_SIZE(tm_apic_state, 216);

/* GIC_STATE on x86: the shared part of the board. */
struct tm_board_pic {
	uint8_t irr, imr, isr, lines;	/* lines: input levels */
	uint8_t base, icw_step, icw4, elcr;
	uint8_t read_isr, poll, auto_eoi, rotate;
	uint8_t special_mask;
	uint8_t priority;		/* the interrupt that comes first */
	uint8_t init;			/* of ICW1: 1 ICW4 follows, 2 no ICW3 */
	uint8_t rsvd;
};
TM_ASSERT_SIZE(tm_board_pic, 16);

struct tm_board_pit {
	uint64_t start;			/* TSC ticks that it has counted since it was loaded */
	uint16_t count;			/* 0 = 65536 */
	uint16_t latch;
	uint8_t mode, access, bcd, gate;
	uint8_t latched;		/* 1 low byte, 2 high byte, 4 status are to be read next */
	uint8_t read_high, write_high, write_low;
	uint8_t status;			/* as latched */
	uint8_t idle;			/* has its mode, but no count yet */
	uint8_t rsvd[2];
};
TM_ASSERT_SIZE(tm_board_pit, 24);

struct tm_board_state {
	uint32_t version;		/* 1 */
	uint32_t ioapic_id;
	uint32_t ioapic_select;
	uint32_t lines;			/* input levels of the I/O APIC */
	uint64_t redir[24];
	struct tm_board_pic pic[2];
	struct tm_board_pit pit[3];
	uint8_t port61;
	uint8_t cmos_index;
	uint16_t pm_enable, pm_control;
	uint8_t rsvd[2];
	uint64_t pm_timer;		/* ticks of 3.579545 MHz since it was reset */
	uint64_t rsvd2[4];
};
TM_ASSERT_SIZE(tm_board_state, 360);

/* UART_STATE: the emulated 16550. */
struct tm_uart_state {
	uint32_t version;		/* 1 */
	uint8_t ier, iir, lcr, mcr;
	uint8_t scr, fcr, dll, dlm;
	uint8_t thr_empty_pending;
	uint8_t rsvd[3];
	uint32_t rx_count;
	uint32_t rsvd2[7];
	uint8_t rx[16];
};
TM_ASSERT_SIZE(tm_uart_state, 64);
TM_ASSERT_OFFSET(tm_uart_state, rx, 48);

#endif
