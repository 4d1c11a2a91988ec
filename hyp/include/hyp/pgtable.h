// SPDX-License-Identifier: Apache-2.0
/*
 * The format-blind page-table walker and what a format must say. A format is pure bit encoding:
 * no assembly, no hardware access, so each one is tested on any host. The walker takes no lock;
 * its caller owns the table's lock. Levels: 0 = 4 KiB .. 3 = 512 GiB.
 */
#ifndef HYP_PGTABLE_H
#define HYP_PGTABLE_H

#include <hyp/err.h>
#include <hyp/types.h>

/* Attributes of a leaf, the same for all formats. */
enum pt_attr {
	PT_R = 1,
	PT_W = 2,
	PT_X = 4,
	PT_DEVICE = 8,		/* uncached, strongly ordered */
	PT_USER = 16,		/* stage-1 formats only */
	PT_CLEANABLE = 32,	/* writable-clean is expressible and wanted (DBM, D bit) */
	PT_DIRTY = 64,		/* with PT_CLEANABLE: hardware or we have marked it */
	PT_SW0 = 128,		/* two software bits that hardware ignores */
	PT_SW1 = 256,
};

enum pte_kind { PTE_HOLE, PTE_TABLE, PTE_LEAF };

struct pgtable_format {
	const char *name;
	uint8_t leaf_levels;	/* bit l: a leaf may stand at level l */
	bool bbm;		/* block<->table and address changes need break-before-make */
	bool w_xor_x;		/* a leaf with PT_W loses PT_X: giving a right may take one */
	/* Shortcuts for the dirty path, each equal to the functions below (test_formats): above level
	 * 0 an entry is a table <=> (pte & table_mask) == table_bits, its page is pte & table_addr;
	 * ORing grant_bits in adds PT_W | PT_DIRTY, clearing revoke_bits removes PT_W (0: no such). */
	uint64_t table_mask, table_bits, table_addr;
	uint64_t grant_bits, revoke_bits;
	enum pte_kind (*kind)(uint64_t pte, unsigned level);
	uint64_t (*make_leaf)(hpa_t a, unsigned level, unsigned attrs);
	uint64_t (*make_table)(hpa_t a);
	hpa_t (*addr)(uint64_t pte, unsigned level);
	unsigned (*attrs)(uint64_t pte, unsigned level);
	uint64_t (*set_attrs)(uint64_t pte, unsigned level, unsigned attrs);
};

struct pgtable;

/* Memory and observation, given by the table's owner. */
struct pgtable_mm {
	hpa_t (*alloc)(struct pgtable *pt);		/* one zeroed table page or HPA_NONE */
	void (*free)(struct pgtable *pt, hpa_t page);	/* only after the flush */
	/* Debug hook before each store of an entry; NULL in release builds. */
	void (*observe)(struct pgtable *pt, uint64_t gpa, unsigned level, uint64_t old,
			uint64_t new_pte);
	/* a leaf that hardware had marked dirty lost PT_W or went; NULL: nobody asks hardware.
	 * Not when its whole table goes at once: take PT_W away first. */
	void (*dirty_gone)(struct pgtable *pt, uint64_t gpa);
};

/*
 * Removal of permission is collected here and flushed once, before the table's lock is dropped
 * . Table pages that came off hang here until the flush is done.
 */
struct tlb_batch {
	uint64_t start, end;	/* byte range, start == end: nothing to do */
	bool needed;
	bool all;		/* a table came off or the range is not worth listing */
	uint64_t free_list;	/* hpa of table pages to free after the flush, linked; ~0 = none */
};
/* Gives the batch's table pages back: after its flush, by whoever flushes. */
void pgtable_batch_free(struct pgtable *pt, struct tlb_batch *b);
#define TLB_BATCH_INIT {.free_list = ~0ull}

