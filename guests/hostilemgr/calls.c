// SPDX-License-Identifier: Apache-2.0
//
// The table of calls: good arguments for each, and what a success means for what we know.

#include <string.h>
#include "attack.h"

static uint64_t below(struct attack *a, uint64_t n)
{
	return tm_prng_below(&a->rng, n);
}

static uint64_t buf(struct attack *a)
{
	return TM_GPA(a->scratch) + 4096;
}

static void *desc(struct attack *a)
{
	return a->scratch;
}

static uint64_t vcpu(struct attack *a)
{
	return below(a, VICTIM_VCPUS);
}

static uint64_t slot(struct attack *a)
{
	return below(a, VICTIM_SLOTS);
}

/* --- discovery, VMs --------------------------------------------------------------------------- */

static void g_cap(struct attack *a, uint64_t x[6]) { x[1] = below(a, 26); }
static void g_focus(struct attack *a, uint64_t x[6]) { (void)a; x[1] = TM_CAP_CONSOLE_FOCUS; }
static void g_log(struct attack *a, uint64_t x[6])
{
	x[0] = buf(a);
	x[1] = below(a, 600);
	x[2] = below(a, 4096);
}
/* Off and reset are what a manager may do. */
static void g_machine(struct attack *a, uint64_t x[6]) { x[0] = 2 + tm_prng_next(&a->rng) / 4; }
static void g_next(struct attack *a, uint64_t x[6])
{
	x[0] = below(a, 3) == 0 ? ~0ull : below(a, 4);
}
static void g_info(struct attack *a, uint64_t x[6])
{
	x[1] = buf(a);
	x[2] = sizeof(struct tm_vm_info);
}

static void g_create(struct attack *a, uint64_t x[6])
{
	struct tm_vm_desc *d = desc(a);

	memset(d, 0, sizeof(*d));
	d->vcpus = VICTIM_VCPUS;
	d->flags = below(a, 2) == 0 ? TM_VM_CONSOLE : 0;
	d->pool_gpa = TM_GPA(a->pool);
	d->pool_size = a->pool_size;
	memcpy(d->name, "prey", 5);
	d->mmio_count = 1;
	d->mmio[0] = (struct tm_range){0x70000000u, 0x1000};
	if (a->edge && below(a, 2) == 0) {
		edge_word(a, d, sizeof(*d));
		if (!harmless_range(a, d->pool_gpa, d->pool_size)) {
			d->pool_gpa |= 1;
		}
	}
	x[0] = TM_GPA(d);
	x[1] = sizeof(*d);
}

static void a_create(struct attack *a, const uint64_t x[6], int64_t status)
{
	(void)x;
	if (status == 0 && a->v.vm == ~(uint64_t)0) {
		memset(&a->v, 0, sizeof(a->v));
		/* result 1 was left behind by the caller */
		memcpy(&a->v.vm, a->scratch + SCRATCH_SIZE - 64, 8);
	}
}

static void a_destroy(struct attack *a, const uint64_t x[6], int64_t status)
{
	if (status == 0 && x[0] == a->v.vm) {
		a->v.vm = ~(uint64_t)0;
	}
}

static void g_pause(struct attack *a, uint64_t x[6]) { x[1] = below(a, 2); }
static void a_pause(struct attack *a, const uint64_t x[6], int64_t status)
{
	a->v.pauses += status == 0 && x[0] == a->v.vm;
}
static void a_resume(struct attack *a, const uint64_t x[6], int64_t status)
{
	a->v.pauses -= status == 0 && x[0] == a->v.vm && a->v.pauses > 0;
}
static void g_none(struct attack *a, uint64_t x[6]) { (void)a, (void)x; }

/* --- vCPUs ------------------------------------------------------------------------------------ */

