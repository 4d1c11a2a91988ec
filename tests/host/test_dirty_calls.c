// SPDX-License-Identifier: Apache-2.0
//
// Dirty-tracking and window calls with hostile inputs: C-004..C-013, C-040..C-050, C-060..C-069,
// C-080..C-088, C-093..C-106 as far as one machine of plain memory can show them.
//
// LINK: hyp/memslot.c hyp/memslot_steps.c hyp/memslot_anon.c hyp/dirty_log.c hyp/dirty_hw.c hyp/dirty_ring.c
// LINK: hyp/dirty_bitmap.c hyp/fault.c hyp/guest_copy.c hyp/window.c hyp/memcalls.c
// LINK: hyp/dirtycalls.c hyp/windowcalls.c hyp/test_hooks.c hyp/stage2.c hyp/pgtable.c
// LINK: hyp/tlbcheck.c hyp/page_alloc.c hyp/owner.c hyp/lock.c hyp/mmio.c hyp/vm.c hyp/vcpu.c
// LINK: hyp/sched.c hyp/event.c hyp/hyptimer.c hyp/hypercall.c hyp/vmcalls.c hyp/vcpucalls.c
// LINK: hyp/testcalls.c hyp/log.c hyp/console.c hyp/print.c arch/arm64/stage2_format.c
// LINK: tests/host/fake_arch.c tests/host/fake_tlb.c

#include <hyp/guest_copy.h>

#include "world.h"

#define BASE 0x40000000ull
#define LOG TM_SLOT_LOG_DIRTY
#define PAGES 1000u		/* odd: not a multiple of 64 */
#define BITMAP (TM_DIRTY_BITMAP)
#define MANUAL (TM_DIRTY_BITMAP | TM_DIRTY_MANUAL)
#define RING (TM_DIRTY_RING)

static struct vm *vm;
static uint64_t buf, h;

static void begin(unsigned vcpus, uint64_t ring, uint64_t flags)
{
	world_init(check_seed());
	vm = world_guest(vcpus, ring, flags);
	h = vm->handle;
	buf = world_base + PAGE_SIZE;
	memset(world_ptr(buf), 0xee, 2 * PAGE_SIZE);
}

static void end(void)
{
	for (unsigned i = 0; i < TM_MAX_VCPUS; i++) {
		if (vm->vcpu[i]) {
			vm->vcpu[i]->stop_pending = false;
		}
	}
	world_destroy(vm);
}

static void slot(void) { CHECK_EQ(slot_set(vm, 1, LOG, BASE, PAGES * PAGE_SIZE, 0), 0); }

static int store(unsigned v, uint64_t page)
{
	static uint64_t value;

	return fake_store64(vm, v, gpa(BASE + page * PAGE_SIZE), ++value).action;
}

static int64_t get(uint64_t *count)
{
	return hc_loop(5, count, TM_HC_BITMAP_GET, h, 1, buf, 4096, 0);
}

static bool got(uint64_t page) { return ((uint64_t *)world_ptr(buf))[page / 64] >> (page % 64) & 1; }

static int64_t clear(uint64_t first, uint64_t n, uint64_t bitmap)
{
	struct tm_clear_desc d = {.slot = 1, .first = first, .npages = n, .bitmap_gpa = bitmap,
				  .bitmap_len = ALIGN_UP(n, 64u) / 8};

	memcpy(world_ptr(world_base), &d, sizeof(d));
	return hc_loop(6, NULL, TM_HC_BITMAP_CLEAR, h, world_base, sizeof(d), 0, 0);
}

static int64_t reset(uint64_t *count) { return hc_loop(0, count, TM_HC_RING_RESET, h, 0, 0, 0, 0); }

// ---- configuration ----

TEST(ring_sizes)	// C-004, R-1
{
	static const struct {
		uint64_t entries;
		int64_t want;
	} rows[] = {{0, -TM_EINVAL}, {64, -TM_EINVAL}, {128, -TM_EINVAL}, {255, -TM_EINVAL},
		    {768, -TM_EINVAL}, {65537, -TM_EINVAL}, {131072, -TM_E2BIG},
		    {(1ull << 32) + 1024, -TM_EINVAL}, {1ull << 32, -TM_E2BIG},
		    {1ull << 60, -TM_EINVAL /* wraps to 0 bytes */}, {1ull << 63, -TM_EINVAL},
		    {~0ull, -TM_EINVAL}, {256, 0}};

	begin(0, 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t s = hc(TM_HC_DIRTY_CONFIG, h, rows[i].entries, RING, 0, 0, 0);

		EXPECT(s == rows[i].want || (s == -TM_E2BIG && rows[i].entries >= 1ull << 60));
	}
	end();
}

TEST(flag_rules)
{
	static const struct {
		uint64_t entries, flags;
		int64_t want;
	} rows[] = {
		{0, 0, -TM_EINVAL},
		{0, 128, -TM_EINVAL},
		{0, BITMAP | (1ull << 32), -TM_EINVAL},
		{0, BITMAP | (1ull << 63), -TM_EINVAL},
		{1024, BITMAP, -TM_EINVAL},			// entries without a ring
		{0, BITMAP | TM_DIRTY_INITIALLY_SET, -TM_EINVAL},	// C-010
		{1024, RING | MANUAL | TM_DIRTY_INITIALLY_SET, -TM_EINVAL},	// C-013, R-39
		{1024, RING | TM_DIRTY_SPILL, -TM_EINVAL},
		{0, BITMAP | TM_DIRTY_SPILL, -TM_EINVAL},
		{0, BITMAP | TM_DIRTY_RING_GEN, -TM_EINVAL},
		{1024, RING | TM_DIRTY_MANUAL, -TM_EINVAL},
		{1024, RING | MANUAL | TM_DIRTY_SPILL | TM_DIRTY_RING_GEN, 0},
		{1024, RING | MANUAL | TM_DIRTY_SPILL | TM_DIRTY_RING_GEN, 0},	// the same again
		{2048, RING | MANUAL | TM_DIRTY_SPILL | TM_DIRTY_RING_GEN, -TM_EINVAL},
	};

	begin(0, 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		CHECK_EQ(hc(TM_HC_DIRTY_CONFIG, h, rows[i].entries, rows[i].flags, 0, 0, 0),
			 rows[i].want);
	}
	end();
}

