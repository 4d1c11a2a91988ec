// SPDX-License-Identifier: Apache-2.0
/*
 * Exceptions taken from EL2 itself: always a bug or broken hardware, always a panic. The vector
 * table (vectors.S) has nothing in its eight "current EL" slots but a branch to these four labels
 * of el2_fault.S, which save a struct el2_frame (on the emergency stack if the own one is
 * exhausted) and call el2_exception().
 */
#ifndef ASM_EXCEPTION_H
#define ASM_EXCEPTION_H

#define EL2_FAULT_SYNC 0
#define EL2_FAULT_IRQ 1
#define EL2_FAULT_FIQ 2
#define EL2_FAULT_SERROR 3

#define EL2_FRAME_SIZE 304

#ifndef __ASSEMBLER__

#include <hyp/types.h>

struct el2_frame {
	uint64_t x[31];
	uint64_t sp;
	uint64_t elr;
	uint64_t spsr;
	uint64_t esr;
	uint64_t far;
	uint64_t overflow;	/* the stack pointer was outside its stack */
	uint64_t pad;
};
_Static_assert(sizeof(struct el2_frame) == EL2_FRAME_SIZE, "el2_fault.S");

/* Branch targets for vectors.S. */
void el2_fault_sync(void);
void el2_fault_irq(void);
void el2_fault_fiq(void);
void el2_fault_serror(void);

void el2_exception(struct el2_frame *f, uint64_t kind) noreturn_fn;

#endif
#endif
