// SPDX-License-Identifier: Apache-2.0
/* Look-up in a "newc" cpio archive that lies in memory. The archive may be hostile. */
#ifndef TIDEMARK_CPIO_H
#define TIDEMARK_CPIO_H

#include <stdint.h>
#include <stddef.h>

struct tm_cpio_file {
	const char *name;	/* NUL-terminated, inside the archive */
	const void *data;
	uint64_t size;
	uint32_t mode;
};

/*
 * The file at *pos (start with 0), which moves on. 1: found; 0: the trailer or the end;
 * -TM_EINVAL: damaged.
 */
int tm_cpio_next(const void *archive, uint64_t size, uint64_t *pos, struct tm_cpio_file *file);
/* By name, a leading "./" or "/" ignored. 0, -TM_ENOENT or -TM_EINVAL. */
int tm_cpio_find(const void *archive, uint64_t size, const char *name, struct tm_cpio_file *file);

#endif
