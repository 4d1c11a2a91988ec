// SPDX-License-Identifier: Apache-2.0
// ARCH: x86
// LINK: arch/x86/board/lapic.c arch/x86/board/lapic_regs.c
// LINK: arch/x86/board/lapic_icr.c arch/x86/board/lapic_timer.c
// LINK: arch/x86/board/ioapic.c arch/x86/board/pic.c arch/x86/board/pit.c arch/x86/board/cmos.c
// LINK: arch/x86/board/ports.c arch/x86/board/board.c arch/x86/board/uart.c arch/x86/board/state.c
//
// The virtual x86 board, without a CPU: destinations and delivery modes against a model of the
// manual's tables, priorities, the three timers, the 8259s against a model, what Linux does to
// calibrate and to find a UART, state there and back, and hostile accesses to everything. Locks are
// counted and their ranks checked; timers run on a clock that only the test moves.
#include "check.h"

#include <arch/time.h>
#include <arch/vcpu.h>
#include <hyp/console.h>
#include <hyp/sched.h>
#include <hyp/vm.h>
#include <pthread.h>
#include <sched.h>

#include "../../arch/x86/board/board_priv.h"

#define VCPUS 20u
#define FREQ 1000000000ull	/* a tick is a nanosecond */
#define US 1000ull
#define MS 1000000ull

static struct vm vm;
static struct vcpu vcpus[VCPUS];
static _Thread_local struct vcpu *current;
static struct check_rng rng;

// ---- what the board needs of the rest -----------------------------------------------------------

static _Thread_local uint16_t held[8];
static _Thread_local unsigned depth;

void spin_init(struct spinlock *l, enum lock_rank rank)
{
	*l = (struct spinlock){.rank = (uint16_t)rank};
}

static void rank_check(unsigned rank)
{
	for (unsigned i = 0; i < depth; i++) {
		CHECK(held[i] < rank);
	}
}

void spin_lock(struct spinlock *l)
{
	CHECK(!l->owner && l->rank);
	rank_check(l->rank);
	l->owner = 1;
	held[depth++] = l->rank;
}

void spin_unlock(struct spinlock *l)
{
	CHECK(l->owner && depth && held[depth - 1] == l->rank);
	l->owner = 0;
	depth--;
}

static uint64_t now_ticks;
static unsigned kicks[VCPUS], inits[VCPUS], sipis[VCPUS], sipi_vector;
static unsigned shutdowns, shutdown_type;

uint64_t arch_time_now(void) { return now_ticks; }
uint64_t arch_time_freq(void) { return FREQ; }
struct vcpu *vcpu_current(void) { return current; }

void vcpu_irq_kick(struct vcpu *v)
{
	rank_check(LOCK_VCPU);
	__atomic_fetch_add(&kicks[v->id], 1, __ATOMIC_RELAXED);
}

void vcpu_init_signal(struct vcpu *v)
{
	CHECK_EQ(depth, 0);
	inits[v->id]++;
}

void vcpu_sipi(struct vcpu *v, unsigned vector)
{
	CHECK_EQ(depth, 0);
	sipis[v->id]++;
	sipi_vector = vector;
}

void vm_shutdown(struct vm *m, uint32_t type)
{
	CHECK(m == &vm && depth == 0);
	shutdowns++;
	shutdown_type = type;
}

int mmio_add(struct vm *m, const struct mmio_region *r)
{
	m->mmio.region[m->mmio.count++] = *r;
	return 0;
}

static struct hyptimer *timers[VCPUS + 4];
static unsigned callbacks;

void hyptimer_cancel(struct hyptimer *t)
{
	rank_check(LOCK_TIMER);
	for (unsigned i = 0; i < ARRAY_SIZE(timers); i++) {
		timers[i] = timers[i] == t ? NULL : timers[i];
	}
	t->armed = false;
}

void hyptimer_cancel_wait(struct hyptimer *t) { hyptimer_cancel(t); }

void hyptimer_arm(struct hyptimer *t, uint64_t deadline)
{
	unsigned i = 0;

	hyptimer_cancel(t);
	CHECK(t->fn);
	while (timers[i]) {
		CHECK(++i < ARRAY_SIZE(timers));
	}
	timers[i] = t;
	t->deadline = deadline;
	t->armed = true;
}

static void advance(uint64_t by)
{
	uint64_t end = now_ticks + by;

	for (;;) {
		struct hyptimer *t = NULL;

		for (unsigned i = 0; i < ARRAY_SIZE(timers); i++) {
			if (timers[i] && (!t || timers[i]->deadline < t->deadline)) {
				t = timers[i];
			}
		}
		if (!t || t->deadline > end) {
			break;
		}
		now_ticks = MAX(now_ticks, t->deadline);
		hyptimer_cancel(t);
		callbacks++;
		t->fn(t);
	}
	now_ticks = end;
}

static char printed[256], typed[256];
static size_t printed_len, typed_len;

void console_vm_write(struct vm *m, const char *s, size_t len)
{
	(void)m;
	CHECK_EQ(depth, 0);
	for (size_t i = 0; i < len && printed_len < sizeof(printed); i++) {
		printed[printed_len++] = s[i];
	}
}

size_t console_vm_read(struct vm *m, char *s, size_t len)
{
	size_t n = MIN(len, typed_len);

	(void)m;
	rank_check(LOCK_CONSOLE);
	memcpy(s, typed, n);
	typed_len -= n;
	memmove(typed, typed + n, typed_len);
	return n;
}

// ---- a machine ----------------------------------------------------------------------------------

static void power_on(void)
{
	memset(&vm, 0, sizeof(vm));
	memset(vcpus, 0, sizeof(vcpus));
	memset(timers, 0, sizeof(timers));
	memset(kicks, 0, sizeof(kicks));
	memset(inits, 0, sizeof(inits));
	memset(sipis, 0, sizeof(sipis));
	depth = callbacks = shutdowns = 0;
	printed_len = typed_len = 0;
	current = NULL;
	now_ticks = 1000 * MS;
	vm.vcpus_max = VCPUS;
	CHECK_EQ(board_init(&vm), 0);
	for (unsigned i = 0; i < VCPUS; i++) {
		vm.vcpu[i] = &vcpus[i];
		vcpus[i].vm = &vm;
		vcpus[i].id = (uint16_t)i;
		lapic_vcpu_init(&vcpus[i]);
	}
	rng = check_rng_make(11);
}

static uint64_t mmio(struct vcpu *v, unsigned region, uint64_t off, unsigned len, bool write,
		     uint64_t data)
{
	struct mmio_region *r = &vm.mmio.region[region];
	struct mmio_access a = {.offset = off, .len = len, .write = write, .data = data};

	current = v;
	r->access(v, r->dev, &a);
	current = NULL;
	CHECK_EQ(depth, 0);
	return a.data;
}

static void lw(struct vcpu *v, unsigned off, uint32_t val) { mmio(v, 0, off, 4, true, val); }
static uint32_t lr(struct vcpu *v, unsigned off) { return (uint32_t)mmio(v, 0, off, 4, false, 0); }

static void io_write(unsigned reg, uint32_t val)
{
	mmio(&vcpus[0], 1, 0, 4, true, reg);
	mmio(&vcpus[0], 1, 0x10, 4, true, val);
}

static uint32_t io_read(unsigned reg)
{
	mmio(&vcpus[0], 1, 0, 4, true, reg);
	return (uint32_t)mmio(&vcpus[0], 1, 0x10, 4, false, 0);
}

static void redir(unsigned pin, uint64_t e)
{
	io_write(0x11 + 2 * pin, (uint32_t)(e >> 32));
	io_write(0x10 + 2 * pin, (uint32_t)e);
}

static void out(uint16_t port, uint8_t val)
{
	uint32_t v = val;

	board_port(&vcpus[0], port, 1, true, &v);
}

static uint8_t in(uint16_t port)
{
	uint32_t v = 0xdeadbeef;

	board_port(&vcpus[0], port, 1, false, &v);
	return (uint8_t)v;
}

static uint32_t in4(uint16_t port)
{
	uint32_t v = 0;

	board_port(&vcpus[0], port, 4, false, &v);
	return v;
}

static bool wrmsr(struct vcpu *v, uint32_t msr, uint64_t val)
{
	bool ok;

	current = v;
	ok = lapic_msr(v, msr, true, &val);
	current = NULL;
	CHECK_EQ(depth, 0);
	return ok;
}

