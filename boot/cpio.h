// SPDX-License-Identifier: Apache-2.0
/* The module archive: cpio "newc" (magic 070701 or 070702), looked up by name. Pure. */
#ifndef BOOT_CPIO_H
#define BOOT_CPIO_H

#include <stdint.h>

enum cpio_result { CPIO_FOUND = 0, CPIO_ABSENT = -1, CPIO_BAD = -2 };

/*
 * Finds the regular file `name`. CPIO_BAD: the archive is not one, or is cut off, at *bad_offset.
 * Trusts nothing in it: what it returns lies inside [archive, archive + size).
 */
enum cpio_result cpio_find(const void *archive, uint64_t size, const char *name, const void **data,
			   uint64_t *bytes, uint64_t *bad_offset);

#endif
