// SPDX-License-Identifier: Apache-2.0
//
// Commands on VMs as a whole: list, create, start, pause, resume, kick, reset, destroy, info, and
// which of them has the console. Owns the descriptions of the VMs made here, for `vm reset`.

#include <stdio.h>
#include <string.h>

#include <tidemark/call.h>
#include <tidemark/console.h>
#include <tidemark/guest.h>

#include "events.h"
#include "hv_arch.h"
#include "manager.h"
#include "track.h"

// What `vm create` was given; strings live in text[].
struct made {
	bool used;
	char name[VMM_NAME];
	char text[256];
	struct vmm_desc desc;
};

static struct made made[8];

struct vmm_vm *need_vm(const char *name, struct fail *f)
{
	struct vmm_vm *vm = vmm_find_name(name);
	uint64_t handle;

	if (vm == NULL && shell_number(name, &handle) && handle < TM_MAX_VMS) {
		vm = vmm_find((uint32_t)handle);
	}
	if (vm == NULL) {
		fail_set(f, -TM_ENOENT, "VM", "see `vm list`", "there is none called %.32s", name);
	}
	return vm;
}

static const char *state_text(const struct tm_vm_info *info, const struct tm_vcpu_stats *s)
{
	if (info->state == TM_VM_STATE_DEAD) {
		return "dead";
	}
	if (info->pause_count != 0) {
		return "paused";
	}
	return vmm_vcpu_state_name(s->state);
}

static int vm_list(int argc, char **argv, struct fail *f)
{
	(void)argc, (void)argv, (void)f;
	(void)vmm_attach_all();
	printf("  id name             state    cpus    memory  dirty log      kind\n");
	for (uint32_t i = 0; i < VMM_VMS; i++) {
		const struct vmm_vm *vm = &vmm.vm[i];
		struct tm_vcpu_stats stats = {0};
		struct tm_vm_info info;
		char mode[32];

		if (!vm->used || tm_vm_info(vm->handle, &info) != 0) {
			continue;
		}
		(void)tm_vcpu_stats(vm->handle, 0, &stats);
		snprintf(mode, sizeof(mode), "%s%s%s%s",
			 (info.dirty_flags & TM_DIRTY_RING) != 0 ? "ring " : "",
			 (info.dirty_flags & TM_DIRTY_RING) == 0 ||
				 (info.dirty_flags & TM_DIRTY_BITMAP) != 0 ? "bitmap" : "",
			 (info.dirty_flags & TM_DIRTY_SPILL) != 0 ? "+spill" : "",
			 (info.dirty_flags & TM_DIRTY_MANUAL) != 0 ? "+m" : "");
		printf("  %2u %-16s %-8s %4u %6lu MiB  %-13s  %s\n", (unsigned)vm->handle, vm->name,
		       state_text(&info, &stats), (unsigned)info.vcpus,
		       (unsigned long)(info.slot_pages >> 8), mode,
		       (info.flags & TM_VM_STATIC) != 0 ? "static" : "managed");
	}
	return 0;
}

static int get_module(const char *name, struct tm_cpio_file *file, struct fail *f)
{
	int err = vmm_module(name, file);

	return err == 0 ? 0 : fail_set(f, err, "module", "see the boot archive for names",
				       "%.40s: %s", name, fail_text(err));
}

static int dirty_mode(const char *text, struct vmm_desc *d, uint64_t ring, struct fail *f)
{
	if (strcmp(text, "bitmap") == 0) {
		d->dirty_flags = TM_DIRTY_BITMAP | TM_DIRTY_MANUAL;
		return 0;
	}
	d->ring_entries = (uint32_t)ring;
	if (strcmp(text, "spill") == 0) {
		d->dirty_flags = TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_SPILL | TM_DIRTY_MANUAL;
	} else if (strcmp(text, "stop") == 0) {
		d->dirty_flags = TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_MANUAL;
	} else if (strcmp(text, "ring") == 0) {
		d->dirty_flags = TM_DIRTY_RING;
	} else {
		return fail_set(f, -TM_EINVAL, "dirty", "choose bitmap, spill, stop or ring",
				"%.32s is no mode", text);
	}
	return 0;
}