TEST(config_comes_first)
{
	begin(1, 0, 0);		// C-005
	CHECK_EQ(hc(TM_HC_DIRTY_CONFIG, h, 1024, RING, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(vm->dirty.flags, 0);
	end();
	begin(0, 0, 0);		// C-013
	slot();
	CHECK_EQ(hc(TM_HC_DIRTY_CONFIG, h, 0, MANUAL, 0, 0, 0), -TM_EBUSY);
	end();
	begin(0, 1024, RING);	// C-008, R-4
	vm->pvtime_gpa = BASE;
	CHECK_EQ(hc(TM_HC_VCPU_CREATE, h, 0, 0, 0, 0, 0), -TM_EINVAL);
	vm->pvtime_gpa = ~0ull;
	CHECK_EQ(hc(TM_HC_VCPU_CREATE, h, 0, 0, 0, 0, 0), 0);
	end();
}

// ---- the ring in the manager ----

static struct tm_ring_entry *ring_of(unsigned v) { return vm->vcpu[v]->ring.entries; }

static void harvest_all(unsigned v)
{
	struct dirty_ring *r = &vm->vcpu[v]->ring;

	for (uint64_t i = r->reset_index; i != r->dirty_index; i++) {
		r->entries[i & (r->size - 1)].flags |= TM_RING_RESET;
	}
}

TEST(ring_entries)	// C-040, C-041, C-042, C-048
{
	uint64_t n;

	begin(2, 1024, RING | BITMAP);
	slot();
	CHECK_EQ(slot_set(vm, 2, 0, BASE + (1ull << 30), 16 * PAGE_SIZE, 0), 0);
	for (unsigned i = 0; i < 100; i++) {
		CHECK_EQ(store(0, i * 7), FAKE_DONE);
		CHECK_EQ(store(0, i * 7), FAKE_DONE);
	}
	CHECK_EQ(fake_access(vm, 0, gpa(BASE + (1ull << 30)), true).action, FAKE_DONE);
	CHECK_EQ(fake_access(vm, 0, gpa(BASE + 5 * PAGE_SIZE), false).action, FAKE_DONE);
	CHECK_EQ(dirty_ring_used(&vm->vcpu[0]->ring), 100);
	CHECK_EQ(dirty_ring_used(&vm->vcpu[1]->ring), 0);
	for (unsigned i = 0; i < 100; i++) {
		CHECK_EQ(ring_of(0)[i].flags, TM_RING_DIRTY);
		CHECK_EQ(ring_of(0)[i].slot, 1);
		CHECK_EQ(ring_of(0)[i].offset, i * 7);
	}
	CHECK_EQ(reset(&n), 0);
	CHECK_EQ(n, 0);
	for (unsigned i = 0; i < 30; i++) {
		ring_of(0)[i].flags |= TM_RING_RESET;
	}
	CHECK_EQ(reset(&n), 0);
	CHECK_EQ(n, 30);
	CHECK_EQ(store(1, 0), FAKE_DONE);		// armed again: a new entry, the writer's ring
	CHECK_EQ(dirty_ring_used(&vm->vcpu[1]->ring), 1);
	CHECK_EQ(store(1, 31 * 7), FAKE_DONE);		// still pending: none
	CHECK_EQ(dirty_ring_used(&vm->vcpu[1]->ring), 1);
	end();
}

TEST(soft_limit_stops)	// C-043, C-044
{
	struct vcpu *v;
	uint64_t n;

	begin(1, 256, RING | BITMAP);
	slot();
	v = vm->vcpu[0];
	for (unsigned i = 0; i < 192; i++) {
		CHECK_EQ(dirty_log_entry_blocked(v), 0);
		CHECK_EQ(store(0, i), FAKE_DONE);
	}
	for (unsigned i = 0; i < 100; i++) {
		CHECK_EQ(dirty_log_entry_blocked(v), TM_EXIT_DIRTY_RING_FULL);
		CHECK_EQ(store(0, 500), FAULT_STOP);
	}
	CHECK_EQ(dirty_ring_used(&v->ring), 192);
	CHECK_EQ(*(uint64_t *)guest_ptr(vm, BASE) != 0, 1);
	// With nobody to tell, STOP behaves as SPILL.
	world_manager_is_alive = false;
	CHECK_EQ(dirty_log_entry_blocked(v), 0);
	world_manager_is_alive = true;
	harvest_all(0);
	CHECK_EQ(reset(&n), 0);
	CHECK_EQ(n, 192);
	CHECK_EQ(dirty_log_entry_blocked(v), 0);
	CHECK_EQ(store(0, 500), FAKE_DONE);
	end();
}

TEST(spill)
{
	struct vcpu *v;
	uint64_t n;

	begin(1, 256, RING | BITMAP | TM_DIRTY_SPILL);
	slot();
	v = vm->vcpu[0];
	for (unsigned i = 0; i < 400; i++) {
		CHECK_EQ(dirty_log_entry_blocked(v), 0);
		CHECK_EQ(store(0, i), FAKE_DONE);
	}
	CHECK_EQ(dirty_ring_used(&v->ring), 256);
	CHECK_EQ(v->run->flags & TM_RUN_OVERFLOW, TM_RUN_OVERFLOW);
	CHECK_EQ(vm->dirty.spills, 144);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 144);
	for (unsigned i = 0; i < 400; i++) {
		CHECK_EQ(got(i), i >= 256);
	}
	end();
}

// C-069, R-29: a ring-exclusive VM whose ring is full to the brim loses and overwrites nothing.
TEST(hidden_overflow_set)
{
	static uint8_t bytes[300 * 4096];
	struct vcpu *v;
	uint64_t n, seen = 0;
	uint8_t page[PAGES] = {0};

	begin(1, 256, RING);
	slot();
	v = vm->vcpu[0];
	fake_set_cpu(0);
	this_pcpu()->current = v;
	CHECK_EQ(guest_write(vm, v, gpa(BASE), bytes, sizeof(bytes), NULL), 0);
	this_pcpu()->current = NULL;
	CHECK_EQ(dirty_ring_used(&v->ring), 256);
	CHECK_EQ(v->run->flags & TM_RUN_OVERFLOW, TM_RUN_OVERFLOW);
	CHECK_EQ(get(NULL), -TM_ENXIO);
	for (unsigned round = 0; round < 10; round++) {
		struct dirty_ring *r = &v->ring;

		for (uint64_t i = r->reset_index; i != r->dirty_index; i++) {
			struct tm_ring_entry *e = &r->entries[i & (r->size - 1)];

			CHECK(e->offset < 300 && !page[e->offset]);
			page[e->offset] = 1;
			seen++;
			e->flags |= TM_RING_RESET;
		}
		CHECK_EQ(reset(&n), 0);
	}
	CHECK_EQ(seen, 300);
	end();
}

TEST(reset_is_bounded)	// C-064, C-067, R-23
{
	uint64_t n = 0;

	begin(2, 1024, RING | BITMAP);
	slot();
	for (unsigned i = 0; i < 900; i++) {
		CHECK_EQ(store(i & 1, i), FAKE_DONE);
	}
	harvest_all(0);
	harvest_all(1);
	CHECK_EQ(hc(TM_HC_RING_RESET, h, 0, 0, 0, 0, 0), TM_CONTINUE);
	CHECK_EQ(hc_res[1], 512);
	// What it says it freed is armed now.
	CHECK_EQ(vm->s2.check.count, 0);
	for (unsigned i = 0; i < 900; i += 2) {
		CHECK_EQ(store(0, i), FAKE_DONE);
	}
	CHECK_EQ(dirty_ring_used(&vm->vcpu[0]->ring), 450);
	CHECK_EQ(reset(&n), 0);
	CHECK_EQ(n, 900 - 512);
	end();
}

TEST(reset_without_work)	// C-050, R-24
{
	uint64_t n, flushes;

	begin(1, 1024, RING | BITMAP);
	slot();
	CHECK_EQ(store(0, 1), FAKE_DONE);
	fake_set_cpu(WORLD_CPU);
	flushes = this_pcpu()->tlb_flushes;
	CHECK_EQ(reset(&n), 0);
	CHECK_EQ(n, 0);
	fake_set_cpu(WORLD_CPU);
	CHECK_EQ(this_pcpu()->tlb_flushes, flushes);
	end();
	begin(1, 0, BITMAP);
	CHECK_EQ(reset(&n), -TM_ENXIO);
	end();
}

// C-049, R-22: every pattern, and one flush however long.
TEST(reset_patterns)
{
	struct check_rng rng = check_rng_make(3);

	begin(1, 1024, RING | BITMAP);
	slot();
	for (unsigned round = 0; round < 60; round++) {
		uint8_t want[PAGES] = {0};
		uint64_t n, count = 0;

		for (unsigned i = 0; i < 200; i++) {
			uint64_t page = round % 4 == 0 ? PAGES - 1 - i :
					round % 4 == 1 ? i : round % 4 == 2 ? i * 5 % PAGES :
					check_below(&rng, PAGES);

			CHECK_EQ(store(0, page), FAKE_DONE);
			count += !want[page];
			want[page] = 1;
		}
		CHECK_EQ(dirty_ring_used(&vm->vcpu[0]->ring), count);
		harvest_all(0);
		fake_tlb.flush_range = fake_tlb.flush_all = 0;
		CHECK_EQ(reset(&n), 0);
		CHECK_EQ(n, count);
		CHECK_EQ(fake_tlb.flush_range + fake_tlb.flush_all, 1);
	}
	end();
}

TEST(hostile_entries)	// C-060, C-062, C-065, R-21
{
	static const struct {
		uint32_t slot;
		uint64_t offset;
	} rows[] = {{0xffffffff, 0}, {5, 0}, {2, 0}, {1 | 1 << 16, 0}, {1, PAGES}, {1, 1ull << 63},
		    {1, ~0ull}, {1, ~0ull - 63}, {64, 0}, {3, 0}};
	struct check_rng rng = check_rng_make(4);
	struct dirty_ring *r;
	uint64_t n;

	begin(1, 256, RING | BITMAP);
	slot();
	CHECK_EQ(slot_set(vm, 2, 0, BASE + (1ull << 30), 16 * PAGE_SIZE, 0), 0);
	r = &vm->vcpu[0]->ring;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t at = r->dirty_index, bad = vm->dirty.bad_reset_entries;

		CHECK_EQ(store(0, 10 + i), FAKE_DONE);
		CHECK_EQ(r->dirty_index, at + 1);
		r->entries[at & 255].slot = rows[i].slot;
		r->entries[at & 255].offset = rows[i].offset;
		r->entries[at & 255].flags = 0xfffffffe;
		CHECK_EQ(reset(&n), 0);
		CHECK_EQ(n, 1);
		CHECK_EQ(vm->dirty.bad_reset_entries, bad + 1);
	}
	for (unsigned i = 0; i < 256; i++) {
		r->entries[i].flags = TM_RING_RESET;	// C-060
	}
	CHECK_EQ(reset(&n), 0);
	CHECK_EQ(n, 0);
	for (unsigned round = 0; round < 20000; round++) {
		uint64_t *words = (uint64_t *)r->entries;

		(void)store(0, check_below(&rng, PAGES));
		for (unsigned k = 0; k < 16; k++) {
			words[check_below(&rng, 512)] = check_rand(&rng) &
				(check_below(&rng, 2) ? ~0ull : 0x3ffull);
		}
		CHECK(reset(&n) >= 0);
		CHECK(dirty_ring_used(r) <= 256);
		vm->vcpu[0]->stop_pending = false;
	}
	end();
}

