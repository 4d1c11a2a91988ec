// SPDX-License-Identifier: Apache-2.0
//
// The manager's death and its next start, with the real hyp/manager.c: what it held is dropped, its
// VMs go on, the next instance finds them.
//
// LINK: hyp/memslot.c hyp/memslot_steps.c hyp/memslot_anon.c hyp/dirty_log.c hyp/dirty_hw.c hyp/dirty_ring.c
// LINK: hyp/dirty_bitmap.c hyp/fault.c hyp/guest_copy.c hyp/window.c hyp/memcalls.c
// LINK: hyp/dirtycalls.c hyp/windowcalls.c hyp/test_hooks.c hyp/stage2.c hyp/pgtable.c
// LINK: hyp/tlbcheck.c hyp/page_alloc.c hyp/owner.c hyp/lock.c hyp/mmio.c hyp/vm.c hyp/vcpu.c
// LINK: hyp/sched.c hyp/event.c hyp/hyptimer.c hyp/hypercall.c hyp/vmcalls.c hyp/vcpucalls.c
// LINK: hyp/testcalls.c hyp/log.c hyp/console.c hyp/print.c arch/arm64/stage2_format.c
// LINK: hyp/manager.c hyp/bootvms.c boot/guest_fdt.c boot/image_load.c boot/image_x86.c
// LINK: boot/guest_board.c boot/arm64/guest_start.c
// LINK: tests/host/fake_arch.c tests/host/fake_tlb.c
// LIBS: -lfdt

#include <arch/boot.h>
#include <arch/time.h>
#include <arch/vcpu.h>
#include <hyp/event.h>
#include <libfdt.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORLD_REAL_MANAGER
#include "world.h"

#define BASE 0x40000000ull
#define RESERVED (16ull << 20)	/* below the world's arena: tree and image */

static uint64_t image[1024];	/* an arm64 Image of 8 KiB */
static uint64_t ram;
static jmp_buf idle_jmp;
static void (*at_put)(struct vcpu *v);

static uint64_t now;
uint64_t arch_time_now(void) { return __atomic_add_fetch(&now, 1, __ATOMIC_RELAXED); }
void arch_cpu_idle(void) { longjmp(idle_jmp, 1); }

void arch_vcpu_put(struct vcpu *v)
{
	v->arch.loaded = false;
	if (at_put) {
		at_put(v);
	}
}

int boot_module_find(const char *name, const void **data, uint64_t *size)
{
	*data = image;
	*size = sizeof(image);
	return strcmp(name, "manager.bin") ? -TM_ENOENT : 0;
}

uint64_t arch_cap_gic_version(void) { return 3; }

static struct vcpu *enter(unsigned n)
{
	fake_set_cpu(n);
	now += 1u << 20;	/* longer than a slice */
	return setjmp(idle_jmp) ? NULL : sched_switch();
}

static struct vcpu *mgr_vcpu(unsigned i) { return world_manager->vcpu[i]; }
static int64_t hc3(uint32_t fn, uint64_t a, uint64_t b, uint64_t c) { return hc(fn, a, b, c, 0, 0, 0); }

static uint32_t restart_count(void)
{
	const void *fdt = phys_to_virt(hpa(ram));
	int node = fdt_path_offset(fdt, "/tidemark");
	const fdt32_t *p = fdt_getprop(fdt, node, "restart-count", NULL);

	CHECK_EQ(fdt_check_header(fdt), 0);
	CHECK(p != NULL);
	return fdt32_to_cpu(*p);
}

// Boot up to the manager on CPU 0; CPU 1 is for its second vCPU and guests, CPU 7 makes calls.
static void machine(void)
{
	static const struct vm_config cfg = {
		.name = "manager", .manager = true, .image = "manager.bin", .vcpus = 2, .prio = 1,
		.mem_size = RESERVED + WORLD_MANAGER_RAM, .slice_us = 10000,
	};
	hpa_t pool;

	if (world_manager) {
		return;
	}
	image[2] = sizeof(image);		/* image_size; text_offset 0 */
	image[3] = 8;				/* anywhere */
	image[7] = 0x644d5241u;
	image[1023] = 0x1234;
	fake_reset(check_seed());
	for (unsigned n = 0; n < FAKE_CPUS; n++) {
		sched_init_cpu(&pcpus[n]);
		pcpus[n].online = n < 2;
	}
	boot_info = (struct boot_info){.fdt = HPA_NONE, .ram_count = 1};
	boot_info.ram[0] = (struct mem_range){hpa(FAKE_RAM_BASE), WORLD_RAM};
	owner_init();
	pool = boot_alloc(64ull << 20, LEVEL_SIZE(1));
	page_alloc_add(pool, (64ull << 20) / PAGE_SIZE);
	CHECK_EQ(manager_create(&cfg), 0);
	world_manager = vm_manager();
	CHECK(!manager_alive());
	CHECK_EQ(manager_start(), 0);
	CHECK(manager_alive());
	ram = mgr_vcpu(0)->arch.x0;
	world_base = ram + RESERVED;
	world_scratch_next = world_base;
	world_next = world_base + WORLD_SCRATCH;
	CHECK(enter(0) == mgr_vcpu(0));
	CHECK_EQ(mgr_vcpu(1)->state, TM_VCPU_OFF);
	CHECK_EQ(restart_count(), 0);
}

