// SPDX-License-Identifier: Apache-2.0
/* The machine's end: ACPI where its tables were readable, then what PCs and emulators have. */
#include <arch/cpu.h>
#include <asm/io.h>
#include <asm/machine.h>

/* ACPI 6.4, 4.8.3.2: PM1 control. */
#define PM1_SCI_ENABLE (1u << 0)
#define PM1_SLP_TYP_SHIFT 10
#define PM1_SLP_EN (1u << 13)
#define ENABLE_WAIT 1000000u

#define QEMU_OFF 0x604u			/* PM1a control of its chipsets, S5 = type 0 */
#define BOCHS_OFF 0x8900u		/* takes a word, letter by letter */
#define RESET_CONTROL 0xcf9u
#define RESET_HARD 0x06u
#define KEYBOARD 0x64u
#define KEYBOARD_RESET 0xfeu

static void acpi_mode(const struct acpi_info *a)
{
	if (!a->smi_cmd || !a->acpi_enable || (port_in16(a->pm1a_cnt) & PM1_SCI_ENABLE)) {
		return;
	}
	port_out8(a->smi_cmd, a->acpi_enable);
	for (unsigned i = 0; i < ENABLE_WAIT && !(port_in16(a->pm1a_cnt) & PM1_SCI_ENABLE); i++) {
		arch_cpu_relax();
	}
}

static void sleep_at(uint16_t port, unsigned type)
{
	if (port) {
		port_out16(port, (uint16_t)(type << PM1_SLP_TYP_SHIFT | PM1_SLP_EN));
	}
}

void arch_machine_off(void)
{
	const struct acpi_info *a = &machine.acpi;

	if (machine.has_acpi && a->has_s5 && a->pm1a_cnt) {
		acpi_mode(a);
		sleep_at(a->pm1a_cnt, a->s5_type_a);
		sleep_at(a->pm1b_cnt, a->s5_type_b);
	} else {
		sleep_at(QEMU_OFF, 0);
	}
	for (const char *p = "Shutdown"; *p; p++) {
		port_out8(BOCHS_OFF, (uint8_t)*p);
	}
	arch_halt();
}

void arch_machine_reset(void)
{
	const struct acpi_info *a = &machine.acpi;
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) no_idt;

	if (machine.has_acpi && a->reset.width == 8 && a->reset.space == ACPI_SPACE_IO) {
		port_out8((uint16_t)a->reset.address, a->reset_value);
	}
	port_out8(RESET_CONTROL, RESET_HARD & ~4u);
	port_out8(RESET_CONTROL, RESET_HARD);
	port_out8(KEYBOARD, KEYBOARD_RESET);
	/* A fault that cannot be delivered resets the CPU. */
	__asm__ volatile("lidt %0\n\tud2" : : "m"(no_idt));
	arch_halt();
}
