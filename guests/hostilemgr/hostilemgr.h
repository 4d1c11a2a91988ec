// SPDX-License-Identifier: Apache-2.0
/*
 * A program in the manager's place with two scenes: it watches guests/hostile attack beside its
 * neighbours, or it attacks itself, with valid handles and edge values. In both a VM that counts
 * must go on counting and the memory of an idle one must stay as it is.
 */
#ifndef HOSTILEMGR_H
#define HOSTILEMGR_H

#include <stdbool.h>
#include <stdint.h>
#include <tidemark/counter_cell.h>
#include <tidemark/prng.h>
#include <tidemark/vmm.h>

#include "arch_numbers.h"

#define PAGE 4096u

/* neighbours.c */
struct neighbour {
	struct vmm_vm *vm;
	struct counter_cell *cell;	/* window */
	uint64_t hash;			/* of all its memory */
	uint64_t count, printed;	/* at the last look */
};
bool neighbour_start(struct neighbour *n, const char *name, bool idle, uint64_t affinity);
uint64_t neighbour_hash(const struct neighbour *n);
/* It goes on: its numbers grew since the last look. */
bool neighbour_counts(struct neighbour *n);
uint64_t neighbour_run_ticks(const struct neighbour *n);
/* Ends it; false when it was not as it should be. */
bool neighbour_end(struct neighbour *n);
/* Serves stops of all VMs that are not of interest: none of them may happen. */
uint64_t hyp_pages_free(void);

/* watch.c */
void scene_watch(void);
/* guests/hostile with these bootargs; NULL: vmm_last_error(). */
struct vmm_vm *start_hostile(const char *args, uint32_t vcpus, uint64_t affinity);

/* ends.c: each way to end that guests/hostile has, and what it must come to. */
enum end_kind {
	END_OFF = TM_SHUTDOWN_OFF,
	END_RESET = TM_SHUTDOWN_RESET,
	END_CRASH = TM_SHUTDOWN_CRASH,
	END_HALTED,			/* stopped with TM_EXIT_HALTED */
	END_RUNS,			/* goes on */
	END_ANY,			/* any of these; tried with several seeds */
};
struct end_row {
	const char *name;
	enum end_kind kind;
};
extern const struct end_row arch_ends[];	/* up to a NULL name */
void scene_ends(void);
/* <arch>/arch.c. A guest's wild access that the exit page cannot describe: step over it. */
void arch_skip(struct vmm_vm *vm, struct tm_regs *regs);
/* One restored timer whose compare value passes 2^64 on the way to the physical count: it is never
 * due, it stays as it is, and the machine outlives it. */
bool arch_wrapping_deadline(struct vmm_vm *vm, struct tm_prng *rng);
/* Puts the count of a vCPU back by so much, leaving its deadline. */
void arch_count_back(struct tm_timer_state *s, uint64_t ticks);

/* attack.c, episode.c, calls.c */
void scene_attack(void);

#endif
