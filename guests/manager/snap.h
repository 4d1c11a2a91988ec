// SPDX-License-Identifier: Apache-2.0
//
// The snapshot engine: taking a snapshot of a running VM, putting one back, rewinding, cloning. It
// reaches the hypervisor through hv.h only and prints nothing; progress goes to a callback. On
// failure struct fail says what, why and what to do; a refusal leaves the VM as it was.

#ifndef MANAGER_SNAP_H
#define MANAGER_SNAP_H

#include "snapfmt.h"
#include "store.h"
#include "track.h"

// ---- the VM's memory through windows (snap_mem.c)

struct snap_mem {
	const struct track *track;
	uint8_t *at[TRACK_SLOTS];
};

// Maps every slot that has content. Rights are TM_PROT_*.
int snap_mem_map(struct snap_mem *m, const struct track *t, uint32_t prot, struct fail *f);
void snap_mem_unmap(struct snap_mem *m);
bool snap_page_is_zero(const void *page);
// The memory hash of snapfmt.h.
struct hash_value snap_mem_hash(const struct snap_mem *m);

// ---- taking (snap_take.c)

enum snap_phase {
	SNAP_PHASE_FULL,		// full pass, or the parent's difference
	SNAP_PHASE_ROUND,		// copying what was dirtied meanwhile
	SNAP_PHASE_WAIT,		// between two rounds
	SNAP_PHASE_PAUSED,		// the VM has just been paused
	SNAP_PHASE_LAST,		// last sync is done, VM still paused
	SNAP_PHASE_SEAL,		// VM runs again; checksums
	SNAP_PHASE_DONE,
};

struct snap_stats {
	enum snap_phase phase;
	uint32_t rounds;		// after the full pass, the one in the pause included
	uint64_t pages;			// RAM of the VM
	uint64_t done;			// of this pass
	uint64_t total;
	uint64_t copied;		// page reads, repeats included
	uint64_t dirtied;		// collected since the snapshot began, before the pause included
	uint64_t last_pages;		// collected in the pause
	uint64_t start;			// ticks
	uint64_t downtime;		// ticks from pause to resume
	uint64_t hash_ticks;		// of them, for hash A
	uint64_t image_bytes;
	struct hash_value mem_hash;
	bool lost;			// `lose` dropped this page
	uint32_t lost_slot;
	uint64_t lost_page;
	int index;			// in the store
};

typedef void (*snap_progress_fn)(void *ctx, const struct snap_stats *s);

struct snap_take_opts {
	uint32_t vm;
	const char *name;
	const struct snap_uuid *parent;	// incremental on it; null: full image
	uint64_t limit;			// pause when at most so many pages are left
	uint32_t min_rounds;
	uint32_t max_rounds;		// waits in which nothing was dirtied included
	uint64_t min_dirtied;		// go on (up to max_rounds) until so many pages were dirtied
	uint64_t round_us;		// between two rounds
	bool lose;			// test: forget one page that changed in the last round
	snap_progress_fn progress;
	void *ctx;
};

// Sensible values for everything but vm and name.
void snap_take_defaults(struct snap_take_opts *o);
int snap_take(struct store *store, const struct snap_take_opts *o, struct snap_stats *s,
	      struct fail *f);

// ---- device state (snap_state.c)

// Appends all device records. The VM is paused.
int snap_state_save(struct snap_writer *w, const struct track *t, struct fail *f);
// Sets what the image has, reads it back and compares.
int snap_state_load(const struct snap_image *img, uint32_t vm, struct fail *f);

// ---- putting back (snap_view.c, snap_restore.c)

#define SNAP_CHAIN 32u

// A verified chain of images and where each page's content lies in it; null is a page of zeros.
struct snap_view {
	struct snap_image img[SNAP_CHAIN];	// [0] is the one that was asked for
	uint32_t count;
	const uint8_t **page[SNAP_MAX_SLOTS];	// by index in img[0].slots
};

// Verifies every image of the chain and that this machine can run it.
int snap_view_open(struct snap_view *v, const struct store *store, uint32_t index,
		   struct fail *f);
void snap_view_close(struct snap_view *v);
const uint8_t *snap_view_page(const struct snap_view *v, uint32_t slot, uint64_t page);

struct snap_restore_opts {
	const char *name;		// of a new VM; null: the image's VM, made anew if it is gone
	bool clone;			// a new VM with a uuid of its own
	bool run;
	// Called when memory and state are in place and verified, before the first instruction.
	void (*ready)(void *ctx, uint32_t vm);
	void *ctx;
};

struct snap_restore_result {
	uint32_t vm;
	bool created;
	uint64_t pages;			// written, zeros included
	struct hash_value mem_hash;	// hash B
	uint64_t ticks;
};

int snap_restore(const struct store *store, uint32_t index, const struct snap_restore_opts *o,
		 struct snap_restore_result *r, struct fail *f);
struct snap_rewind_result {
	uint64_t pages;			// copied back: all that were dirtied
	uint64_t differed;		// of them, pages whose content was another one
};

// Copies back only what was dirtied since the VM's base, which must be this snapshot. check: also
// compare the hash over all memory, which shows that no other page differed.
int snap_rewind(const struct store *store, uint32_t index, uint32_t vm, bool check,
		struct snap_rewind_result *r, struct fail *f);

// A uuid out of the counter and a running number.
struct snap_uuid snap_uuid_make(void);

#endif
