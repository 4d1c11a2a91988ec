// SPDX-License-Identifier: Apache-2.0
/* Panic output, for panic.c and the architecture's dump. panic() itself is in err.h. */
#ifndef HYP_PANIC_H
#define HYP_PANIC_H

#include <hyp/types.h>

/* Returns on the first CPU to panic only; the others stop here. */
void panic_begin(void);
/* After panic_begin(): the report, then the end. */
void panic_report(const char *text) noreturn_fn;
/* Straight to the UART. */
void panic_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
