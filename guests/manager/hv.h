// SPDX-License-Identifier: Apache-2.0
//
// All that the snapshot engine (track.c, snap_*.c) asks of the hypervisor, and nothing else. hv.c
// does it by hypercalls; the host tests link a model of VMs instead (tests/host/model_vm.c).
// Results are 0 or a negative TM_E*. CONTINUE is hidden.

#ifndef MANAGER_HV_H
#define MANAGER_HV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <abi/hypercall.h>
#include <abi/memory.h>
#include <abi/vm.h>

#include "snapfmt.h"

int hv_vm_info(uint32_t vm, struct tm_vm_info *info);
int hv_slot_query(uint32_t vm, uint32_t slot, struct tm_slot_info *info);
int hv_slot_flags(uint32_t vm, const struct tm_slot_desc *desc, uint32_t flags);
int hv_sync(uint32_t vm);
int hv_pause(uint32_t vm);	// with QUIESCE
int hv_resume(uint32_t vm);

// ---- dirty tracking

typedef void (*hv_dirty_fn)(void *ctx, uint32_t slot, uint64_t page);

// Clears OVERFLOW, then harvests and resets all rings until nothing is left in them. When it
// returns, every page reported is armed. vCPUs that a full ring stopped run again.
int hv_ring_drain(uint32_t vm, hv_dirty_fn fn, void *ctx);
// The whole slot into bits (a multiple of 8 bytes); *set counts.
int hv_bitmap_get(uint32_t vm, uint32_t slot, uint64_t *bits, uint64_t bytes, uint64_t *set);
int hv_bitmap_clear(uint32_t vm, uint32_t slot, uint64_t first, uint64_t pages,
		    const uint64_t *bits);
int hv_bitmap_any(uint32_t vm, bool *any);

// ---- memory

// A view of pages; prot is TM_PROT_*.
int hv_map(uint32_t vm, uint64_t gpa, uint64_t pages, uint32_t prot, void **at);
int hv_unmap(void *at, uint64_t pages);
// Makes instructions written through a window visible to the VM.
void hv_sync_code(const void *at, size_t length);

// ---- device state: SNAP_VCPU, SNAP_TIMER (per vCPU), SNAP_IRQCHIP, SNAP_UART (id 0)

#define HV_STATE_MAX 65536u

// size: of buf; *used: what there is.
int hv_state_get(uint32_t vm, uint32_t type, uint32_t id, void *buf, size_t size, size_t *used);
int hv_state_set(uint32_t vm, uint32_t type, uint32_t id, const void *buf, size_t size);
// Is `now`, read back, what `saved` said? elapsed: ticks since it was set, which a running counter
// may have moved. If not, why says where.
bool hv_state_equal(uint32_t type, const void *saved, const void *now, size_t size,
		    uint64_t elapsed, char *why, size_t why_size);

// ---- making and ending

struct hv_vm_spec {
	const struct snap_shape *shape;
	const struct snap_slot *slots;
	uint32_t slot_count;
	const char *name;
	const uint8_t *uuid;
};

// A VM of that shape with its vCPUs stopped; its memory is not cleared. f: the step that failed.
int hv_vm_create(const struct hv_vm_spec *spec, uint32_t *vm, struct fail *f);
int hv_vm_destroy(uint32_t vm);
// Starts every vCPU that is stopped.
int hv_vm_run(uint32_t vm);
// By name; -TM_ENOENT.
int hv_vm_find(const char *name, uint32_t *vm);

// ---- this machine

uint64_t hv_ticks(void);
uint64_t hv_ticks_freq(void);
uint32_t hv_arch(void);		// SNAP_ARCH_*
uint32_t hv_abi_version(void);
void hv_cpu_features(uint64_t feature[SNAP_FEATURES]);
// Lets about us pass; guests run.
void hv_wait(uint64_t us);

#endif
