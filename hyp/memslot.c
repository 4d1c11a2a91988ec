// SPDX-License-Identifier: Apache-2.0
/*
 * The slots of a VM: gfn -> slot -> hpa, and SLOT_SET with its check table (semantics 2.1).
 * Guarded by slots_lock (whole calls) and the stage-2 lock (each change): whoever holds one of them
 * may read. The parts of a change that take time are in memslot_steps.c; anonymous memory is in
 * memslot_anon.c.
 */
#include <arch/tlb.h>
#include <hyp/dirty_log.h>
#include <hyp/owner.h>
#include <hyp/string.h>
#include <hyp/vm.h>
#include <hyp/window.h>

#include "memslot_priv.h"

#define MAX_PAGES 0x7fffffffull
#define KNOWN_FLAGS                                                                                \
	((uint32_t)(TM_SLOT_LOG_DIRTY | TM_SLOT_READONLY | TM_SLOT_PRIVATE |                       \
		    TM_SLOT_EXIT_ON_MISSING | TM_SLOT_PCI_HOLE))
#define SUPPORTED_FLAGS ((uint32_t)(TM_SLOT_LOG_DIRTY | TM_SLOT_READONLY))

/* ---- lookup ----------------------------------------------------------------------------------- */

static bool holds(const struct memslot *m, gfn_t gfn)
{
	return gfn.v - m->base.v < m->npages;	/* below base wraps to a large number */
}

struct memslot *memslot_find(struct memslots *s, gfn_t gfn)
{
	uint32_t hint = __atomic_load_n(&s->last, __ATOMIC_RELAXED);
	unsigned lo = 0, hi = s->count;

	if (likely(hint < s->count) && likely(holds(&s->slot[s->order[hint]], gfn))) {
		return &s->slot[s->order[hint]];
	}
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		struct memslot *m = &s->slot[s->order[mid]];

		if (holds(m, gfn)) {
			__atomic_store_n(&s->last, mid, __ATOMIC_RELAXED);
			return m;
		}
		if (gfn.v < m->base.v) {
			hi = mid;
		} else {
			lo = mid + 1;
		}
	}
	return NULL;
}

int memslot_check_number(uint64_t slot)
{
	return slot <= UINT32_MAX && TM_SLOT_AS(slot) == 0 && TM_SLOT_ID(slot) < MEMSLOT_MAX ?
	       0 : -TM_EINVAL;
}

struct memslot *memslot_get(struct memslots *s, uint32_t slot)
{
	struct memslot *m;

	if (memslot_check_number(slot)) {
		return NULL;
	}
	m = &s->slot[index_nospec(TM_SLOT_ID(slot), MEMSLOT_MAX)];
	return m->used && !m->dying ? m : NULL;
}

hpa_t memslot_page(const struct memslot *m, uint64_t offset)
{
	if (!hpa_is_none(m->backing)) {
		return hpa_add(m->backing, offset << PAGE_SHIFT);
	}
	return memslot_anon_page(m, offset);
}

hpa_t memslot_page_alloc(struct vm *vm, struct memslot *m, uint64_t offset)
{
	if (!hpa_is_none(m->backing)) {
		return hpa_add(m->backing, offset << PAGE_SHIFT);
	}
	return memslot_anon_page_alloc(vm, m, offset);
}

/* Both locks held. */
void memslot_order_insert(struct memslots *s, const struct memslot *m)
{
	unsigned i = s->count;

	for (; i > 0 && s->slot[s->order[i - 1]].base.v > m->base.v; i--) {
		s->order[i] = s->order[i - 1];
	}
	s->order[i] = m->id;
	s->count++;
}

void memslot_order_remove(struct memslots *s, const struct memslot *m)
{
	unsigned i = 0;

	while (i < s->count && s->order[i] != m->id) {
		i++;
	}
	if (i == s->count) {
		return;
	}
	s->count--;
	memmove(&s->order[i], &s->order[i + 1], (s->count - i) * sizeof(s->order[0]));
}

/* ---- checks ----------------------------------------------------------------------------------- */

