// SPDX-License-Identifier: Apache-2.0
//
// The oracle on the host (C-150, C-151): memory content decides. Random operations of guests,
// manager and hypervisor over the real code and the adversarial TLB; the manager keeps a copy and
// refreshes only pages that were reported, after the call that reported them has returned (I-2).
// At the end of a round everything pending is collected and the copy must equal the memory.
//
// Then the mutants: each one, in 20 of 20 seeds, must be caught, and the check that caught it is
// printed. The last tests run writers in threads.
//
// TM_ORACLE_ROUNDS= rounds of the main run (default 1200).
//
// LINK: hyp/memslot.c hyp/memslot_steps.c hyp/memslot_anon.c hyp/dirty_log.c hyp/dirty_hw.c hyp/dirty_ring.c
// LINK: hyp/dirty_bitmap.c hyp/fault.c hyp/guest_copy.c hyp/window.c hyp/memcalls.c
// LINK: hyp/dirtycalls.c hyp/windowcalls.c hyp/test_hooks.c hyp/stage2.c hyp/pgtable.c
// LINK: hyp/tlbcheck.c hyp/page_alloc.c hyp/owner.c hyp/lock.c hyp/mmio.c hyp/vm.c hyp/vcpu.c
// LINK: hyp/sched.c hyp/event.c hyp/hyptimer.c hyp/hypercall.c hyp/vmcalls.c hyp/vcpucalls.c
// LINK: hyp/testcalls.c hyp/log.c hyp/console.c hyp/print.c arch/arm64/stage2_format.c
// LINK: tests/host/fake_arch.c tests/host/fake_tlb.c arch/x86/vmx/ept_format.c
// LINK: arch/x86/svm/npt_format.c

#include <arch/format.h>
#include <hyp/guest_copy.h>
#include <pthread.h>

#include "world.h"

#define SLOTS 4u		// ids 1..4; 4 comes and goes
#define MAX_PAGES 700u
#define WORDS 8u		// of each page that anybody writes
#define GPA(slot, half) ((uint64_t)(slot) * (1ull << 30) + (half) * (256ull << 20))
#define RING_ENTRIES ring_entries
#define BUF (world_base + 4 * PAGE_SIZE)

static unsigned ring_entries = 256;
static unsigned backend = TM_BACKEND_WP;

static const uint64_t slot_pages[SLOTS + 1] = {0, 331, 613, 467, 129};

static const struct {
	const char *name;
	uint64_t flags;
} modes[] = {
	{"ring+bitmap STOP", TM_DIRTY_RING | TM_DIRTY_BITMAP},
	{"ring+bitmap SPILL", TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_SPILL},
	{"bitmap", TM_DIRTY_BITMAP},
	{"bitmap manual", TM_DIRTY_BITMAP | TM_DIRTY_MANUAL},
	{"ring only", TM_DIRTY_RING},
	{"ring+bitmap manual gen", TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_MANUAL |
				   TM_DIRTY_RING_GEN},
	{"initially set", TM_DIRTY_BITMAP | TM_DIRTY_MANUAL | TM_DIRTY_INITIALLY_SET},
	{"bitmap eager", TM_DIRTY_BITMAP | TM_DIRTY_EAGER_SPLIT},
};

enum op { OP_STORE, OP_LOAD, OP_HYP_WRITE, OP_VCPU_WRITE, OP_WINDOW_STORE, OP_RESET, OP_HARVEST,
	  OP_GET, OP_SPARSE, OP_CLEAR, OP_TOGGLE, OP_MOVE, OP_DELETE_COLLECT, OP_SYNC, OP_ADD_REMOVE,
	  OP_MARK, OP_PREFAULT, OP_VCPU_AGAIN, OP_QUERY, OP_BURST, OP_COUNT };
static const char *const op_names[OP_COUNT] = {
	"store", "load", "hyp_write", "vcpu_write", "window_store", "reset", "harvest", "get",
	"sparse", "clear", "toggle", "move", "delete_collect", "sync", "add_remove", "mark",
	"prefault", "vcpu_again", "query", "burst",
};
static uint64_t op_done[OP_COUNT];
static uint64_t total_writes, total_faults, total_stops, total_spills, total_over, total_rounds;

struct page {
	uint64_t copy[WORDS];
	bool written;		// in this round
	bool reported;		// in this round
};

struct oracle {
	struct vm *vm;
	uint64_t h;
	unsigned vcpus;
	uint64_t flags;
	struct check_rng rng;
	uint64_t seq;
	bool present[SLOTS + 1];
	unsigned half[SLOTS + 1];
	uint64_t backing[SLOTS + 1];
	bool window[SLOTS + 1];
	struct page page[SLOTS + 1][MAX_PAGES];
	uint64_t harvested[8];		// the manager's own index into each ring
	struct {
		uint32_t slot;
		uint64_t offset;
	} todo[16384];			// harvested, not reset yet
	unsigned todo_count;
	uint64_t excuses;		// allowed over-reports of this round (I-3)
	const char *caught;		// which check failed
	bool yielding;
};

static struct oracle o;
static unsigned yields_armed;

static void fail(const char *check)
{
	if (o.caught == NULL) {
		o.caught = check;
	}
}

