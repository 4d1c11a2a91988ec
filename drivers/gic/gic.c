// SPDX-License-Identifier: Apache-2.0
/*
 * The part that GICv2 and GICv3 share, and the choice between them. Set up by the boot CPU before
 * any other CPU runs; afterwards each CPU touches only its own registers, so there is no lock.
 */
#include "gic_ops.h"

#include <asm/io.h>
#include <hyp/err.h>

struct gic_config gic_config;
static const struct gic_ops *ops;

void gic_quiesce(uint64_t base, unsigned first)
{
	uint64_t word = first / 32 * 4;

	io_write32(base + GICD_ICENABLER + word, ~0u);
	io_write32(base + GICD_ICPENDR + word, ~0u);
	io_write32(base + GICD_ICACTIVER + word, ~0u);
	for (unsigned i = 0; i < 32; i += 4) {
		io_write32(base + GICD_IPRIORITYR + first + i, GIC_PRIORITY_WORD);
	}
}

unsigned gic_spi_limit(void)
{
	unsigned lines = ((io_read32(gic_config.dist.base + GICD_TYPER) & 0x1f) + 1) * 32;

	return lines > 1020 ? 1020 : lines;
}

int gic_init(const struct gic_config *config, const char **why)
{
	gic_config = *config;
	ops = config->version == 3 ? &gicv3_ops : &gicv2_ops;
	return ops->init(why);
}

int gic_init_cpu(unsigned cpu, uint64_t hwid, const char **why)
{
	return ops->init_cpu(cpu, hwid, why);
}

unsigned gic_version(void)
{
	return gic_config.version;
}

uint32_t gic_ack(void)
{
	return ops->ack();
}

void gic_eoi(uint32_t iar)
{
	ops->eoi(iar);
}

void gic_deactivate(uint32_t iar)
{
	ops->deactivate(iar);
}

void gic_send_sgi(unsigned cpu, uint32_t sgi)
{
	ops->send_sgi(cpu, sgi);
}

void gic_ppi_enable(uint32_t intid, bool on)
{
	io_write32(ops->private_base() + (on ? GICD_ISENABLER : GICD_ICENABLER), 1u << intid);
	dsb(sy);
}

void gic_ppi_set_active(uint32_t intid, bool active)
{
	io_write32(ops->private_base() + (active ? GICD_ISACTIVER : GICD_ICACTIVER), 1u << intid);
	dsb(sy);
}

void gic_spi_enable(uint32_t intid, bool on)
{
	if (intid >= 32 && intid < gic_spi_limit()) {
		ops->spi_enable(intid, on);
	}
}

volatile uint8_t *gic_gich(void)
{
	return (volatile uint8_t *)gic_config.gich.base;
}

hpa_t gic_gicv(void)
{
	return hpa(gic_config.gicv.base);
}
