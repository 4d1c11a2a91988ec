// SPDX-License-Identifier: Apache-2.0
//
// VMs of guests/counter beside the attackers.

#include <string.h>
#include <tidemark/call.h>
#include <tidemark/irq.h>
#include "hostilemgr.h"

#define CELL_GPA 0x50000000u
#define CELL_SLOT 1u
#define RAM_SIZE (8u << 20)

uint64_t hyp_pages_free(void)
{
	static struct tm_counters c;

	return tm_counters(&c) == 0 ? c.hyp_pages_free : 0;
}

bool neighbour_start(struct neighbour *n, const char *name, bool idle, uint64_t affinity)
{
	static struct vmm_desc d;
	struct tm_cpio_file image;

	memset(n, 0, sizeof(*n));
	memset(&d, 0, sizeof(d));
	if (vmm_module("counter.bin", &image) != 0) {
		return false;
	}
	d.name = name;
	d.mem_size = RAM_SIZE;
	d.image = image.data;
	d.image_size = image.size;
	d.bootargs = idle ? "cell=0x50000000 idle=1" : "cell=0x50000000";
	d.slots[0] = (struct vmm_slot_spec){CELL_SLOT, 0, CELL_GPA, PAGE, VMM_DONATED};
	d.slot_count = 1;
	d.prio = 2;
	d.affinity = affinity;
	d.slice_us = 2000;
	if (vmm_create(&d, &n->vm) != 0) {
		return false;
	}
	n->cell = vmm_window_map(n->vm, CELL_GPA, PAGE, TM_PROT_READ | TM_PROT_WRITE);
	if (n->cell == NULL) {
		return false;
	}
	for (uint32_t i = 0; i < 20000; i++) {
		if (__atomic_load_n(&n->cell->state, __ATOMIC_ACQUIRE) ==
		    (idle ? COUNTER_IDLE : COUNTER_COUNTS)) {
			(void)vmm_wait(10000, NULL, NULL);
			n->hash = idle ? neighbour_hash(n) : 0;
			return true;
		}
		(void)vmm_wait(500, NULL, NULL);
	}
	return false;
}

uint64_t neighbour_hash(const struct neighbour *n)
{
	const uint64_t *p = vmm_window_map(n->vm, VMM_RAM_BASE, RAM_SIZE, TM_PROT_READ);
	uint64_t h = 1;

	if (p == NULL) {
		return 0;
	}
	for (uint64_t i = 0; i < RAM_SIZE / 8; i++) {
		h = (h ^ p[i]) * 0x9e3779b97f4a7c15u;
		h ^= h >> 29;
	}
	(void)vmm_window_unmap((void *)(uintptr_t)p, RAM_SIZE);
	return h;
}

bool neighbour_counts(struct neighbour *n)
{
	uint64_t count = __atomic_load_n(&n->cell->count, __ATOMIC_ACQUIRE);
	uint64_t printed = __atomic_load_n(&n->cell->printed, __ATOMIC_ACQUIRE);
	bool grew = count > n->count && printed >= n->printed;

	n->count = count;
	n->printed = printed;
	return grew;
}

uint64_t neighbour_run_ticks(const struct neighbour *n)
{
	static struct tm_vcpu_stats s;

	return tm_vcpu_stats(n->vm->handle, 0, &s) == 0 ? s.run_ticks : 0;
}

bool neighbour_end(struct neighbour *n)
{
	bool good = true;

	if (n->vm == NULL) {
		return false;
	}
	if (n->cell != NULL && n->cell->state == COUNTER_COUNTS) {
		__atomic_store_n(&n->cell->quit, 1, __ATOMIC_RELEASE);
		for (uint32_t i = 0; i < 20000 && n->vm->shutdown_type == 0; i++) {
			(void)vmm_wait(500, NULL, NULL);
		}
		good = n->vm->shutdown_type == TM_SHUTDOWN_OFF;
	} else if (n->cell != NULL) {
		good = neighbour_hash(n) == n->hash;
	}
	if (n->cell != NULL) {
		(void)vmm_window_unmap(n->cell, PAGE);
	}
	return vmm_destroy(n->vm) == 0 && good;
}
