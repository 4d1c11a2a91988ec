// SPDX-License-Identifier: Apache-2.0
//
// The life of a VM: creation with every allocation failing once, destruction in every state, exact
// counts of what comes back, pauses, and races of the two with other calls.
//
// LINK: hyp/memslot.c hyp/memslot_steps.c hyp/memslot_anon.c hyp/dirty_log.c hyp/dirty_hw.c hyp/dirty_ring.c
// LINK: hyp/dirty_bitmap.c hyp/fault.c hyp/guest_copy.c hyp/window.c hyp/memcalls.c
// LINK: hyp/dirtycalls.c hyp/windowcalls.c hyp/test_hooks.c hyp/stage2.c hyp/pgtable.c
// LINK: hyp/tlbcheck.c hyp/page_alloc.c hyp/owner.c hyp/lock.c hyp/mmio.c hyp/vm.c hyp/vcpu.c
// LINK: hyp/sched.c hyp/event.c hyp/hyptimer.c hyp/hypercall.c hyp/vmcalls.c hyp/vcpucalls.c
// LINK: hyp/testcalls.c hyp/log.c hyp/console.c hyp/print.c arch/arm64/stage2_format.c
// LINK: tests/host/fake_arch.c tests/host/fake_tlb.c

#include <arch/vcpu.h>
#include <hyp/event.h>
#include <pthread.h>
#include <unistd.h>

#include "world.h"

#define BASE 0x40000000ull
#define RING_BITMAP (TM_DIRTY_RING | TM_DIRTY_BITMAP)

static struct vm *vm;
static uint64_t h, free_before;
static jmp_buf idle_jmp;
static void (*in_vm_init)(struct vm *v);

void arch_cpu_idle(void) { longjmp(idle_jmp, 1); }

int arch_vm_init(struct vm *v)
{
	v->arch = (struct arch_vm){.live = true};
	if (in_vm_init) {
		in_vm_init(v);
	}
	return 0;
}

static struct vcpu *enter(unsigned n)
{
	fake_set_cpu(n);
	return setjmp(idle_jmp) ? NULL : sched_switch();
}

static void begin(unsigned vcpus, uint64_t ring, uint64_t flags)
{
	world_init(check_seed());
	pcpus[WORLD_CPU].online = false;	/* makes calls, runs nobody */
	(void)event_page();
	free_before = page_alloc_free_count();
	vm = world_guest(vcpus, ring, flags);
	h = vm->handle;
}

static void settle_cpus(void)
{
	for (unsigned n = 0; n < WORLD_CPU; n++) {
		if (pcpus[n].current || pcpus[n].resched) {
			CHECK(enter(n) == NULL);
		}
	}
}

static int64_t hc3(uint32_t fn, uint64_t a, uint64_t b, uint64_t c) { return hc(fn, a, b, c, 0, 0, 0); }

static bool manager_has_all(void)
{
	return owner_range_is(hpa(world_base), WORLD_MANAGER_RAM / PAGE_SIZE,
			      owner_of(OWNER_MANAGER, MANAGER_HANDLE));
}

// Its map says the same as the owner table: every page 1:1 and writable.
static bool manager_maps(uint64_t at, uint64_t bytes)
{
	struct stage2 *s2 = &world_manager->s2;
	bool ok = true;

	stage2_lock(s2);
	for (uint64_t a = at; a < at + bytes && ok;) {
		struct pt_leaf leaf = stage2_lookup(s2, gpa(a));

		ok = leaf.kind == PTE_LEAF && (leaf.attrs & PT_W) && leaf.hpa.v == leaf.start;
		a = leaf.start + LEVEL_SIZE(leaf.level);
	}
	stage2_unlock(s2);
	return ok;
}

// ---- creation ----

static uint64_t desc_at;
static struct tm_vm_desc *desc(void)
{
	static struct tm_vm_desc good = {.vcpus = 2, .name = "new", .flags = TM_VM_CONSOLE};

	desc_at = world_base + 16 * PAGE_SIZE;
	good.pool_gpa = world_base + (64ull << 20);
	good.pool_size = 1ull << 20;
	memcpy(world_ptr(desc_at), &good, sizeof(good));
	return world_ptr(desc_at);
}

