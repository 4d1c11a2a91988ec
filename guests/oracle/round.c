// SPDX-License-Identifier: Apache-2.0
//
// One round: the guest is told to write, the operations of the plan happen meanwhile, stops are
// served, and when the guest is done everything is collected and compared. Then the ledger tells
// whether what was reported beyond what changed is of the kinds that I-3 lists.

#include <string.h>
#include <tidemark/arch.h>
#include <tidemark/irq.h>
#include "oracle.h"

#define ROUND_LIMIT_US 10000000u

/* --- stops ------------------------------------------------------------------------------------ */

/* A store into the read-only slot that carries no syndrome: step over it by hand. */
static bool skip_instruction(struct world *w, uint32_t id)
{
	static struct tm_regs regs;
	int status = tm_vcpu_regs_get(w->vm->handle, id, &regs);

	if (status == 0 && !skip_store(w, &regs)) {
		return world_fail(w, "skip", "vCPU %u: no store of the writer", id);
	}
	if (status == 0) {
		status = tm_vcpu_regs_set(w->vm->handle, id, &regs);
	}
	return status == 0 || world_fail(w, "regs", "%s", tm_strerror(status));
}

static bool stop_full(struct world *w, uint32_t id, struct vmm_vcpu *v)
{
	w->t.stops++;
	if (w->mode != MODE_STOP && w->mode != MODE_RING) {
		return world_fail(w, "stop", "ring-full stop of vCPU %u in mode %s", id,
				  mode_name[w->mode]);
	}
	/* Another vCPU's stop may have had all rings reset since. */
	if (w->plan.sticky && tm_ring_pending(&v->ring, w->ring_entries) >= w->ring_soft_limit) {
		/* nothing was reset, so it stops again at once and says the same. */
		uint64_t seq = v->seen_seq;
		uint64_t end = tm_timer_now() + tm_us_to_ticks(ROUND_LIMIT_US);
		int status = vmm_resume(w->vm, id);

		if (status != 0) {
			return world_fail(w, "sticky", "VCPU_RUN: %s", tm_strerror(status));
		}
		while (__atomic_load_n(&v->run->exit_seq, __ATOMIC_ACQUIRE) == seq) {
			if (tm_timer_now() > end) {
				return world_fail(w, "sticky", "vCPU %u did not stop again", id);
			}
			tm_cpu_relax();
		}
		if (v->run->reason != TM_EXIT_DIRTY_RING_FULL) {
			return world_fail(w, "sticky", "vCPU %u: %s", id,
					  vmm_exit_name(v->run->reason));
		}
		v->seen_seq = __atomic_load_n(&v->run->exit_seq, __ATOMIC_ACQUIRE);
		v->stopped = true;
		w->t.sticky++;
	}
	return collect_rings(w, ~0u);
}

static bool stop_fault(struct world *w, uint32_t id, const struct tm_run_page *run)
{
	uint64_t gpa = run->u.memory_fault.gpa;

	if (gpa < RO_GPA || gpa >= RO_GPA + RO_PAGES * PAGE ||
	    run->u.memory_fault.flags != (TM_FAULT_WRITE | TM_FAULT_PERM)) {
		return world_fail(w, "memory-fault", "vCPU %u gpa 0x%llx flags 0x%llx", id,
				  (unsigned long long)gpa,
				  (unsigned long long)run->u.memory_fault.flags);
	}
	w->t.op[OP_READONLY]++;
	return skip_instruction(w, id);
}

static bool stop_mmio(struct world *w, uint32_t id, const struct tm_run_page *run)
{
	uint64_t gpa = run->u.mmio.gpa;

	if (gpa < RO_GPA || gpa >= RO_GPA + RO_PAGES * PAGE ||
	    !run->u.mmio.is_write) {
		return world_fail(w, "mmio", "vCPU %u gpa 0x%llx write %u", id,
				  (unsigned long long)gpa, run->u.mmio.is_write);
	}
	w->t.op[OP_READONLY]++;
	return true;
}

