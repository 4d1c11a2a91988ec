// SPDX-License-Identifier: Apache-2.0
//
// A guest that writes pages as it is told through a control page (tidemark/dirty_protocol.h).
// bootargs: control=<gpa> [quiet]; without control= it drives itself over a part of its own
// memory, to show that it works.

#include <stdio.h>
#include <string.h>
#include <tidemark/arch.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include "writer.h"

#define POLL_US 200u
#define DEMO_PAGES 64u
#define DEMO_STRIDE 32768u

static struct dirty_control *control;
static struct writer writers[DIRTY_VCPUS];
static uint32_t vcpus;

static void wait_a_bit(uint32_t mode)
{
	switch (mode) {
	case DIRTY_WAIT_SPIN:
		for (unsigned i = 0; i < 64; i++) {
			tm_cpu_relax();
		}
		break;
	case DIRTY_WAIT_YIELD:
		(void)tm_yield();
		break;
	default:
		tm_sleep_us(POLL_US);
		break;
	}
}

static void do_round(struct writer *w, uint64_t round)
{
	uint64_t n = control->n_writes;
	uint32_t pace = control->pace;

	if (!writer_begin(w, round)) {
		control->error = 1;
		return;
	}
	for (uint64_t i = 0; i < n; i++) {
		if (__atomic_load_n(&control->stop_round, __ATOMIC_ACQUIRE) >= round) {
			break;
		}
		writer_step(w);
		for (uint32_t p = 0; p < pace; p++) {
			tm_cpu_relax();
		}
	}
}

static void work(void *arg)
{
	struct writer *w = arg;
	/* A guest that is restored in mid-life goes on; one that is new has done nothing. */
	uint64_t done = control->done_round[w->vcpu];

	if (w->vcpu != 0 && tm_irq_present()) {
		tm_irq_cpu_init();
	}
	__atomic_fetch_add(&control->vcpus, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&control->quit, __ATOMIC_ACQUIRE) == 0) {
		uint64_t round = __atomic_load_n(&control->go_round, __ATOMIC_ACQUIRE);

		if (round == done) {
			wait_a_bit(control->wait_mode);
			continue;
		}
		if ((control->vcpu_mask >> w->vcpu & 1) != 0) {
			do_round(w, round);
		}
		done = round;
		__atomic_store_n(&control->done_round[w->vcpu], round, __ATOMIC_RELEASE);
	}
}

static bool start_all(void)
{
	vcpus = tm_boot.cpu_count < DIRTY_VCPUS ? tm_boot.cpu_count : DIRTY_VCPUS;
	for (uint32_t v = 0; v < vcpus; v++) {
		writer_init(&writers[v], control, v, vcpus);
	}
	for (uint32_t v = 1; v < vcpus; v++) {
		int status = tm_cpu_start(v, work, &writers[v]);

		if (status != 0) {
			printf("dirty: CPU_ON %u: %d\n", v, status);
			return false;
		}
	}
	return true;
}

static void report(void)
{
	uint64_t total[DIRTY_KINDS] = {0};
	uint64_t pages = 0;

	for (uint32_t v = 0; v < vcpus; v++) {
		for (uint32_t k = 0; k < DIRTY_KINDS; k++) {
			total[k] += control->count[v][k];
		}
		pages += control->pages_written[v];
	}
	printf("dirty: vcpus %u rounds %llu pages %llu store %llu rmw %llu cross %llu zva %llu "
	       "stp %llu atomic %llu byte %llu lse %llu\n",
	       vcpus, (unsigned long long)control->done_round[0], (unsigned long long)pages,
	       (unsigned long long)total[DIRTY_STORE], (unsigned long long)total[DIRTY_RMW],
	       (unsigned long long)total[DIRTY_CROSS], (unsigned long long)total[DIRTY_ZVA],
	       (unsigned long long)total[DIRTY_STP], (unsigned long long)total[DIRTY_ATOMIC],
	       (unsigned long long)total[DIRTY_BYTE], (unsigned long long)total[DIRTY_LSE]);
}

