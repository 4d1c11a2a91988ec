// SPDX-License-Identifier: Apache-2.0
/*
 * The arm64 half of a VM: shared interrupts, console UART, the offset of its counter. The vgic lock
 * guards vgic_* here and struct vgic_cpu of all vCPUs; the UART has its own.
 */
#ifndef ASM_VM_H
#define ASM_VM_H

#include <asm/vcpu.h>
#include <hyp/lock.h>
#include <hyp/types.h>

#define VUART_FIFO 16u

struct vuart {
	struct spinlock lock;	/* LOCK_VUART */
	uint32_t cr, imsc, ris, lcr_h, ibrd, fbrd, ifls, ilpr, dmacr;
	uint32_t rx_count;
	uint8_t rx[VUART_FIFO];
	bool line;		/* what the vgic was told */
};

struct arch_vm {
	struct spinlock vgic_lock;
	uint32_t gicd_ctlr;
	uint8_t gic_version;
	struct vgic_irq spi[VGIC_IRQS - VGIC_PRIVATE];
	struct vuart uart;
	uint64_t cntvoff;
	uint8_t last_ran[64];	/* by physical CPU: id + 1 of our vCPU that ran there last */
};

#endif
