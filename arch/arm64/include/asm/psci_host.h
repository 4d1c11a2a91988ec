// SPDX-License-Identifier: Apache-2.0
/* The firmware's PSCI. */
#ifndef ASM_PSCI_HOST_H
#define ASM_PSCI_HOST_H

#include <hyp/types.h>

/* 0, or PSCI's negative error. */
int64_t psci_host_cpu_on(uint64_t mpidr, uint64_t entry, uint64_t context);

#endif
