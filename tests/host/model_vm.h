// SPDX-License-Identifier: Apache-2.0
//
// A model of VMs behind guests/manager/hv.h: memory in host memory, write-protected pages, rings
// and bitmaps, device state as bytes. Guests write whenever the engine makes a call and at each of
// its progress reports, unless they are paused; each such write goes the way that a guest's would
// (armed page: mark, then let it through), so content decides whether the engine lost a page.

#ifndef TESTS_HOST_MODEL_VM_H
#define TESTS_HOST_MODEL_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "guests/manager/hv.h"

#define MODEL_VMS 8
#define MODEL_SLOTS 4

struct model_slot {
	struct tm_slot_desc desc;
	uint64_t pages;
	uint8_t *memory;
	uint8_t *armed;		// a byte per page: a write is noticed
	uint64_t *bitmap;
	uint8_t *truth;		// a byte per page: written since model_mark
};

struct model_vm {
	bool used;
	bool running;		// its vCPUs
	struct tm_vm_info info;
	uint32_t paused;
	uint32_t slot_count;
	struct model_slot slot[MODEL_SLOTS];
	struct tm_ring_entry *ring;
	uint32_t ring_used;
	uint8_t state[8][2048];	// by SNAP_ type
	uint64_t writes;
	uint32_t resumes;
	// Copy of slot memories at the last resume
	uint8_t *at_resume[MODEL_SLOTS];
};

extern struct model_vm model_vms[MODEL_VMS];
// Writes per engine call; 0 = guests hold still.
extern unsigned model_rate;
// Calls fail with this status once the counter runs out; 0 = never.
extern unsigned model_fail_after;
extern int model_fail_status;
extern uint32_t model_arch;
// Test switch: BITMAP_GET/CLEAR or the ring do not arm (a broken hypervisor).
extern bool model_no_arm;
// Read back of device state comes out changed.
extern bool model_bad_readback;

void model_reset(uint64_t seed);
// dirty_flags TM_DIRTY_*. Slot 0 of `pages` pages, slot 3 of 5 pages, slot 9 read-only of 2.
uint32_t model_add(const char *name, uint32_t dirty_flags, uint32_t ring_entries, uint64_t pages);
// The guest writes n times at random.
void model_guest_writes(struct model_vm *vm, unsigned n);
void model_guest_store(struct model_vm *vm, uint32_t slot, uint64_t page, uint64_t value);
// Forgets which pages were written.
void model_mark(struct model_vm *vm);
uint64_t model_written(const struct model_vm *vm);
bool model_same_memory(const struct model_vm *vm, uint8_t *const copy[MODEL_SLOTS]);
void model_copy_memory(const struct model_vm *vm, uint8_t *copy[MODEL_SLOTS]);
void model_step(void);

#endif
