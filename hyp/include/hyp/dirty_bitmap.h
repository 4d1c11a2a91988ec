// SPDX-License-Identifier: Apache-2.0
/*
 * Sparse dirty bitmap of one slot: leaf = 4096 pages (512 B, eight in a pool page), a summary bit
 * per leaf, a root word for `any`. Setting: leaf bit, then summary with release;
 * collecting: clear summary, then exchange words with acquire. A leaf that cannot be
 * allocated sets "whole leaf dirty". Bits may be set by any CPU at any time; structure
 * (allocation) is guarded by the lock.
 */
#ifndef HYP_DIRTY_BITMAP_H
#define HYP_DIRTY_BITMAP_H

#include <hyp/lock.h>
#include <hyp/page_alloc.h>
#include <hyp/types.h>

#define BITMAP_LEAF_PAGES 4096u
#define BITMAP_LEAF_WORDS 64u

struct dirty_bitmap {
	struct spinlock lock;		/* LOCK_BITMAP: growth only */
	struct mem_pool *pool;
	uint64_t npages;
	void *dir;			/* top node: children and summary; NULL while off */
	void *chunk;			/* pool page that new leaves are cut from */
	uint64_t reserved;		/* pool pages set aside and not yet taken */
	uint8_t depth;			/* levels of nodes above the leaves */
	uint64_t root;			/* 0 <=> nothing is dirty: the O(1) `any` */
	uint64_t leaves;		/* allocated */
	uint64_t fallbacks;		/* leaves marked whole for want of memory */
	bool on;
};

int must_check dirty_bitmap_init(struct dirty_bitmap *b, struct mem_pool *pool, uint64_t npages);
/* The hidden overflow set of a ring-exclusive VM: nodes and one page of leaves set aside;
 * when that is used up, whole leaves are marked. */
int must_check dirty_bitmap_init_overflow(struct dirty_bitmap *b, struct mem_pool *pool,
					  uint64_t npages);
void dirty_bitmap_destroy(struct dirty_bitmap *b);
/* Pool pages that a slot of this size can take, worst case. */
uint64_t dirty_bitmap_pages_needed(uint64_t npages);
/* Returns true for a 0 -> 1 transition. Never fails. Setters may race with anybody; whoever wants to
 * miss nothing collects under a lock that setters hold too (the stage-2 lock). */
bool dirty_bitmap_set(struct dirty_bitmap *b, uint64_t page);
/* INITIALLY_SET: every page dirty, in time O(leaves / 64). Before anybody else uses it. */
void dirty_bitmap_set_all(struct dirty_bitmap *b);
void dirty_bitmap_set_range(struct dirty_bitmap *b, uint64_t page, uint64_t n);
/* O(1). False: nothing is dirty. A set in the middle of which its bit was collected may leave it true
 * until a word is emptied there again. */
bool dirty_bitmap_any(const struct dirty_bitmap *b);
/* The word with pages 64 * w ..; does not change it. Bits beyond npages are 0. */
uint64_t dirty_bitmap_word(const struct dirty_bitmap *b, uint64_t w);
/* Clears the bits of `mask` in word w; returns those that were set (acquire). */
uint64_t dirty_bitmap_clear_word(struct dirty_bitmap *b, uint64_t w, uint64_t mask);
/* First word >= w with a bit set, or ~0. O(dirty leaves): empty leaves are skipped by the summary. */
uint64_t dirty_bitmap_next(const struct dirty_bitmap *b, uint64_t w);

#endif
