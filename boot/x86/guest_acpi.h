// SPDX-License-Identifier: Apache-2.0
/* The ACPI tables of the board that x86 guests see. Pure. */
#ifndef TIDEMARK_BOOT_X86_GUEST_ACPI_H
#define TIDEMARK_BOOT_X86_GUEST_ACPI_H

#include <stdint.h>

#define GUEST_ACPI_SIZE 0x1000u

/* Writes RSDP, XSDT, FADT, FACS, MADT and DSDT into buf (zeroed, GUEST_ACPI_SIZE bytes) as they will
 * stand at `at`, below 4 GiB or not. The RSDP is first. cpus: 1..64, local APIC ids from 0. */
void guest_acpi_build(void *buf, uint64_t at, uint32_t cpus);

#endif
