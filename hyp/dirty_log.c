// SPDX-License-Identifier: Apache-2.0
/*
 * The dirty log of a VM: where a dirtied page is recorded and how a record is consumed.
 *
 *	fault.c (guest store) ------+			  +-- by this CPU's vCPU --> its ring
 *	guest_copy.c (hypervisor) --+--> dirty_log_mark() +-- anybody else --------> bitmap
 *	window.c (manager) ---------+			  +-- no room: bitmap, or the hidden
 *								overflow set of the slot
 *
 * Everything here that touches leaves, bits or rings runs under the VM's stage-2 lock; RING_RESET
 * also under reset_lock. Invariant I-1: a page of a logging slot is pending or armed for every
 * writer; what a call consumes it arms, flush included, before it returns.
 */
#include <arch/cpu.h>
#include <hyp/boot_info.h>
#include <hyp/dirty_hw.h>
#include <hyp/dirty_log.h>
#include <hyp/sched.h>
#include <hyp/test_hooks.h>
#include <hyp/vm.h>

#define RESET_ENTRIES 512u	/* per RING_RESET call */
#define REEMIT_ENTRIES 64u

/* ---- configuration ---------------------------------------------------------------------------- */

#define KNOWN_FLAGS                                                                                \
	((uint64_t)(TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_MANUAL | TM_DIRTY_INITIALLY_SET |   \
		    TM_DIRTY_SPILL | TM_DIRTY_RING_GEN | TM_DIRTY_EAGER_SPLIT))

bool dirty_log_ring_exclusive(const struct vm *vm)
{
	return (vm->dirty.flags & (TM_DIRTY_RING | TM_DIRTY_BITMAP)) == TM_DIRTY_RING;
}

/* A VM that was never configured is bitmap, automatic: flags 0. */
bool dirty_log_has_bitmap(const struct vm *vm)
{
	return !dirty_log_ring_exclusive(vm);
}

bool dirty_log_manual(const struct vm *vm)
{
	return vm->dirty.flags & TM_DIRTY_MANUAL;
}

bool dirty_log_stops_at_full(const struct vm *vm)
{
	return (vm->dirty.flags & (TM_DIRTY_RING | TM_DIRTY_SPILL)) == TM_DIRTY_RING &&
	       manager_alive() && !__atomic_load_n(&vm->dirty.orphan, __ATOMIC_SEQ_CST);
}

static int flags_check(uint64_t entries, uint64_t flags)
{
	bool ring = flags & TM_DIRTY_RING, bitmap = flags & TM_DIRTY_BITMAP;

	if ((flags & ~KNOWN_FLAGS) || !(ring || bitmap)) {
		return -TM_EINVAL;
	}
	if ((flags & TM_DIRTY_MANUAL) && !bitmap) {
		return -TM_EINVAL;
	}
	/* only with MANUAL. R-39: never with a ring. */
	if ((flags & TM_DIRTY_INITIALLY_SET) && (!(flags & TM_DIRTY_MANUAL) || ring)) {
		return -TM_EINVAL;
	}
	if (((flags & TM_DIRTY_SPILL) && !(ring && bitmap)) ||
	    ((flags & TM_DIRTY_RING_GEN) && !ring)) {
		return -TM_EINVAL;
	}
	if (!ring) {
		return entries ? -TM_EINVAL : 0;
	}
	/* all 64 bits count; a page at least, more than is held in reserve, a power of two. */
	if (entries * sizeof(struct tm_ring_entry) < PAGE_SIZE || entries <= DIRTY_RING_RESERVE ||
	    (entries & (entries - 1))) {
		return -TM_EINVAL;
	}
	return entries > TM_RING_MAX_ENTRIES ? -TM_E2BIG : 0;
}

int dirty_log_config(struct vm *vm, uint64_t ring_entries, uint64_t flags)
{
	struct dirty_log *d = &vm->dirty;
	int err = flags_check(ring_entries, flags);

	if (err) {
		return err;
	}
	/* test and set are one step, against VCPU_CREATE and SLOT_SET alike. */
	spin_lock(&vm->lock);
	spin_lock(&vm->slots_lock);
	if (d->configured && d->flags == flags && d->ring_entries == ring_entries) {
		err = 0;
	} else if (vm->vcpus_count) {
		err = -TM_EINVAL;
	} else if (vm->slots.count) {
		err = -TM_EBUSY;	/* C-013 */
	} else if (d->configured) {
		err = -TM_EINVAL;
	} else if (!dirty_hw_allows(vm, ring_entries, flags)) {
		err = -TM_EOPNOTSUPP;
	} else {
		d->flags = (uint32_t)flags;
		d->ring_entries = (uint32_t)ring_entries;
		d->configured = true;
	}
	spin_unlock(&vm->slots_lock);
	spin_unlock(&vm->lock);
	return err;
}

