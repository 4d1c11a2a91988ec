// SPDX-License-Identifier: Apache-2.0
/*
 * The boot, top to bottom: memory, banner, devices, other CPUs, configuration, VMs, scheduler.
 * Everything up to the last line of hyp_main() runs on the boot CPU; the other CPUs wait in the
 * scheduler's idle loop.
 */
#include <boot/guest_start.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/tlb.h>
#include <hyp/boot_info.h>
#include <hyp/config.h>
#include <hyp/console.h>
#include <hyp/crash.h>
#include <hyp/err.h>
#include <hyp/log.h>
#include <hyp/owner.h>
#include <hyp/page_alloc.h>
#include <hyp/sched.h>
#include <hyp/string.h>
#include <hyp/test_hooks.h>
#include <hyp/version.h>
#include <hyp/vm.h>

#define MIB (1ull << 20)
#define CONFIG_MODULE "tidemark.dtb"
#define CONFIG_MAX_BYTES (64 * 1024ul)
/* The hypervisor's own pool: a share of RAM between bounds. */
#define POOL_SHARE 64u
#define POOL_MIN (4 * MIB)
#define POOL_MAX (64 * MIB)

static struct config config;

static uint64_t ram_bytes(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		sum += boot_info.ram[i].size;
	}
	return sum;
}

static void log_level_from_option(void)
{
	static const char *const name[] = {"err", "warn", "info", "dbg"};
	char text[16];

	if (!boot_option("log", text, sizeof(text))) {
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(name); i++) {
		if (strcmp(text, name[i]) == 0) {
			log_set_console_level((enum log_level)i);
			return;
		}
	}
	log_warn("option log=%s: choose err, warn, info or dbg", text);
}

static void banner(void)
{
	log_banner("tidemark %s (%s, DEBUG=%d) %s: %u CPU%s, %lu MiB, %s, %s at %#lx",
		   TM_VERSION_TEXT, TM_COMMIT, DEBUG, arch_name(), boot_info.cpu_count,
		   boot_info.cpu_count == 1 ? "" : "s", (unsigned long)(ram_bytes() / MIB),
		   arch_irqchip_name(), boot_info.uart_kind, boot_info.uart_base.v);
}

static void describe_cpus(void)
{
	pcpu_count = boot_info.cpu_count;
	for (unsigned i = 0; i < pcpu_count; i++) {
		pcpus[i].id = i;
		pcpus[i].hwid = boot_info.cpus[i].hwid;
		pcpus[i].stack_top = arch_stack_top(i);
		sched_init_cpu(&pcpus[i]);
	}
	arch_boot_start(&pcpus[0]);
	pcpus[0].online = true;
}

/* A CPU that stays away is reported; the others go on. */
static void start_cpus(void)
{
	unsigned online = 1;

	for (unsigned i = 1; i < pcpu_count; i++) {
		if (arch_cpu_on(i) == 0) {
			online++;
		}
	}
	if (online < pcpu_count) {
		log_err("%u of %u CPUs are online", online, pcpu_count);
	} else {
		log_info("%u CPU%s online", online, online == 1 ? "" : "s");
	}
}

void cpu_secondary_main(struct pcpu *c)
{
	__atomic_store_n(&c->online, true, __ATOMIC_RELEASE);
	sched_start();
}

static void make_pool(void)
{
	uint64_t bytes = MIN(MAX(ram_bytes() / POOL_SHARE, POOL_MIN), POOL_MAX);

	if (boot_alloc_largest() < 2 * bytes) {
		cannot_start("not enough memory: the largest free piece has %lu KiB, %lu are needed",
			     boot_alloc_largest() / 1024, 2 * bytes / 1024);
	}
	page_alloc_add(boot_alloc(bytes, 2 * MIB), bytes / PAGE_SIZE);
}

static bool has_module(const char *name)
{
	const void *data;
	uint64_t size;

	return boot_module_find(name, &data, &size) == 0;
}

static void report_config(const char *text)
{
	log_warn("configuration: %s", text);
}

static const struct vm_config *manager_config(void)
{
	for (unsigned i = 0; i < config.count; i++) {
		if (config.vm[i].manager) {
			return &config.vm[i];
		}
	}
	return NULL;
}

static void read_config(void)
{
	const struct config_machine m = {
		.cpus = pcpu_count,
		.ram_free = boot_alloc_total(),
		.board = guest_start_board(),
		.gpa_bits = arch_stage2_ia_bits(),
		.has_module = has_module,
		.report = report_config,
	};
	const void *module;
	uint64_t size;
	void *dtb;

	if (boot_info.modules.size == 0) {
		cannot_start("no modules archive (QEMU: -initrd modules.cpio)");
	}
	if (boot_module_find(CONFIG_MODULE, &module, &size)) {
		cannot_start("no configuration: the modules archive has no readable %s",
			     CONFIG_MODULE);
	}
	if (size > CONFIG_MAX_BYTES) {
		cannot_start("no configuration: %s has %lu bytes, at most %lu are read",
			     CONFIG_MODULE, size, CONFIG_MAX_BYTES);
	}
	/* In the archive it may lie at any multiple of 4; libfdt wants 8. */
	dtb = phys_to_virt(boot_alloc(CONFIG_MAX_BYTES, PAGE_SIZE));
	memcpy(dtb, module, size);
	if (config_parse(dtb, size, &m, &config)) {
		cannot_start("no configuration: %s cannot be read", CONFIG_MODULE);
	}
	if (config.manager_bad) {
		cannot_start("no manager: its part of the configuration is wrong (see above)");
	}
	if (config.count == 0) {
		cannot_start("nothing to run: the configuration has no good VM");
	}
	if (!manager_config()) {
		log_warn("configuration: no manager; static VMs only");
	}
}

/* Keys go to the manager; without one, to the first VM. */
static void first_focus(void)
{
	struct vm *vm = manager_config() ? NULL : vm_next(-1);

	if (vm) {
		if (console_focus(vm)) {
			log_warn("console: no focus");
		}
		vm_put(vm);
	}
}

void hyp_main(void)
{
	arch_boot_memory();
	describe_cpus();
	banner();
	log_level_from_option();
	test_hooks_init();
	owner_init();
	arch_boot_devices();
	arch_boot_cpu(&pcpus[0]);
	make_pool();
	start_cpus();
	crash_if_asked();
	read_config();
	vm_boot_all(&config);
	first_focus();
	sched_start();
}