struct pgtable {
	const struct pgtable_format *fmt;
	const struct pgtable_mm *mm;
	hpa_t root;
	uint8_t root_level;	/* level of the entries in the root page(s) */
	uint8_t ia_bits;	/* input addresses are below 1 << ia_bits */
	uint64_t *root_ptr;
	uint64_t table_pages;	/* in use below the root */
	uint64_t *leaves;	/* leaves by level (4 counters), kept exact; NULL: not wanted */
	void *owner;		/* for mm's functions */
	/* The level 0 table that was walked to last: for addresses with this addr >> 21; NULL: none. */
	uint64_t *last_table;
	uint64_t last_region;
};

struct pt_leaf {
	uint64_t pte;
	hpa_t hpa;		/* of the leaf's start */
	uint64_t start;		/* input address of the leaf's start */
	unsigned level;
	unsigned attrs;
	enum pte_kind kind;	/* PTE_HOLE: level is where the walk ended */
};

/* What is there at this address. Never fails; a hole has kind PTE_HOLE. */
struct pt_leaf pgtable_lookup(struct pgtable *pt, uint64_t addr);
/*
 * Maps one leaf at `level`. A smaller table in its place is replaced (its pages go to the batch);
 * a larger leaf is split first (needs a batch); a valid leaf with the same address just gets the
 * attributes. With a format that wants it the old entry is broken and flushed by `flush` first.
 * -TM_ENOMEM without a table page, nothing changed.
 */
int must_check pgtable_map(struct pgtable *pt, uint64_t addr, hpa_t hpa, unsigned level,
			   unsigned attrs, struct tlb_batch *b);
/* Removes all leaves in the range; a large leaf that only overlaps is split (-TM_ENOMEM) first. */
int must_check pgtable_unmap(struct pgtable *pt, uint64_t addr, uint64_t bytes,
			     struct tlb_batch *b);
/* Splits the leaf around addr down to `level`; children keep the attributes. */
int must_check pgtable_split(struct pgtable *pt, uint64_t addr, unsigned level,
			     struct tlb_batch *b);
/*
 * For each leaf in the range: attrs = (attrs & ~clear) | set. Never splits: a larger leaf that only
 * overlaps loses `clear` as a whole, and is left alone when `set` is not 0. Returns leaves changed.
 * b may be NULL when clear is 0.
 */
uint64_t pgtable_protect(struct pgtable *pt, uint64_t addr, uint64_t bytes, unsigned clear,
			 unsigned set, struct tlb_batch *b);
/*
 * Hardware marks what is written: a 4 KiB leaf becomes writable-clean, a larger one loses PT_W (its
 * dirty bit would say too little, R-122). Returns leaves changed.
 */
uint64_t pgtable_arm(struct pgtable *pt, uint64_t addr, uint64_t bytes, struct tlb_batch *b);
/*
 * The dirty-fault path: adds PT_W | PT_DIRTY to the 4 KiB leaf at addr. False, nothing done, if none
 * is there. Stage-2 formats only (grant_bits).
 */
bool pgtable_grant(struct pgtable *pt, uint64_t addr);
/* Calls fn for each leaf in the range, in order; stops at a nonzero return and returns it. */
int pgtable_for_each(struct pgtable *pt, uint64_t addr, uint64_t bytes,
		     int (*fn)(void *ctx, const struct pt_leaf *leaf), void *ctx);
/* Frees all tables below the root; the caller has flushed and nobody walks any more. */
void pgtable_destroy(struct pgtable *pt);

/*
 * Every function that takes a batch may leave work in it, on failure too: the caller flushes before
 * it drops the lock. A NULL batch is for callers that know nothing is replaced (boot, first maps).
 */
/* Given by the environment: the walker's only way to memory. */
uint64_t *pgtable_ptr(hpa_t table);
/* Called by the walker between break and make; flushes the range for the table's users. */
void pgtable_break_flush(struct pgtable *pt, uint64_t addr, uint64_t bytes);

#endif