TEST(stale_entries)	// C-068, R-41
{
	uint64_t n;

	begin(1, 256, RING | BITMAP | TM_DIRTY_RING_GEN);
	slot();
	CHECK_EQ(store(0, 900), FAKE_DONE);
	CHECK_EQ(store(0, 3), FAKE_DONE);
	CHECK_EQ(ring_of(0)[0].flags >> 16, vm->slots.slot[1].generation);
	CHECK_EQ(slot_set(vm, 1, 0, 0, 0, 0), 0);
	CHECK_EQ(slot_set(vm, 1, LOG, BASE, 100 * PAGE_SIZE, 0), 0);
	CHECK_EQ(store(0, 3), FAKE_DONE);
	harvest_all(0);
	CHECK_EQ(reset(&n), 0);
	CHECK_EQ(n, 3);
	CHECK_EQ(vm->dirty.bad_reset_entries, 2);
	end();
}

// A destroyed vCPU's entries stay harvestable; the ring's next life begins with none lost.
TEST(vcpu_comes_back)
{
	uint64_t n;

	begin(1, 256, RING | BITMAP);
	slot();
	CHECK_EQ(store(0, 1), FAKE_DONE);
	CHECK_EQ(store(0, 2), FAKE_DONE);
	CHECK_EQ(hc(TM_HC_VCPU_DESTROY, h, 0, 0, 0, 0, 0), 0);
	vm->vcpu_dead[0]->ring.entries[0].flags |= TM_RING_RESET;
	CHECK_EQ(reset(&n), 0);
	CHECK_EQ(n, 1);
	CHECK_EQ(hc(TM_HC_VCPU_CREATE, h, 0, 0, 0, 0, 0), 0);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 1);
	CHECK(got(2));
	end();
}

