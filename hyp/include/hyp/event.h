// SPDX-License-Identifier: Apache-2.0
/* The manager's event page and doorbell (MAP_EVENTS). */
#ifndef HYP_EVENT_H
#define HYP_EVENT_H

#include <hyp/types.h>

struct vcpu;
struct tm_event_page;

/* fetch-or with release; rings the doorbell on a 0 -> 1 transition. No event page: nothing. */
void event_set(struct vcpu *v);
/* The manager died: no page to write to until the next MAP_EVENTS. */
void event_reset(void);
/* MAP_EVENTS: the page to map (NULL: no memory), and from then on events are delivered. A new
 * attachment sets the bits of all stopped vCPUs and of all rings past their limit. */
struct tm_event_page *event_page(void);
void event_attach(void);

#endif
