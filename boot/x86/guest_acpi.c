// SPDX-License-Identifier: Apache-2.0
//
// The ACPI tables of a guest: a PC without PCI. Power-management block at port 0x600, always in ACPI
// mode, SCI on I/O APIC input 9; one local APIC for each vCPU; one I/O APIC; the 8254's interrupt on
// input 2. Field offsets: ACPI specification 6.4, 5.2. Pure: no state, no locks.

#include "guest_acpi.h"

#define RSDP 0x000u
#define RSDP_SIZE 36u
#define XSDT 0x040u
#define FACS 0x080u		/* 64-byte aligned */
#define FACS_SIZE 64u
#define FADT 0x0c0u
#define FADT_SIZE 276u		/* revision 6 */
#define DSDT 0x200u
#define MADT 0x280u		/* 44 + 64 x 8 + 12 + 2 x 10 + 6 bytes at most */
#define HEADER 36u

#define PM_EVENT 0x600u
#define PM_CONTROL 0x604u
#define PM_TIMER 0x608u
#define SCI 9u
#define RESET_PORT 0xcf9u
#define RESET_VALUE 6u
#define CMOS_CENTURY 0x32u

/* FADT flags (table 5.10) and IA-PC boot flags (5.11). */
#define FADT_WBINVD (1u << 0)
#define FADT_PROC_C1 (1u << 2)
#define FADT_NO_PWR_BUTTON (1u << 4)
#define FADT_NO_SLP_BUTTON (1u << 5)
#define FADT_NO_FIXED_RTC (1u << 6)
#define FADT_RESET_REG (1u << 10)
#define BOOT_LEGACY_DEVICES (1u << 0)
#define BOOT_NO_VGA (1u << 2)
#define BOOT_NO_MSI (1u << 3)
#define BOOT_NO_ASPM (1u << 4)

#define GAS_IO 1u
#define LAPIC_BASE 0xfee00000u
#define IOAPIC_BASE 0xfec00000u

struct writer {
	uint8_t *base;
	uint64_t at;
};

static void put(const struct writer *w, uint32_t off, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++) {
		w->base[off + i] = (uint8_t)(v >> (8 * i));
	}
}

static void put_text(const struct writer *w, uint32_t off, const char *s, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++) {
		w->base[off + i] = (uint8_t)s[i];
	}
}

/* The byte at `field` makes [off, off + size) sum to zero. */
static void checksum(const struct writer *w, uint32_t off, uint32_t size, uint32_t field)
{
	uint8_t sum = 0;

	w->base[field] = 0;
	for (uint32_t i = 0; i < size; i++) {
		sum = (uint8_t)(sum + w->base[off + i]);
	}
	w->base[field] = (uint8_t)(0 - sum);
}

/* Header of a table that is otherwise complete. */
static void seal(const struct writer *w, uint32_t off, const char *sign, uint32_t size,
		 uint32_t revision)
{
	put_text(w, off, sign, 4);
	put(w, off + 4, size, 4);
	put(w, off + 8, revision, 1);
	put_text(w, off + 10, "TDMARK", 6);
	put_text(w, off + 16, "TIDEMARK", 8);
	put(w, off + 24, 1, 4);
	put_text(w, off + 28, "TDMK", 4);
	put(w, off + 32, 1, 4);
	checksum(w, off, size, off + 9);
}

/* Generic address of an I/O port. */
static void put_port(const struct writer *w, uint32_t off, uint32_t port, unsigned bytes)
{
	put(w, off, GAS_IO, 1);
	put(w, off + 1, bytes * 8, 1);
	put(w, off + 3, bytes > 2 ? 3 : bytes, 1);	/* access size: byte, word, doubleword */
	put(w, off + 4, port, 8);
}