TEST(create_arguments)
{
	struct tm_vm_desc *d;

#define REFUSED(change, want)                                                                      \
	do {                                                                                       \
		d = desc();                                                                        \
		change;                                                                            \
		CHECK_EQ(hc3(TM_HC_VM_CREATE, desc_at, sizeof(*d), 0), want);                      \
		CHECK(manager_has_all());                                                          \
	} while (0)
	world_init(check_seed());
	REFUSED(d->vcpus = 0, -TM_EINVAL);
	REFUSED(d->vcpus = 65, -TM_EINVAL);
	REFUSED(d->flags = TM_VM_STATIC, -TM_EINVAL);
	REFUSED(d->rsvd = 1, -TM_EINVAL);
	REFUSED(d->name[0] = 0, -TM_EINVAL);
	REFUSED(d->name[0] = '\033', -TM_EINVAL);
	REFUSED(memset(d->name, 'a', sizeof(d->name)), -TM_EINVAL);
	REFUSED(d->pool_size = 0, -TM_EINVAL);
	REFUSED(d->pool_size = 4097, -TM_EINVAL);
	REFUSED(d->pool_gpa += 8, -TM_EINVAL);
	REFUSED(d->pool_size = ~0xfffull, -TM_EINVAL);
	REFUSED(d->pool_gpa = ~0xfffull, -TM_EINVAL);
	REFUSED(d->pool_gpa = 0, -TM_EACCES);
	REFUSED(d->pool_gpa = world_base - PAGE_SIZE, -TM_EACCES);
	REFUSED(d->pool_size = WORLD_MANAGER_RAM, -TM_EACCES);
	REFUSED(d->mmio_count = TM_VM_MMIO_WINDOWS + 1, -TM_EINVAL);
	REFUSED(d->mmio[1].size = PAGE_SIZE, -TM_EINVAL);
	REFUSED((d->mmio_count = 1, d->mmio[0].gpa = ~0xfffull, d->mmio[0].size = 2 * PAGE_SIZE),
		-TM_EINVAL);
	desc();
	CHECK_EQ(hc3(TM_HC_VM_CREATE, desc_at, sizeof(*d) - 1, 0), -TM_EINVAL);
	CHECK_EQ(hc3(TM_HC_VM_CREATE, desc_at, PAGE_SIZE + 1, 0), -TM_E2BIG);
	CHECK_EQ(hc3(TM_HC_VM_CREATE, desc_at + 4, sizeof(*d), 0), -TM_EFAULT);
	CHECK_EQ(hc3(TM_HC_VM_CREATE, window_base(), sizeof(*d), 0), -TM_EFAULT);
	CHECK_EQ(hc3(TM_HC_VM_CREATE, ~0ull << 3, sizeof(*d), 0), -TM_EFAULT);
	CHECK(manager_has_all());
}

// The nth allocation of each kind fails: the call fails, and nothing is left behind.
static unsigned creation_fails(enum inject_site site, bool (*create)(int64_t *))
{
	for (unsigned nth = 1;; nth++) {
		uint64_t before = page_alloc_free_count();
		int64_t status;
		bool ok;

		CHECK_EQ(hc3(TM_HC_FAULT_INJECT, site, nth, 0), 0);
		ok = create(&status);
		CHECK_EQ(hc3(TM_HC_FAULT_INJECT, site, 0, 0), 0);
		if (ok) {
			return nth - 1;
		}
		CHECK_EQ(status, -TM_ENOMEM);
		CHECK_EQ(page_alloc_free_count(), before);
		CHECK(nth < 100);
	}
}

static bool create_vm(int64_t *status)
{
	struct tm_vm_desc *d = desc();

	*status = hc3(TM_HC_VM_CREATE, desc_at, sizeof(*d), 0);
	if (*status) {
		CHECK(manager_has_all());
		CHECK(manager_maps(d->pool_gpa, d->pool_size));
		CHECK_EQ(hc3(TM_HC_VM_NEXT, 0, 0, 0), -TM_ENOENT);
		return false;
	}
	CHECK_EQ(hc_res[0], 1);
	CHECK_EQ(hc_loop(0, NULL, TM_HC_VM_DESTROY, 1, 0, 0, 0, 0), 0);
	CHECK(manager_has_all());
	CHECK(manager_maps(d->pool_gpa, d->pool_size));
	return true;
}