static void g_vcpu(struct attack *a, uint64_t x[6]) { x[1] = vcpu(a); }
static void a_vcpu_create(struct attack *a, const uint64_t x[6], int64_t status)
{
	static struct tm_regs regs;

	if (status == 0 && x[0] == a->v.vm && x[1] < VICTIM_VCPUS) {
		a->v.vcpus |= 1u << x[1];
		vmm_boot_regs(&regs, victim_slot(0)->gpa, VICTIM_ARG, true);
		(void)tm_vcpu_regs_set((uint32_t)x[0], (uint32_t)x[1], &regs);
		(void)tm_vcpu_sched_set((uint32_t)x[0], (uint32_t)x[1], 2, ~1ull, 1000);
	}
}
static void a_vcpu_destroy(struct attack *a, const uint64_t x[6], int64_t status)
{
	if (status == 0 && x[0] == a->v.vm && x[1] < VICTIM_VCPUS) {
		a->v.vcpus &= ~(1u << x[1]);
	}
}
static void g_kick(struct attack *a, uint64_t x[6]) { x[1] = vcpu(a); x[2] = below(a, 2); }
static void g_regs_get(struct attack *a, uint64_t x[6])
{
	x[1] = vcpu(a);
	x[2] = buf(a);
	x[3] = sizeof(struct tm_regs);
}
static void g_regs_set(struct attack *a, uint64_t x[6])
{
	struct tm_regs *r = desc(a);

	vmm_boot_regs(r, victim_slot(0)->gpa, VICTIM_ARG, below(a, 4) != 0);
	for (uint64_t n = a->edge ? 1 + below(a, 4) : 0; n > 0; n--) {
		edge_word(a, r, sizeof(*r));
	}
	if (a->edge && below(a, 2) == 0) {
		arch_edge_regs(a, r);
	}
	x[1] = vcpu(a);
	x[2] = TM_GPA(r);
	x[3] = sizeof(*r);
}
static void g_stats(struct attack *a, uint64_t x[6])
{
	x[1] = vcpu(a);
	x[2] = buf(a);
	x[3] = sizeof(struct tm_vcpu_stats);
}
static void g_quota(struct attack *a, uint64_t x[6])
{
	x[1] = vcpu(a);
	x[2] = below(a, 2) == 0 ? ~(uint64_t)0 : below(a, 300);
}
static void g_sched(struct attack *a, uint64_t x[6])
{
	x[1] = vcpu(a);
	x[2] = 2 + below(a, 3);
	x[3] = below(a, 2) == 0 ? 0 : ~(uint64_t)1;
	x[4] = 100 + below(a, 5000);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void g_slot_set(struct attack *a, uint64_t x[6])
{
	struct tm_slot_desc *d = desc(a);
	uint32_t i = (uint32_t)slot(a);

	victim_backing(a, i, d);
	switch (below(a, 8)) {
	case 0:
		d->size = a->v.slot[i] ? 0 : d->size;
		break;
	case 1:
		d->flags ^= TM_SLOT_LOG_DIRTY;
		break;
	case 2:
		d->gpa += 0x10000000u;
		break;
	default:
		break;
	}
	if (a->edge && below(a, 2) == 0) {
		edge_word(a, d, sizeof(*d));
		if (d->backing != 0 && !harmless_range(a, d->backing, d->size)) {
			d->backing |= 1;
		}
	}
	x[1] = TM_GPA(d);
	x[2] = sizeof(*d);
}
static void a_slot_set(struct attack *a, const uint64_t x[6], int64_t status)
{
	const struct tm_slot_desc *d = (const void *)(uintptr_t)x[1];

	if (status == 0 && x[0] == a->v.vm && d->slot < VICTIM_SLOTS) {
		a->v.slot[d->slot] = d->size != 0;
	}
}
static void g_collect(struct attack *a, uint64_t x[6])
{
	x[1] = slot(a);
	x[2] = buf(a);
	x[3] = 128;
}
static void a_collect(struct attack *a, const uint64_t x[6], int64_t status)
{
	if (status == 0 && x[0] == a->v.vm && x[1] < VICTIM_SLOTS) {
		a->v.slot[x[1]] = false;
	}
}
static void g_query(struct attack *a, uint64_t x[6])
{
	x[1] = below(a, 4) == 0 ? ~0u : slot(a);
	x[2] = buf(a);
	x[3] = sizeof(struct tm_slot_info);
}
static void g_prefault(struct attack *a, uint64_t x[6])
{
	const struct vmm_slot_spec *s = victim_slot((uint32_t)slot(a));

	x[1] = s->gpa + below(a, s->size / PAGE) * PAGE;
	x[2] = 1 + below(a, 8);
}
static void g_mark(struct attack *a, uint64_t x[6])
{
	x[1] = below(a, 2);
	x[2] = below(a, 60);
	x[3] = 1 + below(a, 4);
}

/* --- dirty tracking --------------------------------------------------------------------------- */

static const uint32_t dirty_modes[] = {
	TM_DIRTY_BITMAP | TM_DIRTY_MANUAL, TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_MANUAL,
	TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_MANUAL | TM_DIRTY_SPILL, TM_DIRTY_RING,
	TM_DIRTY_BITMAP, TM_DIRTY_BITMAP | TM_DIRTY_MANUAL | TM_DIRTY_INITIALLY_SET,
	TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_RING_GEN,
};

static void g_config(struct attack *a, uint64_t x[6])
{
	x[2] = dirty_modes[below(a, sizeof(dirty_modes) / sizeof(dirty_modes[0]))];
	x[1] = (x[2] & TM_DIRTY_RING) != 0 ? 256u << below(a, 3) : 0;
}
static void a_config(struct attack *a, const uint64_t x[6], int64_t status)
{
	if (status == 0 && x[0] == a->v.vm) {
		a->v.ring_entries = (uint32_t)x[1];
	}
}
static void g_reset(struct attack *a, uint64_t x[6]) { (void)a; x[1] = 0; }
static void g_get(struct attack *a, uint64_t x[6])
{
	x[1] = slot(a);
	x[2] = buf(a);
	x[3] = 128;
}
static void g_clear(struct attack *a, uint64_t x[6])
{
	struct tm_clear_desc *d = desc(a);

	memset(d, 0, sizeof(*d));
	d->slot = (uint32_t)slot(a);
	d->npages = d->slot == 0 ? 64 : 512;
	d->bitmap_gpa = buf(a);
	d->bitmap_len = 128;
	if (a->edge && below(a, 2) == 0) {
		edge_word(a, d, sizeof(*d));
	}
	x[1] = TM_GPA(d);
	x[2] = sizeof(*d);
}
static void g_sparse(struct attack *a, uint64_t x[6])
{
	x[1] = slot(a);
	x[2] = buf(a);
	x[3] = 16 + 16 * below(a, 16);
}
static void g_rate(struct attack *a, uint64_t x[6])
{
	x[1] = buf(a);
	x[2] = sizeof(struct tm_dirty_rate);
}

/* --- mappings --------------------------------------------------------------------------------- */

static uint64_t place(struct attack *a)
{
	return a->window + below(a, WINDOW_SIZE / PAGE - 64) * PAGE;
}
static void g_map_run(struct attack *a, uint64_t x[6]) { x[1] = vcpu(a); x[2] = place(a); }
static void g_map_events(struct attack *a, uint64_t x[6])
{
	x[0] = place(a);
	x[2] = TM_DOORBELL_VECTOR;
}
static void g_map_ring(struct attack *a, uint64_t x[6])
{
	x[1] = vcpu(a);
	x[2] = below(a, 2);
	x[3] = 1;
	x[4] = place(a);
}
static void a_map_ring(struct attack *a, const uint64_t x[6], int64_t status)
{
	if (status == 0 && x[0] == a->v.vm) {
		a->v.ring_gpa = x[4];
	}
}
static void g_map_guest(struct attack *a, uint64_t x[6])
{
	const struct vmm_slot_spec *s = victim_slot((uint32_t)slot(a));
	uint64_t pages = s->size / PAGE;

	x[2] = 1 + below(a, pages < 16 ? pages : 16);
	x[1] = s->gpa + below(a, pages - x[2] + 1) * PAGE;
	x[3] = place(a);
	x[4] = below(a, 2) == 0 ? TM_PROT_READ : TM_PROT_READ | TM_PROT_WRITE;
}
static void g_unmap(struct attack *a, uint64_t x[6])
{
	/* Single windows are hard to hit: most of the time wide. */
	x[0] = below(a, 4) == 0 ? place(a) : a->window + below(a, 4) * (WINDOW_SIZE / 4);
	x[1] = below(a, 4) == 0 ? 1 : WINDOW_SIZE / 4 / PAGE;
}

/* --- devices, any VM -------------------------------------------------------------------------- */

static void g_irq(struct attack *a, uint64_t x[6])
{
	x[1] = LINE_FIRST + below(a, LINES);
	x[2] = below(a, 2);
}
static void g_gic(struct attack *a, uint64_t x[6])
{
	/* SET takes what the last GET left, now and then with a wrong byte. */
	x[1] = below(a, 2);
	x[2] = TM_GPA(a->scratch) + 8192;
	x[3] = GIC_STATE_LEN;
	if (x[1] == TM_STATE_SET && a->edge) {
		edge_word(a, a->scratch + 8192, 4096);
	}
}
/* Where there is one: else every call is refused. */
static void g_apic(struct attack *a, uint64_t x[6])
{
	/* Into a buffer of its own, so that SET now and then has what GET left. */
	x[1] = vcpu(a);
	x[2] = below(a, 2);
	x[3] = TM_GPA(a->scratch) + 16384;
	x[4] = APIC_STATE_LEN;
	if (x[2] == TM_STATE_SET && a->edge) {
		edge_word(a, a->scratch + 16384, APIC_STATE_LEN);
	}
}
static void g_timer(struct attack *a, uint64_t x[6])
{
	struct tm_timer_state *s = desc(a);

	memset(s, 0, sizeof(*s));
	arch_edge_timer(a, s);
	if (a->edge) {
		edge_word(a, s, sizeof(*s));
	}
	x[1] = vcpu(a);
	x[2] = below(a, 2);
	x[3] = TM_GPA(s);
	x[4] = sizeof(*s);
}
static void g_uart(struct attack *a, uint64_t x[6])
{
	struct tm_uart_state *s = desc(a);

	memset(s, 0, sizeof(*s));
	s->version = 1;
	if (a->edge) {
		edge_word(a, s, sizeof(*s));
	}
	x[1] = below(a, 2);
	x[2] = TM_GPA(s);
	x[3] = sizeof(*s);
}
static void g_write(struct attack *a, uint64_t x[6]) { x[0] = buf(a); x[1] = a->edge ? 8 : 0; }
static void g_read(struct attack *a, uint64_t x[6]) { x[0] = buf(a); x[1] = below(a, 64); }
static void g_pvtime(struct attack *a, uint64_t x[6])
{
	x[0] = below(a, 2) == 0 ? ~(uint64_t)0 : buf(a);
}
static void g_inject(struct attack *a, uint64_t x[6])
{
	x[0] = 1 + below(a, 4);
	x[1] = below(a, 20);
}
static void g_hyp_write(struct attack *a, uint64_t x[6])
{
	const struct vmm_slot_spec *s = victim_slot((uint32_t)slot(a));

	x[1] = s->gpa + below(a, s->size / 8 - 64) * 8;
	x[2] = below(a, 512);
	x[3] = tm_prng_next(&a->rng);
}
/* Write protection is there on every machine, the others on some. */
static void g_backend(struct attack *a, uint64_t x[6])
{
	x[1] = a->edge ? below(a, BACKENDS) : TM_BACKEND_WP;
}
static void g_counters(struct attack *a, uint64_t x[6])
{
	x[0] = buf(a);
	x[1] = sizeof(struct tm_counters);
}
static void g_random(struct attack *a, uint64_t x[6])
{
	for (unsigned i = 1; i < 6; i++) {
		x[i] = edge_value(&a->rng);
	}
}

#define ROW(call, n, cur, ptrs, vm, fails, does, w, gen, aft)                                      \
	{#call, TM_HC_##call, n, cur, ptrs, vm, fails, does, w, gen, aft}
#define A(i) (1u << (i))

const struct call_row call_rows[] = {
	ROW(VERSION, 0, 5, 0, false, false, true, 1, g_none, NULL),
	ROW(FEATURES, 0, 5, 0, false, false, true, 1, g_none, NULL),
	ROW(CAP_GET, 2, 5, 0, true, true, true, 2, g_cap, NULL),
	ROW(CAP_ENABLE, 4, 5, 0, true, true, true, 2, g_focus, NULL),
	ROW(LOG_READ, 3, 2, A(0), false, true, true, 2, g_log, NULL),
	ROW(MACHINE, 1, 5, 0, false, true, false, 1, g_machine, NULL),
	ROW(VM_CREATE, 2, 5, A(0), false, true, true, 2, g_create, a_create),
	ROW(VM_DESTROY, 1, 5, 0, true, true, true, 1, g_none, a_destroy),
	ROW(VM_INFO, 3, 5, A(1), true, true, true, 2, g_info, NULL),
	ROW(VM_NEXT, 1, 5, 0, false, true, true, 2, g_next, NULL),
	ROW(VM_PAUSE, 2, 5, 0, true, true, true, 2, g_pause, a_pause),
	ROW(VM_RESUME, 1, 5, 0, true, true, true, 5, g_none, a_resume),
	ROW(VM_SYNC, 1, 5, 0, true, true, true, 2, g_none, NULL),
	ROW(VCPU_CREATE, 2, 5, 0, true, true, true, 6, g_vcpu, a_vcpu_create),
	ROW(VCPU_RUN, 2, 5, 0, true, true, true, 8, g_vcpu, NULL),
	ROW(VCPU_KICK, 3, 5, 0, true, true, true, 4, g_kick, NULL),
	ROW(VCPU_REGS_GET, 4, 5, A(2), true, true, true, 4, g_regs_get, NULL),
	ROW(VCPU_REGS_SET, 4, 5, A(2), true, true, true, 4, g_regs_set, NULL),
	ROW(VCPU_STATS, 4, 5, A(2), true, true, true, 3, g_stats, NULL),
	ROW(QUOTA_SET, 3, 5, 0, true, true, true, 3, g_quota, NULL),
	ROW(VCPU_SCHED_SET, 5, 5, 0, true, true, true, 4, g_sched, NULL),
	ROW(VCPU_DESTROY, 2, 5, 0, true, true, true, 5, g_vcpu, a_vcpu_destroy),
	ROW(SLOT_SET, 3, 5, A(1), true, true, true, 10, g_slot_set, a_slot_set),
	ROW(SLOT_DELETE_COLLECT, 4, 5, A(2), true, true, true, 3, g_collect, a_collect),
	ROW(MEM_TXN, 3, 5, A(1), true, true, false, 1, g_random, NULL),
	ROW(SLOT_QUERY, 4, 5, A(2), true, true, true, 3, g_query, NULL),
	ROW(POPULATE, 4, 5, A(2), true, true, false, 1, g_random, NULL),
	ROW(PREFAULT, 3, 5, 0, true, true, true, 4, g_prefault, NULL),
	ROW(PERM_SET, 5, 5, 0, true, true, false, 1, g_random, NULL),
	ROW(ATTR_SET, 4, 5, 0, true, true, false, 1, g_random, NULL),
	ROW(MARK_DIRTY, 4, 5, 0, true, true, true, 6, g_mark, NULL),
	ROW(DIRTY_CONFIG, 3, 5, 0, true, true, true, 5, g_config, a_config),
	ROW(RING_RESET, 2, 1, 0, true, true, true, 6, g_reset, NULL),
	ROW(BITMAP_GET, 5, 4, A(2), true, true, true, 6, g_get, NULL),
	ROW(BITMAP_CLEAR, 3, 5, A(1), true, true, true, 8, g_clear, NULL),
	ROW(BITMAP_GET_SPARSE, 5, 4, A(2), true, true, true, 6, g_sparse, NULL),
	ROW(BITMAP_SUMMARY, 1, 5, 0, true, true, true, 3, g_none, NULL),
	ROW(DIRTY_RATE, 3, 5, A(1), true, true, true, 2, g_rate, NULL),
	ROW(MAP_RUN, 3, 5, 0, true, true, true, 4, g_map_run, NULL),
	ROW(MAP_EVENTS, 3, 5, 0, false, true, true, 2, g_map_events, NULL),
	ROW(MAP_RING, 5, 5, 0, true, true, true, 10, g_map_ring, a_map_ring),
	ROW(MAP_GUEST, 5, 5, 0, true, true, true, 6, g_map_guest, NULL),
	ROW(UNMAP, 2, 5, 0, false, true, true, 4, g_unmap, NULL),
	ROW(TRACK_ADD, 3, 5, 0, true, true, false, 1, g_random, NULL),
	ROW(IRQ_LINE, 3, 5, 0, true, true, true, 3, g_irq, NULL),
	ROW(MSI, 4, 5, 0, true, true, false, 1, g_random, NULL),
	ROW(GIC_STATE, 4, 5, A(2), true, true, true, 4, g_gic, NULL),
	ROW(APIC_STATE, 5, 5, A(3), true, true, HAS_APIC_STATE, HAS_APIC_STATE ? 4 : 1, g_apic, NULL),
	ROW(TIMER_STATE, 5, 5, A(3), true, true, true, 4, g_timer, NULL),
	ROW(UART_STATE, 4, 5, A(2), true, true, true, 4, g_uart, NULL),
	ROW(CONSOLE_WRITE, 2, 5, A(0), false, true, true, 2, g_write, NULL),
	ROW(CONSOLE_READ, 2, 5, A(0), false, true, true, 2, g_read, NULL),
	ROW(YIELD, 0, 5, 0, false, false, true, 1, g_none, NULL),
	ROW(PVTIME_SET, 1, 5, A(0), false, true, true, 2, g_pvtime, NULL),
	ROW(FAULT_INJECT, 2, 5, 0, false, true, true, 2, g_inject, NULL),
	ROW(HYP_WRITE, 4, 5, 0, true, true, true, 4, g_hyp_write, NULL),
	ROW(FORCE_BACKEND, 2, 5, 0, true, true, true, 2, g_backend, NULL),
	ROW(COUNTERS, 2, 5, A(0), false, true, true, 2, g_counters, NULL),
};
const uint32_t call_row_count = sizeof(call_rows) / sizeof(call_rows[0]);
