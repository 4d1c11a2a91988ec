// SPDX-License-Identifier: Apache-2.0
/*
 * Stage-2 faults: what a guest access outside its present leaves means. One decision under one hold
 * of the VM's stage-2 lock; a vCPU is stopped, if it has to be, after the lock is dropped.
 *
 * Invariant of the write-protect back end: no page of a logging slot is writable for the guest
 * without a record, so dirty_log_mark() comes before the grant. A full ring in STOP mode leaves the
 * leaf alone; the instruction has not been executed and faults again later (I-3 a).
 */
#include <arch/tlb.h>
#include <hyp/dirty_log.h>
#include <hyp/fault.h>
#include <hyp/log.h>
#include <hyp/mmio.h>
#include <hyp/test_hooks.h>
#include <hyp/vm.h>
#include <hyp/window.h>

#define RAM_ATTRS ((unsigned)(PT_R | PT_X))

/* What to do once the lock is dropped. */
struct verdict {
	enum fault_action action;
	uint32_t stop;		/* TM_EXIT_*, with FAULT_STOP */
};

static const struct verdict retry = {.action = FAULT_RETRY};

static struct verdict stop_with(uint32_t reason)
{
	return (struct verdict){.action = FAULT_STOP, .stop = reason};
}

/* Largest leaf for this page that slot, alignment (gpa and hpa alike) and machine allow. */
static unsigned best_level(const struct memslot *m, gpa_t a, hpa_t h)
{
	uint64_t first = gfn_to_gpa(m->base).v, end = first + (m->npages << PAGE_SHIFT);
	unsigned level = arch_stage2_max_leaf();

	if (hpa_is_none(m->backing)) {
		return 0;
	}
	for (; level > 0; level--) {
		uint64_t block = ALIGN_DOWN(a.v, LEVEL_SIZE(level));

		if (IS_ALIGNED(a.v ^ h.v, LEVEL_SIZE(level)) && block >= first &&
		    block + LEVEL_SIZE(level) <= end) {
			break;
		}
	}
	return level;
}

/* Nothing is mapped at a: builds a leaf. Logging slots get 4 KiB ones. */
static int map_page(struct vm *vm, struct memslot *m, gpa_t a, bool write, struct tlb_batch *b)
{
	bool logging = memslot_logging(m);
	hpa_t h = memslot_page_alloc(vm, m, gpa_to_gfn(a).v - m->base.v);
	unsigned attrs = RAM_ATTRS, level;

	if (hpa_is_none(h)) {
		return -TM_ENOMEM;
	}
	/* a read fault on a logged page maps it armed: read-only, or writable-clean. */
	if (!(m->flags & TM_SLOT_READONLY) && (write || !logging)) {
		attrs |= PT_W | (unsigned)PT_DIRTY;
	}
	if (!(m->flags & TM_SLOT_READONLY) && logging && vm->s2.hw_dirty) {
		attrs |= PT_W | (unsigned)PT_CLEANABLE;
	}
	level = logging ? 0 : best_level(m, a, h);
	return stage2_map(&vm->s2, gpa(ALIGN_DOWN(a.v, LEVEL_SIZE(level))),
			  hpa(ALIGN_DOWN(h.v, LEVEL_SIZE(level))), level, attrs, b);
}

/*
 * The first store to a large leaf that was write-protected whole. Its table is reserved, so
 * a failed split is an injected one; then everything under the leaf is recorded and it stays
 * writable until the next arming (abi.md "Memory", I-3 d).
 */
static int split_or_mark_all(struct vm *vm, struct memslot *m, gpa_t a, const struct pt_leaf *leaf,
			     struct tlb_batch *b)
{
	uint64_t first = gpa_to_gfn(gpa(leaf->start)).v - m->base.v;