static void second_vcpu_on(void)
{
	fake_set_cpu(0);
	CHECK_EQ(vcpu_power_on(mgr_vcpu(1), ram, 1), 0);
	CHECK(enter(1) == mgr_vcpu(1));
}

static void crash(unsigned i)
{
	fake_set_cpu(i);
	CHECK(this_pcpu()->current == mgr_vcpu(i));
	vcpu_stop_shutdown(mgr_vcpu(i), TM_SHUTDOWN_CRASH);
	CHECK(!manager_alive());
}

static void started_again(unsigned times)
{
	CHECK(manager_alive());
	CHECK_EQ(manager_restarts(), times);
	CHECK_EQ(restart_count(), times);
	CHECK(mgr_vcpu(0)->arch.pc >= ram && mgr_vcpu(0)->arch.x0 == ram);
	CHECK(*(uint64_t *)phys_to_virt(hpa(mgr_vcpu(0)->arch.pc + 1023 * 8)) == 0x1234);
	CHECK_EQ(mgr_vcpu(1)->state, TM_VCPU_OFF);
	CHECK(!mgr_vcpu(0)->stop_pending && mgr_vcpu(0)->powered_on && !mgr_vcpu(1)->powered_on);
	CHECK(world_manager->refs == 1 && !world_manager->destroying);
}

// ---- one life after the other ----

static struct vm *logged, *paused, *dying, *asked;

static void store_pages(struct vm *vm, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++) {
		CHECK_EQ(fake_store64(vm, 0, gpa(BASE + i * PAGE_SIZE), i).action, FAKE_DONE);
	}
}

static void set_scene(void)
{
	uint64_t w = window_base();

	logged = world_guest(1, 256, TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_MANUAL);
	paused = world_guest(1, 0, 0);
	dying = world_guest(1, 0, 0);
	asked = world_guest(1, 0, 0);
	CHECK_EQ(slot_set(logged, 1, TM_SLOT_LOG_DIRTY, BASE, 1024 * PAGE_SIZE, 0), 0);
	CHECK_EQ(hc3(TM_HC_MAP_RUN, logged->handle, 0, w), 0);
	CHECK_EQ(hc(TM_HC_MAP_RING, logged->handle, 0, 0, 1, w + PAGE_SIZE, 0), 0);
	CHECK_EQ(hc(TM_HC_MAP_GUEST, logged->handle, BASE, 16, w + LEVEL_SIZE(1), 3, 0), 0);
	CHECK_EQ(hc3(TM_HC_MAP_EVENTS, w + 4 * PAGE_SIZE, 0, 0), 0);
	/* Its ring is full, it stops, and nobody will ever harvest. */
	for (unsigned i = 0; i < 4; i++) {
		CHECK_EQ(hc3(TM_HC_VCPU_SCHED_SET, 1 + i, 0, 2), -TM_EINVAL);
	}
	store_pages(logged, logged->vcpu[0]->ring.soft_limit);
	CHECK_EQ(hc3(TM_HC_VCPU_RUN, logged->handle, 0, 0), 0);
	CHECK_EQ(hc3(TM_HC_VCPU_RUN, paused->handle, 0, 0), 0);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(hc3(TM_HC_VM_PAUSE, paused->handle, TM_PAUSE_QUIESCE, 0), 0);
	}
	CHECK(enter(1) == NULL);	/* logged has stopped, paused may not run */
	CHECK_EQ(logged->vcpu[0]->state, TM_VCPU_STOPPED);
	CHECK_EQ(logged->vcpu[0]->reason, TM_EXIT_DIRTY_RING_FULL);
	CHECK_EQ(hc3(TM_HC_VM_DESTROY, dying->handle, 0, 0), TM_CONTINUE);
	/* Stopped by the manager's wish: stays so. */
	CHECK_EQ(hc3(TM_HC_VCPU_RUN, asked->handle, 0, 0), 0);
	CHECK_EQ(hc3(TM_HC_VCPU_KICK, asked->handle, 0, TM_KICK_STOP), 0);
	CHECK(event_page()->word[logged->handle] == 1);
	world_manager->pvtime_gpa = world_base;
}