TEST(manager_dies)
{
	uint64_t n;

	begin(1, 256, RING | BITMAP);
	slot();
	for (unsigned i = 0; i < 50; i++) {
		CHECK_EQ(store(0, i * 3), FAKE_DONE);
	}
	ring_of(0)[0].flags |= TM_RING_RESET;	// harvested by the one that is gone
	dirty_log_manager_gone(vm);
	CHECK_EQ(dirty_ring_used(&vm->vcpu[0]->ring), 0);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 50);
	end();
}

// ---- bitmap ----

TEST(ring_exclusive)	// C-080, R-6
{
	begin(1, 256, RING);
	slot();
	CHECK_EQ(get(NULL), -TM_ENXIO);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 999, 1, 0, 0, 0), -TM_ENXIO);
	CHECK_EQ(clear(0, 64, buf), -TM_ENXIO);
	CHECK_EQ(hc(TM_HC_BITMAP_GET_SPARSE, h, ~0ull, buf, 64, 0, 0), -TM_ENXIO);
	CHECK_EQ(hc(TM_HC_BITMAP_SUMMARY, h, 0, 0, 0, 0, 0), -TM_ENXIO);
	CHECK_EQ(hc(TM_HC_MARK_DIRTY, h, 1, 0, 1, 0, 0), -TM_ENXIO);
	CHECK_EQ(hc(TM_HC_SLOT_DELETE_COLLECT, h, 1, buf, 4096, 0, 0), -TM_ENXIO);
	// C-091, R-7: refused before memory changes.
	CHECK_EQ(store(0, 0), FAKE_DONE);
	*(uint64_t *)guest_ptr(vm, BASE) = 7;
	CHECK_EQ(hc(TM_HC_HYP_WRITE, h, BASE, 8, 1, 0, 0), -TM_ENXIO);
	CHECK_EQ(*(uint64_t *)guest_ptr(vm, BASE), 7);
	end();
}

TEST(automatic)		// C-081, R-104
{
	uint64_t n;

	begin(1, 0, 0);
	slot();
	for (unsigned i = 0; i < PAGES; i += 9) {
		CHECK_EQ(store(0, i), FAKE_DONE);
	}
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 112);
	for (unsigned i = 0; i < PAGES; i++) {
		CHECK_EQ(got(i), i % 9 == 0);
	}
	CHECK_EQ(((uint64_t *)world_ptr(buf))[PAGES / 64] >> (PAGES % 64), 0);
	CHECK_EQ(((uint8_t *)world_ptr(buf))[128], 0xee);	// not a byte more
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(store(0, 9), FAKE_DONE);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 1);
	end();
}

TEST(manual)		// C-082, C-083, R-105
{
	uint64_t n, *mask, junk;

	begin(1, 0, MANUAL);
	slot();
	junk = buf + PAGE_SIZE;
	mask = world_ptr(junk);
	for (unsigned i = 0; i < PAGES; i += 5) {
		CHECK_EQ(store(0, i), FAKE_DONE);
	}
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 200);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 200);
	CHECK_EQ(store(0, 5), FAKE_DONE);	// not armed by GET
	memset(mask, 0, 128);
	mask[0] = 1 << 5 | 1 << 6;		// 6 is not set: nothing to clear
	CHECK_EQ(clear(0, 64, junk), 0);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 199);
	CHECK(!got(5) && got(0));
	CHECK_EQ(store(0, 5), FAKE_DONE);	// armed by CLEAR
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 200);
	memset(mask, 0xff, 128);
	CHECK_EQ(clear(1, 64, junk), -TM_EINVAL);
	CHECK_EQ(clear(0, 63, junk), -TM_EINVAL);
	CHECK_EQ(clear(0, 0, junk), -TM_EINVAL);
	CHECK_EQ(clear(64, PAGES, junk), -TM_EINVAL);
	CHECK_EQ(clear(64, ~0ull - 63, junk), -TM_EINVAL);
	CHECK_EQ(clear(ALIGN_UP(PAGES, 64u), 64, junk), -TM_EINVAL);
	CHECK_EQ(clear(1ull << 63, 1ull << 63, junk), -TM_EINVAL);
	CHECK_EQ(clear(0, 64, junk + 4), -TM_EFAULT);
	CHECK_EQ(clear(0, 64, 0x1000), -TM_EFAULT);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 200);
	CHECK_EQ(clear(960, 40, junk), 0);	// the tail, surplus bits set
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 192);
	CHECK_EQ(clear(0, PAGES, junk), 0);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 0);
	end();
}

TEST(errors_in_order)	// R-107, C-085, C-011
{
	struct tm_clear_desc *d;

	begin(1, 0, MANUAL);
	slot();
	d = world_ptr(world_base);
	CHECK_EQ(store(0, 3), FAKE_DONE);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 64, 1, 0, 1, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 1 << 16, buf, 4096, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 1ull << 32 | 1, buf, 4096, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 2, 1, 0, 1, 0), -TM_ENOENT);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 1, buf, 127, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 1, buf, 128, 1, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 1, buf, 128, 1024, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 1, buf, 128, ~63ull, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 1, buf + 4, 128, 0, 0), -TM_EFAULT);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 1, 0x1000, 128, 0, 0), -TM_EFAULT);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 1, ~7ull, 128, 0, 0), -TM_EFAULT);
	CHECK_EQ(hc(TM_HC_BITMAP_GET_SPARSE, h, 1, buf, 15, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_BITMAP_GET_SPARSE, h, 1, 0x1000, 16, 0, 0), -TM_EFAULT);
	*d = (struct tm_clear_desc){.slot = 1, .npages = 64, .bitmap_gpa = buf, .bitmap_len = 8};
	CHECK_EQ(hc(TM_HC_BITMAP_CLEAR, h, world_base, 47, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_BITMAP_CLEAR, h, world_base, 48, 0, 0, 64), -TM_EINVAL);
	d->rsvd = 1;
	CHECK_EQ(hc(TM_HC_BITMAP_CLEAR, h, world_base, 48, 0, 0, 0), -TM_EINVAL);
	d->rsvd = 0;
	d->rsvd2 = 1ull << 40;
	CHECK_EQ(hc(TM_HC_BITMAP_CLEAR, h, world_base, 48, 0, 0, 0), -TM_EINVAL);
	d->rsvd2 = 0;
	d->bitmap_len = 7;
	CHECK_EQ(hc(TM_HC_BITMAP_CLEAR, h, world_base, 48, 0, 0, 0), -TM_EINVAL);
	// Longer, tail zero: fine; tail set: -E2BIG.
	d->bitmap_len = 8;
	memset(d + 1, 0, 64);
	CHECK_EQ(hc(TM_HC_BITMAP_CLEAR, h, world_base, 112, 0, 0, 0), 0);
	*((char *)(d + 1) + 63) = 1;
	CHECK_EQ(hc(TM_HC_BITMAP_CLEAR, h, world_base, 112, 0, 0, 0), -TM_E2BIG);
	end();
}

