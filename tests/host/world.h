// SPDX-License-Identifier: Apache-2.0
//
// A small machine for tests of slots, log and windows: the fake architecture, the manager VM with
// its RAM mapped 1:1, hypercalls through the real dispatcher, guests made and destroyed as the
// manager would. Made once a process; world_guest() and world_destroy() come and go.
//
//   world_init(seed);
//   struct vm *vm = world_guest(vcpus, ring_entries, dirty_flags);
//   int64_t s = hc(TM_HC_..., a1, .., a6);     hc_res[0..2] are the results
//   uint64_t g = world_mem(pages, align);      manager RAM to donate; back at world_destroy()
//   world_ptr(gpa)                             manager RAM as the test sees it
//
// Link with WORLD_LINK's list, see test_memslot.c.

#ifndef TESTS_HOST_WORLD_H
#define TESTS_HOST_WORLD_H

#include <abi/hypercall.h>
#include <arch/cpu.h>
#include <hyp/boot_info.h>
#include <hyp/bootvms.h>
#include <hyp/hypercall.h>
#include <hyp/owner.h>
#include <hyp/sched.h>
#include <hyp/test_hooks.h>
#include <hyp/vm.h>
#include <hyp/window.h>

#include "check.h"
#include "fake.h"

#define WORLD_RAM (1ull << 30)
#define WORLD_MANAGER_RAM (512ull << 20)
#define WORLD_SCRATCH (8ull << 20)	/* of it, buffers that are never donated */
#define WORLD_POOL (16ull << 20)
#define WORLD_CPU 7u			/* where the manager's calls are made */
#define WUNUSED __attribute__((unused))

static struct vm *world_manager;
static uint64_t world_base, world_next, world_scratch_next;
WUNUSED static bool world_manager_is_alive = true;
static unsigned world_guests;
static uint64_t hc_res[3];
WUNUSED static unsigned world_backend = ~0u;	/* of the next guests; ~0: as they come */

// What manager.c would say; no manager program is loaded here, unless the test brings the real one.
#ifndef WORLD_REAL_MANAGER
bool manager_alive(void);
bool manager_alive(void) { return world_manager_is_alive; }
void manager_reap(void) {}
void manager_died(const char *why) { (void)why; }
unsigned manager_restarts(void) { return 0; }
#endif

static void *world_ptr(uint64_t gpa_) { return phys_to_virt(hpa(gpa_)); }

WUNUSED static uint64_t world_mem(uint64_t pages, uint64_t align)
{
	uint64_t at = ALIGN_UP(world_next, align);

	world_next = at + (pages << PAGE_SHIFT);
	if (world_next > world_base + WORLD_MANAGER_RAM) {
		fprintf(stderr, "world: manager RAM is used up\n");
		abort();
	}
	return at;
}

// Manager memory that stays its own: descriptors and buffers, page aligned.
WUNUSED static uint64_t world_buf(uint64_t bytes)
{
	uint64_t at = world_scratch_next;

	world_scratch_next += ALIGN_UP(bytes, PAGE_SIZE);
	if (world_scratch_next > world_base + WORLD_SCRATCH) {
		fprintf(stderr, "world: scratch is used up\n");
		abort();
	}
	return at;
}

static int64_t hc(uint32_t fn, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
		  uint64_t a6)
{
	struct hc_call c = {.vcpu = world_manager->vcpu[0], .arg = {a1, a2, a3, a4, a5, a6}};
	struct vcpu *before;
	int64_t status;

	fake_set_cpu(WORLD_CPU);
	before = this_pcpu()->current;
	this_pcpu()->current = world_manager->vcpu[0];
	status = hypercall_dispatch(&c, fn);
	this_pcpu()->current = before;
	memcpy(hc_res, c.res, sizeof(hc_res));
	return status;
}

// Same arguments until it is not CONTINUE; cursor_arg counts from 1, 0: the call keeps its own.
// *count, when given, collects result 2.
WUNUSED static int64_t hc_loop(unsigned cursor_arg, uint64_t *count, uint32_t fn, uint64_t a1,
			       uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
	uint64_t a[6] = {a1, a2, a3, a4, a5, 0};
	uint64_t sum = 0;
	int64_t s;

	do {
		s = hc(fn, a[0], a[1], a[2], a[3], a[4], a[5]);
		if (s >= 0) {
			sum += hc_res[1];
			if (cursor_arg != 0) {
				a[cursor_arg - 1] = hc_res[0];
			}
		}
	} while (s == TM_CONTINUE);
	if (count != NULL) {
		*count = sum;
	}
	return s;
}

