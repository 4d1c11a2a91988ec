// SPDX-License-Identifier: Apache-2.0
/*
 * PL011 UART (Arm DDI 0183). Firmware has set speed and line; only the interrupt mask is ours.
 * console.c serialises all calls but emergency output.
 */
#include <asm/io.h>
#include <hyp/console.h>
#include <hyp/drivers.h>

#define UARTDR 0x00u
#define UARTFR 0x18u
#define UARTFR_RXFE (1u << 4)
#define UARTFR_TXFF (1u << 5)
#define UARTLCR_H 0x2cu
#define UARTLCR_FEN (1u << 4)
#define UARTLCR_8BIT (3u << 5)
#define UARTCR 0x30u
#define UARTCR_ON 0x301u		/* UARTEN, TXE, RXE */
#define UARTIMSC 0x38u
#define UARTICR 0x44u
#define UART_RX_INTERRUPTS ((1u << 4) | (1u << 6))	/* receive, receive timeout */

static uint64_t base;

static void pl011_init(uint64_t at)
{
	base = at;
	io_write32(base + UARTIMSC, 0);
	io_write32(base + UARTICR, 0x7ff);
	if ((io_read32(base + UARTCR) & UARTCR_ON) != UARTCR_ON) {
		io_write32(base + UARTLCR_H, UARTLCR_FEN | UARTLCR_8BIT);
		io_write32(base + UARTCR, UARTCR_ON);
	}
}

static void pl011_putc(char c)
{
	while (io_read32(base + UARTFR) & UARTFR_TXFF) {
	}
	io_write32(base + UARTDR, (uint8_t)c);
}

static int pl011_getc(void)
{
	if (io_read32(base + UARTFR) & UARTFR_RXFE) {
		return -1;
	}
	return (int)(io_read32(base + UARTDR) & 0xff);
}

static void pl011_irq_enable(void)
{
	io_write32(base + UARTIMSC, UART_RX_INTERRUPTS);
}

const struct uart_ops pl011_uart = {
	.name = "PL011",
	.init = pl011_init,
	.putc = pl011_putc,
	.getc = pl011_getc,
	.irq_enable = pl011_irq_enable,
};
