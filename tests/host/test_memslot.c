// SPDX-License-Identifier: Apache-2.0
//
// Slots through the real calls: the check table of semantics 2.1 row by row, failure atomicity
// with every allocation failing in turn, donation and return, faults and leaf sizes.
//
// LINK: hyp/memslot.c hyp/memslot_steps.c hyp/memslot_anon.c hyp/dirty_log.c hyp/dirty_hw.c hyp/dirty_ring.c
// LINK: hyp/dirty_bitmap.c hyp/fault.c hyp/guest_copy.c hyp/window.c hyp/memcalls.c
// LINK: hyp/dirtycalls.c hyp/windowcalls.c hyp/test_hooks.c hyp/stage2.c hyp/pgtable.c
// LINK: hyp/tlbcheck.c hyp/page_alloc.c hyp/owner.c hyp/lock.c hyp/mmio.c hyp/vm.c hyp/vcpu.c
// LINK: hyp/sched.c hyp/event.c hyp/hyptimer.c hyp/hypercall.c hyp/vmcalls.c hyp/vcpucalls.c
// LINK: hyp/testcalls.c hyp/log.c hyp/console.c hyp/print.c arch/arm64/stage2_format.c
// LINK: tests/host/fake_arch.c tests/host/fake_tlb.c

#include "world.h"

#define MB (1ull << 20)
#define GB (1ull << 30)
#define BASE 0x40000000ull
#define BITMAP (TM_DIRTY_BITMAP)
#define MANUAL (TM_DIRTY_BITMAP | TM_DIRTY_MANUAL)

static struct vm *vm;

static struct tm_slot_desc good(void)
{
	return (struct tm_slot_desc){.slot = 1, .gpa = BASE, .size = 4 * MB};
}

static int64_t set(const struct tm_slot_desc *d)
{
	memcpy(world_ptr(world_base), d, sizeof(*d));
	return hc(TM_HC_SLOT_SET, vm->handle, world_base, sizeof(*d), 0, 0, 0);
}

static void begin(unsigned vcpus, uint64_t ring, uint64_t flags)
{
	world_init(check_seed());
	vm = world_guest(vcpus, ring, flags);
}

// ---- the check table ----

TEST(undefined_flags)
{
	begin(0, 0, 0);
	for (unsigned bit = 5; bit < 32; bit++) {	// C-024
		struct tm_slot_desc d = good();

		d.flags = 1u << bit;
		CHECK_EQ(set(&d), -TM_EINVAL);
		d.flags |= TM_SLOT_LOG_DIRTY;
		CHECK_EQ(set(&d), -TM_EINVAL);
	}
	CHECK_EQ(vm->slots.count, 0);
	world_destroy(vm);
}

TEST(reserved_words)
{
	begin(0, 0, 0);
	for (unsigned i = 0; i < 3; i++) {	// C-011
		struct tm_slot_desc d = good();

		d.rsvd = i == 0;
		d.rsvd2[0] = i == 1;
		d.rsvd2[1] = i == 2;
		CHECK_EQ(set(&d), -TM_EINVAL);
	}
	world_destroy(vm);
}

TEST(alignment)
{
	static const uint64_t off[] = {1, 8, 0x800, 0xfff};

	begin(0, 0, 0);
	for (unsigned i = 0; i < 4; i++) {	// C-021
		struct tm_slot_desc d = good();

		d.gpa += off[i];
		CHECK_EQ(set(&d), -TM_EINVAL);
		d = good();
		d.size += off[i];
		CHECK_EQ(set(&d), -TM_EINVAL);
		d = good();
		d.backing = world_base + WORLD_SCRATCH + off[i];
		CHECK_EQ(set(&d), -TM_EINVAL);
		d = good();
		d.priv_off = off[i];
		CHECK_EQ(set(&d), -TM_EINVAL);
	}
	world_destroy(vm);
}

