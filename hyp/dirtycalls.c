// SPDX-License-Identifier: Apache-2.0
/*
 * Hypercalls of group 0x0400: dirty tracking. Order of checks: mode (-ENXIO), slot number
 * (-EINVAL), slot (-ENOENT), ranges (-EINVAL), buffer (-EFAULT); only then anything is consumed.
 *
 * One unit of GET and CLEAR is a bitmap leaf, 4096 pages:
 *	stage-2 lock { take words, write-protect their leaves; flush }	the VM is armed
 *	window_arm() under the manager's stage-2 lock, with its flush	the manager is armed
 *	copy out							only now the bits are seen (I-1)
 * If the copy fails after all, because another CPU took the buffer away, the bits are set again.
 */
#include <arch/time.h>
#include <hyp/dirty_log.h>
#include <hyp/guest_copy.h>
#include <hyp/string.h>
#include <hyp/test_hooks.h>
#include <hyp/window.h>

#include "req.h"

#define UNITS_PER_CALL 8u		/* leaves: 32768 pages */
#define CHECK_BYTES (512u * PAGE_SIZE)	/* of the buffer, at cursor 0 */
#define SPARSE_PAIRS 32u		/* a lock hold */
#define SPARSE_PER_CALL 256u

int64_t hc_dirty_config(struct hc_call *c)
{
	struct vm *vm;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	err = dirty_log_config(vm, c->arg[1], c->arg[2]);
	vm_put(vm);
	return err;
}

int64_t hc_ring_reset(struct hc_call *c)
{
	struct vm *vm;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	err = dirty_log_reset(vm, &c->res[1], &c->res[0]);
	vm_put(vm);
	return err;
}

/* ---- one unit --------------------------------------------------------------------------------- */

struct unit {
	struct hc_call *c;
	struct vm *vm;
	uint32_t slot;
	bool consume;
	uint64_t word;				/* first of it */
	unsigned words;
	gpa_t first;				/* its first page */
	uint64_t bits[BITMAP_LEAF_WORDS];
};

/* Slot exists, is logging, and is at least so large. Stage-2 lock held. */
static struct memslot *logged_slot(struct vm *vm, uint32_t slot, int *err)
{
	struct memslot *m = memslot_get(&vm->slots, slot);

	*err = !m || !memslot_logging(m) ? -TM_ENOENT : 0;
	return *err ? NULL : m;
}

/* Takes (or reads) words; want: which bits, NULL for all. */
static int unit_take(struct unit *u, const uint64_t *want)
{
	struct tlb_batch b = TLB_BATCH_INIT;
	struct memslot *m;
	int err;

	stage2_lock(&u->vm->s2);
	m = logged_slot(u->vm, u->slot, &err);
	if (m) {
		uint64_t all = (m->npages + 63) / 64;

		u->words = u->word >= all ? 0 : (unsigned)MIN(all - u->word, BITMAP_LEAF_WORDS);
		u->first = gpa_add(gfn_to_gpa(m->base), u->word * 64 << PAGE_SHIFT);
		for (unsigned i = 0; i < u->words; i++) {
			u->bits[i] = u->consume ?
				dirty_log_consume(u->vm, m, u->word + i, want ? want[i] : ~0ull, &b) :
				dirty_bitmap_word(&m->bitmap, u->word + i);
		}
	}
	stage2_flush(&u->vm->s2, &b);	/* under the lock, before anybody reads */
	stage2_unlock(&u->vm->s2);
	if (err || !u->consume) {
		return err;
	}
	for (unsigned i = 0; i < u->words; i++) {
		window_arm(u->vm, gpa_add(u->first, (uint64_t)i * 64 << PAGE_SHIFT), u->bits[i]);
	}
	return 0;
}

/* The bits could not be handed over: they are pending again (over-reported at worst). */
static void unit_put_back(struct unit *u)
{
	struct memslot *m;
	int err;

	stage2_lock(&u->vm->s2);
	m = logged_slot(u->vm, u->slot, &err);
	for (unsigned i = 0; m && i < u->words; i++) {
		for (uint64_t bits = u->bits[i]; bits; bits &= bits - 1) {
			(void)dirty_bitmap_set(&m->bitmap, (u->word + i) * 64 +
					       (unsigned)__builtin_ctzll(bits));
		}
	}
	stage2_unlock(&u->vm->s2);
}

static uint64_t unit_count(const struct unit *u)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < u->words; i++) {
		n += (unsigned)__builtin_popcountll(u->bits[i]);
	}
	return n;
}

