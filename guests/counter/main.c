// SPDX-License-Identifier: Apache-2.0
//
// The neighbour of the hostile programs: prints increasing numbers on time and counts in memory, or
// sits idle. bootargs: cell=<gpa> of a struct counter_cell in a slot of its own; period=<us>
// between two prints (50000); idle: WFI for ever, nothing changes.

#include <stdio.h>
#include <tidemark/arch.h>
#include <tidemark/counter_cell.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>

static struct counter_cell own;

static void idle(struct counter_cell *cell)
{
	printf("counter: idle\n");
	__atomic_store_n(&cell->state, COUNTER_IDLE, __ATOMIC_RELEASE);
	tm_irq_mask();
	for (;;) {
		tm_wfi();
	}
}

/* Both numbers are re-read before each step: memory that somebody else changed ends the program. */
int main(void)
{
	uint64_t gpa = tm_bootarg_u64("cell", 0);
	uint64_t period = tm_us_to_ticks(tm_bootarg_u64("period", 50000));
	struct counter_cell *cell = gpa != 0 ? (struct counter_cell *)(uintptr_t)gpa : &own;
	uint64_t count = 0;
	uint64_t printed = 0;
	uint64_t next;
	char text[8];

	if (tm_bootarg("idle", text, sizeof(text))) {
		idle(cell);
	}
	next = tm_timer_now() + period;
	__atomic_store_n(&cell->state, COUNTER_COUNTS, __ATOMIC_RELEASE);
	for (;;) {
		if (__atomic_load_n(&cell->count, __ATOMIC_RELAXED) != count ||
		    __atomic_load_n(&cell->printed, __ATOMIC_RELAXED) != printed) {
			tm_crash("counter: memory changed at %llu", (unsigned long long)count);
		}
		__atomic_store_n(&cell->count, ++count, __ATOMIC_RELEASE);
		if (tm_timer_now() >= next) {
			next += period;
			__atomic_store_n(&cell->printed, ++printed, __ATOMIC_RELEASE);
			printf("counter: %llu\n", (unsigned long long)printed);
		}
		if (__atomic_load_n(&cell->quit, __ATOMIC_ACQUIRE) != 0) {
			printf("counter: done at %llu\n", (unsigned long long)printed);
			return 0;
		}
	}
}
