// SPDX-License-Identifier: Apache-2.0
/*
 * Time: the physical counter, and the EL2 physical timer (CNTHP) of each CPU. Each CPU programs
 * only its own; no lock.
 */
#include <arch/time.h>
#include <asm/barrier.h>
#include <asm/irq.h>
#include <asm/machine.h>
#include <asm/sysreg.h>
#include <asm/time.h>
#include <hyp/hyptimer.h>
#include <hyp/sched.h>

#include <drivers/gic/gic.h>

uint64_t arch_time_now(void)
{
	isb();		/* the read may otherwise be made early */
	return read_sysreg(cntpct_el0);
}

uint64_t arch_time_freq(void)
{
	return read_sysreg(cntfrq_el0);
}

void arch_timer_program(uint64_t deadline)
{
	if (deadline == ~0ull) {
		write_sysreg(0, cnthp_ctl_el2);
	} else {
		write_sysreg(deadline, cnthp_cval_el2);
		write_sysreg(1, cnthp_ctl_el2);		/* ENABLE, not masked */
	}
	isb();
}

static enum irq_end timer_irq(uint32_t intid)
{
	(void)intid;
	/* Level-sensitive: quiet until one of the two programs the next deadline. */
	arch_timer_program(~0ull);
	hyptimer_run();
	sched_timer();
	return IRQ_DEACTIVATE;
}

void time_init(void)
{
	irq_register(machine.timer_hyp, timer_irq);
}

void time_init_cpu(void)
{
	arch_timer_program(~0ull);
	gic_ppi_enable(machine.timer_hyp, true);
}