/* PV time is written when a vCPU is scheduled, which counts as no vCPU of the VM. */
int dirty_log_vcpu_create_check(struct vm *vm)
{
	return dirty_log_ring_exclusive(vm) && vm->pvtime_gpa != ~0ull ? -TM_EINVAL : 0;
}

static uint64_t ring_bytes(const struct vm *vm)
{
	return (uint64_t)vm->dirty.ring_entries * sizeof(struct tm_ring_entry);
}

int dirty_log_ring_alloc(struct vcpu *v)
{
	uint64_t pages = ring_bytes(v->vm) / PAGE_SIZE;
	struct tm_ring_entry *entries;

	if (!(v->vm->dirty.flags & TM_DIRTY_RING)) {
		return 0;
	}
	entries = page_alloc_contig(pages);	/* hypervisor-owned and zeroed */
	if (!entries) {
		return -TM_ENOMEM;
	}
	v->ring_pages = pages;
	dirty_ring_init(&v->ring, entries, v->vm->dirty.ring_entries, dirty_hw_reserve(v->vm));
	return 0;
}

void dirty_log_ring_free(struct vcpu *v)
{
	if (v->ring.entries) {
		page_free_contig(v->ring.entries, v->ring_pages);
		v->ring.entries = NULL;
		v->ring_pages = 0;
	}
}

/* ---- marking ---------------------------------------------------------------------------------- */

/* 0 -> 1 of OVERFLOW sets the event bit; the bit in the bitmap is there before it (abi.md). */
static void overflow_flag(struct vcpu *v)
{
	uint32_t old;

	v->overflow = true;
	if (!v->run) {
		return;
	}
	old = __atomic_fetch_or(&v->run->flags, (uint32_t)TM_RUN_OVERFLOW, __ATOMIC_RELEASE);
	if (!(old & TM_RUN_OVERFLOW)) {
		vcpu_event(v);
	}
}

static void count_quota(struct vcpu *v)
{
	uint64_t q = __atomic_load_n(&v->quota, __ATOMIC_RELAXED);

	/* once per log event; a QUOTA_SET at the same moment wins. */
	if (unlikely(q != ~0ull) && q > 0 &&
	    __atomic_compare_exchange_n(&v->quota, &q, q - 1, false, __ATOMIC_RELAXED,
					__ATOMIC_RELAXED) && q == 1) {
		/* Used up: it is stopped before its next instruction (dirty_log_entry_blocked). */
		__atomic_store_n(&this_pcpu()->resched, 1, __ATOMIC_RELAXED);
	}
}

static bool mark_ring(struct vm *vm, const struct memslot *m, uint64_t offset, struct vcpu *by)
{
	uint32_t hi = vm->dirty.flags & TM_DIRTY_RING_GEN ? (uint32_t)m->generation << 16 : 0;

	if (dirty_ring_push(&by->ring, m->id, offset, hi)) {
		return false;
	}
	vm->dirty.pages_ring++;
	return true;
}

void dirty_log_mark(struct vm *vm, struct memslot *m, uint64_t offset, struct vcpu *by)
{
	struct dirty_log *d = &vm->dirty;

	spin_assert_held(&vm->s2.lock);
	if (!memslot_logging(m)) {
		return;
	}
	if (by) {
		by->stats.pages_logged++;
		count_quota(by);
		if (by->ring.entries && likely(mark_ring(vm, m, offset, by))) {
			return;
		}
	}
	/* outside writers never touch a ring. */
	d->pages_bitmap += dirty_bitmap_set(&m->bitmap, offset) ? 1 : 0;
	if (!by) {
		__atomic_fetch_add(&d->generation, 1, __ATOMIC_RELEASE);	/* */
	} else if (by->ring.entries) {
		d->spills++;		/* R-29, SPILL */
		overflow_flag(by);
	}
}

uint32_t dirty_log_entry_blocked(struct vcpu *v)
{
	/* sticky because nothing but a reset makes room. */
	if (v->ring.entries && unlikely(dirty_ring_soft_full(&v->ring)) &&
	    dirty_log_stops_at_full(v->vm)) {
		v->stats.ring_full++;
		return TM_EXIT_DIRTY_RING_FULL;
	}
	if (unlikely(__atomic_load_n(&v->quota, __ATOMIC_RELAXED) == 0)) {
		return TM_EXIT_QUOTA;
	}
	return 0;
}

/* ---- arming ------------------------------------------------------------------------------------ */