static uint64_t rdmsr(struct vcpu *v, uint32_t msr)
{
	uint64_t val = ~0ull;

	CHECK(lapic_msr(v, msr, false, &val));
	return val;
}

static void x2apic(struct vcpu *v) { CHECK(wrmsr(v, 0x1b, rdmsr(v, 0x1b) | 0xc00)); }
static void enable(struct vcpu *v) { lw(v, 0xf0, 0x1ff); }

static int take(struct vcpu *v)
{
	int pending = board_irq_pending(v), got;

	current = v;
	got = board_irq_accept(v);
	current = NULL;
	CHECK_EQ(got, pending);
	return got;
}

static bool irr(const struct vcpu *v, unsigned vector)
{
	return v->arch.lapic.irr[vector / 32] >> (vector % 32) & 1;
}

// ---- ICR ----------------------------------------------------------------------------------------

struct model_cpu {
	bool on, x2, sw;	/* globally enabled, x2APIC mode, software enabled */
	uint8_t ldr, tpr;
	bool flat;
};
static struct model_cpu mc[VCPUS];

static void random_cpu(unsigned i)
{
	struct vcpu *v = &vcpus[i];
	struct model_cpu *c = &mc[i];
	uint64_t r = check_rand(&rng);

	lapic_reset(v, false);
	v->arch.nmi_pending = 0;
	inits[i] = sipis[i] = 0;
	*c = (struct model_cpu){
		.on = (r & 15) != 0,
		.x2 = (r >> 4 & 3) == 0,
		.sw = (r >> 6 & 7) != 0,
		.ldr = (uint8_t)(r >> 16),
		.tpr = (uint8_t)(r >> 24),
		.flat = r >> 9 & 1,
	};
	lw(v, 0xf0, c->sw ? 0x1ff : 0xff);
	lw(v, 0xd0, (uint32_t)c->ldr << 24);
	lw(v, 0xe0, c->flat ? 0xffffffff : 0x0fffffff);
	lw(v, 0x80, c->tpr);
	if (!c->on) {
		c->x2 = false;
		CHECK(wrmsr(v, 0x1b, rdmsr(v, 0x1b) & ~0x800ull));
		c->sw = false;
	} else if (c->x2) {
		x2apic(v);
	}
}

/* From the manual's words, as sets: who is meant. */
static uint32_t model_dest(bool wide, uint32_t dest, bool logical)
{
	uint32_t set = 0;

	for (unsigned i = 0; i < VCPUS; i++) {
		const struct model_cpu *c = &mc[i];
		bool in_set;

		if (!c->on) {
			continue;
		}
		if (!logical) {
			in_set = dest == i || dest == (wide ? 0xffffffffu : 0xffu);
		} else if (c->x2) {
			/* Logical id: cluster i / 16, bit i % 16. */
			in_set = (dest / 65536 == i / 16 && (dest >> (i % 16) & 1)) ||
				 (wide && dest == 0xffffffffu);
		} else if (dest > 255) {
			in_set = dest == 0xffffffffu;
		} else if (c->flat) {
			in_set = (dest & c->ldr) != 0;
		} else {
			bool cluster = dest / 16 == 15 || dest / 16 == c->ldr / 16u;

			in_set = cluster && (dest % 16 & c->ldr % 16u);
		}
		set |= (uint32_t)in_set << i;
	}
	return set;
}

static uint32_t random_dest(bool wide)
{
	switch (check_below(&rng, 5)) {
	case 0:
		return (uint32_t)check_below(&rng, VCPUS + 4);
	case 1:
		return wide ? 0xffffffff : 0xff;
	case 2:
		return wide ? (uint32_t)check_below(&rng, 3) << 16 | (uint32_t)check_below(&rng, 65536)
			    : (uint32_t)check_below(&rng, 256);
	default:
		return (uint32_t)check_rand(&rng) & (wide ? 0xffffffff : 0xff);
	}
}

TEST(icr_against_the_manual)
{
	power_on();
	for (unsigned i = 0; i < VCPUS; i++) {
		random_cpu(i);
	}
	for (unsigned round = 0; round < 100000; round++) {
		unsigned s = (unsigned)check_below(&rng, VCPUS);
		unsigned mode = (unsigned)check_below(&rng, 8), hand = (unsigned)check_below(&rng, 4);
		uint8_t vector = (uint8_t)check_rand(&rng);
		bool logical = check_rand(&rng) & 1, assert_it = check_below(&rng, 8) != 0;
		uint32_t lo, dest, set, want = 0, fixed = 0;

		random_cpu((unsigned)check_below(&rng, VCPUS));
		if (!mc[s].on) {
			continue;
		}
		dest = random_dest(mc[s].x2);
		lo = vector | mode << 8 | (uint32_t)logical << 11 | (uint32_t)assert_it << 14 | hand << 18;
		set = model_dest(mc[s].x2, dest, logical);
		if (hand) {
			uint32_t all = 0;

			for (unsigned i = 0; i < VCPUS; i++) {
				all |= (uint32_t)mc[i].on << i;
			}
			set = hand == 1 ? 1u << s : hand == 2 ? all : all & ~(1u << s);
			if (hand < 3 && mode != 0) {
				set = 0;
			}
		}
		for (unsigned i = 0; i < VCPUS; i++) {
			fixed |= (set >> i & mc[i].sw) << i;
			memset(vcpus[i].arch.lapic.irr, 0, sizeof(vcpus[i].arch.lapic.irr));
			vcpus[i].arch.nmi_pending = 0;
			inits[i] = sipis[i] = 0;
			vcpus[i].arch.lapic.esr_next = 0;
		}
		if (mc[s].x2) {
			CHECK(wrmsr(&vcpus[s], 0x830, (uint64_t)dest << 32 | lo));
		} else {
			lw(&vcpus[s], 0x310, dest << 24);
			lw(&vcpus[s], 0x300, lo);
		}
		if ((mode == 0 || mode == 1) && vector < 16) {
			CHECK_EQ(vcpus[s].arch.lapic.esr_next, 0x20);
		} else if (mode == 0) {
			want = fixed;
		} else if (mode == 1 && fixed) {
			unsigned best = 0;

			for (unsigned class = 0; class < 16 && !want; class++) {
				for (best = 0; best < VCPUS && !want; best++) {
					want = (fixed >> best & 1) && mc[best].tpr / 16u == class ?
					       1u << best : 0;
				}
			}
		}
		for (unsigned i = 0; i < VCPUS; i++) {
			CHECK_EQ(irr(&vcpus[i], vector), want >> i & 1);
			CHECK_EQ(vcpus[i].arch.nmi_pending, mode == 4 && (set >> i & 1));
			CHECK_EQ(inits[i], mode == 5 && assert_it && (set >> i & 1));
			CHECK_EQ(sipis[i], mode == 6 && (set >> i & 1));
		}
		CHECK(mode != 6 || !set || sipi_vector == vector);
	}
}

TEST(nmis_are_counted_to_two)
{
	power_on();
	for (unsigned i = 0; i < 5; i++) {
		lw(&vcpus[0], 0x310, 1u << 24);
		lw(&vcpus[0], 0x300, 0x4400);
		CHECK_EQ(vcpus[1].arch.nmi_pending, MIN(i + 1, 2u));
	}
	CHECK(kicks[1] == 5);
}

// ---- priorities ---------------------------------------------------------------------------------

