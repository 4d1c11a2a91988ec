// SPDX-License-Identifier: Apache-2.0
/* The local APIC timer's set-up, beyond <arch/time.h>. */
#ifndef ASM_TIME_H
#define ASM_TIME_H

#include <hyp/types.h>

/* Boot CPU: measures the TSC, and the timer where it does not count TSC ticks. */
void time_init(void);
void time_init_cpu(void);
/* Waits; after time_init(). */
void time_delay_us(uint64_t us);

#endif