// C-085: whatever is wrong with the buffer, a retry returns the same bits.
TEST(bad_buffer_keeps_bits)
{
	uint64_t n, last, a;

	begin(1, 0, BITMAP);
	a = world_mem(40000, 2ull << 20);
	CHECK_EQ(slot_set(vm, 1, LOG, BASE, 40000 * PAGE_SIZE, a), 0);
	for (unsigned i = 0; i < 40000; i += 100) {
		CHECK_EQ(store(0, i), FAKE_DONE);
	}
	// The second page of the buffer is no longer the manager's.
	last = world_mem(2, PAGE_SIZE);
	CHECK_EQ(slot_set(vm, 2, 0, BASE + (1ull << 32), PAGE_SIZE, last + PAGE_SIZE), 0);
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 1, last, 2 * PAGE_SIZE, 0, 0), -TM_EFAULT);
	CHECK_EQ(hc(TM_HC_BITMAP_GET_SPARSE, h, 1, last + PAGE_SIZE - 16, 64, 0, 0), -TM_EFAULT);
	// From its middle: what fits arrives, then -EFAULT, and nothing is lost.
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 1, last, 2 * PAGE_SIZE, 32768, 0), -TM_EFAULT);
	CHECK_EQ(hc_loop(5, &n, TM_HC_BITMAP_GET, h, 1, buf, 2 * PAGE_SIZE, 0), 0);
	CHECK_EQ(n, 400);
	end();
}

TEST(initially_set)	// C-084
{
	uint64_t a, n;
	struct tm_slot_info *info;

	begin(1, 0, MANUAL | TM_DIRTY_INITIALLY_SET);
	a = world_mem(1024, 2ull << 20);
	CHECK_EQ(slot_set(vm, 1, 0, BASE, 1024 * PAGE_SIZE, a), 0);
	CHECK_EQ(store(0, 0), FAKE_DONE);
	CHECK_EQ(store(0, 512), FAKE_DONE);
	CHECK_EQ(slot_set(vm, 1, LOG, BASE, 1024 * PAGE_SIZE, a), 0);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 1024);
	info = world_ptr(world_base);
	CHECK_EQ(hc(TM_HC_SLOT_QUERY, h, 1, world_base, 128, 0, 0), 0);
	CHECK_EQ(info->leaves_2m, 2);
	CHECK_EQ(info->writable_leaves, 2);
	memset(world_ptr(buf), 0xff, 128);
	CHECK_EQ(clear(0, 64, buf), 0);
	CHECK_EQ(hc(TM_HC_SLOT_QUERY, h, 1, world_base, 128, 0, 0), 0);
	CHECK_EQ(info->writable_leaves, 1);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 960);
	CHECK_EQ(store(0, 7), FAKE_DONE);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 961);
	CHECK(got(7));
	end();
}

TEST(sparse)		// C-087
{
	struct tm_sparse_pair *p;
	uint64_t cursor = 0, pairs = 0;
	int64_t s;

	world_init(check_seed());
	vm = world_guest_pool(1, 0, BITMAP, 256ull << 20);
	h = vm->handle;
	buf = world_base + PAGE_SIZE;
	p = world_ptr(buf);
	CHECK_EQ(slot_set(vm, 1, LOG, BASE, 32ull << 30, 0), 0);
	CHECK_EQ(hc(TM_HC_BITMAP_GET_SPARSE, h, 1, buf, 4096, 0, 0), 0);
	CHECK_EQ(hc_res[1], 0);
	CHECK_EQ(hc(TM_HC_BITMAP_SUMMARY, h, 0, 0, 0, 0, 0), 0);
	CHECK_EQ(hc_res[0], 0);
	for (unsigned i = 0; i < 100; i++) {
		CHECK_EQ(store(0, i * 80000ull), FAKE_DONE);
	}
	CHECK_EQ(hc(TM_HC_BITMAP_SUMMARY, h, 0, 0, 0, 0, 0), 0);
	CHECK_EQ(hc_res[0], 1);
	do {
		s = hc(TM_HC_BITMAP_GET_SPARSE, h, 1, buf, 7 * 16 + 3, cursor, 0);
		CHECK(s >= 0);
		CHECK(hc_res[1] <= 7);
		for (uint64_t i = 0; i < hc_res[1]; i++, pairs++) {
			CHECK_EQ(p[i].word, pairs * 80000 / 64);
			CHECK_EQ(p[i].bits, 1ull << (pairs * 80000 % 64));
		}
		cursor = hc_res[0];
	} while (s == TM_CONTINUE);
	CHECK_EQ(pairs, 100);
	CHECK_EQ(hc(TM_HC_BITMAP_SUMMARY, h, 0, 0, 0, 0, 0), 0);
	CHECK_EQ(hc_res[0], 0);
	end();
}