TEST(priorities_against_a_model)
{
	struct vcpu *v = &vcpus[3];
	bool pend[256] = {false}, serve[256] = {false};
	unsigned tpr = 0;

	power_on();
	enable(v);
	for (unsigned i = 0; i < 200000; i++) {
		unsigned vec = 16 + (unsigned)check_below(&rng, 240);
		int top = -1, busy = -1, want;

		for (int k = 255; k >= 0; k--) {
			top = top < 0 && pend[k] ? k : top;
			busy = busy < 0 && serve[k] ? k : busy;
		}
		want = top >= 0 && top / 16 > MAX(busy / 16, (int)tpr / 16) ? top : -1;
		if (busy < 0) {
			want = top >= 0 && top / 16 > (int)tpr / 16 ? top : -1;
		}
		CHECK_EQ(board_irq_pending(v), want);
		CHECK_EQ(lr(v, 0xa0), busy / 16 > (int)tpr / 16 ? (unsigned)busy & 0xf0 : tpr);
		switch (check_below(&rng, 5)) {
		case 0:
			CHECK_EQ(lapic_post(v, vec, false), !pend[vec]);
			pend[vec] = true;
			break;
		case 1:
			CHECK_EQ(take(v), want);
			if (want >= 0) {
				pend[want] = false;
				serve[want] = true;
			}
			break;
		case 2:
			lw(v, 0xb0, 0);
			if (busy >= 0) {
				serve[busy] = false;
			}
			break;
		case 3:
			tpr = (unsigned)check_rand(&rng) & 0xff;
			lw(v, 0x80, tpr);
			CHECK_EQ(lapic_cr8(v), tpr >> 4);
			break;
		default:
			tpr = (unsigned)check_below(&rng, 16) << 4;
			lapic_set_cr8(v, tpr >> 4);
			CHECK_EQ(lr(v, 0x80), tpr);
			break;
		}
		CHECK_EQ(lr(v, 0x200 + vec / 32 * 16) >> (vec % 32) & 1, pend[vec]);
		CHECK_EQ(lr(v, 0x100 + vec / 32 * 16) >> (vec % 32) & 1, serve[vec]);
	}
}

// Asked by the CPU that has put it away, while it ends an interrupt on another one.
TEST(asked_in_the_middle_of_an_eoi)
{
	struct vcpu *v = &vcpus[3];

	power_on();
	enable(v);
	CHECK(lapic_post(v, 0x80, false));
	CHECK_EQ(board_irq_accept(v), 0x80);
	CHECK(lapic_post(v, 0x40, false));
	CHECK_EQ(board_irq_pending(v), -1);
	v->arch.lapic.isr[4] = 0;
	CHECK_EQ(board_irq_pending(v), 0x40);
}

TEST(only_others_are_kicked)
{
	power_on();
	enable(&vcpus[0]);
	enable(&vcpus[1]);
	lw(&vcpus[0], 0x300, 0x40040);		/* to itself */
	CHECK_EQ(kicks[0], 0);
	lw(&vcpus[0], 0x300, 0xc0041);		/* to all others */
	CHECK_EQ(kicks[0], 0);
	CHECK_EQ(kicks[1], 1);
	CHECK_EQ(kicks[2], 0);			/* software-disabled */
	CHECK_EQ(take(&vcpus[0]), 0x40);
	CHECK_EQ(take(&vcpus[1]), 0x41);
	CHECK_EQ(take(&vcpus[2]), -1);
}

#define POSTERS 2u
#define ROUNDS 20000u
#define BURST 4u
static uint64_t fresh_posts, posts_round, posts_done;