/* the rows that need no state, in the table's order. */
static int desc_check(const struct tm_slot_desc *d)
{
	uint64_t end = 1ull << arch_stage2_ia_bits();

	if ((d->flags & ~KNOWN_FLAGS) || d->rsvd || d->rsvd2[0] || d->rsvd2[1]) {
		return -TM_EINVAL;
	}
	if ((d->size | d->gpa | d->backing | d->priv_off) & PAGE_MASK) {
		return -TM_EINVAL;
	}
	if (d->backing + d->size < d->backing || d->gpa + d->size < d->gpa ||
	    d->priv_off + d->size < d->priv_off) {
		return -TM_EINVAL;
	}
	if (memslot_check_number(d->slot) || (d->size >> PAGE_SHIFT) > MAX_PAGES ||
	    d->gpa + d->size > end) {
		return -TM_EINVAL;
	}
	if ((d->flags & (TM_SLOT_PRIVATE | TM_SLOT_PCI_HOLE)) &&
	    (d->flags & (TM_SLOT_LOG_DIRTY | TM_SLOT_READONLY))) {
		return -TM_EINVAL;
	}
	/* R-70, and fields that mean something only with PRIVATE. */
	if (((d->flags & TM_SLOT_PCI_HOLE) && (d->backing || (d->flags & TM_SLOT_PRIVATE))) ||
	    (!(d->flags & TM_SLOT_PRIVATE) && (d->priv_id || d->priv_off))) {
		return -TM_EINVAL;
	}
	return d->flags & ~SUPPORTED_FLAGS ? -TM_EOPNOTSUPP : 0;
}

/* Another slot, or a device of the hypervisor (which is looked up before slots), is in the way. */
static bool overlaps(const struct vm *vm, const struct memslot *self, gfn_t base, uint64_t npages)
{
	const struct memslots *s = &vm->slots;

	for (unsigned i = 0; i < s->count; i++) {
		const struct memslot *m = &s->slot[s->order[i]];

		if (m != self && base.v < m->base.v + m->npages && m->base.v < base.v + npages) {
			return true;
		}
	}
	for (unsigned i = 0; i < vm->mmio.count; i++) {
		uint64_t start = vm->mmio.region[i].base.v, end = start + vm->mmio.region[i].size;

		if (gfn_to_gpa(base).v < end && start < gfn_to_gpa(base).v + (npages << PAGE_SHIFT)) {
			return true;
		}
	}
	return false;
}

/* ---- create ----------------------------------------------------------------------------------- */

/* The log's metadata for a slot, as the VM's mode wants it. */
int memslot_log_init(struct vm *vm, struct memslot *m)
{
	if (m->bitmap.on) {
		return 0;
	}
	if (dirty_log_has_bitmap(vm)) {
		return dirty_bitmap_init(&m->bitmap, &vm->pool, m->npages);
	}
	return dirty_bitmap_init_overflow(&m->bitmap, &vm->pool, m->npages);
}

/* Everything that the slot can need later (abi.md "Memory"); all or nothing. */
static int reserve(struct vm *vm, struct memslot *m)
{
	int err;

	m->tables_reserved = stage2_tables_needed(gfn_to_gpa(m->base), m->npages);
	m->anon_reserved = hpa_is_none(m->backing) ? memslot_anon_nodes(m->npages) : 0;
	err = pool_reserve(&vm->pool, m->tables_reserved + m->anon_reserved);
	if (!err && memslot_logging(m)) {
		err = memslot_log_init(vm, m);
		if (err) {
			pool_unreserve(&vm->pool, m->tables_reserved + m->anon_reserved);
		}
	}
	return err;
}

static void unreserve(struct vm *vm, struct memslot *m)
{
	dirty_bitmap_destroy(&m->bitmap);
	pool_unreserve(&vm->pool, m->tables_reserved + m->anon_reserved);
}

/* with INITIALLY_SET everything starts dirty and nothing is armed before CLEAR. */
bool memslot_starts_set(const struct vm *vm)
{
	return vm->dirty.flags & TM_DIRTY_INITIALLY_SET;
}

