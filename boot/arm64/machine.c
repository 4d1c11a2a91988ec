// SPDX-License-Identifier: Apache-2.0
/* The arm64 half of the device tree: GIC, timer, PSCI, UART. Boot CPU, boot time. */
#include <asm/machine.h>
#include <boot/fdt.h>
#include <hyp/boot_info.h>

#include <libfdt.h>

#define INTERRUPT_PPI 1u	/* first cell of a GIC interrupt specifier */
#define TIMER_VIRT 2u		/* position in /timer interrupts */
#define TIMER_HYP 3u
#define CELLS 3u

struct machine machine;

/* Specifier number `index` of this node; 0 when absent. */
static uint32_t intid(const struct fdt_node *n, unsigned index)
{
	uint32_t kind, number;

	if (!fdt_node_cell(n, "interrupts", CELLS * index, &kind) ||
	    !fdt_node_cell(n, "interrupts", CELLS * index + 1, &number)) {
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
		fdt_node_cell(n, "#redistributor-regions", 0, &regions);
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
	uint64_t base, size;
	static int chosen = -FDT_ERR_NOTFOUND;

	if (boot_info.uart_kind) {
		/* The first one is used, unless another one is named. */
		if (chosen == -FDT_ERR_NOTFOUND) {
			chosen = fdt_stdout(n->fdt);
		}
		if (chosen != n->offset) {
			return;
		}
	}
	if (fdt_node_reg(n, 0, &base, &size)) {
		boot_info.uart_base = hpa(base);
		boot_info.uart_irq = intid(n, 0);
		boot_info.uart_kind = "PL011";
	}
}

void machine_node(const struct fdt_node *n, const char *compatible, int len)
{
	const char *method;

	if (fdt_is_compatible(compatible, len, "arm,pl011")) {
		uart_node(n);
	} else if (fdt_is_compatible(compatible, len, "arm,gic-v3")) {
		gic_node(n, 3);
	} else if (fdt_is_compatible(compatible, len, "arm,gic-400") ||
		   fdt_is_compatible(compatible, len, "arm,cortex-a15-gic")) {
		gic_node(n, 2);
	} else if (fdt_is_compatible(compatible, len, "arm,armv8-timer")) {
		machine.timer_virt = intid(n, TIMER_VIRT);
		machine.timer_hyp = intid(n, TIMER_HYP);
	} else if (fdt_is_compatible(compatible, len, "arm,psci-0.2") ||
		   fdt_is_compatible(compatible, len, "arm,psci-1.0")) {
		method = fdt_getprop(n->fdt, n->offset, "method", NULL);
		machine.psci = method && method[0] == 's';
	}
}

void machine_seed(const void *fdt)
{
	int len;
	int chosen = fdt_path_offset(fdt, "/chosen");
	const uint8_t *p = chosen < 0 ? NULL : fdt_getprop(fdt, chosen, "rng-seed", &len);

	for (int i = 0; p && i < len; i++) {
		machine.rng_seed = machine.rng_seed * 0x100000001b3 + p[i];
	}
}
