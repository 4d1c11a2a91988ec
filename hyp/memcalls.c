// SPDX-License-Identifier: Apache-2.0
/*
 * Hypercalls of group 0x0300: slots. Thin: read once, check, call the owner (memslot.c, fault.c,
 * dirty_log.c). Bounded work a call; the rest is CONTINUE (I-6).
 */
#include <hyp/dirty_log.h>
#include <hyp/fault.h>
#include <hyp/guest_copy.h>
#include <hyp/string.h>

#include "req.h"

#define PREFAULT_PAGES 512u
#define MARK_PAGES 262144u		/* 4096 words */
#define CHECK_BYTES (512u * PAGE_SIZE)	/* of a bitmap buffer, checked up front */

int64_t hc_slot_set(struct hc_call *c)
{
	struct tm_slot_desc d;
	struct vm *vm;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	err = hc_read_struct(c, c->arg[1], c->arg[2], &d, sizeof(d));
	if (!err) {
		err = memslot_set(vm, &d, &c->res[0]);
	}
	vm_put(vm);
	return err;
}

/* ---- SLOT_DELETE_COLLECT ---------------------------------------------------------------------- */

struct collect {
	struct hc_call *c;
	uint64_t buf;
	uint64_t bits;
};

static int collect_take(void *ctx, uint64_t word, const uint64_t *bits, unsigned words)
{
	struct collect *k = ctx;
	int err = guest_write(k->c->vcpu->vm, k->c->vcpu, gpa(k->buf + word * 8), bits,
			      (uint64_t)words * 8, NULL);

	for (unsigned i = 0; i < words && !err; i++) {
		k->bits += (unsigned)__builtin_popcountll(bits[i]);
	}
	return err;
}

/* Pages of a slot that may be deleted or is being deleted; -TM_ENOENT as for GET. */
static int collectable(struct vm *vm, uint32_t slot, uint64_t *npages)
{
	const struct memslot *m = &vm->slots.slot[index_nospec(TM_SLOT_ID(slot), MEMSLOT_MAX)];
	int err = 0;

	spin_lock(&vm->slots_lock);
	if (!m->used || (!m->dying && !memslot_logging(m))) {
		err = -TM_ENOENT;
	}
	*npages = m->npages;
	spin_unlock(&vm->slots_lock);
	return err;
}

static int delete_collect(struct hc_call *c, struct vm *vm)
{
	struct collect k = {.c = c, .buf = c->arg[2]};
	uint64_t npages, bytes;
	int err;

	if (dirty_log_ring_exclusive(vm)) {
		return -TM_ENXIO;	/* before the number */
	}
	err = memslot_check_number(c->arg[1]);
	if (!err) {
		err = collectable(vm, (uint32_t)c->arg[1], &npages);
	}
	if (err) {
		return err;
	}
	bytes = ALIGN_UP(npages, 64u) / 8;
	if (c->arg[3] < bytes) {
		return -TM_EINVAL;
	}
	if (k.buf & 7) {
		return -TM_EFAULT;
	}
	/* a bad buffer is found before anything is taken down. */
	err = guest_check_writable(c->vcpu->vm, gpa(k.buf), MIN(bytes, CHECK_BYTES));
	if (!err) {
		err = memslot_delete_collect(vm, (uint32_t)c->arg[1], collect_take, &k, &c->res[0]);
		c->res[1] = k.bits;
	}
	return err;
}

int64_t hc_slot_delete_collect(struct hc_call *c)
{
	struct vm *vm;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	err = delete_collect(c, vm);
	vm_put(vm);
	return err;
}

/* ---- SLOT_QUERY ------------------------------------------------------------------------------- */

static int count_leaf(void *ctx, const struct pt_leaf *leaf)
{
	struct tm_slot_info *info = ctx;

	info->leaves_4k += leaf->level == 0;
	info->leaves_2m += leaf->level == 1;
	info->leaves_1g += leaf->level == 2;
	info->writable_leaves += (leaf->attrs & PT_W) != 0;
	return 0;
}

static void count_span(struct vm *vm, struct memslot *m, const struct slot_span *s,
		       struct tlb_batch *b, void *ctx)
{
	(void)m, (void)b;
	(void)pgtable_for_each(&vm->s2.pt, s->start.v, s->pages << PAGE_SHIFT, count_leaf, ctx);
}

static uint32_t next_number(const struct memslots *s, unsigned from)
{
	for (unsigned i = from; i < MEMSLOT_MAX; i++) {
		if (s->slot[i].used && !s->slot[i].dying) {
			return i;
		}
	}
	return UINT32_MAX;
}

static void describe(const struct vm *vm, const struct memslot *m, struct tm_slot_info *info)
{
	info->desc = (struct tm_slot_desc){
		.slot = m->id,
		.flags = m->flags,
		.gpa = gfn_to_gpa(m->base).v,
		.size = m->npages << PAGE_SHIFT,
		.backing = hpa_is_none(m->backing) ? 0 : m->backing.v,
	};
	info->next = next_number(&vm->slots, m->id + 1u);
	info->generation = m->generation;
	memset(info->rsvd, 0, sizeof(info->rsvd));
}

