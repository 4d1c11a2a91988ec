// SPDX-License-Identifier: Apache-2.0
/* What gic.c wants of a generation of the controller; its two tables are the only users. */
#ifndef DRIVERS_GIC_GIC_OPS_H
#define DRIVERS_GIC_GIC_OPS_H

#include "gic.h"

struct gic_ops {
	int (*init)(const char **why);
	int (*init_cpu)(unsigned cpu, uint64_t hwid, const char **why);
	uint32_t (*ack)(void);
	void (*eoi)(uint32_t iar);
	void (*deactivate)(uint32_t iar);
	void (*send_sgi)(unsigned cpu, uint32_t sgi);
	void (*spi_enable)(uint32_t intid, bool on);
	/* Base of the 32 private interrupts' registers, laid out as in the distributor. */
	uint64_t (*private_base)(void);
};

extern const struct gic_ops gicv2_ops, gicv3_ops;
extern struct gic_config gic_config;

/* Distributor registers that both generations share (IHI 0048, IHI 0069). */
#define GICD_CTLR 0x000u
#define GICD_TYPER 0x004u
#define GICD_IGROUPR 0x080u
#define GICD_ISENABLER 0x100u
#define GICD_ICENABLER 0x180u
#define GICD_ICPENDR 0x280u
#define GICD_ISACTIVER 0x300u
#define GICD_ICACTIVER 0x380u
#define GICD_IPRIORITYR 0x400u
#define GICD_ITARGETSR 0x800u
#define GICD_ICFGR 0xc00u
#define GICD_SGIR 0xf00u

#define GIC_PRIORITY 0xa0u		/* of everything: nothing preempts */
#define GIC_PRIORITY_WORD 0xa0a0a0a0u

/* Off, inactive, not pending, one priority: interrupts [first, first + 32) of this register file. */
void gic_quiesce(uint64_t base, unsigned first);
unsigned gic_spi_limit(void);		/* INTIDs below this exist */

#endif