	if (stage2_split(&vm->s2, a, b) == 0) {
		if (vm->s2.hw_dirty) {
			/* From here on hardware marks its pieces. */
			(void)stage2_arm(&vm->s2, gpa(leaf->start), LEVEL_PAGES(leaf->level), b);
		}
		stage2_make_writable(&vm->s2, a);
		return 0;
	}
	dirty_bitmap_set_range(&m->bitmap, first, LEVEL_PAGES(leaf->level));
	vm->dirty.chunk_fallbacks++;
	return stage2_map(&vm->s2, gpa(leaf->start), leaf->hpa, leaf->level,
			  leaf->attrs | PT_W | PT_DIRTY, b);
}

/* Makes the page writable; what had to be recorded has been. */
static int grant(struct vm *vm, struct memslot *m, gpa_t a, const struct pt_leaf *leaf,
		 struct tlb_batch *b)
{
	if (leaf->kind != PTE_LEAF) {
		return map_page(vm, m, a, true, b);
	}
	if (likely(leaf->level == 0)) {
		stage2_make_writable(&vm->s2, a);
		return 0;
	}
	if (memslot_logging(m)) {
		return split_or_mark_all(vm, m, a, leaf, b);
	}
	return stage2_map(&vm->s2, gpa(leaf->start), leaf->hpa, leaf->level,
			  leaf->attrs | PT_W | PT_DIRTY, b);
}

static struct verdict logged_store(struct vcpu *v, struct memslot *m, gpa_t a,
				   const struct pt_leaf *leaf, struct tlb_batch *b, int *err)
{
	struct vm *vm = v->vm;
	bool ring = v->ring.entries != NULL;

	if (ring && unlikely(dirty_ring_soft_full(&v->ring)) && dirty_log_stops_at_full(vm)) {
		v->stats.ring_full++;
		return stop_with(TM_EXIT_DIRTY_RING_FULL);	/* R-28; the leaf stays as it is */
	}
	if (mutant(MUTANT_GRANT_BEFORE_MARK)) {
		*err = grant(vm, m, a, leaf, b);
		if (ring && dirty_ring_used(&v->ring) + 1 >= v->ring.soft_limit) {
			return retry;		/* "full": the mark is forgotten */
		}
		dirty_log_mark(vm, m, gpa_to_gfn(a).v - m->base.v, v);
		return retry;
	}
	dirty_log_mark(vm, m, gpa_to_gfn(a).v - m->base.v, v);
	*err = grant(vm, m, a, leaf, b);
	return retry;
}

/* RAM, stage-2 lock held. */
static struct verdict fault_ram(struct vcpu *v, struct memslot *m, const struct s2_fault *f,
				struct tlb_batch *b)
{
	struct vm *vm = v->vm;
	bool write = f->access == ACCESS_WRITE;
	gpa_t a = gpa(ALIGN_DOWN(f->gpa.v, PAGE_SIZE));
	struct verdict r = retry;
	struct pt_leaf leaf;
	int err = 0;

	if (unlikely(m->invalid)) {
		return retry;		/* the slot is being changed */
	}
	if (unlikely(write && (m->flags & TM_SLOT_READONLY))) {
		return (struct verdict){.action = FAULT_MMIO};	/* */
	}
	leaf = stage2_lookup(&vm->s2, a);
	if (unlikely(leaf.kind == PTE_LEAF && (!write || (leaf.attrs & PT_W)))) {
		/* another CPU was faster, or this one still holds the old entry. */
		arch_tlb_flush_local(&vm->s2, a);
		return retry;
	}
	if (!write) {
		err = map_page(vm, m, a, false, b);
	} else if (memslot_logging(m)) {
		r = logged_store(v, m, a, &leaf, b, &err);
	} else {
		err = grant(vm, m, a, &leaf, b);
	}
	/* Tables are reserved; only anonymous pages can run out. */
	return unlikely(err) ? stop_with(TM_EXIT_MEMORY_FAULT) : r;
}

