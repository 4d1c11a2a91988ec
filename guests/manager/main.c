// SPDX-License-Identifier: Apache-2.0
//
// The manager: VM 0's program. Start-up, attaching to the VMs that exist, the shell's loop. Boot
// arguments:
//   store=<bytes>     memory for snapshots (default 256M, less where there is less)
//   run=<vm>          play the scripted run on that VM (demo.c), then switch the machine off
//   lose=1            the run forgets one page, and must fail
//   settle=<ms>       how long the run lets the guest start up
//   interactive=1     stay in the shell after the run
//   killat=<p>:<n>,.. end this manager at the n-th point of phase p (kill.c), for tests

#include <stdio.h>
#include <string.h>

#include <libfdt.h>

#include <tidemark/call.h>
#include <tidemark/console.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>

#include "events.h"
#include "lineedit.h"
#include "manager.h"

struct store store;
uint32_t restart_count;

const struct command_table command_tables[] = {
	{vm_commands, &vm_command_count},
	{dirty_commands, &dirty_command_count},
	{snap_commands, &snap_command_count},
	{info_commands, &info_command_count},
	{NULL, NULL},
};

static uint32_t read_restart_count(void)
{
	int node = fdt_path_offset(tm_boot.dtb, "/tidemark");
	int len = 0;
	const fdt32_t *p = node < 0 ? NULL : fdt_getprop(tm_boot.dtb, node, "restart-count", &len);

	return p != NULL && len == 4 ? fdt32_to_cpu(*p) : 0;
}

/*
 * The store lies behind a page that says so. A manager that was started again finds that page in
 * its memory, which nobody else had: the images are still there, and each is verified.
 */
#define STORE_ALIGN 0x200000u
#define STORE_MARK UINT64_C(0x65726f7473206d74)

struct store_mark {
	uint64_t mark;
	uint64_t self;
	uint64_t size;
	uint64_t check;
};

static bool is_mark(const struct store_mark *m)
{
	return m->mark == STORE_MARK && m->self == TM_GPA(m) &&
	       m->check == (m->self ^ m->size ^ STORE_MARK) && m->size > TM_PAGE_SIZE;
}

static bool find_old_store(void)
{
	for (uint32_t i = 0; i < tm_boot.mem_count; i++) {
		uint64_t at = (tm_boot.mem[i].gpa + STORE_ALIGN - 1) & ~(uint64_t)(STORE_ALIGN - 1);
		uint64_t end = tm_boot.mem[i].gpa + tm_boot.mem[i].size;

		for (; at < end; at += STORE_ALIGN) {
			const struct store_mark *m = (const struct store_mark *)(uintptr_t)at;

			if (is_mark(m) && m->size <= end - at) {
				(void)tm_arena_carve(&vmm.ram, at, m->size);
				store_init(&store, (uint8_t *)(uintptr_t)at + TM_PAGE_SIZE,
					   m->size - TM_PAGE_SIZE);
				return true;
			}
		}
	}
	return false;
}

static void open_store(void)
{
	uint64_t size = tm_bootarg_u64("store", UINT64_C(256) << 20);
	uint64_t most = tm_arena_largest(&vmm.ram) / 2;
	struct store_mark *m;

	if (restart_count > 0 && find_old_store()) {
		printf("manager: the store is still there: %u snapshots\n",
		       (unsigned)store_recover(&store));
		return;
	}
	size = (size < most ? size : most) & ~(uint64_t)(TM_PAGE_SIZE - 1);
	m = size > TM_PAGE_SIZE ? vmm_ram_alloc(size, STORE_ALIGN) : NULL;
	if (m == NULL) {
		printf("manager: no memory for a store\n");
		return;
	}
	*m = (struct store_mark){STORE_MARK, TM_GPA(m), size, TM_GPA(m) ^ size ^ STORE_MARK};
	store_init(&store, (uint8_t *)m + TM_PAGE_SIZE, size - TM_PAGE_SIZE);
	memset(store.base, 0, sizeof(struct snap_header));
}

