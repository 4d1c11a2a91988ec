// SPDX-License-Identifier: Apache-2.0
//
// Manager side: making and ending VMs. Order of vmm_create: pool, VM_CREATE, DIRTY_CONFIG (it must
// precede slots and vCPUs), slots, load through windows, vCPUs with registers, run pages, RUN.
// Anything that fails undoes all of it.

#include <stdio.h>
#include <string.h>
#include <tidemark/arch.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/prng.h>
#include <tidemark/probe.h>
#include "vmm_internal.h"

static uint64_t round_pool(uint64_t size)
{
	return (size + 0xffff) & ~(uint64_t)0xffff;
}

/*
 * What a VM of these slots needs: tables are 1/512 of the memory at worst, log metadata 1/32768
 * and more while collecting, a ring and a run page a vCPU; anonymous slots live in it whole.
 */
static uint64_t pool_size(const struct vmm_desc *d)
{
	uint64_t total = d->mem_size;
	uint64_t anonymous = d->mem_backing == VMM_ANONYMOUS ? d->mem_size : 0;
	uint64_t vcpus = d->vcpus != 0 ? d->vcpus : 1;
	uint64_t slots = 1 + d->slot_count;

	for (uint32_t i = 0; i < d->slot_count; i++) {
		total += d->slots[i].size;
		anonymous += d->slots[i].backing == VMM_ANONYMOUS ? d->slots[i].size : 0;
	}
	return round_pool(anonymous + total / 256 + slots * 64 * PAGE + vcpus * 8 * PAGE +
			  vcpus * page_up(d->ring_entries * sizeof(struct tm_ring_entry)) +
			  (1u << 20));
}

