// SPDX-License-Identifier: Apache-2.0
/*
 * Who is behind which I/O port. Chips of eight bits get a wider access a byte at a time, as the ISA
 * bus does it; the power management block takes words of its own. A port of nobody, PCI's
 * configuration ports among them, reads as ones and takes what is written. Nothing is locked here
 * but around the chip that is asked.
 */
#include "board_priv.h"

#include <arch/time.h>

#define PORT_KEYBOARD 0x64u
#define KEYBOARD_RESET 0xfeu	/* pulse the reset line */
#define PORT_A 0x92u		/* bit 0 resets, bit 1 is the A20 gate */
#define PORT_RESET 0xcf9u	/* bit 2 resets */
#define PM_EVENT BOARD_PM_BASE
#define PM_ENABLE (BOARD_PM_BASE + 2)
#define PM_CONTROL (BOARD_PM_BASE + 4)
#define PM_TIMER (BOARD_PM_BASE + 8)
#define PM_SCI_EN 0x0001u
#define PM_CONTROL_VALID 0x1c07u
#define PM_SLP_EN 0x2000u
#define PM_ENABLE_VALID 0x0721u

enum chip { CHIP_NONE, CHIP_PIC, CHIP_PIT, CHIP_PORT61, CHIP_CMOS, CHIP_UART, CHIP_RESET };

static enum chip chip_of(uint16_t port)
{
	switch (port) {
	case 0x20:
	case 0x21:
	case 0xa0:
	case 0xa1:
	case 0x4d0:
	case 0x4d1:
		return CHIP_PIC;
	case 0x40:
	case 0x41:
	case 0x42:
	case 0x43:
		return CHIP_PIT;
	case 0x61:
		return CHIP_PORT61;
	case 0x70:
	case 0x71:
		return CHIP_CMOS;
	case PORT_KEYBOARD:
	case PORT_A:
	case PORT_RESET:
		return CHIP_RESET;
	default:
		return (port & 0xfff8u) == BOARD_COM1 ? CHIP_UART : CHIP_NONE;
	}
}

static uint8_t locked_read(struct board *b, enum chip chip, uint16_t port)
{
	uint8_t val;

	spin_lock(&b->lock);
	switch (chip) {
	case CHIP_PIC:
		val = pic_read(b, port);
		break;
	case CHIP_PIT:
		val = pit_read(b, port);
		break;
	case CHIP_PORT61:
		val = pit_port61(b);
		break;
	default:
		val = port & 1 ? cmos_read(b) : 0xff;
		break;
	}
	spin_unlock(&b->lock);
	return val;
}

static void locked_write(struct board *b, enum chip chip, uint16_t port, uint8_t val)
{
	spin_lock(&b->lock);
	switch (chip) {
	case CHIP_PIC:
		pic_write(b, port, val);
		break;
	case CHIP_PIT:
		pit_write(b, port, val);
		break;
	case CHIP_PORT61:
		pit_set_port61(b, val);
		break;
	default:
		/* Bit 7 masks NMIs, of which there are none; the clock is not set. */
		b->cmos_index = port & 1 ? b->cmos_index : val & 0x7f;
		break;
	}
	spin_unlock(&b->lock);
}

static void reset_write(struct vm *vm, uint16_t port, uint8_t val)
{
	if (port == PORT_KEYBOARD ? val == KEYBOARD_RESET : port == PORT_A ? val & 1 : val & 4) {
		vm_shutdown(vm, TM_SHUTDOWN_RESET);
	}
}

static uint8_t byte_read(struct vm *vm, uint16_t port)
{
	enum chip chip = chip_of(port);

	switch (chip) {
	case CHIP_NONE:
		return 0xff;
	case CHIP_RESET:
		return port == PORT_A ? 2 : 0xff;
	case CHIP_UART:
		return uart_read(vm, port & 7);
	default:
		return locked_read(&vm->arch.board, chip, port);
	}
}

static void byte_write(struct vm *vm, uint16_t port, uint8_t val)
{
	enum chip chip = chip_of(port);

	switch (chip) {
	case CHIP_NONE:
		break;
	case CHIP_RESET:
		reset_write(vm, port, val);
		break;
	case CHIP_UART:
		uart_write(vm, port & 7, val);
		break;
	default:
		locked_write(&vm->arch.board, chip, port, val);
		break;
	}
}

/* --- power management (ACPI 6.4, 4.8.3): no event ever happens --- */

static bool is_pm(uint16_t port)
{
	return port >= PM_EVENT && port < PM_TIMER + 4;
}

static uint32_t pm_read(struct board *b, uint16_t port)
{
	uint64_t word;

	spin_lock(&b->lock);
	if (port >= PM_TIMER) {
		word = (uint32_t)pm_ticks(b);
	} else if (port >= PM_CONTROL) {
		word = b->pm_control | PM_SCI_EN;
	} else {
		word = (uint32_t)b->pm_enable << 16;
	}
	spin_unlock(&b->lock);
	return (uint32_t)(word >> 8 * (port & 3));
}

static void pm_write(struct vm *vm, uint16_t port, unsigned size, uint32_t val)
{
	struct board *b = &vm->arch.board;
	bool off = false;

	spin_lock(&b->lock);
	if (port == PM_ENABLE || (port == PM_EVENT && size == 4)) {
		b->pm_enable = (uint16_t)(port == PM_ENABLE ? val : val >> 16) & PM_ENABLE_VALID;
	} else if (port == PM_CONTROL && size >= 2) {
		b->pm_control = (uint16_t)val & PM_CONTROL_VALID;
		off = val & PM_SLP_EN;
	} else if (port == PM_CONTROL + 1 && size == 1) {
		off = val & PM_SLP_EN >> 8;
	}
	spin_unlock(&b->lock);
	if (off) {
		vm_shutdown(vm, TM_SHUTDOWN_OFF);
	}
}

void board_port(struct vcpu *v, uint16_t port, unsigned size, bool write, uint32_t *val)
{
	struct vm *vm = v->vm;
	uint32_t all = size < 4 ? (1u << 8 * size) - 1 : ~0u, data = *val, got = 0;

	if (is_pm(port)) {
		if (write) {
			pm_write(vm, port, size, data & all);
		} else {
			*val = pm_read(&vm->arch.board, port) & all;
		}
		return;
	}
	for (unsigned i = 0; i < size && i < 4; i++) {
		uint16_t p = (uint16_t)(port + i);
		/* Past the last port, and where PM's words begin, there is nobody. What resets is a
		 * register of one byte: Linux writes ones to the four from 0xcf8 on, for a PCI bus. */
		bool nobody = p < port || is_pm(p) || (size > 1 && chip_of(p) == CHIP_RESET);

		if (write && !nobody) {
			byte_write(vm, p, (uint8_t)(data >> 8 * i));
		} else if (!write) {
			got |= (uint32_t)(nobody ? 0xff : byte_read(vm, p)) << 8 * i;
		}
	}
	*val = write ? data : got;
}
