// SPDX-License-Identifier: Apache-2.0
/* The console: CONSOLE_WRITE/READ where the hypervisor has them, else the PL011 of the tree. */
#ifndef TIDEMARK_CONSOLE_H
#define TIDEMARK_CONSOLE_H

#include <stddef.h>

/* Writes all of it; safe on any CPU. No CR is added to LF: the hypervisor's console does that. */
void tm_console_write(const void *data, size_t len);
void tm_console_puts(const char *s);
/* printf for any CPU and any context, into a buffer of 256 bytes on the stack. */
void tm_console_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Bytes that are there now, at most len; 0 when there are none. */
size_t tm_console_read(void *data, size_t len);
/* One byte, or -1 when none came in timeout_us (0: do not wait; ~0: wait for ever). */
int tm_console_getc(unsigned timeout_us);

#endif