/* The checks that all bitmap calls share. */
static int bitmap_checks(struct vm *vm, uint64_t slot, uint64_t *npages)
{
	struct memslot *m;
	int err;

	if (dirty_log_ring_exclusive(vm)) {
		return -TM_ENXIO;	/* tested before the slot */
	}
	err = memslot_check_number(slot);
	if (err) {
		return err;
	}
	stage2_lock(&vm->s2);
	m = logged_slot(vm, (uint32_t)slot, &err);
	*npages = m ? m->npages : 0;
	stage2_unlock(&vm->s2);
	return err;
}

/* ---- BITMAP_GET ------------------------------------------------------------------------------- */

static int get_step(struct unit *u, uint64_t buf, uint64_t bytes)
{
	uint64_t off = u->word * 8, n = MIN(bytes - off, BITMAP_LEAF_WORDS * 8u);
	struct vm *manager = u->c->vcpu->vm;
	int err;

	/* K clears, then faults on the copy, and the bits are lost. */
	err = guest_check_writable(manager, gpa(buf + off), n);
	if (!err) {
		err = unit_take(u, NULL);
	}
	if (err) {
		return err;
	}
	test_yield();
	err = guest_write(manager, u->c->vcpu, gpa(buf + off), u->bits, (uint64_t)u->words * 8,
			  NULL);
	if (err && u->consume) {
		unit_put_back(u);
	}
	return err;
}

static int get(struct hc_call *c, struct vm *vm)
{
	struct unit u = {.c = c, .vm = vm, .slot = (uint32_t)c->arg[1],
			 .consume = !dirty_log_manual(vm)};
	uint64_t buf = c->arg[2], cursor = c->arg[4], npages, bytes;
	int err = bitmap_checks(vm, c->arg[1], &npages);

	if (err) {
		return err;
	}
	bytes = ALIGN_UP(npages, 64u) / 8;	/* rounded up to 8 */
	if (c->arg[3] < bytes || cursor % 64 || cursor >= npages) {
		return -TM_EINVAL;
	}
	if (buf & 7) {
		return -TM_EFAULT;
	}
	if (cursor == 0) {
		err = guest_check_writable(c->vcpu->vm, gpa(buf), MIN(bytes, CHECK_BYTES));
		if (err) {
			return err;
		}
		vm_sync(vm);		/* */
	}
	for (unsigned n = 0; n < UNITS_PER_CALL && cursor < npages; n++) {
		u.word = cursor / 64;
		err = get_step(&u, buf, bytes);
		if (err) {
			/* What earlier steps took has been delivered: say so first (I-7). */
			return n ? TM_CONTINUE : err;
		}
		cursor = MIN(cursor + (uint64_t)u.words * 64, npages);
		c->res[0] = cursor;
		c->res[1] += unit_count(&u);
		if (u.words == 0) {
			break;
		}
	}
	return cursor < npages ? TM_CONTINUE : 0;
}

int64_t hc_bitmap_get(struct hc_call *c)
{
	struct vm *vm;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	dirty_log_mutant_catch_up(vm);
	err = get(c, vm);
	vm_put(vm);
	return err;
}

/* ---- BITMAP_CLEAR ----------------------------------------------------------------------------- */

static int clear_checks(const struct tm_clear_desc *d, uint64_t npages, uint64_t cursor)
{
	if (d->rsvd || d->rsvd2) {
		return -TM_EINVAL;
	}
	/* */
	if (d->first % 64 || d->npages == 0 || d->first >= npages || d->npages > npages - d->first ||
	    (d->npages % 64 && d->first + d->npages != npages)) {
		return -TM_EINVAL;
	}
	if (d->bitmap_len < ALIGN_UP(d->npages, 64u) / 8 || cursor % 64 || cursor >= d->npages) {
		return -TM_EINVAL;
	}
	return d->bitmap_gpa & 7 ? -TM_EFAULT : 0;
}

/* Clears and arms what is set in both; surplus tail bits meet no page. */
static int clear_step(struct unit *u, const struct tm_clear_desc *d, uint64_t cursor)
{
	uint64_t want[BITMAP_LEAF_WORDS] = {0};
	uint64_t words = (d->npages - cursor + 63) / 64;
	/* Not beyond the leaf, so that one unit is one leaf. */
	uint64_t room = BITMAP_LEAF_WORDS - u->word % BITMAP_LEAF_WORDS;
	int err;

	words = MIN(words, room);
	err = guest_read(u->c->vcpu->vm, gpa(d->bitmap_gpa + cursor / 8), want, words * 8);
	if (!err) {
		err = unit_take(u, want);
	}
	u->words = (unsigned)MIN(words, u->words);
	return err;
}

