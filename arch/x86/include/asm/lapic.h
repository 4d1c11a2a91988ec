// SPDX-License-Identifier: Apache-2.0
/* The emulated local APIC of a vCPU (arch/x86/board/lapic.c). */
#ifndef ASM_LAPIC_H
#define ASM_LAPIC_H

#include <hyp/hyptimer.h>
#include <hyp/lock.h>
#include <hyp/types.h>

struct lapic {
	struct spinlock lock;
	uint64_t base;			/* IA32_APIC_BASE */
	uint32_t id;
	uint32_t tpr, ldr, dfr, svr, esr, esr_next;
	uint32_t icr_lo, icr_hi;
	uint32_t lvt[7];
	uint32_t irr[8], isr[8], tmr[8];
	uint32_t timer_initial, timer_divide;
	uint64_t timer_start;		/* TSC when it was loaded */
	uint64_t tsc_deadline;
	struct hyptimer timer;
};

#endif
