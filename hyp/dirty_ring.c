// SPDX-License-Identifier: Apache-2.0
/*
 * The dirty ring of one vCPU: entries in memory that the manager can write, indices in memory that
 * it cannot (I-4). Takes no lock: pushes of a VM are serialised by its stage-2 lock, resets by its
 * reset lock, and the two meet only through the indices and the flags word of an entry.
 *
 *	reset_index          dirty_index
 *	    v                     v
 *	 .. | 11 | 11 | 01 | 01 | 00 ..		01 published, 11 harvested, 00 free
 */
#include <hyp/dirty_ring.h>

void dirty_ring_init(struct dirty_ring *r, struct tm_ring_entry *entries, uint32_t size,
		     uint32_t hw_entries)
{
	r->entries = entries;
	r->size = size;
	r->soft_limit = size - (DIRTY_RING_RESERVE + hw_entries);	/* */
	__atomic_store_n(&r->dirty_index, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&r->reset_index, 0, __ATOMIC_RELAXED);
}

int dirty_ring_push(struct dirty_ring *r, uint32_t slot, uint64_t offset, uint32_t flags_hi)
{
	uint64_t i = __atomic_load_n(&r->dirty_index, __ATOMIC_RELAXED);
	struct tm_ring_entry *e;

	/* hard-full overwrites nothing. The acquire pairs with the free in reset_one. */
	if (i - __atomic_load_n(&r->reset_index, __ATOMIC_ACQUIRE) >= r->size) {
		return -TM_ENOSPC;
	}
	e = &r->entries[i & (r->size - 1)];
	/* payload first, then the flags with release. */
	__atomic_store_n(&e->slot, slot, __ATOMIC_RELAXED);
	__atomic_store_n(&e->offset, offset, __ATOMIC_RELAXED);
	__atomic_store_n(&e->flags, (uint32_t)TM_RING_DIRTY | flags_hi, __ATOMIC_RELEASE);
	__atomic_store_n(&r->dirty_index, i + 1, __ATOMIC_RELEASE);
	return 0;
}

bool dirty_ring_reset_one(struct dirty_ring *r, struct tm_ring_entry *out)
{
	uint64_t i = __atomic_load_n(&r->reset_index, __ATOMIC_RELAXED);
	struct tm_ring_entry *e;

	/* the flag of an entry that was never published means nothing. */
	if (i == __atomic_load_n(&r->dirty_index, __ATOMIC_ACQUIRE)) {
		return false;
	}
	e = &r->entries[i & (r->size - 1)];
	out->flags = __atomic_load_n(&e->flags, __ATOMIC_ACQUIRE);
	if (!(out->flags & TM_RING_RESET)) {	/* bit 0 and bits above 1 are ignored */
		return false;
	}
	/* read once; the caller checks the copy. */
	out->slot = __atomic_load_n(&e->slot, __ATOMIC_RELAXED);
	out->offset = __atomic_load_n(&e->offset, __ATOMIC_RELAXED);
	/* free with release, then advance. */
	__atomic_store_n(&e->flags, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&r->reset_index, i + 1, __ATOMIC_RELEASE);
	return true;
}
