// SPDX-License-Identifier: Apache-2.0
//
// The writes of guests/dirty. A page is divided so that no two vCPUs spoil each other's fresh
// values: units of 16 bytes in [0x10, 0x800) belong to vCPU (unit mod 8); a block for DC ZVA at
// 0x800 belongs to vCPU (page mod vcpus); words for atomics at 0xc00 are everybody's; the last and
// first four bytes take the stores that cross into the next page.

#include <string.h>
#include "stores.h"
#include "writer.h"

#define UNITS 128u
#define ZVA_OFFSET 0x800u
#define ZVA_MAX 0x200u
#define ATOMIC_OFFSET 0xc00u
#define ATOMIC_WORDS 16u
#define CROSS_OFFSET 0xffcu
#define PAGE 4096u

void writer_init(struct writer *w, struct dirty_control *control, uint32_t vcpu, uint32_t vcpus)
{
	memset(w, 0, sizeof(*w));
	w->vcpu = vcpu;
	w->vcpus = vcpus;
	w->control = control;
	w->ledger = (struct dirty_ledger *)(uintptr_t)(control->ledger_gpa +
						       vcpu * control->ledger_stride);
	w->ledger->head = 0;
	w->ledger->capacity = (control->ledger_stride - sizeof(struct dirty_ledger)) /
			      sizeof(struct dirty_row);
}

bool writer_begin(struct writer *w, uint64_t round)
{
	const struct dirty_control *c = w->control;

	w->round = (uint32_t)round;
	w->n_slots = c->n_slots;
	w->kind_mask = c->kind_mask & ((1u << DIRTY_KINDS) - 1);
	w->locality = c->locality;
	w->run_left = 0;
	w->total_pages = 0;
	if (w->kind_mask == 0) {
		w->kind_mask = (1u << DIRTY_KINDS) - 1;
	}
	if (w->n_slots == 0 || w->n_slots > DIRTY_SLOTS) {
		return false;
	}
	for (uint32_t i = 0; i < w->n_slots; i++) {
		w->slots[i] = c->slots[i];
		w->total_pages += w->slots[i].pages;
		if (w->slots[i].pages == 0 || w->slots[i].gpa % PAGE != 0) {
			return false;
		}
	}
	tm_prng_seed(&w->rng, c->seed ^ (uint64_t)(w->vcpu + 1) << 48);
	return true;
}

static void row(struct writer *w, uint64_t gpa, uint64_t value, enum dirty_kind kind, uint32_t slot)
{
	struct dirty_row *r = &w->ledger->rows[w->head % w->ledger->capacity];

	r->gpa = gpa;
	r->value = value;
	r->seq = w->seq;
	r->round = w->round;
	r->kind = (uint16_t)kind;
	r->slot = (uint16_t)slot;
	w->head++;
}

static bool block_is_zero(uint64_t at, uint32_t size)
{
	for (uint32_t i = 0; i < size; i += 8) {
		if (load8(at + i) != 0) {
			return false;
		}
	}
	return true;
}

struct target {
	uint32_t slot;
	uint64_t page;			/* in the slot */
	uint64_t gpa;			/* of the page */
	bool last;			/* of its slot */
};

static struct target choose_page(struct writer *w)
{
	struct target t = {0, 0, 0, false};
	uint64_t n;

	if (w->run_left == 0) {
		w->run_page = tm_prng_below(&w->rng, w->total_pages);
		w->run_left = w->locality;
	} else {
		w->run_left--;
	}
	n = w->run_page;
	while (n >= w->slots[t.slot].pages) {
		n -= w->slots[t.slot].pages;
		t.slot++;
	}
	t.page = n;
	t.gpa = w->slots[t.slot].gpa + n * PAGE;
	t.last = n + 1 == w->slots[t.slot].pages;
	return t;
}

static enum dirty_kind choose_kind(struct writer *w)
{
	uint64_t n = tm_prng_below(&w->rng, (uint64_t)__builtin_popcount(w->kind_mask));
	uint32_t mask = w->kind_mask;

	while (n-- > 0) {
		mask &= mask - 1;
	}
	return (enum dirty_kind)__builtin_ctz(mask);
}

