// SPDX-License-Identifier: Apache-2.0
/*
 * From head.S to hyp_main(), and what hyp/main.c asks of x86 on the way up. Boot CPU but for
 * arch_boot_cpu(). Not compiled with the stack protector: its guard gets its value here.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/time.h>
#include <asm/cpu.h>
#include <asm/irq.h>
#include <asm/layout.h>
#include <asm/machine.h>
#include <asm/mmu.h>
#include <asm/msr.h>
#include <asm/time.h>
#include <asm/virt.h>
#include <boot/x86/ways.h>
#include <drivers/apic/apic.h>
#include <hyp/boot_info.h>
#include <hyp/console.h>
#include <hyp/drivers.h>
#include <hyp/err.h>
#include <hyp/log.h>
#include <hyp/sched.h>

#define COM1 0x3f8u
#define COM1_IRQ 4u
#define LAPIC_BYTES 4096u
#define USUAL_IOAPIC 0xfec00000u
#define LOW_END 0xa0000ull		/* RAM that a real-mode CPU starts in */
#define XAPIC_IDS 255u

void x86_boot(uint64_t pa, uint32_t magic, uint64_t entered_at) noreturn_fn;
void __stack_chk_fail(void) noreturn_fn;

struct machine machine;
/* Our own code reads the guard as a variable; libfdt.a, compiled for Linux, at FS base + 40. */
uint64_t stack_guard[6] = {0, 0, 0, 0, 0, 0x7469646500000a0d};
__asm__(".globl __stack_chk_guard\n.set __stack_chk_guard, stack_guard + 40");
static bool console_there;

void __stack_chk_fail(void)
{
	panic("stack protector: a buffer on the stack overflowed, in or below %p",
	      __builtin_return_address(0));
}

void arch_fallback_console(void)
{
	if (!console_there) {
		console_there = true;
		console_register(&ns16550_uart, COM1);
	}
}

static const void *acpi_map(void *ctx, uint64_t pa, uint64_t len)
{
	(void)ctx;
	return mmu_window(pa, len);
}

/* The boot CPU becomes number 0. */
static void sort_cpus(void)
{
	uint64_t me = cpu_apic_id();

	for (unsigned i = 0; i < boot_info.cpu_count; i++) {
		if (boot_info.cpus[i].hwid == me) {
			boot_info.cpus[i].hwid = boot_info.cpus[0].hwid;
			boot_info.cpus[0].hwid = me;
			return;
		}
	}
	cannot_start("the boot CPU (APIC id %lu) is not in ACPI's MADT", me);
}

static void read_acpi(void)
{
	const struct acpi_memory memory = {.map = acpi_map};
	struct acpi_info *a = &machine.acpi;

	machine.has_acpi = acpi_parse(&memory, boot_rsdp(), a) == 0;
	if (!machine.has_acpi) {
		/* One CPU; the reason is logged when there is a log. */
		a->apic_id[0] = cpu_apic_id();
		a->cpu_count = 1;
	}
	for (unsigned i = 0; i < a->cpu_count; i++) {
		if (a->apic_id[i] < XAPIC_IDS || cpu_features.x2apic) {
			boot_info.cpus[boot_info.cpu_count++].hwid = a->apic_id[i];
		}
	}
	sort_cpus();
}

static bool overlaps(uint64_t start, const struct mem_range *r)
{
	return start < r->base.v + r->size && r->base.v < start + TRAMPOLINE_PAGES * PAGE_SIZE;
}

/* The highest place that is free; page 0 is nobody's. */
static void reserve_trampoline(void)
{
	uint64_t bytes = TRAMPOLINE_PAGES * PAGE_SIZE;

	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		const struct mem_range *r = &boot_info.ram[i];
		uint64_t top = MIN(r->base.v + r->size, LOW_END);

		for (uint64_t at = top - MIN(top, bytes); at >= MAX(r->base.v, PAGE_SIZE) && at < top;
		     at -= PAGE_SIZE) {
			if (!overlaps(at, &boot_info.image) && !overlaps(at, &boot_info.modules)) {
				machine.trampoline = at;
				boot_info.reserved[boot_info.reserved_count++] =
					(struct mem_range){hpa(at), bytes};
				return;
			}
		}
	}
}