TEST(wrap_and_width)
{
	static const struct {
		uint64_t gpa_, size, backing, priv_off;
	} rows[] = {	// C-022
		{~0xfffull, 0x2000, 0, 0},
		{BASE, 0x2000, ~0xfffull, 0},
		{BASE, 0x2000, 0, ~0xfffull},
		{0, 1ull << 43, 0, 0},			// 2^31 pages
		{0, (1ull << 40) + 0x1000, 0, 0},	// one page beyond 40 bits
		{(1ull << 40) - 0x1000, 0x2000, 0, 0},
		{1ull << 40, 0x1000, 0, 0},
		{1ull << 63, 1ull << 63, 0, 0},
		{0, ~0xfffull, 0, 0},
	};

	begin(0, 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct tm_slot_desc d = good();

		d.gpa = rows[i].gpa_;
		d.size = rows[i].size;
		d.backing = rows[i].backing;
		d.priv_off = rows[i].priv_off;
		CHECK_EQ(set(&d), -TM_EINVAL);
	}
	world_destroy(vm);
}

TEST(slot_numbers)
{
	struct tm_slot_desc d = good();

	begin(0, 0, 0);
	d.size = 4096;
	d.slot = MEMSLOT_MAX;	// C-020
	CHECK_EQ(set(&d), -TM_EINVAL);
	d.slot = 0xffff;
	CHECK_EQ(set(&d), -TM_EINVAL);
	d.slot = 1u << 16;
	CHECK_EQ(set(&d), -TM_EINVAL);
	d.slot = 0xffffffff;
	CHECK_EQ(set(&d), -TM_EINVAL);
	for (unsigned i = 0; i < MEMSLOT_MAX; i++) {
		d.slot = i;
		d.gpa = BASE + i * 0x10000;
		CHECK_EQ(set(&d), 0);
	}
	d.slot = MEMSLOT_MAX;
	d.gpa = BASE + 0x1000000;
	CHECK_EQ(set(&d), -TM_EINVAL);
	CHECK_EQ(vm->slots.count, MEMSLOT_MAX);
	world_destroy(vm);
}

TEST(combinations)
{
	static const struct {
		uint32_t flags;
		int64_t want;
	} rows[] = {
		{TM_SLOT_PRIVATE | TM_SLOT_LOG_DIRTY, -TM_EINVAL},
		{TM_SLOT_PRIVATE | TM_SLOT_READONLY, -TM_EINVAL},
		{TM_SLOT_PCI_HOLE | TM_SLOT_LOG_DIRTY, -TM_EINVAL},	// R-70, C-123
		{TM_SLOT_PCI_HOLE | TM_SLOT_READONLY, -TM_EINVAL},
		{TM_SLOT_PCI_HOLE | TM_SLOT_PRIVATE, -TM_EINVAL},
		{TM_SLOT_PRIVATE, -TM_EOPNOTSUPP},
		{TM_SLOT_EXIT_ON_MISSING, -TM_EOPNOTSUPP},
		{TM_SLOT_PCI_HOLE, -TM_EOPNOTSUPP},
	};
	struct tm_slot_desc d;

	begin(0, 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		d = good();
		d.flags = rows[i].flags;
		CHECK_EQ(set(&d), rows[i].want);
	}
	d = good();
	d.flags = TM_SLOT_PCI_HOLE;
	d.backing = world_base + WORLD_SCRATCH;
	CHECK_EQ(set(&d), -TM_EINVAL);
	d = good();
	d.priv_id = 1;
	CHECK_EQ(set(&d), -TM_EINVAL);
	world_destroy(vm);
}

TEST(delete_absent)
{
	struct tm_slot_desc d = {.slot = 3};

	begin(0, 0, 0);
	CHECK_EQ(set(&d), -TM_EINVAL);	// C-026
	CHECK_EQ(slot_set(vm, 3, 0, BASE, 8192, 0), 0);
	CHECK_EQ(slot_set(vm, 3, 0, 0, 0, 0), 0);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, vm->handle, 3, world_base, 4096, 0, 0), -TM_ENOENT);
	CHECK_EQ(set(&d), -TM_EINVAL);
	world_destroy(vm);
}