static void *poster(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg;

	for (uint64_t round = 1; round <= ROUNDS; round++) {
		while (__atomic_load_n(&posts_round, __ATOMIC_ACQUIRE) < round) {
			sched_yield();
		}
		for (unsigned i = 0; i < BURST; i++) {
			bool fresh = lapic_post(&vcpus[0], 32 + 30 * (i & 1) + n, false);

			__atomic_fetch_add(&fresh_posts, fresh, __ATOMIC_RELAXED);
		}
		__atomic_fetch_add(&posts_done, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Every post that found its vector not pending is one interrupt taken, no more and no less, and
 * taken although nothing else comes to bring it up. */
TEST(posts_from_other_cpus)
{
	pthread_t thread[POSTERS];
	uint64_t taken = 0;
	bool done;

	power_on();
	enable(&vcpus[0]);
	fresh_posts = posts_round = posts_done = 0;
	for (unsigned i = 0; i < POSTERS; i++) {
		CHECK_EQ(pthread_create(&thread[i], NULL, poster, (void *)(uintptr_t)i), 0);
	}
	current = &vcpus[0];
	for (uint64_t round = 1; round <= ROUNDS; round++) {
		__atomic_store_n(&posts_round, round, __ATOMIC_RELEASE);
		do {
			done = __atomic_load_n(&posts_done, __ATOMIC_ACQUIRE) == round * POSTERS;
			while (board_irq_accept(&vcpus[0]) >= 0) {
				taken++;
				lapic_eoi(&vcpus[0]);
			}
			sched_yield();
		} while (!done);
		/* Not CHECK: the others would wait for ever. */
		EXPECT(taken == __atomic_load_n(&fresh_posts, __ATOMIC_RELAXED));
		taken = __atomic_load_n(&fresh_posts, __ATOMIC_RELAXED);
	}
	current = NULL;
	for (unsigned i = 0; i < POSTERS; i++) {
		pthread_join(thread[i], NULL);
	}
	CHECK_EQ(kicks[0], fresh_posts);
}

// ---- registers ----------------------------------------------------------------------------------

TEST(registers_and_modes)
{
	struct vcpu *v = &vcpus[17];
	uint64_t val = 0;

	power_on();
	CHECK_EQ(lr(v, 0x20), 17u << 24);
	CHECK_EQ(lr(v, 0x30), 0x50014);
	CHECK_EQ(lr(v, 0x350), 0x10000);
	CHECK_EQ(lr(&vcpus[0], 0x350), 0x700);
	CHECK_EQ(rdmsr(v, 0x1b), 0xfee00800);
	CHECK_EQ(rdmsr(&vcpus[0], 0x1b), 0xfee00900);
	/* Software-disabled: no LVT entry can be unmasked. */
	lw(v, 0x350, 0x700);
	CHECK_EQ(lr(v, 0x350), 0x10700);
	enable(v);
	lw(v, 0x350, 0x700);
	CHECK_EQ(lr(v, 0x350), 0x700);
	lw(v, 0xf0, 0xff);
	CHECK_EQ(lr(v, 0x350), 0x10700);
	/* Errors: shown after a write, once. */
	lr(v, 0x3f0);
	CHECK_EQ(lr(v, 0x280), 0);
	lw(v, 0x280, 0);
	CHECK_EQ(lr(v, 0x280), 0x80);
	lw(v, 0x280, 0);
	CHECK_EQ(lr(v, 0x280), 0);
	/* Transitions of IA32_APIC_BASE. */
	CHECK(!lapic_msr(v, 0x802, false, &val));
	CHECK(!wrmsr(v, 0x1b, 0xfee00400));
	CHECK(!wrmsr(v, 0x1b, 0xfed00800));
	CHECK(!wrmsr(v, 0x1b, 0xfee00801));
	x2apic(v);
	CHECK_EQ(rdmsr(v, 0x802), 17);
	CHECK_EQ(rdmsr(v, 0x80d), 1u << 16 | 2);
	CHECK_EQ(lr(v, 0x20), 0xffffffff);
	CHECK(!wrmsr(v, 0x1b, 0xfee00800));
	CHECK(!wrmsr(v, 0x80d, 0));
	CHECK(!wrmsr(v, 0x80b, 1));
	CHECK(wrmsr(v, 0x80b, 0));
	CHECK(!wrmsr(v, 0x80f, 0x1000));
	CHECK(wrmsr(v, 0x80f, 0x1ff));
	CHECK(wrmsr(v, 0x83f, 0x55));
	CHECK(!wrmsr(v, 0x83f, 0x155));
	CHECK(!lapic_msr(v, 0x83f, false, &val));
	CHECK(!lapic_msr(v, 0x831, false, &val));
	CHECK(!lapic_msr(v, 0x80e, false, &val));
	CHECK_EQ(take(v), 0x55);
	CHECK(wrmsr(v, 0x1b, 0xfee00000));
	CHECK_EQ(rdmsr(v, 0x1b), 0xfee00000);
	CHECK(!wrmsr(v, 0x1b, 0xfee00c00));
	CHECK(wrmsr(v, 0x1b, 0xfee00800));
	/* INIT keeps id and mode, power-on does not. */
	x2apic(v);
	lapic_reset(v, true);
	CHECK(lapic_is_x2apic(v));
	lapic_reset(v, false);
	CHECK(!lapic_is_x2apic(v));
}

// ---- the local APIC's timer ---------------------------------------------------------------------

TEST(timer_one_shot)
{
	struct vcpu *v = &vcpus[1];

	power_on();
	enable(v);
	lw(v, 0x3e0, 3);			/* by 16 */
	lw(v, 0x320, 0x30);
	lw(v, 0x380, 1000);			/* 16000 ticks */
	advance(8000);
	CHECK_EQ(lr(v, 0x390), 500);
	CHECK_EQ(take(v), -1);
	advance(7999);
	CHECK_EQ(take(v), -1);
	advance(1);
	CHECK_EQ(take(v), 0x30);
	CHECK_EQ(lr(v, 0x390), 0);
	lw(v, 0xb0, 0);
	advance(1000 * MS);
	CHECK_EQ(take(v), -1);
	CHECK_EQ(callbacks, 1);
	/* Masked: runs, says nothing. */
	lw(v, 0x320, 0x10030);
	lw(v, 0x380, 10);
	advance(1 * MS);
	CHECK_EQ(lr(v, 0x390), 0);
	lw(v, 0x320, 0x30);
	CHECK_EQ(take(v), -1);
	/* 0 stops it. */
	lw(v, 0x380, 1000);
	lw(v, 0x380, 0);
	advance(1 * MS);
	CHECK_EQ(take(v), -1);
	/* Vectors below 16 are errors. */
	lw(v, 0x320, 5);
	lw(v, 0x380, 1);
	advance(1 * MS);
	CHECK_EQ(take(v), -1);
	lw(v, 0x280, 0);
	CHECK_EQ(lr(v, 0x280), 0x40);
}

TEST(timer_periodic)
{
	struct vcpu *v = &vcpus[1];
	unsigned got = 0;

	power_on();
	enable(v);
	lw(v, 0x3e0, 0xb);			/* by 1 */
	lw(v, 0x320, 0x20030);
	lw(v, 0x380, 1 * MS);
	for (unsigned i = 0; i < 1000; i++) {
		advance(100 * US);
		if (take(v) >= 0) {
			got++;
			lw(v, 0xb0, 0);
		}
	}
	CHECK_EQ(got, 100);
	/* Nobody takes it: one callback, one tick, and then the rhythm goes on. */
	callbacks = 0;
	advance(1000 * MS);
	CHECK_EQ(callbacks, 1);
	CHECK_EQ(take(v), 0x30);
	lw(v, 0xb0, 0);
	/* The last of those missed is due at once: as hardware has one more in IRR. */
	CHECK_EQ(take(v), 0x30);
	lw(v, 0xb0, 0);
	CHECK_EQ(take(v), -1);
	CHECK(lr(v, 0x390) <= 1 * MS && lr(v, 0x390) > 0);
	advance(1 * MS);
	CHECK_EQ(take(v), 0x30);
	lw(v, 0xb0, 0);
	/* Hostile periods: bounded callbacks, whatever the guest does. */
	for (unsigned d = 0; d < 16; d++) {
		lw(v, 0x3e0, d);
		lw(v, 0x380, 1);
		callbacks = got = 0;
		for (unsigned i = 0; i < 1000; i++) {
			advance(10 * US);
			if (take(v) >= 0) {
				got++;
				lw(v, 0xb0, 0);
			}
		}
		CHECK(callbacks <= 510 && got <= 510 && got > 300);
	}
	lw(v, 0x320, 0x30030);			/* masked, then back: no tick of the past */
	advance(5 * MS);
	lw(v, 0x320, 0x20030);
	CHECK_EQ(take(v), -1);
	advance(100 * US);
	CHECK_EQ(take(v), 0x30);
}

TEST(timer_deadline)
{
	struct vcpu *v = &vcpus[1];

	power_on();
	v->arch.tsc_offset = (uint64_t)-(500 * MS);	/* the guest's TSC is at 500 ms */
	enable(v);
	CHECK(wrmsr(v, 0x6e0, 1));			/* not in this mode: ignored */
	CHECK_EQ(rdmsr(v, 0x6e0), 0);
	lw(v, 0x320, 0x40031);
	CHECK(wrmsr(v, 0x6e0, 510 * MS));
	CHECK_EQ(rdmsr(v, 0x6e0), 510 * MS);
	lw(v, 0x380, 1);				/* dead */
	CHECK_EQ(lr(v, 0x380), 0);
	CHECK_EQ(lr(v, 0x390), 0);
	advance(10 * MS - 1);
	CHECK_EQ(take(v), -1);
	advance(1);
	CHECK_EQ(take(v), 0x31);
	CHECK_EQ(rdmsr(v, 0x6e0), 0);
	lw(v, 0xb0, 0);
	advance(100 * MS);
	CHECK_EQ(take(v), -1);
	/* In the past: once, now. */
	CHECK(wrmsr(v, 0x6e0, 1));
	CHECK_EQ(take(v), 0x31);
	lw(v, 0xb0, 0);
	advance(100 * MS);
	CHECK_EQ(take(v), -1);
	/* Never, and disarmed. */
	CHECK(wrmsr(v, 0x6e0, ~0ull));
	advance(1000 * MS);
	CHECK_EQ(take(v), -1);
	CHECK(wrmsr(v, 0x6e0, now_ticks + v->arch.tsc_offset + 100));
	CHECK(wrmsr(v, 0x6e0, 0));
	advance(1 * MS);
	CHECK_EQ(take(v), -1);
	/* The guest's TSC is moved: the deadline with it. */
	CHECK(wrmsr(v, 0x6e0, now_ticks + v->arch.tsc_offset + 10 * MS));
	v->arch.tsc_offset += 9 * MS;
	lapic_tsc_changed(v);
	advance(1 * MS);
	CHECK_EQ(take(v), 0x31);
	lw(v, 0xb0, 0);
	/* Another mode forgets it. */
	CHECK(wrmsr(v, 0x6e0, now_ticks + v->arch.tsc_offset + 100));
	lw(v, 0x320, 0x31);
	advance(1 * MS);
	CHECK_EQ(take(v), -1);
	CHECK_EQ(rdmsr(v, 0x6e0), 0);
}

// ---- I/O APIC -----------------------------------------------------------------------------------

TEST(ioapic_level_and_edge)
{
	struct vcpu *v = &vcpus[2];

	power_on();
	enable(v);
	CHECK_EQ(io_read(1), 0x170020);
	io_write(0, 0xff123456);
	CHECK_EQ(io_read(0), 0x0f000000);
	CHECK_EQ(io_read(0x10), 0x10000);
	redir(20, 2ull << 56 | 0x8000 | 0x60);
	CHECK_EQ(io_read(0x10 + 40), 0x8060);
	CHECK_EQ(arch_irq_line(&vm, 20, true), 0);
	CHECK_EQ(kicks[2], 1);
	CHECK_EQ(io_read(0x10 + 40), 0xc060);		/* remote IRR */
	CHECK_EQ(arch_irq_line(&vm, 20, true), 0);
	CHECK_EQ(take(v), 0x60);
	CHECK_EQ(lr(v, 0x1b0), 1);			/* TMR */
	CHECK_EQ(take(v), -1);
	CHECK_EQ(arch_irq_line(&vm, 20, false), 0);	/* falls and rises in service: only its end */
	CHECK_EQ(arch_irq_line(&vm, 20, true), 0);	/* brings it again */
	CHECK(!irr(v, 0x60));
	lw(v, 0xb0, 0);					/* still up: again */
	CHECK_EQ(take(v), 0x60);
	CHECK_EQ(arch_irq_line(&vm, 20, false), 0);
	lw(v, 0xb0, 0);
	CHECK_EQ(take(v), -1);
	CHECK_EQ(io_read(0x10 + 40), 0x8060);
	/* Up while masked; unmasked: comes. EOI register: the same as the APIC's. */
	redir(20, 2ull << 56 | 0x18060);
	CHECK_EQ(arch_irq_line(&vm, 20, true), 0);
	CHECK_EQ(take(v), -1);
	redir(20, 2ull << 56 | 0x8060);
	CHECK_EQ(take(v), 0x60);
	mmio(v, 1, 0x40, 4, true, 0x60);
	lw(v, 0xb0, 0);
	CHECK_EQ(take(v), 0x60);
	/* Made an edge: remote IRR is gone; made a level: it comes again. */
	redir(20, 2ull << 56 | 0x60);
	CHECK_EQ(io_read(0x10 + 40), 0x60);
	CHECK_EQ(arch_irq_line(&vm, 20, false), 0);
	lw(v, 0xb0, 0);
	/* An edge: once a rise, and lost while masked. */
	CHECK_EQ(arch_irq_line(&vm, 20, true), 0);
	CHECK_EQ(take(v), 0x60);
	CHECK_EQ(lr(v, 0x1b0), 0);
	lw(v, 0xb0, 0);
	CHECK_EQ(arch_irq_line(&vm, 20, true), 0);
	CHECK_EQ(take(v), -1);
	CHECK_EQ(arch_irq_line(&vm, 20, false), 0);
	redir(20, 2ull << 56 | 0x10060);
	CHECK_EQ(arch_irq_line(&vm, 20, true), 0);
	redir(20, 2ull << 56 | 0x60);
	CHECK_EQ(take(v), -1);
	CHECK_EQ(arch_irq_line(&vm, 0, true), -TM_EINVAL);
	CHECK_EQ(arch_irq_line(&vm, 2, true), -TM_EINVAL);
	CHECK_EQ(arch_irq_line(&vm, 4, true), -TM_EINVAL);
	CHECK_EQ(arch_irq_line(&vm, 24, true), -TM_EINVAL);
	CHECK_EQ(arch_irq_line(&vm, ~0ull, true), -TM_EINVAL);
	/* NMI and lowest priority through a pin. */
	redir(21, 0xffull << 56 | 0x400);
	CHECK_EQ(arch_irq_line(&vm, 21, true), 0);
	CHECK_EQ(vcpus[9].arch.nmi_pending, 1);
	for (unsigned i = 0; i < 3; i++) {
		enable(&vcpus[i]);
		lw(&vcpus[i], 0xd0, 1u << (24 + i));
		lw(&vcpus[i], 0x80, i == 1 ? 0x10 : 0x20);
	}
	redir(22, 7ull << 56 | 0x900 | 0x70);
	CHECK_EQ(arch_irq_line(&vm, 22, true), 0);
	CHECK(!irr(&vcpus[0], 0x70) && irr(&vcpus[1], 0x70) && !irr(&vcpus[2], 0x70));
}

TEST(doorbell)
{
	power_on();
	CHECK_EQ(arch_doorbell_check(&vm, 1, 15), -TM_EINVAL);
	CHECK_EQ(arch_doorbell_check(&vm, 1, 256), -TM_EINVAL);
	CHECK_EQ(arch_doorbell_check(&vm, VCPUS, 32), -TM_EINVAL);
	CHECK_EQ(arch_doorbell_check(&vm, ~0ull, 32), -TM_EINVAL);
	CHECK_EQ(arch_doorbell_check(&vm, VCPUS - 1, 255), 0);
	arch_doorbell_ring(&vm);
	CHECK_EQ(arch_doorbell_bind(&vm, 19, 255), 255);
	arch_doorbell_ring(&vm);
	arch_doorbell_ring(&vm);
	CHECK_EQ(kicks[19], 1);
	enable(&vcpus[19]);
	CHECK_EQ(take(&vcpus[19]), 255);
	board_reset(&vm);
	enable(&vcpus[19]);
	arch_doorbell_ring(&vm);
	CHECK_EQ(take(&vcpus[19]), -1);
}

// ---- 8259 ---------------------------------------------------------------------------------------

static void pic_setup(uint8_t icw4)
{
	out(0x20, 0x11);
	out(0xa0, 0x11);
	out(0x21, 0x30);
	out(0xa1, 0x38);
	out(0x21, 4);
	out(0xa1, 2);
	out(0x21, icw4);
	out(0xa1, icw4);
	out(0x21, 0);
	out(0xa1, 0);
}

/* One 8259 as the data sheet tells it: requests, what is in service, an order. */
struct model_pic {
	bool req[8], busy[8], masked[8], level[8], line[8];
	unsigned first;		/* most urgent */
	bool special, auto_eoi, turn;
};
static struct model_pic mp[2];

static int model_signal(unsigned n)
{
	const struct model_pic *p = &mp[n];

	for (unsigned k = 0; k < 8; k++) {
		unsigned i = (p->first + k) % 8;

		if (p->busy[i] && !(p->special && p->masked[i])) {
			return -1;
		}
		if (p->req[i] && !p->masked[i]) {
			return (int)i;
		}
	}
	return -1;
}

static void model_cascade(void) { mp[0].req[2] = model_signal(1) >= 0; }

static void model_ack(unsigned n, unsigned i)
{
	struct model_pic *p = &mp[n];

	if (!p->level[i]) {
		p->req[i] = false;
	}
	if (!p->auto_eoi) {
		p->busy[i] = true;
	} else if (p->turn) {
		p->first = (i + 1) % 8;
	}
}

static int model_accept(void)
{
	int i = model_signal(0), k;

	if (i < 0) {
		return -1;
	}
	if (i == 2) {
		k = model_signal(1);
		model_ack(1, (unsigned)k);
		model_ack(0, 2);
		model_cascade();
		return 0x38 + k;
	}
	model_ack(0, (unsigned)i);
	return 0x30 + i;
}

static void model_eoi(unsigned n, int which, bool turn)
{
	struct model_pic *p = &mp[n];

	for (unsigned k = 0; which < 0 && k < 8; k++) {
		unsigned i = (p->first + k) % 8;

		which = p->busy[i] && !(p->special && p->masked[i]) ? (int)i : which;
	}
	if (which >= 0) {
		p->busy[which] = false;
		p->first = turn ? ((unsigned)which + 1) % 8 : p->first;
	}
}

static void pic_step(unsigned n)
{
	struct model_pic *p = &mp[n];
	uint16_t port = n ? 0xa0 : 0x20;
	unsigned i = (unsigned)check_below(&rng, 8);
	uint8_t mask;

	switch (check_below(&rng, 10)) {
	case 0:
		out(port, 0x20);
		model_eoi(n, -1, false);
		break;
	case 1:
		out(port, (uint8_t)(0x60 | i));
		model_eoi(n, (int)i, false);
		break;
	case 2:
		out(port, 0xa0);
		model_eoi(n, -1, true);
		break;
	case 3:
		out(port, (uint8_t)(0xe0 | i));
		model_eoi(n, (int)i, true);
		break;
	case 4:
		out(port, (uint8_t)(0xc0 | i));
		p->first = (i + 1) % 8;
		break;
	case 5:
		p->special = check_rand(&rng) & 1;
		out(port, p->special ? 0x68 : 0x48);
		break;
	case 6:
		mask = (uint8_t)(check_rand(&rng) & check_rand(&rng));
		out(port + 1, mask);
		for (unsigned k = 0; k < 8; k++) {
			p->masked[k] = mask >> k & 1;
		}
		break;
	case 7:
		p->turn = check_rand(&rng) & 1;
		out(port, p->turn ? 0x80 : 0x00);
		break;
	default:
		if (!(n == 0 && i == 2)) {
			bool up = check_rand(&rng) & 1;

			board_isa(&vm, n * 8 + i, up);
			p->req[i] = p->level[i] ? up : p->req[i] || (up && !p->line[i]);
			p->line[i] = up;
		}
		break;
	}
}

TEST(pic_against_a_model)
{
	for (unsigned round = 0; round < 200; round++) {
		bool aeoi = round & 1;

		power_on();
		rng = check_rng_make(round);
		memset(mp, 0, sizeof(mp));
		pic_setup(aeoi ? 3 : 1);
		mp[0].auto_eoi = mp[1].auto_eoi = aeoi;
		out(0x4d0, round & 2 ? 0x38 : 0);
		out(0x4d1, round & 2 ? 0x0e : 0);
		CHECK_EQ(in(0x4d0), round & 2 ? 0x38 : 0);
		for (unsigned i = 3; (round & 2) && i < 6; i++) {
			mp[0].level[i] = true;
			mp[1].level[i - 2] = true;
		}
		for (unsigned i = 0; i < 1000; i++) {
			pic_step((unsigned)check_below(&rng, 2));
			model_cascade();
			CHECK_EQ(vm.arch.board.pic_out, model_signal(0) >= 0);
			CHECK_EQ(board_irq_pending(&vcpus[0]) >= 0, model_signal(0) >= 0);
			CHECK_EQ(board_irq_pending(&vcpus[1]), -1);
			if (check_rand(&rng) & 1) {
				CHECK_EQ(take(&vcpus[0]), model_accept());
			}
			if (check_below(&rng, 20) == 0) {
				unsigned n = (unsigned)check_below(&rng, 2);
				int want = model_signal(n);

				out(n ? 0xa0 : 0x20, 0x0c);	/* poll */
				CHECK_EQ(in(n ? 0xa0 : 0x20), want < 0 ? 0 : 0x80 + want);
				if (want >= 0) {
					model_ack(n, (unsigned)want);
					model_cascade();
				}
			}
			for (unsigned n = 0; n < 2; n++) {
				unsigned isr = 0, irrs = 0;

				for (unsigned k = 0; k < 8; k++) {
					isr |= (unsigned)mp[n].busy[k] << k;
					irrs |= (unsigned)mp[n].req[k] << k;
				}
				out(n ? 0xa0 : 0x20, 0x0b);
				CHECK_EQ(in(n ? 0xa0 : 0x20), isr);
				out(n ? 0xa0 : 0x20, 0x0a);
				CHECK_EQ(in(n ? 0xa0 : 0x20), irrs);
			}
		}
	}
}

TEST(extint_goes_where_lint0_says)
{
	power_on();
	pic_setup(1);
	board_isa(&vm, 5, true);
	CHECK_EQ(kicks[0], 1);
	CHECK_EQ(kicks[1], 0);
	enable(&vcpus[0]);
	lw(&vcpus[0], 0x350, 0x10700);
	CHECK_EQ(take(&vcpus[0]), -1);
	enable(&vcpus[1]);
	lw(&vcpus[1], 0x350, 0x700);
	CHECK_EQ(take(&vcpus[1]), 0x35);
	CHECK_EQ(lr(&vcpus[1], 0x110), 0);	/* the APIC knows nothing of it */
	/* Without local APIC: the first CPU's. */
	out(0x20, 0x20);
	CHECK(wrmsr(&vcpus[0], 0x1b, 0xfee00100));
	CHECK_EQ(take(&vcpus[0]), -1);
	lw(&vcpus[1], 0x350, 0x10700);
	board_isa(&vm, 12, true);
	CHECK_EQ(take(&vcpus[0]), 0x3c);
	CHECK_EQ(take(&vcpus[1]), -1);
}

// ---- 8254, PM timer, clock ----------------------------------------------------------------------

TEST(pit_calibration_as_linux_does_it)
{
	uint64_t t0;
	unsigned last, turns = 0, pm;

	/* 10 ms through channel 2 in mode 0, gate by port 0x61. */
	power_on();
	out(0x61, (uint8_t)((in(0x61) & ~2) | 1));
	out(0x43, 0xb0);
	out(0x42, 11931 & 0xff);
	out(0x42, 11931 >> 8);
	t0 = now_ticks;
	pm = in4(0x608);
	while (!(in(0x61) & 0x20)) {
		advance(1 * US);
		CHECK(++turns < 100000);
	}
	CHECK(now_ticks - t0 > 9998 * US && now_ticks - t0 < 10002 * US);
	pm = in4(0x608) - pm;
	CHECK(pm > 35780 && pm < 35810);
	/* The quick way: the high byte falls steadily when read unlatched, low byte first. */
	out(0x43, 0xb0);
	out(0x42, 0xff);
	out(0x42, 0xff);
	in(0x42);
	last = in(0x42);
	CHECK_EQ(last, 0xff);
	t0 = now_ticks;
	for (unsigned want = 0xfe; want > 0xe0; want--) {
		for (turns = 0; turns < 1000; turns++) {
			in(0x42);
			if (in(0x42) == want) {
				break;
			}
			advance(1 * US);
		}
		CHECK(turns < 220);
	}
	CHECK(now_ticks - t0 > 30 * 214 * US && now_ticks - t0 < 30 * 216 * US);
	/* Gate off: it stands still; on again: it goes on. */
	out(0x43, 0xb0);
	out(0x42, 0);
	out(0x42, 0x10);
	advance(1 * MS);
	out(0x61, 0);
	advance(100 * MS);
	CHECK(!(in(0x61) & 0x20));
	out(0x61, 1);
	advance(2 * MS);
	CHECK(!(in(0x61) & 0x20));
	advance(1 * MS);
	CHECK(in(0x61) & 0x20);
}

TEST(pit_counts_latches_and_reads_back)
{
	unsigned lo, hi;

	power_on();
	out(0x43, 0x34);			/* channel 0, mode 2 */
	out(0x40, 0x00);
	CHECK_EQ(in(0x61) & 0x20, 0);
	out(0x40, 0x80);
	out(0x43, 0xe2);			/* read back status of channel 0 */
	CHECK_EQ(in(0x40), 0xb4);
	advance(1 * MS);
	out(0x43, 0x00);			/* latch */
	advance(5 * MS);
	out(0x43, 0x00);			/* again: the first stays */
	lo = in(0x40);
	hi = in(0x40);
	CHECK_EQ(lo | hi << 8, 0x8000 - 1193);
	out(0x43, 0xc2);			/* status and count */
	CHECK_EQ(in(0x40) & 0x7f, 0x34);
	lo = in(0x40);
	hi = in(0x40);
	CHECK_EQ(lo | hi << 8, 0x8000 - 7159);
	/* Control written, count not yet: null count. */
	out(0x43, 0x36);
	out(0x43, 0xe2);
	CHECK_EQ(in(0x40), 0xf6);
	out(0x40, 0x00);
	out(0x40, 0x00);			/* 65536 */
	out(0x43, 0xe2);
	CHECK_EQ(in(0x40), 0xb6);
	advance(30 * MS);			/* 35795 of 65536: second half */
	out(0x43, 0xe2);
	CHECK_EQ(in(0x40), 0x36);
	/* One byte only, and BCD. */
	out(0x43, 0x51);			/* channel 1, low byte, mode 0, BCD */
	out(0x41, 0x99);
	CHECK_EQ(in(0x41), 0x99);
	advance(10 * US);			/* 11 */
	CHECK_EQ(in(0x41), 0x88);
	CHECK_EQ(in(0x43), 0xff);
}

TEST(pit_interrupts)
{
	unsigned got = 0;

	/* 100 Hz through the 8259s. */
	power_on();
	out(0x43, 0x34);
	out(0x40, 11932 & 0xff);
	out(0x40, 11932 >> 8);
	advance(100 * MS);
	CHECK_EQ(callbacks, 0);			/* nobody listens */
	pic_setup(1);
	for (unsigned i = 0; i < 1000; i++) {
		advance(1 * MS);
		if (take(&vcpus[0]) == 0x30) {
			got++;
			out(0x20, 0x20);
		}
	}
	CHECK(got >= 99 && got <= 101);
	/* By pin 2 of the I/O APIC. */
	out(0x21, 0xff);
	callbacks = got = 0;
	advance(100 * MS);
	CHECK_EQ(callbacks, 0);
	enable(&vcpus[0]);
	redir(2, 0x40);
	for (unsigned i = 0; i < 1000; i++) {
		advance(1 * MS);
		if (take(&vcpus[0]) == 0x40) {
			got++;
			lw(&vcpus[0], 0xb0, 0);
		}
	}
	CHECK(got >= 99 && got <= 101);
	/* Hostile: the shortest count; first with somebody who takes it, then with nobody. */
	out(0x43, 0x14);
	out(0x40, 1);
	callbacks = 0;
	for (unsigned i = 0; i < 1000; i++) {
		advance(10 * US);
		if (take(&vcpus[0]) == 0x40) {
			lw(&vcpus[0], 0xb0, 0);
		}
	}
	CHECK(callbacks > 100 && callbacks <= 510);
	callbacks = 0;
	advance(1000 * MS);
	CHECK(callbacks <= 1001);
	/* One-shot. */
	(void)!take(&vcpus[0]);
	lw(&vcpus[0], 0xb0, 0);
	out(0x43, 0x30);
	out(0x40, 0);
	out(0x40, 0x10);
	callbacks = 0;
	advance(1000 * MS);
	CHECK_EQ(callbacks, 1);
	CHECK_EQ(take(&vcpus[0]), 0x40);
}

TEST(clock_power_and_reset)
{
	uint32_t val;

	power_on();
	out(0x70, 0x80 | 9);
	CHECK_EQ(in(0x71), 0x26);
	out(0x70, 0x32);
	CHECK_EQ(in(0x71), 0x20);
	out(0x70, 8);
	CHECK_EQ(in(0x71), 0x01);
	out(0x70, 6);
	CHECK_EQ(in(0x71), 5);
	now_ticks += (59ull * 86400 + 3600 * 13 + 60 * 7 + 42) * FREQ;	/* 2026-03-01 13:07:42 */
	out(0x70, 7);
	CHECK_EQ(in(0x71), 0x01);
	out(0x70, 8);
	CHECK_EQ(in(0x71), 0x03);
	out(0x70, 6);
	CHECK_EQ(in(0x71), 1);
	out(0x70, 4);
	CHECK_EQ(in(0x71), 0x13);
	out(0x70, 2);
	CHECK_EQ(in(0x71), 0x07);
	out(0x70, 0);
	CHECK_EQ(in(0x71), 0x42);
	now_ticks += (uint64_t)(730 + 364) * 86400 * FREQ;		/* 2028-02-29 in between */
	out(0x70, 7);
	CHECK_EQ(in(0x71), 0x27);
	out(0x70, 9);
	CHECK_EQ(in(0x71), 0x29);
	out(0x70, 0x15);
	CHECK_EQ(in(0x71), 0);
	/* PM1a: SCI_EN always, SLP_EN ends it; everything that resets. */
	val = 0;
	board_port(&vcpus[0], 0x604, 2, false, &val);
	CHECK_EQ(val, 1);
	val = 0x1400;
	board_port(&vcpus[0], 0x604, 2, true, &val);
	CHECK_EQ(shutdowns, 0);
	val = 0x3400;
	board_port(&vcpus[0], 0x604, 2, true, &val);
	CHECK(shutdowns == 1 && shutdown_type == TM_SHUTDOWN_OFF);
	out(0xcf9, 2);
	out(0x64, 0xd1);
	out(0x92, 2);
	CHECK_EQ(shutdowns, 1);
	out(0xcf9, 6);
	CHECK(shutdowns == 2 && shutdown_type == TM_SHUTDOWN_RESET);
	out(0x64, 0xfe);
	out(0x92, 1);
	CHECK_EQ(shutdowns, 4);
	/* PCI: nobody. */
	val = 0x80000000;
	board_port(&vcpus[0], 0xcf8, 4, true, &val);
	CHECK_EQ(in4(0xcf8), 0xffffffff);
	CHECK_EQ(in4(0xcfc), 0xffffffff);
	CHECK_EQ(in(0x80), 0xff);
	CHECK_EQ(in4(0xffff), 0xffffffff);
	CHECK_EQ(shutdowns, 4);
}

// ---- UART ---------------------------------------------------------------------------------------

static unsigned com(unsigned reg) { return in((uint16_t)(0x3f8 + reg)); }
static void com_w(unsigned reg, uint8_t val) { out((uint16_t)(0x3f8 + reg), val); }

TEST(uart_as_linux_finds_it)
{
	power_on();
	/* Is somebody there? */
	com_w(1, 0);
	CHECK_EQ(com(1), 0);
	com_w(1, 0xf);
	CHECK_EQ(com(1) & 0xf, 0xf);
	com_w(1, 0);
	/* Loopback: RTS and OUT2 come back as CTS and DCD. */
	com_w(4, 0x1a);
	CHECK_EQ(com(6) & 0xf0, 0x90);
	com_w(4, 0);
	/* Which one? */
	com_w(3, 0xbf);
	com_w(2, 0);
	com_w(3, 0);
	com_w(2, 1);
	CHECK_EQ(com(2) >> 6, 3);
	com_w(3, 0xbf);
	CHECK(com(2) != 0);
	com_w(3, 0x80);
	com_w(2, 0x21);
	CHECK_EQ(com(2) & 0x20, 0);
	com_w(0, 1);
	com_w(1, 0);
	CHECK_EQ(com(0), 1);
	CHECK_EQ(com(1), 0);
	com_w(3, 3);
	com_w(1, 0x40);
	CHECK_EQ(com(1) & 0x40, 0);
	/* Loopback of data. */
	com_w(2, 7);
	com_w(4, 0x10);
	com_w(0, 'x');
	CHECK_EQ(com(5) & 1, 1);
	CHECK_EQ(com(0), 'x');
	CHECK_EQ(com(5), 0x60);
	com_w(4, 0xb);
	CHECK_EQ(printed_len, 0);
	/* Does THRE interrupt as it should? */
	com_w(1, 0);
	com_w(1, 2);
	CHECK_EQ(com(2) & 0xf, 2);
	CHECK_EQ(com(2) & 0xf, 1);
	com_w(1, 0);
	com_w(1, 2);
	CHECK_EQ(com(2) & 0xf, 2);
	com_w(1, 0);
}

TEST(uart_interrupts)
{
	struct vcpu *v = &vcpus[0];
	unsigned n = 0;

	power_on();
	enable(v);
	redir(4, 0x44);
	com_w(2, 0x81);
	com_w(4, 0xb);
	com_w(1, 3);
	CHECK_EQ(take(v), 0x44);		/* room to send */
	lw(v, 0xb0, 0);
	CHECK_EQ(com(2), 0xc2);
	com_w(0, 'a');
	CHECK_EQ(take(v), 0x44);
	lw(v, 0xb0, 0);
	CHECK_EQ(com(2), 0xc2);
	CHECK_EQ(com(2), 0xc1);
	CHECK(printed_len == 1 && printed[0] == 'a');
	memcpy(typed, "0123456789abcdefghijklmnopqrstuv", 32);
	typed_len = 32;
	arch_console_input(&vm);
	CHECK_EQ(typed_len, 16);
	CHECK_EQ(take(v), 0x44);
	CHECK_EQ(com(2), 0xc4);
	while (com(5) & 1) {
		CHECK_EQ(com(0), (unsigned char)"0123456789abcdefghijklmnopqrstuv"[n]);
		n++;
	}
	CHECK_EQ(n, 32);
	CHECK_EQ(com(2), 0xc1);
	lw(v, 0xb0, 0);
	CHECK_EQ(take(v), -1);
	typed_len = 1;
	arch_console_input(&vm);
	CHECK_EQ(com(2), 0xcc);			/* below the level: after a while */
	CHECK_EQ(take(v), 0x44);
	/* The manager's UART takes no characters from its console. */
	vm.is_manager = true;
	com(0);
	typed_len = 3;
	arch_console_input(&vm);
	CHECK_EQ(typed_len, 3);
}

// ---- state --------------------------------------------------------------------------------------

static void random_traffic(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct vcpu *v = &vcpus[check_below(&rng, 3)];
		uint64_t r = check_rand(&rng);
		static const uint16_t ports[] = {0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x61,
						 0x70, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3ff,
						 0x4d0, 0x4d1, 0x600, 0x602};

		switch (r % 8) {
		case 0:
			lw(v, (unsigned)(r >> 8 & 0xff0), (uint32_t)(r >> 32));
			break;
		case 1:
			lw(v, 0xf0, 0x1ff);
			break;
		case 2:
			mmio(v, 1, 0, 4, true, 0x10 + (r >> 8 & 63));
			mmio(v, 1, 0x10, 4, true, r >> 32);
			break;
		case 3:
			(void)!arch_irq_line(&vm, r >> 8 & 31, r >> 16 & 1);
			break;
		case 4:
			(void)!take(v);
			break;
		case 5:
			lw(v, 0xb0, 0);
			advance(r >> 8 & 0xffff);
			break;
		case 6:
			(void)!wrmsr(v, 0x6e0, now_ticks + (r >> 8 & 0xfffff));
			break;
		default:
			if (ports[(r >> 8) % ARRAY_SIZE(ports)] == 0x40) {
				/* Slower than any limit of ours, which is no part of the state. */
				out(0x43, (uint8_t)(0x30 | (r >> 16 & 0xe)));
				out(0x40, (uint8_t)(r >> 24));
				out(0x40, (uint8_t)(r >> 32 | 8));
				break;
			}
			out(ports[(r >> 8) % ARRAY_SIZE(ports)], (uint8_t)(r >> 16));
			break;
		}
	}
}

struct snapshot {
	struct tm_board_state board;
	struct tm_apic_state apic[VCPUS];
	struct tm_uart_state uart;
	uint64_t deadline[VCPUS];
};

static void save(struct snapshot *s)
{
	uint64_t used;

	memset(s, 0x5a, sizeof(*s));
	CHECK_EQ(arch_irqchip_state_get(&vm, &s->board, sizeof(s->board), &used), 0);
	CHECK_EQ(used, sizeof(s->board));
	CHECK_EQ(arch_uart_state_get(&vm, &s->uart), 0);
	for (unsigned i = 0; i < VCPUS; i++) {
		CHECK_EQ(arch_vcpu_irqchip_state_get(&vcpus[i], &s->apic[i], sizeof(s->apic[i]),
						     &used), 0);
		s->deadline[i] = lapic_tsc_deadline(&vcpus[i]);
	}
}

static void restore(const struct snapshot *s, bool backwards)
{
	CHECK_EQ(arch_irqchip_state_set(&vm, &s->board, sizeof(s->board)), 0);
	CHECK_EQ(arch_uart_state_set(&vm, &s->uart), 0);
	for (unsigned i = 0; i < VCPUS; i++) {
		if (backwards) {
			lapic_tsc_deadline_set(&vcpus[i], s->deadline[i]);
		}
		CHECK_EQ(arch_vcpu_irqchip_state_set(&vcpus[i], &s->apic[i], sizeof(s->apic[i])), 0);
		if (!backwards) {
			lapic_tsc_deadline_set(&vcpus[i], s->deadline[i]);
		}
	}
}

/* What the guest sees from here on, taken from both vCPUs for a while. */
static uint64_t future(void)
{
	uint64_t hash = 0;

	for (unsigned i = 0; i < 400; i++) {
		struct vcpu *v = &vcpus[i % 3];
		int vec;

		advance(7 * US);
		vec = take(v);
		lw(v, 0xb0, 0);
		hash = hash * 31 + (uint64_t)(vec + 1) + in(0x61) + in(0x42) * 3ull + lr(v, 0x390) * 5ull;
	}
	return hash;
}

TEST(state_there_and_back)
{
	static struct snapshot a, b;

	for (unsigned round = 0; round < 1500; round++) {
		power_on();
		rng = check_rng_make(round * 3);
		random_traffic(150);
		save(&a);
		/* At another time: what is relative must not care. */
		power_on();
		now_ticks += round * 12345;
		restore(&a, round & 1);
		save(&b);
		CHECK(memcmp(&a.board, &b.board, sizeof(a.board)) == 0);
		CHECK(memcmp(&a.uart, &b.uart, sizeof(a.uart)) == 0);
		for (unsigned i = 0; i < VCPUS; i++) {
			bool deadline = a.apic[i].lvt[1] & 0x40000;

			/* A deadline of the past has fired meanwhile. */
			CHECK(deadline || memcmp(&a.apic[i], &b.apic[i], sizeof(a.apic[i])) == 0);
		}
	}
}

TEST(state_goes_on_as_before)
{
	static struct snapshot a;

	for (unsigned round = 0; round < 500; round++) {
		uint64_t at, want;

		power_on();
		rng = check_rng_make(round * 7 + 1);
		random_traffic(150);
		save(&a);
		at = now_ticks;
		want = future();
		power_on();
		now_ticks = at;
		restore(&a, round & 1);
		CHECK_EQ(future(), want);
	}
}

TEST(hostile_state)
{
	static struct snapshot a, b, c;
	unsigned board_taken = 0, apic_taken = 0, uart_taken = 0;

	power_on();
	random_traffic(300);
	for (unsigned round = 0; round < 100000; round++) {
		uint8_t *p = (uint8_t *)&b;
		uint64_t used;

		if (round % 1000 == 0) {
			random_traffic(100);
			save(&a);
		}
		b = a;
		for (unsigned k = 1 + (unsigned)check_below(&rng, 3); k > 0; k--) {
			uint64_t at = check_below(&rng, sizeof(b.board));

			p[at] = (uint8_t)check_rand(&rng);
			at = check_below(&rng, sizeof(b.apic[0]));
			((uint8_t *)&b.apic[0])[at] = (uint8_t)check_rand(&rng);
			at = check_below(&rng, sizeof(b.uart));
			((uint8_t *)&b.uart)[at] = (uint8_t)check_rand(&rng);
		}
		if (arch_irqchip_state_set(&vm, &b.board, sizeof(b.board)) == 0) {
			board_taken++;
			b.board.pic[0].irr &= (uint8_t)~4;	/* computed */
			CHECK_EQ(arch_irqchip_state_get(&vm, &c.board, sizeof(c.board), &used), 0);
			c.board.pic[0].irr &= (uint8_t)~4;
			CHECK(memcmp(&b.board, &c.board, sizeof(b.board)) == 0);
		}
		if (arch_vcpu_irqchip_state_set(&vcpus[0], &b.apic[0], sizeof(b.apic[0])) == 0) {
			apic_taken++;
			CHECK_EQ(arch_vcpu_irqchip_state_get(&vcpus[0], &c.apic[0], sizeof(c.apic[0]),
							     &used), 0);
			CHECK(memcmp(&b.apic[0], &c.apic[0], sizeof(b.apic[0])) == 0);
		}
		uart_taken += arch_uart_state_set(&vm, &b.uart) == 0;
		advance(check_below(&rng, 1000));
		(void)!take(&vcpus[0]);
	}
	CHECK(board_taken > 100 && apic_taken > 100 && uart_taken > 100);
	CHECK_EQ(arch_irqchip_state_set(&vm, &a.board, sizeof(a.board) - 1), -TM_EINVAL);
	CHECK_EQ(arch_vcpu_irqchip_state_set(&vcpus[0], &a.apic[0], 0), -TM_EINVAL);
	memset(&b, 0, sizeof(b));
	b.board = a.board;
	CHECK_EQ(arch_irqchip_state_set(&vm, &b.board, sizeof(b.board) + 8), 0);
	b.apic[0].version = 1;
	CHECK_EQ(arch_irqchip_state_set(&vm, &b.board, sizeof(b.board) + 8), -TM_E2BIG);
	CHECK_EQ(arch_vcpu_irqchip_state_set(&vcpus[0], &a.apic[1], sizeof(a.apic[1])), -TM_EINVAL);
}

// ---- hostile accesses ---------------------------------------------------------------------------

TEST(every_port_and_size)
{
	power_on();
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned port = 0; port < 65536; port++) {
			for (unsigned size = 1; size <= 4; size *= 2) {
				uint32_t val = (uint32_t)check_rand(&rng);

				board_port(&vcpus[port % 3], (uint16_t)port, size, true, &val);
				board_port(&vcpus[port % 3], (uint16_t)port, size, false, &val);
				CHECK(size == 4 || val >> (8 * size) == 0);
				CHECK_EQ(depth, 0);
			}
		}
		advance(100 * MS);
	}
	CHECK(callbacks < 20000);
}

