// SPDX-License-Identifier: Apache-2.0
/*
 * The dirty-tracking oracle, a program in the manager's place: it drives guests/dirty in a VM of
 * its own and lets memory content decide. A shadow copy of each tracked page is brought up to date
 * only when that page was reported, and only after it was armed again: as a migration would do.
 * Whenever the guest stands still, content and shadow must be equal but for the pages reported now.
 *
 * One world is one VM; one CPU, no locks. All decisions come from plan.c, which knows the seed and
 * the round and nothing else, so that a seed replays its list of operations.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdbool.h>
#include <stdint.h>
#include <tidemark/call.h>
#include <tidemark/dirty_protocol.h>
#include <tidemark/prng.h>
#include <tidemark/vmm.h>

#define TRACKS 3
#define TRACK_PAGES_MAX 1152		/* of all tracked slots together */
#define OPS_MAX 10
#define PAGE 4096u
#define RO_GPA 0x6f000000u		/* the read-only slot */
#define RO_PAGES 61u
#define RING_ENTRIES 256u		/* the least there is */
#define RING_RESERVE 64u		/* above the soft limit */
#define PML_RING_ENTRIES 1024u		/* room for a whole hardware buffer besides */
#define PML_ENTRIES 512u

enum mode {
	MODE_STOP,		/* ring and bitmap; a full ring stops its vCPU */
	MODE_SPILL,		/* ring and bitmap; a full ring spills */
	MODE_BITMAP,		/* bitmap, manual */
	MODE_RING,		/* ring-exclusive */
	MODE_AUTO,		/* bitmap, automatic */
	MODE_INIT,		/* bitmap, manual, initially set */
	MODES
};

enum op {
	OP_HYP_WRITE,		/* a hypervisor-originated writer (test builds) */
	OP_WINDOW_STORE,	/* the manager's own store through a window */
	OP_MARK_DIRTY,
	OP_HARVEST,		/* all rings, RING_RESET */
	OP_HARVEST_PART,	/* some entries of one ring, RING_RESET */
	OP_GET_CLEAR,		/* one slot: BITMAP_GET, and CLEAR where manual */
	OP_CLEAR_SUBSET,	/* of the bits that GET returned, some */
	OP_GET_SPARSE,
	OP_SYNC,
	OP_PAUSE,		/* full collection and comparison while paused */
	OP_QUIESCE,		/* the same, and no writer gets through */
	OP_LOG_TOGGLE,		/* log of a slot off and on */
	OP_MOVE,		/* a slot to another place and back, paused */
	OP_DELETE,		/* SLOT_DELETE_COLLECT and a new slot, paused */
	OP_KICK,		/* drain */
	OP_KICK_STOP,
	OP_COMPARE,		/* full collection and comparison while the guest writes */
	OP_READONLY,		/* the guest writes into a read-only slot too */
	OP_REFUSED,		/* ring-exclusive: what must be refused */
	OPS
};

struct track {
	uint32_t id;
	uint32_t pages;
	uint32_t first;			/* global number of its page 0 */
	uint64_t gpa;
	uint64_t home;
	uint64_t away;			/* where OP_MOVE takes it */
	bool anonymous;
	uint8_t *view;			/* window on all of it */
};

/* What is known of a page, world.flag[]. */
enum page_flag {
	P_FRESH = 1,		/* reported, and armed since or about to be; not copied yet */
	P_REPORTED = 2,		/* in this round */
	P_EXPLAINED = 4,	/* by the ledger or by ourselves, in this round */
	P_OWED = 8,		/* differed, was not reported: must be in the next collection */
	P_MARKED = 16,		/* MARK_DIRTY: must be in the next collection */
};

