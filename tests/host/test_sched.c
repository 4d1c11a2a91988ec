// SPDX-License-Identifier: Apache-2.0
//
// The scheduler and the life of a vCPU: first one step at a time with a model of time, then with a
// thread for each CPU and two for the manager.
//
// LINK: hyp/memslot.c hyp/memslot_steps.c hyp/memslot_anon.c hyp/dirty_log.c hyp/dirty_hw.c hyp/dirty_ring.c
// LINK: hyp/dirty_bitmap.c hyp/fault.c hyp/guest_copy.c hyp/window.c hyp/memcalls.c
// LINK: hyp/dirtycalls.c hyp/windowcalls.c hyp/test_hooks.c hyp/stage2.c hyp/pgtable.c
// LINK: hyp/tlbcheck.c hyp/page_alloc.c hyp/owner.c hyp/lock.c hyp/mmio.c hyp/vm.c hyp/vcpu.c
// LINK: hyp/sched.c hyp/event.c hyp/hyptimer.c hyp/hypercall.c hyp/vmcalls.c hyp/vcpucalls.c
// LINK: hyp/testcalls.c hyp/log.c hyp/console.c hyp/print.c arch/arm64/stage2_format.c
// LINK: tests/host/fake_arch.c tests/host/fake_tlb.c

#include <abi/arch.h>
#include <arch/time.h>
#include <arch/vcpu.h>
#include <hyp/event.h>
#include <hyp/hyptimer.h>
#include <pthread.h>
#include <unistd.h>

#include "world.h"

#define US 62ull			/* ticks of the fake clock, as slices are counted */
#define QUANTUM (100 * US)
#define SECOND (1000000 * US)

// ---- the machine: time, timers, kicks, idling ----

static uint64_t now = 1;
static uint64_t deadline[FAKE_CPUS], timer_irqs[FAKE_CPUS], kicks[FAKE_CPUS];
static uint64_t ran[TM_MAX_VMS][TM_MAX_VCPUS], ran_on[FAKE_CPUS];
static jmp_buf idle_jmp;
static bool threads, stopping;
static void (*at_put)(struct vcpu *v);
static void (*at_kick)(struct pcpu *c);
static void (*at_pulse)(void);

uint64_t arch_time_now(void)
{
	return threads ? __atomic_add_fetch(&now, 7, __ATOMIC_RELAXED) : now;
}

void arch_timer_program(uint64_t d)
{
	deadline[this_pcpu()->id] = d;
}

void arch_cpu_idle(void)
{
	if (!threads) {
		longjmp(idle_jmp, 1);
	}
	if (__atomic_load_n(&stopping, __ATOMIC_ACQUIRE)) {
		pthread_exit(NULL);
	}
	sched_yield();
}

void arch_cpu_kick(struct pcpu *c)
{
	__atomic_fetch_add(&kicks[c->id], 1, __ATOMIC_SEQ_CST);
	if (at_kick) {
		at_kick(c);
	}
}

void arch_vcpu_put(struct vcpu *v)
{
	v->arch.loaded = false;
	if (at_put) {
		at_put(v);
	}
}

bool arch_vcpu_irq_pending(struct vcpu *v)
{
	return __atomic_load_n(&v->arch.irq_pending, __ATOMIC_SEQ_CST);
}

void arch_doorbell_ring(struct vm *m)
{
	__atomic_fetch_add(&m->arch.pulses, 1, __ATOMIC_RELAXED);
	if (at_pulse) {
		at_pulse();
	}
}

// What CPU n runs now; NULL: it idles.
static struct vcpu *enter(unsigned n)
{
	fake_set_cpu(n);
	return setjmp(idle_jmp) ? NULL : sched_switch();
}

static void machine_run(unsigned cpus, uint64_t ticks, void (*each)(unsigned cpu))
{
	for (uint64_t end = now + ticks; now < end;) {
		now += QUANTUM;
		for (unsigned n = 0; n < cpus; n++) {
			struct pcpu *c = &pcpus[n];

			fake_set_cpu(n);
			if (c->current) {
				ran[c->current->vm->handle][c->current->id] += QUANTUM;
				ran_on[n] += QUANTUM;
			}
			if (deadline[n] <= now) {
				deadline[n] = ~0ull;
				timer_irqs[n]++;
				hyptimer_run();
				sched_timer();
			}
			if (each) {
				each(n);
			}
			fake_set_cpu(n);
			if (!c->current || c->resched || c->current->requests) {
				(void)enter(n);
			}
		}
	}
}

static struct vm *vm;
static uint64_t h, free_before;

static void begin(unsigned cpus, unsigned vcpus, uint64_t ring, uint64_t flags)
{
	world_init(check_seed());
	for (unsigned n = 0; n < FAKE_CPUS; n++) {
		pcpus[n].online = n < cpus;
		pcpus[n].resched = 0;
		deadline[n] = ~0ull;
		timer_irqs[n] = kicks[n] = ran_on[n] = 0;
	}
	memset(ran, 0, sizeof(ran));
	(void)event_page();		/* allocated once, stays */
	free_before = page_alloc_free_count();
	vm = world_guest(vcpus, ring, flags);
	h = vm->handle;
}

static void end(void)
{
	/* What is on a CPU leaves it when its VM is paused. */
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		if (vm->vcpu[i] && vm->vcpu[i]->state != TM_VCPU_STOPPED) {
			CHECK_EQ(hc(TM_HC_VCPU_KICK, h, i, TM_KICK_STOP, 0, 0, 0), 0);
		}
	}
	for (unsigned n = 0; n < FAKE_CPUS - 1; n++) {
		if (pcpus[n].current) {
			CHECK(enter(n) == NULL);
		}
	}
	world_destroy(vm);
	CHECK_EQ(page_alloc_free_count(), free_before);
}

