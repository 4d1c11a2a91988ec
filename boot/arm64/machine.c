// SPDX-License-Identifier: Apache-2.0
/* The arm64 half of the device tree: GIC, timer, PSCI, UART. Boot CPU, boot time. */
#include <asm/machine.h>
#include <boot/arm64/fdt.h>
#include <hyp/boot_info.h>
#include <hyp/string.h>

#include <libfdt.h>

#define INTERRUPT_PPI 1u	/* first cell of a GIC interrupt specifier */
#define TIMER_VIRT 2u		/* position in /timer interrupts */
#define TIMER_HYP 3u
#define CELLS 3u

#define UARTS 4u

struct machine machine;

/* All of them, until /chosen has been seen. */
static struct {
	int offset;
	hpa_t base;
	uint32_t irq;
} uart[UARTS];
static unsigned uart_count;

/* Specifier number `index` of this node; 0 when absent. */
static uint32_t intid(const struct fdt_node *n, unsigned index)
{
	uint32_t kind, number;

	if (!fdt_node_cell(n, FDT_INTERRUPTS, CELLS * index, &kind) ||
	    !fdt_node_cell(n, FDT_INTERRUPTS, CELLS * index + 1, &number)) {
		return 0;
	}
	return number + (kind == INTERRUPT_PPI ? 16 : 32);
}

static void region(const struct fdt_node *n, unsigned index, struct mem_range *r)
{
	uint64_t base, size;

	if (fdt_node_reg(n, index, &base, &size)) {
		*r = (struct mem_range){hpa(base), size};
	}
}

static void gic_node(const struct fdt_node *n, unsigned version)
{
	uint32_t regions = 1;

	if (machine.gic_version) {
		return;
	}
	machine.gic_version = version;
	machine.gic_maintenance = intid(n, 0);
	region(n, 0, &machine.gicd);
	if (version == 3) {
		(void)fdt_node_cell(n, FDT_REDIST_REGIONS, 0, &regions);
		machine.gicr_count = MIN(regions, MACHINE_GICR_MAX);
		for (unsigned i = 0; i < machine.gicr_count; i++) {
			region(n, 1 + i, &machine.gicr[i]);
		}
	} else {
		region(n, 1, &machine.gicc);
		region(n, 2, &machine.gich);
		region(n, 3, &machine.gicv);
	}
}

static void uart_node(const struct fdt_node *n)
{
	struct mem_range r = {.size = 0};

	region(n, 0, &r);
	if (r.size && uart_count < UARTS) {
		uart[uart_count].offset = n->offset;
		uart[uart_count].base = r.base;
		uart[uart_count].irq = intid(n, 0);
		uart_count++;
	}
}

void machine_node(const struct fdt_node *n)
{
	if (fdt_is_compatible(n, "arm,pl011")) {
		uart_node(n);
	} else if (fdt_is_compatible(n, "arm,gic-v3")) {
		gic_node(n, 3);
	} else if (fdt_is_compatible(n, "arm,gic-400") ||
		   fdt_is_compatible(n, "arm,cortex-a15-gic")) {
		gic_node(n, 2);
	} else if (fdt_is_compatible(n, "arm,armv8-timer")) {
		machine.timer_virt = intid(n, TIMER_VIRT);
		machine.timer_hyp = intid(n, TIMER_HYP);
	} else if (fdt_is_compatible(n, "arm,psci-0.2") || fdt_is_compatible(n, "arm,psci-1.0")) {
		machine.psci = n->len[FDT_METHOD] == 4 &&
			       n->prop[FDT_METHOD][0] == 's';	/* "smc", not "hvc" */
	}
}

/* The UART that stdout-path names, else the first one. */
void machine_chosen(const void *fdt, const char *stdout_path, uint64_t seed)
{
	unsigned pick = 0;

	machine.rng_seed = seed;
	if (uart_count > 1 && stdout_path) {
		const char *end = strchr(stdout_path, ':');
		size_t len = end ? (size_t)(end - stdout_path) : strlen(stdout_path);
		int offset = fdt_path_offset_namelen(fdt, stdout_path, (int)len);

		for (unsigned i = 0; i < uart_count; i++) {
			pick = uart[i].offset == offset ? i : pick;
		}
	}
	if (uart_count) {
		boot_info.uart_base = uart[pick].base;
		boot_info.uart_irq = uart[pick].irq;
		boot_info.uart_kind = "PL011";
	}
}
