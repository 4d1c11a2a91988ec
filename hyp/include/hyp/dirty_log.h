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
	uint32_t backend;		/* enum tm_backend; constant once a vCPU or a slot exists */
	bool backend_forced;
	bool orphan;			/* its manager died and no new one has mapped a ring yet */
	uint64_t generation;		/* bumped by each hypervisor-originated bit */
	struct spinlock reset_lock;	/* */
	uint32_t reset_vcpu;		/* where an interrupted reset goes on */
	uint64_t writers[2];		/* hypervisor writers inside their section, by phase */
	uint32_t writers_phase;
	uint64_t pages_ring, pages_bitmap, spills, bad_reset_entries;
	uint64_t chunk_fallbacks;	/* 2 MiB or leaf-wide marks of slots that are gone, and splits */
};

/* R-1..R-3, R-39. CAP_ENABLE's two-step form ends here too. */
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
/* R-4: -TM_EINVAL where this VM is ring-exclusive and the hypervisor may write outside its vCPUs. */
int must_check dirty_log_vcpu_create_check(struct vm *vm);
/* The vCPU's ring, as DIRTY_CONFIG says; no ring configured: 0, nothing done. */
int must_check dirty_log_ring_alloc(struct vcpu *v);
void dirty_log_ring_free(struct vcpu *v);
/* Before a destroyed vCPU's ring is used again: pending entries move to the bitmap. */
void dirty_log_ring_detach(struct vm *vm, struct vcpu *v, struct dirty_ring *out);
/* Has a bitmap that the manager reads; bitmap calls act in manual mode. */
bool dirty_log_has_bitmap(const struct vm *vm);
bool dirty_log_manual(const struct vm *vm);
/* A full ring stops its vCPU now: STOP mode, and there is a manager to tell. */
bool dirty_log_stops_at_full(const struct vm *vm);
/* The manager died: every published entry, harvested or not, moves to the bitmap. */
void dirty_log_manager_gone(struct vm *vm);
/* A manager maps a ring of this VM: a full one may stop its vCPU again. */
void dirty_log_attach(struct vm *vm);

/*
 * Consumes bits `mask` of word w of the slot's bitmap and arms the VM's leaves of what was set;
 * returns it. Stage-2 lock held; the caller flushes b before it unlocks, then calls window_arm()
 * for the same pages before it returns to the manager (I-1).
 */
uint64_t dirty_log_consume(struct vm *vm, struct memslot *m, uint64_t w, uint64_t mask,
			   struct tlb_batch *b);
#if TM_TEST_BUILD
void dirty_log_mutant_catch_up(struct vm *vm);
#else
static inline void dirty_log_mutant_catch_up(struct vm *vm) { (void)vm; }
#endif
/* Arms the leaves of a span of a logging slot at their present size, the way of the back end. */
void dirty_log_arm_span(struct vm *vm, const struct memslot *m, gpa_t a, uint64_t pages,
			struct tlb_batch *b);
/* RING_RESET, one bounded unit: TM_CONTINUE or 0; *count entries freed (R-20..R-27). */
int must_check dirty_log_reset(struct vm *vm, uint64_t *count, uint64_t *cursor);

/* Hypervisor-originated writes: store between begin and end, mark inside. */
int must_check dirty_log_writer_begin(struct vm *vm);
void dirty_log_writer_end(struct vm *vm);
/* Every writer that was inside has left. No stage-2 lock held. */
void dirty_log_writers_wait(struct vm *vm);

#endif