static bool bit_set(struct vm *vm, uint64_t page)
{
	struct memslot *m = memslot_get(&vm->slots, 1);

	return dirty_bitmap_word(&m->bitmap, page / 64) >> (page % 64) & 1;
}

TEST(guests_go_on)
{
	hpa_t pool;
	unsigned dead;

	machine();
	set_scene();
	pool = dying->pool.base;
	dead = dying->handle;
	second_vcpu_on();
	crash(0);
	CHECK_EQ(manager_restarts(), 0);
	CHECK(enter(0) == NULL || this_pcpu()->current->vm != world_manager);
	CHECK_EQ(manager_restarts(), 0);	/* one of its vCPUs still runs */
	(void)enter(1);
	started_again(1);
	/* What was in the ring is in the bitmap; what was held is let go. */
	for (unsigned i = 0; i < logged->vcpu[0]->ring.soft_limit; i++) {
		CHECK(bit_set(logged, i));
	}
	CHECK(!bit_set(logged, logged->vcpu[0]->ring.soft_limit));
	CHECK_EQ(dirty_ring_used(&logged->vcpu[0]->ring), 0);
	CHECK(logged->vcpu[0]->state != TM_VCPU_STOPPED);
	CHECK_EQ(logged->vcpu[0]->run->reason, TM_EXIT_NONE);
	CHECK(paused->pause_count == 0 && paused->quiesce_count == 0);
	CHECK(paused->vcpu[0]->state != TM_VCPU_STOPPED);
	CHECK_EQ(asked->vcpu[0]->state, TM_VCPU_STOPPED);
	CHECK(logged->windows == 0 && logged->windows_guest == 0 && logged->windows_rw == 0);
	CHECK_EQ(event_page()->word[logged->handle], 0);
	CHECK_EQ(world_manager->pvtime_gpa, ~0ull);
	CHECK(vm_get(dead) == NULL);
	CHECK(owner_range_is(pool, WORLD_POOL / PAGE_SIZE, owner_of(OWNER_MANAGER, 0)));
	world_guests--;
	/* Everybody that is to run comes to run. */
	for (unsigned turn = 0; turn < 8; turn++) {
		pcpus[0].resched = pcpus[1].resched = 1;
		(void)enter(turn % 2);
	}
	CHECK(logged->vcpu[0]->stats.run_ticks + logged->vcpu[0]->on_cpu > 0);
	CHECK(paused->vcpu[0]->stats.run_ticks + paused->vcpu[0]->on_cpu > 0);
	CHECK(mgr_vcpu(0)->on_cpu);
}

TEST(full_ring_after_the_restart)
{
	uint64_t soft = logged->vcpu[0]->ring.soft_limit, w = window_base();

	/* Nobody is attached: STOP behaves as SPILL, even at the very end of the ring. */
	for (unsigned i = 300; i < 300 + 400; i++) {
		CHECK_EQ(fake_store64(logged, 0, gpa(BASE + i * PAGE_SIZE), i).action, FAKE_DONE);
	}
	CHECK_EQ(dirty_log_entry_blocked(logged->vcpu[0]), 0);
	CHECK(bit_set(logged, 699));		/* did not fit */
	/* The new manager finds its VMs and what stopped meanwhile, and takes the ring. */
	CHECK_EQ(hc3(TM_HC_VM_NEXT, 0, 0, 0), 0);
	CHECK_EQ(hc_res[0], logged->handle);
	CHECK_EQ(hc3(TM_HC_MAP_EVENTS, w, 0, 0), 0);
	CHECK_EQ(event_page()->word[asked->handle], 1);
	CHECK_EQ(event_page()->word[logged->handle], 1);	/* past its limit */
	CHECK_EQ(event_page()->word[paused->handle], 0);
	CHECK_EQ(hc(TM_HC_MAP_RING, logged->handle, 0, 0, 1, w + PAGE_SIZE, 0), 0);
	CHECK(hc_res[0] == soft && hc_res[1] == 256);
	CHECK_EQ(dirty_log_entry_blocked(logged->vcpu[0]), TM_EXIT_DIRTY_RING_FULL);
}