/* --- without a driver ------------------------------------------------------------------------- */

static uint8_t demo_pages[DEMO_PAGES * TM_PAGE_SIZE] __attribute__((aligned(4096)));
static uint8_t demo_ledger[DIRTY_VCPUS * DEMO_STRIDE] __attribute__((aligned(4096)));
static struct dirty_control demo_control;

static void demo_prepare(void)
{
	control = &demo_control;
	control->magic = DIRTY_MAGIC;
	control->version = DIRTY_VERSION;
	control->ledger_gpa = TM_GPA(demo_ledger);
	control->ledger_stride = DEMO_STRIDE;
	control->seed = tm_bootarg_u64("seed", 1);
	control->n_writes = tm_bootarg_u64("writes", 2000);
	control->n_slots = 2;
	control->slots[0] = (struct dirty_slot){TM_GPA(demo_pages), 37};
	control->slots[1] = (struct dirty_slot){TM_GPA(demo_pages) + 37 * TM_PAGE_SIZE,
						DEMO_PAGES - 37};
	control->vcpu_mask = 0xff;
}

/* Run by the boot CPU after its own part: checks the last plain store of each page word. */
static unsigned demo_check(void)
{
	unsigned wrong = 0;

	for (uint32_t v = 0; v < vcpus; v++) {
		const struct dirty_ledger *l = writers[v].ledger;
		uint64_t from = l->head > l->capacity ? l->head - l->capacity : 0;

		for (uint64_t n = from; n < l->head; n++) {
			const struct dirty_row *r = &l->rows[n % l->capacity];
			bool later = false;

			if (r->kind != DIRTY_STORE && r->kind != DIRTY_RMW) {
				continue;
			}
			for (uint64_t m = n + 1; m < l->head && !later; m++) {
				later = (l->rows[m % l->capacity].gpa & ~(uint64_t)15) ==
					(r->gpa & ~(uint64_t)15);
			}
			if (!later && *(volatile uint64_t *)(uintptr_t)r->gpa != r->value) {
				wrong++;
			}
		}
	}
	return wrong;
}

static void demo(void)
{
	unsigned wrong;

	demo_prepare();
	if (!start_all()) {
		return;
	}
	control->vcpus++;
	for (uint64_t round = 1; round <= 3; round++) {
		__atomic_store_n(&control->go_round, round, __ATOMIC_RELEASE);
		do_round(&writers[0], round);
		control->done_round[0] = round;
		for (uint32_t v = 1; v < vcpus; v++) {
			uint64_t *done = &control->done_round[v];

			while (__atomic_load_n(done, __ATOMIC_ACQUIRE) != round) {
				tm_sleep_us(POLL_US);
			}
		}
	}
	wrong = demo_check();
	printf("dirty: demo: %u words differ from the ledger\n", wrong);
	report();
}

int main(void)
{
	uint64_t gpa = tm_bootarg_u64("control", 0);

	(void)tm_irq_init();
	if (gpa == 0) {
		demo();
		return 0;
	}
	control = (struct dirty_control *)(uintptr_t)gpa;
	if (control->magic != DIRTY_MAGIC || control->version != DIRTY_VERSION ||
	    control->ledger_stride < sizeof(struct dirty_ledger) + sizeof(struct dirty_row) ||
	    control->ledger_stride % sizeof(struct dirty_row) != 0) {
		printf("dirty: the control page at 0x%llx has no sense\n", (unsigned long long)gpa);
		return 1;
	}
	if (!start_all()) {
		return 1;
	}
	__atomic_store_n(&control->state, DIRTY_STATE_READY, __ATOMIC_RELEASE);
	work(&writers[0]);
	report();
	__atomic_store_n(&control->state, DIRTY_STATE_ENDED, __ATOMIC_RELEASE);
	return 0;
}