/* A read-only slot logs what others write to it; its leaves never become writable. */
static void arm_mask(struct vm *vm, const struct memslot *m, gpa_t first, uint64_t mask,
		     struct tlb_batch *b)
{
	if (m->flags & TM_SLOT_READONLY) {
		(void)stage2_wrprotect_mask(&vm->s2, first, mask, b);
	} else {
		(void)stage2_arm_mask(&vm->s2, first, mask, b);
	}
}

void dirty_log_arm_span(struct vm *vm, const struct memslot *m, gpa_t a, uint64_t pages,
			struct tlb_batch *b)
{
	if (m->flags & TM_SLOT_READONLY) {
		(void)stage2_wrprotect(&vm->s2, a, pages, b);
	} else {
		(void)stage2_arm(&vm->s2, a, pages, b);
	}
}

/* ---- consuming: bitmap ------------------------------------------------------------------------ */

#if TM_TEST_BUILD
/* MUTANT_ARM_AFTER_CONSUME: what was handed out is armed by the next call only. */
static struct {
	struct vm *vm;
	uint32_t slot;
	gpa_t first;
	uint64_t mask;
} deferred[512];
static unsigned deferred_count;

static bool defer_arming(struct vm *vm, const struct memslot *m, gpa_t first, uint64_t mask)
{
	if (!mutant(MUTANT_ARM_AFTER_CONSUME) || deferred_count == ARRAY_SIZE(deferred)) {
		return false;
	}
	deferred[deferred_count].vm = vm;
	deferred[deferred_count].slot = m->id;
	deferred[deferred_count].first = first;
	deferred[deferred_count++].mask = mask;
	return true;
}

void dirty_log_mutant_catch_up(struct vm *vm)
{
	struct tlb_batch b = TLB_BATCH_INIT;

	stage2_lock(&vm->s2);
	for (unsigned i = 0; i < deferred_count; i++) {
		if (deferred[i].vm == vm) {
			struct memslot *m = memslot_get(&vm->slots, deferred[i].slot);

			if (m) {
				arm_mask(vm, m, deferred[i].first, deferred[i].mask, &b);
			}
		}
	}
	stage2_flush(&vm->s2, &b);
	stage2_unlock(&vm->s2);
	deferred_count = 0;
}
#else
static bool defer_arming(struct vm *vm, const struct memslot *m, gpa_t first, uint64_t mask)
{
	(void)vm, (void)m, (void)first, (void)mask;
	return false;
}
#endif

uint64_t dirty_log_consume(struct vm *vm, struct memslot *m, uint64_t w, uint64_t mask,
			   struct tlb_batch *b)
{
	gpa_t first = gpa_add(gfn_to_gpa(m->base), w * 64 << PAGE_SHIFT);
	uint64_t bits;

	spin_assert_held(&vm->s2.lock);
	/*
	 * L1, R-104: take the bits, then arm. Armed first, a fault in between would make the page
	 * writable again and leave its record in the very word that is being handed out. Nobody
	 * can fault here anyway, the lock is ours; bits that come later stand for the next round.
	 */
	bits = dirty_bitmap_clear_word(&m->bitmap, w, mask);
	if (bits && !defer_arming(vm, m, first, bits)) {
		arm_mask(vm, m, first, bits, b);
	}
	return bits;
}

/* ---- consuming: rings ------------------------------------------------------------------------- */

/* Pages of one slot inside a window of 64, waiting to be armed together. */
struct reset_batch {
	struct memslot *m;
	uint64_t base;
	uint64_t mask;
};

static void batch_commit(struct vm *vm, struct reset_batch *k, struct tlb_batch *b)
{
	if (k->mask) {
		arm_mask(vm, k->m, gpa_add(gfn_to_gpa(k->m->base), k->base << PAGE_SHIFT), k->mask,
			 b);
		k->mask = 0;
	}
}

static bool batch_takes(struct reset_batch *k, const struct memslot *m, uint64_t offset)
{
	if (!k->mask || k->m != m) {
		return false;
	}
	if (offset >= k->base) {
		if (offset - k->base >= 64) {
			return false;
		}
		k->mask |= 1ull << (offset - k->base);
		return true;
	}
	/* Backwards: only if no bit falls out at the top. */
	if (k->base - offset >= 64 || k->mask >> (64 - (k->base - offset))) {
		return false;
	}
	k->mask = (k->mask << (k->base - offset)) | 1;
	k->base = offset;
	return true;
}

/* the copy of a hostile entry. Bad ones have been freed and are counted, no more. */
static struct memslot *entry_slot(struct vm *vm, const struct tm_ring_entry *e)
{
	struct memslot *m = memslot_get(&vm->slots, e->slot);