static uint64_t rnd(uint64_t n) { return check_below(&o.rng, n); }
static bool has(uint64_t flag) { return o.flags & flag; }
static bool bitmap(void) { return !has(TM_DIRTY_RING) || has(TM_DIRTY_BITMAP); }
static uint64_t gpa_of(unsigned s, uint64_t page)
{
	return GPA(s, o.half[s]) + page * PAGE_SIZE;
}
static uint64_t window_at(unsigned s) { return window_base() + s * (1ull << 30); }

static unsigned some_slot(void)
{
	unsigned s;

	do {
		s = 1 + (unsigned)rnd(SLOTS);
	} while (!o.present[s]);
	return s;
}

// ---- the manager's view ----

static void read_page(unsigned s, uint64_t page, uint64_t *out)
{
	uint64_t *p = guest_ptr(o.vm, gpa_of(s, page));

	for (unsigned i = 0; i < WORDS; i++) {
		out[i] = p ? __atomic_load_n(&p[i], __ATOMIC_RELAXED) : 0;
	}
}

static void refresh(unsigned s, uint64_t page)
{
	struct page *p;

	if (s == 0 || s > SLOTS || !o.present[s] || page >= slot_pages[s]) {
		return;		// a stale or foreign entry
	}
	p = &o.page[s][page];
	p->reported = true;
	read_page(s, page, p->copy);
}

static void refresh_slot(unsigned s)
{
	for (uint64_t i = 0; i < slot_pages[s]; i++) {
		read_page(s, i, o.page[s][i].copy);
	}
}

static void harvest(unsigned v, uint64_t limit)
{
	struct vcpu *vcpu = o.vm->vcpu[v];

	while (limit-- > 0 && vcpu && vcpu->ring.entries) {
		struct tm_ring_entry *e = &vcpu->ring.entries[o.harvested[v] % RING_ENTRIES];
		uint32_t flags = __atomic_load_n(&e->flags, __ATOMIC_ACQUIRE);

		if ((flags & 3) != TM_RING_DIRTY || o.todo_count == ARRAY_SIZE(o.todo)) {
			return;
		}
		o.todo[o.todo_count].slot = e->slot;
		o.todo[o.todo_count++].offset = e->offset;
		if (has(TM_DIRTY_RING_GEN) && e->slot <= SLOTS &&
		    flags >> 16 != o.vm->slots.slot[e->slot].generation) {
			o.todo_count--;
		}
		__atomic_store_n(&e->flags, flags | TM_RING_RESET, __ATOMIC_RELEASE);
		o.harvested[v]++;
	}
}

static void ring_reset(void)
{
	uint64_t n;

	if (!has(TM_DIRTY_RING)) {
		return;
	}
	if (hc_loop(0, &n, TM_HC_RING_RESET, o.h, 0, 0, 0, 0) != 0) {
		fail("RING_RESET's status");
	}
	// Only now is the content read.
	for (unsigned i = 0; i < o.todo_count; i++) {
		refresh(o.todo[i].slot, o.todo[i].offset);
	}
	o.todo_count = 0;
}

static void take_bitmap(unsigned s, const uint64_t *bits)
{
	for (uint64_t i = 0; i < slot_pages[s]; i++) {
		if (bits[i / 64] >> (i % 64) & 1) {
			refresh(s, i);
		}
	}
}

static void clear_all(unsigned s, uint64_t first, uint64_t n)
{
	struct tm_clear_desc d = {.slot = s, .first = first, .npages = n,
				  .bitmap_gpa = BUF + first / 8, .bitmap_len = 4096};

	memcpy(world_ptr(world_base), &d, sizeof(d));
	if (hc_loop(6, NULL, TM_HC_BITMAP_CLEAR, o.h, world_base, sizeof(d), 0, 0) != 0) {
		fail("BITMAP_CLEAR's status");
	}
}

// GET, and CLEAR in manual mode: all of it, or one part chosen by chance.
static void collect_bitmap(unsigned s, bool part)
{
	uint64_t *bits = world_ptr(BUF), first = 0, n = slot_pages[s];

	yields_armed = o.yielding ? 1 : 0;
	if (hc_loop(5, NULL, TM_HC_BITMAP_GET, o.h, s, BUF, 4096, 0) != 0) {
		fail("BITMAP_GET's status");
	}
	yields_armed = 0;
	if (has(TM_DIRTY_MANUAL)) {
		if (part) {
			uint64_t len = (1 + rnd(4)) * 64;

			first = rnd(n / 64) * 64;
			n = MIN(n - first, len);
		}
		memset(bits, 0, first / 8);
		for (uint64_t i = first + n; i < ALIGN_UP(slot_pages[s], 64u); i++) {
			bits[i / 64] &= ~(1ull << (i % 64));
		}
		clear_all(s, first, n);
	}
	take_bitmap(s, bits);
}

static void collect_sparse(unsigned s)
{
	struct tm_sparse_pair *p = world_ptr(BUF);
	uint64_t bits[MAX_PAGES / 64 + 1] = {0};
	uint64_t cursor = 0;
	int64_t status;

	do {
		status = hc(TM_HC_BITMAP_GET_SPARSE, o.h, s, BUF, 3 * 16, cursor, 0);
		if (status < 0) {
			fail("BITMAP_GET_SPARSE's status");
			return;
		}
		for (uint64_t i = 0; i < hc_res[1]; i++) {
			bits[p[i].word] |= p[i].bits;
		}
		cursor = hc_res[0];
	} while (status == TM_CONTINUE);
	if (has(TM_DIRTY_MANUAL)) {
		memcpy(world_ptr(BUF), bits, sizeof(bits));
		clear_all(s, 0, slot_pages[s]);
	}
	take_bitmap(s, bits);
}

