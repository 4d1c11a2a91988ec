// SPDX-License-Identifier: Apache-2.0
/* The drivers in the image, for the architecture's boot code to choose from. */
#ifndef HYP_DRIVERS_H
#define HYP_DRIVERS_H

#include <hyp/console.h>

extern const struct uart_ops pl011_uart;
extern const struct uart_ops ns16550_uart;

#endif
