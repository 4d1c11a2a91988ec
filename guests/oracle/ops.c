// SPDX-License-Identifier: Apache-2.0
//
// The operations of a round, done while the guest writes. Each draws its details from the rng it is
// given, never from time.

#include <string.h>
#include "oracle.h"

#define OWN_VALUE 0xf100000000000000u	/* no vCPU stores such values */
#define HYP_WRITE_MAX 512u

static struct track *draw_track(struct world *w, struct tm_prng *rng)
{
	return &w->track[tm_prng_below(rng, TRACKS)];
}

static bool bad(struct world *w, enum op op, const char *call, int status)
{
	return world_fail(w, op_name[op], "%s: %s", call, tm_strerror_name(status));
}

/* --- writers that are no vCPU ----------------------------------------------------------------- */

static void explain(struct world *w, struct track *t, uint64_t from, uint64_t bytes)
{
	for (uint64_t p = from / PAGE; p <= (from + bytes - 1) / PAGE; p++) {
		page_set(w, t, (uint32_t)p, P_EXPLAINED);
	}
}

static bool op_hyp_write(struct world *w, struct tm_prng *rng)
{
	uint64_t n = 1 + tm_prng_below(rng, 4);

	while (n-- > 0) {
		struct track *t = draw_track(w, rng);
		uint64_t len = 8 + 8 * tm_prng_below(rng, HYP_WRITE_MAX / 8);
		uint64_t at = 8 * tm_prng_below(rng, ((uint64_t)t->pages * PAGE - len) / 8 + 1);
		int status;

		w->fresh_value += HYP_WRITE_MAX;
		explain(w, t, at, len);
		status = tm_hyp_write(w->vm->handle, t->gpa + at, len, OWN_VALUE + w->fresh_value);
		if (status != 0) {
			return bad(w, OP_HYP_WRITE, "HYP_WRITE", status);
		}
	}
	return true;
}

static bool op_window_store(struct world *w, struct tm_prng *rng)
{
	uint64_t n = 1 + tm_prng_below(rng, 8);

	while (n-- > 0) {
		struct track *t = draw_track(w, rng);
		uint64_t at = 8 * tm_prng_below(rng, (uint64_t)t->pages * PAGE / 8);

		explain(w, t, at, 8);
		*(volatile uint64_t *)(void *)(t->view + at) = OWN_VALUE + ++w->fresh_value;
	}
	return true;
}

static bool op_mark_dirty(struct world *w, struct tm_prng *rng)
{
	struct track *t = draw_track(w, rng);
	uint64_t n = 1 + tm_prng_below(rng, 9);
	uint64_t first = tm_prng_below(rng, t->pages - n + 1);
	int status = tm_mark_dirty(w->vm->handle, t->id, first, n);

	if (status != 0) {
		return bad(w, OP_MARK_DIRTY, "MARK_DIRTY", status);
	}
	for (uint64_t p = first; p < first + n; p++) {
		page_set(w, t, (uint32_t)p, P_EXPLAINED | P_MARKED);
	}
	return true;
}

/* --- standing still --------------------------------------------------------------------------- */

static bool pause(struct world *w, uint64_t flags)
{
	int status = tm_vm_pause(w->vm->handle, flags);

	return status == 0 || bad(w, OP_PAUSE, "VM_PAUSE", status);
}

static bool resume(struct world *w)
{
	int status = tm_vm_resume(w->vm->handle);

	return status == 0 || bad(w, OP_PAUSE, "VM_RESUME", status);
}

static bool op_pause(struct world *w)
{
	return pause(w, 0) && collect_all(w) && compare_still(w, "paused") && resume(w);
}

/* Nobody writes at all: neither a vCPU nor the hypervisor itself. */
static bool op_quiesce(struct world *w, struct tm_prng *rng)
{
	struct track *t = draw_track(w, rng);
	uint64_t at = 8 * tm_prng_below(rng, (uint64_t)t->pages * PAGE / 8);

	if (!pause(w, TM_PAUSE_QUIESCE)) {
		return false;
	}
	if (w->test_build && mode_has_bitmap(w->mode)) {
		int status = tm_hyp_write(w->vm->handle, t->gpa + at, 8, OWN_VALUE);

		if (status != -TM_EBUSY) {
			return bad(w, OP_QUIESCE, "HYP_WRITE while quiesced, want EBUSY", status);
		}
	}
	/* Twice: the second collection must be empty and the memory as it was. */
	if (!collect_all(w) || !compare_still(w, "quiesced") || !collect_all(w) ||
	    !compare_still(w, "quiesced-again")) {
		return false;
	}
	return resume(w);
}

/* --- slots ------------------------------------------------------------------------------------ */