WUNUSED static void world_init(uint64_t seed)
{
	struct tm_vm_desc d = {.flags = TM_VM_STATIC, .vcpus = 1, .name = "manager"};
	hpa_t pool, ram;

	if (world_manager != NULL) {
		return;
	}
	fake_reset(seed);
	for (unsigned i = 0; i < FAKE_CPUS; i++) {
		sched_init_cpu(&pcpus[i]);
	}
	boot_info = (struct boot_info){.fdt = HPA_NONE, .ram_count = 1};
	boot_info.ram[0] = (struct mem_range){hpa(FAKE_RAM_BASE), WORLD_RAM};
	owner_init();
	pool = boot_alloc(64ull << 20, LEVEL_SIZE(1));
	page_alloc_add(pool, (64ull << 20) / PAGE_SIZE);
	ram = boot_alloc(WORLD_MANAGER_RAM, LEVEL_SIZE(1));
	if (vm_alloc(&d, HPA_NONE, 0, &world_manager) || vcpu_create(world_manager, 0) ||
	    owner_change(ram, WORLD_MANAGER_RAM / PAGE_SIZE, owner_of(OWNER_HYP, 0),
			 owner_of(OWNER_MANAGER, MANAGER_HANDLE)) ||
	    manager_map_ram(ram, WORLD_MANAGER_RAM / PAGE_SIZE)) {
		fprintf(stderr, "world: no manager\n");
		abort();
	}
	world_base = ram.v;
	world_scratch_next = ram.v;
	world_next = ram.v + WORLD_SCRATCH;
}

WUNUSED static struct vm *world_guest_pool(unsigned vcpus, uint64_t ring_entries, uint64_t flags,
					   uint64_t pool_bytes)
{
	struct tm_vm_desc d = {.vcpus = vcpus ? vcpus : 1, .name = "guest",
			       .pool_size = pool_bytes};
	uint64_t at = world_base;	// first page of the scratch area
	struct vm *vm;

	world_scratch_next = MAX(world_scratch_next, world_base + PAGE_SIZE);
	d.pool_gpa = world_mem(pool_bytes / PAGE_SIZE, LEVEL_SIZE(1));
	memcpy(world_ptr(at), &d, sizeof(d));
	CHECK_EQ(hc(TM_HC_VM_CREATE, at, sizeof(d), 0, 0, 0, 0), 0);
	world_guests++;
	vm = vm_get(hc_res[0]);
	vm_put(vm);
	if (flags != 0) {
		CHECK_EQ(hc(TM_HC_DIRTY_CONFIG, vm->handle, ring_entries, flags, 0, 0, 0), 0);
	}
	if (world_backend != ~0u) {
		CHECK_EQ(hc(TM_HC_FORCE_BACKEND, vm->handle, world_backend, 0, 0, 0, 0), 0);
	}
	for (unsigned i = 0; i < vcpus; i++) {
		CHECK_EQ(hc(TM_HC_VCPU_CREATE, vm->handle, i, 0, 0, 0, 0), 0);
		vm->vcpu[i]->powered_on = true;
	}
	return vm;
}

WUNUSED static struct vm *world_guest(unsigned vcpus, uint64_t ring_entries, uint64_t flags)
{
	return world_guest_pool(vcpus, ring_entries, flags, WORLD_POOL);
}

// With the last guest everything is back and the arena starts over.
WUNUSED static void world_destroy(struct vm *vm)
{
	CHECK_EQ(hc_loop(0, NULL, TM_HC_VM_DESTROY, vm->handle, 0, 0, 0, 0), 0);
	if (--world_guests > 0) {
		return;
	}
	CHECK(owner_range_is(hpa(world_base), WORLD_MANAGER_RAM / PAGE_SIZE,
			     owner_of(OWNER_MANAGER, MANAGER_HANDLE)));
	world_next = world_base + WORLD_SCRATCH;
}

WUNUSED static int64_t slot_set(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t gpa_,
				uint64_t size, uint64_t backing)
{
	struct tm_slot_desc d = {.slot = slot, .flags = flags, .gpa = gpa_, .size = size,
				 .backing = backing};

	memcpy(world_ptr(world_base), &d, sizeof(d));
	return hc_loop(0, NULL, TM_HC_SLOT_SET, vm->handle, world_base, sizeof(d), 0, 0);
}

// Where the test sees a guest page, through the slot: no TLB, no table.
WUNUSED static void *guest_ptr(struct vm *vm, uint64_t gpa_)
{
	struct memslot *m;
	hpa_t page;

	stage2_lock(&vm->s2);
	m = memslot_find(&vm->slots, gpa_to_gfn(gpa(gpa_)));
	page = m ? memslot_page(m, (gpa_ >> PAGE_SHIFT) - m->base.v) : HPA_NONE;
	stage2_unlock(&vm->s2);
	return hpa_is_none(page) ? NULL : (char *)phys_to_virt(page) + (gpa_ & PAGE_MASK);
}

#endif
