// SPDX-License-Identifier: Apache-2.0
/* The manager's event page and doorbell (MAP_EVENTS). */
#ifndef HYP_EVENT_H
#define HYP_EVENT_H

#include <hyp/types.h>

struct vcpu;

/* fetch-or with release; rings the doorbell on a 0 -> 1 transition. No event page: nothing. */
void event_set(struct vcpu *v);
void event_reset(void);

#endif
