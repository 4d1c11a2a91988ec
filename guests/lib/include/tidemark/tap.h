// SPDX-License-Identifier: Apache-2.0
/* Test Anything Protocol on the console. One CPU only. */
#ifndef TIDEMARK_TAP_H
#define TIDEMARK_TAP_H

#include <stdbool.h>

void tap_plan(unsigned n);		/* at the start, or at the end */
bool tap_ok(bool pass, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool tap_eq(unsigned long long got, unsigned long long want, const char *what);
void tap_skip(const char *what, const char *why);
void tap_diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void tap_bail(const char *why);
/* Prints the plan if none was given and "# N passed, M failed"; 0 when nothing failed. */
int tap_done(void);

#endif