static struct vcpu *vcpu(unsigned i) { return vm->vcpu[i]; }
static int64_t run(unsigned i) { return hc(TM_HC_VCPU_RUN, h, i, 0, 0, 0, 0); }
static int64_t kick(unsigned i) { return hc(TM_HC_VCPU_KICK, h, i, TM_KICK_STOP, 0, 0, 0); }
static int64_t set(unsigned i, uint64_t prio, uint64_t affinity)
{
	return hc(TM_HC_VCPU_SCHED_SET, h, i, prio, affinity, 10000, 0);
}
static bool about(uint64_t got, uint64_t want, unsigned percent)
{
	return got + want * percent / 100 >= want && got <= want + want * percent / 100;
}

// ---- sharing a CPU ----

static void restless(unsigned cpu)
{
	if (pcpus[cpu].current == vcpu(0)) {
		pcpus[cpu].resched = 1;		/* exits all the time */
	}
}

TEST(round_robin)
{
	begin(1, 3, 0, 0);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(run(i), 0);
	}
	machine_run(1, 3 * SECOND, restless);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT(about(ran[h][i], SECOND, 3));
	}
	EXPECT(about(timer_irqs[0], 300, 10));
	EXPECT(about(vcpu(1)->stats.run_ticks, SECOND, 3));
	EXPECT(about(vcpu(1)->pv_stolen, 2 * SECOND, 3));
	end();
}

TEST(no_tick_alone)
{
	begin(2, 2, 0, 0);
	CHECK_EQ(run(0), 0);
	CHECK_EQ(run(1), 0);
	machine_run(2, SECOND / 10, restless);
	EXPECT(ran[h][0] >= SECOND / 11 && ran[h][1] >= SECOND / 11);	/* one CPU each */
	EXPECT(timer_irqs[0] + timer_irqs[1] == 0);
	EXPECT(deadline[0] == ~0ull && deadline[1] == ~0ull);
	end();
}

TEST(slices_are_as_set)
{
	begin(1, 2, 0, 0);
	CHECK_EQ(hc(TM_HC_VCPU_SCHED_SET, h, 0, 2, 0, 30000, 0), 0);
	CHECK_EQ(run(0), 0);
	CHECK_EQ(run(1), 0);
	machine_run(1, SECOND, NULL);
	EXPECT(about(ran[h][0], 3 * ran[h][1], 6));
	end();
}

TEST(fixed_priorities)
{
	begin(1, 2, 0, 0);
	CHECK_EQ(set(0, 3, 0), 0);
	CHECK_EQ(run(0), 0);
	CHECK_EQ(run(1), 0);
	machine_run(1, SECOND / 10, NULL);
	EXPECT(ran[h][0] == 0 && ran[h][1] > SECOND / 11);
	/* The better one waits: the other runs, until an interrupt comes. */
	fake_set_cpu(0);
	CHECK(pcpus[0].current == vcpu(1));
	vcpu_wait(vcpu(1));
	CHECK(enter(0) == vcpu(0));
	CHECK_EQ(vcpu(1)->state, TM_VCPU_WAITING);
	fake_set_cpu(3);
	vcpu_irq_kick(vcpu(1));
	CHECK(pcpus[0].resched != 0 && kicks[0] > 0);
	CHECK(enter(0) == vcpu(1));
	CHECK_EQ(vcpu(0)->state, TM_VCPU_READY);
	end();
}

// One of better priority runs for a moment, and only ever interrupts vCPU 0.
static void nagging(unsigned cpu)
{
	static unsigned turn;
	struct vcpu *cur = pcpus[cpu].current;

	if (cur == vcpu(2)) {
		vcpu_wait(cur);
	} else if (cur == vcpu(0) && turn++ % 5 == 4) {
		vcpu_irq_kick(vcpu(2));
	}
}

TEST(preemption_keeps_the_slice)
{
	begin(1, 3, 0, 0);
	CHECK_EQ(set(2, 1, 0), 0);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(run(i), 0);
	}
	machine_run(1, 2 * SECOND, nagging);
	EXPECT(vcpu(2)->stats.wfi > 500);
	EXPECT(about(ran[h][0], ran[h][1], 5));
	end();
}

static void generous(unsigned cpu)
{
	if (pcpus[cpu].current == vcpu(0)) {
		struct hc_call c = {.vcpu = vcpu(0)};

		CHECK_EQ(hypercall_dispatch(&c, TM_HC_YIELD), 0);
	}
}

TEST(yield)
{
	begin(1, 2, 0, 0);
	CHECK_EQ(run(0), 0);
	machine_run(1, SECOND / 100, generous);
	EXPECT(ran[h][0] > SECOND / 110);	/* to nobody: it goes on */
	CHECK_EQ(run(1), 0);
	ran[h][0] = ran[h][1] = 0;
	machine_run(1, SECOND, generous);
	EXPECT(about(ran[h][1], SECOND, 3));
	EXPECT(ran[h][0] > 0);
	end();
}

TEST(sched_set_arguments)
{
	static const struct {
		uint64_t prio, affinity, slice;
		int64_t want;
	} rows[] = {
		{0, 0, 10000, -TM_EINVAL}, {8, 0, 10000, -TM_EINVAL}, {~0ull, 0, 10000, -TM_EINVAL},
		{258, 0, 10000, -TM_EINVAL}, {2, 0, 99, -TM_EINVAL}, {2, 0, 1000001, -TM_EINVAL},
		{2, 0, 0, -TM_EINVAL}, {2, 4, 10000, -TM_EINVAL}, {2, 1ull << 63, 10000, -TM_EINVAL},
		{2, ~3ull, 10000, -TM_EINVAL}, {7, ~0ull, 1000000, 0}, {1, 2, 100, 0}, {2, 0, 10000, 0},
	};

	begin(2, 1, 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		CHECK_EQ(hc(TM_HC_VCPU_SCHED_SET, h, 0, rows[i].prio, rows[i].affinity,
			    rows[i].slice, 0), rows[i].want);
	}
	CHECK_EQ(hc(TM_HC_VCPU_SCHED_SET, h, 1, 2, 0, 10000, 0), -TM_ENOENT);
	CHECK_EQ(hc(TM_HC_VCPU_SCHED_SET, h + 1, 0, 2, 0, 10000, 0), -TM_ENOENT);
	CHECK_EQ(hc(TM_HC_VCPU_SCHED_SET, 0, 0, 2, 0, 10000, 0), -TM_EACCES);
	CHECK_EQ(hc(TM_HC_VCPU_SCHED_SET, 0, 9, 2, 0, 10000, 0), -TM_EACCES);
	end();
}

