// SPDX-License-Identifier: Apache-2.0
/*
 * The long parts of slot changes, cut into bounded steps (I-6): arming and zapping for the log,
 * unmapping for a move or a delete, scrubbing. Each call does one step, commits it and keeps its
 * cursor in the slot, so the same SLOT_SET goes on where the last one stopped. The cursor that the
 * caller passes back is not used: it is hostile (I-4).
 *
 * Delete:
 *	dying, windows revoked -> unmapped and flushed -> out of order[], writers gone
 *	-> bits collected -> pages scrubbed and handed back -> slot free
 */
#include <arch/cpu.h>
#include <hyp/dirty_hw.h>
#include <hyp/dirty_log.h>
#include <hyp/log.h>
#include <hyp/owner.h>
#include <hyp/vm.h>
#include <hyp/window.h>

#include "memslot_priv.h"

#define STEP_UNITS 512u		/* one large leaf or hole costs 1 */
#define RUN_UNITS 64u		/* up to 512 small leaves */
#define SCRUB_PAGES 512u	/* 2 MiB a call */
#define COLLECT_LEAVES 8u	/* 32768 pages a call */

/* ---- walking ---------------------------------------------------------------------------------- */

bool slot_walk(struct vm *vm, struct memslot *m, uint64_t *resume, slot_span_fn fn,
	       struct tlb_batch *b, void *ctx)
{
	bool eager = m->op == SLOT_ARMING && (vm->dirty.flags & TM_DIRTY_EAGER_SPLIT);

	for (unsigned units = 0; *resume < m->npages && units < STEP_UNITS;) {
		struct slot_span s = {.start = gpa_add(gfn_to_gpa(m->base), *resume << PAGE_SHIFT)};
		unsigned level;

		s.leaf = stage2_lookup(&vm->s2, s.start);
		/* What stands alone at its level is one span; small leaves go by the table. */
		level = s.leaf.level == 0 || eager ? 1 : s.leaf.level;
		s.pages = (ALIGN_DOWN(s.start.v, LEVEL_SIZE(level)) + LEVEL_SIZE(level) - s.start.v) >>
			  PAGE_SHIFT;
		s.pages = MIN(s.pages, m->npages - *resume);
		if (s.leaf.kind == PTE_LEAF || s.leaf.level == 0) {
			fn(vm, m, &s, b, ctx);
		}
		units += s.leaf.level == 0 || eager ? RUN_UNITS : 1;
		*resume += s.pages;
	}
	return *resume >= m->npages;
}

/* One step of a walk under its own lock hold, with its flush. */
static bool walk_step(struct vm *vm, struct memslot *m, slot_span_fn fn)
{
	struct tlb_batch b = TLB_BATCH_INIT;
	bool done;

	stage2_lock(&vm->s2);
	done = slot_walk(vm, m, &m->resume, fn, &b, NULL);
	stage2_flush(&vm->s2, &b);
	stage2_unlock(&vm->s2);
	return done;
}

static void set_op(struct vm *vm, struct memslot *m, enum slot_op op)
{
	stage2_lock(&vm->s2);
	m->op = (uint8_t)op;
	m->resume = 0;
	stage2_unlock(&vm->s2);
}

/* ---- the log on and off ----------------------------------------------------------------------- */

/* R-101 as amended: existing leaves lose write permission at their present size. */
static void arm_span(struct vm *vm, struct memslot *m, const struct slot_span *s,
		     struct tlb_batch *b, void *ctx)
{
	(void)ctx;
	if ((vm->dirty.flags & TM_DIRTY_EAGER_SPLIT) && s->leaf.level > 0) {
		(void)!stage2_split(&vm->s2, s->start, b);	/* best effort */
	}
	dirty_log_arm_span(vm, m, s->start, s->pages, b);
}

static void zap_span(struct vm *vm, struct memslot *m, const struct slot_span *s,
		     struct tlb_batch *b, void *ctx)
{
	(void)m, (void)ctx;
	stage2_zap(&vm->s2, s->start, s->pages, b);
}