static void collect_everything(void)
{
	if (hc(TM_HC_VM_SYNC, o.h, 0, 0, 0, 0, 0) != 0) {
		fail("VM_SYNC's status");
	}
	for (unsigned pass = 0; pass < 20; pass++) {	// the hidden set comes out in pieces
		for (unsigned v = 0; v < o.vcpus; v++) {
			harvest(v, ~0ull);
		}
		ring_reset();
	}
	for (unsigned s = 1; s <= SLOTS && bitmap(); s++) {
		if (o.present[s]) {
			collect_bitmap(s, false);
		}
	}
	if (bitmap()) {
		if (hc(TM_HC_BITMAP_SUMMARY, o.h, 0, 0, 0, 0, 0) != 0 || hc_res[0] != 0) {
			fail("SUMMARY says dirty after all was collected");
		}
	}
}

// Ring entries that nobody has reset yet: they may name pages that have been copied since.
static uint64_t entries_pending(void)
{
	uint64_t n = o.todo_count;

	for (unsigned v = 0; v < o.vcpus; v++) {
		n += o.vm->vcpu[v]->ring.entries ? dirty_ring_used(&o.vm->vcpu[v]->ring) : 0;
	}
	return n;
}

// ---- checks ----

static void compare_slot(unsigned s)
{
	uint64_t now[WORDS];

	for (uint64_t i = 0; i < slot_pages[s]; i++) {
		read_page(s, i, now);
		if (memcmp(now, o.page[s][i].copy, sizeof(now)) != 0) {
			fail("lost page: content differs from the copy and nothing is pending");
			return;
		}
	}
}

static void end_round(void)
{
	uint64_t over = 0;

	o.yielding = false;
	collect_everything();
	for (unsigned s = 1; s <= SLOTS; s++) {
		if (!o.present[s]) {
			continue;
		}
		compare_slot(s);
		for (uint64_t i = 0; i < slot_pages[s]; i++) {
			over += o.page[s][i].reported && !o.page[s][i].written;
			o.page[s][i].reported = o.page[s][i].written = false;
		}
	}
	total_over += over;
	if (over > o.excuses) {
		fail("over-report beyond I-3");
	}
	o.excuses = 0;
	total_rounds++;
}

// ---- operations ----

static void unblock(unsigned v)
{
	total_stops++;
	o.excuses++;		// I-3 (a)
	o.vm->vcpu[v]->stop_pending = false;
	harvest(v, 1 + rnd(RING_ENTRIES));
	ring_reset();
}

static void op_store(void)
{
	unsigned s = some_slot(), v = (unsigned)rnd(o.vcpus);
	uint64_t page = rnd(4) ? rnd(slot_pages[s]) : rnd(16);
	uint64_t word = rnd(WORDS), value = ++o.seq, *p;
	struct fake_result r;

	if (dirty_log_entry_blocked(o.vm->vcpu[v])) {
		unblock(v);
		return;
	}
	r = fake_store64(o.vm, v, gpa(gpa_of(s, page) + word * 8), value);
	total_faults += r.faults;
	if (r.action == FAULT_STOP) {
		unblock(v);
		return;
	}
	if (r.action != FAKE_DONE) {
		fail("a store to RAM did not get through");
		return;
	}
	p = guest_ptr(o.vm, gpa_of(s, page));
	if (p == NULL || p[word] != value) {
		fail("a store landed where the slot does not say");
		return;
	}
	o.page[s][page].written = true;
	total_writes++;
}

static void op_load(void)
{
	unsigned s = some_slot(), v = (unsigned)rnd(o.vcpus);
	uint64_t page = rnd(slot_pages[s]), word = rnd(WORDS), value, *p;

	if (fake_load64(o.vm, v, gpa(gpa_of(s, page) + word * 8), &value).action != FAKE_DONE) {
		fail("a load from RAM did not get through");
		return;
	}
	p = guest_ptr(o.vm, gpa_of(s, page));
	if (p == NULL || p[word] != value) {
		fail("a load came from where the slot does not say");
	}
}

static void op_hyp_write(void)
{
	unsigned s = some_slot();
	uint64_t page = rnd(slot_pages[s] - 1);
	int64_t status = hc(TM_HC_HYP_WRITE, o.h, gpa_of(s, page), 16, o.seq += 2, 0, 0);

	if (!bitmap()) {
		if (status != -TM_ENXIO) {
			fail("an outside write was not refused (R-7)");
		}
		return;
	}
	if (status != 0) {
		fail("HYP_WRITE's status");
	}
	o.page[s][page].written = true;
}

static void op_vcpu_write(void)
{
	unsigned s = some_slot(), v = (unsigned)rnd(o.vcpus);
	uint64_t page = rnd(slot_pages[s]), value[2] = {o.seq + 1, o.seq + 2};

	o.seq += 2;
	fake_set_cpu(v);
	this_pcpu()->current = o.vm->vcpu[v];
	if (guest_write(o.vm, o.vm->vcpu[v], gpa(gpa_of(s, page)), value, sizeof(value), NULL) != 0) {
		fail("guest_write's status");
	}
	this_pcpu()->current = NULL;
	o.page[s][page].written = true;
}