TEST(affinity_of_one_that_runs)
{
	begin(2, 1, 0, 0);
	CHECK_EQ(set(0, 2, 1), 0);
	CHECK_EQ(run(0), 0);
	machine_run(2, SECOND / 100, NULL);
	CHECK(pcpus[0].current == vcpu(0));
	CHECK_EQ(set(0, 2, 2), 0);
	machine_run(2, 2 * QUANTUM, NULL);
	CHECK(pcpus[1].current == vcpu(0) && pcpus[0].current == NULL);
	end();
}

TEST(affinity_of_one_that_is_queued)
{
	begin(2, 3, 0, 0);
	for (unsigned i = 0; i < 2; i++) {	/* both CPUs are taken */
		CHECK_EQ(set(i, 2, 1ull << i), 0);
		CHECK_EQ(run(i), 0);
	}
	CHECK_EQ(set(2, 2, 1), 0);
	machine_run(2, 2 * QUANTUM, NULL);
	CHECK_EQ(run(2), 0);
	CHECK(pcpus[0].queued == 1);
	CHECK_EQ(set(2, 1, 2), 0);	/* better, and elsewhere: CPU 0 must not wait for it */
	CHECK(pcpus[0].queued == 0 && pcpus[1].queued == 1);
	machine_run(2, 4 * QUANTUM, NULL);
	CHECK(pcpus[1].current == vcpu(2) && pcpus[0].current == vcpu(0));
	/* vCPU 1 may only run there. Raised while it is queued, it comes back at once. */
	CHECK_EQ(vcpu(1)->state, TM_VCPU_READY);
	CHECK_EQ(set(2, 3, 2), 0);
	machine_run(2, 2 * QUANTUM, NULL);
	CHECK(pcpus[1].current == vcpu(1));
	end();
}

TEST(affinity_changes_on_the_way)
{
	begin(2, 1, 0, 0);
	CHECK_EQ(set(0, 2, 1), 0);
	CHECK_EQ(run(0), 0);
	CHECK(enter(0) == vcpu(0));
	vcpu(0)->affinity = 2;
	pcpus[0].resched = 1;
	CHECK(enter(0) == NULL);
	CHECK(enter(1) == vcpu(0));
	end();
}

static void cpu1_goes_idle(struct pcpu *c)
{
	if (c == &pcpus[0]) {
		pcpus[1].current = NULL;
	}
}

TEST(work_behind_a_busy_cpu)	/* queued there because all were busy, and then one was not */
{
	struct vcpu *busy1;

	begin(2, 3, 0, 0);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(set(i, 2, 1ull << i), 0);
		CHECK_EQ(run(i), 0);
	}
	machine_run(2, 2 * QUANTUM, NULL);
	busy1 = pcpus[1].current;
	CHECK(pcpus[0].current && busy1);
	kicks[1] = 0;
	at_kick = cpu1_goes_idle;
	vcpu(2)->cpu = 0;
	CHECK_EQ(run(2), 0);
	at_kick = NULL;
	CHECK(kicks[1] == 1 && pcpus[1].resched);
	pcpus[1].current = busy1;
	end();
}

TEST(nobody_starves_beside_a_free_share)
{
	begin(2, 3, 0, 0);
	CHECK_EQ(set(0, 1, 1), 0);		/* busy, and better than the others */
	CHECK_EQ(set(1, 2, 2), 0);
	CHECK_EQ(run(1), 0);
	machine_run(2, 2 * QUANTUM, NULL);
	/* vCPU 2 queues on CPU 0, which then gets the better one. */
	vcpu(2)->cpu = 0;
	CHECK_EQ(run(2), 0);
	CHECK_EQ(pcpus[0].queued, 1);
	CHECK_EQ(run(0), 0);
	machine_run(2, SECOND, NULL);
	EXPECT(about(ran[h][0], SECOND, 3));
	EXPECT(about(ran[h][1], SECOND / 2, 5) && about(ran[h][2], SECOND / 2, 5));
	end();
}

// ---- states ----

static uint64_t seq_want;
static bool published;
static void check_published(void)
{
	struct vcpu *v = vcpu(0);

	published = v->state == TM_VCPU_STOPPED && v->run->exit_seq == seq_want &&
		    v->run->reason == TM_EXIT_KICKED && (event_page()->word[h] & 1);
}