static void say_when_all_ended(void)
{
	static bool said;
	uint32_t vms = 0;
	uint32_t ended = 0;

	for (uint32_t i = 0; i < VMM_VMS; i++) {
		vms += vmm.vm[i].used ? 1 : 0;
		ended += vmm.vm[i].used && vmm.vm[i].shutdown_type != 0 ? 1 : 0;
	}
	if (vms != 0 && vms == ended && !said) {
		printf("tidemark: all guests ended\n");
		said = true;
	} else if (vms != ended) {
		said = false;
	}
}

void idle(uint64_t us)
{
	uint64_t until = tm_timer_now() + tm_us_to_ticks(us);
	uint64_t now;

	fflush(stdout);
	for (now = tm_timer_now(); now < until; now = tm_timer_now()) {
		uint64_t left = tm_ticks_to_us(until - now);

		(void)vmm_wait(left < 10000 ? left : 10000, events_handle, NULL);
		events_collect();
	}
	say_when_all_ended();
}

static void shell_out(void *ctx, const char *text, size_t length)
{
	(void)ctx;
	tm_console_write(text, length);
}

void shell_loop(void)
{
	static struct lineedit line;
	static char message[512];

	printf("tidemark shell; `help` lists the commands, `quit` ends it all\n");
	fflush(stdout);
	lineedit_init(&line, shell_out, NULL);
	lineedit_start(&line, "tidemark> ");
	for (;;) {
		int c = tm_console_getc(0);
		enum line_result r;

		if (c < 0) {
			idle(10000);
			if (events_printed()) {
				fflush(stdout);
				lineedit_redraw(&line);
			}
			continue;
		}
		r = lineedit_feed(&line, (unsigned char)c);
		if (r == LINE_DONE) {
			char text[LINE_MAX_BYTES + 1];

			memcpy(text, line.text, sizeof(text));
			(void)shell_execute(command_tables, text, message, sizeof(message));
			if (message[0] != '\0') {
				printf("%s\n", message);
			}
			fflush(stdout);
		}
		if (r != LINE_MORE) {
			lineedit_start(&line, "tidemark> ");
		}
	}
}

static void attach(void)
{
	uint64_t cpus = 0;
	int err = vmm_attach_all();

	(void)tm_cap_get(0, TM_CAP_PHYS_CPUS, &cpus);
	if (err != 0) {
		printf("manager: %s: %s (%s)\n", vmm_last_error(), fail_text(err), fail_name(err));
	}
	printf("manager: %lu CPUs, %lu MiB free, store %lu MiB", (unsigned long)cpus,
	       (unsigned long)(vmm.ram.free_bytes >> 20), (unsigned long)(store.size >> 20));
	if (restart_count != 0) {
		printf(", started again %u times", (unsigned)restart_count);
	}
	printf("\n");
	for (uint32_t i = 0; i < VMM_VMS; i++) {
		if (vmm.vm[i].used) {
			printf("manager: attached to vm %u %s\n", (unsigned)vmm.vm[i].handle,
			       vmm.vm[i].name);
		}
	}
	fflush(stdout);
}

int main(void)
{
	static char killat[128];
	char guest[VMM_NAME];
	int err = vmm_init();

	if (err != 0) {
		printf("manager: %s: %s (%s)\n", vmm_last_error(), fail_text(err), fail_name(err));
		return 1;
	}
	restart_count = read_restart_count();
	open_store();
	attach();
	if (tm_bootarg("killat", killat, sizeof(killat))) {
		kill_arm(killat);
	}
	if (tm_bootarg("run", guest, sizeof(guest)) || tm_bootarg("demo", guest, sizeof(guest))) {
		(void)demo_run(guest, tm_bootarg_u64("lose", 0) != 0);
		if (tm_bootarg_u64("interactive", 0) == 0) {
			fflush(stdout);
			(void)tm_machine(TM_MACHINE_OFF);
		}
	}
	shell_loop();
}
