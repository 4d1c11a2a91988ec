// SPDX-License-Identifier: Apache-2.0
//
// Manager side: own memory, windows, the list of VMs. One CPU, no locks. struct vmm is the only
// state; the hypervisor is the authority on everything in it.

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <tidemark/arch.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include "vmm_internal.h"

#define BOUNCE_WINDOW 0x200000u		/* at most this much in one short window */

struct vmm vmm;
static char last_error[96];
static int last_status;

int vmm_note(int status, const char *fmt, ...)
{
	va_list ap;

	if (status < 0) {
		last_status = status;
		va_start(ap, fmt);
		(void)vsnprintf(last_error, sizeof(last_error), fmt, ap);
		va_end(ap);
	}
	return status;
}

const char *vmm_last_error(void)
{
	return last_error;
}

int vmm_last_status(void)
{
	return last_status;
}

/* --- start ------------------------------------------------------------------------------------ */

/* What of our RAM holds something already: rounded outwards to pages. */
static int carve(struct tm_range r)
{
	uint64_t low = r.gpa & ~(PAGE - 1);

	return r.size == 0 ? 0 : tm_arena_carve(&vmm.ram, low, page_up(r.gpa + r.size) - low);
}

static int init_ram(void)
{
	int status = 0;

	tm_arena_init(&vmm.ram);
	for (uint32_t i = 0; i < tm_boot.mem_count && status == 0; i++) {
		uint64_t low = page_up(tm_boot.mem[i].gpa);
		uint64_t high = (tm_boot.mem[i].gpa + tm_boot.mem[i].size) & ~(PAGE - 1);

		status = high > low ? tm_arena_add(&vmm.ram, low, high - low) : 0;
	}
	for (uint32_t i = 0; i < tm_boot.rsvd_count && status == 0; i++) {
		status = carve(tm_boot.rsvd[i]);
	}
	if (status == 0) {
		status = carve(tm_boot.image);
	}
	if (status == 0) {
		status = carve(tm_boot.initrd);
	}
	if (status == 0) {
		status = carve((struct tm_range){TM_GPA(tm_boot.dtb), tm_boot.dtb_size});
	}
	return status;
}

static void doorbell(uint32_t intid, void *arg)
{
	(void)intid, (void)arg;
	vmm.doorbells++;
}

static int init_events(void)
{
	uint64_t gpa;
	uint64_t intid = 0;
	int status = vmm_window_take(PAGE, &gpa);

	if (status != 0) {
		return vmm_note(status, "window for the event page");
	}
	status = tm_map_events(gpa, 0, &intid);
	if (status != 0) {
		vmm_window_give(gpa, PAGE);
		return vmm_note(status, "MAP_EVENTS");
	}
	vmm.events = (struct tm_event_page *)(uintptr_t)gpa;
	vmm.doorbell = (uint32_t)intid;
	if (!tm_irq_init()) {
		return vmm_note(-TM_ENXIO, "interrupt controller");
	}
	tm_irq_handle(vmm.doorbell, doorbell, NULL);
	tm_irq_set_edge(vmm.doorbell, true);
	tm_irq_route(vmm.doorbell, 0);
	tm_irq_enable(vmm.doorbell);
	tm_irq_unmask();
	return 0;
}

int vmm_init(void)
{
	int status;

	memset(&vmm, 0, sizeof(vmm));
	if (tm_boot.window.size == 0) {
		return vmm_note(-TM_EPERM, "/tidemark in the device tree: not the manager");
	}
	status = init_ram();
	if (status != 0) {
		return vmm_note(status, "memory of the device tree");
	}
	tm_arena_init(&vmm.window);
	status = tm_arena_add(&vmm.window, tm_boot.window.gpa, tm_boot.window.size);
	if (status != 0) {
		return vmm_note(status, "window of the device tree");
	}
	vmm.modules = (const void *)(uintptr_t)tm_boot.initrd.gpa;
	vmm.modules_size = tm_boot.initrd.size;
	return init_events();
}

/* --- own memory, modules ---------------------------------------------------------------------- */

