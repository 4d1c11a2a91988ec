// SPDX-License-Identifier: Apache-2.0
/* What guests/counter shows to the program that watches it, in a slot of its own. */
#ifndef TIDEMARK_COUNTER_CELL_H
#define TIDEMARK_COUNTER_CELL_H

#include <stdint.h>

enum counter_state { COUNTER_STARTS = 0, COUNTER_COUNTS = 1, COUNTER_IDLE = 2 };

struct counter_cell {
	uint32_t state;		/* COUNTER_* */
	uint32_t quit;		/* set by the watcher */
	uint64_t count;		/* steps */
	uint64_t printed;	/* numbers printed */
};

#endif