TEST(random_accesses)
{
	power_on();
	for (unsigned i = 0; i < 1000000; i++) {
		uint64_t r = check_rand(&rng);
		struct vcpu *v = &vcpus[r % VCPUS];
		unsigned len = 1u << (r >> 8 & 3);
		uint32_t val = (uint32_t)check_rand(&rng);
		uint64_t wide = check_rand(&rng);

		switch (r >> 16 & 7) {
		case 0:
		case 1:
		case 2:
			mmio(v, (r >> 20) & 1, (r >> 24) % (PAGE_SIZE - 7), len, r >> 40 & 1, wide);
			break;
		case 3:
			wide = r >> 52 & 1 ? wide : val;
			current = v;
			(void)!lapic_msr(v, 0x800 + (r >> 24 & 0xff), r >> 40 & 1, &wide);
			current = NULL;
			break;
		case 4:
			wide = BOARD_LAPIC_BASE | (r >> 24 & 0xd00);
			(void)!wrmsr(v, r >> 50 & 1 ? 0x1b : 0x6e0, wide);
			break;
		case 5:
			board_port(v, (uint16_t)(r >> 24 & 0x7ff), MIN(len, 4u), r >> 40 & 1, &val);
			break;
		case 6:
			(void)!arch_irq_line(&vm, r >> 24 & 31, r >> 40 & 1);
			break;
		default:
			(void)!take(v);
			break;
		}
		CHECK_EQ(depth, 0);
		if (i % 16 == 0) {
			advance(check_below(&rng, 10 * US));
		}
	}
	for (unsigned i = 0; i < VCPUS; i++) {
		CHECK(vcpus[i].arch.nmi_pending <= 2);
		lapic_vcpu_gone(&vcpus[i]);
	}
	board_destroy(&vm);
	for (unsigned i = 0; i < ARRAY_SIZE(timers); i++) {
		CHECK(!timers[i]);
	}
}

CHECK_MAIN()
