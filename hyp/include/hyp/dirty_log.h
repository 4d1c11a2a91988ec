// SPDX-License-Identifier: Apache-2.0
/*
 * Policy of the dirty log: mark, harvest, reset. Three producers, one door: fault.c (guest
 * stores), guest_copy.c (the hypervisor's own and the emulators'), window faults of the manager.
 * Invariant (I-1): a page of a logging slot is pending (ring entry or bitmap bit) or armed.
 */
#ifndef HYP_DIRTY_LOG_H
#define HYP_DIRTY_LOG_H

#include <abi/memory.h>
#include <hyp/dirty_ring.h>
#include <hyp/lock.h>
#include <hyp/memslot.h>

struct vm;
struct vcpu;

struct dirty_log {
	bool configured;
	uint32_t flags;			/* TM_DIRTY_* */
	uint32_t ring_entries;
	uint64_t generation;		/* bumped by each hypervisor-originated bit */
	struct spinlock reset_lock;	/* */
	uint32_t reset_vcpu;		/* where an interrupted reset goes on */
	uint64_t writers;		/* hypervisor writers inside their section */
	uint64_t pages_ring, pages_bitmap, spills, bad_reset_entries;
};

int must_check dirty_log_config(struct vm *vm, uint64_t ring_entries, uint64_t flags);
/* Has a ring, and no bitmap: bitmap calls are -TM_ENXIO, outside writers are refused. */
bool dirty_log_ring_exclusive(const struct vm *vm);
/*
 * Records one page of a logging slot. by: the vCPU of this VM that wrote, running on this CPU, or
 * NULL for anybody else. Never fails and never loses: ring, else bitmap, else the hidden overflow
 * set. Stage-2 lock held when `by` is not NULL.
 */
void dirty_log_mark(struct vm *vm, struct memslot *m, uint64_t offset, struct vcpu *by);
/* the vCPU must not enter the guest now; says which TM_EXIT_*, or 0. */
uint32_t dirty_log_entry_blocked(struct vcpu *v);
/* Hypervisor-originated writes: store between begin and end, mark inside. */
int must_check dirty_log_writer_begin(struct vm *vm);
void dirty_log_writer_end(struct vm *vm);
void dirty_log_writers_wait(struct vm *vm);

#endif