TEST(immutable)
{
	uint64_t a, b, flushes;
	struct tm_slot_desc d;

	begin(0, 0, 0);
	a = world_mem(4 * MB / PAGE_SIZE, 2 * MB);
	b = world_mem(4 * MB / PAGE_SIZE, 2 * MB);
	CHECK_EQ(slot_set(vm, 1, TM_SLOT_LOG_DIRTY, BASE, 4 * MB, a), 0);
	d = (struct tm_slot_desc){.slot = 1, .flags = 1, .gpa = BASE, .size = 4 * MB, .backing = a};
	for (unsigned i = 0; i < 4; i++) {	// C-025
		struct tm_slot_desc bad = d;

		bad.size = i == 0 ? 8 * MB : bad.size;
		bad.backing = i == 1 ? b : i == 2 ? 0 : bad.backing;
		bad.flags = i == 3 ? TM_SLOT_READONLY : bad.flags;
		CHECK_EQ(set(&bad), -TM_EINVAL);
		// A wrong size is wrong at another gpa as well.
		bad.gpa += 16 * MB;
		CHECK_EQ(set(&bad), -TM_EINVAL);
	}
	flushes = this_pcpu()->tlb_flushes;
	CHECK_EQ(set(&d), 0);
	fake_set_cpu(WORLD_CPU);
	CHECK_EQ(this_pcpu()->tlb_flushes, flushes);
	CHECK(owner_range_is(hpa(b), 4 * MB / PAGE_SIZE, owner_of(OWNER_MANAGER, 0)));
	world_destroy(vm);
}

TEST(overlap)
{
	begin(0, 0, 0);
	CHECK_EQ(slot_set(vm, 1, 0, BASE + 4 * MB, 4 * MB, 0), 0);	// C-023
	CHECK_EQ(slot_set(vm, 2, 0, BASE + 2 * MB, 3 * MB, 0), -TM_EEXIST);
	CHECK_EQ(slot_set(vm, 2, 0, BASE + 7 * MB, 3 * MB, 0), -TM_EEXIST);
	CHECK_EQ(slot_set(vm, 2, 0, BASE + 5 * MB, 1 * MB, 0), -TM_EEXIST);
	CHECK_EQ(slot_set(vm, 2, 0, BASE, 64 * MB, 0), -TM_EEXIST);
	CHECK_EQ(slot_set(vm, 2, 0, BASE + 4 * MB, 4 * MB, 0), -TM_EEXIST);
	CHECK_EQ(slot_set(vm, 2, 0, BASE + 8 * MB, 4 * MB, 0), 0);
	CHECK_EQ(slot_set(vm, 3, 0, BASE, 4 * MB, 0), 0);
	// MOVE onto another one, onto a part of itself, away.
	CHECK_EQ(slot_set(vm, 3, 0, BASE + 1 * MB, 4 * MB, 0), -TM_EEXIST);
	CHECK_EQ(slot_set(vm, 3, 0, BASE - 1 * MB, 4 * MB, 0), 0);
	CHECK_EQ(slot_set(vm, 3, 0, BASE + 100 * MB, 4 * MB, 0), 0);
	CHECK_EQ(vm->slots.slot[3].base.v, (BASE + 100 * MB) >> 12);
	// One change a call.
	CHECK_EQ(slot_set(vm, 3, TM_SLOT_LOG_DIRTY, BASE, 4 * MB, 0), -TM_EINVAL);
	world_destroy(vm);
}

static void device(struct vcpu *v, void *dev, struct mmio_access *a) { (void)v, (void)dev, (void)a; }

TEST(devices_are_in_the_way)
{
	const struct mmio_region r = {.base = gpa(0x08000000), .size = 0x10000, .access = device};

	begin(0, 0, 0);
	CHECK_EQ(mmio_add(vm, &r), 0);
	CHECK_EQ(mmio_add(vm, &r), -TM_EEXIST);
	CHECK_EQ(slot_set(vm, 1, 0, 0x08001000, 0x1000, 0), -TM_EEXIST);
	CHECK_EQ(slot_set(vm, 1, 0, 0x07fff000, 0x2000, 0), -TM_EEXIST);
	CHECK_EQ(slot_set(vm, 1, 0, 0x07fff000, 0x1000, 0), 0);
	CHECK_EQ(slot_set(vm, 2, 0, 0x08010000, 0x1000, 0), 0);
	world_destroy(vm);
}

