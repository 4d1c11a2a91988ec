// SPDX-License-Identifier: Apache-2.0
/*
 * Anonymous memory of a slot: pages out of the VM's pool on first touch, found again through a
 * tree of 512-way nodes. The nodes were set aside with the slot; the pages are not, so the last one
 * may be missing. Guarded by the stage-2 lock.
 */
#include <arch/cpu.h>
#include <hyp/owner.h>
#include <hyp/vm.h>

#include "memslot_priv.h"

#define FANOUT_SHIFT 9u
#define FANOUT (1u << FANOUT_SHIFT)

/* Levels of nodes; 4 for the largest slot. */
static unsigned depth_for(uint64_t npages)
{
	unsigned d = 1;

	while (npages > 1ull << (FANOUT_SHIFT * d)) {
		d++;
	}
	return d;
}

uint64_t memslot_anon_nodes(uint64_t npages)
{
	uint64_t n = npages, total = 0;

	for (unsigned d = depth_for(npages); d > 0; d--) {
		n = (n + FANOUT - 1) / FANOUT;
		total += n;
	}
	return total;
}

static hpa_t *node_ptr(hpa_t page)
{
	return phys_to_virt(page);
}

/* An entry of 0 is empty: page 0 is never in a pool. */
static hpa_t *entry_of(hpa_t *node, uint64_t offset, unsigned d)
{
	return &node[(offset >> (FANOUT_SHIFT * d)) & (FANOUT - 1)];
}

hpa_t memslot_anon_page(const struct memslot *m, uint64_t offset)
{
	hpa_t *node = m->anon;
	hpa_t *e;

	if (!node) {
		return HPA_NONE;
	}
	for (unsigned d = depth_for(m->npages) - 1;; d--) {
		e = entry_of(node, offset, d);
		if (e->v == 0) {
			return HPA_NONE;
		}
		if (d == 0) {
			return *e;
		}
		node = node_ptr(*e);
	}
}

static hpa_t *node_alloc(struct vm *vm, struct memslot *m)
{
	hpa_t page = m->anon_reserved ? pool_alloc(&vm->pool, true) : HPA_NONE;

	if (hpa_is_none(page)) {
		return NULL;
	}
	m->anon_reserved--;
	return node_ptr(page);
}

static hpa_t page_alloc_anon(struct vm *vm)
{
	hpa_t page = pool_alloc(&vm->pool, false);

	if (hpa_is_none(page)) {
		return HPA_NONE;
	}
	if (owner_change(page, 1, owner_of(OWNER_VM_POOL, vm->handle),
			 owner_of(OWNER_VM_SHARED, vm->handle))) {
		pool_free(&vm->pool, page, false);
		return HPA_NONE;
	}
	/* The guest may look at it with its caches off. */
	arch_clean_to_poc(phys_to_virt(page), PAGE_SIZE);
	return page;
}

hpa_t memslot_anon_page_alloc(struct vm *vm, struct memslot *m, uint64_t offset)
{
	hpa_t *node, *e;

	if (!m->anon) {
		m->anon = node_alloc(vm, m);
	}
	node = m->anon;
	for (unsigned d = depth_for(m->npages) - 1; node; d--) {
		e = entry_of(node, offset, d);
		if (d == 0) {
			if (e->v == 0) {
				hpa_t page = page_alloc_anon(vm);

				if (hpa_is_none(page)) {
					break;
				}
				*e = page;
			}
			return *e;
		}
		if (e->v == 0) {
			hpa_t *child = node_alloc(vm, m);

			if (!child) {
				break;
			}
			*e = virt_to_phys(child);
		}
		node = node_ptr(*e);
	}
	return HPA_NONE;
}

/* pool_alloc() hands out zeroed pages, so what goes back to the VM's own pool needs no scrubbing
 * now; VM_DESTROY scrubs the pool before it leaves the VM. */
static void page_free_anon(struct vm *vm, hpa_t page)
{
	if (owner_change(page, 1, owner_of(OWNER_VM_SHARED, vm->handle),
			 owner_of(OWNER_VM_POOL, vm->handle)) == 0) {
		pool_free(&vm->pool, page, false);
	}
}

/* The tree is at most four deep, which bounds the recursion. */
static bool node_release(struct vm *vm, struct memslot *m, hpa_t *node, unsigned d,
			 unsigned *budget)
{
	for (unsigned i = 0; i < FANOUT; i++) {
		if (node[i].v == 0) {
			continue;
		}
		if (*budget == 0) {
			return false;
		}
		if (d == 0) {
			page_free_anon(vm, node[i]);
			(*budget)--;
		} else if (!node_release(vm, m, node_ptr(node[i]), d - 1, budget)) {
			return false;
		}
		node[i].v = 0;
	}
	pool_free(&vm->pool, virt_to_phys(node), true);
	m->anon_reserved++;
	return true;
}

bool memslot_anon_release(struct vm *vm, struct memslot *m, unsigned *budget)
{
	if (m->anon && !node_release(vm, m, m->anon, depth_for(m->npages) - 1, budget)) {
		return false;
	}
	m->anon = NULL;
	return true;
}