static void op_window_store(void)
{
	unsigned s = some_slot();
	uint64_t page = rnd(slot_pages[s]), value = ++o.seq, at, *p;

	if (!o.window[s]) {
		int64_t status = hc(TM_HC_MAP_GUEST, o.h, gpa_of(s, 0), slot_pages[s],
				    window_at(s), 3, 0);

		if (status != (bitmap() ? 0 : -TM_ENXIO)) {
			fail("MAP_GUEST's status");
		}
		o.window[s] = status == 0;
	}
	if (!o.window[s]) {
		return;
	}
	at = window_at(s) + page * PAGE_SIZE + 8 * rnd(WORDS);
	if (fake_store64(world_manager, 0, gpa(at), value).action != FAKE_DONE) {
		fail("a store through a window did not get through");
		return;
	}
	p = guest_ptr(o.vm, gpa_of(s, page));
	if (p == NULL || p[(at % PAGE_SIZE) / 8] != value) {
		fail("a window store landed elsewhere");
	}
	o.page[s][page].written = true;
	if (rnd(40) == 0) {
		if (hc_loop(0, NULL, TM_HC_UNMAP, window_at(s), slot_pages[s], 0, 0, 0) != 0) {
			fail("UNMAP's status");
		}
		o.window[s] = false;
	}
}

static int64_t set_slot(unsigned s, uint32_t flags)
{
	return slot_set(o.vm, s, flags, gpa_of(s, 0), slot_pages[s] * PAGE_SIZE, o.backing[s]);
}

// The log is off for a while: what was written meanwhile is known only by a full pass after ON.
static void op_toggle(void)
{
	unsigned s = some_slot();

	for (unsigned v = 0; v < o.vcpus; v++) {
		harvest(v, ~0ull);
	}
	if (set_slot(s, 0) != 0) {
		fail("log off");
	}
	for (unsigned i = (unsigned)rnd(20); i > 0; i--) {
		op_store();
		op_load();
	}
	if (!bitmap() && o.window[s]) {
		return;
	}
	if (set_slot(s, TM_SLOT_LOG_DIRTY) != 0) {
		fail("log on");
	}
	refresh_slot(s);
	if (has(TM_DIRTY_INITIALLY_SET)) {
		o.excuses += slot_pages[s];
	}
	o.excuses += entries_pending();
}

static void op_move(void)
{
	unsigned s = some_slot();

	o.half[s] ^= 1;
	if (set_slot(s, TM_SLOT_LOG_DIRTY) != 0) {
		fail("MOVE's status");
	}
	o.window[s] = false;
	if (fake_access(o.vm, 0, gpa(GPA(s, o.half[s] ^ 1)), true).action != FAULT_ABORT) {
		fail("the old place still answers after MOVE");
	}
}

static void create(unsigned s)
{
	// Backed ones start 2 MiB aligned on both sides, so that large leaves appear.
	o.backing[s] = s == 3 ? 0 : o.backing[s];
	if (set_slot(s, TM_SLOT_LOG_DIRTY) != 0) {
		fail("CREATE's status");
		return;
	}
	o.present[s] = true;
	memset(o.page[s], 0, sizeof(o.page[s]));
	refresh_slot(s);
	if (has(TM_DIRTY_INITIALLY_SET)) {
		o.excuses += slot_pages[s];
	}
	o.excuses += entries_pending();
}

static void op_delete_collect(void)
{
	static uint64_t content[MAX_PAGES][WORDS];
	unsigned s = some_slot();
	uint64_t *bits = world_ptr(BUF);

	for (unsigned v = 0; v < o.vcpus; v++) {
		harvest(v, ~0ull);
	}
	ring_reset();
	for (unsigned i = 0; i < 8; i++) {
		op_store();
	}
	for (unsigned v = 0; v < o.vcpus; v++) {
		harvest(v, ~0ull);
	}
	for (uint64_t i = 0; i < slot_pages[s]; i++) {
		read_page(s, i, content[i]);
	}
	if (!bitmap()) {
		if (hc(TM_HC_SLOT_DELETE_COLLECT, o.h, s, BUF, 4096, 0, 0) != -TM_ENXIO) {
			fail("DELETE_COLLECT of a ring-exclusive VM");
		}
		return;
	}
	if (hc_loop(0, NULL, TM_HC_SLOT_DELETE_COLLECT, o.h, s, BUF, 4096, 0) != 0) {
		fail("DELETE_COLLECT's status");
	}
	for (uint64_t i = 0; i < slot_pages[s]; i++) {
		bool in = bits[i / 64] >> (i % 64) & 1;

		for (unsigned k = 0; k < o.todo_count; k++) {
			in = in || (o.todo[k].slot == s && o.todo[k].offset == i);
		}
		if (!in && memcmp(content[i], o.page[s][i].copy, sizeof(content[i])) != 0) {
			fail("lost page: not in the final bitmap of DELETE_COLLECT");
		}
	}
	if (fake_access(o.vm, 0, gpa(gpa_of(s, 0)), true).action != FAULT_ABORT) {
		fail("a deleted slot still answers");
	}
	o.present[s] = o.window[s] = false;
	o.half[s] = 0;
	create(s);
}

