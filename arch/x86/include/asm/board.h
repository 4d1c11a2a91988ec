// SPDX-License-Identifier: Apache-2.0
/*
 * The emulated board of a VM besides its local APICs: I/O APIC, two 8259, 8254, PM timer, CMOS clock,
 * 16550. arch/x86/board/ owns every field; calls for the rest of arch/x86 are below.
 *
 * What guests are told (ACPI tables, CPUID): I/O APIC of 24 pins with version 0x20 at its usual
 * place, ISA IRQ 0 = GSI 2 (edge, high), other ISA IRQs = GSIs; SCI IRQ 9, never raised; FADT with
 * PM1a_EVT 0x600 (4), PM1a_CNT 0x604 (2), PM_TMR 0x608 (4, 32 bits), no SMI command (SCI_EN is
 * set), reset register port 0xcf9 value 6; any SLP_EN write turns the VM off. The local APIC's timer
 * counts at the rate of the TSC, before its divider. IRQ_LINE drives GSIs 1, 3, 5..23.
 */
#ifndef ASM_BOARD_H
#define ASM_BOARD_H

#include <abi/x86.h>
#include <hyp/err.h>
#include <hyp/hyptimer.h>
#include <hyp/lock.h>
#include <hyp/types.h>

struct vm;
struct vcpu;

#define BOARD_LAPIC_BASE 0xfee00000ull
#define BOARD_IOAPIC_BASE 0xfec00000ull
#define BOARD_IOAPIC_PINS 24u
#define BOARD_PM_BASE 0x600u		/* PM1a event; control at + 4, PM timer at + 8 */
#define BOARD_COM1 0x3f8u
#define BOARD_COM1_IRQ 4u
#define BOARD_UART_FIFO 16u

struct board_pit {
	struct tm_board_pit ch[3];	/* but `start` */
	/* A channel that counts: arch_time_now() when its count was 0; one that stands still because
	 * its gate is low: what it has counted. */
	uint64_t since[3];
	uint64_t next;			/* the timer's deadline; 0: nobody listens */
	struct hyptimer timer;		/* channel 0's output, while anybody listens */
};

struct board_uart {
	struct spinlock lock;		/* LOCK_VUART */
	uint8_t ier, lcr, mcr, scr, fcr, dll, dlm;
	bool thr_empty_pending;
	uint32_t rx_count;
	uint8_t rx[BOARD_UART_FIFO];
};

struct board {
	struct spinlock lock;		/* LOCK_BOARD: all but the UART and the local APICs */
	uint32_t ioapic_id, ioapic_select;
	uint32_t lines;			/* input levels of the 24 pins */
	uint64_t redir[BOARD_IOAPIC_PINS];
	struct tm_board_pic pic[2];
	bool pic_out;			/* INT of the first 8259; read without the lock */
	struct board_pit pit;
	uint8_t port61, cmos_index;
	uint16_t pm_enable, pm_control;
	uint64_t pm_start;		/* arch_time_now() when the PM timer was at pm_base */
	uint64_t pm_base;
	uint32_t doorbell;		/* atomic: BOUND | vCPU << 8 | vector; 0: none */
	struct board_uart uart;
};

/* One access to an I/O port of 1, 2 or 4 bytes. Ports of nobody read as all-ones. No lock held. */
void board_port(struct vcpu *v, uint16_t port, unsigned size, bool write, uint32_t *val);

/* ---- interrupts towards the vCPU; v is loaded here or belongs to nobody ------------------------ */

/*
 * Vector that could be delivered now (above the processor priority), or -1. ExtINT of the 8259s
 * included. Changes nothing. Asked before every entry: an interrupt for the vCPU that is current on
 * this CPU raises no VCPU_REQ_IRQ.
 */
int board_irq_pending(struct vcpu *v);
/* Takes it: IRR to ISR, or the 8259's acknowledge cycle. The caller injects it. -1: gone meanwhile. */
int board_irq_accept(struct vcpu *v);

/* ---- local APIC registers that are not MMIO ---------------------------------------------------- */

uint64_t lapic_cr8(const struct vcpu *v);
/* Bits 3:0; the caller has refused others. */
void lapic_set_cr8(struct vcpu *v, uint64_t val);
/* IA32_APIC_BASE (0x1b), IA32_TSC_DEADLINE (0x6e0), 0x800..0x8ff. False: #GP. */
bool lapic_msr(struct vcpu *v, uint32_t msr, bool write, uint64_t *val);
/* x2APIC mode is on. */
bool lapic_is_x2apic(const struct vcpu *v);
/* Architectural reset (power-on and, with init, INIT: the APIC id and base stay). v->lock may be
 * held; v runs here or nowhere. */
void lapic_reset(struct vcpu *v, bool init);
void lapic_vcpu_init(struct vcpu *v);
void lapic_vcpu_gone(struct vcpu *v);
/* The guest's TSC was moved: deadlines are computed anew. */
void lapic_tsc_changed(struct vcpu *v);
/* TIMER_STATE: IA32_TSC_DEADLINE whatever the timer's mode; any value. */
uint64_t lapic_tsc_deadline(struct vcpu *v);
void lapic_tsc_deadline_set(struct vcpu *v, uint64_t val);

/* ---- signals to a vCPU other than interrupts: vcpu.c has them -------------------------------------
 * Called by the ICR's emulation, on any CPU, no lock held. NMIs are counted in v->arch.nmi_pending. */

void vcpu_init_signal(struct vcpu *v);
void vcpu_sipi(struct vcpu *v, unsigned vector);

/* ---- life -------------------------------------------------------------------------------------- */

int must_check board_init(struct vm *vm);
/* Power-on state of the board and of the local APICs of all its vCPUs. */
void board_reset(struct vm *vm);
void board_destroy(struct vm *vm);

#endif