TEST(create_with_failing_allocations)
{
	unsigned failures = 0;
	int64_t s;

	world_init(check_seed());
	CHECK(create_vm(&s));	/* the manager's own tables are split once */
	failures += creation_fails(INJECT_PAGE, create_vm);
	failures += creation_fails(INJECT_POOL, create_vm);
	failures += creation_fails(INJECT_TABLE, create_vm);
	EXPECT(failures >= 2);
}

TEST(create_where_leaves_are_whole)	/* the manager's leaf has to be split first, which fails */
{
	unsigned failed = 0;

	world_init(check_seed());
	for (unsigned nth = 1; nth < 8; nth++) {
		uint64_t at = world_base + (256ull << 20) + nth * LEVEL_SIZE(1);
		struct tm_vm_desc *d = desc();

		d->pool_gpa = at;
		CHECK_EQ(hc3(TM_HC_FAULT_INJECT, INJECT_PAGE, nth, 0), 0);
		if (hc3(TM_HC_VM_CREATE, desc_at, sizeof(*d), 0) == 0) {
			CHECK_EQ(hc_loop(0, NULL, TM_HC_VM_DESTROY, hc_res[0], 0, 0, 0, 0), 0);
		} else {
			failed++;
		}
		CHECK_EQ(hc3(TM_HC_FAULT_INJECT, INJECT_PAGE, 0, 0), 0);
		CHECK(manager_has_all());
		CHECK(manager_maps(at, LEVEL_SIZE(1)));
	}
	EXPECT(failed >= 2);
}

static bool create_vcpu(int64_t *status)
{
	*status = hc3(TM_HC_VCPU_CREATE, h, 0, 0);
	if (*status) {
		CHECK(!vm->vcpu[0] && vm->vcpus_count == 0 && vm->vcpu_busy == 0);
		return false;
	}
	return true;
}

TEST(vcpu_with_failing_allocations)
{
	unsigned failures;

	begin(0, 1024, RING_BITMAP);
	failures = creation_fails(INJECT_PAGE, create_vcpu);
	EXPECT(failures == 3);	/* struct, run page, ring */
	CHECK_EQ(hc3(TM_HC_VCPU_CREATE, h, 0, 0), -TM_EEXIST);
	CHECK_EQ(hc3(TM_HC_VCPU_CREATE, h, 1, 0), -TM_EINVAL);
	CHECK_EQ(hc3(TM_HC_VCPU_CREATE, h, 64, 0), -TM_EINVAL);
	CHECK_EQ(hc3(TM_HC_VCPU_CREATE, h, ~0ull, 0), -TM_EINVAL);
	CHECK_EQ(hc3(TM_HC_VCPU_CREATE, 0, 5, 0), -TM_EACCES);
	CHECK_EQ(hc3(TM_HC_VCPU_CREATE, 99, 0, 0), -TM_ENOENT);
	world_destroy(vm);
	CHECK_EQ(page_alloc_free_count(), free_before);
}

static uint64_t half_built;
static void look_for_it(struct vm *v)
{
	CHECK(vm_get(v->handle) == NULL);
	CHECK_EQ(vm_destroy(v->handle), -TM_ENOENT);
	half_built++;
}

TEST(half_built_is_not_found)
{
	world_init(check_seed());
	in_vm_init = look_for_it;
	vm = world_guest(0, 0, 0);
	in_vm_init = NULL;
	CHECK_EQ(half_built, 1);
	CHECK_EQ(vm->refs, 1);
	world_destroy(vm);
}

// ---- destruction ----

