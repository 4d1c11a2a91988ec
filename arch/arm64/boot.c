// SPDX-License-Identifier: Apache-2.0
/*
 * From head.S to hyp_main(), and what hyp/main.c asks of arm64 on the way up. Boot CPU but for
 * arch_boot_cpu(). Not compiled with the stack protector: its guard gets its value here.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/time.h>
#include <asm/cpu.h>
#include <asm/guest.h>
#include <asm/irq.h>
#include <asm/layout.h>
#include <asm/machine.h>
#include <asm/mmu.h>
#include <asm/sysreg.h>
#include <asm/time.h>
#include <boot/arm64/fdt.h>
#include <drivers/gic/gic.h>
#include <hyp/boot_info.h>
#include <hyp/console.h>
#include <hyp/drivers.h>
#include <hyp/err.h>
#include <hyp/log.h>
#include <hyp/sched.h>

#define FALLBACK_PL011 0x09000000ull	/* QEMU virt */
#define GICV2_CPUS 8u
#define MPIDR_AFFINITY 0xff00ffffffull

void arm64_boot(uint64_t fdt, uint64_t entered_at) noreturn_fn;
void __stack_chk_fail(void) noreturn_fn;

uint64_t __stack_chk_guard = 0x7469646500000a0d;
static bool console_there;

void __stack_chk_fail(void)
{
	panic("stack protector: a buffer on the stack overflowed, in or below %p",
	      __builtin_return_address(0));
}

static void use_uart(uint64_t base)
{
	if (mmu_map_device(base, PAGE_SIZE)) {
		console_register(&pl011_uart, base);
		console_there = true;
	}
}

void arch_fallback_console(void)
{
	if (!console_there) {
		use_uart(FALLBACK_PL011);
	}
}

/* The boot CPU becomes number 0. */
static void sort_cpus(void)
{
	uint64_t me = read_sysreg(mpidr_el1) & MPIDR_AFFINITY;

	for (unsigned i = 0; i < boot_info.cpu_count; i++) {
		if (boot_info.cpus[i].hwid == me) {
			boot_info.cpus[i].hwid = boot_info.cpus[0].hwid;
			boot_info.cpus[0].hwid = me;
			return;
		}
	}
	cannot_start("the boot CPU (MPIDR %#lx) is not in the device tree", me);
}

static void check_machine(void)
{
	if (machine.gic_version == 0) {
		cannot_start("no GIC: the device tree has neither arm,gic-v3 nor arm,cortex-a15-gic");
	}
	if (machine.timer_hyp == 0 || machine.timer_hyp >= 32) {
		cannot_start("no hypervisor timer in the device tree (arm,armv8-timer)");
	}
	if (read_sysreg(cntfrq_el0) == 0) {
		cannot_start("firmware has not set CNTFRQ_EL0");
	}
	if (machine.gic_version == 2) {
		boot_info.cpu_count = MIN(boot_info.cpu_count, GICV2_CPUS);
	}
}

void arm64_boot(uint64_t fdt, uint64_t entered_at)
{
	__stack_chk_guard ^= entered_at << 16 ^ read_sysreg(cntpct_el0) * 0x9e3779b97f4a7c15;
	boot_info.image = (struct mem_range){hpa(mmu_image_base()), mmu_image_size()};
	fdt_parse((const void *)fdt);
	__stack_chk_guard ^= machine.rng_seed;
	__stack_chk_guard &= ~0xffull;		/* a NUL stops string functions */
	mmu_drop_fdt();
	if (boot_info.uart_kind) {
		use_uart(boot_info.uart_base.v);
	}
	if (!console_there) {
		cannot_start("no PL011 UART in the device tree");
	}
	sort_cpus();
	check_machine();
	cpu_features_init();
	hyp_main();
}

void arch_boot_memory(void)
{
	mmu_init();
}

const char *arch_name(void)
{
	return "arm64";
}

const char *arch_irqchip_name(void)
{
	return machine.gic_version == 3 ? "GICv3" : "GICv2";
}

static struct gic_region map_region(const struct mem_range *r, const char *what)
{
	if (r->size && !mmu_map_device(r->base.v, r->size)) {
		cannot_start("cannot map %s at %#lx", what, r->base.v);
	}
	return (struct gic_region){r->base.v, r->size};
}

static enum irq_end uart_irq(uint32_t intid)
{
	(void)intid;
	console_input_poll();
	return IRQ_DEACTIVATE;
}

static enum irq_end halt_irq(uint32_t intid)
{
	(void)intid;
	arch_halt();
}

void arch_boot_devices(void)
{
	struct gic_config gic = {
		.version = machine.gic_version,
		.dist = map_region(&machine.gicd, "GICD"),
		.redist_count = machine.gicr_count,
		.cpu = map_region(&machine.gicc, "GICC"),
		.gich = map_region(&machine.gich, "GICH"),
		.gicv = {machine.gicv.base.v, machine.gicv.size},
	};
	const char *why = "";

	for (unsigned i = 0; i < machine.gicr_count; i++) {
		gic.redist[i] = map_region(&machine.gicr[i], "GICR");
	}
	if (gic_init(&gic, &why)) {
		cannot_start("%s", why);
	}
	irq_register(IRQ_SGI_HALT, halt_irq);
	time_init();
	if (boot_info.uart_irq) {
		irq_register(boot_info.uart_irq, uart_irq);
	}
}

void arch_boot_cpu(struct pcpu *c)
{
	const char *why = "";

	if (gic_init_cpu(c->id, c->hwid, &why)) {
		panic("CPU %u: %s", c->id, why);
	}
	time_init_cpu();
	guest_cpu_init();
	if (c->id == 0 && boot_info.uart_irq) {
		gic_spi_enable(boot_info.uart_irq, true);
		pl011_uart.irq_enable();
	}
}

void arch_boot_start(struct pcpu *c)
{
	cpu_el2_init(c);
}

uint64_t arch_stack_top(unsigned cpu)
{
	return HYP_STACK_BASE + (cpu + 1ull) * HYP_STACK_STRIDE;
}
