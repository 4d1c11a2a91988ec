// SPDX-License-Identifier: Apache-2.0
/* Names of the hypervisor's own functions, for backtraces. */
#ifndef HYP_SYMTAB_H
#define HYP_SYMTAB_H

#include <hyp/types.h>

/*
 * The function at this offset from the start of the image: its name into buf (cut to fit, always
 * terminated), its own offset into *start. False, and nothing written, when there is none.
 */
bool symtab_lookup(uint64_t offset, char *buf, size_t len, uint64_t *start);

#endif