static void op_add_remove(void)
{
	if (o.present[4]) {
		o.half[4] = 0;
		if (slot_set(o.vm, 4, 0, 0, 0, 0) != 0) {
			fail("DELETE's status");
		}
		o.present[4] = o.window[4] = false;
	} else {
		create(4);
	}
}

static void op_vcpu_again(void)
{
	unsigned v = (unsigned)rnd(o.vcpus);
	struct vcpu *vcpu;

	fake_exit_guests();	// STOPPED means that it has left the guest
	if (hc(TM_HC_VCPU_DESTROY, o.h, v, 0, 0, 0, 0) != 0 ||
	    hc(TM_HC_VCPU_CREATE, o.h, v, 0, 0, 0, 0) != 0) {
		fail("VCPU_DESTROY and CREATE");
		return;
	}
	vcpu = o.vm->vcpu[v];
	vcpu->powered_on = true;
	o.harvested[v] = 0;
	(void)vcpu;
	// What had been harvested and not reset went to the bitmap: it is reported again.
	o.excuses += o.todo_count;
}

static void op_sync(void)
{
	if (hc(TM_HC_VM_PAUSE, o.h, rnd(2) ? TM_PAUSE_QUIESCE : 0, 0, 0, 0, 0) != 0 ||
	    hc(TM_HC_VM_SYNC, o.h, 0, 0, 0, 0, 0) != 0) {
		fail("PAUSE and SYNC");
	}
	collect_everything();
	if (hc(TM_HC_VM_RESUME, o.h, 0, 0, 0, 0, 0) != 0) {
		fail("RESUME");
	}
}

static void op_mark(void)
{
	unsigned s = some_slot();
	uint64_t first = rnd(slot_pages[s]), left = slot_pages[s] - first, n = 1 + rnd(MIN(left, 70u));

	if (hc_loop(6, NULL, TM_HC_MARK_DIRTY, o.h, s, first, n, 0) != (bitmap() ? 0 : -TM_ENXIO)) {
		fail("MARK_DIRTY's status");
	}
	o.excuses += n;
}

static void one_op(void)
{
	// Stores are most of it.
	unsigned pick = (unsigned)rnd(100), s = some_slot();
	enum op op = pick < 62 ? OP_STORE : pick < 70 ? OP_LOAD :
		     (enum op)(OP_HYP_WRITE + rnd(OP_COUNT - OP_HYP_WRITE));

	// The rare ones stay rare, so that there is something to lose in between.
	if (op >= OP_TOGGLE && rnd(4)) {
		op = OP_STORE;
	}
	op_done[op]++;
	switch (op) {
	case OP_STORE: op_store(); break;
	case OP_LOAD: op_load(); break;
	case OP_HYP_WRITE: op_hyp_write(); break;
	case OP_VCPU_WRITE: op_vcpu_write(); break;
	case OP_WINDOW_STORE: op_window_store(); break;
	case OP_RESET: ring_reset(); break;
	case OP_HARVEST: harvest((unsigned)rnd(o.vcpus), 1 + rnd(60)); break;
	case OP_GET:
	case OP_CLEAR:
		o.yielding = rnd(2);
		if (bitmap()) {
			collect_bitmap(s, op == OP_CLEAR);
		}
		o.yielding = false;
		break;
	case OP_SPARSE:
		if (bitmap()) {
			collect_sparse(s);
		}
		break;
	case OP_TOGGLE: op_toggle(); break;
	case OP_MOVE: op_move(); break;
	case OP_DELETE_COLLECT: op_delete_collect(); break;
	case OP_SYNC: op_sync(); break;
	case OP_ADD_REMOVE: op_add_remove(); break;
	case OP_MARK: op_mark(); break;
	case OP_PREFAULT:
		if (hc_loop(6, NULL, TM_HC_PREFAULT, o.h, gpa_of(s, 0), 1 + rnd(slot_pages[s]), 0,
			    0) != 0) {
			fail("PREFAULT's status");
		}
		break;
	case OP_VCPU_AGAIN: op_vcpu_again(); break;
	case OP_QUERY:
		if (hc_loop(6, NULL, TM_HC_SLOT_QUERY, o.h, s, BUF, 128, 0) != 0) {
			fail("SLOT_QUERY's status");
		}
		break;
	case OP_BURST:
		// Enough to fill a ring, unless it stops or spills.
		for (unsigned i = 0; i < 400 && o.caught == NULL; i++) {
			op_store();
		}
		break;
	case OP_COUNT: break;
	}
}

// A yield point with no lock held: another vCPU gets a turn between "taken" and "handed out".
static bool in_yield;

static void (*bitmap_hook)(void);

void test_yield(void)
{
	const struct spinlock *l = o.vm ? &o.vm->s2.lock : NULL;
	unsigned cpu = this_pcpu()->id;
	struct vcpu *current = this_pcpu()->current;

	if (bitmap_hook) {
		bitmap_hook();
		return;
	}
	if (!yields_armed || in_yield || l == NULL || l->next != l->owner) {
		return;
	}
	in_yield = true;
	o.excuses++;		// I-3 (f)
	op_store();
	in_yield = false;
	fake_set_cpu(cpu);
	this_pcpu()->current = current;
}

// ---- a run ----

