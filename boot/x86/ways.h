// SPDX-License-Identifier: Apache-2.0
/*
 * The three ways in, each a parser of what a loader left in memory, and where they put what they
 * find (collect.c). All run on the boot CPU before the first allocation.
 */
#ifndef BOOT_X86_WAYS_H
#define BOOT_X86_WAYS_H

#include <hyp/types.h>

#define MULTIBOOT1_MAGIC 0x2badb002u
#define MULTIBOOT2_MAGIC 0x36d76289u

/* `pa` is what the loader passed. Each refuses (cannot_start) what it cannot read. */
void multiboot1_parse(uint64_t pa);
void multiboot2_parse(uint64_t pa);
void handoff_parse(uint64_t pa);

/* ---- collect.c --------------------------------------------------------------------------------- */

/* Memory that a loader left, mapped for reading; refuses when that is impossible. */
const void *boot_read(uint64_t pa, uint64_t bytes, const char *what);
/* RAM first, then what is not to be touched, which wins. Any order, overlaps, any alignment. */
void boot_add_ram(uint64_t base, uint64_t bytes);
void boot_cut_ram(uint64_t base, uint64_t bytes);
/* The first module is the archive; the others are left alone and lost. */
void boot_set_module(uint64_t base, uint64_t bytes);
/* At most `bytes` of it; ends at the first NUL. */
void boot_set_cmdline(const char *text, uint64_t bytes);
/* ACPI's root pointer, where the loader knows it. */
void boot_set_rsdp(uint64_t pa);
uint64_t boot_rsdp(void);
/* After the parser: refuses a machine without memory. */
void boot_check_memory(void);

#endif