void x86_boot(uint64_t pa, uint32_t magic, uint64_t entered_at)
{
	uint64_t seed;

	cpu_tables_init(0);
	cpu_features_init();
	cpu_control_init();
	/* All that a boot has to offer: time, where the loader put us, and what it passed. */
	seed = stack_guard[5] ^ entered_at << 16 ^ mmu_image_base() ^
	       __builtin_ia32_rdtsc() * 0x9e3779b97f4a7c15;
	stack_guard[5] = (seed ^ seed >> 29) * 0xbf58476d1ce4e5b9 & ~0xffull;	/* a NUL stops strings */

	boot_info.fdt = HPA_NONE;
	boot_info.uart_base = hpa(COM1);
	boot_info.uart_irq = COM1_IRQ;
	boot_info.uart_kind = "16550";
	arch_fallback_console();
	boot_info.image = (struct mem_range){hpa(mmu_image_base()), mmu_image_size()};
	if (magic == MULTIBOOT1_MAGIC) {
		multiboot1_parse(pa);
	} else if (magic == MULTIBOOT2_MAGIC) {
		multiboot2_parse(pa);
	} else {
		handoff_parse(pa);
	}
	boot_check_memory();
	read_acpi();
	reserve_trampoline();
	time_init();
	hyp_main();
}

/* Which machine this is goes into the banner, so it is found out as soon as there is memory. */
void arch_boot_memory(void)
{
	const char *why;

	mmu_init();
	why = virt_init();
	if (why) {
		cannot_start("%s", why);
	}
}

const char *arch_name(void)
{
	return "x86-64";
}

const char *arch_irqchip_name(void)
{
	static char text[32];

	hyp_snprintf(text, sizeof(text), "%s, %s", cpu_features.x2apic ? "x2APIC" : "APIC",
		     virt->name);
	return text;
}

static uint64_t map_registers(uint64_t pa, uint64_t bytes, const char *what)
{
	uint64_t va = mmu_map_device(pa, bytes);

	if (!va) {
		cannot_start("cannot map %s at %#lx", what, pa);
	}
	return va;
}

static void uart_irq(unsigned vector)
{
	(void)vector;
	console_input_poll();
}

static void halt_irq(unsigned vector)
{
	(void)vector;
	arch_halt();
}

static void timer_and_apic(void)
{
	uint64_t lapic = machine.has_acpi ? machine.acpi.lapic_base
					  : ALIGN_DOWN(rdmsr(MSR_APIC_BASE) & ((1ull << 52) - 1), PAGE_SIZE);

	if (!(cpu_features.leaf1_edx & CPUID1_EDX_APIC)) {
		cannot_start("this CPU has no local APIC");
	}
	host_pic_disable(IRQ_PIC_FIRST);
	host_apic_init(cpu_features.x2apic,
		  cpu_features.x2apic ? 0 : map_registers(lapic, LAPIC_BYTES, "the local APIC"));
	host_apic_init_cpu(IRQ_SPURIOUS);
	time_init_timer();
}

/* True if COM1's line, the only one that interrupts us, arrives at this one. */
static bool route_uart(const struct acpi_ioapic *io)
{
	const struct acpi_isa_irq *isa = &machine.acpi.isa[COM1_IRQ];

	if (!host_ioapic_init(map_registers(io->address, PAGE_SIZE, "an I/O APIC")) ||
	    isa->gsi < io->gsi_base || isa->gsi - io->gsi_base >= host_ioapic_inputs()) {
		return false;
	}
	irq_register(IRQ_UART, uart_irq);
	host_ioapic_route(isa->gsi - io->gsi_base, IRQ_UART, (uint32_t)pcpus[0].hwid, isa->is_level,
			  isa->is_active_low);
	ns16550_uart.irq_enable();
	return true;
}

static void uart_line(void)
{
	static const struct acpi_ioapic usual = {.address = USUAL_IOAPIC};

	if (!machine.has_acpi && route_uart(&usual)) {
		return;
	}
	for (unsigned i = 0; i < machine.acpi.ioapic_count; i++) {
		if (route_uart(&machine.acpi.ioapic[i])) {
			return;
		}
	}
	log_warn("no I/O APIC: no console input");
}

void arch_boot_devices(void)
{
	if (!machine.has_acpi) {
		log_warn("ACPI: %s: one CPU, no power off", machine.acpi.why);
	}
	irq_register(IRQ_HALT, halt_irq);
	timer_and_apic();
	log_info("TSC %lu kHz", arch_time_freq() / 1000);
	uart_line();
}

void arch_boot_cpu(struct pcpu *c)
{
	if (c->id != 0) {
		host_apic_init_cpu(IRQ_SPURIOUS);
	}
	time_init_cpu();
	if (!virt_cpu_init(c)) {
		panic("CPU %u: %s cannot be switched on", c->id, virt->name);
	}
}

void arch_boot_start(struct pcpu *c)
{
	cpu_area(c->id)->pcpu = c;
}

uint64_t arch_stack_top(unsigned cpu)
{
	return HYP_STACK_BASE + (cpu + 1ull) * HYP_STACK_STRIDE;
}