static void machine(uint64_t seed, unsigned mode, unsigned vcpus)
{
	struct vm *vm;

	world_init(1);
	fake_tlb_reset(seed);
	memset(&o, 0, sizeof(o));
	o.rng = (struct check_rng){seed * UINT64_C(0x9e3779b97f4a7c15) | 1};
	for (unsigned i = 0; i < 8; i++) {
		(void)check_rand(&o.rng);
	}
	fake_backends = 1u << TM_BACKEND_WP | 1u << TM_BACKEND_DBM | 1u << TM_BACKEND_PML;
	world_backend = backend;
	vm = world_guest(vcpus, modes[mode].flags & TM_DIRTY_RING ? RING_ENTRIES : 0,
			 modes[mode].flags);
	o.vm = vm;
	o.h = vm->handle;
	o.vcpus = vcpus;
	o.flags = modes[mode].flags;
	for (unsigned s = 1; s <= SLOTS; s++) {
		o.backing[s] = world_mem(slot_pages[s], 2ull << 20);
		if (s < SLOTS) {
			create(s);
		}
	}
}

// Rounds until something is caught or `rounds` are over.
static const char *run(uint64_t seed, unsigned mode, unsigned vcpus, uint64_t rounds,
		       uint64_t *used)
{
	const char *caught;

	machine(seed, mode, vcpus);
	for (*used = 0; *used < rounds && o.caught == NULL; (*used)++) {
		for (uint64_t n = 100 + rnd(150); n > 0 && o.caught == NULL; n--) {
			one_op();
		}
		end_round();
	}
	fake_exit_guests();
	total_spills += o.vm->dirty.spills;
	caught = o.caught;
	for (unsigned v = 0; v < o.vcpus; v++) {
		o.vm->vcpu[v]->stop_pending = false;
	}
	world_destroy(o.vm);
	o.vm = NULL;
	return caught;
}

static uint64_t rounds_wanted(void)
{
	const char *text = getenv("TM_ORACLE_ROUNDS");

	return text ? strtoull(text, NULL, 0) : 1200;
}

TEST(oracle)
{
	unsigned runs = ARRAY_SIZE(modes) * 3;
	uint64_t rounds = rounds_wanted() / runs + 1, used;

	for (unsigned i = 0; i < runs; i++) {
		unsigned mode = i % ARRAY_SIZE(modes), vcpus = 1u << (i / ARRAY_SIZE(modes));
		const char *caught = run(check_seed() * 1000 + i, mode, vcpus, rounds, &used);

		if (caught) {
			fprintf(stderr, "%s, %u vCPUs, round %llu: %s\n", modes[mode].name, vcpus,
				(unsigned long long)used, caught);
		}
		CHECK(caught == NULL);
	}
	printf("# oracle: %llu rounds, %llu writes, %llu faults, %llu stops, %llu spills, "
	       "%llu over-reports, TLB %llu hits %llu dropped\n",
	       (unsigned long long)total_rounds, (unsigned long long)total_writes,
	       (unsigned long long)total_faults, (unsigned long long)total_stops,
	       (unsigned long long)total_spills, (unsigned long long)total_over,
	       (unsigned long long)fake_tlb.hits, (unsigned long long)fake_tlb.dropped);
	printf("# operations:");
	for (unsigned i = 0; i < OP_COUNT; i++) {
		printf(" %s %llu", op_names[i], (unsigned long long)op_done[i]);
	}
	printf("\n");
	for (unsigned i = 0; i < OP_COUNT; i++) {
		CHECK(op_done[i] > 0);
	}
	CHECK(total_writes > 100 * rounds && total_faults && total_stops && total_spills);
}

// ---- back ends in hardware: the same results (C-143) ----

static void hardware(unsigned with, const struct pgtable_format *fmt, unsigned root_level,
		     const unsigned *mode, unsigned mode_count)
{
	uint64_t used, writes = total_writes, faults = total_faults, dirtied = fake_tlb.dirtied;

	fake_use_format(fmt, 40, root_level);
	backend = with;
	ring_entries = 1024;	// C-009: a ring holds a whole hardware buffer besides its reserve
	for (unsigned i = 0; i < mode_count * 3; i++) {
		unsigned m = mode[i % mode_count], vcpus = 1u << (i / mode_count);
		const char *caught = run(check_seed() * 3000 + i, m, vcpus, 25, &used);

		if (caught) {
			fprintf(stderr, "backend %u, %s, %u vCPUs, round %llu: %s\n", with,
				modes[m].name, vcpus, (unsigned long long)used, caught);
		}
		CHECK(caught == NULL);
		dirtied += fake_tlb.dirtied;
	}
	printf("# backend %u, %s: %llu writes, %llu faults, %llu marked by hardware\n", with, fmt->name,
	       (unsigned long long)(total_writes - writes),
	       (unsigned long long)(total_faults - faults), (unsigned long long)dirtied);
	CHECK(dirtied > 1000);
	backend = TM_BACKEND_WP;
	ring_entries = 256;
	fake_use_format(&arm64_stage2_format, 40, 2);
}

TEST(hardware_log)
{
	static const unsigned mode[] = {0, 1, 2, 3, 4, 5, 6, 7};

	hardware(TM_BACKEND_PML, &ept_format, 3, mode, ARRAY_SIZE(mode));
}

TEST(hardware_dirty_bit)
{
	static const unsigned mode[] = {1, 2, 3, 6, 7};

	hardware(TM_BACKEND_DBM, &ept_format, 3, mode, ARRAY_SIZE(mode));
	hardware(TM_BACKEND_DBM, &npt_format, 3, mode, ARRAY_SIZE(mode));
	hardware(TM_BACKEND_DBM, &arm64_stage2_format, 2, mode, ARRAY_SIZE(mode));
}

