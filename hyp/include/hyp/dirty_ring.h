// SPDX-License-Identifier: Apache-2.0
/*
 * Single-producer dirty ring (R-18..R-29); knows no VM. The producer is the CPU that runs the vCPU;
 * the consumer of harvested entries is RING_RESET, serialised by the VM. Entries are shared with
 * the manager and hostile (I-4); indices are here, in hypervisor memory.
 */
#ifndef HYP_DIRTY_RING_H
#define HYP_DIRTY_RING_H

#include <abi/memory.h>
#include <hyp/err.h>
#include <hyp/types.h>

#define DIRTY_RING_RESERVE 64u	/* entries above the soft limit, besides the hardware buffer's */

struct dirty_ring {
	struct tm_ring_entry *entries;	/* NULL: no ring */
	uint32_t size;			/* entries, a power of two */
	uint32_t soft_limit;		/* size - (64 + hardware buffer entries) */
	uint64_t dirty_index;		/* next to publish; written by the producer */
	uint64_t reset_index;		/* next to free; written under the reset lock */
};

void dirty_ring_init(struct dirty_ring *r, struct tm_ring_entry *entries, uint32_t size,
		     uint32_t hw_entries);
static inline uint64_t dirty_ring_used(const struct dirty_ring *r)
{
	return __atomic_load_n(&r->dirty_index, __ATOMIC_RELAXED) -
	       __atomic_load_n(&r->reset_index, __ATOMIC_ACQUIRE);
}
static inline bool dirty_ring_soft_full(const struct dirty_ring *r)
{
	return dirty_ring_used(r) >= r->soft_limit;
}
/* 0, or -TM_ENOSPC when hard-full (nothing overwritten). */
int must_check dirty_ring_push(struct dirty_ring *r, uint32_t slot, uint64_t offset,
			       uint32_t flags_hi);
/*
 * The next harvested entry between reset_index and dirty_index: copies it out, frees it with
 * release and advances. False when there is none (R-20: only published entries).
 */
bool dirty_ring_reset_one(struct dirty_ring *r, struct tm_ring_entry *out);

#endif