TEST(a_thousand_lives)
{
	uint64_t backing, after_first = 0;

	for (unsigned i = 0; i < 1000; i++) {
		begin(2, i % 3 ? 1024 : 0, i % 3 ? RING_BITMAP : 0);
		backing = world_mem(64, LEVEL_SIZE(0));
		CHECK_EQ(slot_set(vm, 1, TM_SLOT_LOG_DIRTY, BASE, 64 * PAGE_SIZE, backing), 0);
		CHECK_EQ(slot_set(vm, 2, 0, BASE + (1ull << 30), 64 * PAGE_SIZE, 0), 0);
		CHECK_EQ(fake_store64(vm, 0, gpa(BASE), i).action, FAKE_DONE);
		CHECK_EQ(fake_store64(vm, 1, gpa(BASE + (1ull << 30)), i).action, FAKE_DONE);
		CHECK_EQ(h, 1);
		if (i % 5 == 0) {
			CHECK_EQ(hc3(TM_HC_VCPU_DESTROY, h, 1, 0), 0);
			CHECK_EQ(hc3(TM_HC_VCPU_DESTROY, h, 1, 0), -TM_ENOENT);
			CHECK_EQ(hc3(TM_HC_VCPU_CREATE, h, 1, 0), 0);
			CHECK_EQ(vm->vcpus_count, 2);
		}
		world_destroy(vm);
		/* The first split the manager's leaves around the slot. */
		after_first = i == 0 ? page_alloc_free_count() : after_first;
		CHECK_EQ(page_alloc_free_count(), after_first);
	}
	CHECK(manager_has_all());
	CHECK(manager_maps(world_base, WORLD_MANAGER_RAM));
	CHECK_EQ(*(uint64_t *)world_ptr(backing), 0);	/* scrubbed */
}

static void into_state(unsigned state)
{
	CHECK_EQ(hc3(TM_HC_VCPU_RUN, h, 0, 0), 0);
	if (state == TM_VCPU_RUNNING || state == TM_VCPU_WAITING) {
		CHECK(enter(0) == vm->vcpu[0]);
	}
	if (state == TM_VCPU_WAITING) {
		vcpu_wait(vm->vcpu[0]);
		CHECK(enter(0) == NULL);
	} else if (state == TM_VCPU_STOPPED) {
		CHECK_EQ(hc3(TM_HC_VCPU_KICK, h, 0, TM_KICK_STOP), 0);
	} else if (state == TM_VCPU_OFF) {
		CHECK(enter(0) == vm->vcpu[0]);
		vm->vcpu[0]->powered_on = false;
		pcpus[0].resched = 1;
		CHECK(enter(0) == NULL);
	}
	CHECK_EQ(vm->vcpu[0]->state, state);
}

// Stands for CPU 0: leaves the guest when it is told to.
static void *cpu0(void *arg)
{
	struct vcpu *v = arg;

	while (!__atomic_load_n(&v->requests, __ATOMIC_SEQ_CST)) {
		sched_yield();
	}
	EXPECT(enter(0) == NULL);
	return NULL;
}

TEST(destroy_in_each_state)
{
	for (unsigned s = TM_VCPU_STOPPED; s <= TM_VCPU_OFF; s++) {
		for (unsigned paused = 0; paused < 2; paused++) {
			pthread_t t;

			begin(1, 1024, RING_BITMAP);
			pcpus[1].online = pcpus[2].online = pcpus[3].online = false;
			pcpus[4].online = pcpus[5].online = pcpus[6].online = false;
			into_state(s);
			if (s != TM_VCPU_STOPPED) {
				CHECK_EQ(hc3(TM_HC_VCPU_DESTROY, h, 0, 0), -TM_EBUSY);
			}
			if (s == TM_VCPU_RUNNING) {
				CHECK(pthread_create(&t, NULL, cpu0, vm->vcpu[0]) == 0);
			}
			if (paused) {
				CHECK_EQ(hc3(TM_HC_VM_PAUSE, h, 0, 0), 0);
			}
			world_destroy(vm);
			if (s == TM_VCPU_RUNNING) {
				pthread_join(t, NULL);
			}
			CHECK(pcpus[0].queued == 0 && pcpus[0].current == NULL);
			settle_cpus();
			CHECK_EQ(page_alloc_free_count(), free_before);
		}
	}
}