/* A kind that cannot be done on this page (now) becomes a plain store. */
static enum dirty_kind possible(const struct writer *w, const struct target *t,
				enum dirty_kind kind)
{
	uint32_t size;

	switch (kind) {
	case DIRTY_CROSS:
		return t->last ? DIRTY_STORE : kind;
	case DIRTY_ZVA:
		size = zva_size();
		if (size == 0 || size > ZVA_MAX || t->page % w->vcpus != w->vcpu) {
			return DIRTY_STORE;
		}
		return kind;
	case DIRTY_LSE:
		return has_lse() ? kind : DIRTY_ATOMIC;
	default:
		return kind;
	}
}

/* DC ZVA over zeros would change nothing: then the block gets a value, for a later one to clear. */
static enum dirty_kind do_zva(struct writer *w, const struct target *t, uint64_t value)
{
	uint64_t at = t->gpa + ZVA_OFFSET;

	if (block_is_zero(at, zva_size())) {
		row(w, at, value, DIRTY_STORE, t->slot);
		store8(at, value);
		return DIRTY_STORE;
	}
	row(w, at, 0, DIRTY_ZVA, t->slot);
	zero_block(at);
	return DIRTY_ZVA;
}

static void do_cross(struct writer *w, const struct target *t)
{
	uint64_t at = t->gpa + CROSS_OFFSET;
	uint64_t half = (uint64_t)(w->vcpu + 1) << 28 | (w->seq & 0xfffffff);
	uint64_t value = half << 32 | half;

	row(w, at, value, DIRTY_CROSS, t->slot);
	row(w, t->gpa + PAGE, value, DIRTY_CROSS, t->slot);
	store8(at, value);
}

static void do_atomic(struct writer *w, const struct target *t, enum dirty_kind kind)
{
	uint64_t at = t->gpa + ATOMIC_OFFSET + tm_prng_below(&w->rng, ATOMIC_WORDS) * 8;
	/* Odd and large: sums of several vCPUs never come back to an earlier value. */
	uint64_t by = DIRTY_VALUE(w->vcpu, w->seq) | 1;

	row(w, at, by, kind, t->slot);
	if (kind == DIRTY_LSE) {
		add_lse(at, by);
	} else {
		add_exclusive(at, by);
	}
}

static void do_unit(struct writer *w, const struct target *t, enum dirty_kind kind, uint64_t value)
{
	/* Unit 0 is the tail of crossing stores. */
	uint32_t turn = 1 + (uint32_t)tm_prng_below(&w->rng, UNITS / DIRTY_VCPUS - 1);
	uint64_t at = t->gpa + (turn * DIRTY_VCPUS + w->vcpu) * 16;

	switch (kind) {
	case DIRTY_RMW:
		value += load8(at) | 1;
		row(w, at, value, kind, t->slot);
		store8(at, value);
		break;
	case DIRTY_STP:
		row(w, at, value, kind, t->slot);
		store_pair(at, value);
		break;
	case DIRTY_BYTE:
		value = (load8(at) + 1 + tm_prng_below(&w->rng, 255)) & 0xff;
		row(w, at, value, kind, t->slot);
		store1(at, value);
		break;
	default:
		row(w, at, value, DIRTY_STORE, t->slot);
		store8(at, value);
		break;
	}
}

void writer_step(struct writer *w)
{
	struct target t = choose_page(w);
	enum dirty_kind kind = possible(w, &t, choose_kind(w));
	uint64_t value = DIRTY_VALUE(w->vcpu, ++w->seq);

	switch (kind) {
	case DIRTY_ZVA:
		kind = do_zva(w, &t, value);
		break;
	case DIRTY_CROSS:
		do_cross(w, &t);
		break;
	case DIRTY_ATOMIC:
	case DIRTY_LSE:
		do_atomic(w, &t, kind);
		break;
	default:
		do_unit(w, &t, kind, value);
		break;
	}
	w->control->count[w->vcpu][kind]++;
	w->control->pages_written[w->vcpu] = w->head;
	__atomic_store_n(&w->ledger->head, w->head, __ATOMIC_RELEASE);
}
