// SPDX-License-Identifier: Apache-2.0
/*
 * The VM configuration: parsed out of the device tree module `tidemark.dtb` (boot/config.c, which
 * also runs on the host) into these plain structs. boot/config.md documents each property.
 */
#ifndef HYP_CONFIG_H
#define HYP_CONFIG_H

#include <abi/vm.h>
#include <hyp/types.h>

#define CONFIG_MAX_VMS 16
#define CONFIG_STR 64
#define CONFIG_BOOTARGS 512

struct vm_config {
	char name[TM_VM_NAME_LEN];
	bool manager;
	char image[CONFIG_STR];		/* module name */
	char ramdisk[CONFIG_STR];	/* module name or "" */
	char dtb[CONFIG_STR];		/* module name or "": built by the hypervisor */
	char bootargs[CONFIG_BOOTARGS];
	uint64_t mem_base;		/* gpa; the board's by default; unused for the manager */
	uint64_t mem_size;		/* manager: 0 = all that is left */
	uint64_t pool_size;		/* 0 = chosen from mem_size */
	unsigned vcpus;
	unsigned prio;			/* lower number runs first; 1 manager, 2 guests by default */
	uint64_t affinity;		/* mask of physical CPUs; 0 = all */
	uint64_t slice_us;
	uint32_t dirty_flags;		/* TM_DIRTY_*; BITMAP|MANUAL by default */
	uint32_t ring_entries;
	struct tm_range mmio[TM_VM_MMIO_WINDOWS];
	unsigned mmio_count;
	bool autostart;
};

struct config {
	struct vm_config vm[CONFIG_MAX_VMS];	/* good ones only */
	unsigned count;
	unsigned skipped;		/* bad VM nodes, each reported */
	bool manager_bad;		/* the manager's was one of them */
};

struct guest_board;

/* What the checker tests a configuration against. */
struct config_machine {
	const struct guest_board *board;	/* boot/guest_fdt.h */
	unsigned cpus;
	uint64_t ram_free;		/* bytes that VMs can have */
	unsigned gpa_bits;
	/* does a module of this name exist? */
	bool (*has_module)(const char *name);
	/* one problem: "path: property: asked X, there is Y" */
	void (*report)(const char *text);
};

/* Parses the blob; bad VMs are reported and skipped. Negative only if nothing can be read. */
int must_check config_parse(const void *dtb, uint64_t size, const struct config_machine *m,
			    struct config *out);

#endif