void *vmm_ram_alloc(uint64_t size, uint64_t align)
{
	uint64_t base = 0;
	int status = tm_arena_alloc(&vmm.ram, page_up(size), align < PAGE ? PAGE : align, &base);

	if (status != 0) {
		(void)vmm_note(status, "%llu KiB of manager memory",
			       (unsigned long long)(size >> 10));
		return NULL;
	}
	return (void *)(uintptr_t)base;
}

void vmm_ram_free(void *p, uint64_t size)
{
	if (p != NULL) {
		/* Only a double free can fail here; the arena then stays as it is. */
		(void)vmm_note(tm_arena_add(&vmm.ram, TM_GPA(p), page_up(size)), "free");
	}
}

int vmm_module(const char *name, struct tm_cpio_file *file)
{
	return vmm_note(tm_cpio_find(vmm.modules, vmm.modules_size, name, file), "module %s", name);
}

/* --- windows ---------------------------------------------------------------------------------- */

int vmm_window_take(uint64_t size, uint64_t *gpa)
{
	return tm_arena_alloc(&vmm.window, page_up(size), size >= BIG_PAGE ? BIG_PAGE : PAGE, gpa);
}

void vmm_window_give(uint64_t gpa, uint64_t size)
{
	(void)vmm_note(tm_arena_add(&vmm.window, gpa, page_up(size)), "window given back");
}

void *vmm_window_map(struct vmm_vm *vm, uint64_t gpa, uint64_t size, uint32_t prot)
{
	uint64_t at = 0;
	int status = vmm_window_take(size, &at);

	if (status != 0) {
		(void)vmm_note(status, "window of %llu KiB", (unsigned long long)(size >> 10));
		return NULL;
	}
	status = tm_map_guest(vm->handle, gpa, page_up(size) / PAGE, at, prot);
	if (status != 0) {
		vmm_window_give(at, size);
		(void)vmm_note(status, "MAP_GUEST %s 0x%llx", vm->name, (unsigned long long)gpa);
		return NULL;
	}
	return (void *)(uintptr_t)at;
}

int vmm_window_unmap(void *p, uint64_t size)
{
	int status = tm_unmap(TM_GPA(p), page_up(size) / PAGE);

	/* The hypervisor revokes windows by itself (slot deleted): the range is free anyway. */
	if (status == 0 || status == -TM_ENOENT) {
		vmm_window_give(TM_GPA(p), size);
		return 0;
	}
	return vmm_note(status, "UNMAP 0x%llx", (unsigned long long)TM_GPA(p));
}

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_ZERO };

/* data is NULL for ACCESS_ZERO. Piecewise; pieces may begin anywhere in a page. */
static int guest_access(struct vmm_vm *vm, uint64_t gpa, void *data, uint64_t size,
			enum access kind)
{
	uint8_t *p = data;
	uint32_t prot = kind == ACCESS_READ ? TM_PROT_READ : TM_PROT_READ | TM_PROT_WRITE;

	while (size != 0) {
		uint64_t skip = gpa & (PAGE - 1);
		uint64_t n = size < BOUNCE_WINDOW - skip ? size : BOUNCE_WINDOW - skip;
		uint8_t *w = vmm_window_map(vm, gpa - skip, skip + n, prot);
		int status;

		if (w == NULL) {
			return last_status;
		}
		if (kind == ACCESS_READ) {
			memcpy(p, w + skip, n);
		} else if (kind == ACCESS_WRITE) {
			memcpy(w + skip, p, n);
		} else {
			memset(w + skip, 0, n);
		}
		if (kind != ACCESS_READ) {
			/* The guest may look with its caches off. */
			tm_cache_clean(w + skip, n);
		}
		status = vmm_window_unmap(w, skip + n);
		if (status != 0) {
			return status;
		}
		gpa += n;
		size -= n;
		p = p != NULL ? p + n : NULL;
	}
	return 0;
}

int vmm_guest_write(struct vmm_vm *vm, uint64_t gpa, const void *data, uint64_t size)
{
	return guest_access(vm, gpa, (void *)(uintptr_t)data, size, ACCESS_WRITE);
}

