// SPDX-License-Identifier: Apache-2.0
/*
 * The physical interrupt controller, GICv2 or GICv3, as the rest of arm64 sees it. EOImode = 1:
 * gic_eoi() only drops the priority; whoever handled the interrupt deactivates it, or leaves it
 * active for a guest's list register to do so. Acts on this CPU unless it says otherwise.
 */
#ifndef DRIVERS_GIC_GIC_H
#define DRIVERS_GIC_GIC_H

#include <hyp/types.h>

#define GIC_PPI_MAINTENANCE 25u
#define GIC_PPI_HYP_TIMER 26u
#define GIC_PPI_VIRT_TIMER 27u
#define GIC_SPURIOUS 1023u
#define GIC_MAX_CPUS 64u
#define GIC_MAX_REGIONS 4u

struct gic_region {
	uint64_t base;
	uint64_t size;
};

/* Where it is; all regions mapped by the caller. */
struct gic_config {
	unsigned version;			/* 2 or 3 */
	struct gic_region dist;
	struct gic_region redist[GIC_MAX_REGIONS];	/* GICv3 */
	unsigned redist_count;
	struct gic_region cpu, gich, gicv;	/* GICv2 */
};

/* Distributor: all off, all SPIs to the boot CPU. 0, or a negative error with *why set. */
int must_check gic_init(const struct gic_config *config, const char **why);
/* The CPU interface (and redistributor) of this CPU, number `cpu`, whose affinity is hwid. */
int must_check gic_init_cpu(unsigned cpu, uint64_t hwid, const char **why);

/* 2 or 3. */
unsigned gic_version(void);
/* The acknowledge register's value; its INTID in bits 9:0 is GIC_SPURIOUS when nothing is there. */
uint32_t gic_ack(void);
void gic_eoi(uint32_t iar);
void gic_deactivate(uint32_t iar);
void gic_ppi_enable(uint32_t intid, bool on);
void gic_ppi_set_active(uint32_t intid, bool active);
/* A level-sensitive shared interrupt, to the boot CPU. */
void gic_spi_enable(uint32_t intid, bool on);
/* To the CPU of that number; memory written before is visible to its handler. */
void gic_send_sgi(unsigned cpu, uint32_t sgi);

/* GICv2 only. */
volatile uint8_t *gic_gich(void);	/* the virtual interface control registers, mapped */
hpa_t gic_gicv(void);			/* the virtual CPU interface for guests: 8 KiB */

#endif
