// SPDX-License-Identifier: Apache-2.0
/* The EL2 timer's set-up, beyond <arch/time.h>. */
#ifndef ASM_TIME_H
#define ASM_TIME_H

void time_init(void);
void time_init_cpu(void);

#endif
