// SPDX-License-Identifier: Apache-2.0
/* From a flattened device tree to boot_info; boot time only, boot CPU. */
#ifndef BOOT_FDT_H
#define BOOT_FDT_H

#include <hyp/types.h>

/* The properties that anybody at boot looks at. */
enum fdt_prop_id {
	FDT_ADDRESS_CELLS,
	FDT_SIZE_CELLS,
	FDT_BOOTARGS,
	FDT_COMPATIBLE,
	FDT_DEVICE_TYPE,
	FDT_INITRD_END,
	FDT_INITRD_START,
	FDT_INTERRUPTS,
	FDT_METHOD,
	FDT_NO_MAP,
	FDT_REDIST_REGIONS,
	FDT_REG,
	FDT_RNG_SEED,
	FDT_STATUS,
	FDT_STDOUT_PATH,
	FDT_PROP_COUNT
};

/* A node on the one walk over the tree, with the properties of the list above that it has. */
struct fdt_node {
	const void *fdt;
	int offset;
	int depth;			/* 0: the root */
	const char *name;
	unsigned address_cells, size_cells;	/* of its parent: they shape its reg */
	const uint8_t *prop[FDT_PROP_COUNT];	/* NULL: absent */
	unsigned len[FDT_PROP_COUNT];
};

/* Fills boot_info but for image and UART, and calls machine_node() for each enabled device. */
void fdt_parse(const void *fdt);
/* The architecture's share: interrupt controller, timer, firmware calls, UART. */
void machine_node(const struct fdt_node *n);
/* After the walk: /chosen/stdout-path, NULL when absent; the seed of /chosen, 0 when absent. */
void machine_chosen(const void *fdt, const char *stdout_path, uint64_t seed);

bool fdt_is_compatible(const struct fdt_node *n, const char *what);
/* Entry `index` of reg; false when there is none. */
bool fdt_node_reg(const struct fdt_node *n, unsigned index, uint64_t *base, uint64_t *size);
/* 32-bit cell `index` of a property. */
bool fdt_node_cell(const struct fdt_node *n, enum fdt_prop_id id, unsigned index, uint32_t *value);

#endif