struct plan {
	uint64_t round;
	uint64_t seed;			/* for the guest, and for the operations' own choices */
	uint32_t n_writes;
	uint32_t slot_mask;		/* tracks written by the guest in this round */
	uint32_t kind_mask;
	uint32_t wait_mode;
	uint32_t pace;
	uint32_t locality;
	uint32_t vcpu_mask;
	bool hot;			/* the guest stays on a few pages until it is stopped */
	uint32_t hot_track, hot_page, hot_pages;
	bool readonly;
	bool sticky;			/* run a vCPU that stopped at a full ring once in vain */
	uint32_t n_ops;
	uint8_t op[OPS_MAX];
};

struct tally {
	uint64_t rounds, writes, stops, spills, faults, sticky, kicks;
	uint64_t reported, changed, unexplained;
	uint64_t op[OPS];
};

struct world {
	enum mode mode;
	uint32_t vcpus;
	uint64_t seed;
	uint32_t backend;		/* as in struct vmm_desc */
	uint32_t ring_entries, ring_soft_limit;
	bool small;			/* 256 pages, for slow machines */
	bool test_build;
	bool verbose;
	struct vmm_vm *vm;
	struct dirty_control *ctl;
	uint8_t *ledger;
	uint8_t *ro;
	uint64_t ro_hash;
	uint64_t ledger_seen[DIRTY_VCPUS];
	bool ledger_lost;		/* it wrapped: no accounting in this round */
	struct track track[TRACKS];
	uint32_t pages;
	uint8_t *shadow;
	uint8_t flag[TRACK_PAGES_MAX];
	uint64_t fresh_value;		/* of our own stores */
	struct plan plan;
	struct tally t;			/* of this world */
	/* the first thing that went wrong */
	bool failed;
	bool lost;
	char check[32];
	char text[160];
};

extern const char *const op_name[OPS];
extern const char *const mode_name[MODES];

/* plan.c */
uint32_t mode_dirty_flags(enum mode m);
bool mode_has_ring(enum mode m);
bool mode_has_bitmap(enum mode m);
bool mode_is_manual(enum mode m);
bool mode_has_op(enum mode m, enum op op, bool test_build);
void plan_round(const struct world *w, uint64_t round, struct plan *p);

/* world.c */
bool world_create(struct world *w);
void world_destroy(struct world *w);
bool world_map_track(struct world *w, struct track *t);
void world_unmap_track(struct track *t);
/* Records the first failure; a lost page is one. Returns false. */
bool world_fail(struct world *w, const char *check, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
bool world_lose(struct world *w, const char *check, const struct track *t, uint32_t offset);
struct track *world_track_of_gpa(struct world *w, uint64_t gpa);
struct track *world_track_of_slot(struct world *w, uint32_t slot);

/* collect.c: false after a failure. */
bool collect_rings(struct world *w, uint32_t max_per_ring);
bool collect_bitmap(struct world *w, struct track *t);
bool collect_subset(struct world *w, struct track *t, struct tm_prng *rng);
bool collect_sparse(struct world *w, struct track *t, bool standing_still);
/* Sync, all rings, all bitmaps; P_FRESH pages are armed but not yet copied. */
bool collect_all(struct world *w);
/* Copies P_FRESH pages into the shadow. */
void copy_fresh(struct world *w);
/* The guest stands still: what differs must be P_FRESH. Copies it. */
bool compare_still(struct world *w, const char *check);
bool compare_track(struct world *w, struct track *t, const char *check);
/* The guest writes: copies P_FRESH, and owes what differs then. */
void compare_running(struct world *w);
bool compare_pages(const uint8_t *a, const uint8_t *b, uint32_t pages);
void page_set(struct world *w, struct track *t, uint32_t offset, uint8_t flags);

/* ops.c */
bool run_op(struct world *w, enum op op, struct tm_prng *rng);

/* round.c */
bool run_round(struct world *w, uint64_t round);
/* <arch>/skip.c: the vCPU stands at a store of guests/dirty; false: at something else. */
bool skip_store(struct world *w, struct tm_regs *regs);
/* Handles stops seen so far; waits at most us. */
bool serve(struct world *w, uint64_t us);

#endif
