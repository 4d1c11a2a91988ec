// SPDX-License-Identifier: Apache-2.0
//
// Which pages of a VM changed since the snapshot that it is based on. One struct track per VM that
// has been logged. `since` gathers everything ever collected since the base; `todo` is the part
// that a snapshot being taken has still to copy. Collecting arms before it returns (I-1), so the
// content of a page in a set may be read afterwards (I-2).

#ifndef MANAGER_TRACK_H
#define MANAGER_TRACK_H

#include <stdbool.h>
#include <stdint.h>

#include "fail.h"
#include "hv.h"

#define TRACK_SLOTS 16u
#define TRACK_VMS 16u

struct track_slot {
	struct tm_slot_desc desc;	// as the hypervisor has it
	uint64_t pages;
	uint64_t words;			// of the sets
	uint64_t *since;
	uint64_t *todo;
	uint64_t *got;			// scratch of one collection
	bool logged;			// takes part in logging (neither READONLY nor a hole)
	bool content;			// has memory behind it: not a PCI hole
};

struct track {
	bool used;
	uint32_t vm;
	struct snap_uuid uuid;		// of the VM
	struct tm_vm_info info;
	uint32_t slot_count;
	struct track_slot slot[TRACK_SLOTS];
	bool logging;
	bool has_base;			// since is complete, counted from base
	struct snap_uuid base;
	uint64_t collected;		// pages, over all collections
};

// The VM's tracker, made or brought up to date with its slots; null: f says why.
struct track *track_get(uint32_t vm, struct fail *f);
// The tracker if there is one.
struct track *track_find(uint32_t vm);
// Frees it (the VM is gone).
void track_drop(uint32_t vm);

// Logging of all slots on or off. Switching it off forgets the base.
int track_log(struct track *t, bool on, struct fail *f);
// Takes what was dirtied: VM_SYNC (unless the VM is paused), rings, bitmaps. Adds it to since and
// todo; *count (may be null) is what this collection reported.
int track_collect(struct track *t, bool paused, uint64_t *count, struct fail *f);
// Pages in the set.
uint64_t track_count_todo(const struct track *t);
uint64_t track_count_since(const struct track *t);
// todo := every page, or := since, or := nothing.
void track_todo_all(struct track *t);
void track_todo_since(struct track *t);
void track_todo_none(struct track *t);
// The VM now equals this snapshot: since is empty.
void track_set_base(struct track *t, const struct snap_uuid *base);
void track_forget_base(struct track *t);

#endif