TEST(failing_leaf)	// C-086 through the calls, and a failing split (I-3 d)
{
	uint64_t a, n;

	begin(1, 0, BITMAP);
	a = world_mem(1024, 2ull << 20);
	CHECK_EQ(slot_set(vm, 1, 0, BASE, 1024 * PAGE_SIZE, a), 0);
	CHECK_EQ(store(0, 0), FAKE_DONE);
	CHECK_EQ(slot_set(vm, 1, LOG, BASE, 1024 * PAGE_SIZE, a), 0);
	(void)inject_configure(INJECT_TABLE, 1);
	CHECK_EQ(store(0, 5), FAKE_DONE);
	CHECK_EQ(vm->dirty.chunk_fallbacks, 1);
	CHECK_EQ(store(0, 6), FAKE_DONE);	// the large leaf is writable now
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 512);
	CHECK_EQ(store(0, 6), FAKE_DONE);	// armed: split this time
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 1);
	(void)inject_configure(INJECT_BITMAP_LEAF, 1);
	CHECK_EQ(slot_set(vm, 2, LOG, BASE + (1ull << 30), 64 * PAGE_SIZE, 0), 0);
	CHECK_EQ(fake_access(vm, 0, gpa(BASE + (1ull << 30)), true).action, FAKE_DONE);
	CHECK_EQ(hc_loop(5, &n, TM_HC_BITMAP_GET, h, 2, buf, 64, 0), 0);
	CHECK_EQ(n, 64);
	end();
}

TEST(mark_dirty)	// C-097's range rows, R-14, C-093
{
	uint64_t n, generation;

	begin(1, 0, BITMAP);
	slot();
	CHECK_EQ(hc(TM_HC_MARK_DIRTY, h, 64, 0, 1, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MARK_DIRTY, h, 2, 0, 1, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc(TM_HC_MARK_DIRTY, h, 1, 0, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MARK_DIRTY, h, 1, PAGES, 1, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MARK_DIRTY, h, 1, PAGES - 1, 2, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MARK_DIRTY, h, 1, 1, ~0ull, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MARK_DIRTY, h, 1, ~0ull, 2, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_BITMAP_SUMMARY, h, 0, 0, 0, 0, 0), 0);
	generation = hc_res[1];
	CHECK_EQ(hc(TM_HC_MARK_DIRTY, h, 1, 60, 10, 0, 0), 0);
	CHECK_EQ(hc(TM_HC_BITMAP_SUMMARY, h, 0, 0, 0, 0, 0), 0);
	CHECK(hc_res[1] != generation);
	generation = hc_res[1];
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 10);
	CHECK_EQ(hc(TM_HC_HYP_WRITE, h, BASE + 5 * PAGE_SIZE - 4, 8, 1, 0, 0), 0);
	CHECK_EQ(hc(TM_HC_BITMAP_SUMMARY, h, 0, 0, 0, 0, 0), 0);
	CHECK(hc_res[1] != generation);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 2);		// it crossed a page
	CHECK(got(4) && got(5));
	end();
}

TEST(quiesce)		// C-105, R-44
{
	begin(1, 0, BITMAP);
	slot();
	CHECK_EQ(hc(TM_HC_VM_PAUSE, h, 0, 0, 0, 0, 0), 0);
	CHECK_EQ(hc(TM_HC_HYP_WRITE, h, BASE, 8, 1, 0, 0), 0);
	CHECK_EQ(hc(TM_HC_VM_PAUSE, h, TM_PAUSE_QUIESCE, 0, 0, 0, 0), 0);
	*(uint64_t *)guest_ptr(vm, BASE) = 9;
	CHECK_EQ(hc(TM_HC_HYP_WRITE, h, BASE, 8, 1, 0, 0), -TM_EBUSY);
	CHECK_EQ(*(uint64_t *)guest_ptr(vm, BASE), 9);
	CHECK_EQ(hc(TM_HC_VM_RESUME, h, 0, 0, 0, 0, 0), 0);
	CHECK_EQ(hc(TM_HC_VM_RESUME, h, 0, 0, 0, 0, 0), 0);
	CHECK_EQ(hc(TM_HC_HYP_WRITE, h, BASE, 8, 1, 0, 0), 0);
	CHECK_EQ(vm->dirty.writers[0] + vm->dirty.writers[1], 0);
	end();
}

