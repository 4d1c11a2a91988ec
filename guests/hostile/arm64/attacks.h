// SPDX-License-Identifier: Apache-2.0
/* arm64's own kinds of attack. */
#ifndef HOSTILE_ATTACKS_H
#define HOSTILE_ATTACKS_H

#include "../hostile.h"

/* insns.c: undefined and privileged instructions, system registers, SGIs. */
void attack_instructions(struct hostile *h);
void attack_sysregs(struct hostile *h);
void attack_sgis(struct hostile *h);

/* timers.c: compare values that are past, far, or wrap. */
void attack_timers(struct hostile *h);

/* devices.c: what every guest has, byte by byte. */
void attack_devices(struct hostile *h);

#endif