	if (!m || !memslot_logging(m) || e->offset >= m->npages) {
		return NULL;
	}
	if ((vm->dirty.flags & TM_DIRTY_RING_GEN) && e->flags >> 16 != m->generation) {
		return NULL;
	}
	return m;
}

static uint64_t reset_ring(struct vm *vm, struct vcpu *v, uint64_t budget, struct reset_batch *k,
			   struct tlb_batch *b)
{
	struct tm_ring_entry e;
	uint64_t n = 0;

	while (n < budget && dirty_ring_reset_one(&v->ring, &e)) {
		struct memslot *m = entry_slot(vm, &e);

		n++;
		if (!m) {
			vm->dirty.bad_reset_entries++;
		} else if (!batch_takes(k, m, e.offset)) {
			batch_commit(vm, k, b);
			*k = (struct reset_batch){.m = m, .base = e.offset, .mask = 1};
		}
	}
	return n;
}

/* A vCPU that was destroyed leaves a ring whose entries are still pending. */
static struct vcpu *ring_owner(struct vm *vm, unsigned i)
{
	struct vcpu *v = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

	v = v ? v : __atomic_load_n(&vm->vcpu_dead[i], __ATOMIC_ACQUIRE);
	return v && v->ring.entries ? v : NULL;
}

/*
 * what a ring-exclusive VM could not push comes back through a ring. Pushing here is safe
 * although the vCPU may run elsewhere: all pushes of a VM are made under its stage-2 lock.
 */
static void reemit(struct vm *vm, struct vcpu *v)
{
	unsigned budget = REEMIT_ENTRIES;

	for (unsigned i = 0; i < vm->slots.count; i++) {
		struct memslot *m = &vm->slots.slot[vm->slots.order[i]];
		uint64_t w;

		while (memslot_logging(m) && budget &&
		       dirty_ring_used(&v->ring) < v->ring.soft_limit / 2 &&
		       (w = dirty_bitmap_next(&m->bitmap, 0)) != ~0ull) {
			uint64_t bits = dirty_bitmap_word(&m->bitmap, w);
			unsigned bit = (unsigned)__builtin_ctzll(bits);

			if (!mark_ring(vm, m, w * 64 + bit, v)) {
				return;
			}
			vm->dirty.pages_ring--;		/* counted when it was marked */
			(void)dirty_bitmap_clear_word(&m->bitmap, w, 1ull << bit);
			budget--;
		}
	}
}

static uint64_t reset_all(struct vm *vm, uint64_t *visited)
{
	struct tlb_batch b = TLB_BATCH_INIT;
	struct reset_batch k = {0};
	uint64_t n = 0, rings = MAX(vm->vcpus_max, 1u);

	for (*visited = 0; *visited < rings; (*visited)++) {
		unsigned i = vm->dirty.reset_vcpu % (unsigned)rings;
		struct vcpu *v = ring_owner(vm, i);

		if (v) {
			n += reset_ring(vm, v, RESET_ENTRIES - n, &k, &b);
			if (n == RESET_ENTRIES) {
				break;		/* this ring may have more: the next call starts here */
			}
		}
		vm->dirty.reset_vcpu = (i + 1) % (uint32_t)rings;
	}
	/* I-6, R-22: whatever ended the loop, the open batch is armed. */
	if (!mutant(MUTANT_BATCH_NOT_COMMITTED)) {
		batch_commit(vm, &k, &b);
	}
	stage2_flush(&vm->s2, &b);	/* R-25; R-24: no entry, no work */
	return n;
}

int dirty_log_reset(struct vm *vm, uint64_t *count, uint64_t *cursor)
{
	uint64_t visited;

	if (!(vm->dirty.flags & TM_DIRTY_RING)) {
		return -TM_ENXIO;
	}
	/* the second caller comes back only after the first one's pages are armed. */
	spin_lock(&vm->dirty.reset_lock);
	stage2_lock(&vm->s2);
	*count = reset_all(vm, &visited);
	*cursor = vm->dirty.reset_vcpu;
	if (dirty_log_ring_exclusive(vm)) {
		for (unsigned i = 0; i < vm->vcpus_max; i++) {
			struct vcpu *v = ring_owner(vm, i);

			if (v) {
				reemit(vm, v);
			}
		}
	}
	stage2_unlock(&vm->s2);
	spin_unlock(&vm->dirty.reset_lock);
	return visited == MAX(vm->vcpus_max, 1u) ? 0 : TM_CONTINUE;
}

/* ---- the manager's death ---------------------------------------------------------------------- */

