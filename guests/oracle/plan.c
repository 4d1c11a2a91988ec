// SPDX-License-Identifier: Apache-2.0
//
// What a round does, out of seed and round alone. Pure.

#include <string.h>
#include "oracle.h"

const char *const op_name[OPS] = {
	"hyp-write", "window-store", "mark-dirty", "harvest", "harvest-part", "get-clear",
	"clear-subset", "get-sparse", "sync", "pause", "quiesce", "log-toggle", "move",
	"delete-collect", "kick", "kick-stop", "compare", "readonly", "refused",
};

const char *const mode_name[MODES] = {"stop", "spill", "bitmap", "ring", "auto", "init"};

/* How often an operation is drawn, relative to the others: the dear ones less. */
static const uint8_t weight[OPS] = {
	[OP_HYP_WRITE] = 6, [OP_WINDOW_STORE] = 6, [OP_MARK_DIRTY] = 4, [OP_HARVEST] = 6,
	[OP_HARVEST_PART] = 6, [OP_GET_CLEAR] = 6, [OP_CLEAR_SUBSET] = 6, [OP_GET_SPARSE] = 4,
	[OP_SYNC] = 3, [OP_PAUSE] = 2, [OP_QUIESCE] = 2, [OP_LOG_TOGGLE] = 2, [OP_MOVE] = 1,
	[OP_DELETE] = 1, [OP_KICK] = 4, [OP_KICK_STOP] = 3, [OP_COMPARE] = 3, [OP_READONLY] = 2,
	[OP_REFUSED] = 3,
};

uint32_t mode_dirty_flags(enum mode m)
{
	switch (m) {
	case MODE_STOP: return TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_MANUAL;
	case MODE_SPILL:
		return TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_MANUAL | TM_DIRTY_SPILL;
	case MODE_RING: return TM_DIRTY_RING;
	case MODE_AUTO: return TM_DIRTY_BITMAP;
	case MODE_INIT: return TM_DIRTY_BITMAP | TM_DIRTY_MANUAL | TM_DIRTY_INITIALLY_SET;
	default: return TM_DIRTY_BITMAP | TM_DIRTY_MANUAL;
	}
}

bool mode_has_ring(enum mode m)
{
	return (mode_dirty_flags(m) & TM_DIRTY_RING) != 0;
}

bool mode_has_bitmap(enum mode m)
{
	return (mode_dirty_flags(m) & TM_DIRTY_BITMAP) != 0;
}

bool mode_is_manual(enum mode m)
{
	return (mode_dirty_flags(m) & TM_DIRTY_MANUAL) != 0;
}

bool mode_has_op(enum mode m, enum op op, bool test_build)
{
	switch (op) {
	case OP_HYP_WRITE: return test_build && mode_has_bitmap(m);
	case OP_WINDOW_STORE:
	case OP_MARK_DIRTY:
	case OP_GET_CLEAR:
	case OP_GET_SPARSE: return mode_has_bitmap(m);
	case OP_CLEAR_SUBSET: return mode_is_manual(m);
	case OP_HARVEST:
	case OP_HARVEST_PART: return mode_has_ring(m);
	case OP_REFUSED: return m == MODE_RING;
	default: return true;
	}
}

static enum op draw_op(const struct world *w, struct tm_prng *rng)
{
	uint64_t sum = 0;
	uint64_t at;

	for (int op = 0; op < OPS; op++) {
		sum += mode_has_op(w->mode, (enum op)op, w->test_build) ? weight[op] : 0;
	}
	at = tm_prng_below(rng, sum);
	for (int op = 0; op < OPS; op++) {
		uint64_t n = mode_has_op(w->mode, (enum op)op, w->test_build) ? weight[op] : 0;

		if (at < n) {
			return (enum op)op;
		}
		at -= n;
	}
	return OP_SYNC;
}

void plan_round(const struct world *w, uint64_t round, struct plan *p)
{
	struct tm_prng rng;
	uint32_t all = (1u << w->vcpus) - 1;

	memset(p, 0, sizeof(*p));
	tm_prng_seed(&rng, w->seed * 1000003u + round);
	p->round = round;
	p->seed = tm_prng_next(&rng);
	p->vcpu_mask = all;
	if (tm_prng_below(&rng, 4) == 0) {
		p->vcpu_mask = 1 + (uint32_t)tm_prng_below(&rng, all);
	}
	/* 64 writes at least over all vCPUs; now and then enough to fill a ring to its limit. */
	p->n_writes = 64 + (uint32_t)tm_prng_below(&rng, 64);
	p->n_writes = 1 + p->n_writes / (uint32_t)__builtin_popcount(p->vcpu_mask);
	if (tm_prng_below(&rng, 8) == 0) {
		p->n_writes = w->ring_soft_limit * 4 / 3 +
			      (uint32_t)tm_prng_below(&rng, w->ring_soft_limit * 5 / 4);
	}
	/* A few pages over and over: no fault of the guest's own CPU hides a translation that
	 * should have been flushed, and each collection meets stores to what it is just arming. */
	p->hot = tm_prng_below(&rng, 5) == 0;
	if (p->hot) {
		p->hot_track = (uint32_t)tm_prng_below(&rng, TRACKS);
		p->hot_page = (uint32_t)tm_prng_below(&rng, w->small ? 34 : 240);
		p->hot_pages = 2 + (uint32_t)tm_prng_below(&rng, 12);
	}
	p->slot_mask = (1u << TRACKS) - 1;
	if (tm_prng_below(&rng, 5) == 0) {
		p->slot_mask &= ~(1u << tm_prng_below(&rng, TRACKS));
	}
	/* Mostly asleep between rounds: vCPUs that spin take the emulator's time from us. */
	p->wait_mode = tm_prng_below(&rng, 5) < 3 ? DIRTY_WAIT_WFI :
		       DIRTY_WAIT_SPIN + (uint32_t)tm_prng_below(&rng, 2);
	p->pace = (uint32_t)tm_prng_below(&rng, 4) * 30;
	p->locality = tm_prng_below(&rng, 3) == 0 ? 4 : 0;
	p->sticky = tm_prng_below(&rng, 4) == 0;
	p->n_ops = 4 + (uint32_t)tm_prng_below(&rng, 4);
	for (uint32_t i = 0; i < p->n_ops; i++) {
		enum op op = draw_op(w, &rng);

		if (p->hot && i < 2) {
			op = OP_COMPARE;
		}
		p->op[i] = (uint8_t)op;
		p->readonly |= op == OP_READONLY && !p->hot;
	}
	if (p->readonly) {
		/* What the exit can describe: plain stores (abi.md, accesses without syndrome). */
		p->kind_mask = 1u << DIRTY_STORE | 1u << DIRTY_RMW | 1u << DIRTY_BYTE;
		p->n_writes = 64;
	}
}
