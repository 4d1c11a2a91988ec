// SPDX-License-Identifier: Apache-2.0
/* One vCPU's writer: chooses pages and kinds by seed, keeps the ledger. Private to guests/dirty. */
#ifndef GUESTS_DIRTY_WRITER_H
#define GUESTS_DIRTY_WRITER_H

#include <stdbool.h>
#include <stdint.h>
#include <tidemark/dirty_protocol.h>
#include <tidemark/prng.h>

struct writer {
	uint32_t vcpu;
	uint32_t vcpus;			/* writers that share the pages */
	struct dirty_control *control;
	struct dirty_ledger *ledger;
	uint64_t seq;
	uint64_t head;
	/* of the round in progress, copied once from the control page */
	struct tm_prng rng;
	uint32_t n_slots;
	uint32_t kind_mask;
	struct dirty_slot slots[DIRTY_SLOTS];
	uint64_t total_pages;
	uint32_t round;
	uint32_t locality;
	uint64_t run_page;		/* the page that a run of writes stays on */
	uint32_t run_left;
};

void writer_init(struct writer *w, struct dirty_control *control, uint32_t vcpu, uint32_t vcpus);
/* Takes the round's fields; false: they make no sense. */
bool writer_begin(struct writer *w, uint64_t round);
void writer_step(struct writer *w);

#endif