void memslot_log_on_begin(struct vm *vm, struct memslot *m)
{
	stage2_lock(&vm->s2);
	m->flags |= TM_SLOT_LOG_DIRTY;
	m->resume = 0;
	m->op = SLOT_ARMING;
	vm->slots.logging++;
	if (memslot_starts_set(vm)) {
		/* all bits at once; arming is CLEAR's business. */
		dirty_bitmap_set_all(&m->bitmap);
		m->op = SLOT_IDLE;
	}
	stage2_unlock(&vm->s2);
}

/* Bits go with the log; nobody marks any more once the flag is off under the lock. */
static void log_drop(struct vm *vm, struct memslot *m)
{
	struct dirty_bitmap old;

	stage2_lock(&vm->s2);
	if (memslot_logging(m)) {
		vm->slots.logging--;
	}
	m->flags &= ~(uint32_t)TM_SLOT_LOG_DIRTY;
	old = m->bitmap;
	m->bitmap = (struct dirty_bitmap){0};
	vm->dirty.chunk_fallbacks += old.fallbacks;
	stage2_unlock(&vm->s2);
	dirty_bitmap_destroy(&old);
}

void memslot_log_off_begin(struct vm *vm, struct memslot *m)
{
	/* What hardware has logged so far belongs to this log, not to the next. */
	if (vm->dirty.backend == TM_BACKEND_PML) {
		dirty_hw_drain(vm);
	}
	log_drop(vm, m);
	set_op(vm, m, SLOT_ZAPPING);	/* so that large leaves come back (C-140) */
}

int memslot_log_step(struct vm *vm, struct memslot *m)
{
	bool arming = m->op == SLOT_ARMING;

	if (!arming && m->op != SLOT_ZAPPING) {
		return 0;
	}
	if (!walk_step(vm, m, arming ? arm_span : zap_span)) {
		return TM_CONTINUE;
	}
	set_op(vm, m, SLOT_IDLE);
	if (arming) {
		/* Windows are armed together with the slot (abi.md "Memory"). */
		window_arm_range(vm, gfn_to_gpa(m->base), m->npages);
	}
	return 0;
}

/* ---- move and delete -------------------------------------------------------------------------- */

static void unmap_span(struct vm *vm, struct memslot *m, const struct slot_span *s,
		       struct tlb_batch *b, void *ctx)
{
	(void)ctx;
	if (vm->s2.hw_dirty) {
		(void)stage2_wrprotect(&vm->s2, s->start, s->pages, b);	/* */
	}
	/* No leaf reaches out of its slot, so nothing is split and nothing can be missing. */
	if (stage2_unmap(&vm->s2, s->start, s->pages, b)) {
		log_err("vm %s: slot %u: a leaf sticks out of its slot", vm->name, m->id);
	}
}

void memslot_cancel(struct vm *vm, struct memslot *m)
{
	if (m->op != SLOT_MOVING) {
		return;
	}
	pool_unreserve(&vm->pool, m->move_reserved);
	m->move_reserved = 0;
	stage2_lock(&vm->s2);
	m->invalid = false;
	m->op = SLOT_IDLE;
	m->resume = 0;
	stage2_unlock(&vm->s2);
}

/* invalid first; from now on vCPU accesses retry until the change is committed. */
void memslot_move_begin(struct vm *vm, struct memslot *m, gpa_t to, uint64_t tables)
{
	m->move_to = to;
	m->move_reserved = tables;
	stage2_lock(&vm->s2);
	m->invalid = true;
	m->op = SLOT_MOVING;
	m->resume = 0;
	stage2_unlock(&vm->s2);
	window_revoke(vm, gfn_to_gpa(m->base), m->npages);
}

int memslot_move_step(struct vm *vm, struct memslot *m)
{
	if (!walk_step(vm, m, unmap_span)) {
		return TM_CONTINUE;
	}
	/* What hardware logged of it is in the log before its address is anything else. */
	vm_sync(vm);
	stage2_lock(&vm->s2);
	memslot_order_remove(&vm->slots, m);
	m->base = gpa_to_gfn(m->move_to);	/* C-033: bits stay, they are offset-relative */
	memslot_order_insert(&vm->slots, m);
	m->invalid = false;
	m->op = SLOT_IDLE;
	m->resume = 0;
	stage2_unlock(&vm->s2);
	pool_unreserve(&vm->pool, m->tables_reserved);
	m->tables_reserved = m->move_reserved;
	m->move_reserved = 0;
	return 0;
}

