// SPDX-License-Identifier: Apache-2.0
//
// Manager side: image, initrd and start block into a VM that does not run yet, through windows.
// Layout in its RAM: image where image_plan() puts it, the block (device tree and more, see
// boot/guest_start.h) where guest_start_place() does, the initrd as high as it fits.

#include <string.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include "guest_start.h"
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
	uint32_t flags = guest_start_board()->image_flags;
	int status = image_plan(d->image, d->image_size, ram.base, ram.size, flags, plan);

	/* No header, and nothing that has to be unpacked first: a raw program. */
	if (status == IMAGE_EMAGIC) {
		status = image_plan(d->image, d->image_size, ram.base, ram.size,
				    flags | IMAGE_ALLOW_RAW, plan);
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

static int load_block(struct vmm_vm *vm, const struct vmm_desc *d, struct guest_fdt g,
		      const struct image_plan *plan, uint64_t at)
{
	uint64_t size = guest_start_size();
	uint64_t cap = 0;
	void *buf = vmm_ram_alloc(size, PAGE);
	int status;

	if (buf == NULL) {
		return vmm_last_status();
	}
	if (tm_cap_get(vm->handle, TM_CAP_GIC_VERSION, &cap) == 0 && (cap == 2 || cap == 3)) {
		g.gic_version = (uint32_t)cap;
	}
	status = guest_start_build(buf, at, &g, plan, d->image, &vm->start_arg);
	status = status != 0 ? vmm_note(-TM_EINVAL, "device tree of %s", vm->name) :
			       vmm_guest_write(vm, at, buf, size);
	vmm_ram_free(buf, size);
	return status;
}

int vmm_load(struct vmm_vm *vm, const struct vmm_desc *d)
{
	struct guest_fdt g = {
		.mem = {ram_of(vm)},
		.mem_count = 1,
		.cpus = vm->vcpus,
		.gic_version = tm_boot.gic_version,
		.uart = (d->flags & VMM_NO_UART) == 0,
		.bootargs = d->bootargs,
		.initrd = {0, d->initrd_size},
		.blob = d->dtb,
		.blob_size = d->dtb_size,
	};
	struct guest_fdt_range ram = g.mem[0];
	uint64_t limit = guest_start_board()->initrd_end;
	uint64_t top = ram.base + ram.size;
	struct image_plan plan;
	uint64_t block;
	int status = load_image(vm, d, ram, &plan);

	if (status == 0 && plan.kind == IMAGE_RAW && guest_start_board()->machine == GUEST_ARM64) {
		status = add_flash(vm);
	}
	if (status != 0) {
		return status;
	}
	block = guest_start_place(ram, plan.low, plan.high);
	if (block != ~(uint64_t)0 && block >= plan.high) {
		top = block;
	}
	top = top < limit ? top : limit;
	if (block == ~(uint64_t)0 || top < ram.base || g.initrd.size > top - ram.base ||
	    (g.initrd.size != 0 && ((top - g.initrd.size) & ~(PAGE - 1)) < plan.high)) {
		return vmm_note(-TM_ENOSPC, "image, tree and initrd in the memory of %s", vm->name);
	}
	g.initrd.base = (top - g.initrd.size) & ~(PAGE - 1);
	if (g.initrd.size != 0) {
		status = vmm_guest_write(vm, g.initrd.base, d->initrd, g.initrd.size);
	}
	if (status == 0) {
		status = load_block(vm, d, g, &plan, block);
	}
	vm->entry = plan.entry;
	return status;
}
