// SPDX-License-Identifier: Apache-2.0
/* What firmware says about this x86 machine beyond boot_info; filled once at boot. */
#ifndef ASM_MACHINE_H
#define ASM_MACHINE_H

#include <boot/x86/acpi.h>
#include <hyp/types.h>

struct machine {
	struct acpi_info acpi;		/* without tables: one CPU, ISA's own routing */
	bool has_acpi;
	uint64_t trampoline;		/* TRAMPOLINE_PAGES below 1 MiB; 0: none */
};

extern struct machine machine;

#define TRAMPOLINE_PAGES 4u		/* code, three tables */

#endif
