// SPDX-License-Identifier: Apache-2.0
/*
 * One VM's stage-2: page table + lock + VMID + the one place that flushes. Every function here but
 * init and destroy is called with s2->lock held. Whoever lowers a permission passes a tlb_batch
 * and calls stage2_flush() before unlocking.
 */
#ifndef HYP_STAGE2_H
#define HYP_STAGE2_H

#include <asm/stage2.h>
#include <hyp/lock.h>
#include <hyp/page_alloc.h>
#include <hyp/pgtable.h>
#include <hyp/tlbcheck.h>

struct vm;

struct stage2 {
	struct spinlock lock;
	struct pgtable pt;
	struct mem_pool *pool;		/* table pages, out of the reservation */
	uint16_t vmid;
	bool hw_dirty;			/* hardware marks what is written (dirty_hw.c); else write-protect */
	struct arch_stage2 arch;
	struct tlbcheck check;		/* debug builds: pending invalidations */
	uint64_t leaves[4];		/* by level, for SLOT_QUERY and tests */
};

/* vmid: 1.. ; root pages come from the hypervisor's pool. */
int must_check stage2_init(struct stage2 *s2, struct mem_pool *pool, uint16_t vmid,
			   enum lock_rank rank);
/* No vCPU runs on it any more. Frees all table pages. */
void stage2_destroy(struct stage2 *s2);

void stage2_lock(struct stage2 *s2);
/* Debug: panics when an invalidation is pending. */
void stage2_unlock(struct stage2 *s2);

struct pt_leaf stage2_lookup(struct stage2 *s2, gpa_t a);
int must_check stage2_map(struct stage2 *s2, gpa_t a, hpa_t h, unsigned level, unsigned attrs,
			  struct tlb_batch *b);
int must_check stage2_unmap(struct stage2 *s2, gpa_t a, uint64_t pages, struct tlb_batch *b);
int must_check stage2_split(struct stage2 *s2, gpa_t a, struct tlb_batch *b);
/* Removes write permission of every leaf in the range at its present size. Returns leaves changed. */
uint64_t stage2_wrprotect(struct stage2 *s2, gpa_t a, uint64_t pages, struct tlb_batch *b);
/* Bit i of mask: page a + i. */
uint64_t stage2_wrprotect_mask(struct stage2 *s2, gpa_t a, uint64_t mask, struct tlb_batch *b);
/* Makes the next write of each page observable, the way of this VM's back end: write-protected, or
 * writable-clean. Only for pages that may be written. */
uint64_t stage2_arm(struct stage2 *s2, gpa_t a, uint64_t pages, struct tlb_batch *b);
uint64_t stage2_arm_mask(struct stage2 *s2, gpa_t a, uint64_t mask, struct tlb_batch *b);
/* Pages that hardware has marked since they were armed: fn for each. */
void stage2_dirtied(struct stage2 *s2, gpa_t a, uint64_t pages, void (*fn)(void *ctx, gpa_t a),
		    void *ctx);
/* Grants write on the 4 KiB leaf at a and drops this CPU's stale entry, so that the retry works. */
void stage2_make_writable(struct stage2 *s2, gpa_t a);
/* Zaps the range so that the next touch builds the largest leaves again. */
void stage2_zap(struct stage2 *s2, gpa_t a, uint64_t pages, struct tlb_batch *b);
/* Completes everything in the batch on all CPUs, then frees its table pages. Empty: no work. */
void stage2_flush(struct stage2 *s2, struct tlb_batch *b);

/* Table pages that a slot of so many pages at gpa can need, worst case. */
uint64_t stage2_tables_needed(gpa_t a, uint64_t pages);

#endif
