// SPDX-License-Identifier: Apache-2.0
//
// Commands that only look: mem, exits, log; and help, quit.

#include <stdio.h>
#include <string.h>

#include <tidemark/call.h>
#include <tidemark/console.h>
#include <tidemark/guest.h>

#include "manager.h"

static void show_slot(const struct tm_slot_info *s)
{
	uint32_t flags = s->desc.flags;

	printf("    slot %-3u %10lx %8lu KiB  4K %-6lu 2M %-4lu 1G %-2lu writable %-6lu %s%s%s%s",
	       (unsigned)s->desc.slot, (unsigned long)s->desc.gpa,
	       (unsigned long)(s->desc.size >> 10), (unsigned long)s->leaves_4k,
	       (unsigned long)s->leaves_2m, (unsigned long)s->leaves_1g,
	       (unsigned long)s->writable_leaves, (flags & TM_SLOT_LOG_DIRTY) != 0 ? " logged" : "",
	       (flags & TM_SLOT_READONLY) != 0 ? " read-only" : "",
	       (flags & TM_SLOT_PRIVATE) != 0 ? " private" : "",
	       (flags & TM_SLOT_PCI_HOLE) != 0 ? " hole" : "");
	if (s->desc.backing != 0) {
		printf(" at %lx\n", (unsigned long)s->desc.backing);
	} else {
		printf(" from the pool\n");
	}
}

static int show_vm_memory(const struct vmm_vm *vm, struct fail *f)
{
	struct tm_slot_info info;
	struct tm_vm_info v;
	uint32_t slot = ~0u;
	int err = tm_vm_info(vm->handle, &v);

	if (err != 0) {
		return fail_call(f, err, "VM_INFO");
	}
	printf("  %s: %lu KiB in slots, pool %lu KiB (%lu free)\n", vm->name,
	       (unsigned long)(v.slot_pages * 4), (unsigned long)(v.pool_pages * 4),
	       (unsigned long)(v.pool_free * 4));
	for (uint64_t n = 0; n < v.slot_count; n++) {
		err = tm_slot_query(vm->handle, slot, &info);
		if (err != 0) {
			return fail_call(f, err, "SLOT_QUERY");
		}
		show_slot(&info);
		slot = info.next;
		if (slot == ~0u) {
			break;
		}
	}
	return 0;
}

static void show_own_memory(void)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < tm_boot.mem_count; i++) {
		total += tm_boot.mem[i].size;
	}
	printf("  manager: %lu KiB; %lu KiB free (largest piece %lu KiB); image and heap %lu KiB; "
	       "modules %lu KiB\n",
	       (unsigned long)(total >> 10), (unsigned long)(vmm.ram.free_bytes >> 10),
	       (unsigned long)(tm_arena_largest(&vmm.ram) >> 10),
	       (unsigned long)(tm_boot.image.size >> 10), (unsigned long)(vmm.modules_size >> 10));
	printf("  store: %lu KiB, %lu KiB in %u snapshots\n", (unsigned long)(store.size >> 10),
	       (unsigned long)(store.used >> 10), (unsigned)store.count);
	printf("  window range: %lu KiB free\n", (unsigned long)(vmm.window.free_bytes >> 10));
}

static int mem(int argc, char **argv, struct fail *f)
{
	int err = 0;

	if (argc > 0) {
		struct vmm_vm *vm = need_vm(argv[0], f);

		return vm != NULL ? show_vm_memory(vm, f) : -TM_ENOENT;
	}
	show_own_memory();
	for (uint32_t i = 0; err == 0 && i < VMM_VMS; i++) {
		if (vmm.vm[i].used) {
			err = show_vm_memory(&vmm.vm[i], f);
		}
	}
	return err;
}

static int show_exits(const struct vmm_vm *vm, struct fail *f)
{
	for (uint32_t id = 0; id < TM_MAX_VCPUS; id++) {
		struct tm_vcpu_stats s = {0};
		int err;

		if (!vm->vcpu[id].exists) {
			continue;
		}
		err = tm_vcpu_stats(vm->handle, id, &s);
		if (err != 0) {
			return fail_call(f, err, "VCPU_STATS");
		}
		printf("  %-12s %2u %-8s %-10s %9lu %8lu %8lu %8lu %8lu %8lu %8lu\n", vm->name,
		       (unsigned)id, vmm_vcpu_state_name(s.state), vmm_exit_name(s.reason),
		       (unsigned long)s.exits, (unsigned long)s.faults,
		       (unsigned long)s.mmio_exits, (unsigned long)s.hypercalls,
		       (unsigned long)s.irqs, (unsigned long)s.sysreg_traps, (unsigned long)s.wfi);
	}
	return 0;
}

static int exits(int argc, char **argv, struct fail *f)
{
	struct vmm_vm *one = argc > 0 ? need_vm(argv[0], f) : NULL;
	int err = 0;

	if (argc > 0 && one == NULL) {
		return -TM_ENOENT;
	}
	printf("  vm         vcpu state    last stop      exits   faults     mmio    calls     irqs"
	       "   sysreg      wfi\n");
	for (uint32_t i = 0; err == 0 && i < VMM_VMS; i++) {
		if (vmm.vm[i].used && (one == NULL || one == &vmm.vm[i])) {
			err = show_exits(&vmm.vm[i], f);
		}
	}
	return err;
}

static int show_log(int argc, char **argv, struct fail *f)
{
	static char text[1024] __attribute__((aligned(8)));
	uint64_t cursor = 0;
	uint64_t bytes = 0;

	(void)argc, (void)argv;
	for (;;) {
		int err = tm_log_read(text, sizeof(text), &cursor, &bytes);

		if (err != 0) {
			return fail_call(f, err, "LOG_READ");
		}
		if (bytes == 0 || bytes > sizeof(text)) {
			return 0;
		}
		tm_console_write(text, bytes);
	}
}

static int help(int argc, char **argv, struct fail *f)
{
	(void)f;
	shell_help(command_tables, argc > 0 ? argv[0] : NULL);
	return 0;
}

static int quit(int argc, char **argv, struct fail *f)
{
	int err;

	(void)argc, (void)argv;
	printf("  off\n");
	fflush(stdout);
	err = tm_machine(TM_MACHINE_OFF);
	return fail_call(f, err, "MACHINE off");
}

const struct command info_commands[] = {
	{"mem", "[vm]", "slots, owners, leaf sizes", 0, 1, mem},
	{"exits", "[vm]", "what made the vCPUs exit", 0, 1, exits},
	{"log", "", "the hypervisor's log", 0, 0, show_log},
	{"help", "[word]", "this list", 0, 1, help},
	{"quit", "", "switch the machine off", 0, 0, quit},
};
const size_t info_command_count = sizeof(info_commands) / sizeof(info_commands[0]);
