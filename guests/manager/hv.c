// SPDX-License-Identifier: Apache-2.0
//
// hv.h by hypercalls and the vmm layer. Owns nothing but the ring batch; one thread, no lock.

#include <stdio.h>
#include <string.h>

#include <tidemark/call.h>
#include <tidemark/irq.h>
#include <tidemark/vmm.h>

#include "events.h"
#include "hv.h"
#include "hv_arch.h"

int hv_vm_info(uint32_t vm, struct tm_vm_info *info)
{
	return tm_vm_info(vm, info);
}

int hv_slot_query(uint32_t vm, uint32_t slot, struct tm_slot_info *info)
{
	return tm_slot_query(vm, slot, info);
}

int hv_slot_flags(uint32_t vm, const struct tm_slot_desc *desc, uint32_t flags)
{
	struct vmm_vm *v = vmm_find(vm);

	return v != NULL ? vmm_slot_flags(v, TM_SLOT_ID(desc->slot), flags) : -TM_ENOENT;
}

int hv_sync(uint32_t vm)
{
	return tm_vm_sync(vm);
}

int hv_pause(uint32_t vm)
{
	return tm_vm_pause(vm, TM_PAUSE_QUIESCE);
}

int hv_resume(uint32_t vm)
{
	struct vmm_vm *v = vmm_find(vm);
	int err = tm_vm_resume(vm);

	// A vCPU that a full ring stopped could not be started while the VM was paused.
	return err == 0 && v != NULL ? events_run_full_rings(v) : err;
}

struct drain {
	hv_dirty_fn fn;
	void *ctx;
};

static int drain_entry(void *arg, uint32_t slot, uint64_t offset)
{
	struct drain *d = arg;

	d->fn(d->ctx, slot, offset);
	return 0;
}

// OVERFLOW is cleared before the rings and the bitmap are read, so that a spill that comes later
// rings again.
static void clear_overflow(struct vmm_vm *v)
{
	for (uint32_t id = 0; id < TM_MAX_VCPUS; id++) {
		struct tm_run_page *run = v->vcpu[id].run;

		if (run != NULL) {
			__atomic_fetch_and(&run->flags, ~(uint32_t)TM_RUN_OVERFLOW,
					   __ATOMIC_ACQ_REL);
		}
	}
}

int hv_ring_drain(uint32_t vm, hv_dirty_fn fn, void *ctx)
{
	struct vmm_vm *v = vmm_find(vm);
	struct drain d = {fn, ctx};
	int64_t n;
	int err;

	if (v == NULL) {
		return -TM_ENOENT;
	}
	clear_overflow(v);
	// A VM that writes faster than we drain must not keep us here: what a round leaves is the
	// next collection's. Without new writers one turn empties the rings.
	for (int turn = 0; turn < 4; turn++) {
		n = vmm_harvest(v, drain_entry, &d);
		if (n < 0) {
			return (int)n;
		}
		err = tm_ring_reset(vm, NULL);
		if (err != 0) {
			return err;
		}
		if (n == 0) {
			break;
		}
	}
	return events_run_full_rings(v);
}

int hv_bitmap_get(uint32_t vm, uint32_t slot, uint64_t *bits, uint64_t bytes, uint64_t *set)
{
	return tm_bitmap_get(vm, slot, bits, bytes, set);
}

int hv_bitmap_clear(uint32_t vm, uint32_t slot, uint64_t first, uint64_t pages,
		    const uint64_t *bits)
{
	struct tm_clear_desc desc = {
		.slot = slot,
		.first = first,
		.npages = pages,
		.bitmap_gpa = TM_GPA(bits),
		.bitmap_len = (pages + 63) / 64 * 8,
	};

	return tm_bitmap_clear(vm, &desc, NULL);
}

int hv_bitmap_any(uint32_t vm, bool *any)
{
	struct tm_bitmap_summary s;
	int err = tm_bitmap_summary(vm, &s);

	*any = err == 0 && s.any != 0;
	return err;
}

int hv_map(uint32_t vm, uint64_t gpa, uint64_t pages, uint32_t prot, void **at)
{
	struct vmm_vm *v = vmm_find(vm);

	if (v == NULL) {
		return -TM_ENOENT;
	}
	*at = vmm_window_map(v, gpa, pages * TM_PAGE_SIZE, prot);
	return *at != NULL ? 0 : vmm_last_status();
}

int hv_unmap(void *at, uint64_t pages)
{
	return vmm_window_unmap(at, pages * TM_PAGE_SIZE);
}

static int donate_slots(const struct hv_vm_spec *spec, struct vmm_desc *d)
{
	if (spec->slot_count > VMM_SLOTS) {
		return -TM_E2BIG;
	}
	for (uint32_t i = 0; i < spec->slot_count; i++) {
		const struct snap_slot *s = &spec->slots[i];

		d->slots[i] = (struct vmm_slot_spec){
			.id = s->slot,
			.flags = s->flags,
			.gpa = s->gpa,
			.size = s->size,
			.backing = VMM_DONATED,
		};
	}
	d->slot_count = spec->slot_count;
	return 0;
}

int hv_vm_create(const struct hv_vm_spec *spec, uint32_t *vm, struct fail *f)
{
	static struct vmm_desc d;
	const struct snap_shape *s = spec->shape;
	struct vmm_vm *v;
	int err;

	memset(&d, 0, sizeof(d));
	d.name = spec->name;
	d.vcpus = s->vcpus;
	d.flags = VMM_NO_RUN | VMM_NO_IMAGE | ((s->vm_flags & TM_VM_CONSOLE) != 0 ? 0 : VMM_NO_UART);
	d.vm_flags = s->vm_flags;
	d.dirty_flags = s->dirty_flags;
	d.ring_entries = s->ring_entries;
	d.mmio_count = s->mmio_count;
	memcpy(d.mmio, s->mmio, sizeof(d.mmio));
	memcpy(d.uuid, spec->uuid, sizeof(d.uuid));
	err = donate_slots(spec, &d);
	if (err == 0) {
		err = vmm_create(&d, &v);
	}
	if (err != 0) {
		return fail_set(f, err, "create VM", NULL, "%s: %s", vmm_last_error(),
				fail_text(err));
	}
	*vm = v->handle;
	return 0;
}

int hv_vm_destroy(uint32_t vm)
{
	struct vmm_vm *v = vmm_find(vm);

	return v != NULL ? vmm_destroy(v) : -TM_ENOENT;
}

int hv_vm_run(uint32_t vm)
{
	struct vmm_vm *v = vmm_find(vm);
	int err = v != NULL ? vmm_run(v) : -TM_ENOENT;

	// The user holds it by a pause of his own: what was not stopped goes on when that ends.
	return err == -TM_EBUSY ? 0 : err;
}

int hv_vm_find(const char *name, uint32_t *vm)
{
	struct vmm_vm *v = vmm_find_name(name);

	if (v == NULL) {
		return -TM_ENOENT;
	}
	*vm = v->handle;
	return 0;
}

uint64_t hv_ticks(void)
{
	return tm_timer_now();
}

uint64_t hv_ticks_freq(void)
{
	return tm_timer_freq();
}

uint32_t hv_abi_version(void)
{
	uint64_t version = 0;

	(void)tm_version(&version);
	return (uint32_t)version;
}

void hv_wait(uint64_t us)
{
	uint64_t until = tm_timer_now() + tm_us_to_ticks(us);

	do {
		uint64_t now = tm_timer_now();

		(void)vmm_wait(now < until ? tm_ticks_to_us(until - now) : 0, events_handle, NULL);
	} while (tm_timer_now() < until);
}