static void shut_it_down(struct vcpu *v)
{
	if (v == mgr_vcpu(1)) {
		at_put = NULL;
		fake_set_cpu(0);
		vcpu_stop_shutdown(mgr_vcpu(0), TM_SHUTDOWN_RESET);
		fake_set_cpu(1);
	}
}

// The other vCPU dies in the moment in which this one goes to sleep: nobody may be waited for.
TEST(death_while_one_goes_to_sleep)
{
	struct vcpu *v;

	for (unsigned i = 0; i < 8 && !mgr_vcpu(0)->on_cpu; i++) {
		(void)enter(i % 2);
	}
	if (mgr_vcpu(0)->cpu != 0) {		/* back to CPU 0 */
		mgr_vcpu(0)->affinity = 1;
		pcpus[1].resched = 1;
		(void)enter(1);
		v = enter(0);
		CHECK(v == mgr_vcpu(0));
	}
	mgr_vcpu(0)->affinity = 1;
	mgr_vcpu(1)->affinity = 2;
	second_vcpu_on();
	fake_set_cpu(1);
	vcpu_wait(mgr_vcpu(1));
	at_put = shut_it_down;
	(void)enter(1);
	CHECK(at_put == NULL && !manager_alive());
	CHECK_EQ(mgr_vcpu(1)->state, TM_VCPU_STOPPED);
	(void)enter(0);
	started_again(2);
	manager_reap();				/* late: has nothing to do */
	started_again(2);
	/* A full ring on its way to a stop when the manager died goes on, see test_sched. */
	CHECK(logged->vcpu[0]->state != TM_VCPU_STOPPED);
}

static void in_a_child(void (*fn)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		if (setjmp(check_leave) == 0) {
			fn();
		}
		_exit(check_failed ? 1 : 0);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
}

/* There is no thread for CPU 1: it has nothing from here on. */
static void manager_on_cpu0(void)
{
	mgr_vcpu(1)->affinity = 0;
	pcpus[1].online = false;
	pcpus[1].resched = 1;
	CHECK(enter(1) == NULL);
	pcpus[0].resched = 1;
	for (unsigned i = 0; i < 8 && pcpus[0].current != mgr_vcpu(0); i++) {
		(void)enter(0);
	}
	CHECK(pcpus[0].current == mgr_vcpu(0));
}

static void six_deaths(void)
{
	for (unsigned n = manager_restarts(); n < 5; n++) {
		manager_on_cpu0();
		crash(0);
		(void)enter(0);
		started_again(n + 1);
	}
	manager_on_cpu0();
	CHECK_EQ(hc3(TM_HC_VM_PAUSE, paused->handle, 0, 0), 0);
	crash(0);
	(void)enter(0);
	CHECK(!manager_alive() && manager_restarts() == 5);
	CHECK_EQ(mgr_vcpu(0)->state, TM_VCPU_STOPPED);
	manager_reap();
	CHECK_EQ(manager_restarts(), 5);
	CHECK(!vm_paused(paused) && paused->vcpu[0]->state != TM_VCPU_STOPPED);
}

static void powered_off(void)
{
	unsigned n = manager_restarts();

	manager_on_cpu0();
	fake_set_cpu(0);
	vcpu_power_off(mgr_vcpu(0));		/* its last CPU */
	(void)enter(0);
	started_again(n + 1);
}

// A manager that gives its own image's place to a VM, where tables are built, and dies.
static void image_given_away(void)
{
	struct tm_vm_desc d = {.vcpus = 1, .name = "thief", .pool_gpa = ram + (2ull << 20),
			       .pool_size = 1ull << 20};
	static unsigned char before[1 << 20];
	unsigned n = manager_restarts();

	manager_on_cpu0();
	memcpy(world_ptr(world_base), &d, sizeof(d));
	CHECK_EQ(hc3(TM_HC_VM_CREATE, world_base, sizeof(d), 0), 0);
	memcpy(before, phys_to_virt(hpa(d.pool_gpa)), sizeof(before));
	crash(0);
	(void)enter(0);
	CHECK(!manager_alive());
	CHECK(manager_restarts() <= n + 1);
	CHECK(memcmp(before, phys_to_virt(hpa(d.pool_gpa)), sizeof(before)) == 0);
	CHECK(paused->vcpu[0]->state != TM_VCPU_STOPPED);
	manager_reap();
	CHECK(!manager_alive());
}

TEST(five_restarts_and_no_more) { in_a_child(six_deaths); }
TEST(last_cpu_off) { in_a_child(powered_off); }
TEST(image_is_not_written_over_a_vm) { in_a_child(image_given_away); }

CHECK_MAIN()