/* The slot's pages as they are now become the shadow; nothing is owed any more. */
static void full_pass(struct world *w, struct track *t)
{
	struct tally before = w->t;

	for (uint32_t p = 0; p < t->pages; p++) {
		uint8_t *f = &w->flag[t->first + p];

		*f = (uint8_t)((*f | P_FRESH) & ~(P_OWED | P_MARKED));
		if (w->mode == MODE_INIT) {
			*f |= P_EXPLAINED;
		}
	}
	copy_fresh(w);
	w->t = before;		/* it was no report */
}

static bool op_log_toggle(struct world *w, struct tm_prng *rng)
{
	struct track *t = draw_track(w, rng);
	int status = vmm_slot_flags(w->vm, t->id, 0);

	if (status == 0) {
		status = vmm_slot_flags(w->vm, t->id, TM_SLOT_LOG_DIRTY);
	}
	if (status != 0) {
		return bad(w, OP_LOG_TOGGLE, vmm_last_error(), status);
	}
	full_pass(w, t);
	return true;
}

static bool move(struct world *w, struct track *t, uint64_t gpa)
{
	struct vmm_slot *s = vmm_slot_of(w->vm, t->id);
	struct tm_slot_desc d = s->desc;
	int status;

	/* The move revokes the window; ours is given back before, or after it is gone. */
	d.gpa = gpa;
	status = tm_slot_set(w->vm->handle, &d);
	if (status != 0) {
		return bad(w, OP_MOVE, "SLOT_SET move", status);
	}
	s->desc = d;
	t->gpa = gpa;
	world_unmap_track(t);
	return world_map_track(w, t);
}

/* Away and back while paused, so that the guest sees nothing of it; bits and content stay. */
static bool op_move(struct world *w, struct tm_prng *rng)
{
	struct track *t = draw_track(w, rng);
	uint64_t here = t->gpa;
	uint64_t there = here == t->home ? t->away : t->home;

	if (!pause(w, 0) || !move(w, t, there)) {
		return false;
	}
	if (tm_prng_below(rng, 2) == 0 && (!collect_all(w) || !compare_still(w, "moved"))) {
		return false;
	}
	return move(w, t, here) && resume(w);
}

/* What differs now must be in what the deletion and the rings report. */
static void owe_differing(struct world *w, struct track *t)
{
	for (uint32_t p = 0; p < t->pages; p++) {
		uint64_t at = (uint64_t)(t->first + p) * PAGE;

		if (!compare_pages(w->shadow + at, t->view + (uint64_t)p * PAGE, 1)) {
			page_set(w, t, p, P_OWED);
		}
	}
}

static bool settle_deleted(struct world *w, struct track *t, const uint64_t *buf)
{
	for (uint32_t p = 0; p < t->pages; p++) {
		uint8_t *f = &w->flag[t->first + p];

		if ((buf[p / 64] >> (p % 64) & 1) != 0) {
			*f = (uint8_t)((*f | P_REPORTED) & ~(P_OWED | P_MARKED));
		}
		*f &= (uint8_t)~P_FRESH;
		if ((*f & (P_OWED | P_MARKED)) != 0) {
			return world_lose(w, "delete-collect", t, p);
		}
		if (w->mode == MODE_INIT) {
			*f |= P_EXPLAINED;
		}
	}
	memset(w->shadow + (uint64_t)t->first * PAGE, 0, (uint64_t)t->pages * PAGE);
	return true;
}

static bool op_delete(struct world *w, struct tm_prng *rng)
{
	static uint64_t buf[(TRACK_PAGES_MAX + 63) / 64];
	struct track *t = draw_track(w, rng);
	struct vmm_slot *s = vmm_slot_of(w->vm, t->id);
	bool late = tm_prng_below(rng, 2) == 0;
	uint64_t n = 0;
	int status;

	if (!pause(w, 0)) {
		return false;
	}
	owe_differing(w, t);
	memset(buf, 0, sizeof(buf));
	status = tm_slot_delete_collect(w->vm->handle, t->id, buf, (t->pages + 63) / 64 * 8, &n);
	if (!mode_has_bitmap(w->mode) && status == -TM_ENXIO) {
		/* No bitmap to collect: the rings have it all, and outlive the slot. */
		struct tm_slot_desc d = s->desc;

		d.size = 0;
		status = tm_slot_set(w->vm->handle, &d);
	}
	if (status != 0) {
		return bad(w, OP_DELETE, "SLOT_DELETE_COLLECT", status);
	}
	world_unmap_track(t);
	/* Ring entries of a slot that is gone, harvested before or after its number is reused. */
	if (!late && !collect_rings(w, ~0u)) {
		return false;
	}
	/* It came back to us, zeroed (C-034). */
	if (!t->anonymous) {
		const uint8_t *back = (const uint8_t *)(uintptr_t)s->desc.backing;

		for (uint32_t p = 0; p < t->pages; p++) {
			if (!compare_pages(back + (uint64_t)p * PAGE,
					   back + (uint64_t)(p != 0 ? p - 1 : 0) * PAGE, 1) ||
			    *(const uint64_t *)(const void *)(back + (uint64_t)p * PAGE) != 0) {
				return world_fail(w, "scrub", "slot %u offset %u", t->id, p);
			}
		}
	}
	status = tm_slot_set(w->vm->handle, &s->desc);
	if (status != 0) {
		return bad(w, OP_DELETE, "SLOT_SET again", status);
	}
	if ((late && !collect_rings(w, ~0u)) || !settle_deleted(w, t, buf)) {
		return false;
	}
	return world_map_track(w, t) && compare_track(w, t, "recreated") && resume(w);
}

