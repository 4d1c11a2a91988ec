// SPDX-License-Identifier: Apache-2.0
//
// What libfdt's headers and archive want of <stdlib.h>; the body is in boot/.

#ifndef BOOT_STDLIB_H
#define BOOT_STDLIB_H

#include <stddef.h>

unsigned long strtoul(const char *text, char **end, int base);

#endif