static void commit(struct vm *vm, struct memslot *m, const struct memslot *filled)
{
	uint16_t generation = (uint16_t)(m->generation + 1);

	stage2_lock(&vm->s2);
	*m = *filled;
	m->generation = generation;
	m->used = true;
	if (memslot_logging(m)) {
		vm->slots.logging++;
		if (memslot_starts_set(vm)) {
			dirty_bitmap_set_all(&m->bitmap);
		}
	}
	memslot_order_insert(&vm->slots, m);
	stage2_unlock(&vm->s2);
}

static void fill(struct memslot *m, uint32_t id, gpa_t base, hpa_t backing, uint64_t npages,
		 uint32_t flags)
{
	*m = (struct memslot){
		.id = (uint16_t)id,
		.flags = flags,
		.base = gpa_to_gfn(base),
		.npages = npages,
		.backing = backing,
	};
}

/*
 * I-7: memory for everything is set aside first, then the pages change hands and leave the
 * manager's map, and only then the slot appears. Each step undoes the ones before it.
 */
static int slot_create(struct vm *vm, struct memslot *m, const struct tm_slot_desc *d)
{
	const struct owner to = owner_of(OWNER_VM_SHARED, vm->handle);
	const struct owner from = owner_of(OWNER_MANAGER, MANAGER_HANDLE);
	hpa_t backing = d->backing ? hpa(d->backing) : HPA_NONE;
	uint64_t npages = d->size >> PAGE_SHIFT;
	struct memslot n;
	int err;

	if (overlaps(vm, NULL, gpa_to_gfn(gpa(d->gpa)), npages)) {
		return -TM_EEXIST;
	}
	/* a page that this or another VM has already is not manager-owned. */
	if (d->backing && !owner_range_is(backing, npages, from)) {
		return -TM_EACCES;
	}
	fill(&n, TM_SLOT_ID(d->slot), gpa(d->gpa), backing, npages, d->flags);
	err = reserve(vm, &n);
	if (err) {
		return err;
	}
	if (d->backing) {
		err = manager_donate(backing, npages, to);
		if (err) {
			unreserve(vm, &n);
			return err;
		}
	}
	commit(vm, m, &n);
	return 0;
}

int memslot_add_owned(struct vm *vm, uint32_t id, gpa_t base, hpa_t backing, uint64_t pages,
		      uint32_t flags)
{
	const struct tm_slot_desc d = {
		.slot = id, .flags = flags, .gpa = base.v, .size = pages << PAGE_SHIFT,
		.backing = backing.v,
	};
	struct memslot n;
	int err = desc_check(&d);

	if (err || pages == 0) {
		return err ? err : -TM_EINVAL;
	}
	spin_lock(&vm->slots_lock);
	if (vm->slots.slot[id].used || overlaps(vm, NULL, gpa_to_gfn(base), pages)) {
		err = -TM_EEXIST;
	} else if (!owner_range_is(backing, pages, owner_of(OWNER_VM_SHARED, vm->handle))) {
		err = -TM_EACCES;
	} else {
		fill(&n, id, base, backing, pages, flags);
		err = reserve(vm, &n);
	}
	if (!err) {
		commit(vm, &vm->slots.slot[id], &n);
	}
	spin_unlock(&vm->slots_lock);
	return err;
}

/* ---- change ----------------------------------------------------------------------------------- */

static int slot_move(struct vm *vm, struct memslot *m, const struct tm_slot_desc *d)
{
	uint64_t need = stage2_tables_needed(gpa(d->gpa), m->npages);
	int err;

	/* One change a call: a move that also toggles the log could fail half-way. */
	if (d->flags != m->flags) {
		return -TM_EINVAL;
	}
	if (overlaps(vm, m, gpa_to_gfn(gpa(d->gpa)), m->npages)) {
		return -TM_EEXIST;
	}
	if (m->op != SLOT_MOVING || m->move_to.v != d->gpa) {
		/* what the new place needs is set aside before the old one is touched. */
		err = pool_reserve(&vm->pool, need);
		if (err) {
			return err;
		}
		memslot_cancel(vm, m);
		memslot_move_begin(vm, m, gpa(d->gpa), need);
	}
	return memslot_move_step(vm, m);
}