TEST(stop_order)
{
	struct tm_run_page *r;
	uint64_t pulses;

	begin(1, 1, 0, 0);
	CHECK_EQ(hc(TM_HC_MAP_EVENTS, window_base(), 0, 0, 0, 0, 0), 0);
	CHECK_EQ(event_page()->word[h], 1);	/* it is stopped: a new page says so */
	event_page()->word[h] = 0;
	r = vcpu(0)->run;
	CHECK_EQ(r->exit_seq, 0);
	at_pulse = check_published;
	for (seq_want = 1; seq_want < 6; seq_want++) {
		CHECK_EQ(run(0), 0);
		CHECK_EQ(r->reason, TM_EXIT_NONE);
		CHECK_EQ(run(0), -TM_EALREADY);
		CHECK(seq_want & 1 ? enter(0) == vcpu(0) : true);	/* RUNNING or READY */
		CHECK_EQ(run(0), -TM_EALREADY);
		CHECK_EQ(r->exit_seq, seq_want - 1);
		published = false;
		CHECK_EQ(kick(0), 0);
		if (seq_want & 1) {
			CHECK(!published && enter(0) == NULL);
		}
		CHECK(published);
		CHECK_EQ(__atomic_exchange_n(&event_page()->word[h], 0, __ATOMIC_ACQ_REL), 1);
		CHECK_EQ(kick(0), 0);		/* stopped: ignored */
		CHECK_EQ(r->exit_seq, seq_want);
	}
	at_pulse = NULL;
	/* The bell rings at 0 -> 1 only, and for a page that is mapped anew. */
	pulses = world_manager->arch.pulses;
	event_set(vcpu(0));
	event_set(vcpu(0));
	CHECK_EQ(world_manager->arch.pulses, pulses + 1);
	CHECK_EQ(hc(TM_HC_UNMAP, window_base(), 1, 0, 0, 0, 0), 0);
	CHECK_EQ(hc(TM_HC_MAP_EVENTS, window_base(), 0, 0, 0, 0, 0), 0);
	CHECK_EQ(world_manager->arch.pulses, pulses + 2);
	CHECK_EQ(hc(TM_HC_UNMAP, window_base(), 1, 0, 0, 0, 0), 0);
	event_reset();
	CHECK_EQ(event_page()->word[h], 0);
	end();
}

static uint32_t late_request;
static void request_late(struct vcpu *v)
{
	fake_set_cpu(5);
	vcpu_request(v, late_request);
	fake_set_cpu(0);
}

// The request comes when the vCPU has been looked at for the last time and is not yet WAITING.
TEST(stop_on_the_way_into_a_wait)
{
	begin(1, 2, 0, 0);
	for (unsigned off = 0; off < 2; off++) {
		for (unsigned i = 0; i < 2; i++) {
			late_request = i ? VCPU_REQ_SHUTDOWN : VCPU_REQ_STOP;
			CHECK_EQ(run(0), 0);
			CHECK(enter(0) == vcpu(0));
			if (off) {
				vcpu_power_off(vcpu(0));
			} else {
				vcpu_wait(vcpu(0));
			}
			at_put = request_late;
			CHECK(enter(0) == NULL);
			at_put = NULL;
			CHECK_EQ(vcpu(0)->state, TM_VCPU_STOPPED);
			CHECK_EQ(vcpu(0)->run->reason, i ? TM_EXIT_SHUTDOWN : TM_EXIT_KICKED);
			CHECK_EQ(vcpu(0)->requests, 0);
			vcpu(0)->powered_on = true;
		}
	}
	end();
}

static void irq_late(struct vcpu *v)
{
	v->arch.irq_pending = true;
	fake_set_cpu(5);
	vcpu_irq_kick(v);
	fake_set_cpu(0);
}

TEST(interrupt_on_the_way_into_a_wait)
{
	begin(1, 1, 0, 0);
	CHECK_EQ(run(0), 0);
	CHECK(enter(0) == vcpu(0));
	vcpu_wait(vcpu(0));
	at_put = irq_late;
	CHECK(enter(0) == vcpu(0));
	at_put = NULL;
	vcpu_wait(vcpu(0));		/* pending: does not wait */
	CHECK(!vcpu(0)->wait_pending);
	vcpu(0)->arch.irq_pending = false;
	vcpu_wait(vcpu(0));
	CHECK(enter(0) == NULL);
	CHECK_EQ(vcpu(0)->state, TM_VCPU_WAITING);
	CHECK_EQ(run(0), -TM_EALREADY);
	CHECK_EQ(kick(0), 0);		/* it stops where it waits */
	CHECK_EQ(vcpu(0)->state, TM_VCPU_STOPPED);
	vcpu_irq_kick(vcpu(0));
	CHECK_EQ(vcpu(0)->state, TM_VCPU_STOPPED);
	end();
}

TEST(power)
{
	begin(2, 2, 0, 0);
	vcpu(1)->powered_on = false;
	CHECK_EQ(run(1), 0);
	CHECK_EQ(vcpu(1)->state, TM_VCPU_OFF);
	CHECK_EQ(run(1), -TM_EALREADY);
	CHECK_EQ(run(0), 0);
	CHECK(enter(0) == vcpu(0));
	CHECK_EQ(vcpu_power_on(vcpu(0), 0, 0), -TM_EALREADY);
	CHECK_EQ(vcpu_power_on(vcpu(1), 0x1234, 7), 0);
	CHECK_EQ(vcpu_power_on(vcpu(1), 0, 0), -TM_EALREADY);
	CHECK(enter(1) == vcpu(1));
	CHECK(vcpu(1)->arch.pc == 0x1234 && vcpu(1)->arch.x0 == 7);
	vcpu_power_off(vcpu(1));
	CHECK(enter(1) == NULL);
	CHECK_EQ(vcpu(1)->state, TM_VCPU_OFF);
	fake_set_cpu(0);
	vcpu_power_off(vcpu(0));	/* the last: HALTED */
	CHECK(enter(0) == NULL);
	CHECK_EQ(vcpu(0)->state, TM_VCPU_STOPPED);
	CHECK_EQ(vcpu(0)->run->reason, TM_EXIT_HALTED);
	vcpu(0)->powered_on = true;
	end();
}