/* --- the rest --------------------------------------------------------------------------------- */

static bool op_kick(struct world *w, struct tm_prng *rng, enum op op)
{
	uint32_t id = (uint32_t)tm_prng_below(rng, w->vcpus);
	int status = tm_vcpu_kick(w->vm->handle, id,
				  op == OP_KICK ? TM_KICK_DRAIN : TM_KICK_STOP);

	w->t.kicks++;
	return status == 0 || bad(w, op, "VCPU_KICK", status);
}

static bool op_compare(struct world *w)
{
	if (!collect_all(w)) {
		return false;
	}
	compare_running(w);
	return true;
}

static bool want(struct world *w, const char *call, int status, int wanted)
{
	return status == wanted ||
	       world_fail(w, "refused", "%s: %s, want %s", call, tm_strerror_name(status),
			  tm_strerror_name(wanted));
}

/* Ring-exclusive: no bitmap calls, no writer but the vCPUs. Content proves the rest. */
static bool op_refused(struct world *w, struct tm_prng *rng)
{
	static uint64_t buf[(TRACK_PAGES_MAX + 63) / 64];
	struct track *t = draw_track(w, rng);
	uint64_t page = tm_prng_below(rng, t->pages);
	uint32_t vm = w->vm->handle;
	void *view;

	if (w->test_build && !want(w, "HYP_WRITE", tm_hyp_write(vm, t->gpa + page * PAGE, 8, 1),
				   -TM_ENXIO)) {
		return false;
	}
	if (!want(w, "MARK_DIRTY", tm_mark_dirty(vm, t->id, page, 1), -TM_ENXIO) ||
	    !want(w, "BITMAP_GET", tm_bitmap_get(vm, t->id, buf, sizeof(buf), NULL), -TM_ENXIO) ||
	    !want(w, "BITMAP_GET no slot", tm_bitmap_get(vm, 63, buf, sizeof(buf), NULL),
		  -TM_ENXIO)) {
		return false;
	}
	view = vmm_window_map(w->vm, t->gpa, PAGE, TM_PROT_READ | TM_PROT_WRITE);
	return want(w, "MAP_GUEST writable", view != NULL ? 0 : vmm_last_status(), -TM_ENXIO);
}

bool run_op(struct world *w, enum op op, struct tm_prng *rng)
{
	int status;

	w->t.op[op] += op != OP_READONLY;	/* that one counts where it happens */
	switch (op) {
	case OP_HYP_WRITE: return op_hyp_write(w, rng);
	case OP_WINDOW_STORE: return op_window_store(w, rng);
	case OP_MARK_DIRTY: return op_mark_dirty(w, rng);
	case OP_HARVEST: return collect_rings(w, ~0u);
	case OP_HARVEST_PART: return collect_rings(w, 1 + (uint32_t)tm_prng_below(rng, 40));
	case OP_GET_CLEAR: return collect_bitmap(w, draw_track(w, rng));
	case OP_CLEAR_SUBSET: return collect_subset(w, draw_track(w, rng), rng);
	case OP_GET_SPARSE: return collect_sparse(w, draw_track(w, rng), false);
	case OP_SYNC:
		status = tm_vm_sync(w->vm->handle);
		return status == 0 || bad(w, op, "VM_SYNC", status);
	case OP_PAUSE: return op_pause(w);
	case OP_QUIESCE: return op_quiesce(w, rng);
	case OP_LOG_TOGGLE: return op_log_toggle(w, rng);
	case OP_MOVE: return op_move(w, rng);
	case OP_DELETE: return op_delete(w, rng);
	case OP_KICK:
	case OP_KICK_STOP: return op_kick(w, rng, op);
	case OP_COMPARE: return op_compare(w);
	case OP_REFUSED: return op_refused(w, rng);
	default: return true;
	}
}