static int describe(int argc, char **argv, struct made *m, struct fail *f)
{
	const char *image = shell_option(argc, argv, "image");
	const char *initrd = shell_option(argc, argv, "initrd");
	const char *dirty = shell_option(argc, argv, "dirty");
	const char *args = shell_option(argc, argv, "args");
	struct vmm_desc *d = &m->desc;
	uint64_t mem = 64;
	uint64_t cpus = 1;
	uint64_t ring = 4096;
	struct tm_cpio_file file;
	int err = shell_check_options(argc, argv, "image initrd mem cpus args dirty ring", f);

	err = err != 0 ? err : shell_option_u64(argc, argv, "mem", &mem, f);
	err = err != 0 ? err : shell_option_u64(argc, argv, "cpus", &cpus, f);
	err = err != 0 ? err : shell_option_u64(argc, argv, "ring", &ring, f);
	if (err == 0 && (mem == 0 || mem > 1u << 20 || cpus == 0 || cpus > TM_MAX_VCPUS)) {
		err = fail_set(f, -TM_EINVAL, "size", "mem is in MiB, cpus 1..64", "out of range");
	}
	if (err == 0 && image == NULL) {
		err = fail_set(f, -TM_EINVAL, "image", "add image=<module>", "none was given");
	}
	err = err != 0 ? err : get_module(image, &file, f);
	if (err != 0) {
		return err;
	}
	snprintf(m->name, sizeof(m->name), "%s", argv[0]);
	snprintf(m->text, sizeof(m->text), "%s", args != NULL ? args : "");
	d->name = m->name;
	d->vcpus = (uint32_t)cpus;
	d->mem_size = mem << 20;
	d->image = file.data;
	d->image_size = file.size;
	d->bootargs = m->text;
	if (initrd != NULL) {
		err = get_module(initrd, &file, f);
		d->initrd = file.data;
		d->initrd_size = file.size;
	}
	return err != 0 ? err : dirty_mode(dirty != NULL ? dirty : "bitmap", d, ring, f);
}

static int vm_create(int argc, char **argv, struct fail *f)
{
	struct made *m = NULL;
	struct vmm_vm *vm;
	int err;

	for (unsigned i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
		if (!made[i].used || vmm_find_name(made[i].name) == NULL) {
			m = &made[i];
		}
	}
	if (vmm_find_name(argv[0]) != NULL) {
		return fail_set(f, -TM_EEXIST, "name", NULL, "%.32s is taken", argv[0]);
	}
	if (m == NULL) {
		return fail_set(f, -TM_ENOMEM, "VM", NULL, "as many as the manager makes are there");
	}
	memset(m, 0, sizeof(*m));
	err = describe(argc, argv, m, f);
	if (err != 0) {
		return err;
	}
	m->desc.flags = VMM_NO_RUN;
	err = vmm_create(&m->desc, &vm);
	if (err != 0) {
		return fail_set(f, err, "create", NULL, "%s: %s", vmm_last_error(), fail_text(err));
	}
	m->used = true;
	printf("  vm %s is number %u; `vm start %s` runs it\n", vm->name, (unsigned)vm->handle,
	       vm->name);
	return 0;
}

static int vm_start(int argc, char **argv, struct fail *f)
{
	struct vmm_vm *vm = need_vm(argv[0], f);
	int err;

	(void)argc;
	if (vm == NULL) {
		return -TM_ENOENT;
	}
	err = vmm_run(vm);
	return err == 0 ? 0 : fail_call(f, err, vmm_last_error());
}

static int vm_pause(int argc, char **argv, struct fail *f)
{
	struct vmm_vm *vm = need_vm(argv[0], f);
	int err;

	(void)argc;
	if (vm == NULL) {
		return -TM_ENOENT;
	}
	err = tm_vm_pause(vm->handle, TM_PAUSE_QUIESCE);
	return err == 0 ? 0 : fail_call(f, err, "VM_PAUSE");
}

static int vm_resume(int argc, char **argv, struct fail *f)
{
	struct vmm_vm *vm = need_vm(argv[0], f);
	struct tm_vm_info info;
	int err;

	(void)argc;
	if (vm == NULL) {
		return -TM_ENOENT;
	}
	err = tm_vm_info(vm->handle, &info);
	if (err == 0 && info.pause_count == 0) {
		return fail_set(f, -TM_EALREADY, "resume", "nothing to do", "it is not paused");
	}
	// Pauses are counted; the user means all of them.
	for (uint64_t n = info.pause_count; err == 0 && n > 0; n--) {
		err = tm_vm_resume(vm->handle);
	}
	return err == 0 ? 0 : fail_call(f, err, "VM_RESUME");
}

static int vm_kick(int argc, char **argv, struct fail *f)
{
	struct vmm_vm *vm = need_vm(argv[0], f);
	bool stop = argc > 1 && strcmp(argv[1], "stop") == 0;

	if (vm == NULL) {
		return -TM_ENOENT;
	}
	if (argc > 1 && !stop) {
		return fail_set(f, -TM_EINVAL, "argument", "leave it out, or say stop",
				"%.32s is not known", argv[1]);
	}
	for (uint32_t id = 0; id < TM_MAX_VCPUS; id++) {
		int err = vm->vcpu[id].exists ?
				  tm_vcpu_kick(vm->handle, id, stop ? TM_KICK_STOP : TM_KICK_DRAIN) :
				  0;

		if (err != 0) {
			return fail_call(f, err, "VCPU_KICK");
		}
	}
	return 0;
}

int end_vm(struct vmm_vm *vm, struct fail *f)
{
	uint32_t handle = vm->handle;
	int err = vmm_destroy(vm);

	if (err != 0) {
		return fail_call(f, err, vmm_last_error());
	}
	track_drop(handle);
	return 0;
}

