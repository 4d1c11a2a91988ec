// SPDX-License-Identifier: Apache-2.0
//
// A guest that attacks with what every guest has. Prints TAP; the program in the manager's place
// (guests/hostilemgr) looks at the neighbours meanwhile.
// bootargs: ops= random operations of each kind (100000); stride= pages between two of the sweep
//   (1); step= between MSRs and ports (1); seed=; only= some attacks; end=off|spin|nap|..: power off
//   at the end, loop in faults for ever, or (ops=0 only) sleep NAP_US on one timer and power off
//   (off); with ops=0 at once. x86 has more: x86/ends.c.

#include <stdio.h>
#include <string.h>
#include <tidemark/arch.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/tap.h>
#include "hostile.h"

#define NAP_US 500000u

bool wanted(const char *name)
{
	char only[64];

	return !tm_bootarg("only", only, sizeof(only)) || strstr(only, name) != NULL;
}

static void nap(void)
{
	uint64_t until = tm_timer_now() + tm_us_to_ticks(NAP_US);

	tm_irq_enable(TM_IRQ_VTIMER);
	(void)tm_irq_save();
	tm_timer_arm_at(until);
	while (tm_timer_now() < until) {
		tm_wfi();
	}
	tm_timer_stop();
}

static void other_cpu(void *arg)
{
	(void)arg;
	tm_irq_cpu_init();
	/* A target for SGIs that takes them as they come. */
	tm_irq_unmask();
	for (;;) {
		tm_wfi();
	}
}

int main(void)
{
	struct hostile h = {
		.budget = tm_bootarg_u64("ops", 100000),
		.stride = tm_bootarg_u64("stride", 1),
		.step = (uint32_t)tm_bootarg_u64("step", 1),
	};
	char end[16] = "off";
	int status;

	tm_prng_seed(&h.rng, tm_bootarg_u64("seed", 1));
	(void)tm_bootarg("end", end, sizeof(end));
	arch_prepare();
	(void)tm_irq_init();
	for (uint32_t i = 1; i < tm_boot.cpu_count; i++) {
		(void)tm_cpu_start(i, other_cpu, NULL);
	}
	if (h.budget == 0 && strcmp(end, "spin") == 0) {
		arch_spin_in_faults();
	}
	if (h.budget == 0 && strcmp(end, "nap") == 0) {
		nap();
		return 0;
	}
	if (h.budget == 0) {
		arch_end(&h, end);
		return 0;
	}
	arch_attack_first(&h);
	if (wanted("calls")) {
		attack_calls(&h);
	}
	arch_attack_middle(&h);
	if (wanted("memory")) {
		attack_memory(&h);
		attack_edges(&h);
	}
	arch_attack_last(&h);
	status = tap_done();
	printf("# hostile operations=%llu\n", (unsigned long long)h.ops);
	(void)fflush(stdout);
	if (strcmp(end, "spin") == 0) {
		arch_spin_in_faults();
	}
	return status;
}