static int clear(struct hc_call *c, struct vm *vm)
{
	struct unit u = {.c = c, .vm = vm, .consume = true};
	uint64_t cursor = c->arg[5], npages;
	struct tm_clear_desc d;
	int err;

	if (dirty_log_ring_exclusive(vm)) {
		return -TM_ENXIO;
	}
	err = hc_read_struct(c, c->arg[1], c->arg[2], &d, sizeof(d));
	if (!err) {
		err = bitmap_checks(vm, d.slot, &npages);
	}
	if (!err) {
		err = clear_checks(&d, npages, cursor);
	}
	if (err) {
		return err;
	}
	if (cursor == 0) {
		vm_sync(vm);		/* */
	}
	u.slot = d.slot;
	for (unsigned n = 0; n < UNITS_PER_CALL && cursor < d.npages; n++) {
		u.word = (d.first + cursor) / 64;
		err = clear_step(&u, &d, cursor);
		if (err) {
			return n ? TM_CONTINUE : err;
		}
		cursor = MIN(cursor + (uint64_t)u.words * 64, d.npages);
		c->res[0] = cursor;
		c->res[1] += unit_count(&u);
		if (u.words == 0) {
			break;
		}
	}
	return cursor < d.npages ? TM_CONTINUE : 0;
}

int64_t hc_bitmap_clear(struct hc_call *c)
{
	struct vm *vm;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	dirty_log_mutant_catch_up(vm);
	err = clear(c, vm);
	vm_put(vm);
	return err;
}

/* ---- BITMAP_GET_SPARSE ------------------------------------------------------------------------ */

struct sparse {
	struct tm_sparse_pair pair[SPARSE_PAIRS];
	unsigned count;
	gpa_t base;		/* of the slot */
	uint64_t next;		/* word to go on at; ~0: no more */
};

static int sparse_take(struct vm *vm, uint32_t slot, bool consume, uint64_t room, struct sparse *s)
{
	struct tlb_batch b = TLB_BATCH_INIT;
	struct memslot *m;
	int err;

	s->count = 0;
	stage2_lock(&vm->s2);
	m = logged_slot(vm, slot, &err);
	if (m) {
		s->base = gfn_to_gpa(m->base);
		s->next = dirty_bitmap_next(&m->bitmap, s->next);
		while (s->next != ~0ull && s->count < MIN(SPARSE_PAIRS, room)) {
			struct tm_sparse_pair *p = &s->pair[s->count];

			p->word = s->next;
			p->bits = consume ? dirty_log_consume(vm, m, s->next, ~0ull, &b) :
				  dirty_bitmap_word(&m->bitmap, s->next);
			s->count += p->bits != 0;
			s->next = dirty_bitmap_next(&m->bitmap, s->next + 1);
		}
	}
	stage2_flush(&vm->s2, &b);
	stage2_unlock(&vm->s2);
	for (unsigned i = 0; consume && !err && i < s->count; i++) {
		window_arm(vm, gpa_add(s->base, s->pair[i].word * 64 << PAGE_SHIFT), s->pair[i].bits);
	}
	return err;
}

static void sparse_put_back(struct vm *vm, uint32_t slot, const struct sparse *s)
{
	struct memslot *m;
	int err;

	stage2_lock(&vm->s2);
	m = logged_slot(vm, slot, &err);
	for (unsigned i = 0; m && i < s->count; i++) {
		for (uint64_t bits = s->pair[i].bits; bits; bits &= bits - 1) {
			(void)dirty_bitmap_set(&m->bitmap, s->pair[i].word * 64 +
					       (unsigned)__builtin_ctzll(bits));
		}
	}
	stage2_unlock(&vm->s2);
}

/* room: pairs that still fit. */
static int sparse_step(struct hc_call *c, struct vm *vm, uint64_t at, uint64_t room,
		       struct sparse *s)
{
	uint64_t bytes = MIN(SPARSE_PAIRS, room) * sizeof(struct tm_sparse_pair);
	bool consume = !dirty_log_manual(vm);
	int err = guest_check_writable(c->vcpu->vm, gpa(at), bytes);

	if (!err) {
		err = sparse_take(vm, (uint32_t)c->arg[1], consume, room, s);
	}
	if (!err && s->count) {
		err = guest_write(c->vcpu->vm, c->vcpu, gpa(at), s->pair,
				  s->count * sizeof(s->pair[0]), NULL);
		if (err && consume) {
			sparse_put_back(vm, (uint32_t)c->arg[1], s);
		}
	}
	return err;
}

