// SPDX-License-Identifier: Apache-2.0
/*
 * GICv2 (IHI 0048), at most 8 CPUs, the non-secure view or the only one: everything in one group.
 * Locking: see gic.c. An acknowledged SGI's value carries the sender in bits 12:10, which EOI and
 * deactivation must repeat.
 */
#include "gic_ops.h"

#include <asm/io.h>
#include <hyp/err.h>

#define GICC_CTLR 0x00u
#define GICC_PMR 0x04u
#define GICC_BPR 0x08u
#define GICC_IAR 0x0cu
#define GICC_EOIR 0x10u
#define GICC_DIR 0x1000u
#define GICC_CTLR_ENABLE 1u
#define GICC_CTLR_EOIMODE (1u << 9)	/* in the view that we have, secure or not */
#define V2_CPUS 8u

static uint8_t cpu_mask[V2_CPUS];	/* CPU number -> its bit in the distributor */
static uint8_t boot_mask;

static int v2_init(const char **why)
{
	uint64_t d = gic_config.dist.base;
	unsigned limit = gic_spi_limit();

	if (!gic_config.cpu.base || !gic_config.gich.base || !gic_config.gicv.base) {
		*why = "GICv2 without virtualization (GICH, GICV)";
		return -TM_EIO;
	}
	io_write32(d + GICD_CTLR, 0);
	boot_mask = io_read8(d + GICD_ITARGETSR);
	for (unsigned i = 32; i < limit; i += 32) {
		gic_quiesce(d, i);
	}
	for (unsigned i = 32; i < limit; i++) {
		io_write8(d + GICD_ITARGETSR + i, boot_mask);
	}
	io_write32(d + GICD_CTLR, 1);
	return 0;
}

static int v2_init_cpu(unsigned cpu, uint64_t hwid, const char **why)
{
	uint64_t d = gic_config.dist.base;
	uint64_t c = gic_config.cpu.base;

	(void)hwid;
	if (cpu >= V2_CPUS) {
		*why = "GICv2 has 8 CPUs";
		return -TM_ENOENT;
	}
	/* The banked target registers of interrupts 0..7 read as this CPU's own bit. */
	cpu_mask[cpu] = io_read8(d + GICD_ITARGETSR);
	gic_quiesce(d, 0);
	io_write32(d + GICD_ISENABLER, 0xffff);	/* SGIs */
	io_write32(c + GICC_PMR, 0xff);
	io_write32(c + GICC_BPR, 0);
	io_write32(c + GICC_CTLR, GICC_CTLR_ENABLE | GICC_CTLR_EOIMODE);
	dsb(sy);
	return 0;
}

static uint32_t v2_ack(void)
{
	uint32_t iar = io_read32(gic_config.cpu.base + GICC_IAR);

	dsb(sy);
	return iar;
}

static void v2_eoi(uint32_t iar)
{
	io_write32(gic_config.cpu.base + GICC_EOIR, iar);
}

static void v2_deactivate(uint32_t iar)
{
	io_write32(gic_config.cpu.base + GICC_DIR, iar);
}

static void v2_send_sgi(unsigned cpu, uint32_t sgi)
{
	dsb(ishst);
	io_write32(gic_config.dist.base + GICD_SGIR, (uint32_t)cpu_mask[cpu & 7] << 16 | sgi);
}

static void v2_spi_enable(uint32_t intid, bool on)
{
	uint64_t d = gic_config.dist.base;

	io_write8(d + GICD_ITARGETSR + intid, boot_mask);
	io_write32(d + (on ? GICD_ISENABLER : GICD_ICENABLER) + intid / 32 * 4, 1u << intid % 32);
}

/* Banked: every CPU sees its own at the same place. */
static uint64_t v2_private_base(void)
{
	return gic_config.dist.base;
}

const struct gic_ops gicv2_ops = {
	.init = v2_init,
	.init_cpu = v2_init_cpu,
	.ack = v2_ack,
	.eoi = v2_eoi,
	.deactivate = v2_deactivate,
	.send_sgi = v2_send_sgi,
	.spi_enable = v2_spi_enable,
	.private_base = v2_private_base,
};