static void make_uuid(uint8_t uuid[16])
{
	static uint64_t count;
	uint64_t low = tm_mix64(tm_timer_now() + ++count);
	uint64_t high = tm_mix64(low + count);

	memcpy(uuid, &low, 8);
	memcpy(uuid + 8, &high, 8);
	/* RFC 4122: version 4, variant 1 */
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

static int create_vm(const struct vmm_desc *d, struct vmm_vm **out)
{
	static struct tm_vm_desc desc;
	uint64_t size = d->pool_size != 0 ? page_up(d->pool_size) : pool_size(d);
	void *pool = vmm_ram_alloc(size, PAGE);
	uint64_t handle = 0;
	struct vmm_vm *vm;
	int status;

	if (pool == NULL) {
		return vmm_last_status();
	}
	vm = vmm_new(~0u);
	if (vm == NULL) {
		vmm_ram_free(pool, size);
		return vmm_last_status();
	}
	memset(&desc, 0, sizeof(desc));
	desc.flags = d->vm_flags | ((d->flags & VMM_NO_UART) != 0 ? 0 : TM_VM_CONSOLE);
	desc.vcpus = d->vcpus != 0 ? d->vcpus : 1;
	desc.pool_gpa = TM_GPA(pool);
	desc.pool_size = size;
	memcpy(desc.uuid, d->uuid, sizeof(desc.uuid));
	if (memcmp(desc.uuid, (uint8_t[16]){0}, 16) == 0) {
		make_uuid(desc.uuid);
	}
	(void)snprintf(desc.name, sizeof(desc.name), "%s", d->name);
	desc.mmio_count = d->mmio_count;
	memcpy(desc.mmio, d->mmio, sizeof(desc.mmio));
	status = vmm_note(tm_vm_create(&desc, &handle), "VM_CREATE %s", d->name);
	if (status != 0) {
		vm->used = false;
		vmm_ram_free(pool, size);
		return status;
	}
	vm->handle = (uint32_t)handle;
	vm->vcpus = desc.vcpus;
	memcpy(vm->name, desc.name, sizeof(vm->name));
	memcpy(vm->uuid, desc.uuid, sizeof(vm->uuid));
	vm->pool = (struct tm_range){desc.pool_gpa, size};
	*out = vm;
	return 0;
}

/* --- slots ------------------------------------------------------------------------------------ */

struct vmm_slot *vmm_slot_of(struct vmm_vm *vm, uint32_t id)
{
	for (uint32_t i = 0; i < VMM_SLOTS; i++) {
		if (vm->slot[i].used && vm->slot[i].desc.slot == id) {
			return &vm->slot[i];
		}
	}
	return NULL;
}

/*
 * Memory that left a VM. A slot of a VM that we found and did not make (static, or of an earlier
 * manager) may have had backing that never was ours: it is taken only if it is in our map now.
 */
static void take_back(const struct vmm_vm *vm, uint64_t gpa, uint64_t size)
{
	if (vm->is_static || vm->pool.size == 0) {
		if (!tm_gpa_is_ram(gpa) || !tm_gpa_is_ram(gpa + size - 8)) {
			return;
		}
	}
	vmm_ram_free((void *)(uintptr_t)gpa, size);
}

static struct vmm_slot *free_slot(struct vmm_vm *vm)
{
	for (uint32_t i = 0; i < VMM_SLOTS; i++) {
		if (!vm->slot[i].used) {
			return &vm->slot[i];
		}
	}
	return NULL;
}

int vmm_slot_set(struct vmm_vm *vm, const struct vmm_slot_spec *spec)
{
	struct vmm_slot *s = free_slot(vm);
	struct tm_slot_desc desc = {
		.slot = spec->id, .flags = spec->flags, .gpa = spec->gpa, .size = spec->size,
	};
	void *backing = NULL;
	int status;

	if (s == NULL) {
		return vmm_note(-TM_ENOSPC, "slots of %s (%u)", vm->name, VMM_SLOTS);
	}
	if (spec->backing == VMM_DONATED && (spec->flags & TM_SLOT_PCI_HOLE) == 0) {
		/* Aligned as the slot is within 2 MiB would do; aligned at all is simpler. */
		backing = vmm_ram_alloc(spec->size, spec->size >= BIG_PAGE ? BIG_PAGE : PAGE);
		if (backing == NULL) {
			return vmm_last_status();
		}
		/* The guest's memory starts as zeros, also behind the caches. */
		memset(backing, 0, spec->size);
		tm_cache_clean(backing, spec->size);
		desc.backing = TM_GPA(backing);
	}
	status = vmm_note(tm_slot_set(vm->handle, &desc), "SLOT_SET %s %u", vm->name, spec->id);
	if (status != 0) {
		vmm_ram_free(backing, spec->size);
		return status;
	}
	s->used = true;
	s->desc = desc;
	return 0;
}

int vmm_slot_flags(struct vmm_vm *vm, uint32_t id, uint32_t flags)
{
	struct vmm_slot *s = vmm_slot_of(vm, id);
	struct tm_slot_desc desc;
	int status;

	if (s == NULL) {
		return vmm_note(-TM_ENOENT, "slot %u of %s", id, vm->name);
	}
	desc = s->desc;
	desc.flags = flags;
	status = vmm_note(tm_slot_set(vm->handle, &desc), "SLOT_SET %s %u flags", vm->name, id);
	if (status == 0) {
		s->desc.flags = flags;
	}
	return status;
}

int vmm_slot_delete(struct vmm_vm *vm, uint32_t id)
{
	struct vmm_slot *s = vmm_slot_of(vm, id);
	struct tm_slot_desc desc;
	int status;

	if (s == NULL) {
		return vmm_note(-TM_ENOENT, "slot %u of %s", id, vm->name);
	}
	desc = s->desc;
	desc.size = 0;
	status = vmm_note(tm_slot_set(vm->handle, &desc), "SLOT_SET %s %u delete", vm->name, id);
	if (status == 0) {
		if (s->desc.backing != 0) {
			take_back(vm, s->desc.backing, s->desc.size);
		}
		s->used = false;
	}
	return status;
}

int vmm_log_all(struct vmm_vm *vm, bool on, uint64_t id_mask)
{
	for (uint32_t i = 0; i < VMM_SLOTS; i++) {
		struct vmm_slot *s = &vm->slot[i];
		uint32_t flags = on ? s->desc.flags | TM_SLOT_LOG_DIRTY :
				      s->desc.flags & ~(uint32_t)TM_SLOT_LOG_DIRTY;
		int status;

		if (!s->used || s->desc.slot >= 64 || (id_mask >> s->desc.slot & 1) == 0 ||
		    flags == s->desc.flags) {
			continue;
		}
		status = vmm_slot_flags(vm, s->desc.slot, flags);
		if (status != 0) {
			return status;
		}
	}
	return 0;
}

static int set_slots(struct vmm_vm *vm, const struct vmm_desc *d)
{
	const struct vmm_slot_spec ram = {
		0, d->mem_flags, VMM_RAM_BASE, d->mem_size, d->mem_backing,
	};
	int status = d->mem_size != 0 ? vmm_slot_set(vm, &ram) : 0;

	for (uint32_t i = 0; i < d->slot_count && status == 0; i++) {
		status = vmm_slot_set(vm, &d->slots[i]);
	}
	return status;
}

/* --- vCPUs ------------------------------------------------------------------------------------ */

static int make_vcpu(struct vmm_vm *vm, const struct vmm_desc *d, uint32_t id)
{
	static struct tm_regs regs;
	int status = vmm_note(tm_vcpu_create(vm->handle, id, NULL), "VCPU_CREATE %s %u", vm->name,
			      id);

	if (status != 0) {
		return status;
	}
	vm->vcpu[id].exists = true;
	if (id == 0 && (d->flags & VMM_NO_IMAGE) == 0) {
		vmm_boot_regs(&regs, vm->entry, vm->start_arg, true);
		status = vmm_note(tm_vcpu_regs_set(vm->handle, 0, &regs), "VCPU_REGS_SET %s 0",
				  vm->name);
	}
	if (status == 0 && d->prio != 0) {
		status = vmm_note(tm_vcpu_sched_set(vm->handle, id, d->prio,
						    d->affinity != 0 ? d->affinity : ~(uint64_t)0,
						    d->slice_us),
				  "VCPU_SCHED_SET %s %u", vm->name, id);
	}
	if (status == 0 && (d->flags & VMM_NO_EXIT_PAGES) == 0) {
		status = vmm_map_vcpu(vm, id);
	}
	return status;
}

static int build(struct vmm_vm *vm, const struct vmm_desc *d)
{
	int status = 0;

	if (d->dirty_flags != 0) {
		status = vmm_note(tm_dirty_config(vm->handle, d->ring_entries, d->dirty_flags),
				  "DIRTY_CONFIG %s", vm->name);
		vm->dirty_flags = d->dirty_flags;
		vm->ring_entries = d->ring_entries;
	}
	if (status == 0 && d->backend != 0) {
		status = vmm_note(tm_force_backend(vm->handle, (enum tm_backend)(d->backend - 1)),
				  "FORCE_BACKEND %u of %s", d->backend - 1, vm->name);
	}
	if (status == 0) {
		status = set_slots(vm, d);
	}
	if (status == 0 && (d->flags & VMM_NO_IMAGE) == 0) {
		status = vmm_load(vm, d);
	}
	for (uint32_t id = 0; id < vm->vcpus && status == 0; id++) {
		status = make_vcpu(vm, d, id);
	}
	if (status == 0 && (d->flags & VMM_NO_RUN) == 0) {
		status = vmm_run(vm);
	}
	return status;
}

int vmm_create(const struct vmm_desc *desc, struct vmm_vm **out)
{
	struct vmm_vm *vm = NULL;
	int status;

	if (desc->slot_count > VMM_SLOTS || (desc->mem_size & (PAGE - 1)) != 0 ||
	    desc->vcpus > TM_MAX_VCPUS) {
		return vmm_note(-TM_EINVAL, "description of %s", desc->name);
	}
	status = create_vm(desc, &vm);
	if (status != 0) {
		return status;
	}
	status = build(vm, desc);
	if (status != 0) {
		char step[96];

		/* The first failure is the one to tell. */
		(void)snprintf(step, sizeof(step), "%s", vmm_last_error());
		(void)vmm_destroy(vm);
		return vmm_note(status, "%s", step);
	}
	if (out != NULL) {
		*out = vm;
	}
	return 0;
}

int vmm_run(struct vmm_vm *vm)
{
	for (uint32_t id = 0; id < TM_MAX_VCPUS; id++) {
		int status;

		if (!vm->vcpu[id].exists) {
			continue;
		}
		status = tm_vcpu_run(vm->handle, id);
		if (status != 0 && status != -TM_EALREADY) {
			return vmm_note(status, "VCPU_RUN %s %u", vm->name, id);
		}
		vm->vcpu[id].stopped = false;
	}
	return 0;
}

int vmm_destroy(struct vmm_vm *vm)
{
	int status = vmm_note(tm_vm_destroy(vm->handle), "VM_DESTROY %s", vm->name);

	if (status != 0 && status != -TM_ENOENT) {
		return status;
	}
	vmm_unmap_vcpus(vm);
	for (uint32_t i = 0; i < VMM_SLOTS; i++) {
		if (vm->slot[i].used && vm->slot[i].desc.backing != 0) {
			take_back(vm, vm->slot[i].desc.backing, vm->slot[i].desc.size);
		}
	}
	if (vm->pool.size != 0) {
		vmm_ram_free((void *)(uintptr_t)vm->pool.gpa, vm->pool.size);
	}
	vm->used = false;
	return 0;
}
