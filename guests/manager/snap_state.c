// SPDX-License-Identifier: Apache-2.0
//
// Device state between a paused VM and an image. Owns one scratch buffer; one thread, no lock.

#include <string.h>

#include <abi/errno.h>

#include "snap.h"

static uint64_t scratch[HV_STATE_MAX / 8];

static int save_one(struct snap_writer *w, uint32_t vm, uint32_t type, uint32_t id,
		    struct fail *f)
{
	size_t used = 0;
	int err = hv_state_get(vm, type, id, scratch, sizeof(scratch), &used);

	if (err != 0) {
		return fail_set(f, err, "device state", NULL, "reading %s %u: %s",
				snap_type_name(type), (unsigned)id, fail_text(err));
	}
	err = snap_write_dev(w, type, id, scratch, used);
	return err == 0 ? 0 :
			  fail_set(f, err, "store", NULL, "it is full (while writing %s)",
				   snap_type_name(type));
}

int snap_state_save(struct snap_writer *w, const struct track *t, struct fail *f)
{
	static const uint32_t per_vcpu[] = {SNAP_VCPU, SNAP_TIMER};
	const struct tm_vm_info *info = &t->info;
	uint32_t vm = t->vm;
	int err = 0;

	for (uint32_t k = 0; k < 2; k++) {
		for (uint32_t id = 0; err == 0 && id < TM_MAX_VCPUS; id++) {
			if ((info->vcpu_mask >> id & 1) != 0) {
				err = save_one(w, vm, per_vcpu[k], id, f);
			}
		}
	}
	if (err == 0 && (info->flags & TM_VM_CONSOLE) != 0) {
		err = save_one(w, vm, SNAP_UART, 0, f);
	}
	// Last, so that it is also set last: setting a timer may move an interrupt line.
	return err == 0 ? save_one(w, vm, SNAP_IRQCHIP, 0, f) : err;
}

static bool is_state(uint32_t type)
{
	return type == SNAP_VCPU || type == SNAP_TIMER || type == SNAP_IRQCHIP ||
	       type == SNAP_UART;
}

static int compare_one(uint32_t vm, uint32_t type, const struct snap_dev *d, uint64_t set_at,
		       struct fail *f)
{
	char why[96] = "length differs";
	size_t used = 0;
	int err = hv_state_get(vm, type, d->id, scratch, sizeof(scratch), &used);

	if (err != 0) {
		return fail_set(f, err, "device state", NULL, "reading back %s %u: %s",
				snap_type_name(type), (unsigned)d->id, fail_text(err));
	}
	if (used != d->size || !hv_state_equal(type, d + 1, scratch, used, hv_ticks() - set_at, why,
					       sizeof(why))) {
		return fail_set(f, -TM_EIO, "device state", NULL, "%s %u reads back changed: %s",
				snap_type_name(type), (unsigned)d->id, why);
	}
	return 0;
}

int snap_state_load(const struct snap_image *img, uint32_t vm, struct fail *f)
{
	uint64_t set_at = hv_ticks();
	struct snap_cursor c = {0};

	while (snap_next(img, &c)) {
		const struct snap_dev *d = c.payload;
		int err;

		if (!is_state(c.record->type)) {
			continue;
		}
		err = hv_state_set(vm, c.record->type, d->id, d + 1, d->size);
		if (err != 0) {
			return fail_set(f, err, "device state", NULL, "setting %s %u: %s",
					snap_type_name(c.record->type), (unsigned)d->id,
					fail_text(err));
		}
	}
	c = (struct snap_cursor){0};
	while (snap_next(img, &c)) {
		int err = is_state(c.record->type) ?
				  compare_one(vm, c.record->type, c.payload, set_at, f) :
				  0;

		if (err != 0) {
			return err;
		}
	}
	return 0;
}