// REGS_SET of a paused VM may switch a vCPU on and off.
TEST(power_by_registers)
{
	begin(1, 1, 0, 0);
	vcpu(0)->powered_on = false;
	CHECK_EQ(run(0), 0);
	CHECK_EQ(hc(TM_HC_VM_PAUSE, h, 0, 0, 0, 0, 0), 0);
	spin_lock(&vcpu(0)->lock);
	vcpu(0)->powered_on = true;
	vcpu_power_changed_locked(vcpu(0));
	spin_unlock(&vcpu(0)->lock);
	CHECK(enter(0) == NULL);
	CHECK_EQ(hc(TM_HC_VM_RESUME, h, 0, 0, 0, 0, 0), 0);
	CHECK(enter(0) == vcpu(0));
	end();
}

// REGS_SET of a paused VM may tell one that waits to run.
TEST(waiting_by_registers)
{
	begin(1, 1, 0, 0);
	CHECK_EQ(run(0), 0);
	CHECK(enter(0) == vcpu(0));
	vcpu_wait(vcpu(0));
	CHECK(enter(0) == NULL);
	CHECK_EQ(vcpu(0)->state, TM_VCPU_WAITING);
	CHECK_EQ(hc(TM_HC_VM_PAUSE, h, 0, 0, 0, 0, 0), 0);
	spin_lock(&vcpu(0)->lock);
	vcpu_power_changed_locked(vcpu(0));
	spin_unlock(&vcpu(0)->lock);
	CHECK(enter(0) == NULL);
	CHECK_EQ(hc(TM_HC_VM_RESUME, h, 0, 0, 0, 0, 0), 0);
	CHECK(enter(0) == vcpu(0));
	end();
}

TEST(mmio_completion)
{
	struct tm_run_page *r;
	struct tm_regs *regs;
	uint64_t buf;

	begin(1, 1, 0, 0);
	buf = world_base + 4 * PAGE_SIZE;
	regs = world_ptr(buf);
	memset(regs, 0, sizeof(*regs));
	r = vcpu(0)->run;
	CHECK_EQ(run(0), 0);
	CHECK(enter(0) == vcpu(0));
	vcpu_stop_mmio(vcpu(0), gpa(0x1000), 4, false, 0);
	vcpu_stop(vcpu(0), TM_EXIT_HALTED, 0);		/* the first cause stands */
	CHECK(enter(0) == NULL);
	CHECK_EQ(r->reason, TM_EXIT_MMIO);
	CHECK(r->u.mmio.gpa == 0x1000 && r->u.mmio.len == 4 && !r->u.mmio.is_write);
	CHECK_EQ(hc(TM_HC_VCPU_REGS_SET, h, 0, buf, sizeof(*regs), 0, 0), -TM_EBUSY);
	CHECK_EQ(hc(TM_HC_VCPU_REGS_GET, h, 0, buf, sizeof(*regs), 0, 0), 0);
	CHECK_EQ(vcpu(0)->arch.mmio_completed, 0);
	memcpy(r->u.mmio.data, "\x11\x22\x33\x44\x55", 5);
	r->u.mmio.len = 64;				/* hostile: ours counts */
	r->immediate_exit = 1;
	CHECK_EQ(run(0), 0);				/* completed, and not one instruction more */
	CHECK_EQ(r->reason, TM_EXIT_KICKED);
	CHECK_EQ(r->exit_seq, 2);
	CHECK_EQ(vcpu(0)->arch.mmio_completed, 1);
	CHECK_EQ(vcpu(0)->arch.mmio_data, 0x44332211);
	CHECK(enter(0) == NULL);
	r->immediate_exit = 0;
	CHECK_EQ(hc(TM_HC_VCPU_REGS_SET, h, 0, buf, sizeof(*regs), 0, 0), 0);
	CHECK_EQ(run(0), 0);
	CHECK_EQ(vcpu(0)->arch.mmio_completed, 1);
	CHECK(enter(0) == vcpu(0));
	CHECK_EQ(hc(TM_HC_VCPU_REGS_GET, h, 0, buf, sizeof(*regs), 0, 0), -TM_EBUSY);
	end();
}

TEST(full_ring_is_sticky)
{
	begin(1, 1, 256, TM_DIRTY_RING);
	vcpu(0)->ring.dirty_index = vcpu(0)->ring.soft_limit;
	for (unsigned i = 1; i < 4; i++) {
		CHECK_EQ(run(0), 0);
		CHECK(enter(0) == NULL);
		CHECK_EQ(vcpu(0)->run->reason, TM_EXIT_DIRTY_RING_FULL);
		CHECK_EQ(vcpu(0)->run->exit_seq, i);
	}
	/* Its manager dies: it goes on, and stops no more until a manager maps a ring. */
	vcpu(0)->ring.dirty_index = vcpu(0)->ring.reset_index;
	dirty_log_manager_gone(vm);
	vcpu(0)->ring.dirty_index = vcpu(0)->ring.reset_index + vcpu(0)->ring.soft_limit;
	vcpu_run_orphan(vcpu(0));
	CHECK(enter(0) == vcpu(0));
	/* One that was about to stop when that happened does not. */
	dirty_log_attach(vm);
	vcpu_stop(vcpu(0), TM_EXIT_DIRTY_RING_FULL, 0);
	world_manager_is_alive = false;
	CHECK(enter(0) == vcpu(0));
	world_manager_is_alive = true;
	vcpu(0)->ring.dirty_index = vcpu(0)->ring.reset_index;
	end();
}

// ---- timers ----

static unsigned fired[8];
static struct hyptimer timers[8];
static void fire(struct hyptimer *t) { fired[t - timers]++; }

