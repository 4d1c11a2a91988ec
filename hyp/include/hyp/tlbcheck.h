// SPDX-License-Identifier: Apache-2.0
/*
 * Debug builds: the TLB and break-before-make checker. It observes every store of a stage-2 entry
 * and every flush, and keeps the invalidations that are still owed. It panics on: a live
 * block<->table or address change without a break and a flush between; a page table page freed, or
 * the stage-2 lock dropped, with an invalidation owed. Emulators show none of these.
 */
#ifndef HYP_TLBCHECK_H
#define HYP_TLBCHECK_H

#include <hyp/types.h>

#define TLBCHECK_SLOTS 8

struct tlbcheck {
#if DEBUG
	struct {
		uint64_t start, end;
	} owed[TLBCHECK_SLOTS];	/* ranges; when full they merge into the nearest */
	unsigned count;
	uint64_t comparisons;
#else
	char unused;
#endif
};

struct pgtable_format;

void tlbcheck_store(struct tlbcheck *c, const struct pgtable_format *fmt, uint64_t addr,
		    unsigned level, uint64_t old, uint64_t new_pte);
void tlbcheck_flushed(struct tlbcheck *c, uint64_t start, uint64_t end, bool all);
void tlbcheck_idle(struct tlbcheck *c, const char *where);

#endif
