// SPDX-License-Identifier: Apache-2.0
//
// What hostilemgr does with registers and timers of arm64.

#include <string.h>
#include <tidemark/call.h>
#include <tidemark/irq.h>
#include "../attack.h"

void arch_edge_regs(struct attack *a, struct tm_regs *r)
{
	r->n = 1 + (uint32_t)tm_prng_below(&a->rng, TM_REGS_SYS_MAX);
	for (uint32_t i = 0; i < r->n; i++) {
		uint64_t op1 = tm_prng_below(&a->rng, 8);
		uint64_t crn = tm_prng_below(&a->rng, 16);
		uint64_t crm = tm_prng_below(&a->rng, 16);

		r->sys[i].id = TM_SYSREG(3, op1, crn, crm, tm_prng_below(&a->rng, 8));
		r->sys[i].val = edge_value(&a->rng);
	}
}

void arch_edge_timer(struct attack *a, struct tm_timer_state *s)
{
	s->cntvct = edge_value(&a->rng);
	s->cntv_cval = edge_value(&a->rng);
	s->cntv_ctl = (uint32_t)tm_prng_below(&a->rng, 4);
}

void arch_skip(struct vmm_vm *vm, struct tm_regs *regs)
{
	(void)vm;
	regs->pc += 4;
}

void arch_count_back(struct tm_timer_state *s, uint64_t ticks)
{
	s->cntvct -= ticks;
}

bool arch_wrapping_deadline(struct vmm_vm *vm, struct tm_prng *rng)
{
	static struct tm_timer_state now;
	static struct tm_timer_state set;
	uint64_t back = tm_prng_below(rng, 4);

	memset(&set, 0, sizeof(set));
	set.cntvct = tm_prng_below(rng, 1u << tm_prng_below(rng, 20));
	set.cntv_cval = ~(uint64_t)0 - (back != 0 ? back - 1 : tm_prng_below(rng, tm_timer_now() / 2));
	set.cntp_cval = ~(uint64_t)0 - tm_prng_below(rng, 3);
	set.cntv_ctl = 1 + (uint32_t)tm_prng_below(rng, 2) * 2;
	set.cntp_ctl = 1;
	if (tm_vm_pause(vm->handle, TM_PAUSE_QUIESCE) != 0 ||
	    tm_timer_state(vm->handle, 0, TM_STATE_SET, &set) != 0 ||
	    tm_vm_resume(vm->handle) != 0) {
		return false;
	}
	/* Put away and loaded several times. */
	(void)vmm_wait(20000, NULL, NULL);
	return tm_vm_pause(vm->handle, TM_PAUSE_QUIESCE) == 0 &&
	       tm_timer_state(vm->handle, 0, TM_STATE_GET, &now) == 0 &&
	       now.cntvct > set.cntvct && now.cntv_cval == set.cntv_cval &&
	       now.cntp_cval == set.cntp_cval && now.cntv_ctl == set.cntv_ctl &&
	       now.cntp_ctl == set.cntp_ctl && tm_vm_resume(vm->handle) == 0;
}

const struct end_row arch_ends[] = {{"spin", END_RUNS}, {NULL, END_ANY}};