/* Counts of earlier steps come back through the caller's buffer: only the caller is misled. */
static int query(struct hc_call *c, struct vm *vm, struct tm_slot_info *info)
{
	uint64_t slot = c->arg[1], cursor = c->arg[5];
	struct memslot *m;
	int err = 0;

	spin_lock(&vm->slots_lock);
	if (slot == UINT32_MAX || slot == UINT64_MAX) {
		slot = next_number(&vm->slots, 0);
		err = slot == UINT32_MAX ? -TM_ENOENT : 0;
	} else {
		err = memslot_check_number(slot);
	}
	m = err ? NULL : memslot_get(&vm->slots, (uint32_t)slot);
	if (!err && !m) {
		err = -TM_ENOENT;
	} else if (!err && (cursor >= m->npages)) {
		err = -TM_EINVAL;
	}
	if (!err) {
		describe(vm, m, info);
		stage2_lock(&vm->s2);
		err = slot_walk(vm, m, &cursor, count_span, NULL, info) ? 0 : TM_CONTINUE;
		stage2_unlock(&vm->s2);
		c->res[0] = err == TM_CONTINUE ? cursor : 0;
	}
	spin_unlock(&vm->slots_lock);
	return err;
}

int64_t hc_slot_query(struct hc_call *c)
{
	struct tm_slot_info info = {0};
	struct vm *vm;
	int err = req_vm(c, &vm);
	int status;

	if (err) {
		return err;
	}
	if (c->arg[5]) {
		err = hc_read_struct(c, c->arg[2], c->arg[3], &info, sizeof(info));
	}
	if (!err) {
		err = query(c, vm, &info);
	}
	vm_put(vm);
	if (err < 0) {
		return err;
	}
	status = err;
	err = hc_write_struct(c, c->arg[2], c->arg[3], &info, sizeof(info));
	return err ? err : status;
}

/* ---- PREFAULT, MARK_DIRTY --------------------------------------------------------------------- */

static int prefault(struct hc_call *c, struct vm *vm)
{
	uint64_t a = c->arg[1], n = c->arg[2], cursor = c->arg[5];
	uint64_t want, done;
	bool inside;

	/* */
	if ((a & PAGE_MASK) || n == 0 || n > UINT64_MAX >> PAGE_SHIFT || a + (n << PAGE_SHIFT) < a ||
	    cursor >= n) {
		return -TM_EINVAL;
	}
	want = MIN(n - cursor, PREFAULT_PAGES);
	done = fault_prefault(vm, gpa(a + (cursor << PAGE_SHIFT)), want);
	c->res[0] = cursor + done;
	c->res[1] = done;
	if (done == 0 && cursor == 0) {
		stage2_lock(&vm->s2);
		inside = memslot_find(&vm->slots, gpa_to_gfn(gpa(a))) != NULL;
		stage2_unlock(&vm->s2);
		return inside ? -TM_ENOMEM : -TM_ENOENT;
	}
	/* It ends early where slots or memory end: at least one page is success. */
	return done < want || cursor + done == n ? 0 : TM_CONTINUE;
}

int64_t hc_prefault(struct hc_call *c)
{
	struct vm *vm;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	err = prefault(c, vm);
	vm_put(vm);
	return err;
}

static int mark_dirty(struct hc_call *c, struct vm *vm)
{
	uint64_t first = c->arg[2], n = c->arg[3], cursor = c->arg[5], run;
	struct memslot *m;
	int err;

	if (dirty_log_ring_exclusive(vm)) {
		return -TM_ENXIO;	/* there is nowhere to record it */
	}
	err = memslot_check_number(c->arg[1]);
	if (err) {
		return err;
	}
	stage2_lock(&vm->s2);
	m = memslot_get(&vm->slots, (uint32_t)c->arg[1]);
	if (!m || !memslot_logging(m)) {
		err = -TM_ENOENT;
	} else if (n == 0 || first >= m->npages || n > m->npages - first || cursor >= n) {
		err = -TM_EINVAL;
	} else {
		run = MIN(n - cursor, MARK_PAGES);
		dirty_bitmap_set_range(&m->bitmap, first + cursor, run);
		vm->dirty.pages_bitmap += run;
		__atomic_fetch_add(&vm->dirty.generation, 1, __ATOMIC_RELEASE);	/* */
		c->res[0] = cursor + run;
		c->res[1] = run;
		err = cursor + run == n ? 0 : TM_CONTINUE;
	}
	stage2_unlock(&vm->s2);
	return err;
}

int64_t hc_mark_dirty(struct hc_call *c)
{
	struct vm *vm;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	err = mark_dirty(c, vm);
	vm_put(vm);
	return err;
}