static void on_event(struct vmm_vm *vm, uint32_t id, struct vmm_vcpu *v, void *arg)
{
	struct world *w = arg;
	bool good = true;

	if (vm != w->vm || w->failed) {
		return;
	}
	if (!v->stopped) {
		/* SPILL: something went to the bitmap for want of room. */
		if ((__atomic_fetch_and(&v->run->flags, ~(uint32_t)TM_RUN_OVERFLOW,
					__ATOMIC_ACQ_REL) & TM_RUN_OVERFLOW) != 0) {
			w->t.spills++;
		}
		(void)collect_rings(w, ~0u);
		return;
	}
	switch (v->run->reason) {
	case TM_EXIT_DIRTY_RING_FULL: good = stop_full(w, id, v); break;
	case TM_EXIT_KICKED: break;
	case TM_EXIT_MMIO: good = stop_mmio(w, id, v->run); break;
	case TM_EXIT_MEMORY_FAULT: good = stop_fault(w, id, v->run); break;
	default:
		good = world_fail(w, "exit", "vCPU %u stopped: %s", id,
				  vmm_exit_name(v->run->reason));
		break;
	}
	if (good && vmm_resume(w->vm, id) != 0) {
		(void)world_fail(w, "run", "%s: %s", vmm_last_error(),
				 tm_strerror(vmm_last_status()));
	}
}

bool serve(struct world *w, uint64_t us)
{
	if (us == 0) {
		(void)vmm_poll(on_event, w);
	} else {
		(void)vmm_wait(us, on_event, w);
	}
	return !w->failed;
}

/* --- the guest's part ------------------------------------------------------------------------- */

static void tell_guest(struct world *w)
{
	const struct plan *p = &w->plan;
	struct dirty_control *c = w->ctl;
	uint32_t n = 0;

	if (p->hot) {
		c->slots[n++] = (struct dirty_slot){
			w->track[p->hot_track].gpa + (uint64_t)p->hot_page * PAGE, p->hot_pages};
	}
	for (uint32_t i = 0; i < TRACKS && !p->hot; i++) {
		if ((p->slot_mask >> i & 1) != 0) {
			c->slots[n++] = (struct dirty_slot){w->track[i].gpa, w->track[i].pages};
		}
	}
	if (p->readonly) {
		c->slots[n++] = (struct dirty_slot){RO_GPA, RO_PAGES};
	}
	c->n_slots = n;
	c->seed = p->seed;
	c->n_writes = p->hot ? ~(uint64_t)0 : p->n_writes;
	c->kind_mask = p->kind_mask;
	c->vcpu_mask = p->vcpu_mask;
	c->wait_mode = p->wait_mode;
	c->pace = p->pace;
	c->locality = p->locality;
	__atomic_store_n(&c->go_round, p->round, __ATOMIC_RELEASE);
}

static bool guest_done(const struct world *w)
{
	for (uint32_t v = 0; v < w->vcpus; v++) {
		if (__atomic_load_n(&w->ctl->done_round[v], __ATOMIC_ACQUIRE) != w->plan.round) {
			return false;
		}
	}
	return true;
}

static bool wait_done(struct world *w)
{
	uint64_t end = tm_timer_now() + tm_us_to_ticks(ROUND_LIMIT_US);

	while (!guest_done(w)) {
		if (!serve(w, 100)) {
			return false;
		}
		if (tm_timer_now() > end) {
			return world_fail(w, "hang", "round %llu: not done: %llu %llu %llu %llu",
					  (unsigned long long)w->plan.round,
					  (unsigned long long)w->ctl->done_round[0],
					  (unsigned long long)w->ctl->done_round[1],
					  (unsigned long long)w->ctl->done_round[2],
					  (unsigned long long)w->ctl->done_round[3]);
		}
	}
	return w->ctl->error == 0 || world_fail(w, "guest", "the guest refused its orders");
}

/* --- accounting (I-3) ------------------------------------------------------------------------- */