static int vm_reset(int argc, char **argv, struct fail *f)
{
	struct vmm_vm *vm = need_vm(argv[0], f);
	struct made *m = NULL;
	int err;

	(void)argc;
	if (vm == NULL) {
		return -TM_ENOENT;
	}
	for (unsigned i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
		if (made[i].used && strcmp(made[i].name, vm->name) == 0) {
			m = &made[i];
		}
	}
	if (m == NULL) {
		return fail_set(f, -TM_EOPNOTSUPP, "reset",
				"`snap restore` brings it back to a snapshot",
				"it was not made by `vm create`, so its image is not known");
	}
	err = end_vm(vm, f);
	if (err == 0) {
		err = vmm_create(&m->desc, &vm);
		if (err == 0) {
			err = vmm_run(vm);
		}
		if (err != 0) {
			fail_set(f, err, "create", NULL, "%s: %s", vmm_last_error(),
				 fail_text(err));
		}
	}
	return err;
}

static int vm_destroy(int argc, char **argv, struct fail *f)
{
	struct vmm_vm *vm = need_vm(argv[0], f);

	(void)argc;
	return vm != NULL ? end_vm(vm, f) : -TM_ENOENT;
}

static int vm_info(int argc, char **argv, struct fail *f)
{
	struct vmm_vm *vm = need_vm(argv[0], f);
	struct tm_vm_info info;
	int err;

	(void)argc;
	if (vm == NULL) {
		return -TM_ENOENT;
	}
	err = tm_vm_info(vm->handle, &info);
	if (err != 0) {
		return fail_call(f, err, "VM_INFO");
	}
	printf("  %s, number %u, uuid ", info.name, (unsigned)vm->handle);
	for (int i = 0; i < 16; i++) {
		printf("%02x", info.uuid[i]);
	}
	printf("\n  memory %lu KiB in %lu slots; pool %lu pages, %lu free\n",
	       (unsigned long)(info.slot_pages * 4), (unsigned long)info.slot_count,
	       (unsigned long)info.pool_pages, (unsigned long)info.pool_free);
	printf("  paused %lu times; dirty log flags 0x%x, rings of %u entries; %lu exits\n",
	       (unsigned long)info.pause_count, (unsigned)info.dirty_flags,
	       (unsigned)info.ring_entries, (unsigned long)info.exits);
	for (uint32_t i = 0; i < info.mmio_count && i < TM_VM_MMIO_WINDOWS; i++) {
		printf("  MMIO window %lx, %lx bytes\n", (unsigned long)info.mmio[i].gpa,
		       (unsigned long)info.mmio[i].size);
	}
	// Registers can be read while the VM is paused.
	if (tm_vm_pause(vm->handle, 0) == 0) {
		for (uint32_t id = 0; id < TM_MAX_VCPUS; id++) {
			if ((info.vcpu_mask >> id & 1) != 0) {
				(void)hv_arch_show_vcpu(vm->handle, id);
			}
		}
		(void)tm_vm_resume(vm->handle);
	}
	return 0;
}

static int console(int argc, char **argv, struct fail *f)
{
	struct vmm_vm *vm = need_vm(argv[0], f);
	int err;

	(void)argc;
	if (vm == NULL) {
		return -TM_ENOENT;
	}
	printf("  the keyboard is with %s now; Ctrl-T 0 brings it back\n", vm->name);
	err = tm_cap_enable(vm->handle, TM_CAP_CONSOLE_FOCUS, 0, 0);
	return err == 0 ? 0 : fail_call(f, err, "CAP_ENABLE console focus");
}

const struct command vm_commands[] = {
	{"vm list", "", "all VMs", 0, 0, vm_list},
	{"vm create", "<vm> image=<module> [initrd=] [mem=<MiB>] [cpus=] [args=\"..\"] "
	 "[dirty=bitmap|spill|stop|ring] [ring=<entries>]", "make one, not started", 2, 8,
	 vm_create},
	{"vm start", "<vm>", "run its stopped vCPUs", 1, 1, vm_start},
	{"vm pause", "<vm>", "hold all its vCPUs", 1, 1, vm_pause},
	{"vm resume", "<vm>", "undo all pauses", 1, 1, vm_resume},
	{"vm kick", "<vm> [stop]", "force an exit of each vCPU, or stop them", 1, 2, vm_kick},
	{"vm reset", "<vm>", "end it and start it anew from its image", 1, 1, vm_reset},
	{"vm destroy", "<vm>", "end it; its memory returns to the manager", 1, 1, vm_destroy},
	{"vm info", "<vm>", "one VM in detail, with registers", 1, 1, vm_info},
	{"console", "<vm>", "give it the keyboard", 1, 1, console},
};
const size_t vm_command_count = sizeof(vm_commands) / sizeof(vm_commands[0]);
