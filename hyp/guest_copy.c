// SPDX-License-Identifier: Apache-2.0
/*
 * The only code that touches guest memory. One page at a time, under the lock of the stage-2 that
 * shows it, so that the page cannot be taken away, and its mark cannot be separated from its store,
 * while we are at it.
 *
 *  - A guest VM's memory is found through its slots. Stores are marked after the fact, inside the
 *    writer section that pause(QUIESCE) and slot removal wait for.
 *  - The manager's memory is whatever its stage-2 shows at that moment: its own RAM or a window. A
 *    page that it has donated is out of that map before the donation returns, so it cannot be hit.
 */
#include <abi/memory.h>
#include <arch/cpu.h>
#include <hyp/dirty_log.h>
#include <hyp/fault.h>
#include <hyp/guest_copy.h>
#include <hyp/string.h>
#include <hyp/test_hooks.h>
#include <hyp/vm.h>
#include <hyp/window.h>

/* How often a window page may be taken from us again between its fault and our copy. */
#define WINDOW_TRIES 8u

static bool range_ok(gpa_t a, uint64_t len)
{
	return len == 0 || a.v + (len - 1) >= a.v;
}

static uint64_t in_page(gpa_t a, uint64_t len)
{
	return MIN(len, PAGE_SIZE - (a.v & PAGE_MASK));
}

/* ---- the manager ------------------------------------------------------------------------------ */

enum copy_op { COPY_READ, COPY_WRITE, COPY_CHECK };

/* One page. False: not mapped with the right that is needed. */
static bool manager_page(struct vm *vm, gpa_t a, void *buf, uint64_t len, enum copy_op op)
{
	unsigned want = op == COPY_READ ? PT_R : PT_W;
	struct pt_leaf leaf;
	bool ok;

	stage2_lock(&vm->s2);
	leaf = stage2_lookup(&vm->s2, a);
	ok = leaf.kind == PTE_LEAF && (leaf.attrs & want) && !(leaf.attrs & PT_DEVICE);
	if (ok && op != COPY_CHECK) {
		char *p = phys_to_virt(hpa_add(leaf.hpa, a.v - leaf.start));

		if (op == COPY_READ) {
			memcpy(buf, p, len);
		} else {
			memcpy(p, buf, len);
		}
	}
	stage2_unlock(&vm->s2);
	return ok;
}

/*
 * A window's leaf appears, and becomes writable, by a fault; take that fault here. The mark comes
 * before our store then (window_fault), which is safe for the same reason as for the manager's own
 * stores: a collector that takes the mark write-protects the leaf, under the lock that we store
 * under, before it returns.
 */
static int manager_copy(struct vm *vm, gpa_t a, void *buf, uint64_t len, enum copy_op op,
			uint64_t *fault_gpa)
{
	char *p = buf;

	while (len > 0) {
		struct s2_fault f = {.gpa = a, .access = op == COPY_READ ? ACCESS_READ : ACCESS_WRITE};
		uint64_t n = in_page(a, len);
		unsigned tries = 0;

		while (!manager_page(vm, a, p, n, op)) {
			if (a.v < window_base() || a.v - window_base() >= window_size() ||
			    tries++ == WINDOW_TRIES || window_fault(&f) != FAULT_RETRY) {
				if (fault_gpa) {
					*fault_gpa = a.v;
				}
				return -TM_EFAULT;
			}
		}
		a = gpa_add(a, n);
		p = p ? p + n : NULL;
		len -= n;
	}
	return 0;
}

/* ---- guests ----------------------------------------------------------------------------------- */

/* Stage-2 lock held. The page's hypervisor address, or NULL. */
static char *guest_page(struct vm *vm, gpa_t a, bool write, struct memslot **slot)
{
	struct memslot *m = memslot_find(&vm->slots, gpa_to_gfn(a));
	uint64_t offset;
	hpa_t page;

	if (!m || m->dying || (write && (m->flags & TM_SLOT_READONLY))) {
		return NULL;
	}
	offset = gpa_to_gfn(a).v - m->base.v;
	page = memslot_page_alloc(vm, m, offset);
	if (hpa_is_none(page)) {
		return NULL;
	}
	*slot = m;
	return (char *)phys_to_virt(page) + (a.v & PAGE_MASK);
}

