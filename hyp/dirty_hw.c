// SPDX-License-Identifier: Apache-2.0
/*
 * Back ends of the dirty log in which hardware marks what is written. An armed 4 KiB leaf is
 * writable-clean; larger leaves are write-protected and split at the first store.
 *
 *	pml  hardware keeps a buffer for each vCPU; its CPU hands it over at every exit, so that a
 *	     drain is one exit of every vCPU that is in guest mode
 *	dbm  hardware sets the leaf's dirty bit; a drain is a scan of the logging slots' small leaves.
 *	     Nobody knows who wrote: the bitmap gets it, so a VM whose ring may stop it cannot use it
 *
 * A leaf that is dirty stays so until the log hands its page out and arms it again: the scan changes
 * no entry, and finding a page twice sets a bit that is set. Guarded by the VM's stage-2 lock.
 */
#include <arch/tlb.h>
#include <hyp/dirty_hw.h>
#include <hyp/dirty_log.h>
#include <hyp/sched.h>
#include <hyp/test_hooks.h>
#include <hyp/vm.h>

#define SCAN_PAGES (32u * 512u)		/* a lock hold */

static void set_backend(struct vm *vm, uint32_t backend)
{
	vm->dirty.backend = backend;
	vm->s2.hw_dirty = backend != TM_BACKEND_WP;
}

void dirty_hw_choose(struct vm *vm)
{
	bool pml = arch_dirty_backends() >> TM_BACKEND_PML & 1;

	set_backend(vm, pml && !vm->is_manager ? TM_BACKEND_PML : TM_BACKEND_WP);
}

static bool small_ring(uint32_t backend, uint64_t ring_entries)
{
	return backend == TM_BACKEND_PML && ring_entries &&
	       ring_entries <= DIRTY_RING_RESERVE + DIRTY_HW_LOG_ENTRIES;
}

static bool suits(uint32_t backend, uint64_t ring_entries, uint64_t flags)
{
	bool stops = (flags & TM_DIRTY_RING) && !(flags & TM_DIRTY_SPILL);

	return !small_ring(backend, ring_entries) && !(backend == TM_BACKEND_DBM && stops);
}

bool dirty_hw_allows(struct vm *vm, uint64_t ring_entries, uint64_t flags)
{
	if (suits(vm->dirty.backend, ring_entries, flags)) {
		return true;
	}
	if (vm->dirty.backend_forced) {
		return false;
	}
	set_backend(vm, TM_BACKEND_WP);
	return true;
}

int dirty_hw_force(struct vm *vm, uint64_t backend)
{
	const struct dirty_log *d = &vm->dirty;
	int err = 0;

	if (backend > TM_BACKEND_PML) {
		return -TM_EINVAL;
	}
	if (!(arch_dirty_backends() >> backend & 1)) {
		return -TM_EOPNOTSUPP;
	}
	spin_lock(&vm->lock);
	spin_lock(&vm->slots_lock);
	if (vm->vcpus_count || vm->slots.count) {
		err = -TM_EBUSY;
	} else if (!suits((uint32_t)backend, d->ring_entries, d->flags)) {
		err = -TM_EOPNOTSUPP;
	} else {
		set_backend(vm, (uint32_t)backend);
		vm->dirty.backend_forced = true;
	}
	spin_unlock(&vm->slots_lock);
	spin_unlock(&vm->lock);
	return err;
}

uint32_t dirty_hw_reserve(const struct vm *vm)
{
	return vm->dirty.backend == TM_BACKEND_PML ? DIRTY_HW_LOG_ENTRIES : 0;
}

void dirty_hw_logged(struct vcpu *v, const uint64_t *gpas, unsigned n)
{
	struct vm *vm = v->vm;

	if (n == 0) {
		return;
	}
	stage2_lock(&vm->s2);
	for (unsigned i = 0; i < n; i++) {
		gfn_t gfn = gpa_to_gfn(gpa(gpas[i]));
		struct memslot *m = memslot_find(&vm->slots, gfn);

		/* A slot that went meanwhile, or whose log is off: nobody asks any more. One that is
		 * being deleted hands out its bitmap last of all. */
		if (m) {
			bool last = m->dying && dirty_log_has_bitmap(vm);

			dirty_log_mark(vm, m, gfn.v - m->base.v, last ? NULL : v);
		}
	}
	stage2_unlock(&vm->s2);
	if (v->ring.entries && dirty_ring_soft_full(&v->ring) && dirty_log_stops_at_full(vm)) {
		__atomic_store_n(&this_pcpu()->resched, 1, __ATOMIC_RELAXED);	/* */
	}
}

/* ---- dbm -------------------------------------------------------------------------------------- */

static void note(struct vm *vm, struct memslot *m, gpa_t a)
{
	vm->dirty.pages_bitmap += dirty_bitmap_set(&m->bitmap, gpa_to_gfn(a).v - m->base.v) ? 1 : 0;
}

void dirty_hw_leaf_gone(struct stage2 *s2, gpa_t a)
{
	struct vm *vm = container_of(s2, struct vm, s2);
	struct memslot *m;

	if (vm->dirty.backend != TM_BACKEND_DBM) {
		return;		/* pml: it stands in a buffer, a ring or the bitmap */
	}
	m = memslot_find(&vm->slots, gpa_to_gfn(a));
	if (m && memslot_logging(m)) {
		note(vm, m, a);
	}
}

struct scan {
	struct vm *vm;
	struct memslot *m;
};

static void found(void *ctx, gpa_t a)
{
	struct scan *s = ctx;

	note(s->vm, s->m, a);
}

/* Slots come and go between two lock holds; one that moves keeps its offsets. */
static void scan_slot(struct vm *vm, struct memslot *m)
{
	uint64_t from = 0;
	bool more = true;

	while (more) {
		struct scan s = {vm, m};
		uint64_t n = 0;

		stage2_lock(&vm->s2);
		if (memslot_logging(m) && from < m->npages) {
			n = MIN(m->npages - from, SCAN_PAGES);
			stage2_dirtied(&vm->s2, gpa_add(gfn_to_gpa(m->base), from << PAGE_SHIFT), n,
				       found, &s);
		}
		stage2_unlock(&vm->s2);
		from += n;
		more = n == SCAN_PAGES;
	}
}

void dirty_hw_drain(struct vm *vm)
{
	if (mutant(MUTANT_NO_DRAIN)) {
		return;
	}
	if (vm->dirty.backend == TM_BACKEND_PML) {
		for (unsigned i = 0; i < vm->vcpus_max; i++) {
			struct vcpu *v = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

			if (v && __atomic_load_n(&v->in_guest, __ATOMIC_SEQ_CST)) {
				vcpu_wait_out_of_guest(v);
			}
		}
	} else if (vm->dirty.backend == TM_BACKEND_DBM) {
		for (unsigned i = 0; i < MEMSLOT_MAX; i++) {
			scan_slot(vm, &vm->slots.slot[i]);
		}
	}
}