TEST(delete_collect)	// C-106, R-40
{
	uint64_t n, a;

	begin(1, 0, BITMAP);
	a = world_mem(PAGES, 2ull << 20);
	CHECK_EQ(slot_set(vm, 1, LOG, BASE, PAGES * PAGE_SIZE, a), 0);
	CHECK_EQ(store(0, 1), FAKE_DONE);
	CHECK_EQ(get(&n), 0);
	for (unsigned i = 3; i < PAGES; i += 50) {
		CHECK_EQ(store(0, i), FAKE_DONE);
	}
	CHECK_EQ(hc(TM_HC_SLOT_DELETE_COLLECT, h, 1, buf, 120, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_SLOT_DELETE_COLLECT, h, 1, buf + 1, 128, 0, 0), -TM_EFAULT);
	CHECK_EQ(hc(TM_HC_SLOT_DELETE_COLLECT, h, 1, 0x1000, 128, 0, 0), -TM_EFAULT);
	CHECK_EQ(hc(TM_HC_SLOT_DELETE_COLLECT, h, 2, buf, 128, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc(TM_HC_SLOT_DELETE_COLLECT, h, 64, buf, 128, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc_loop(0, &n, TM_HC_SLOT_DELETE_COLLECT, h, 1, buf, 4096, 0), 0);
	CHECK_EQ(n, 20);
	for (unsigned i = 0; i < PAGES; i++) {
		CHECK_EQ(got(i), i % 50 == 3);
	}
	CHECK_EQ(hc(TM_HC_SLOT_DELETE_COLLECT, h, 1, buf, 4096, 0, 0), -TM_ENOENT);
	CHECK(owner_range_is(hpa(a), PAGES, owner_of(OWNER_MANAGER, 0)));
	end();
}

TEST(quota)
{
	struct vcpu *v;

	begin(1, 0, BITMAP);
	slot();
	v = vm->vcpu[0];
	CHECK_EQ(hc(TM_HC_QUOTA_SET, h, 64, 1, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_QUOTA_SET, h, 3, 1, 0, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc(TM_HC_QUOTA_SET, h, 0, 3, 0, 0, 0), 0);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(dirty_log_entry_blocked(v), 0);
		CHECK_EQ(store(0, i), FAKE_DONE);
		CHECK_EQ(store(0, i), FAKE_DONE);
	}
	CHECK_EQ(dirty_log_entry_blocked(v), TM_EXIT_QUOTA);
	CHECK_EQ(hc(TM_HC_QUOTA_SET, h, 0, ~0ull, 0, 0, 0), 0);
	CHECK_EQ(dirty_log_entry_blocked(v), 0);
	end();
}

TEST(rate)
{
	struct tm_dirty_rate *r;

	begin(2, 256, RING | BITMAP);
	slot();
	r = world_ptr(buf);
	CHECK_EQ(store(0, 1), FAKE_DONE);
	CHECK_EQ(store(1, 2), FAKE_DONE);
	CHECK_EQ(store(1, 3), FAKE_DONE);
	CHECK_EQ(hc(TM_HC_MARK_DIRTY, h, 1, 5, 1, 0, 0), 0);
	CHECK_EQ(hc(TM_HC_DIRTY_RATE, h, buf, sizeof(*r) - 1, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_DIRTY_RATE, h, buf, sizeof(*r), 0, 0, 0), 0);
	CHECK_EQ(r->pages_ring, 3);
	CHECK_EQ(r->pages_bitmap, 1);
	CHECK_EQ(r->per_vcpu[0], 1);
	CHECK_EQ(r->per_vcpu[1], 2);
	end();
}

// ---- windows ----

static int window_store(uint64_t at, uint64_t value)
{
	return fake_store64(world_manager, 0, gpa(at), value).action;
}

TEST(map_ring)		// C-066, R-34
{
	uint64_t w = window_base(), value;

	begin(1, 1024, RING | BITMAP);
	slot();
	CHECK_EQ(hc(TM_HC_MAP_RING, h, 0, 0, 4, w + 1, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_RING, h, 0, 0, 4, w - PAGE_SIZE, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_RING, h, 0, 0, 4, w + window_size() - PAGE_SIZE, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_RING, h, 0, 0, 0, w, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_RING, h, 0, 4, 1, w, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_RING, h, 0, 1, 4, w, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_RING, h, 0, ~0ull, 2, w, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_RING, h, 0, 1, ~0ull, w, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_RING, h, 1, 0, 1, w, 0), -TM_ENOENT);
	CHECK_EQ(hc(TM_HC_MAP_RING, h, 0, 0, 4, w, 0), 0);
	CHECK_EQ(hc_res[0], 0);
	CHECK_EQ(hc_res[1], 1024);
	CHECK_EQ(hc(TM_HC_MAP_RING, h, 0, 0, 4, w + 3 * PAGE_SIZE, 0), -TM_EEXIST);
	CHECK_EQ(hc(TM_HC_MAP_RUN, h, 0, w + 4 * PAGE_SIZE, 0, 0, 0), 0);
	CHECK_EQ(store(0, 77), FAKE_DONE);
	CHECK_EQ(fake_load64(world_manager, 0, gpa(w + 8), &value).action, FAKE_DONE);
	CHECK_EQ(value, 77);
	CHECK_EQ(window_store(w, 3ull | 1ull << 32), FAKE_DONE);
	CHECK_EQ(reset(&value), 0);
	CHECK_EQ(value, 1);
	CHECK_EQ(fake_translate(&world_manager->s2, 0, gpa(w), ACCESS_EXEC, &(hpa_t){0}, NULL, NULL),
		 FAKE_FORBIDDEN);
	// UNMAP: whole windows only.
	CHECK_EQ(hc(TM_HC_UNMAP, w, 2, 0, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_UNMAP, w + 1, 4, 0, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_UNMAP, w, 0, 0, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_UNMAP, w, ~0ull, 0, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_UNMAP, 0x1000, 1, 0, 0, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_UNMAP, w, 16, 0, 0, 0, 0), 0);
	CHECK_EQ(hc_res[1], 5);
	CHECK_EQ(hc(TM_HC_UNMAP, w, 16, 0, 0, 0, 0), -TM_ENOENT);
	CHECK_EQ(fake_access(world_manager, 0, gpa(w), false).action, FAULT_ABORT);
	end();
}

// A ring outlives its VM while the manager shows it; the handle is free again after UNMAP.
TEST(ring_outlives_vm)
{
	uint64_t w = window_base(), old, value, free = page_alloc_free_count();

	begin(1, 1024, RING | BITMAP);
	free = world_guests == 1 ? free : free;
	CHECK_EQ(hc(TM_HC_MAP_RING, h, 0, 0, 4, w, 0), 0);
	old = h;
	world_destroy(vm);
	CHECK_EQ(fake_load64(world_manager, 0, gpa(w + 8), &value).action, FAKE_DONE);
	CHECK(page_alloc_free_count() < free);
	begin(0, 0, 0);
	CHECK(h != old);
	end();
	CHECK_EQ(hc(TM_HC_UNMAP, w, 4, 0, 0, 0, 0), 0);
	CHECK_EQ(page_alloc_free_count(), free);
}

TEST(map_guest)		// windows are armed with the slot (abi.md)
{
	uint64_t w = window_base(), n, value;

	begin(1, 0, BITMAP);
	slot();
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE + 1, 1, w, 1, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE, 0, w, 1, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE, 1, w, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE, 1, w, 2, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE, 1, w, 5, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE, ~0ull, w, 1, 0), -TM_EINVAL);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE, PAGES + 1, w, 1, 0), -TM_EFAULT);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE - PAGE_SIZE, 2, w, 1, 0), -TM_EFAULT);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE, PAGES, w, 3, 0), 0);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE + 10 * PAGE_SIZE, 10, w + (1ull << 30), 1, 0), 0);
	CHECK_EQ(store(0, 12), FAKE_DONE);
	CHECK_EQ(fake_load64(world_manager, 0, gpa(w + 12 * PAGE_SIZE), &value).action, FAKE_DONE);
	CHECK(value != 0);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 1);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 40; i++) {
			CHECK_EQ(window_store(w + i * 20 * PAGE_SIZE, round + 1), FAKE_DONE);
			CHECK_EQ(window_store(w + i * 20 * PAGE_SIZE, round + 1), FAKE_DONE);
		}
		CHECK_EQ(get(&n), 0);
		CHECK_EQ(n, 40);
		CHECK(got(20) && got(780) && !got(21));
	}
	// Read-only is read-only, though another window of the same pages is not.
	CHECK_EQ(window_store(w + (1ull << 30), 1), FAULT_ABORT);
	// Hypercall buffers in a window count as the manager's stores.
	CHECK_EQ(hc(TM_HC_BITMAP_GET, h, 1, w + 100 * PAGE_SIZE, 128, 0, 0), 0);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 1);
	CHECK(got(100));
	// Delete and move revoke.
	CHECK_EQ(slot_set(vm, 1, LOG, BASE + (1ull << 30), PAGES * PAGE_SIZE, 0), 0);
	CHECK_EQ(fake_access(world_manager, 0, gpa(w), false).action, FAULT_ABORT);
	CHECK_EQ(hc(TM_HC_UNMAP, w, PAGES, 0, 0, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE + (1ull << 30), PAGES, w, 3, 0), 0);
	CHECK_EQ(window_store(w, 1), FAKE_DONE);
	CHECK_EQ(slot_set(vm, 1, 0, 0, 0, 0), 0);
	CHECK_EQ(window_store(w, 1), FAULT_ABORT);
	end();
}