TEST(dying_is_not_found)
{
	int64_t s;

	begin(1, 0, 0);
	CHECK_EQ(hc3(TM_HC_VM_DESTROY, h, 0, 0), TM_CONTINUE);
	CHECK_EQ(hc3(TM_HC_VM_PAUSE, h, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc3(TM_HC_VM_RESUME, h, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc3(TM_HC_VM_INFO, h, world_base, PAGE_SIZE), -TM_ENOENT);
	CHECK_EQ(hc3(TM_HC_VCPU_RUN, h, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc3(TM_HC_VCPU_CREATE, h, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc3(TM_HC_VM_NEXT, 0, 0, 0), -TM_ENOENT);
	vm_kill(vm, "test");			/* does not bring it back */
	CHECK_EQ(vm->state, TM_VM_STATE_DYING);
	do {
		s = hc3(TM_HC_VM_DESTROY, h, 0, 0);
	} while (s == TM_CONTINUE);
	CHECK_EQ(s, 0);
	world_guests = 0;
	world_next = world_base + WORLD_SCRATCH;
	CHECK_EQ(hc3(TM_HC_VM_DESTROY, h, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc3(TM_HC_VM_DESTROY, 0, 0, 0), -TM_EACCES);
	CHECK_EQ(hc3(TM_HC_VM_DESTROY, 512, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc3(TM_HC_VM_DESTROY, ~0ull, 0, 0), -TM_ENOENT);
	CHECK_EQ(page_alloc_free_count(), free_before);
}

TEST(destroy_waits_for_references)
{
	struct vm *held;

	begin(1, 0, 0);
	held = vm_get(h);
	for (unsigned i = 0; i < 5; i++) {
		CHECK_EQ(hc3(TM_HC_VM_DESTROY, h, 0, 0), TM_CONTINUE);
		CHECK_EQ(held->destroy_step, 0);
		CHECK(held->vcpu[0]->created);
	}
	vm_put(held);
	world_destroy(vm);
	CHECK_EQ(page_alloc_free_count(), free_before);
}

TEST(handle_stays_while_mapped)
{
	uint64_t w, first;

	begin(1, 1024, RING_BITMAP);
	w = window_base();
	first = h;
	CHECK_EQ(hc3(TM_HC_MAP_RUN, h, 0, w), 0);
	CHECK_EQ(hc(TM_HC_MAP_RING, h, 0, 0, 4, w + 16 * PAGE_SIZE, 0), 0);
	CHECK_EQ(hc3(TM_HC_VCPU_DESTROY, h, 0, 0), 0);
	CHECK_EQ(hc3(TM_HC_VCPU_CREATE, h, 0, 0), 0);	/* the same pages again */
	world_destroy(vm);
	CHECK(page_alloc_free_count() < free_before);
	vm = world_guest(0, 0, 0);
	CHECK(vm->handle != first);
	world_destroy(vm);
	CHECK_EQ(hc3(TM_HC_UNMAP, w, 1, 0), 0);
	CHECK_EQ(hc3(TM_HC_VM_DESTROY, first, 0, 0), -TM_ENOENT);
	CHECK_EQ(hc3(TM_HC_UNMAP, w + 16 * PAGE_SIZE, 4, 0), 0);
	CHECK_EQ(page_alloc_free_count(), free_before);
	vm = world_guest(0, 0, 0);
	CHECK_EQ(vm->handle, first);
	world_destroy(vm);
}

TEST(pool_comes_back_later)	/* no page for a table of the manager's map: again, not lost */
{
	uint64_t at, failures = 0;
	int64_t s;

	struct tm_vm_desc *d;

	/* 2 MiB regions that were unmapped whole come back in pieces that do not match them. */
	world_init(check_seed());
	d = desc();
	d->pool_gpa = at = world_base + (64ull << 20) + PAGE_SIZE;
	d->pool_size = WORLD_POOL;
	CHECK_EQ(hc3(TM_HC_VM_CREATE, desc_at, sizeof(*d), 0), 0);
	for (unsigned calls = 0;; calls++) {
		CHECK_EQ(hc3(TM_HC_FAULT_INJECT, INJECT_PAGE, calls % 2 ? 0 : 1, 0), 0);
		s = hc3(TM_HC_VM_DESTROY, 1, 0, 0);
		if (s == 0) {
			break;
		}
		failures += s == -TM_ENOMEM;
		CHECK(s == TM_CONTINUE || s == -TM_ENOMEM);
		CHECK(calls < 10000);
	}
	CHECK_EQ(hc3(TM_HC_FAULT_INJECT, INJECT_PAGE, 0, 0), 0);
	CHECK(failures > 0);
	CHECK(manager_has_all());
	CHECK(manager_maps(at, WORLD_POOL));
}

// ---- stale pointers: a call that found a vCPU before it was destroyed ----

TEST(old_pointer_of_a_destroyed_vcpu)
{
	struct vcpu *v;
	struct tm_run_page *r;

	begin(1, 1024, RING_BITMAP);
	v = vm->vcpu[0];
	r = v->run;
	CHECK_EQ(hc3(TM_HC_VCPU_DESTROY, h, 0, 0), 0);
	CHECK_EQ(vcpu_run(v), -TM_ENOENT);
	CHECK_EQ(vm_vcpu_destroy(vm, v), -TM_ENOENT);
	CHECK_EQ(vcpu_power_on(v, 0, 0), -TM_ENOENT);
	vcpu_request(v, VCPU_REQ_STOP);
	vcpu_irq_kick(v);
	CHECK_EQ(v->state, TM_VCPU_STOPPED);
	CHECK_EQ(vm->vcpus_count, 0);
	r->exit_seq = 77;
	CHECK_EQ(hc3(TM_HC_VCPU_CREATE, h, 0, 0), 0);
	CHECK(vm->vcpu[0] == v && v->run == r && r->exit_seq == 0 && v->ring.entries);
	CHECK_EQ(dirty_ring_used(&v->ring), 0);
	CHECK(!vm->vcpu_dead[0]);
	world_destroy(vm);
	CHECK_EQ(page_alloc_free_count(), free_before);
}

// ---- pauses ----

TEST(pause_counts)	// C-104, R-43
{
	begin(1, 0, 0);
	CHECK_EQ(hc3(TM_HC_VM_RESUME, h, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc3(TM_HC_VM_PAUSE, h, 2, 0), -TM_EINVAL);
	CHECK_EQ(hc3(TM_HC_VM_PAUSE, h, ~0ull, 0), -TM_EINVAL);
	CHECK_EQ(hc3(TM_HC_VM_PAUSE, 0, 0, 0), -TM_EDEADLK);
	CHECK_EQ(hc3(TM_HC_VM_RESUME, 0, 0, 0), -TM_EACCES);
	CHECK_EQ(hc3(TM_HC_VCPU_RUN, h, 0, 0), 0);
	CHECK(enter(0) == vm->vcpu[0]);
	CHECK_EQ(hc3(TM_HC_VCPU_KICK, h, 0, TM_KICK_STOP), 0);
	CHECK(enter(0) == NULL);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(hc3(TM_HC_VM_PAUSE, h, i == 1, 0), 0);
		CHECK_EQ(hc3(TM_HC_VCPU_RUN, h, 0, 0), -TM_EBUSY);
	}
	CHECK_EQ(vm->vcpu[0]->run->exit_seq, 1);	/* a gate: nothing else changes */
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(vm->quiesce_count, 1);
		CHECK_EQ(hc3(TM_HC_VCPU_RUN, h, 0, 0), -TM_EBUSY);
		CHECK_EQ(hc3(TM_HC_VM_RESUME, h, 0, 0), 0);
	}
	CHECK_EQ(vm->quiesce_count, 0);
	CHECK_EQ(hc3(TM_HC_VM_RESUME, h, 0, 0), -TM_EINVAL);
	CHECK_EQ(hc3(TM_HC_VCPU_RUN, h, 0, 0), 0);
	CHECK(enter(0) == vm->vcpu[0]);
	CHECK_EQ(hc3(TM_HC_VCPU_KICK, h, 0, TM_KICK_STOP), 0);
	CHECK(enter(0) == NULL);
	world_destroy(vm);
}

TEST(pause_of_ready_and_waiting)
{
	begin(1, 0, 0);
	into_state(TM_VCPU_WAITING);
	CHECK_EQ(hc3(TM_HC_VM_PAUSE, h, 0, 0), 0);
	fake_set_cpu(3);
	vcpu_irq_kick(vm->vcpu[0]);
	CHECK_EQ(vm->vcpu[0]->state, TM_VCPU_READY);
	settle_cpus();				/* dropped from its queue */
	CHECK_EQ(pcpus[0].queued, 0);
	CHECK_EQ(hc3(TM_HC_VM_RESUME, h, 0, 0), 0);
	CHECK(enter(0) == vm->vcpu[0]);
	CHECK_EQ(hc3(TM_HC_VCPU_KICK, h, 0, TM_KICK_STOP), 0);
	CHECK(enter(0) == NULL);
	world_destroy(vm);
}

TEST(pause_overflow)	// C-104: the counter is preset
{
	begin(1, 0, 0);
	CHECK_EQ(hc3(TM_HC_FAULT_INJECT, TM_INJECT_PAUSE_COUNT, h, 0xfffffffe), -TM_EBUSY);
	CHECK_EQ(hc3(TM_HC_VM_PAUSE, h, 0, 0), 0);
	CHECK_EQ(hc3(TM_HC_FAULT_INJECT, TM_INJECT_PAUSE_COUNT, h, 0), -TM_EINVAL);
	CHECK_EQ(hc3(TM_HC_FAULT_INJECT, TM_INJECT_PAUSE_COUNT, h, 1ull << 32), -TM_EINVAL);
	CHECK_EQ(hc3(TM_HC_FAULT_INJECT, TM_INJECT_PAUSE_COUNT, 9, 1), -TM_ENOENT);
	CHECK_EQ(hc3(TM_HC_FAULT_INJECT, TM_INJECT_PAUSE_COUNT, 0, 1), -TM_EACCES);
	CHECK_EQ(hc3(TM_HC_FAULT_INJECT, TM_INJECT_PAUSE_COUNT, h, 0xfffffffe), 0);
	CHECK_EQ(hc3(TM_HC_VM_PAUSE, h, TM_PAUSE_QUIESCE, 0), 0);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(hc3(TM_HC_VM_PAUSE, h, TM_PAUSE_QUIESCE, 0), -TM_EOVERFLOW);
		CHECK_EQ(hc3(TM_HC_VM_PAUSE, h, 0, 0), -TM_EOVERFLOW);
		CHECK(vm->pause_count == UINT32_MAX && vm->quiesce_count == 1);
	}
	CHECK_EQ(hc3(TM_HC_VCPU_RUN, h, 0, 0), -TM_EBUSY);
	CHECK_EQ(hc3(TM_HC_VM_RESUME, h, 0, 0), 0);
	CHECK_EQ(hc3(TM_HC_VM_PAUSE, h, 0, 0), 0);
	/* At the limit it can still be destroyed, and is paused while it is. */
	CHECK_EQ(hc3(TM_HC_VM_DESTROY, h, 0, 0), TM_CONTINUE);
	CHECK(vm_paused(vm));
	world_destroy(vm);
	CHECK_EQ(page_alloc_free_count(), free_before);
}

TEST(killed_vm)	// I-5
{
	begin(1, 0, 0);
	into_state(TM_VCPU_READY);
	vm_kill(vm, "test");
	CHECK_EQ(vm->vcpu[0]->state, TM_VCPU_STOPPED);
	CHECK_EQ(hc3(TM_HC_VCPU_RUN, h, 0, 0), -TM_EIO);
	CHECK_EQ(hc3(TM_HC_VCPU_CREATE, h, 0, 0), -TM_EIO);
	CHECK_EQ(hc3(TM_HC_VM_PAUSE, h, 0, 0), -TM_EIO);
	CHECK_EQ(hc3(TM_HC_VM_SYNC, h, 0, 0), -TM_EIO);
	CHECK_EQ(hc3(TM_HC_VCPU_RUN, h, 99, 0), -TM_EIO);
	settle_cpus();
	world_destroy(vm);
	CHECK_EQ(page_alloc_free_count(), free_before);
}

CHECK_MAIN()
