// SPDX-License-Identifier: Apache-2.0
//
// The 16550 at 0x3f8, polled: where there is no CONSOLE_WRITE.

#include <tidemark/guest.h>
#include <tidemark/x86.h>
#include "percpu.h"

#define COM1 0x3f8u
#define LSR 5u
#define LSR_DATA 0x01u
#define LSR_EMPTY 0x20u
#define ABSENT 0xffu

void tm_uart_write(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t lsr = tm_in8(COM1 + LSR);

		while ((lsr & LSR_EMPTY) == 0) {
			tm_cpu_relax();
			lsr = tm_in8(COM1 + LSR);
		}
		if (lsr == ABSENT) {
			return;
		}
		tm_out8(COM1, (uint8_t)p[i]);
	}
}

size_t tm_uart_read(void *data, size_t len)
{
	size_t n = 0;

	while (n < len) {
		uint8_t lsr = tm_in8(COM1 + LSR);

		if (lsr == ABSENT || (lsr & LSR_DATA) == 0) {
			break;
		}
		((uint8_t *)data)[n++] = tm_in8(COM1);
	}
	return n;
}