static void ring_to_bitmap(struct vm *vm, struct dirty_ring *r)
{
	uint64_t end = __atomic_load_n(&r->dirty_index, __ATOMIC_ACQUIRE);

	for (uint64_t i = r->reset_index; i != end; i++) {
		struct tm_ring_entry *shared = &r->entries[i & (r->size - 1)];
		/* Harvested or not: the one who harvested is gone. Read once, then checked. */
		struct tm_ring_entry e = {
			.flags = __atomic_load_n(&shared->flags, __ATOMIC_ACQUIRE),
			.slot = __atomic_load_n(&shared->slot, __ATOMIC_RELAXED),
			.offset = __atomic_load_n(&shared->offset, __ATOMIC_RELAXED),
		};
		struct memslot *m = entry_slot(vm, &e);

		if (m) {
			(void)dirty_bitmap_set(&m->bitmap, e.offset);
		} else {
			vm->dirty.bad_reset_entries++;
		}
		__atomic_store_n(&shared->flags, 0, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&r->reset_index, end, __ATOMIC_RELEASE);
}

void dirty_log_manager_gone(struct vm *vm)
{
	if (!(vm->dirty.flags & TM_DIRTY_RING)) {
		return;
	}
	/* Before vCPUs that are stopped are looked for: who stops later finds it set. */
	__atomic_store_n(&vm->dirty.orphan, true, __ATOMIC_SEQ_CST);
	spin_lock(&vm->dirty.reset_lock);
	stage2_lock(&vm->s2);
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = ring_owner(vm, i);

		if (v) {
			ring_to_bitmap(vm, &v->ring);
		}
	}
	stage2_unlock(&vm->s2);
	spin_unlock(&vm->dirty.reset_lock);
}

void dirty_log_attach(struct vm *vm)
{
	__atomic_store_n(&vm->dirty.orphan, false, __ATOMIC_SEQ_CST);
}

/*
 * A destroyed vCPU's ring is about to be used again: what is pending in it moves to the bitmap, and
 * after this no RESET looks at it. The caller has taken v out of vm->vcpu_dead.
 */
void dirty_log_ring_detach(struct vm *vm, struct vcpu *v, struct dirty_ring *out)
{
	spin_lock(&vm->dirty.reset_lock);
	stage2_lock(&vm->s2);
	if (v->ring.entries) {
		ring_to_bitmap(vm, &v->ring);
	}
	*out = v->ring;
	v->ring.entries = NULL;
	stage2_unlock(&vm->s2);
	spin_unlock(&vm->dirty.reset_lock);
}

/* ---- writers ---------------------------------------------------------------------------------- */

/*
 * A read-side section with two counters: a writer counts in the current phase, a waiter turns the
 * phase over and waits for the old counter, twice, so that writers that keep coming cannot hold it
 * up and one that has read the phase but not yet counted is either waited for or starts after us.
 * Sections do not nest on a CPU, and nothing interrupts one, so the phase is kept per CPU.
 */
static uint8_t phase_of[BOOT_MAX_CPUS];
static struct spinlock waiter_lock = SPINLOCK_INIT(LOCK_WRITERS);

int dirty_log_writer_begin(struct vm *vm)
{
	struct dirty_log *d = &vm->dirty;
	uint32_t phase = __atomic_load_n(&d->writers_phase, __ATOMIC_SEQ_CST) & 1;

	__atomic_fetch_add(&d->writers[phase], 1, __ATOMIC_SEQ_CST);
	phase_of[this_pcpu()->id % BOOT_MAX_CPUS] = (uint8_t)phase;
	/* After counting: PAUSE(QUIESCE) raises its count first and waits for us afterwards. */
	if (unlikely(__atomic_load_n(&vm->quiesce_count, __ATOMIC_SEQ_CST))) {
		dirty_log_writer_end(vm);
		return -TM_EBUSY;	/* */
	}
	return 0;
}

void dirty_log_writer_end(struct vm *vm)
{
	uint8_t phase = phase_of[this_pcpu()->id % BOOT_MAX_CPUS];

	__atomic_fetch_sub(&vm->dirty.writers[phase], 1, __ATOMIC_SEQ_CST);
}

void dirty_log_writers_wait(struct vm *vm)
{
	struct dirty_log *d = &vm->dirty;

	spin_lock(&waiter_lock);
	for (int turn = 0; turn < 2; turn++) {
		uint32_t old = __atomic_fetch_xor(&d->writers_phase, 1u, __ATOMIC_SEQ_CST) & 1;

		while (__atomic_load_n(&d->writers[old], __ATOMIC_SEQ_CST)) {
			arch_cpu_relax();
		}
	}
	spin_unlock(&waiter_lock);
}
