// SPDX-License-Identifier: Apache-2.0
/*
 * What firmware told us, in one shape for all ways in. Built once at boot, read-only afterwards.
 */
#ifndef HYP_BOOT_INFO_H
#define HYP_BOOT_INFO_H

#include <hyp/types.h>

#define BOOT_MAX_RANGES 64
#define BOOT_MAX_CPUS 64
#define BOOT_CMDLINE_LEN 1024

struct mem_range {
	hpa_t base;
	uint64_t size;
};

struct boot_cpu {
	uint64_t hwid;		/* MPIDR affinity bits, APIC id */
};

struct boot_info {
	struct mem_range ram[BOOT_MAX_RANGES];
	unsigned ram_count;
	struct mem_range reserved[BOOT_MAX_RANGES];	/* never touched: firmware, /reserved-memory */
	unsigned reserved_count;
	struct boot_cpu cpus[BOOT_MAX_CPUS];
	unsigned cpu_count;
	struct mem_range image;		/* the hypervisor itself, bss included */
	struct mem_range modules;	/* the cpio archive; size 0 if none */
	hpa_t fdt;			/* HPA_NONE where there is none */
	uint64_t fdt_size;
	char cmdline[BOOT_CMDLINE_LEN];
	/* console UART */
	hpa_t uart_base;
	uint32_t uart_irq;		/* INTID or GSI; 0 = poll */
	const char *uart_kind;
};

extern struct boot_info boot_info;

/* "tidemark: cannot start: <why>" on the console, then stop. Before the first guest only. */
void cannot_start(const char *fmt, ...) noreturn_fn __attribute__((format(printf, 1, 2)));

/* Finds a module by name in the cpio archive. 0 or -TM_ENOENT. */
int must_check boot_module_find(const char *name, const void **data, uint64_t *size);
/* Value of `key=` on the command line copied to buf; false when absent. */
bool boot_option(const char *key, char *buf, size_t len);
uint64_t boot_option_u64(const char *key, uint64_t otherwise);

#endif