static int get_sparse(struct hc_call *c, struct vm *vm)
{
	uint64_t buf = c->arg[2], cursor = c->arg[4], npages, pairs, n = 0;
	struct sparse s;
	int err = bitmap_checks(vm, c->arg[1], &npages);

	if (err) {
		return err;
	}
	pairs = MIN(c->arg[3] / sizeof(struct tm_sparse_pair), SPARSE_PER_CALL);
	if (pairs == 0 || cursor % 64 || cursor >= ALIGN_UP(npages, 64u)) {
		return -TM_EINVAL;
	}
	if (buf & 7) {
		return -TM_EFAULT;
	}
	if (cursor == 0) {
		vm_sync(vm);
	}
	s.next = cursor / 64;
	while (n < pairs && s.next != ~0ull) {
		err = sparse_step(c, vm, buf + n * sizeof(struct tm_sparse_pair), pairs - n, &s);
		if (err) {
			return n ? TM_CONTINUE : err;
		}
		n += s.count;
		c->res[0] = s.next == ~0ull ? npages : s.next * 64;
		c->res[1] = n;
	}
	return s.next == ~0ull ? 0 : TM_CONTINUE;
}

int64_t hc_bitmap_get_sparse(struct hc_call *c)
{
	struct vm *vm;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	dirty_log_mutant_catch_up(vm);
	err = get_sparse(c, vm);
	vm_put(vm);
	return err;
}

/* ---- BITMAP_SUMMARY, DIRTY_RATE, QUOTA_SET ---------------------------------------------------- */

int64_t hc_bitmap_summary(struct hc_call *c)
{
	struct vm *vm;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	if (dirty_log_ring_exclusive(vm)) {
		vm_put(vm);
		return -TM_ENXIO;
	}
	vm_sync(vm);
	stage2_lock(&vm->s2);
	for (unsigned i = 0; i < vm->slots.count; i++) {
		const struct memslot *m = &vm->slots.slot[vm->slots.order[i]];

		c->res[0] |= memslot_logging(m) && dirty_bitmap_any(&m->bitmap) ? 1 : 0;
		c->res[2] += m->bitmap.leaves;
	}
	/* read last, so that a later writer is seen by the next comparison. */
	c->res[1] = __atomic_load_n(&vm->dirty.generation, __ATOMIC_ACQUIRE);
	stage2_unlock(&vm->s2);
	vm_put(vm);
	return 0;
}

static void rate_fill(struct vm *vm, struct tm_dirty_rate *r)
{
	memset(r, 0, sizeof(*r));
	stage2_lock(&vm->s2);
	r->pages_ring = vm->dirty.pages_ring;
	r->pages_bitmap = vm->dirty.pages_bitmap;
	r->spills = vm->dirty.spills;
	r->chunk_fallbacks = vm->dirty.chunk_fallbacks;
	r->bad_reset_entries = vm->dirty.bad_reset_entries;
	for (unsigned i = 0; i < MEMSLOT_MAX; i++) {
		r->chunk_fallbacks += vm->slots.slot[i].bitmap.fallbacks;
	}
	for (unsigned i = 0; i < TM_MAX_VCPUS; i++) {
		const struct vcpu *v = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

		r->per_vcpu[i] = v ? v->stats.pages_logged : 0;
	}
	r->time = arch_time_now();
	r->freq = arch_time_freq();
	stage2_unlock(&vm->s2);
}

int64_t hc_dirty_rate(struct hc_call *c)
{
	struct tm_dirty_rate r;
	struct vm *vm;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	rate_fill(vm, &r);
	vm_put(vm);
	return hc_write_struct(c, c->arg[1], c->arg[2], &r, sizeof(r));
}

int64_t hc_quota_set(struct hc_call *c)
{
	struct vm *vm;
	struct vcpu *v;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	err = req_vcpu(c, vm, &v);
	if (!err && vm->dirty.backend == TM_BACKEND_DBM && c->arg[2] != ~0ull) {
		err = -TM_EOPNOTSUPP;	/* nobody learns who wrote in time */
	}
	if (!err) {
		__atomic_store_n(&v->quota, c->arg[2], __ATOMIC_RELAXED);
		vcpu_request(v, VCPU_REQ_RESCHED);	/* 0 stops one that runs */
	}
	vm_put(vm);
	return err;
}
