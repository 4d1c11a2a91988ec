// SPDX-License-Identifier: Apache-2.0
/*
 * Physical interrupts: from the interrupt controller to the handler registered for the INTID. The
 * table is written at boot by the boot CPU and constant afterwards; no lock.
 */
#include <arch/cpu.h>
#include <asm/irq.h>
#include <hyp/err.h>
#include <hyp/log.h>

#include <drivers/gic/gic.h>

#define PRIVATE_INTIDS 32u
#define SHARED_HANDLERS 8u

static irq_handler *private_handler[PRIVATE_INTIDS];
static struct {
	uint32_t intid;
	irq_handler *fn;
} shared[SHARED_HANDLERS];
static unsigned shared_count;

void irq_register(uint32_t intid, irq_handler *fn)
{
	if (intid < PRIVATE_INTIDS) {
		private_handler[intid] = fn;
		return;
	}
	if (shared_count == SHARED_HANDLERS) {
		panic("irq: no room for interrupt %u", intid);
	}
	shared[shared_count].intid = intid;
	shared[shared_count].fn = fn;
	shared_count++;
}

static irq_handler *handler_of(uint32_t intid)
{
	if (intid < PRIVATE_INTIDS) {
		return private_handler[intid];
	}
	for (unsigned i = 0; i < shared_count; i++) {
		if (shared[i].intid == intid) {
			return shared[i].fn;
		}
	}
	return NULL;
}

void arch_irq_handle(void)
{
	for (;;) {
		uint32_t iar = gic_ack();
		uint32_t intid = iar & 0x3ff;
		irq_handler *fn;

		if (intid >= 1020) {
			return;
		}
		gic_eoi(iar);
		fn = handler_of(intid);
		if (!fn && intid != IRQ_SGI_KICK) {
			log_warn_limited("irq: unexpected interrupt %u", intid);
		}
		if (!fn || fn(intid) == IRQ_DEACTIVATE) {
			gic_deactivate(iar);
		}
	}
}
