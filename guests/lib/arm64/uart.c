// SPDX-License-Identifier: Apache-2.0
//
// The PL011 of the device tree, polled: where there is no CONSOLE_WRITE.

#include <tidemark/arm64.h>
#include <tidemark/guest.h>
#include "percpu.h"

/* PL011 registers (Arm DDI 0183). */
#define UART_DR 0x00u
#define UART_FR 0x18u
#define UART_FR_RXFE 0x10u
#define UART_FR_TXFF 0x20u

static uint32_t uart_read(uint32_t reg)
{
	uint32_t v;

	__asm__ volatile("ldr %w0, [%1]" : "=r"(v) : "r"(tm_boot.uart + reg) : "memory");
	return v;
}

void tm_uart_write(const char *p, size_t len)
{
	if (tm_boot.uart == 0) {
		return;
	}
	for (size_t i = 0; i < len; i++) {
		while ((uart_read(UART_FR) & UART_FR_TXFF) != 0) {
			tm_cpu_relax();
		}
		__asm__ volatile("str %w0, [%1]"
				 : : "r"((uint32_t)(uint8_t)p[i]), "r"(tm_boot.uart + UART_DR)
				 : "memory");
	}
}

size_t tm_uart_read(void *data, size_t len)
{
	size_t n = 0;

	while (tm_boot.uart != 0 && n < len && (uart_read(UART_FR) & UART_FR_RXFE) == 0) {
		((uint8_t *)data)[n++] = (uint8_t)uart_read(UART_DR);
	}
	return n;
}