int vmm_guest_read(struct vmm_vm *vm, uint64_t gpa, void *data, uint64_t size)
{
	return guest_access(vm, gpa, data, size, ACCESS_READ);
}

int vmm_guest_zero(struct vmm_vm *vm, uint64_t gpa, uint64_t size)
{
	return guest_access(vm, gpa, NULL, size, ACCESS_ZERO);
}

/* --- list of VMs ------------------------------------------------------------------------------ */

struct vmm_vm *vmm_find(uint32_t handle)
{
	for (uint32_t i = 0; i < VMM_VMS; i++) {
		if (vmm.vm[i].used && vmm.vm[i].handle == handle) {
			return &vmm.vm[i];
		}
	}
	return NULL;
}

struct vmm_vm *vmm_find_name(const char *name)
{
	for (uint32_t i = 0; i < VMM_VMS; i++) {
		if (vmm.vm[i].used && strcmp(vmm.vm[i].name, name) == 0) {
			return &vmm.vm[i];
		}
	}
	return NULL;
}

struct vmm_vm *vmm_new(uint32_t handle)
{
	for (uint32_t i = 0; i < VMM_VMS; i++) {
		if (!vmm.vm[i].used) {
			memset(&vmm.vm[i], 0, sizeof(vmm.vm[i]));
			vmm.vm[i].used = true;
			vmm.vm[i].handle = handle;
			return &vmm.vm[i];
		}
	}
	(void)vmm_note(-TM_ENOSPC, "list of VMs (%u)", VMM_VMS);
	return NULL;
}

static void attach_slots(struct vmm_vm *vm)
{
	struct tm_slot_info info;
	uint32_t slot = ~0u;

	for (uint32_t i = 0; i < VMM_SLOTS; i++) {
		if (tm_slot_query(vm->handle, slot, &info) != 0) {
			return;
		}
		vm->slot[i].used = true;
		vm->slot[i].desc = info.desc;
		if (info.next == ~0u) {
			return;
		}
		slot = info.next;
	}
}

int vmm_attach(uint32_t handle, struct vmm_vm **out)
{
	struct tm_vm_info info;
	struct vmm_vm *vm;
	int status = vmm_note(tm_vm_info(handle, &info), "VM_INFO %u", handle);

	if (status != 0) {
		return status;
	}
	vm = vmm_new(handle);
	if (vm == NULL) {
		return last_status;
	}
	vm->is_static = (info.flags & TM_VM_STATIC) != 0;
	vm->pool = (struct tm_range){info.pool_gpa, info.pool_pages * TM_PAGE_SIZE};
	vm->vcpus = info.vcpus_max;
	memcpy(vm->name, info.name, sizeof(vm->name));
	vm->name[sizeof(vm->name) - 1] = '\0';
	memcpy(vm->uuid, info.uuid, sizeof(vm->uuid));
	vm->dirty_flags = info.dirty_flags;
	vm->ring_entries = info.ring_entries;
	attach_slots(vm);
	for (uint32_t id = 0; id < TM_MAX_VCPUS && status == 0; id++) {
		if ((info.vcpu_mask >> id & 1) != 0) {
			vm->vcpu[id].exists = true;
			status = vmm_map_vcpu(vm, id);
		}
	}
	if (status != 0) {
		vmm_unmap_vcpus(vm);
		vm->used = false;
		return status;
	}
	if (out != NULL) {
		*out = vm;
	}
	return 0;
}

int vmm_attach_all(void)
{
	uint64_t vm = ~(uint64_t)0;
	int status;

	while ((status = tm_vm_next(vm, &vm)) == 0) {
		/* Handle 0 is ourselves. */
		if (vm != 0 && vmm_find((uint32_t)vm) == NULL) {
			status = vmm_attach((uint32_t)vm, NULL);
			if (status != 0) {
				return status;
			}
		}
	}
	return status == -TM_ENOENT ? 0 : vmm_note(status, "VM_NEXT");
}
