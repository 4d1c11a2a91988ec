// SPDX-License-Identifier: Apache-2.0
/* Contract: time. */
#ifndef ARCH_TIME_H
#define ARCH_TIME_H

#include <hyp/types.h>

uint64_t arch_time_now(void);		/* counter ticks, monotonic, the same on all CPUs */
uint64_t arch_time_freq(void);		/* ticks a second */
/* This CPU's hypervisor timer; ~0 = off. Calls hyptimer_run() and sched_timer() when due. */
void arch_timer_program(uint64_t deadline);

#endif