TEST(timers_in_order)
{
	struct check_rng rng = check_rng_make(3);

	begin(2, 0, 0, 0);
	for (unsigned round = 0; round < 2000; round++) {
		uint64_t first = ~0ull;

		memset(fired, 0, sizeof(fired));
		for (unsigned i = 0; i < 8; i++) {
			timers[i].fn = fire;
			fake_set_cpu((unsigned)check_below(&rng, 2));
			hyptimer_arm(&timers[i], now + 1 + check_below(&rng, 1000));
			if (check_below(&rng, 3) == 0) {	/* again, elsewhere */
				fake_set_cpu(1 - this_pcpu()->id);
				hyptimer_arm(&timers[i], now + 1 + check_below(&rng, 1000));
			}
		}
		for (unsigned i = 0; i < 8; i += 3) {
			fake_set_cpu((unsigned)check_below(&rng, 2));
			hyptimer_cancel(&timers[i]);
		}
		for (unsigned n = 0; n < 2; n++) {
			first = ~0ull;
			for (unsigned i = 0; i < 8; i++) {
				first = timers[i].armed && timers[i].cpu == n ?
					MIN(first, timers[i].deadline) : first;
			}
			fake_set_cpu(n);
			hyptimer_program();
			CHECK_EQ(deadline[n], first);
		}
		now += 500;
		for (unsigned n = 0; n < 2; n++) {
			fake_set_cpu(n);
			hyptimer_run();
		}
		for (unsigned i = 0; i < 8; i++) {
			bool due = i % 3 != 0 && timers[i].deadline <= now;

			CHECK_EQ(fired[i], due);
			CHECK_EQ(timers[i].armed, i % 3 != 0 && !due);
		}
		now += 600;
		for (unsigned n = 0; n < 2; n++) {
			fake_set_cpu(n);
			hyptimer_run();
			CHECK_EQ(deadline[n], ~0ull);
		}
	}
	end();
}

static void *arm_and_cancel(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	fake_set_cpu(seed);
	for (unsigned i = 0; i < 30000; i++) {
		seed = seed * 1103515245u + 12345u;
		switch (seed >> 28 & 3) {
		case 0:
			hyptimer_cancel(&timers[seed >> 16 & 7]);
			break;
		case 1:
			hyptimer_run();
			break;
		default:
			hyptimer_arm(&timers[seed >> 16 & 7], arch_time_now() + (seed >> 20 & 63));
		}
	}
	hyptimer_run();
	return NULL;
}

