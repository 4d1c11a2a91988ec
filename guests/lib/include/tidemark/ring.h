// SPDX-License-Identifier: Apache-2.0
/*
 * The manager's side of one dirty ring. Entries are shared with the hypervisor: an entry is read
 * only after its flags said DIRTY (acquire) and is given back by setting RESET (release), in
 * order, so a skipped entry is impossible. RING_RESET then re-arms what was marked.
 */
#ifndef TIDEMARK_RING_H
#define TIDEMARK_RING_H

#include <stdint.h>
#include <abi/memory.h>

struct tm_ring {
	struct tm_ring_entry *entries;
	uint32_t count;			/* power of two */
	uint32_t next;			/* index of the entry to look at */
	uint64_t harvested;
};

/* Return nonzero to stop after this entry (which stays harvested). */
typedef int (*tm_ring_fn)(void *arg, uint32_t slot, uint64_t offset);

/* reset_index is MAP_RING's result 1: a manager that attaches starts there, behind the entries that
 * its dead predecessor harvested without a reset. Call it while no RING_RESET of the VM runs. */
void tm_ring_init(struct tm_ring *r, struct tm_ring_entry *entries, uint32_t count,
		  uint64_t reset_index);
/* At most max entries. */
uint32_t tm_ring_harvest(struct tm_ring *r, tm_ring_fn fn, void *arg, uint32_t max);
/* Copies of at most max entries; flags of the copies are as found. */
uint32_t tm_ring_harvest_array(struct tm_ring *r, struct tm_ring_entry *out, uint32_t max);
/* Dirty entries that wait, without marking; stops counting at max. */
uint32_t tm_ring_pending(const struct tm_ring *r, uint32_t max);

#endif