// ---- mutants ----

#define SEEDS 20u
#define MUTANT_ROUNDS 150u

static void expect_caught(enum mutant m, const unsigned *mode, unsigned mode_count)
{
	const char *by[SEEDS];
	uint64_t used, most = 0;
	unsigned caught = 0;

	for (unsigned i = 0; i < SEEDS; i++) {
		mutant_active = m;
		by[i] = run(check_seed() * 7000 + i, mode[i % mode_count], 2 + i % 2, MUTANT_ROUNDS,
			    &used);
		mutant_active = MUTANT_NONE;
		caught += by[i] != NULL;
		most = MAX(most, used);
	}
	printf("# mutant %s: caught in %u of %u seeds, within %llu rounds\n", mutant_name(m), caught,
	       SEEDS, (unsigned long long)most);
	for (unsigned i = 0; i < SEEDS; i++) {
		unsigned n = 0;

		for (unsigned k = 0; k < SEEDS && by[i]; k++) {
			n += by[k] == by[i];
			if (by[k] == by[i] && k < i) {
				n = 0;
				break;
			}
		}
		if (n) {
			printf("#   %u x %s\n", n, by[i]);
		}
	}
	CHECK_EQ(caught, SEEDS);
}

TEST(mutant_no_tlb_flush)
{
	static const unsigned mode[] = {0, 1, 2, 3, 4, 5};

	expect_caught(MUTANT_NO_TLB_FLUSH, mode, ARRAY_SIZE(mode));
}

TEST(mutant_grant_before_mark)
{
	static const unsigned mode[] = {0, 4, 5};

	expect_caught(MUTANT_GRANT_BEFORE_MARK, mode, ARRAY_SIZE(mode));
}

TEST(mutant_batch_not_committed)
{
	static const unsigned mode[] = {0, 1, 4, 5};

	expect_caught(MUTANT_BATCH_NOT_COMMITTED, mode, ARRAY_SIZE(mode));
}

TEST(mutant_arm_after_consume)
{
	static const unsigned mode[] = {2, 3, 1, 7};

	expect_caught(MUTANT_ARM_AFTER_CONSUME, mode, ARRAY_SIZE(mode));
}

TEST(mutant_no_drain)
{
	static const unsigned mode[] = {1, 2, 3, 6};

	ring_entries = 1024;
	backend = TM_BACKEND_PML;
	expect_caught(MUTANT_NO_DRAIN, mode, ARRAY_SIZE(mode));
	backend = TM_BACKEND_DBM;
	expect_caught(MUTANT_NO_DRAIN, mode, ARRAY_SIZE(mode));
	expect_caught(MUTANT_NO_TLB_FLUSH, mode, ARRAY_SIZE(mode));
	backend = TM_BACKEND_WP;
	ring_entries = 256;
}

// ---- the bitmap's own protocol, where setters and the collector hold no common lock ----

#define MAP_PAGES 9000u

static struct dirty_bitmap map;
static uint8_t pending[MAP_PAGES];
static struct check_rng map_rng;

static void collect_some(uint64_t from, unsigned words)
{
	for (uint64_t w = dirty_bitmap_next(&map, from); w != ~0ull && words-- > 0;
	     w = dirty_bitmap_next(&map, w + 1)) {
		uint64_t bits = dirty_bitmap_clear_word(&map, w, ~0ull);

		for (; bits; bits &= bits - 1) {
			pending[w * 64 + (unsigned)__builtin_ctzll(bits)] = 0;
		}
	}
}

static void set_one(void)
{
	uint64_t page = check_below(&map_rng, MAP_PAGES);

	pending[page] = 1;
	(void)dirty_bitmap_set(&map, page);
}

// The other side gets a turn in the middle of a set, a setter in the middle of a clear.
static void map_turn(void)
{
	void (*self)(void) = bitmap_hook;

	bitmap_hook = NULL;
	if (check_below(&map_rng, 4) == 0) {
		collect_some(0, ~0u);
	} else if (check_below(&map_rng, 2) == 0) {
		set_one();
	}
	bitmap_hook = self;
}

// NULL, or what is wrong after all has been collected.
static const char *bitmap_run(uint64_t seed, unsigned rounds)
{
	static struct mem_pool pool;
	static uint64_t mem;
	const char *caught = NULL;

	world_init(1);
	mem = mem ? mem : boot_alloc(64 * PAGE_SIZE, PAGE_SIZE).v;
	pool_init(&pool, hpa(mem), 64);
	map_rng = (struct check_rng){seed * UINT64_C(0x9e3779b97f4a7c15) | 1};
	memset(pending, 0, sizeof(pending));
	CHECK_EQ(dirty_bitmap_init(&map, &pool, MAP_PAGES), 0);
	for (unsigned round = 0; round < rounds && !caught; round++) {
		bitmap_hook = map_turn;
		for (unsigned i = 0; i < 50; i++) {
			set_one();
			collect_some(check_below(&map_rng, MAP_PAGES / 64), 3);
		}
		bitmap_hook = NULL;
		collect_some(0, ~0u);
		for (unsigned i = 0; i < MAP_PAGES && !caught; i++) {
			caught = pending[i] ? "lost page: a bit under a clear summary" : NULL;
		}
		// A set that raced with a collection may leave `any` on; it may not find anything.
		if (!caught && dirty_bitmap_next(&map, 0) != ~0ull) {
			caught = "a bit that nobody has set";
		}
	}
	dirty_bitmap_destroy(&map);
	return caught;
}

