// SPDX-License-Identifier: Apache-2.0
//
// Manager side: image, initrd and device tree into a VM that does not run yet, through windows.
// Layout in its RAM: image where image_plan() puts it; the tree at the start of RAM when that is
// free, else at the very end; the initrd as high as it fits below the end.

#include <string.h>
#include <tidemark/arm64.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include "guest_fdt.h"
#include "image_load.h"
#include "vmm_internal.h"

static struct guest_fdt_range ram_of(const struct vmm_vm *vm)
{
	const struct tm_slot_desc *best = NULL;

	for (uint32_t i = 0; i < VMM_SLOTS; i++) {
		const struct tm_slot_desc *d = &vm->slot[i].desc;

		if (vm->slot[i].used && (best == NULL || d->slot < best->slot)) {
			best = d;
		}
	}
	return best != NULL ? (struct guest_fdt_range){best->gpa, best->size} :
			      (struct guest_fdt_range){0, 0};
}

static int load_image(struct vmm_vm *vm, const struct vmm_desc *d, struct guest_fdt_range ram,
		      struct image_plan *plan)
{
	int status = image_plan(d->image, d->image_size, ram.base, ram.size, 0, plan);

	/* No header, and nothing that has to be unpacked first: a raw program. */
	if (status == IMAGE_EMAGIC) {
		status = image_plan(d->image, d->image_size, ram.base, ram.size, IMAGE_ALLOW_RAW,
				    plan);
	}
	if (status != IMAGE_OK) {
		return vmm_note(-TM_EINVAL, "image of %s: %s", vm->name, image_strerror(status));
	}
	status = 0;
	for (uint32_t i = 0; i < plan->count && status == 0; i++) {
		const struct image_segment *s = &plan->seg[i];

		status = vmm_guest_write(vm, s->gpa, (const uint8_t *)d->image + s->offset,
					 s->file_size);
		if (status == 0) {
			status = vmm_guest_zero(vm, s->gpa + s->file_size,
						s->mem_size - s->file_size);
		}
	}
	return status;
}

/*
 * U-Boot for QEMU's board reads its environment from the second flash bank before it says a word.
 * A raw program gets that memory, empty, so it goes on with its default environment.
 */
static int add_flash(struct vmm_vm *vm)
{
	struct vmm_slot_spec flash = {
		1, TM_SLOT_READONLY, VMM_FLASH_BASE, VMM_FLASH_SIZE, VMM_DONATED,
	};

	for (uint32_t i = 0; i < VMM_SLOTS; i++) {
		const struct tm_slot_desc *s = &vm->slot[i].desc;

		if (vm->slot[i].used && s->gpa < VMM_FLASH_BASE + VMM_FLASH_SIZE &&
		    VMM_FLASH_BASE < s->gpa + s->size) {
			return 0;
		}
	}
	while (vmm_slot_of(vm, flash.id) != NULL) {
		flash.id++;
	}
	return vmm_slot_set(vm, &flash);
}

static int load_tree(struct vmm_vm *vm, const struct vmm_desc *d, struct guest_fdt_range ram,
		     struct guest_fdt_range initrd, uint64_t at)
{
	struct guest_fdt g = {
		.mem = {ram},
		.mem_count = 1,
		.cpus = vm->vcpus,
		.gic_version = tm_boot.gic_version,
		.uart = (d->flags & VMM_NO_UART) == 0,
		.bootargs = d->bootargs,
		.initrd = initrd,
	};
	uint64_t cap = 0;
	void *buf;
	int64_t size;
	int status;

	if (d->dtb != NULL) {
		return vmm_guest_write(vm, at, d->dtb, d->dtb_size);
	}
	if (tm_cap_get(vm->handle, TM_CAP_GIC_VERSION, &cap) == 0 && (cap == 2 || cap == 3)) {
		g.gic_version = (uint32_t)cap;
	}
	buf = vmm_ram_alloc(GUEST_FDT_SIZE, PAGE);
	if (buf == NULL) {
		return vmm_last_status();
	}
	size = guest_fdt_build(buf, GUEST_FDT_SIZE, &g);
	status = size < 0 ? vmm_note(-TM_EINVAL, "device tree of %s", vm->name) :
			    vmm_guest_write(vm, at, buf, (uint64_t)size);
	vmm_ram_free(buf, GUEST_FDT_SIZE);
	return status;
}

int vmm_load(struct vmm_vm *vm, const struct vmm_desc *d, uint64_t *entry, uint64_t *fdt_gpa)
{
	struct guest_fdt_range ram = ram_of(vm);
	struct guest_fdt_range initrd = {0, d->initrd_size};
	struct image_plan plan;
	uint64_t fdt;
	uint64_t fdt_size = d->dtb != NULL ? d->dtb_size : GUEST_FDT_SIZE;
	uint64_t end = ram.base + ram.size;
	uint64_t top;
	bool low_free;
	int status = load_image(vm, d, ram, &plan);

	if (status == 0 && plan.kind == IMAGE_RAW) {
		status = add_flash(vm);
	}
	if (status != 0) {
		return status;
	}
	low_free = plan.low >= ram.base + fdt_size;
	fdt = low_free ? ram.base : (end - fdt_size) & ~(PAGE - 1);
	top = low_free ? end : fdt;
	if (fdt_size > ram.size || (!low_free && plan.high > fdt) || initrd.size > top - ram.base ||
	    (initrd.size != 0 && ((top - initrd.size) & ~(PAGE - 1)) < plan.high)) {
		return vmm_note(-TM_ENOSPC, "image, tree and initrd in the memory of %s", vm->name);
	}
	initrd.base = (top - initrd.size) & ~(PAGE - 1);
	if (initrd.size != 0) {
		status = vmm_guest_write(vm, initrd.base, d->initrd, initrd.size);
	}
	if (status == 0) {
		status = load_tree(vm, d, ram, initrd, fdt);
	}
	*entry = plan.entry;
	*fdt_gpa = fdt;
	return status;
}