static void read_ledger(struct world *w, uint32_t vcpu)
{
	uint64_t stride = w->ctl->ledger_stride;
	const struct dirty_ledger *l = (const void *)(w->ledger + vcpu * stride);
	uint64_t capacity = (stride - sizeof(*l)) / sizeof(struct dirty_row);
	uint64_t head = __atomic_load_n(&l->head, __ATOMIC_ACQUIRE);

	if (head - w->ledger_seen[vcpu] > capacity) {
		w->ledger_lost = true;
		w->ledger_seen[vcpu] = head - capacity;
	}
	for (uint64_t n = w->ledger_seen[vcpu]; n != head; n++) {
		uint64_t gpa = l->rows[n % capacity].gpa;
		struct track *t = world_track_of_gpa(w, gpa);

		if (t != NULL) {
			page_set(w, t, (uint32_t)((gpa - t->gpa) / PAGE), P_EXPLAINED);
		}
	}
	w->ledger_seen[vcpu] = head;
}

static void account(struct world *w)
{
	const struct plan *p = &w->plan;

	for (uint32_t v = 0; v < w->vcpus; v++) {
		read_ledger(w, v);
	}
	if (p->hot) {
		/* As much as it liked, all over these: the ledger may have wrapped. */
		for (uint32_t i = 0; i < p->hot_pages; i++) {
			page_set(w, &w->track[p->hot_track], p->hot_page + i, P_EXPLAINED);
		}
		w->ledger_lost = false;
	}
	for (uint32_t g = 0; g < w->pages; g++) {
		if ((w->flag[g] & (P_REPORTED | P_EXPLAINED)) == P_REPORTED && !w->ledger_lost) {
			w->t.unexplained++;
		}
	}
	memset(w->flag, 0, w->pages);
	w->ledger_lost = false;
}

/* The read-only slot: as it was, and reported by nobody. */
static bool check_readonly(struct world *w)
{
	const uint64_t *p = (const uint64_t *)(const void *)w->ro;

	for (uint32_t i = 0; i < RO_PAGES * PAGE / 8; i++) {
		if (p[i] != 0) {
			return world_fail(w, "readonly", "word %u changed", i);
		}
	}
	return true;
}

static uint64_t rows_written(const struct world *w)
{
	uint64_t n = 0;

	for (uint32_t v = 0; v < w->vcpus; v++) {
		n += __atomic_load_n(&w->ctl->pages_written[v], __ATOMIC_RELAXED);
	}
	return n;
}

/* Until the guest wrote some more, so that what comes now meets it at work. */
static bool let_it_write(struct world *w, uint64_t rows)
{
	uint64_t until = rows_written(w) + rows;
	uint64_t end = tm_timer_now() + tm_us_to_ticks(ROUND_LIMIT_US);

	while (rows_written(w) < until && !guest_done(w)) {
		if (!serve(w, 0)) {
			return false;
		}
		if (tm_timer_now() > end) {
			return world_fail(w, "hang", "the guest does not write");
		}
		tm_cpu_relax();		/* an emulator with one thread runs somebody else now */
	}
	return true;
}

bool run_round(struct world *w, uint64_t round)
{
	struct plan *p = &w->plan;
	struct tm_prng rng;

	plan_round(w, round, p);
	tm_prng_seed(&rng, p->seed + 1);
	tell_guest(w);
	for (uint32_t i = 0; i < p->n_ops; i++) {
		struct tm_prng own;

		/* Each its own numbers: one operation's needs do not shift the next one's. */
		tm_prng_seed(&own, tm_prng_next(&rng));
		if (p->hot && p->op[i] == OP_COMPARE && !let_it_write(w, p->hot_pages * 8)) {
			return false;
		}
		if (!run_op(w, (enum op)p->op[i], &own) || !serve(w, 0)) {
			return false;
		}
	}
	if (p->hot) {
		if (!let_it_write(w, 64)) {
			return false;
		}
		__atomic_store_n(&w->ctl->stop_round, round, __ATOMIC_RELEASE);
	}
	if (!wait_done(w) || !collect_all(w) || !compare_still(w, "content")) {
		return false;
	}
	if (w->plan.readonly && !check_readonly(w)) {
		return false;
	}
	if (mode_is_manual(w->mode) && round % 64 == 0 &&
	    !collect_sparse(w, &w->track[round / 64 % TRACKS], true)) {
		return false;
	}
	account(w);
	w->t.rounds++;
	return true;
}