static int guest_page_read(struct vm *vm, gpa_t a, void *buf, uint64_t len)
{
	struct memslot *m;
	char *p;

	stage2_lock(&vm->s2);
	p = guest_page(vm, a, false, &m);
	if (p) {
		memcpy(buf, p, len);
	}
	stage2_unlock(&vm->s2);
	return p ? 0 : -TM_EFAULT;
}

static int guest_page_write(struct vm *vm, struct vcpu *by, gpa_t a, const void *buf, uint64_t len)
{
	struct memslot *m;
	int err = 0;
	char *p;

	stage2_lock(&vm->s2);
	p = guest_page(vm, a, true, &m);
	if (!p) {
		err = -TM_EFAULT;
	} else if (!by && memslot_logging(m) && dirty_log_ring_exclusive(vm)) {
		err = -TM_ENXIO;	/* refused before memory changes */
	} else {
		memcpy(p, buf, len);
		test_yield();
		/* marked after the store. */
		dirty_log_mark(vm, m, gpa_to_gfn(a).v - m->base.v, by);
	}
	stage2_unlock(&vm->s2);
	return err;
}

/* ---- doors ------------------------------------------------------------------------------------ */

int guest_read(struct vm *vm, gpa_t a, void *buf, uint64_t len)
{
	char *p = buf;

	if (!range_ok(a, len)) {
		return -TM_EFAULT;
	}
	if (vm->is_manager) {
		return manager_copy(vm, a, buf, len, COPY_READ, NULL);
	}
	while (len > 0) {
		uint64_t n = in_page(a, len);
		int err = guest_page_read(vm, a, p, n);

		if (err) {
			return err;
		}
		a = gpa_add(a, n);
		p += n;
		len -= n;
	}
	return 0;
}

int guest_write(struct vm *vm, struct vcpu *by, gpa_t a, const void *buf, uint64_t len,
		uint64_t *fault_gpa)
{
	const char *p = buf;
	int err;

	if (!range_ok(a, len)) {
		if (fault_gpa) {
			*fault_gpa = a.v;
		}
		return -TM_EFAULT;
	}
	if (vm->is_manager) {
		/* COPY_WRITE only reads the buffer. */
		return manager_copy(vm, a, (void *)(uintptr_t)buf, len, COPY_WRITE, fault_gpa);
	}
	/* a vCPU counts only if it is of this VM and runs on this CPU. */
	if (by && (by->vm != vm || by != vcpu_current())) {
		by = NULL;
	}
	/* QUIESCE holds back writers from outside; a vCPU of a paused VM does not run. */
	err = dirty_log_writer_begin(vm);
	if (err) {
		return err;
	}
	while (len > 0 && !err) {
		uint64_t n = in_page(a, len);

		err = guest_page_write(vm, by, a, p, n);
		if (err && fault_gpa) {
			*fault_gpa = a.v;
		}
		a = gpa_add(a, n);
		p += n;
		len -= n;
	}
	dirty_log_writer_end(vm);
	return err;
}

int guest_check_writable(struct vm *vm, gpa_t a, uint64_t len)
{
	if (!range_ok(a, len)) {
		return -TM_EFAULT;
	}
	if (vm->is_manager) {
		return manager_copy(vm, a, NULL, len, COPY_CHECK, NULL);
	}
	while (len > 0) {
		uint64_t n = in_page(a, len);
		struct memslot *m;
		bool ok;

		stage2_lock(&vm->s2);
		ok = guest_page(vm, a, true, &m) != NULL;
		stage2_unlock(&vm->s2);
		if (!ok) {
			return -TM_EFAULT;
		}
		a = gpa_add(a, n);
		len -= n;
	}
	return 0;
}
