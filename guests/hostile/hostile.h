// SPDX-License-Identifier: Apache-2.0
/* An ordinary guest that attacks: parts of guests/hostile. Each returns after `ops` operations. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <stdbool.h>
#include <stdint.h>
#include <tidemark/prng.h>

struct hostile {
	struct tm_prng rng;
	uint64_t ops;			/* of this program so far */
	uint64_t budget;		/* of random operations, a kind */
	uint64_t stride;		/* of the sweep, in pages */
};

/* sweep.c: every stride-th page outside our slots below 4 GiB, and power-of-two edges. */
void attack_memory(struct hostile *h);
void attack_edges(struct hostile *h);
void attack_devices(struct hostile *h);

/* insns.c: undefined and privileged instructions, system registers, SGIs. */
void attack_instructions(struct hostile *h);
void attack_sysregs(struct hostile *h);
void attack_sgis(struct hostile *h);

/* timers.c: compare values that are past, far, or wrap. */
void attack_timers(struct hostile *h);

/* calls.c: hypercalls with guest rights. */
void attack_calls(struct hostile *h);

#endif
