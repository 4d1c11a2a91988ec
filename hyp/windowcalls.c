// SPDX-License-Identifier: Apache-2.0
/* Hypercalls of group 0x0500: mappings into the manager. Thin; window.c owns the windows. */
#include <arch/cpu.h>
#include <arch/vcpu.h>
#include <hyp/event.h>
#include <hyp/window.h>

#include "req.h"

/*
 * A run page or ring in the manager keeps the VM's struct, and with it those pages, alive until it
 * is unmapped (abi.md): counted here, lowered by UNMAP.
 */
static int map_counted(enum window_kind kind, struct vm *vm, const void *pages, uint64_t count,
		       uint64_t at)
{
	int err;

	vm_window_get(vm);
	err = window_map_pages(kind, vm, virt_to_phys(pages), count, gpa(at));
	if (err) {
		vm_window_put(vm);
	}
	return err;
}

int64_t hc_map_run(struct hc_call *c)
{
	struct vm *vm;
	struct vcpu *v;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	err = req_vcpu(c, vm, &v);
	if (!err) {
		err = v->run ? map_counted(WINDOW_RUN, vm, v->run, 1, c->arg[2]) : -TM_ENOENT;
	}
	vm_put(vm);
	return err;
}

int64_t hc_map_events(struct hc_call *c)
{
	struct vm *manager = c->vcpu->vm;
	struct tm_event_page *page;
	int err;

	if (c->arg[1] >= TM_MAX_VCPUS ||
	    !__atomic_load_n(&manager->vcpu[index_nospec(c->arg[1], TM_MAX_VCPUS)],
			     __ATOMIC_ACQUIRE)) {
		return -TM_EINVAL;
	}
	err = arch_doorbell_check(manager, c->arg[1], c->arg[2]);
	if (err) {
		return err;
	}
	page = event_page();
	if (!page) {
		return -TM_ENOMEM;
	}
	err = window_map_pages(WINDOW_EVENTS, NULL, virt_to_phys(page), 1, gpa(c->arg[0]));
	if (!err) {
		/* Bound before the first bell that attaching may ring. */
		c->res[0] = arch_doorbell_bind(manager, c->arg[1], c->arg[2]);
		event_attach();
	}
	return err;
}

int64_t hc_map_ring(struct hc_call *c)
{
	uint64_t first = c->arg[2], n = c->arg[3];
	struct vm *vm;
	struct vcpu *v;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	err = req_vcpu(c, vm, &v);
	if (!err && !v->ring.entries) {
		err = -TM_ENXIO;
	}
	/* pages count from 0. */
	if (!err && (n == 0 || first >= v->ring_pages || n > v->ring_pages - first)) {
		err = -TM_EINVAL;
	}
	if (!err) {
		err = map_counted(WINDOW_RING, vm, (const char *)v->ring.entries + first * PAGE_SIZE,
				  n, c->arg[4]);
	}
	if (!err) {
		c->res[0] = __atomic_load_n(&v->ring.reset_index, __ATOMIC_ACQUIRE);
		c->res[1] = v->ring.size;
		dirty_log_attach(vm);
	}
	vm_put(vm);
	return err;
}

static int map_guest(struct hc_call *c, struct vm *vm)
{
	uint64_t guest = c->arg[1], n = c->arg[2], prot = c->arg[4];
	int err;

	if ((guest & PAGE_MASK) || n == 0 || n > UINT64_MAX >> PAGE_SHIFT ||
	    guest + (n << PAGE_SHIFT) < guest) {
		return -TM_EINVAL;
	}
	/* Guest memory is never code for the manager. */
	if (prot != TM_PROT_READ && prot != (TM_PROT_READ | TM_PROT_WRITE)) {
		return -TM_EINVAL;
	}
	/* Slots stand still while the window appears: delete, move and log-on look for windows. */
	spin_lock(&vm->slots_lock);
	err = window_map_guest(vm, gpa(guest), n, gpa(c->arg[3]), prot & TM_PROT_WRITE);
	spin_unlock(&vm->slots_lock);
	return err;
}

int64_t hc_map_guest(struct hc_call *c)
{
	struct vm *vm;
	int err = req_vm(c, &vm);

	if (err) {
		return err;
	}
	err = map_guest(c, vm);
	vm_put(vm);
	return err;
}

int64_t hc_unmap(struct hc_call *c)
{
	uint64_t at = c->arg[0], n = c->arg[1];

	if ((at & PAGE_MASK) || n == 0 || at < window_base() || n > window_size() >> PAGE_SHIFT ||
	    at - window_base() > window_size() - (n << PAGE_SHIFT)) {
		return -TM_EINVAL;
	}
	return window_unmap(gpa(at), n, &c->res[1]);
}
