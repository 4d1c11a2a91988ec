// SPDX-License-Identifier: Apache-2.0
/* From a flattened device tree to boot_info; boot time only, boot CPU. */
#ifndef BOOT_FDT_H
#define BOOT_FDT_H

#include <hyp/types.h>

/* A node on the one walk over the tree. */
struct fdt_node {
	const void *fdt;
	int offset;
	int depth;
	unsigned address_cells, size_cells;	/* of its parent: they shape its reg */
	bool in_reserved_memory, in_cpus;
};

/* Fills boot_info but for image and UART, and calls machine_node() for each enabled node. */
void fdt_parse(const void *fdt);
/* The architecture's share: interrupt controller, timer, firmware calls, UART. */
void machine_node(const struct fdt_node *n, const char *compatible, int compatible_len);

bool fdt_is_compatible(const char *list, int len, const char *what);
/* Entry `index` of reg; false when there is none. */
bool fdt_node_reg(const struct fdt_node *n, unsigned index, uint64_t *base, uint64_t *size);
/* 32-bit cell `index` of a property. */
bool fdt_node_cell(const struct fdt_node *n, const char *name, unsigned index, uint32_t *value);
/* The node that /chosen/stdout-path names, or a negative number. */
int fdt_stdout(const void *fdt);

#endif
