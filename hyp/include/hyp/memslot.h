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
#include <hyp/types.h>

#define MEMSLOT_MAX 64u		/* ids 0..63; published by TM_CAP_MAX_SLOTS */

struct vm;

struct memslot {
	bool used;
	bool dying;		/* an interrupted delete: -TM_ENOENT for all but the same call */
	bool invalid;		/* being changed: vCPU accesses retry */
	uint16_t id;
	uint16_t generation;	/* of this id, for TM_DIRTY_RING_GEN */
	uint32_t flags;		/* TM_SLOT_* */
	gfn_t base;
	uint64_t npages;
	hpa_t backing;		/* HPA_NONE: anonymous */
	uint64_t tables_reserved;
	uint64_t resume;	/* cursor of an interrupted delete */
	hpa_t *anon;		/* anonymous: sparse two-level table of pages, NULL while empty */
	struct dirty_bitmap bitmap;
};

struct memslots {
	struct memslot slot[MEMSLOT_MAX];
	uint16_t order[MEMSLOT_MAX];	/* used slots by ascending base */
	unsigned count;
	unsigned logging;		/* slots with LOG_DIRTY */
};

/* The slot that holds this gfn, or NULL. Caller holds slots_lock or the stage-2 lock. */
struct memslot *memslot_find(struct memslots *s, gfn_t gfn);
/* By number, checked; NULL when absent. */
struct memslot *memslot_get(struct memslots *s, uint32_t slot);
static inline bool memslot_logging(const struct memslot *m)
{
	return (m->flags & TM_SLOT_LOG_DIRTY) && !(m->flags & TM_SLOT_READONLY);
}

/* The whole SLOT_SET with its check table (semantics 2.1). May return TM_CONTINUE for DELETE. */
int must_check memslot_set(struct vm *vm, const struct tm_slot_desc *d);
/*
 * hpa of the page, or HPA_NONE if anonymous and not there. Stage-2 lock held.
 */
hpa_t memslot_page(const struct memslot *m, uint64_t offset);
/* Same, but takes an anonymous page out of the pool when absent. */
hpa_t memslot_page_alloc(struct vm *vm, struct memslot *m, uint64_t offset);
/* VM destroy: one bounded step of giving everything back; TM_CONTINUE or 0. */
int must_check memslot_destroy_step(struct vm *vm);

#endif
