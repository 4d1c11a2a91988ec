// SPDX-License-Identifier: Apache-2.0
/*
 * gfn -> memslot -> hpa. Slots change only with both vm->slots_lock and the stage-2 lock held, so
 * holding either is enough to read. Calls that change slots are serialised by slots_lock and do
 * the long part (wrprotect, unmap, scrub) in bounded steps under the stage-2 lock.
 */
#ifndef HYP_MEMSLOT_H
#define HYP_MEMSLOT_H

#include <abi/memory.h>
#include <hyp/dirty_bitmap.h>
#include <hyp/err.h>
#include <hyp/pgtable.h>
#include <hyp/types.h>

#define MEMSLOT_MAX 64u		/* ids 0..63; published by TM_CAP_MAX_SLOTS */

struct vm;

/* A slot change that takes more than one call; `resume` is its cursor. */
enum slot_op { SLOT_IDLE, SLOT_ARMING, SLOT_ZAPPING, SLOT_MOVING, SLOT_UNMAPPING, SLOT_COLLECTING,
	       SLOT_SCRUBBING };

struct memslot {
	bool used;
	bool dying;		/* an interrupted delete: -TM_ENOENT for all but the same call */
	bool invalid;		/* being changed: vCPU accesses retry */
	bool detached;		/* dying, and no longer in order[]: nobody finds it by address */
	uint8_t op;		/* enum slot_op */
	uint16_t id;
	uint16_t generation;	/* of this id, for TM_DIRTY_RING_GEN */
	uint32_t flags;		/* TM_SLOT_* */
	gfn_t base;
	uint64_t npages;
	hpa_t backing;		/* HPA_NONE: anonymous */
	uint64_t tables_reserved;
	uint64_t move_reserved;	/* SLOT_MOVING: for the new place */
	gpa_t move_to;
	uint64_t resume;	/* cursor of an interrupted change, in pages */
	hpa_t *anon;		/* anonymous: sparse tree of pages, NULL while empty */
	uint64_t anon_reserved;	/* tree nodes set aside in the pool */
	struct dirty_bitmap bitmap;
};

struct memslots {
	struct memslot slot[MEMSLOT_MAX];
	uint16_t order[MEMSLOT_MAX];	/* used slots by ascending base */
	unsigned count;
	unsigned logging;		/* slots with LOG_DIRTY */
	uint32_t last;			/* of order[]: the last hit, a hint that is checked */
};

/* The slot that holds this gfn, or NULL. Caller holds slots_lock or the stage-2 lock. */
struct memslot *memslot_find(struct memslots *s, gfn_t gfn);
/* By number, checked; NULL when absent. */
struct memslot *memslot_get(struct memslots *s, uint32_t slot);
static inline bool memslot_logging(const struct memslot *m)
{
	return (m->flags & TM_SLOT_LOG_DIRTY) && !(m->flags & TM_SLOT_READONLY);
}

/* 0 if a slot number is in range (as_id, id), else -TM_EINVAL: R-107's order needs it apart. */
int must_check memslot_check_number(uint64_t slot);

/*
 * The whole SLOT_SET with its check table (semantics 2.1). TM_CONTINUE from DELETE, MOVE and log
 * toggles: the same call goes on; *cursor, when given, is how far it is.
 */
int must_check memslot_set(struct vm *vm, const struct tm_slot_desc *d, uint64_t *cursor);
/* A slot over pages that are OWNER_VM_SHARED of vm already: static VMs, before their first vCPU. */
int must_check memslot_add_owned(struct vm *vm, uint32_t id, gpa_t base, hpa_t backing,
				 uint64_t pages, uint32_t flags);
/*
 * SLOT_DELETE_COLLECT's steps: unmap; then `take` is called for ascending chunks of the final
 * bitmap (words of up to one leaf; a negative return stops the call and loses nothing); then scrub.
 */
typedef int (*memslot_take_fn)(void *ctx, uint64_t word, const uint64_t *bits, unsigned words);
int must_check memslot_delete_collect(struct vm *vm, uint32_t slot, memslot_take_fn take, void *ctx,
				      uint64_t *cursor);
/*
 * hpa of the page, or HPA_NONE if anonymous and not there. Stage-2 lock held.
 */
hpa_t memslot_page(const struct memslot *m, uint64_t offset);
/* Same, but takes an anonymous page out of the pool when absent. */
hpa_t memslot_page_alloc(struct vm *vm, struct memslot *m, uint64_t offset);
uint64_t memslot_anon_nodes(uint64_t npages);
/* Gives back up to *budget pages and the tree nodes that became empty; true when all is gone. */
bool memslot_anon_release(struct vm *vm, struct memslot *m, unsigned *budget);

/*
 * A walk over what is mapped of a slot, in bounded steps: for each leaf, run of small leaves or
 * hole from page *resume on. slot_walk() returns true at the end. Stage-2 lock held.
 */
struct slot_span {
	gpa_t start;
	uint64_t pages;
	struct pt_leaf leaf;	/* at start */
};
typedef void (*slot_span_fn)(struct vm *vm, struct memslot *m, const struct slot_span *s,
			     struct tlb_batch *b, void *ctx);
bool slot_walk(struct vm *vm, struct memslot *m, uint64_t *resume, slot_span_fn fn,
	       struct tlb_batch *b, void *ctx);

/* VM destroy: one bounded step of giving everything back; TM_CONTINUE or 0. */
int must_check memslot_destroy_step(struct vm *vm);

#endif
