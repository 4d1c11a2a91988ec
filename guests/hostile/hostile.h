// SPDX-License-Identifier: Apache-2.0
/* An ordinary guest that attacks: parts of guests/hostile. Each returns after `ops` operations. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <stdbool.h>
#include <stdint.h>
#include <tidemark/prng.h>

struct hostile {
	struct tm_prng rng;
	uint64_t ops;			/* of this program so far */
	uint64_t budget;		/* of random operations, a kind */
	uint64_t stride;		/* of the sweep, in pages */
	uint32_t step;			/* of other numbers that are tried one by one */
};

/* sweep.c: every stride-th page outside our slots below 4 GiB, and power-of-two edges. */
void attack_memory(struct hostile *h);
void attack_edges(struct hostile *h);

/* calls.c: hypercalls with guest rights. draw_arg: what an argument may be. */
void attack_calls(struct hostile *h);
uint64_t draw_arg(struct tm_prng *rng);

/* main.c: bootargs only=<name>,.. leaves the others out. */
bool wanted(const char *name);

/* --- <arch>/: what one machine has ------------------------------------------------------------- */

/* A word of nobody's, written and read: how many of the two let us. _raw: also beyond the addresses
 * that the library maps. */
uint32_t arch_touch(struct hostile *h, uint64_t gpa);
uint32_t arch_touch_raw(struct hostile *h, uint64_t gpa);
/* Instructions fetched from there run. */
bool arch_fetch(struct hostile *h, uint64_t gpa);
bool arch_is_device(uint64_t gpa);

/* Puts a function number into its register, now and then in a form that nobody has: false. */
bool arch_call_number(struct tm_prng *rng, uint32_t fn, uint64_t *reg);
/* The calling convention's registers: number or status, then arguments or results; [4] and up must
 * come back as they went. */
void arch_raw_call(struct tm_prng *rng, uint64_t x[18]);
/* Calls of somebody else's numbering, one in eight; false: there are none. */
bool arch_other_call(struct hostile *h);

/* Everything else: before the calls, between calls and sweeps, after the sweeps. */
void arch_prepare(void);
void arch_attack_first(struct hostile *h);
void arch_attack_middle(struct hostile *h);
void arch_attack_last(struct hostile *h);
/* Faults without end: only the hypervisor ends this. */
_Noreturn void arch_spin_in_faults(void);
/* Other values of end=: returns when there is no such one. */
void arch_end(struct hostile *h, const char *how);

#endif
