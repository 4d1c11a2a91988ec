// SPDX-License-Identifier: Apache-2.0
/*
 * The emulated local APIC of a vCPU (arch/x86/board/lapic*.c). Only its own vCPU, on the CPU that
 * has it loaded, or who holds it quiet, writes registers; other CPUs read those that route
 * interrupts (base, ldr, dfr, svr, tpr) and set bits of irr, tmr, irr_words and esr_next, by
 * atomics. The timer has a lock, because its callback runs where it was armed. There is none for
 * the rest: a reset happens under v->lock.
 */
#ifndef ASM_LAPIC_H
#define ASM_LAPIC_H

#include <hyp/hyptimer.h>
#include <hyp/lock.h>
#include <hyp/types.h>

enum lapic_lvt {
	LVT_CMCI, LVT_TIMER, LVT_THERMAL, LVT_PMC, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT
};

struct lapic {
	struct spinlock lock;		/* LOCK_VTIMER: the timer_* fields, tsc_deadline, lvt[timer] */
	uint64_t base;			/* IA32_APIC_BASE */
	uint32_t id;			/* = the vCPU's number, for good */
	uint32_t tpr, ldr, dfr, svr, esr, esr_next;
	uint32_t icr_lo, icr_hi;
	uint32_t lvt[LVT_COUNT];
	uint32_t irr[8], isr[8], tmr[8];
	uint32_t irr_words;		/* bit i: irr[i] may be other than 0 */
	uint32_t isr_words;		/* bit i: isr[i] is other than 0 */
	uint32_t timer_initial;
	uint32_t timer_divide;		/* the register */
	uint64_t timer_due;		/* arch_time_now() at which it fires; 0: it does not run */
	uint64_t tsc_deadline;		/* IA32_TSC_DEADLINE, guest's TSC */
	struct hyptimer timer;
};

#endif