TEST(timers_from_all_cpus)
{
	pthread_t t[4];

	begin(4, 0, 0, 0);
	threads = true;
	for (uintptr_t i = 0; i < 4; i++) {
		CHECK(pthread_create(&t[i], NULL, arm_and_cancel, (void *)i) == 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
	}
	threads = false;
	for (unsigned i = 0; i < 8; i++) {
		hyptimer_cancel_wait(&timers[i]);
		CHECK(!timers[i].armed);
	}
	for (unsigned n = 0; n < 4; n++) {	/* no list has kept one */
		fake_set_cpu(n);
		hyptimer_program();
		CHECK_EQ(deadline[n], ~0ull);
	}
	end();
}

// ---- who waits for whom ----

static bool done;
static void *destroy_one(void *arg)
{
	(void)arg;
	fake_set_cpu(6);
	EXPECT(vm_vcpu_destroy(vm, vcpu(1)) == 0);
	__atomic_store_n(&done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void *arm_one(void *arg)
{
	(void)arg;
	fake_set_cpu(6);
	hyptimer_arm(&timers[0], 1000);
	__atomic_store_n(&done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void check_in_hand(void) { published = this_pcpu()->handling == vcpu(0); }

TEST(destruction_waits_for_hands)
{
	pthread_t t;

	begin(1, 2, 0, 0);
	pcpus[3].handling = vcpu(1);	/* popped there, not looked at yet */
	done = false;
	CHECK(pthread_create(&t, NULL, destroy_one, NULL) == 0);
	usleep(20000);
	EXPECT(!__atomic_load_n(&done, __ATOMIC_SEQ_CST));
	EXPECT(vm->vcpu[1] == NULL);
	__atomic_store_n(&pcpus[3].handling, NULL, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	EXPECT(done);
	/* And one that has stopped is in hand until its event is out. */
	CHECK_EQ(hc(TM_HC_MAP_EVENTS, window_base(), 0, 0, 0, 0, 0), 0);
	event_page()->word[h] = 0;
	CHECK_EQ(run(0), 0);
	CHECK(enter(0) == vcpu(0));
	CHECK_EQ(kick(0), 0);
	published = false;
	at_pulse = check_in_hand;
	CHECK(enter(0) == NULL);
	at_pulse = NULL;
	CHECK(published && pcpus[0].handling == NULL);
	CHECK_EQ(hc(TM_HC_UNMAP, window_base(), 1, 0, 0, 0, 0), 0);
	event_reset();
	end();
}

TEST(arming_is_one_at_a_time)
{
	pthread_t t;

	begin(1, 0, 0, 0);
	timers[0].arming = true;
	done = false;
	CHECK(pthread_create(&t, NULL, arm_one, NULL) == 0);
	usleep(20000);
	EXPECT(!__atomic_load_n(&done, __ATOMIC_SEQ_CST) && !timers[0].armed);
	__atomic_store_n(&timers[0].arming, false, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	EXPECT(done && timers[0].armed && !timers[0].arming);
	hyptimer_cancel(&timers[0]);
	end();
}

// ---- everything at once ----

#define CPUS 3u
#define VMS 2u
#define VCPUS 3u

static struct vm *svm[TM_MAX_VMS];
static uint64_t progress[TM_MAX_VMS][VCPUS];
static uint32_t running[TM_MAX_VMS][VCPUS];
static bool broken;
static const char *broken_why = "";

static void broke(const char *why)
{
	broken_why = why;
	__atomic_store_n(&broken, true, __ATOMIC_SEQ_CST);
}

static void guest_mode(struct pcpu *c, struct vcpu *v, unsigned *seed)
{
	unsigned hd = v->vm->handle, id = v->id;
	uint64_t k = __atomic_load_n(&kicks[c->id], __ATOMIC_SEQ_CST);

	if (__atomic_exchange_n(&running[hd][id], 1, __ATOMIC_SEQ_CST)) {
		broke("a vCPU on two CPUs");
	}
	if (v->affinity && !(v->affinity >> c->id & 1) && !v->requests) {
		/* May be on its way: it must be told then. Seen twice, without: it was not. */
		sched_yield();
	}
	__atomic_store_n(&v->arch.irq_pending, false, __ATOMIC_SEQ_CST);
	*seed = *seed * 1103515245u + 12345u;
	for (unsigned i = 0; i < (*seed >> 20 & 255); i++) {
		__atomic_fetch_add(&progress[hd][id], 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&kicks[c->id], __ATOMIC_SEQ_CST) != k) {
			break;
		}
	}
	__atomic_store_n(&running[hd][id], 0, __ATOMIC_SEQ_CST);
}

// As the exit path of an architecture does it.
static struct vcpu *finish(struct pcpu *c, struct vcpu *v)
{
	for (;;) {
		__atomic_store_n(&v->in_guest, true, __ATOMIC_SEQ_CST);
		if (!(__atomic_load_n(&c->resched, __ATOMIC_SEQ_CST) | vcpu_requests(v))) {
			return v;
		}
		__atomic_store_n(&v->in_guest, false, __ATOMIC_SEQ_CST);
		v = sched_switch();
	}
}

static void *cpu_main(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg, seed = n * 77 + 1;
	struct pcpu *c = &pcpus[n];
	struct vcpu *v;

	fake_set_cpu(n);
	v = sched_switch();
	for (;;) {
		v = finish(c, v);
		guest_mode(c, v, &seed);
		__atomic_store_n(&v->in_guest, false, __ATOMIC_RELEASE);
		__atomic_store_n(&v->stats.exits, v->stats.exits + 1, __ATOMIC_RELEASE);
		if (deadline[n] <= arch_time_now()) {
			deadline[n] = ~0ull;
			hyptimer_run();
			sched_timer();
		}
		switch (seed >> 12 & 31) {
		case 0:
			vcpu_wait(v);
			break;
		case 1:
			vcpu_stop_mmio(v, gpa(0x1000), 8, true, seed);
			break;
		case 2:
			vcpu_stop(v, TM_EXIT_HALTED, 0);
			break;
		case 3:
			c->resched = 1;
			break;
		}
	}
	return NULL;
}

static int64_t call(unsigned cpu, uint64_t *res, uint32_t fn, uint64_t a1, uint64_t a2, uint64_t a3,
		    uint64_t a4, uint64_t a5)
{
	struct hc_call c = {.vcpu = world_manager->vcpu[0], .arg = {a1, a2, a3, a4, a5}};
	int64_t status;

	fake_set_cpu(cpu);
	this_pcpu()->current = world_manager->vcpu[0];
	status = hypercall_dispatch(&c, fn);
	this_pcpu()->current = NULL;
	if (res) {
		*res = c.res[0];
	}
	return status;
}

static void pause_and_look(unsigned cpu, unsigned hd)
{
	uint64_t before[VCPUS];

	if (call(cpu, NULL, TM_HC_VM_PAUSE, hd, 0, 0, 0, 0)) {
		broke("VM_PAUSE");
	}
	for (unsigned i = 0; i < VCPUS; i++) {
		before[i] = __atomic_load_n(&progress[hd][i], __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&running[hd][i], __ATOMIC_SEQ_CST)) {
			broke("running while paused");
		}
	}
	for (unsigned i = 0; i < 20; i++) {
		sched_yield();
	}
	for (unsigned i = 0; i < VCPUS; i++) {
		if (before[i] != __atomic_load_n(&progress[hd][i], __ATOMIC_SEQ_CST)) {
			broke("progress while paused");
		}
	}
	if (call(cpu, NULL, TM_HC_VM_RESUME, hd, 0, 0, 0, 0)) {
		broke("VM_RESUME");
	}
}

static void manage(unsigned cpu, unsigned *seed)
{
	unsigned r, hd, id;
	struct vcpu *v;

	*seed = *seed * 1103515245u + 12345u;
	r = *seed >> 8;
	hd = 1 + r % VMS;
	id = (r >> 4) % VCPUS;
	switch (r >> 8 & 15) {
	case 0:
	case 1:
		(void)call(cpu, NULL, TM_HC_VCPU_KICK, hd, id, r >> 12 & 1, 0, 0);
		break;
	case 2:
		pause_and_look(cpu, hd);
		break;
	case 3:
		(void)call(cpu, NULL, TM_HC_VCPU_SCHED_SET, hd, id, 1 + (r >> 12) % 7,
			   r >> 16 & ((1u << CPUS) - 1), 100 + (r >> 12 & 1023));
		break;
	case 4:
		if (call(cpu, NULL, TM_HC_VCPU_DESTROY, hd, id, 0, 0, 0) == 0) {
			int64_t s = call(cpu, NULL, TM_HC_VCPU_CREATE, hd, id, 0, 0, 0);

			if (s != 0 && s != -TM_EEXIST) {
				broke("VCPU_CREATE");
			}
			v = svm[hd]->vcpu[id];
			if (v) {
				spin_lock(&v->lock);
				v->powered_on = true;
				spin_unlock(&v->lock);
			}
		}
		break;
	case 5:
	case 6:
	case 7:
		v = __atomic_load_n(&svm[hd]->vcpu[id], __ATOMIC_ACQUIRE);
		if (v) {
			fake_set_cpu(cpu);
			__atomic_store_n(&v->arch.irq_pending, true, __ATOMIC_SEQ_CST);
			vcpu_irq_kick(v);
		}
		break;
	case 8:
		(void)call(cpu, NULL, TM_HC_VM_SYNC, hd, 0, 0, 0, 0);
		break;
	default:
		(void)call(cpu, NULL, TM_HC_VCPU_RUN, hd, id, 0, 0, 0);
	}
}

static uint64_t short_lived;

// A VM that is created, runs and is destroyed wherever it stands.
static void brief_life(unsigned cpu, uint64_t desc)
{
	uint64_t hd;
	int64_t s;

	if (call(cpu, &hd, TM_HC_VM_CREATE, desc, sizeof(struct tm_vm_desc), 0, 0, 0)) {
		broke("VM_CREATE");
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		if (call(cpu, NULL, TM_HC_VCPU_CREATE, hd, i, 0, 0, 0) ||
		    call(cpu, NULL, TM_HC_VCPU_RUN, hd, i, 0, 0, 0)) {
			broke("a short life");
		}
	}
	for (unsigned i = 0; i < short_lived % 7; i++) {
		sched_yield();
	}
	do {
		s = call(cpu, NULL, TM_HC_VM_DESTROY, hd, 0, 0, 0, 0);
	} while (s == TM_CONTINUE);
	if (s) {
		broke("VM_DESTROY");
	}
	short_lived++;
}

static unsigned manager_rounds = 12000;

static void *second_manager(void *arg)
{
	uint64_t desc = *(uint64_t *)arg;
	unsigned seed = (unsigned)check_seed() * 31 + 5;

	for (unsigned i = 0; i < manager_rounds && !broken; i++) {
		manage(6, &seed);
		if (i % 16 == 0) {
			brief_life(6, desc);
		}
	}
	return NULL;
}

// Everybody is runnable and has an interrupt: everybody must run, wherever a wake-up could be lost.
static void all_must_run(void)
{
	for (unsigned hd = 1; hd <= VMS; hd++) {
		for (unsigned i = 0; i < VCPUS; i++) {
			if (!svm[hd]->vcpu[i]) {
				(void)call(7, NULL, TM_HC_VCPU_CREATE, hd, i, 0, 0, 0);
				svm[hd]->vcpu[i]->powered_on = true;
			}
			if (call(7, NULL, TM_HC_VCPU_SCHED_SET, hd, i, 2, 0, 1000)) {
				broke("SCHED_SET");
			}
		}
	}
	for (unsigned hd = 1; hd <= VMS; hd++) {
		for (unsigned i = 0; i < VCPUS; i++) {
			uint64_t before = __atomic_load_n(&progress[hd][i], __ATOMIC_SEQ_CST);
			unsigned tries = 0;

			while (before == __atomic_load_n(&progress[hd][i], __ATOMIC_SEQ_CST)) {
				struct vcpu *v = svm[hd]->vcpu[i];

				/* Whoever came to a stop is run again; one wake-up, not many. */
				(void)call(7, NULL, TM_HC_VCPU_RUN, hd, i, 0, 0, 0);
				if (__atomic_load_n(&v->state, __ATOMIC_ACQUIRE) == TM_VCPU_WAITING) {
					__atomic_store_n(&v->arch.irq_pending, true, __ATOMIC_SEQ_CST);
					vcpu_irq_kick(v);
				}
				usleep(1000);
				if (++tries > 5000) {
					broke("a vCPU that does not run");
					return;
				}
			}
		}
	}
}

TEST(all_at_once)
{
	pthread_t t[CPUS], m;
	unsigned seed = (unsigned)check_seed();
	uint64_t desc;
	struct tm_vm_desc *d;

	begin(CPUS, VCPUS, 0, 0);
	svm[1] = vm;
	svm[2] = world_guest(VCPUS, 256, TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_SPILL);
	CHECK(svm[1]->handle == 1 && svm[2]->handle == 2);
	desc = world_base + 8 * PAGE_SIZE;
	d = world_ptr(desc);
	*d = (struct tm_vm_desc){.vcpus = 2, .name = "brief", .pool_size = 64 * PAGE_SIZE};
	d->pool_gpa = world_mem(64, PAGE_SIZE);
	for (unsigned i = 0; i < VMS * VCPUS; i++) {
		CHECK_EQ(hc(TM_HC_VCPU_RUN, 1 + i / VCPUS, i % VCPUS, 0, 0, 0, 0), 0);
	}
	threads = true;
	stopping = false;
	for (uintptr_t i = 0; i < CPUS; i++) {
		CHECK(pthread_create(&t[i], NULL, cpu_main, (void *)i) == 0);
	}
	CHECK(pthread_create(&m, NULL, second_manager, &desc) == 0);
	for (unsigned i = 0; i < manager_rounds && !broken; i++) {
		manage(7, &seed);
	}
	pthread_join(m, NULL);
	for (unsigned round = 0; round < 20 && !broken; round++) {
		all_must_run();
	}
	if (broken) {
		fprintf(stderr, "%s\n", broken_why);
		abort();	/* CPUs may hang: no way back */
	}
	for (unsigned hd = 1; hd <= VMS; hd++) {	/* as they are: running, queued, waiting */
		int64_t s;

		do {
			s = call(7, NULL, TM_HC_VM_DESTROY, hd, 0, 0, 0, 0);
		} while (s == TM_CONTINUE);
		EXPECT(s == 0);
	}
	__atomic_store_n(&stopping, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < CPUS; i++) {
		pthread_join(t[i], NULL);
		EXPECT(pcpus[i].queued == 0 && !pcpus[i].current && !pcpus[i].handling);
	}
	threads = false;
	world_guests = 0;
	EXPECT(short_lived >= manager_rounds / 16);
	/* The pool of 256 KiB was taken out of the middle of a 2 MiB leaf: the manager's own map
	 * has one more table, once. */
	EXPECT(free_before - page_alloc_free_count() <= 1);
	EXPECT(owner_range_is(hpa(world_base), WORLD_MANAGER_RAM / PAGE_SIZE,
			      owner_of(OWNER_MANAGER, MANAGER_HANDLE)));
}

CHECK_MAIN()
