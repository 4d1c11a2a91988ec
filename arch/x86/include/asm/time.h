// SPDX-License-Identifier: Apache-2.0
/* The local APIC timer's set-up, beyond <arch/time.h>. */
#ifndef ASM_TIME_H
#define ASM_TIME_H

#include <hyp/types.h>

/* Boot CPU, before anything is printed: measures the TSC. */
void time_init(void);
/* Boot CPU, its local APIC being on: measures the timer where it does not count TSC ticks. */
void time_init_timer(void);
void time_init_cpu(void);
/* Waits; after time_init(). */
void time_delay_us(uint64_t us);

#endif