TEST(bitmap_protocol)
{
	for (unsigned i = 0; i < 40; i++) {
		const char *caught = bitmap_run(check_seed() * 100 + i, 100);

		if (caught) {
			fprintf(stderr, "%s\n", caught);
		}
		CHECK(caught == NULL);
	}
}

TEST(mutant_summary_before_leaf)
{
	unsigned caught = 0;
	const char *by = NULL;

	for (unsigned i = 0; i < SEEDS; i++) {
		const char *c;

		mutant_active = MUTANT_SUMMARY_BEFORE_LEAF;
		c = bitmap_run(check_seed() * 100 + i, 100);
		mutant_active = MUTANT_NONE;
		caught += c != NULL;
		by = c ? c : by;
	}
	printf("# mutant %s: caught in %u of %u seeds\n#   %u x %s\n",
	       mutant_name(MUTANT_SUMMARY_BEFORE_LEAF), caught, SEEDS, caught, by ? by : "nothing");
	CHECK_EQ(caught, SEEDS);
}

// ---- C-051: writers that never wait for anybody, in threads ----

#define WRITERS 3u

static uint32_t gate, parked, over;
static uint64_t thread_writes;

static void *writer(void *arg)
{
	unsigned v = (unsigned)(uintptr_t)arg;
	struct check_rng rng = check_rng_make(v + 50);
	uint64_t value = 0;

	fake_set_cpu(v);
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		unsigned s = 1 + (unsigned)check_below(&rng, 3);
		uint64_t page = check_below(&rng, 4) ? check_below(&rng, slot_pages[s]) :
				check_below(&rng, 8);

		if (__atomic_load_n(&gate, __ATOMIC_ACQUIRE)) {
			__atomic_fetch_add(&parked, 1, __ATOMIC_ACQ_REL);
			while (__atomic_load_n(&gate, __ATOMIC_ACQUIRE)) {
				sched_yield();
			}
			__atomic_fetch_sub(&parked, 1, __ATOMIC_ACQ_REL);
		}
		if (dirty_log_entry_blocked(o.vm->vcpu[v])) {
			sched_yield();
			continue;
		}
		// A word of its own, so that every value is fresh.
		if (fake_store64(o.vm, v, gpa(GPA(s, 0) + page * PAGE_SIZE + 8 * v),
				 ++value).action == FAKE_DONE) {
			__atomic_fetch_add(&thread_writes, 1, __ATOMIC_RELAXED);
		}
		o.vm->vcpu[v]->stop_pending = false;
	}
	return NULL;
}

static void manager_turn(void)
{
	unsigned s = 1 + (unsigned)rnd(3);

	switch (rnd(8)) {
	case 0:
		if (set_slot(s, 0) != 0 || set_slot(s, TM_SLOT_LOG_DIRTY) != 0) {
			fail("log toggle");
		}
		refresh_slot(s);
		break;
	case 1:
	case 2:
		harvest((unsigned)rnd(WRITERS), 1 + rnd(100));
		break;
	case 3:
	case 4:
		ring_reset();
		break;
	case 5:
		if (bitmap()) {
			collect_sparse(s);
		}
		break;
	default:
		if (bitmap()) {
			collect_bitmap(s, rnd(2));
		}
	}
}

static void threads(uint64_t seed, unsigned mode, unsigned rounds)
{
	pthread_t t[WRITERS];

	machine(seed, mode, WRITERS);
	gate = parked = over = 0;
	for (unsigned v = 0; v < WRITERS; v++) {
		pthread_create(&t[v], NULL, writer, (void *)(uintptr_t)v);
	}
	for (unsigned round = 0; round < rounds && !o.caught; round++) {
		for (unsigned i = 0; i < 40; i++) {
			manager_turn();
		}
		__atomic_store_n(&gate, 1, __ATOMIC_RELEASE);
		while (__atomic_load_n(&parked, __ATOMIC_ACQUIRE) != WRITERS) {
			// One that stands at a full ring is as good as parked once it looks.
			sched_yield();
		}
		collect_everything();
		for (unsigned s = 1; s <= 3; s++) {
			compare_slot(s);
		}
		__atomic_store_n(&gate, 0, __ATOMIC_RELEASE);
		while (__atomic_load_n(&parked, __ATOMIC_ACQUIRE) != 0) {
			sched_yield();
		}
	}
	__atomic_store_n(&over, 1, __ATOMIC_RELEASE);
	for (unsigned v = 0; v < WRITERS; v++) {
		pthread_join(t[v], NULL);
	}
	if (o.caught) {
		fprintf(stderr, "%s, threads: %s\n", modes[mode].name, o.caught);
	}
	CHECK(o.caught == NULL);
	world_destroy(o.vm);
	o.vm = NULL;
}

TEST(writers_in_threads)
{
	for (unsigned mode = 0; mode < 6; mode++) {
		threads(check_seed() + mode, mode, 5);
	}
	printf("# threads: %llu writes\n", (unsigned long long)thread_writes);
	CHECK(thread_writes > 10000);
}

CHECK_MAIN()
