// SPDX-License-Identifier: Apache-2.0
/* VMs of the boot configuration: static ones, and the manager's first start. Boot CPU only. */
#ifndef HYP_BOOTVMS_H
#define HYP_BOOTVMS_H

#include <hyp/config.h>
#include <hyp/err.h>

struct vcpu;

/* manager.c */
int must_check manager_create(const struct vm_config *cfg);
int must_check manager_start(void);
void manager_reap(void);
unsigned manager_restarts(void);

/* Priority, affinity and slice of a configured vCPU. */
void vcpu_configure(struct vcpu *v, const struct vm_config *cfg);

#endif