TEST(window_of_a_large_slot)	// large leaves in windows: log on, split, zap
{
	uint64_t w = window_base(), a, n;

	begin(1, 0, BITMAP);
	a = world_mem(2048, 2ull << 20);
	CHECK_EQ(slot_set(vm, 1, 0, BASE, 2048 * PAGE_SIZE, a), 0);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE, 2048, w, 3, 0), 0);
	CHECK_EQ(window_store(w + 5 * PAGE_SIZE, 1), FAKE_DONE);
	CHECK_EQ(world_manager->s2.leaves[0], 0);	// 2 MiB leaves on both sides
	CHECK_EQ(slot_set(vm, 1, LOG, BASE, 2048 * PAGE_SIZE, a), 0);
	CHECK_EQ(window_store(w + 5 * PAGE_SIZE, 2), FAKE_DONE);
	CHECK_EQ(window_store(w + 1500 * PAGE_SIZE, 2), FAKE_DONE);
	CHECK_EQ(get(&n), 0);
	CHECK_EQ(n, 2);
	CHECK(got(5) && got(1500));
	CHECK_EQ(slot_set(vm, 1, 0, BASE, 2048 * PAGE_SIZE, a), 0);
	CHECK_EQ(window_store(w + 6 * PAGE_SIZE, 3), FAKE_DONE);
	end();
}

TEST(ring_exclusive_windows)
{
	uint64_t w = window_base();

	begin(1, 256, RING);
	slot();
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE, 1, w, 3, 0), -TM_ENXIO);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE, 1, w, 1, 0), 0);
	CHECK_EQ(slot_set(vm, 2, 0, BASE + (1ull << 30), PAGE_SIZE, 0), 0);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, h, BASE + (1ull << 30), 1, w + PAGE_SIZE, 3, 0), 0);
	CHECK_EQ(slot_set(vm, 2, LOG, BASE + (1ull << 30), PAGE_SIZE, 0), -TM_EBUSY);
	CHECK_EQ(hc(TM_HC_UNMAP, w, 2, 0, 0, 0, 0), 0);
	CHECK_EQ(slot_set(vm, 2, LOG, BASE + (1ull << 30), PAGE_SIZE, 0), 0);
	end();
}

TEST(window_list_fills_up)
{
	uint64_t w = window_base(), n;
	int64_t s = 0;

	begin(1, 0, BITMAP);
	slot();
	for (n = 0; n < 2000 && s == 0; n++) {
		s = hc(TM_HC_MAP_GUEST, h, BASE, 1, w + 2 * n * PAGE_SIZE, 1, 0);
	}
	CHECK_EQ(s, -TM_ENOSPC);
	CHECK_EQ(hc_loop(0, &n, TM_HC_UNMAP, w, 5000, 0, 0, 0), 0);
	CHECK_EQ(n, 1024);
	end();
}

// ---- C-088: four callers at once ----

#include <pthread.h>

static bool storm_over;
static uint64_t storm_seen[PAGES];

static int64_t hc_on(unsigned cpu, uint32_t fn, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4)
{
	struct vcpu fake = {.vm = world_manager};
	struct hc_call c = {.vcpu = &fake, .arg = {h, a1, a2, a3, a4, 0}};

	fake_set_cpu(cpu);
	return hypercall_dispatch(&c, fn);
}

static void *storm_getter(void *arg)
{
	unsigned cpu = (unsigned)(uintptr_t)arg;
	uint64_t out = world_base + (2 + cpu) * PAGE_SIZE;

	while (!__atomic_load_n(&storm_over, __ATOMIC_ACQUIRE)) {
		if (hc_on(cpu, TM_HC_BITMAP_GET, 1, out, 4096, 0) != 0) {
			__atomic_fetch_add(&storm_seen[0], 1ull << 40, __ATOMIC_RELAXED);
		}
		for (unsigned p = 0; p < PAGES; p++) {
			if (((uint64_t *)world_ptr(out))[p / 64] >> (p % 64) & 1) {
				__atomic_fetch_add(&storm_seen[p], 1, __ATOMIC_RELAXED);
			}
		}
	}
	return NULL;
}

static void *storm_writer(void *arg)
{
	unsigned v = (unsigned)(uintptr_t)arg;
	struct check_rng rng = check_rng_make(v);

	for (unsigned i = 0; i < 30000; i++) {
		uint64_t page = check_below(&rng, PAGES / 2) * 2 + v;

		(void)fake_store64(vm, v, gpa(BASE + page * PAGE_SIZE + 8 * v), i + 1);
	}
	return NULL;
}

TEST(storm)
{
	static uint64_t before[PAGES][2];
	pthread_t t[4];
	uint64_t n;

	begin(2, 0, BITMAP);
	slot();
	storm_over = false;
	memset(storm_seen, 0, sizeof(storm_seen));
	memset(before, 0, sizeof(before));
	pthread_create(&t[0], NULL, storm_writer, (void *)0);
	pthread_create(&t[1], NULL, storm_writer, (void *)1);
	pthread_create(&t[2], NULL, storm_getter, (void *)4);
	pthread_create(&t[3], NULL, storm_getter, (void *)5);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	__atomic_store_n(&storm_over, true, __ATOMIC_RELEASE);
	pthread_join(t[2], NULL);
	pthread_join(t[3], NULL);
	fake_set_cpu(WORLD_CPU);
	CHECK_EQ(get(&n), 0);
	// Every page that was ever written has been reported at least once.
	for (unsigned p = 0; p < PAGES; p++) {
		uint64_t *q = guest_ptr(vm, BASE + p * PAGE_SIZE);

		CHECK(storm_seen[p] >> 40 == 0);
		CHECK(q == NULL || (q[0] == 0 && q[1] == 0) || storm_seen[p] || got(p));
	}
	CHECK_EQ(vm->s2.check.count, 0);
	end();
}

CHECK_MAIN()