static void delete_begin(struct vm *vm, struct memslot *m)
{
	memslot_cancel(vm, m);
	stage2_lock(&vm->s2);
	m->dying = true;
	m->invalid = true;
	m->op = SLOT_UNMAPPING;
	m->resume = 0;
	stage2_unlock(&vm->s2);
	window_revoke(vm, gfn_to_gpa(m->base), m->npages);
}

/* Unmapped and flushed: nobody finds it by address any more, and nobody is inside it. */
static void detach(struct vm *vm, struct memslot *m)
{
	stage2_lock(&vm->s2);
	memslot_order_remove(&vm->slots, m);
	m->detached = true;
	m->op = SLOT_COLLECTING;
	m->resume = 0;
	stage2_unlock(&vm->s2);
	dirty_log_writers_wait(vm);	/* */
}

/* The final bitmap, read and not changed, so that a bad buffer loses nothing. */
static int collect_step(struct memslot *m, memslot_take_fn take, void *ctx)
{
	uint64_t bits[BITMAP_LEAF_WORDS];
	uint64_t words = (m->npages + 63) / 64;

	for (unsigned i = 0; i < COLLECT_LEAVES && m->resume < m->npages; i++) {
		uint64_t first = m->resume / 64;
		unsigned n = (unsigned)MIN(words - first, BITMAP_LEAF_WORDS);
		int err;

		for (unsigned k = 0; k < n; k++) {
			bits[k] = dirty_bitmap_word(&m->bitmap, first + k);
		}
		err = take(ctx, first, bits, n);
		if (err) {
			return err;
		}
		m->resume += (uint64_t)n * 64;
	}
	return m->resume < m->npages ? TM_CONTINUE : 0;
}

/* zeroed, cleaned, handed over and mapped again, 2 MiB at a time. */
static int scrub_step(struct vm *vm, struct memslot *m)
{
	uint64_t n = MIN(SCRUB_PAGES, m->npages - m->resume);
	hpa_t at;
	int err;

	if (hpa_is_none(m->backing)) {
		unsigned budget = SCRUB_PAGES;
		bool gone;

		stage2_lock(&vm->s2);
		gone = memslot_anon_release(vm, m, &budget);
		stage2_unlock(&vm->s2);
		return gone ? 0 : TM_CONTINUE;
	}
	at = hpa_add(m->backing, m->resume << PAGE_SHIFT);
	for (uint64_t i = 0; i < n; i++) {
		arch_zero_page(phys_to_virt(hpa_add(at, i << PAGE_SHIFT)));
	}
	arch_clean_to_poc(phys_to_virt(at), n << PAGE_SHIFT);
	err = manager_return(at, n, owner_of(OWNER_VM_SHARED, vm->handle));
	if (err) {
		return err;	/* no table page for the manager's map: the same call goes on here */
	}
	m->resume += n;
	return m->resume < m->npages ? TM_CONTINUE : 0;
}

static void finish_delete(struct vm *vm, struct memslot *m)
{
	uint16_t generation = m->generation;

	pool_unreserve(&vm->pool, m->tables_reserved + m->anon_reserved);
	stage2_lock(&vm->s2);
	*m = (struct memslot){.generation = generation};
	stage2_unlock(&vm->s2);
}

int memslot_delete_step(struct vm *vm, struct memslot *m, memslot_take_fn take, void *ctx)
{
	int err = 0;

	if (!m->dying) {
		delete_begin(vm, m);
	}
	if (m->op == SLOT_UNMAPPING) {
		if (!walk_step(vm, m, unmap_span)) {
			return TM_CONTINUE;
		}
		dirty_hw_drain(vm);	/* found by its address for the last time */
		detach(vm, m);
	}
	if (m->op == SLOT_COLLECTING) {
		if (take && memslot_logging(m)) {
			err = collect_step(m, take, ctx);
		}
		if (err) {
			return err;
		}
		log_drop(vm, m);
		set_op(vm, m, SLOT_SCRUBBING);
	}
	err = scrub_step(vm, m);
	if (err == 0) {
		finish_delete(vm, m);
	}
	return err;
}