static int slot_flags(struct vm *vm, struct memslot *m, uint32_t flags)
{
	int err;

	if (flags & TM_SLOT_READONLY) {
		/* nothing to arm. Neither bitmap nor count exists for such a slot. */
		stage2_lock(&vm->s2);
		m->flags = flags;
		stage2_unlock(&vm->s2);
		return 0;
	}
	if (!(flags & TM_SLOT_LOG_DIRTY)) {
		memslot_log_off_begin(vm, m);
		return 0;
	}
	/* A window that can write and a log that cannot record it (abi.md "Memory"). */
	if (dirty_log_ring_exclusive(vm) &&
	    window_any_writable_on(vm, gfn_to_gpa(m->base), m->npages)) {
		return -TM_EBUSY;
	}
	err = memslot_log_init(vm, m);
	if (!err) {
		memslot_log_on_begin(vm, m);
	}
	return err;
}

static int set_existing(struct vm *vm, struct memslot *m, const struct tm_slot_desc *d)
{
	uint64_t backing = hpa_is_none(m->backing) ? 0 : m->backing.v;
	int err = 0;

	if (m->dying) {
		return -TM_ENOENT;
	}
	if (d->size != m->npages << PAGE_SHIFT || d->backing != backing ||
	    ((d->flags ^ m->flags) & ~(uint32_t)TM_SLOT_LOG_DIRTY)) {
		return -TM_EINVAL;
	}
	if (d->gpa != gfn_to_gpa(m->base).v) {
		return slot_move(vm, m, d);
	}
	if (m->op == SLOT_MOVING) {
		memslot_cancel(vm, m);	/* asked to stay after all: it maps again on touch */
	}
	if (d->flags != m->flags) {
		err = slot_flags(vm, m, d->flags);
	}
	return err ? err : memslot_log_step(vm, m);
}

int memslot_set(struct vm *vm, const struct tm_slot_desc *d, uint64_t *cursor)
{
	struct memslot *m;
	int err = desc_check(d);

	if (err) {
		return err;
	}
	spin_lock(&vm->slots_lock);
	m = &vm->slots.slot[index_nospec(TM_SLOT_ID(d->slot), MEMSLOT_MAX)];
	if (!m->used) {
		err = d->size == 0 ? -TM_EINVAL : slot_create(vm, m, d);
	} else if (d->size == 0) {
		err = memslot_delete_step(vm, m, NULL, NULL);
	} else {
		err = set_existing(vm, m, d);
	}
	if (cursor) {
		*cursor = err == TM_CONTINUE ? m->resume : 0;
	}
	spin_unlock(&vm->slots_lock);
	return err;
}

int memslot_delete_collect(struct vm *vm, uint32_t slot, memslot_take_fn take, void *ctx,
			   uint64_t *cursor)
{
	struct memslot *m;
	int err = 0;

	spin_lock(&vm->slots_lock);
	m = &vm->slots.slot[index_nospec(TM_SLOT_ID(slot), MEMSLOT_MAX)];
	/* as for GET; but a delete that was interrupted goes on. */
	if (!m->used || (!m->dying && !memslot_logging(m))) {
		err = -TM_ENOENT;
	} else {
		err = memslot_delete_step(vm, m, take, ctx);
	}
	*cursor = err == TM_CONTINUE ? m->resume : 0;
	spin_unlock(&vm->slots_lock);
	return err;
}

int memslot_destroy_step(struct vm *vm)
{
	int err = 0;

	spin_lock(&vm->slots_lock);
	for (unsigned i = 0; i < MEMSLOT_MAX; i++) {
		if (vm->slots.slot[i].used) {
			err = memslot_delete_step(vm, &vm->slots.slot[i], NULL, NULL);
			err = err < 0 ? err : TM_CONTINUE;
			break;
		}
	}
	spin_unlock(&vm->slots_lock);
	return err;
}
