// SPDX-License-Identifier: Apache-2.0
/*
 * 16550 UART at an I/O port (National Semiconductor PC16550D). 115200 8N1; its clock is that of a PC.
 * console.c serialises all calls but emergency output.
 */
#include <asm/io.h>
#include <hyp/console.h>
#include <hyp/drivers.h>

#define RBR 0u		/* receive; transmit when written; divisor with DLAB */
#define IER 1u
#define FCR 2u
#define LCR 3u
#define MCR 4u
#define LSR 5u

#define IER_RECEIVE 0x01u
#define FCR_ON 0xc7u		/* FIFOs on and empty, interrupt at 14 bytes or after a pause */
#define LCR_8N1 0x03u
#define LCR_DLAB 0x80u
#define MCR_ON 0x0bu		/* DTR, RTS, OUT2: the gate of a PC's interrupt line */
#define LSR_DATA 0x01u
#define LSR_THR_EMPTY 0x20u
#define DIVISOR_115200 1u
/* Nobody there, or flow control that never ends: a character is lost, not the machine. */
#define SEND_WAIT 1000000u

static uint16_t base;

static void ns16550_init(uint64_t at)
{
	base = (uint16_t)at;
	port_out8(base + IER, 0);
	port_out8(base + LCR, LCR_DLAB);
	port_out8(base + RBR, DIVISOR_115200);
	port_out8(base + IER, 0);
	port_out8(base + LCR, LCR_8N1);
	port_out8(base + FCR, FCR_ON);
	port_out8(base + MCR, MCR_ON);
}

static void ns16550_putc(char c)
{
	for (unsigned i = 0; i < SEND_WAIT && !(port_in8(base + LSR) & LSR_THR_EMPTY); i++) {
		__asm__ volatile("pause");
	}
	port_out8(base + RBR, (uint8_t)c);
}

static int ns16550_getc(void)
{
	uint8_t lsr = port_in8(base + LSR);

	/* All ones: no UART. */
	if (!(lsr & LSR_DATA) || lsr == 0xff) {
		return -1;
	}
	return port_in8(base + RBR);
}

static void ns16550_irq_enable(void)
{
	port_out8(base + IER, IER_RECEIVE);
}

const struct uart_ops ns16550_uart = {
	.name = "16550",
	.init = ns16550_init,
	.putc = ns16550_putc,
	.getc = ns16550_getc,
	.irq_enable = ns16550_irq_enable,
};