TEST(calls_on_the_wrong_vm)
{
	begin(0, 0, 0);
	CHECK_EQ(hc(TM_HC_SLOT_SET, 511, world_base, 64, 0, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc(TM_HC_SLOT_SET, 512, world_base, 64, 0, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc(TM_HC_SLOT_SET, ~0ull, world_base, 64, 0, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc(TM_HC_SLOT_SET, 0, world_base, 64, 0, 0, 0), -TM_EACCES);
	CHECK_EQ(hc(TM_HC_SLOT_SET, vm->handle, world_base, 63, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_SLOT_SET, vm->handle, world_base + 1, 64, 0, 0, 0), -TM_EFAULT);
	CHECK_EQ(hc(TM_HC_SLOT_SET, vm->handle, 0x1000, 64, 0, 0, 0), -TM_EFAULT);
	CHECK_EQ(hc(TM_HC_SLOT_SET, vm->handle, ~7ull, 64, 0, 0, 0), -TM_EFAULT);
	CHECK_EQ(hc(TM_HC_SLOT_SET, vm->handle, window_base(), 64, 0, 0, 0), -TM_EFAULT);
	world_destroy(vm);
}

// ---- ownership ----

TEST(donation)
{
	uint64_t a, flags = 0, value;
	struct vm *other;

	begin(1, 0, 0);
	a = world_mem(8 * MB / PAGE_SIZE, 2 * MB);
	*(uint64_t *)world_ptr(a + 0x5000) = 0x1234;
	CHECK_EQ(fake_access(world_manager, 0, gpa(a), true).action, FAKE_DONE);
	CHECK_EQ(slot_set(vm, 1, 0, BASE, 4 * MB, a), 0);
	CHECK(owner_range_is(hpa(a), 4 * MB / PAGE_SIZE, owner_of(OWNER_VM_SHARED, vm->handle)));
	// The manager's map has lost it, TLB included; the rest is there.
	CHECK_EQ(fake_access(world_manager, 0, gpa(a), false).action, FAULT_ABORT);
	CHECK_EQ(fake_access(world_manager, 0, gpa(a + 4 * MB - 8), true).action, FAULT_ABORT);
	CHECK_EQ(fake_access(world_manager, 0, gpa(a + 4 * MB), true).action, FAKE_DONE);
	// As a buffer it is gone too.
	CHECK_EQ(hc(TM_HC_SLOT_SET, vm->handle, a, 64, 0, 0, 0), -TM_EFAULT);
	CHECK_EQ(hc(TM_HC_SLOT_QUERY, vm->handle, 1, a, 128, 0, 0), -TM_EFAULT);
	// Twice, partly, by another VM, the hypervisor's own, nothing at all: C-031.
	other = world_guest(0, 0, flags);
	CHECK_EQ(slot_set(vm, 2, 0, BASE + 16 * MB, 4 * MB, a), -TM_EACCES);
	CHECK_EQ(slot_set(vm, 2, 0, BASE + 16 * MB, 4 * MB, a + 2 * MB), -TM_EACCES);
	CHECK_EQ(slot_set(other, 1, 0, BASE, 4 * MB, a), -TM_EACCES);
	CHECK_EQ(slot_set(other, 1, 0, BASE, 4096, vm->pool.base.v), -TM_EACCES);
	CHECK_EQ(slot_set(other, 1, 0, BASE, 4096, virt_to_phys(vm).v), -TM_EACCES);
	CHECK_EQ(slot_set(other, 1, 0, BASE, 4096, 0x1000), -TM_EACCES);
	CHECK_EQ(slot_set(other, 1, 0, BASE, 4096, 1ull << 50), -TM_EACCES);
	CHECK(owner_range_is(hpa(a + 4 * MB), 4 * MB / PAGE_SIZE, owner_of(OWNER_MANAGER, 0)));
	// The guest sees what was there.
	CHECK_EQ(fake_load64(vm, 0, gpa(BASE + 0x5000), &value).action, FAKE_DONE);
	CHECK_EQ(value, 0x1234);
	// Back: zeroed, owned, mapped.
	CHECK_EQ(slot_set(vm, 1, 0, 0, 0, 0), 0);
	CHECK(owner_range_is(hpa(a), 4 * MB / PAGE_SIZE, owner_of(OWNER_MANAGER, 0)));
	CHECK_EQ(*(uint64_t *)world_ptr(a + 0x5000), 0);
	CHECK_EQ(fake_access(world_manager, 0, gpa(a), true).action, FAKE_DONE);
	CHECK_EQ(fake_access(vm, 0, gpa(BASE), false).action, FAULT_ABORT);
	CHECK_EQ(vm->pool.free, vm->pool.pages);
	CHECK_EQ(vm->pool.reserved, 0);
	world_destroy(other);
	world_destroy(vm);
}

// I-7, C-030: each allocation of each kind of SLOT_SET fails in turn; nothing has changed then.
static void one_change(unsigned what, uint64_t a, struct tm_slot_desc *d)
{
	*d = (struct tm_slot_desc){.slot = 1, .gpa = BASE, .size = 3 * MB, .backing = a};
	switch (what) {
	case 0:		// CREATE, cutting the manager's large leaves
		d->backing = a + 0x3000;
		break;
	case 1:		// CREATE with log
		d->flags = TM_SLOT_LOG_DIRTY;
		d->slot = 2;
		d->gpa = BASE + 64 * MB;
		d->backing = a + 8 * MB + 0x1000;
		break;
	case 2:		// MOVE
		d->backing = a + 0x3000;
		d->gpa = BASE + 1024 * MB;
		break;
	case 3:		// log on
		d->backing = a + 0x3000;
		d->gpa = BASE + 1024 * MB;
		d->flags = TM_SLOT_LOG_DIRTY;
		break;
	case 4:		// anonymous
		d->slot = 3;
		d->backing = 0;
		d->gpa = BASE + 128 * MB;
		break;
	}
}

TEST(failure_changes_nothing)
{
	static const uint32_t sites[] = {INJECT_POOL, INJECT_PAGE, INJECT_TABLE};
	uint64_t a, failed = 0;

	begin(1, 0, MANUAL);
	a = world_mem(16 * MB / PAGE_SIZE, 2 * MB);
	for (unsigned what = 0; what < 5; what++) {
		struct tm_slot_desc d;
		int64_t s = -1;

		one_change(what, a, &d);
		for (unsigned site = 0; site < 3; site++) {
			for (unsigned nth = 1; nth < 12 && s != 0; nth++) {
				struct memslots before = vm->slots;
				uint64_t free = vm->pool.free, reserved = vm->pool.reserved;

				(void)inject_configure(sites[site], nth);
				s = set(&d);
				(void)inject_configure(sites[site], 0);
				if (s == 0) {
					break;
				}
				CHECK_EQ(s, -TM_ENOMEM);
				failed++;
				before.last = vm->slots.last;
				CHECK(memcmp(&before, &vm->slots, sizeof(before)) == 0);
				CHECK_EQ(vm->pool.free, free);
				CHECK_EQ(vm->pool.reserved, reserved);
				if (d.backing && what < 2) {
					CHECK(owner_range_is(hpa(d.backing), d.size >> 12,
							     owner_of(OWNER_MANAGER, 0)));
					CHECK_EQ(fake_access(world_manager, 0, gpa(d.backing),
							     true).action, FAKE_DONE);
				}
			}
		}
		if (s != 0) {
			CHECK_EQ(set(&d), 0);
		}
	}
	EXPECT(failed >= 3);
	// DELETE: the manager's map may lack a table; the call goes on later.
	for (uint32_t slot = 1; slot <= 3; slot++) {
		struct tm_slot_desc d = {.slot = slot};
		int64_t s;
		unsigned nth = 1;

		do {
			(void)inject_configure(INJECT_TABLE, nth++);
			s = set(&d);
			(void)inject_configure(INJECT_TABLE, 0);
			CHECK(s == TM_CONTINUE || s == 0 || s == -TM_ENOMEM);
		} while (s != 0);
	}
	CHECK_EQ(vm->pool.free, vm->pool.pages);
	CHECK_EQ(vm->pool.reserved, 0);
	world_destroy(vm);
}

// The pool is too small: refused, and a guest fault never finds it empty.
TEST(reservation)
{
	uint64_t a;

	world_init(check_seed());
	vm = world_guest_pool(1, 0, BITMAP, 16 * PAGE_SIZE);
	a = world_mem(64 * MB / PAGE_SIZE, 2 * MB);
	CHECK_EQ(slot_set(vm, 1, TM_SLOT_LOG_DIRTY, BASE, 64 * MB, a), -TM_ENOMEM);
	CHECK(owner_range_is(hpa(a), 64 * MB / PAGE_SIZE, owner_of(OWNER_MANAGER, 0)));
	CHECK_EQ(slot_set(vm, 1, TM_SLOT_LOG_DIRTY, BASE, 16 * MB, a), 0);
	for (uint64_t off = 0; off < 16 * MB; off += PAGE_SIZE) {
		CHECK_EQ(fake_access(vm, 0, gpa(BASE + off), true).action, FAKE_DONE);
	}
	world_destroy(vm);
}

TEST(anonymous)
{
	uint64_t value, n = 0;

	world_init(check_seed());
	vm = world_guest_pool(1, 0, BITMAP, 64 * PAGE_SIZE);
	CHECK_EQ(slot_set(vm, 1, 0, BASE, 4 * MB, 0), 0);
	CHECK_EQ(fake_load64(vm, 0, gpa(BASE + 4 * MB - 8), &value).action, FAKE_DONE);
	CHECK_EQ(value, 0);
	CHECK_EQ(fake_store64(vm, 0, gpa(BASE), 77).action, FAKE_DONE);
	CHECK(owner_range_is(memslot_page(&vm->slots.slot[1], 0), 1,
			     owner_of(OWNER_VM_SHARED, vm->handle)));
	while (fake_access(vm, 0, gpa(BASE + n * PAGE_SIZE), true).action == FAKE_DONE) {
		n++;
	}
	CHECK(n > 40 && n < 64);
	// The last one stopped with a MEMORY_FAULT that says what is missing.
	CHECK_EQ(vm->vcpu[0]->run->u.memory_fault.gpa, BASE + n * PAGE_SIZE);
	CHECK_EQ(vm->vcpu[0]->run->u.memory_fault.flags, TM_FAULT_MISSING | TM_FAULT_WRITE);
	CHECK_EQ(slot_set(vm, 1, 0, 0, 0, 0), 0);
	CHECK_EQ(vm->pool.free, vm->pool.pages);
	CHECK_EQ(vm->pool.reserved, 0);
	// Used again: zero.
	CHECK_EQ(slot_set(vm, 1, 0, BASE, 4 * MB, 0), 0);
	CHECK_EQ(fake_load64(vm, 0, gpa(BASE), &value).action, FAKE_DONE);
	CHECK_EQ(value, 0);
	vm->vcpu[0]->stop_pending = false;
	world_destroy(vm);
}

// A sparse terabyte is cheap to make and to delete.
TEST(sparse_slot)
{
	unsigned calls = 0;
	struct tm_slot_desc d = {.slot = 1};
	int64_t s;

	world_init(check_seed());
	vm = world_guest_pool(1, 0, BITMAP, 256 * MB);
	CHECK_EQ(slot_set(vm, 1, TM_SLOT_LOG_DIRTY, 64 * GB, 32 * GB, 0), 0);
	CHECK_EQ(fake_access(vm, 0, gpa(64 * GB), true).action, FAKE_DONE);
	CHECK_EQ(fake_access(vm, 0, gpa(96 * GB - 8), true).action, FAKE_DONE);
	do {
		s = set(&d);
		calls++;
	} while (s == TM_CONTINUE);
	CHECK_EQ(s, 0);
	CHECK(calls < 16);
	CHECK_EQ(vm->pool.free, vm->pool.pages);
	world_destroy(vm);
}

// ---- faults and leaves ----

static struct tm_slot_info query(uint32_t slot)
{
	struct tm_slot_info *info = world_ptr(world_base);

	CHECK_EQ(hc_loop(6, NULL, TM_HC_SLOT_QUERY, vm->handle, slot, world_base, sizeof(*info), 0),
		 0);
	return *info;
}

// C-140: leaf sizes before, while and after logging.
TEST(leaf_sizes)
{
	uint64_t a;

	begin(1, 0, BITMAP);
	a = world_mem(12 * MB / PAGE_SIZE, 2 * MB);
	CHECK_EQ(slot_set(vm, 1, 0, BASE, 8 * MB, a), 0);
	for (uint64_t off = 0; off < 8 * MB; off += 2 * MB) {
		CHECK_EQ(fake_access(vm, 0, gpa(BASE + off + 0x1000), false).action, FAKE_DONE);
	}
	CHECK_EQ(query(1).leaves_2m, 4);
	CHECK_EQ(query(1).writable_leaves, 4);
	CHECK_EQ(slot_set(vm, 1, TM_SLOT_LOG_DIRTY, BASE, 8 * MB, a), 0);
	CHECK_EQ(query(1).leaves_2m, 4);	// at their present size, but armed
	CHECK_EQ(query(1).writable_leaves, 0);
	CHECK_EQ(fake_access(vm, 0, gpa(BASE + 0x5000), true).action, FAKE_DONE);
	CHECK_EQ(query(1).leaves_2m, 3);
	CHECK_EQ(query(1).leaves_4k, 512);
	CHECK_EQ(query(1).writable_leaves, 1);
	CHECK_EQ(slot_set(vm, 1, 0, BASE, 8 * MB, a), 0);
	CHECK_EQ(query(1).leaves_4k, 0);
	for (uint64_t off = 0; off < 8 * MB; off += 2 * MB) {
		CHECK_EQ(fake_access(vm, 0, gpa(BASE + off + 0x1000), true).action, FAKE_DONE);
	}
	CHECK_EQ(query(1).leaves_2m, 4);
	CHECK_EQ(query(1).leaves_4k, 0);
	CHECK_EQ(query(1).next, ~0u);
	CHECK_EQ(vm->s2.pt.table_pages + vm->pool.reserved, vm->slots.slot[1].tables_reserved);
	// gpa and hpa not alike: small leaves.
	CHECK_EQ(slot_set(vm, 2, 0, BASE + 32 * MB, 2 * MB, a + 9 * MB), 0);
	CHECK_EQ(fake_access(vm, 0, gpa(BASE + 32 * MB), true).action, FAKE_DONE);
	CHECK_EQ(query(2).leaves_4k, 1);
	CHECK_EQ(query(1).next, 2);
	CHECK_EQ(query(~0u).desc.slot, 1);
	world_destroy(vm);
}

TEST(eager_split)
{
	uint64_t a;

	begin(1, 0, BITMAP | TM_DIRTY_EAGER_SPLIT);
	a = world_mem(8 * MB / PAGE_SIZE, 2 * MB);
	CHECK_EQ(slot_set(vm, 1, 0, BASE, 8 * MB, a), 0);
	for (uint64_t off = 0; off < 8 * MB; off += 2 * MB) {
		CHECK_EQ(fake_access(vm, 0, gpa(BASE + off), true).action, FAKE_DONE);
	}
	CHECK_EQ(slot_set(vm, 1, TM_SLOT_LOG_DIRTY, BASE, 8 * MB, a), 0);
	CHECK_EQ(query(1).leaves_2m, 0);
	CHECK_EQ(query(1).leaves_4k, 2048);
	CHECK_EQ(query(1).writable_leaves, 0);
	world_destroy(vm);
}

// R-77, C-124: reads direct, writes to the manager, memory unchanged; the log does nothing.
TEST(readonly)
{
	uint64_t a, value;

	begin(1, 0, BITMAP);
	a = world_mem(2 * MB / PAGE_SIZE, 2 * MB);
	*(uint64_t *)world_ptr(a) = 5;
	CHECK_EQ(slot_set(vm, 1, TM_SLOT_READONLY, BASE, 2 * MB, a), 0);
	CHECK_EQ(fake_load64(vm, 0, gpa(BASE), &value).action, FAKE_DONE);
	CHECK_EQ(value, 5);
	CHECK_EQ(fake_store64(vm, 0, gpa(BASE), 6).action, FAULT_MMIO);
	CHECK_EQ(*(uint64_t *)world_ptr(a), 5);
	CHECK_EQ(slot_set(vm, 1, TM_SLOT_READONLY | TM_SLOT_LOG_DIRTY, BASE, 2 * MB, a), 0);
	CHECK_EQ(fake_store64(vm, 0, gpa(BASE), 6).action, FAULT_MMIO);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, vm->handle, 1, world_base, 4096, 0, 0), -TM_ENOENT);
	CHECK_EQ(slot_set(vm, 1, TM_SLOT_READONLY, BASE, 2 * MB, a), 0);
	world_destroy(vm);
}

TEST(unbacked)
{
	begin(1, 0, 0);
	CHECK_EQ(fake_access(vm, 0, gpa(BASE), false).action, FAULT_ABORT);	// C-032
	vm->mmio_window[0] = (struct tm_range){0x0a000000, 0x1000};
	vm->mmio_window_count = 1;
	CHECK_EQ(fake_access(vm, 0, gpa(0x0a000ff8), true).action, FAULT_MMIO);
	CHECK_EQ(fake_access(vm, 0, gpa(0x0a001000), true).action, FAULT_ABORT);
	world_manager_is_alive = false;
	CHECK_EQ(fake_access(vm, 0, gpa(0x0a000000), true).action, FAULT_ABORT);
	world_manager_is_alive = true;
	vm->flags |= TM_VM_EXIT_ON_UNBACKED;
	CHECK_EQ(fake_access(vm, 0, gpa(BASE), true).action, FAULT_MMIO);
	world_destroy(vm);
}

// An interrupted delete: nobody else sees the slot, the same call goes on (abi.md).
TEST(interrupted_delete)
{
	struct tm_slot_desc d = {.slot = 1};
	uint64_t a;

	begin(1, 0, BITMAP);
	a = world_mem(8 * MB / PAGE_SIZE, 2 * MB);
	CHECK_EQ(slot_set(vm, 1, TM_SLOT_LOG_DIRTY, BASE, 8 * MB, a), 0);
	CHECK_EQ(fake_store64(vm, 0, gpa(BASE), 1).action, FAKE_DONE);
	CHECK_EQ(set(&d), TM_CONTINUE);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, vm->handle, 1, world_base, 4096, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc(TM_HC_SLOT_QUERY, vm->handle, 1, world_base, 128, 0, 0), -TM_ENOENT);
	CHECK_EQ(slot_set(vm, 1, 0, BASE, 8 * MB, a), -TM_ENOENT);
	CHECK_EQ(fake_access(vm, 0, gpa(BASE), true).action, FAULT_ABORT);
	// Its gpa is free, its number is not.
	CHECK_EQ(slot_set(vm, 2, 0, BASE, 4096, 0), 0);
	CHECK_EQ(slot_set(vm, 1, 0, 0, 0, 0), 0);
	CHECK(owner_range_is(hpa(a), 8 * MB / PAGE_SIZE, owner_of(OWNER_MANAGER, 0)));
	world_destroy(vm);
}