static void build_fadt(const struct writer *w)
{
	put(w, FADT + 36, w->at + FACS, 4);
	put(w, FADT + 40, w->at + DSDT, 4);
	put(w, FADT + 46, SCI, 2);
	/* no SMI port: the machine is in ACPI mode from the start */
	put(w, FADT + 56, PM_EVENT, 4);
	put(w, FADT + 64, PM_CONTROL, 4);
	put(w, FADT + 76, PM_TIMER, 4);
	put(w, FADT + 88, 4, 1);
	put(w, FADT + 89, 2, 1);
	put(w, FADT + 91, 4, 1);
	put(w, FADT + 96, 0xffff, 2);		/* C2 latency: none */
	put(w, FADT + 98, 0xffff, 2);		/* C3 */
	put(w, FADT + 108, CMOS_CENTURY, 1);
	put(w, FADT + 109, BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_MSI | BOOT_NO_ASPM, 2);
	put(w, FADT + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_NO_PWR_BUTTON | FADT_NO_SLP_BUTTON |
			   FADT_NO_FIXED_RTC | FADT_RESET_REG, 4);
	put_port(w, FADT + 116, RESET_PORT, 1);
	put(w, FADT + 128, RESET_VALUE, 1);
	put(w, FADT + 131, 4, 1);		/* minor version */
	put(w, FADT + 132, w->at + FACS, 8);
	put(w, FADT + 140, w->at + DSDT, 8);
	put_port(w, FADT + 148, PM_EVENT, 4);
	put_port(w, FADT + 172, PM_CONTROL, 2);
	put_port(w, FADT + 208, PM_TIMER, 4);
	/* Either the 32-bit or the 64-bit pointer, where the 32-bit one cannot hold it. */
	if (w->at >> 32 != 0) {
		put(w, FADT + 36, 0, 8);
	} else {
		put(w, FADT + 132, 0, 8);
	}
	seal(w, FADT, "FACP", FADT_SIZE, 6);
}

static uint32_t put_override(const struct writer *w, uint32_t off, unsigned irq, unsigned gsi,
			     unsigned flags)
{
	put(w, off, 2, 1);
	put(w, off + 1, 10, 1);
	put(w, off + 3, irq, 1);
	put(w, off + 4, gsi, 4);
	put(w, off + 8, flags, 2);
	return off + 10;
}

static void build_madt(const struct writer *w, uint32_t cpus)
{
	uint32_t off = MADT + 44;

	put(w, MADT + 36, LAPIC_BASE, 4);
	put(w, MADT + 40, 1, 4);		/* there are 8259s too */
	for (uint32_t i = 0; i < cpus; i++, off += 8) {
		put(w, off, 0, 1);
		put(w, off + 1, 8, 1);
		put(w, off + 2, i, 1);
		put(w, off + 3, i, 1);
		put(w, off + 4, 1, 4);
	}
	put(w, off, 1, 1);
	put(w, off + 1, 12, 1);
	put(w, off + 2, cpus, 1);		/* id */
	put(w, off + 4, IOAPIC_BASE, 4);
	off += 12;
	off = put_override(w, off, 0, 2, 0);
	off = put_override(w, off, SCI, SCI, 0xd);	/* level, active high */
	put(w, off, 4, 1);			/* NMI: LINT1 of all */
	put(w, off + 1, 6, 1);
	put(w, off + 2, 0xff, 1);
	put(w, off + 5, 1, 1);
	off += 6;
	seal(w, MADT, "APIC", off - MADT, 5);
}

void guest_acpi_build(void *buf, uint64_t at, uint32_t cpus)
{
	/* Name (\_S5, Package (4) {0, 0, 0, 0}) */
	static const uint8_t s5[] = {0x08, 0x5c, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0, 0, 0, 0};
	const struct writer w = {buf, at};

	for (uint32_t i = 0; i < sizeof(s5); i++) {
		w.base[DSDT + HEADER + i] = s5[i];
	}
	seal(&w, DSDT, "DSDT", HEADER + sizeof(s5), 2);
	put_text(&w, FACS, "FACS", 4);
	put(&w, FACS + 4, FACS_SIZE, 4);
	put(&w, FACS + 32, 2, 1);
	build_fadt(&w);
	build_madt(&w, cpus);
	put(&w, XSDT + HEADER, at + FADT, 8);
	put(&w, XSDT + HEADER + 8, at + MADT, 8);
	seal(&w, XSDT, "XSDT", HEADER + 16, 1);
	put_text(&w, RSDP, "RSD PTR ", 8);
	put_text(&w, RSDP + 9, "TDMARK", 6);
	put(&w, RSDP + 15, 2, 1);
	put(&w, RSDP + 20, RSDP_SIZE, 4);
	put(&w, RSDP + 24, at + XSDT, 8);
	checksum(&w, RSDP, 20, RSDP + 8);
	checksum(&w, RSDP, RSDP_SIZE, RSDP + 32);
}
