// SPDX-License-Identifier: Apache-2.0
/* Contract: the page-table formats by name. An architecture defines its own; host tests link all. */
#ifndef ARCH_FORMAT_H
#define ARCH_FORMAT_H

#include <hyp/pgtable.h>

extern const struct pgtable_format arm64_stage2_format;
extern const struct pgtable_format arm64_s1_format;	/* EL2, one privilege level (E2H = 0) */
extern const struct pgtable_format ept_format;
extern const struct pgtable_format npt_format;
extern const struct pgtable_format x86_s1_format;

#endif