/* The manager's own RAM is always mapped; a fault there is a leaf being split or merged. */
static enum fault_action fault_manager(struct vcpu *v, const struct s2_fault *f)
{
	struct stage2 *s2 = &v->vm->s2;
	struct pt_leaf leaf;
	unsigned want = f->access == ACCESS_WRITE ? PT_W : f->access == ACCESS_EXEC ? PT_X : PT_R;

	if (f->gpa.v >= window_base() && f->gpa.v - window_base() < window_size()) {
		return (enum fault_action)window_fault(f);
	}
	if (mmio_find(v->vm, f->gpa)) {
		return FAULT_EMULATE;
	}
	stage2_lock(s2);
	leaf = stage2_lookup(s2, f->gpa);
	stage2_unlock(s2);
	return leaf.kind == PTE_LEAF && (leaf.attrs & want) ? FAULT_RETRY : FAULT_ABORT;
}

/* abi.md "An access to a gpa", cases (2), (3) and (5). */
static enum fault_action fault_unbacked(struct vm *vm, gpa_t a)
{
	bool windowed = vm->flags & TM_VM_EXIT_ON_UNBACKED;

	if (mmio_find(vm, a)) {
		return FAULT_EMULATE;
	}
	for (unsigned i = 0; i < vm->mmio_window_count; i++) {
		windowed = windowed || a.v - vm->mmio_window[i].gpa < vm->mmio_window[i].size;
	}
	return windowed && manager_alive() ? FAULT_MMIO : FAULT_ABORT;
}

static void stop(struct vcpu *v, const struct s2_fault *f, uint32_t reason)
{
	uint64_t flags = TM_FAULT_MISSING | (f->ptw ? TM_FAULT_PTW : 0u);

	if (reason != TM_EXIT_MEMORY_FAULT) {
		vcpu_stop(v, reason, 0);
		return;
	}
	flags |= f->access == ACCESS_WRITE ? TM_FAULT_WRITE :
		 f->access == ACCESS_EXEC ? TM_FAULT_EXEC : TM_FAULT_READ;
	vcpu_stop_memory_fault(v, flags, gpa(ALIGN_DOWN(f->gpa.v, PAGE_SIZE)), PAGE_SIZE);
}

enum fault_action fault_handle(struct vcpu *v, const struct s2_fault *f)
{
	struct tlb_batch b = TLB_BATCH_INIT;
	struct vm *vm = v->vm;
	struct verdict r;
	struct memslot *m;

	if (unlikely(vm->is_manager)) {
		return fault_manager(v, f);
	}
	stage2_lock(&vm->s2);
	m = memslot_find(&vm->slots, gpa_to_gfn(f->gpa));
	if (unlikely(!m)) {
		stage2_unlock(&vm->s2);
		return fault_unbacked(vm, f->gpa);
	}
	r = fault_ram(v, m, f, &b);
	if (unlikely(b.needed || b.free_list != ~0ull)) {
		stage2_flush(&vm->s2, &b);
	}
	stage2_unlock(&vm->s2);
	if (unlikely(r.action == FAULT_STOP)) {
		stop(v, f, r.stop);
	}
	return r.action;
}

uint64_t fault_prefault(struct vm *vm, gpa_t a, uint64_t pages)
{
	struct tlb_batch b = TLB_BATCH_INIT;
	uint64_t done = 0;

	stage2_lock(&vm->s2);
	while (done < pages) {
		gpa_t at = gpa_add(a, done << PAGE_SHIFT);
		struct memslot *m = memslot_find(&vm->slots, gpa_to_gfn(at));
		struct pt_leaf leaf;

		if (!m || m->invalid) {
			break;
		}
		leaf = stage2_lookup(&vm->s2, at);
		if (leaf.kind != PTE_LEAF && map_page(vm, m, at, false, &b)) {
			break;
		}
		done++;
	}
	stage2_flush(&vm->s2, &b);
	stage2_unlock(&vm->s2);
	return done;
}
