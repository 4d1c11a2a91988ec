// SPDX-License-Identifier: Apache-2.0
/*
 * Soft timers of a physical CPU: a small sorted list, one hardware deadline. Armed and fired on the
 * same CPU, cancelled from any; a callback may only wake or pend (it can run just after a cancel).
 */
#ifndef HYP_HYPTIMER_H
#define HYP_HYPTIMER_H

#include <hyp/types.h>

struct hyptimer {
	uint64_t deadline;		/* counter ticks */
	void (*fn)(struct hyptimer *t);
	struct hyptimer *next;
	uint16_t cpu;
	bool armed;
	bool arming;			/* some CPU is inside hyptimer_arm() */
};

void hyptimer_arm(struct hyptimer *t, uint64_t deadline);
void hyptimer_cancel(struct hyptimer *t);
/* The same, and no callback of it is under way on return: its memory may be freed. Not from one. */
void hyptimer_cancel_wait(struct hyptimer *t);
/* From the timer interrupt: runs what is due, programs the next deadline. */
void hyptimer_run(void);
/* Programs this CPU's hardware timer for the earlier of its first soft timer and its slice end. */
void hyptimer_program(void);

#endif