// C-033: unread bits move with the slot; C-068's other half: a smaller slot under the same id.
TEST(move_keeps_bits)
{
	uint64_t buf, value;

	begin(1, 0, MANUAL);
	buf = world_base + PAGE_SIZE;
	CHECK_EQ(slot_set(vm, 1, TM_SLOT_LOG_DIRTY, BASE, 2 * MB, 0), 0);
	CHECK_EQ(fake_store64(vm, 0, gpa(BASE + 0x3000), 9).action, FAKE_DONE);
	CHECK_EQ(slot_set(vm, 1, TM_SLOT_LOG_DIRTY, BASE + 64 * MB, 2 * MB, 0), 0);
	CHECK_EQ(fake_access(vm, 0, gpa(BASE + 0x3000), false).action, FAULT_ABORT);
	CHECK_EQ(fake_load64(vm, 0, gpa(BASE + 64 * MB + 0x3000), &value).action, FAKE_DONE);
	CHECK_EQ(value, 9);
	CHECK_EQ(fake_store64(vm, 0, gpa(BASE + 64 * MB + 0x5000), 9).action, FAKE_DONE);
	CHECK_EQ(hc_loop(5, NULL, TM_HC_BITMAP_GET, vm->handle, 1, buf, 64, 0), 0);
	CHECK_EQ(*(uint64_t *)world_ptr(buf), 0x28);
	world_destroy(vm);
}

// ---- PREFAULT ----

TEST(prefault)	// C-113
{
	uint64_t count, h = 0;

	begin(1, 0, BITMAP);
	h = vm->handle;
	CHECK_EQ(slot_set(vm, 1, TM_SLOT_LOG_DIRTY, BASE, 4 * MB, 0), 0);
	CHECK_EQ(hc(TM_HC_PREFAULT, h, BASE + 1, 1, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_PREFAULT, h, BASE, 0, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_PREFAULT, h, BASE, 1ull << 52, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_PREFAULT, h, ~0xfffull, 2, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_PREFAULT, h, BASE, 2, 0, 0, 2), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_PREFAULT, h, BASE - 4096, 2, 0, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc_loop(6, &count, TM_HC_PREFAULT, h, BASE + 2 * MB, 1024, 0, 0), 0);
	CHECK_EQ(count, 512);	// the tail is outside
	CHECK_EQ(query(1).leaves_4k, 512);
	CHECK_EQ(query(1).writable_leaves, 0);
	CHECK_EQ(hc(TM_HC_BITMAP_SUMMARY, h, 0, 0, 0, 0, 0), 0);
	CHECK_EQ(hc_res[0], 0);
	world_destroy(vm);
}

CHECK_MAIN()
