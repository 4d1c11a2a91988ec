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
	struct tlbcheck_range {
		uint64_t start, end;
		bool merged;	/* covers more than is owed: for lack of slots */
	} owed[TLBCHECK_SLOTS];	/* ranges; when full they merge into the nearest */
	unsigned count;
	uint64_t comparisons;	/* stores and flushes looked at: a checker that sees none is off */
#else
	char unused;
#endif
};

struct pgtable_format;

#if DEBUG
void tlbcheck_store(struct tlbcheck *c, const struct pgtable_format *fmt, uint64_t addr,
		    unsigned level, uint64_t old, uint64_t new_pte);
void tlbcheck_flushed(struct tlbcheck *c, uint64_t start, uint64_t end, bool all);
void tlbcheck_idle(struct tlbcheck *c, const char *where);
#else
static inline void tlbcheck_store(struct tlbcheck *c, const struct pgtable_format *fmt,
				  uint64_t addr, unsigned level, uint64_t old, uint64_t new_pte)
{
	(void)c, (void)fmt, (void)addr, (void)level, (void)old, (void)new_pte;
}
static inline void tlbcheck_flushed(struct tlbcheck *c, uint64_t start, uint64_t end, bool all)
{
	(void)c, (void)start, (void)end, (void)all;
}
static inline void tlbcheck_idle(struct tlbcheck *c, const char *where)
{
	(void)c, (void)where;
}
#endif

#endif
