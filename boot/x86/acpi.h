// SPDX-License-Identifier: Apache-2.0
/*
 * What the hypervisor wants of ACPI: CPUs, interrupt controllers, the PM timer, reset and power off.
 * Pure: reads through a callback, keeps no pointer into the tables, has no state.
 */
#ifndef BOOT_X86_ACPI_H
#define BOOT_X86_ACPI_H

#include <hyp/boot_info.h>
#include <hyp/types.h>

#define ACPI_MAX_IOAPICS 8u
#define ACPI_ISA_IRQS 16u

/* Physical memory. NULL: not all of [pa, pa + len) can be read. What is given stays readable until
 * acpi_parse() returns. */
struct acpi_memory {
	const void *(*map)(void *ctx, uint64_t pa, uint64_t len);
	void *ctx;
};

struct acpi_ioapic {
	uint32_t id;
	uint32_t address;
	uint32_t gsi_base;
};

/* Where a line of the ISA bus arrives. ISA's own: edge, active high, GSI = IRQ. */
struct acpi_isa_irq {
	uint32_t gsi;
	bool is_level;
	bool is_active_low;
};

/* A register that firmware describes: reset, mostly an I/O port. width 0: there is none. */
#define ACPI_SPACE_MEMORY 0u
#define ACPI_SPACE_IO 1u
#define ACPI_SPACE_PCI 2u
struct acpi_register {
	uint64_t address;
	uint8_t space;
	uint8_t width;	/* bits */
};

struct acpi_info {
	/* Enabled CPUs in the order of the MADT, each once. */
	uint32_t apic_id[BOOT_MAX_CPUS];
	unsigned cpu_count;
	unsigned cpus_left_out;		/* there were more than fit */
	uint64_t lapic_base;
	bool has_pic;			/* 8259s are there and must be masked */
	struct acpi_ioapic ioapic[ACPI_MAX_IOAPICS];
	unsigned ioapic_count;
	struct acpi_isa_irq isa[ACPI_ISA_IRQS];

	bool has_fadt;
	uint16_t pm_timer_port;		/* 0: none */
	bool pm_timer_is_32bit;		/* else 24 */
	struct acpi_register reset;
	uint8_t reset_value;
	uint16_t pm1a_cnt, pm1b_cnt;	/* ports; 0: none */
	uint16_t smi_cmd;		/* port; 0: always in ACPI mode */
	uint8_t acpi_enable;		/* written there to enter ACPI mode */
	bool has_s5;
	uint8_t s5_type_a, s5_type_b;	/* SLP_TYP for power off, 0 to 7 */

	const char *why;		/* of the result, for the user */
};

/*
 * rsdp: where the RSDP is, or 0 to look for it where a PC BIOS puts it. 0 when at least one CPU and
 * the local APIC are known; -TM_ENOENT no RSDP; -TM_EINVAL no usable MADT. *info is filled in each
 * case, with ISA's own routing where nothing else is known.
 */
int must_check acpi_parse(const struct acpi_memory *m, uint64_t rsdp, struct acpi_info *info);

#endif
